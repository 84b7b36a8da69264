//! Latency distributions as one SVG: what share of requests was answered within which time.
//!
//! Both axes are logarithmic and drawn by hand: across, the percentiles, each decade of
//! distance from 100 % as wide as the next, so that the tail is as readable as the middle; up,
//! the latency.

mod lines;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use lines::{Captions, Line, write_lines};

const SIZE: (u32, u32) = (960, 600);
const LEFT: i32 = 80;
const RIGHT: i32 = 40;
const TOP: i32 = 60;
const BOTTOM: i32 = 70;
/// Most decades of percentiles that are drawn: the last is 99.9999 %.
const DECADES_MAX: f64 = 6.0;
/// Points of one curve.
const STEPS: usize = 600;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 92, 175),
    RGBColor(208, 84, 0),
    RGBColor(36, 130, 56),
    RGBColor(140, 60, 160),
    RGBColor(90, 90, 90),
    RGBColor(180, 30, 60),
];

/// One curve: nanoseconds, and what they are of.
pub(crate) struct Distribution<'a> {
    /// Shown in the legend.
    pub(crate) name: &'a str,
    /// Nanoseconds.
    pub(crate) latencies: &'a Histogram<u64>,
}

/// Writes the distributions as an SVG file.
pub(crate) fn write_latencies(path: &Path, title: &str, curves: &[Distribution<'_>]) -> Result<()> {
    let svg = draw_latencies(title, curves)?;
    std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))
}

