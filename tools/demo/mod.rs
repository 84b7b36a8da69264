//! `kanjo demo`: two real processes, a year of a real bank, a killed primary, and what is left.
//! With `--clouds`: six of them in two sites, and everything that can befall a part.

mod check;
mod clouds;
mod failover;
mod import;
mod load;
mod post;
mod report;
mod scene;
mod telling;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

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
/// promotion; with --clouds two sites that fail in every way
///
/// Formats two data directories, starts a primary and an auxiliary as processes on loopback,
/// imports 28,205 real bank transactions one transfer a request, compares every end-of-day
/// balance with what the bank printed, then kills the primary under a random load, promotes the
/// auxiliary, resolves what was in flight, brings the old primary back and compares everything
/// again. Ends with a table; the exit status is 0 only if nothing answered is missing or
/// different.
///
/// With --clouds: two sites of two servers and a witness, and a witness in a third site, seven
/// processes. Under load that never stops a primary is killed, a witness is killed, the link
/// between the sites is cut, the other site takes over as planned, then all of a site is killed
/// and returns. The table says what each
/// took, how long nothing was answered, and what became of requests whose outcome was unknown.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the data goes while it runs; a fresh or empty directory
    #[arg(long, value_name = "DIR", default_value = "target/kanjo-demo")]
    dir: PathBuf,
    /// Keep data, configurations and logs afterwards; the next run replaces them
    #[arg(long)]
    keep: bool,
    /// Two sites of two servers and a witness, and a third site, instead of a pair
    #[arg(long, conflicts_with = "transfers")]
    clouds: bool,
    /// Transfers of the random load
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(2_000..=5_000_000))]
    transfers: u64,
    /// Seed of the random load
    #[arg(long, value_name = "NUMBER", default_value_t = 1993)]
    seed: u64,
    /// Requests outstanding at once, over four connections [default: 128; with --clouds 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(4..=2_048))]
    outstanding: Option<u16>,
    /// Print one JSON object instead of steps and a table
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    /// Runs the demo. Success only if everything that was answered is there and right.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let started = Instant::now();
        match self.clouds {
            true => {
                let report = run_to_end(clouds::play(&self, started))?;
                self.print(&report, report.passed)
            }
            false => {
                let report = run_to_end(play(&self, started))?;
                self.print(&report, report.passed)
            }
        }
    }

    fn print<R: Serialize + Display>(&self, report: &R, passed: bool) -> Result<Exit, Failure> {
        let mut output = Output::new();
        match self.json {
            true => output.json(report)?,
            false => output.line(report)?,
        }
        output.finish()?;
        Ok(match passed {
            true => Exit::Done,
            false => Exit::Failed,
        })
    }

    fn outstanding(&self) -> u16 {
        self.outstanding.unwrap_or(match self.clouds {
            true => 16,
            false => 128,
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
