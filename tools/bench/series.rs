//! Several kinds of load in one run, their rounds in turn, and what they gave.

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde::Serialize;

use super::load::{SLICE, histogram};
use super::rig::{Case, Length, Rig, Round};
use super::rounds::{Figures, Summary, repeat_strays};
use super::{OutputArgs, bar, say};
use crate::floor::FrameBytes;
use crate::plot::{Captions, Distribution, Line, write_latencies, write_lines};

/// One kind of load and the rounds that it had.
pub(super) struct Series {
    pub(super) case: Case,
    pub(super) rounds: Vec<Round>,
    length: Length,
    frame_bytes: FrameBytes,
    /// Rounds that were repeated.
    aside: Vec<Round>,
}

/// One kind of load with its figures.
#[derive(Clone, Serialize)]
pub(super) struct CaseResult {
    /// What the load was.
    #[serde(flatten)]
    pub(super) case: Case,
    /// What one commit of the floor was.
    frame_bytes: FrameBytes,
    /// Its figures.
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// Rounds that were repeated because the machine's floor strayed in them.
    pub(super) rounds_put_aside: Vec<Figures>,
}

/// All kinds of load. The one that the figures at the top are of is the last.
#[derive(Serialize)]
pub(super) struct Results {
    /// Name of the one that `median` and `rounds` beside this are of.
    of: String,
    #[serde(flatten)]
    summary: Summary,
    /// Each.
    pub(super) cases: Vec<CaseResult>,
}

/// All rounds of all kinds of load, in turn, so that what the machine does meets all. `before` is
/// called before each round with the place of its load, and what it finds is among that round's
/// figures.
pub(super) async fn measure(
    rig: &mut Rig,
    all: &mut [Series],
    rounds: u64,
    mut before: impl AsyncFnMut(&mut Rig, usize) -> Result<Figures>,
) -> Result<()> {
    let units: u64 = all.iter().map(|series| series.length.bar_units()).sum();
    let progress = bar(rounds * units, "ms of load");
    for _ in 0..rounds {
        for (place, series) in all.iter_mut().enumerate() {
            let found = before(rig, place).await?;
            let round = series.round(rig, found, &progress).await?;
            series.rounds.push(round);
        }
    }
    for (place, series) in all.iter_mut().enumerate() {
        let mut rounds = std::mem::take(&mut series.rounds);
        let again = async || {
            progress.inc_length(series.length.bar_units());
            let found = before(rig, place).await?;
            series.round(rig, found, &progress).await
        };
        let floor = |round: &Round| round.figures["floor_p50_us"];
        let aside = repeat_strays(&mut rounds, floor, again).await?;
        (series.rounds, series.aside) = (rounds, aside);
    }
    progress.finish_and_clear();
    Ok(())
}

impl Series {
    /// Finds out what the floor of this load is.
    pub(super) async fn prepare(rig: &mut Rig, case: Case, length: Length) -> Result<Self> {
        Ok(Self {
            frame_bytes: rig.prepare_floor(case.batch).await?,
            case,
            length,
            rounds: Vec::new(),
            aside: Vec::new(),
        })
    }

    /// One round, with what was found before it.
    async fn round(&self, rig: &mut Rig, found: Figures, progress: &ProgressBar) -> Result<Round> {
        let mut round = rig.round(&self.case, self.length, progress).await?;
        round.figures.extend(found);
        Ok(round)
    }

    /// Of all rounds together.
    fn latencies(&self) -> Result<Histogram<u64>> {
        let mut all = histogram()?;
        for round in &self.rounds {
            all.add(&round.latencies)?;
        }
        Ok(all)
    }

    /// Throughput over the measured time, one round behind the other.
    fn line(&self) -> Line {
        let slices = self.rounds.iter().flat_map(|round| &round.slices);
        let seconds = SLICE.as_secs_f64();
        let point =
            |(place, transfers): (usize, u64)| (place as f64 * seconds, transfers as f64 / seconds);
        let transfers = slices.map(|slice| slice.transfers);
        Line {
            name: self.case.name.clone(),
            points: transfers.enumerate().map(point).collect(),
        }
    }

    fn result(self) -> CaseResult {
        let figures = |rounds: Vec<Round>| rounds.into_iter().map(|round| round.figures).collect();
        CaseResult {
            case: self.case,
            frame_bytes: self.frame_bytes,
            summary: Summary::of(figures(self.rounds)),
            rounds_put_aside: figures(self.aside),
        }
    }
}

impl Results {
    /// Of at least one kind of load.
    pub(super) fn of(all: Vec<Series>) -> Self {
        let cases: Vec<CaseResult> = all.into_iter().map(Series::result).collect();
        let last = cases.last().expect("there is a kind of load");
        Self {
            of: last.case.name.clone(),
            summary: last.summary.clone(),
            cases,
        }
    }

    /// Rounds that were repeated.
    pub(super) fn put_aside(&self) -> usize {
        let each = self.cases.iter().map(|case| case.rounds_put_aside.len());
        each.sum()
    }
}

/// Draws the latencies into `NAME.svg` and the throughput over time into `NAME-time.svg`.
pub(super) fn draw(output: &OutputArgs, name: &str, title: &str, all: &[Series]) -> Result<()> {
    let latencies = all.iter().map(Series::latencies);
    let latencies: Vec<Histogram<u64>> = latencies.collect::<Result<_>>()?;
    let curves = all.iter().zip(&latencies).map(|(series, latencies)| {
        let name = &series.case.name;
        Distribution { name, latencies }
    });
    let svg = output.file(None, &format!("{name}.svg"))?;
    let heading = format!("Latency, {title}");
    write_latencies(&svg, &heading, &curves.collect::<Vec<_>>())?;
    say(format!("written: {}", svg.display()));
    let svg = output.file(None, &format!("{name}-time.svg"))?;
    let captions = Captions {
        title: &format!("Throughput, {title}"),
        across: "seconds of load, all rounds one behind the other",
        up: "transfers a second",
    };
    let lines: Vec<Line> = all.iter().map(Series::line).collect();
    write_lines(&svg, captions, &lines)?;
    say(format!("written: {}", svg.display()));
    Ok(())
}
