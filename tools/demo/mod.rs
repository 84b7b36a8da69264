//! `kanjo demo`: two real processes, a year of a real bank, a killed primary, and what is left.

mod check;
mod failover;
mod import;
mod load;
mod post;
mod report;
mod scene;
mod telling;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::berka::carried_movements;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::pair::{Pair, Which, Workspace, run_to_end};
use report::Report;
use scene::Scene;
use telling::Telling;

/// Who is primary at first, and who takes over.
const PRIMARY: Which = Which::First;
const AUXILIARY: Which = Which::Second;
/// Small enough that the demo fills and recompresses some.
const SEGMENT_BYTES: u64 = 16 << 20;
/// A bar over all postings.
const TEMPLATE: &str = "  {bar:32} {pos}/{len} {per_sec}  {msg}  {eta} left";

/// Show that nothing answered is lost: a year of real bank transactions, a killed primary, a
/// promotion
///
/// Formats two data directories, starts a primary and an auxiliary as processes on loopback,
/// imports 28,205 real bank transactions one transfer a request, compares every end-of-day
/// balance with what the bank printed, then kills the primary under a random load, promotes the
/// auxiliary, resolves what was in flight, brings the old primary back and compares everything
/// again. Ends with a table; the exit status is 0 only if nothing answered is missing or
/// different.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the data goes while it runs; a fresh or empty directory
    #[arg(long, value_name = "DIR", default_value = "target/kanjo-demo")]
    dir: PathBuf,
    /// Keep data, configurations and logs afterwards; the next run replaces them
    #[arg(long)]
    keep: bool,
    /// Transfers of the random load
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(2_000..=5_000_000))]
    transfers: u64,
    /// Seed of the random load
    #[arg(long, value_name = "NUMBER", default_value_t = 1993)]
    seed: u64,
    /// Requests outstanding at once, over four connections
    #[arg(long, value_name = "N", default_value_t = 128,
        value_parser = clap::value_parser!(u16).range(4..=2_048))]
    outstanding: u16,
    /// Print one JSON object instead of steps and a table
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    /// Runs the demo. Success only if everything that was answered is there and right.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let started = Instant::now();
        let report = run_to_end(play(&self, started))?;
        let mut output = Output::new();
        match self.json {
            true => output.json(&report)?,
            false => output.line(&report)?,
        }
        output.finish()?;
        Ok(match report.passed {
            true => Exit::Done,
            false => Exit::Failed,
        })
    }
}

async fn play(args: &DemoArgs, started: Instant) -> Result<Report> {
    let movements = carried_movements()?;
    let workspace = Workspace::claim(&args.dir, args.keep)?;
    let length = movements.len() as u64 + args.transfers;
    let telling = Telling::new(started, args.json, length, TEMPLATE);
    // Declared after the directory: the processes end before it is removed.
    let pair = Pair::format(workspace.path(), SEGMENT_BYTES, |_| {})?;
    let mut scene = Scene {
        args,
        telling,
        pair,
    };
    let played = scene.play(workspace.path(), &movements).await;
    scene.telling.bar.finish_and_clear();
    if args.keep {
        eprintln!("kept: {}", workspace.path().display());
    }
    if played.is_err() {
        eprintln!("{}", scene.pair.last_words());
    }
    played
}