/// Draws the distributions: the text of an SVG.
pub(crate) fn draw_latencies(title: &str, curves: &[Distribution<'_>]) -> Result<String> {
    let full = curves.iter().all(|curve| !curve.latencies.is_empty());
    ensure!(full && !curves.is_empty(), "there are no latencies to draw");
    let count = curves.len();
    ensure!(
        count <= COLOURS.len(),
        "{count} curves cannot be told apart, {} can",
        COLOURS.len()
    );
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let frame = Frame::around(curves);
        frame.draw_grid(&area)?;
        let heading = ("sans-serif", 24).into_font().color(&INK);
        area.draw(&Text::new(title.to_owned(), (LEFT, 20), heading))
            .map_err(drawing)?;
        for (place, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
            frame.draw_curve(&area, curve, colour)?;
            draw_legend(&area, place as i32, curve, colour)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The plotted range: decades of percentiles across, decades of nanoseconds up.
struct Frame {
    decades: f64,
    low: f64,
    high: f64,
}

impl Frame {
    fn around(curves: &[Distribution<'_>]) -> Self {
        let most = curves.iter().map(|curve| curve.latencies.len()).max();
        let decades = (most.unwrap_or(1) as f64).log10().clamp(1.0, DECADES_MAX);
        let low = curves.iter().map(|curve| curve.latencies.min()).min();
        let high = curves.iter().map(|curve| curve.latencies.max()).max();
        // A little room above and below, also where all latencies are equal.
        Self {
            decades,
            low: (low.unwrap_or(1).max(1) as f64).log10() - 0.05,
            high: (high.unwrap_or(1).max(1) as f64).log10() + 0.05,
        }
    }

    /// Pixel of so many decades from the left edge.
    fn across(&self, decades: f64) -> i32 {
        let width = f64::from(SIZE.0 as i32 - LEFT - RIGHT);
        LEFT + (decades / self.decades * width).round() as i32
    }

    /// Pixel of a latency.
    fn up(&self, nanos: f64) -> i32 {
        let height = f64::from(SIZE.1 as i32 - TOP - BOTTOM);
        let share = (nanos.max(1.0).log10() - self.low) / (self.high - self.low);
        SIZE.1 as i32 - BOTTOM - (share * height).round() as i32
    }

    fn draw_grid(&self, area: &Area<'_>) -> Result<()> {
        let (bottom, right) = (SIZE.1 as i32 - BOTTOM, SIZE.0 as i32 - RIGHT);
        let line = |from, to, colour: RGBColor| {
            let path = PathElement::new(vec![from, to], colour.stroke_width(1));
            area.draw(&path).map_err(drawing)
        };
        for (percentile, label) in percentile_marks(self.decades) {
            let x = self.across(decades_of(percentile));
            line((x, TOP), (x, bottom), GRID)?;
            write_label(area, label, (x, bottom + 8), HPos::Center, VPos::Top)?;
        }
        for nanos in latency_marks(self.low, self.high) {
            let y = self.up(nanos);
            line((LEFT, y), (right, y), GRID)?;
            let label = latency_text(nanos);
            write_label(area, label, (LEFT - 8, y), HPos::Right, VPos::Center)?;
        }
        line((LEFT, bottom), (right, bottom), INK)?;
        line((LEFT, TOP), (LEFT, bottom), INK)?;
        let middle = (LEFT + right) / 2;
        let caption = "share of requests answered within that time".to_owned();
        write_label(
            area,
            caption,
            (middle, bottom + 34),
            HPos::Center,
            VPos::Top,
        )
    }

    fn draw_curve(
        &self,
        area: &Area<'_>,
        curve: &Distribution<'_>,
        colour: RGBColor,
    ) -> Result<()> {
        // Beyond one in as many as there are, a percentile is only the maximum again.
        let seen = (curve.latencies.len() as f64).log10().min(self.decades);
        let point = |step: usize| {
            let decades = seen * step as f64 / STEPS as f64;
            let quantile = 1.0 - 10_f64.powf(-decades);
            let nanos = curve.latencies.value_at_quantile(quantile);
            (self.across(decades), self.up(nanos as f64))
        };
        let points: Vec<_> = (0..=STEPS).map(point).collect();
        let path = PathElement::new(points, colour.stroke_width(2));
        area.draw(&path).map_err(drawing)
    }
}

fn draw_legend(
    area: &Area<'_>,
    place: i32,
    curve: &Distribution<'_>,
    colour: RGBColor,
) -> Result<()> {
    let (x, y) = (LEFT + 16, TOP + 16 + 20 * place);
    let swatch = PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(3));
    area.draw(&swatch).map_err(drawing)?;
    let at = |quantile| latency_text(curve.latencies.value_at_quantile(quantile) as f64);
    let (name, count) = (curve.name, curve.latencies.len());
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    let text = format!("{name}: p50 {p50}, p99 {p99}, p99.9 {p999} ({count} requests)");
    write_label(area, text, (x + 32, y), HPos::Left, VPos::Center)
}

fn write_label(
    area: &Area<'_>,
    text: String,
    at: (i32, i32),
    across: HPos,
    up: VPos,
) -> Result<()> {
    let font = ("sans-serif", 16).into_font().color(&INK);
    let style = font.pos(Pos::new(across, up));
    area.draw(&Text::new(text, at, style)).map_err(drawing)
}

/// Decades of distance from 100 %: 0 for 0 %, 1 for 90 %, 2 for 99 %.
fn decades_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

fn percentile_marks(decades: f64) -> Vec<(f64, String)> {
    let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
    let within = |percentile: &f64| decades_of(*percentile) <= decades + 1e-6;
    let marks = all.into_iter().filter(within);
    marks.map(|mark| (mark, format!("{mark}%"))).collect()
}

/// 1, 2 and 5 times every power of ten within the range (given as logarithms).
fn latency_marks(low: f64, high: f64) -> Vec<f64> {
    let powers = low.floor() as i32..=high.ceil() as i32;
    let marks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
    marks
        .filter(|mark| (low..=high).contains(&mark.log10()))
        .collect()
}

/// Nanoseconds in the unit that people would use, with three digits.
fn latency_text(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let decimals = match value {
        v if v.fract() == 0.0 || v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

fn drawing<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow::anyhow!("drawing: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(scale: u64) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for one in 1..=10_000_u64 {
            histogram
                .record(scale + scale * one / (10_001 - one))
                .unwrap();
        }
        histogram
    }

    #[test]
    fn both_curves_their_names_and_axes_are_drawn() {
        let (floor, kanjo) = (latencies(100_000), latencies(170_000));
        let curves = [("floor", &floor), ("kanjo <1 client>", &kanjo)];
        let curves = curves.map(|(name, latencies)| Distribution { name, latencies });
        let svg = draw_latencies("Commit latency", &curves).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in [
            "Commit latency",
            "floor: p50",
            "99.9%",
            "99.99%",
            "200 µs",
            "1 ms",
        ] {
            assert!(svg.contains(text), "{text} is not drawn in {svg}");
        }
        assert!(svg.contains("kanjo &lt;1 client&gt;"), "names are escaped");
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(draw_latencies("none", &[]).is_err());
        let latencies = &Histogram::new(3).unwrap();
        let name = "empty";
        assert!(draw_latencies("none", &[Distribution { name, latencies }]).is_err());
    }

    #[test]
    fn one_latency_alone_has_a_range() {
        let mut latencies = Histogram::new(3).unwrap();
        latencies.record(0).unwrap();
        let (name, latencies) = ("one", &latencies);
        draw_latencies("one", &[Distribution { name, latencies }]).unwrap();
    }

    #[test]
    fn latencies_read_as_people_write_them() {
        let texts = [950.0, 1e5, 119_400.0, 12_340.0, 1.5e6, 2e9].map(latency_text);
        assert_eq!(
            texts,
            ["950 ns", "100 µs", "119 µs", "12.3 µs", "1.50 ms", "2 s"]
        );
    }
}
