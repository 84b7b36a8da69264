//! `kanjo bench growth` and `kanjo bench history`: what size does to a pair.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use super::grown::{Grown, LoadArgs, Stretch, sizes_of_accounts, sizes_of_history};
use super::rounds::{Figures, Summary};
use super::workload::{IdOrder, WorkArgs};
use super::{OutputArgs, bar, say};
use crate::machine::Machine;
use crate::output::table;
use crate::pair::Workspace;
use crate::plot::{Captions, Line, write_lines};
use crate::quantities::show_count;

/// Measure throughput, one commit and restarts while transfers and accounts grow
///
/// At each size: transfers a second in batches, the latency of one commit beside the floor,
/// and how long primary and auxiliary take from a clean start until commits are protected. First
/// one pair posts more and more transfers between `--accounts` accounts, then pairs begin anew
/// with more and more accounts. After each measurement both nodes must have the same digest.
#[derive(Debug, clap::Args)]
pub(crate) struct GrowthArgs {
    /// Transfers at the end; measured at 0, 5, 10, 25, 50 and 100 % of them. What a measurement posts
    /// belongs to history, so that some may be measured at more; the result says at how many
    #[arg(long, value_name = "N", default_value_t = 20_000_000,
        value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    transfers_max: u64,
    /// Most accounts; measured at each power of ten from 1,000 on
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
        value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    accounts_max: u64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measure what history costs: throughput, memory, disk and restarts
///
/// A pair posts transfers in batches. On the way, and at the end, it is measured: transfers
/// a second, one commit beside the floor, resident memory, bytes on disk, restarts. Throughput is
/// drawn second by second over the size of history.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Transfers at the end; measured at 0, 5, 10, 25, 50 and 100 % of them. What a measurement posts
    /// belongs to history, so that some may be measured at more; the result says at how many
    #[arg(long, value_name = "N", default_value_t = 20_000_000,
        value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    transfers: u64,
    /// Order of the transfers' ids; with several, a pair for each
    #[arg(long, value_enum, value_name = "ORDER,…", value_delimiter = ',', default_values = ["time"])]
    ids: Vec<IdOrder>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What grows in one series of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Axis {
    Transfers,
    Accounts,
}

/// Measurements at one size after the other.
#[derive(Serialize)]
struct Series {
    grows: Axis,
    ids: IdOrder,
    /// `rounds` are the sizes.
    #[serde(flatten)]
    summary: Summary,
    /// Transfers before, and transfers a second, while history grew.
    throughput_over_transfers: Vec<Stretch>,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    #[serde(flatten)]
    load: LoadArgs,
    digests_equal: bool,
    series: Vec<Series>,
    /// Of all sizes together.
    #[serde(flatten)]
    summary: Summary,
}

/// Measures, prints, writes JSON and SVGs.
pub(super) async fn run(args: GrowthArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let (dir, load) = (workspace.path(), args.load);
    let history = sizes_of_history(args.transfers_max);
    let accounts = sizes_of_accounts(args.accounts_max);
    let progress = progress_of(history.len() + accounts.len(), load);
    let along = along_history(dir, &args.work, IdOrder::Time, &history, load, &progress).await?;
    let across = over_accounts(dir, &args.work, &accounts, load, &progress).await?;
    progress.finish_and_clear();
    let outcome = Outcome::of("growth", machine, args.work, load, vec![along, across]);
    outcome.finish(&args.output)
}

/// Measures, prints, writes JSON and SVGs.
pub(super) async fn run_history(args: HistoryArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let (dir, load) = (workspace.path(), args.load);
    let history = sizes_of_history(args.transfers);
    let progress = progress_of(history.len() * args.ids.len(), load);
    let mut series = Vec::new();
    for ids in args.ids {
        series.push(along_history(dir, &args.work, ids, &history, load, &progress).await?);
    }
    progress.finish_and_clear();
    let outcome = Outcome::of("history", machine, args.work, load, series);
    outcome.finish(&args.output)
}

fn progress_of(sizes: usize, load: LoadArgs) -> ProgressBar {
    // Two loads at each size, each with its warm-up.
    bar(
        (sizes as f64 * load.seconds * 2.4 * 1e3) as u64,
        "ms of load",
    )
}

/// One pair, more and more transfers.
async fn along_history(
    dir: &Path,
    work: &WorkArgs,
    ids: IdOrder,
    sizes: &[u64],
    load: LoadArgs,
    progress: &ProgressBar,
) -> Result<Series> {
    let folder = Folder::make(dir)?;
    let mut grown = Grown::start(&folder.0, work, ids, load).await?;
    let mut points = Vec::new();
    for transfers in sizes {
        progress.set_message(format!("growing to {} transfers", show_count(transfers)));
        grown.grow(*transfers).await?;
        points.push(grown.measure(progress).await?);
    }
    Ok(Series {
        grows: Axis::Transfers,
        ids,
        summary: Summary::of(points),
        throughput_over_transfers: std::mem::take(&mut grown.stretches),
    })
}

/// A pair for each number of accounts.
async fn over_accounts(
    dir: &Path,
    work: &WorkArgs,
    sizes: &[u64],
    load: LoadArgs,
    progress: &ProgressBar,
) -> Result<Series> {
    let mut points = Vec::new();
    for &accounts in sizes {
        progress.set_message(format!("opening {} accounts", show_count(accounts)));
        let folder = Folder::make(dir)?;
        let work = WorkArgs {
            accounts,
            ..work.clone()
        };
        let mut grown = Grown::start(&folder.0, &work, IdOrder::Time, load).await?;
        points.push(grown.measure(progress).await?);
    }
    Ok(Series {
        grows: Axis::Accounts,
        ids: IdOrder::Time,
        summary: Summary::of(points),
        throughput_over_transfers: Vec::new(),
    })
}

/// The directory of one pair; goes when the next pair begins, for many accounts are many bytes.
struct Folder(PathBuf);

impl Folder {
    fn make(dir: &Path) -> Result<Self> {
        let path = dir.join("pair");
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left goes with the directory of the run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Series {
    fn title(&self) -> String {
        match (self.grows, self.ids) {
            (Axis::Transfers, IdOrder::Time) => "time-ordered ids".to_owned(),
            (Axis::Transfers, IdOrder::Random) => "random ids".to_owned(),
            (Axis::Accounts, _) => "at the beginning".to_owned(),
        }
    }

    /// One figure over what grows.
    fn line(&self, what: &str, figure: &str) -> Line {
        let across = match (self.grows, figure.starts_with("restart")) {
            (Axis::Accounts, _) => "accounts",
            (Axis::Transfers, false) => "transfers",
            (Axis::Transfers, true) => "restart_transfers",
        };
        let at = |point: &Figures| Some((*point.get(across)?, *point.get(figure)?));
        Line {
            name: format!("{what}, {}", self.title()),
            points: self.summary.rounds.iter().filter_map(at).collect(),
        }
    }
}

impl Outcome {
    fn of(
        benchmark: &'static str,
        machine: Machine,
        work: WorkArgs,
        load: LoadArgs,
        series: Vec<Series>,
    ) -> Self {
        let points = series.iter().flat_map(|series| &series.summary.rounds);
        let summary = Summary::of(points.cloned().collect());
        Self {
            benchmark,
            machine,
            work,
            load,
            digests_equal: true,
            series,
            summary,
        }
    }

    fn finish(self, output: &OutputArgs) -> Result<()> {
        for series in &self.series {
            print(series);
        }
        say(format!(
            "{} s of load in batches of {} and {} s of single transfers at each size; digests equal after each; \
             restart: from starting the node to the primary serving with it in sync; data on {}",
            self.load.seconds,
            show_count(self.load.batch),
            self.load.seconds,
            self.machine.file_system.describe()
        ));
        for axis in [Axis::Transfers, Axis::Accounts] {
            let series = self.series.iter().filter(|series| series.grows == axis);
            let series: Vec<&Series> = series.collect();
            if !series.is_empty() {
                draw(output, self.benchmark, axis, &series)?;
            }
        }
        output.write_json(&format!("{}.json", self.benchmark), &self)
    }
}

fn print(series: &Series) {
    let what = match series.grows {
        Axis::Transfers => "transfers",
        Axis::Accounts => "accounts",
    };
    let header = [
        what,
        "transfers/s",
        "p50 µs",
        "p50 ÷ floor",
        "p99 ÷ floor",
        "CPU µs/transfer",
        "memory MB, both",
        "sealed B/transfer",
        "and index",
        "indexed after s",
        "restart s, primary",
        "auxiliary",
    ];
    let mut rows = table(&header, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    for point in &series.summary.rounds {
        let at = |name: &str| point.get(name).copied();
        let show = |value: Option<f64>, decimals: usize| match value {
            Some(value) => format!("{value:.decimals$}"),
            None => "-".to_owned(),
        };
        let count = |name: &str| show_count(at(name).unwrap_or_default() as u64);
        rows.add_row([
            count(what),
            count("transfers_per_s"),
            show(at("p50_us"), 0),
            show(at("ratio_p50"), 2),
            show(at("ratio_p99"), 2),
            show(at("cpu_us_per_transfer"), 2),
            show(at("rss_bytes").map(|bytes| bytes / 1e6), 0),
            show(at("disk_bytes_per_transfer"), 1),
            show(at("log_and_index_bytes_per_transfer"), 1),
            show(at("index_catch_up_s"), 1),
            show(at("restart_primary_s"), 2),
            show(at("restart_auxiliary_s"), 2),
        ]);
    }
    say(format!("{what} grow; {}", series.title()));
    say(rows);
}

/// Throughput and restart time, and for history also memory, over what grows.
fn draw(output: &OutputArgs, benchmark: &str, axis: Axis, series: &[&Series]) -> Result<()> {
    let across = match axis {
        Axis::Transfers => "transfers of history",
        Axis::Accounts => "accounts",
    };
    let lines = |figures: &[(&str, &str)]| -> Vec<Line> {
        let of = |series: &&Series| {
            let of = figures.iter();
            of.map(|(what, figure)| series.line(what, figure))
                .collect::<Vec<_>>()
        };
        series.iter().flat_map(of).collect()
    };
    let mut throughput = lines(&[("batches", "transfers_per_s")]);
    let stretches = series
        .iter()
        .filter(|s| !s.throughput_over_transfers.is_empty());
    throughput.extend(stretches.map(|series| Line {
        name: format!("second by second, {}", series.title()),
        points: series.throughput_over_transfers.clone(),
    }));
    let restarts = lines(&[
        ("primary", "restart_primary_s"),
        ("auxiliary", "restart_auxiliary_s"),
    ]);
    let memory = lines(&[
        ("primary", "primary_own_memory_bytes"),
        ("auxiliary", "auxiliary_own_memory_bytes"),
    ]);
    for (name, title, up, lines) in [
        ("throughput", "Throughput", "transfers a second", throughput),
        (
            "restart",
            "Restart until commits are protected",
            "seconds",
            restarts,
        ),
        ("memory", "Memory of its own", "bytes", memory),
    ] {
        let axis = match axis {
            Axis::Transfers => "transfers",
            Axis::Accounts => "accounts",
        };
        let svg = output.file(None, &format!("{benchmark}-{name}-{axis}.svg"))?;
        write_lines(&svg, Captions { title, across, up }, &lines)?;
        say(format!("written: {}", svg.display()));
    }
    Ok(())
}
