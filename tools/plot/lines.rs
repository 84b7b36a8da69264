//! Values over something that grows (time, accounts, transfers) as one SVG, both axes from zero
//! and even.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, BOTTOM, COLOURS, GRID, INK, LEFT, RIGHT, SIZE, TOP, drawing, write_label};

/// Marks that an axis has, about.
const MARKS: f64 = 8.0;

/// One line: points from left to right.
pub(crate) struct Line {
    /// Shown in the legend.
    pub(crate) name: String,
    /// Across and up.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What the axes are of.
#[derive(Clone, Copy)]
pub(crate) struct Captions<'a> {
    /// Over all of it.
    pub(crate) title: &'a str,
    /// Below.
    pub(crate) across: &'a str,
    /// At the top left.
    pub(crate) up: &'a str,
}

/// Writes the lines as an SVG file.
pub(crate) fn write_lines(path: &Path, captions: Captions<'_>, lines: &[Line]) -> Result<()> {
    let svg = draw_lines(captions, lines)?;
    std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))
}

/// Draws the lines: the text of an SVG.
pub(crate) fn draw_lines(captions: Captions<'_>, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    ensure!(points().next().is_some(), "there is nothing to draw");
    let count = lines.len();
    ensure!(count <= COLOURS.len(), "{count} lines cannot be told apart");
    let most = |pick: fn(&(f64, f64)) -> f64| points().map(pick).fold(0.0, f64::max);
    let scale = Scale {
        across: most(|point| point.0).max(f64::MIN_POSITIVE),
        up: most(|point| point.1).max(f64::MIN_POSITIVE) * 1.08,
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        scale.draw_grid(&area, captions)?;
        for (place, (line, colour)) in lines.iter().zip(COLOURS).enumerate() {
            let points: Vec<_> = line
                .points
                .iter()
                .map(|point| scale.pixel(*point))
                .collect();
            let path = PathElement::new(points, colour.stroke_width(2));
            area.draw(&path).map_err(drawing)?;
            // Two columns, above the grid.
            let (x, y) = (
                LEFT + 400 * (place as i32 % 2),
                50 + 16 * (place as i32 / 2),
            );
            let swatch = PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(3));
            area.draw(&swatch).map_err(drawing)?;
            write_label(
                &area,
                line.name.clone(),
                (x + 32, y),
                HPos::Left,
                VPos::Center,
            )?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

struct Scale {
    across: f64,
    up: f64,
}

impl Scale {
    fn pixel(&self, (across, up): (f64, f64)) -> (i32, i32) {
        let (width, height) = (SIZE.0 as i32 - LEFT - RIGHT, SIZE.1 as i32 - HEAD - BOTTOM);
        (
            LEFT + (across / self.across * f64::from(width)).round() as i32,
            SIZE.1 as i32 - BOTTOM - (up / self.up * f64::from(height)).round() as i32,
        )
    }

    fn draw_grid(&self, area: &Area<'_>, captions: Captions<'_>) -> Result<()> {
        let (bottom, right) = (SIZE.1 as i32 - BOTTOM, SIZE.0 as i32 - RIGHT);
        let line = |from, to, colour: RGBColor| {
            let path = PathElement::new(vec![from, to], colour.stroke_width(1));
            area.draw(&path).map_err(drawing)
        };
        for mark in marks(self.across) {
            let (x, _) = self.pixel((mark, 0.0));
            line((x, HEAD), (x, bottom), GRID)?;
            write_label(
                area,
                number_text(mark),
                (x, bottom + 8),
                HPos::Center,
                VPos::Top,
            )?;
        }
        for mark in marks(self.up) {
            let (_, y) = self.pixel((0.0, mark));
            line((LEFT, y), (right, y), GRID)?;
            write_label(
                area,
                number_text(mark),
                (LEFT - 8, y),
                HPos::Right,
                VPos::Center,
            )?;
        }
        line((LEFT, bottom), (right, bottom), INK)?;
        line((LEFT, HEAD), (LEFT, bottom), INK)?;
        let heading = ("sans-serif", 24).into_font().color(&INK);
        let title = Text::new(captions.title.to_owned(), (LEFT, 12), heading);
        area.draw(&title).map_err(drawing)?;
        let below = ((LEFT + right) / 2, bottom + 34);
        write_label(
            area,
            captions.across.to_owned(),
            below,
            HPos::Center,
            VPos::Top,
        )?;
        let above = (right, 20);
        write_label(
            area,
            captions.up.to_owned(),
            above,
            HPos::Right,
            VPos::Center,
        )
    }
}

/// Where the grid begins: below title and legend.
const HEAD: i32 = TOP + 40;

/// Even steps of 1, 2 or 5 times a power of ten from zero on.
fn marks(most: f64) -> Vec<f64> {
    let rough = most / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = step.into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (0..=(most / step) as u32)
        .map(|count| f64::from(count) * step)
        .collect()
}

/// A number as short as it can be read.
fn number_text(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e4 => (n / 1e3, " k"),
        n => (n, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_their_names_and_axes_are_drawn() {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: (0..30)
                .map(|x| (f64::from(x), factor * f64::from(x)))
                .collect(),
        };
        let captions = Captions {
            title: "Throughput",
            across: "seconds",
            up: "transfers a second",
        };
        let lines = [line("uniform", 50_000.0), line("<skewed>", 40_000.0)];
        let svg = draw_lines(captions, &lines).unwrap();
        for text in [
            "Throughput",
            "seconds",
            "uniform",
            "&lt;skewed&gt;",
            "1.4 M",
            ">20<",
        ] {
            assert!(
                svg.contains(text) || svg.contains(text.trim_matches(['<', '>'])),
                "{text}"
            );
        }
        assert!(svg.matches("<polyline").count() >= 2);
        assert!(draw_lines(captions, &[]).is_err());
    }

    #[test]
    fn marks_are_even_and_numbers_short() {
        assert_eq!(marks(30.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(marks(0.9).len(), 5);
        let texts = [0.25, 12.0, 9_999.0, 12_000.0, 1_400_000.0].map(number_text);
        assert_eq!(texts, ["0.25", "12", "9999", "12 k", "1.4 M"]);
    }
}
