//! `kanjo bench counts`: what a commit and a transfer cost, in figures that stay the same when the
//! machine is busy: bytes, system calls, allocations and instructions.
//!
//! ```text
//! bytes      a pair as it is                 what it sent, wrote and sealed, as nodes and kernel count
//! strace     both nodes under `strace`       system calls between two times of the clock
//! callgrind  both nodes under `valgrind`     instructions and allocations between two dumps
//! ```
//!
//! What is counted begins and ends while the pair serves, so that start and stop do not count.

mod bytes;
mod callgrind;
mod limits;
mod strace;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kanjo_client::Client;
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use serde::Serialize;

use super::load::Target;
use super::rig::Rig;
use super::rounds::{Figures, Summary};
use super::workload::WorkArgs;
use super::{OutputArgs, bar, say};
use crate::machine::Machine;
use crate::pair::{Pair, Which, Workspace};
use limits::Limits;
use strace::{Calls, CallsOfNodes};

/// What the limits are of; other work has other figures.
const WORK: WorkArgs = WorkArgs {
    accounts: 10_000,
    zipf: None,
    seed: 1,
};
/// Nothing of a segment is prepared or sealed in what is counted of single commits.
const SEGMENT_BYTES: u64 = 16 << 20;
/// What is over a limit is counted again, at most so often in all; the least counts. Single commits
/// are counted in blocks, of which the least counts too: some work comes with the time, not with
/// the commits, and more of it falls on a commit when the machine is busy. Nothing makes a count
/// too low.
const TIMES_MAX: u64 = 3;

/// Count what a commit costs: bytes, system calls, allocations, instructions
///
/// One client posts one transfer a request, so that every request is a commit of its own, and then
/// full requests of 8,189 transfers. Instructions are those in user mode. Needs `strace` and
/// `valgrind`, and a `--dir` on a disk: the kernel counts no writes to memory.
#[derive(Debug, clap::Args)]
pub(crate) struct CountsArgs {
    /// Fail if a figure is over its limit in this file of lines `name = number`
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Keep directories and profiles: DIR/data/1/callgrind/callgrind-N.P, of node N in single
    /// commits (P from 2 to 11) and full ones (from 13)
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    digests_equal: bool,
    /// Of a commit of one transfer, by name, most frequent first.
    primary_system_calls: Calls,
    auxiliary_system_calls: Calls,
    limits: Option<Limits>,
    #[serde(flatten)]
    summary: Summary,
}

/// Counts, prints, writes JSON, and fails if a limit is exceeded.
pub(super) async fn run(args: CountsArgs) -> Result<()> {
    let limits = args.limits.as_deref().map(Limits::read).transpose()?;
    strace::look_for()?;
    callgrind::look_for()?;
    let workspace = Workspace::claim(&args.output.data(), args.keep)?;
    let machine = Machine::describe(workspace.path())?;
    let mut counted = count(&folder(workspace.path(), "1")?).await?;
    for time in 2..=TIMES_MAX {
        if limits
            .as_ref()
            .is_none_or(|limits| limits.hold(&counted.figures))
        {
            break;
        }
        let again = count(&folder(workspace.path(), &time.to_string())?).await?;
        counted.take_least(again);
    }
    let Counted { figures, calls } = counted;
    say(limits::table_of(&figures, limits.as_ref()));
    say(calls.describe());
    let [primary_system_calls, auxiliary_system_calls] = calls.into_nodes();
    let outcome = Outcome {
        benchmark: "counts",
        machine,
        work: WORK,
        digests_equal: true,
        primary_system_calls,
        auxiliary_system_calls,
        limits,
        summary: Summary::of(vec![figures]),
    };
    args.output.write_json("counts.json", &outcome)?;
    match &outcome.limits {
        Some(limits) => limits.check(&outcome.summary.median),
        None => Ok(()),
    }
}

struct Counted {
    figures: Figures,
    calls: CallsOfNodes,
}

impl Counted {
    fn take_least(&mut self, again: Self) {
        for (name, figure) in again.figures {
            let least = self.figures.entry(name).or_insert(figure);
            *least = least.min(figure);
        }
        self.calls.take_least(again.calls);
    }
}

/// Everything once.
async fn count(dir: &Path) -> Result<Counted> {
    let progress = bar(3, "bytes");
    let mut figures = bytes::count(&folder(dir, "bytes")?).await?;
    progress.inc(1);
    progress.set_message("system calls");
    let calls = strace::count(&folder(dir, "strace")?).await?;
    figures.extend(calls.figures());
    progress.inc(1);
    progress.set_message("instructions");
    figures.extend(callgrind::count(&folder(dir, "callgrind")?).await?);
    progress.finish_and_clear();
    Ok(Counted { figures, calls })
}

fn folder(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
    Ok(path)
}

/// A pair of which each node runs under a program.
async fn start_under(
    dir: &Path,
    program: impl Fn(Which) -> Vec<std::ffi::OsString>,
) -> Result<Rig> {
    let mut pair = Pair::format(dir, SEGMENT_BYTES, |_| {})?;
    for which in [Which::First, Which::Second] {
        pair.run_under(which, program(which));
    }
    Rig::on(pair, dir, &WORK).await
}

/// Posts single transfers, each a commit of its own.
async fn post_single(rig: &Rig, client: &Client, commits: u64) -> Result<()> {
    post(rig, client, commits, 1).await
}

/// Posts full requests, each a commit of its own.
async fn post_full(rig: &Rig, client: &Client, commits: u64) -> Result<()> {
    post(rig, client, commits, REQUEST_EVENTS_MAX).await
}

async fn post(rig: &Rig, client: &Client, requests: u64, batch: usize) -> Result<()> {
    let mut transfers = Vec::with_capacity(batch);
    for _ in 0..requests {
        rig.workload.borrow_mut().fill(&mut transfers, batch);
        client.post(&transfers).await?;
    }
    Ok(())
}

/// Tries a program before anything is started.
fn look_for_program(name: &str, arguments: &[&str], package: &str) -> Result<()> {
    match Command::new(name).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or_default();
            bail!("{name} cannot be used here: {said}")
        }
        Err(_) => bail!("{name} does the counting and is not installed: apt-get install {package}"),
    }
}
