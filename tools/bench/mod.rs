//! `kanjo bench`: figures, each with its floor or its check in the same run.

mod choice;
mod commit;
mod compare;
mod costs;
mod counts;
mod disk;
mod failover;
mod frames;
mod grown;
mod growth;
mod link;
mod load;
mod promote;
mod rig;
mod round_trip;
mod rounds;
mod running;
mod sealed;
mod series;
mod throughput;
mod workload;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::pair::run_to_end;

/// Where data goes while something is measured, and results afterwards.
const FOLDER: &str = "target/kanjo-bench";

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    Commit(commit::CommitArgs),
    Compare(compare::CompareArgs),
    Counts(counts::CountsArgs),
    Failover(failover::FailoverArgs),
    Growth(growth::GrowthArgs),
    History(growth::HistoryArgs),
    Promote(promote::PromoteArgs),
    Throughput(throughput::ThroughputArgs),
    Link(link::LinkArgs),
    Disk(disk::DiskArgs),
}

/// Where results go.
#[derive(Debug, clap::Args)]
struct OutputArgs {
    /// Where the data goes while it runs, and the results unless named otherwise
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    dir: PathBuf,
    /// Write the result here [default: the benchmark's name.json in DIR]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl BenchCommand {
    /// Measures, prints and writes the result.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            // A task beside that of the connection, as callers mostly are.
            Self::Commit(args) => run_to_end(async { tokio::spawn(commit::run(args)).await? })?,
            Self::Compare(args) => run_to_end(compare::run(args))?,
            Self::Counts(args) => run_to_end(counts::run(args))?,
            Self::Failover(args) => run_to_end(failover::run(args))?,
            Self::Growth(args) => run_to_end(growth::run(args))?,
            Self::History(args) => run_to_end(growth::run_history(args))?,
            Self::Promote(args) => run_to_end(promote::run(args))?,
            Self::Throughput(args) => run_to_end(throughput::run(args))?,
            Self::Link(args) => run_to_end(link::run(args))?,
            Self::Disk(args) => run_to_end(disk::run(args))?,
        }
        Ok(Exit::Done)
    }
}

impl OutputArgs {
    /// A folder of this run's own, which goes when it ends.
    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where a result file goes.
    fn file(&self, named: Option<&Path>, default: &str) -> Result<PathBuf> {
        let path = named.map_or_else(|| self.dir.join(default), Path::to_owned);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(path)
    }

    fn write_json(&self, default: &str, result: &impl Serialize) -> Result<()> {
        let path = self.file(self.json.as_deref(), default)?;
        let text = serde_json::to_string_pretty(result)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        say(format!("written: {}", path.display()));
        Ok(())
    }
}

/// Prints; whoever reads it may stop reading, and the results are still written.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Microseconds of a distribution of nanoseconds.
fn micros(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

/// A bar on a terminal.
fn bar(length: u64, message: &'static str) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(5),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let style = ProgressStyle::with_template("  {bar:32} {pos}/{len} {per_sec}  {msg}  {eta} left");
    bar.with_style(style.expect("the template is a constant that parses"))
        .with_message(message)
}
