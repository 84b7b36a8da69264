//! `kanjo bench failover`: how long nobody answers when a part of two clouds fails, or the
//! processing moves.

mod prober;
mod scenes;
mod table;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use kanjo_client::ClientConfig;
use kanjo_format::limits::{REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use kanjo_group::topology::Timing;
use serde::Serialize;

use super::load::{Shape, drive};
use super::rounds::{Figures, Summary};
use super::workload::{WorkArgs, Workload};
use super::{OutputArgs, bar};
use crate::clouds::{Between, Clouds, Picture, Third};
use crate::machine::Machine;
use crate::pair::{PATIENCE, Workspace};
use prober::Prober;
use scenes::Scene;
use table::Verdict;

/// Requests outstanding while history is made.
const IN_FLIGHT: usize = 8;
/// How often one looks whether enough was posted.
const LOOK: Duration = Duration::from_millis(50);
/// A server with a long log is busy when it starts, and all four share this machine.
const STARTING_MAX: Duration = Duration::from_secs(180);

/// Measure how long nobody answers when a server dies, falls silent, or a site is lost or switched
///
/// Two sites of two servers and a witness on loopback, default timeouts, a ledger with history.
/// One client with one transfer outstanding asks again at once, on all addresses. Each round
/// kills the primary, stops one (SIGSTOP), switches to the other site as planned, and kills a whole site
/// with an operator who reacts at once. After each of these everything is brought back, in sync
/// and equal, before the next one begins.
#[derive(Debug, clap::Args)]
pub(crate) struct FailoverArgs {
    /// Accounts in the ledger
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    accounts: u64,
    /// Transfers in the ledger before the first round
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
        value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    transfers: u64,
    /// How often each scene is played
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// What is played
    #[arg(long, value_enum, value_name = "SCENE,…", value_delimiter = ',',
        default_values = ["kill", "silent", "switch", "site"])]
    scenes: Vec<Scene>,
    /// A third site has a witness, which each opening of an epoch asks as well
    #[arg(long)]
    third_witness: bool,
    /// Seed of accounts and amounts
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    accounts: u64,
    transfers: u64,
    third_witness: bool,
    timing: Timing,
    digests_equal: bool,
    verdicts: Vec<Verdict>,
    /// What others take, measured elsewhere.
    elsewhere: &'static [&'static str],
    #[serde(flatten)]
    summary: Summary,
}

/// Measures, prints and writes JSON.
pub(super) async fn run(args: FailoverArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let third = match args.third_witness {
        true => Third::Witness,
        false => Third::Nothing,
    };
    // Declared after the directory: the processes end before it is removed.
    let mut clouds = Clouds::format(
        workspace.path(),
        SEGMENT_BYTES_DEFAULT,
        (Between::Loopback, third),
    )?;
    clouds.wait_at_most(STARTING_MAX);
    let rounds = play(&args, &mut clouds).await;
    let rounds = rounds.with_context(|| clouds.last_words())?;
    let summary = Summary::of(rounds);
    let outcome = Outcome {
        benchmark: "failover",
        machine,
        accounts: args.accounts,
        transfers: args.transfers,
        third_witness: args.third_witness,
        timing: clouds.timing(),
        digests_equal: true,
        verdicts: table::verdicts(&summary),
        elsewhere: &table::ELSEWHERE,
        summary,
    };
    outcome.print();
    args.output.write_json("failover.json", &outcome)
}

async fn play(args: &FailoverArgs, clouds: &mut Clouds) -> Result<Vec<Figures>> {
    clouds.start_whole().await?;
    let work = WorkArgs {
        accounts: args.accounts,
        zipf: None,
        seed: args.seed,
    };
    let workload = fill(clouds, &work, args.transfers).await?;
    let held = settle(clouds).await?;
    let mut prober = Prober::connect(clouds, workload, held).await?;
    let progress = bar(args.rounds * args.scenes.len() as u64, "scenes");
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let played = play_round(args, clouds, &mut prober, &progress).await;
        rounds.push(played.with_context(|| format!("round {round}"))?);
    }
    progress.finish_and_clear();
    Ok(rounds)
}

async fn play_round(
    args: &FailoverArgs,
    clouds: &mut Clouds,
    prober: &mut Prober,
    progress: &ProgressBar,
) -> Result<Figures> {
    let mut figures = prober.in_quiet_times().await?;
    for scene in &args.scenes {
        let played = scene.play(clouds, prober).await;
        figures.extend(played.with_context(|| format!("scene {scene:?}"))?);
        let held = settle(clouds).await?;
        prober.check(held)?;
        progress.inc(1);
    }
    Ok(figures)
}

/// Opens the accounts and posts history in full requests.
async fn fill(clouds: &Clouds, work: &WorkArgs, transfers: u64) -> Result<Rc<RefCell<Workload>>> {
    let patient = |config: &mut ClientConfig| config.deadline = PATIENCE;
    let clients = [clouds.connect_with(patient).await?];
    let workload = Workload::open(&clients[0], work).await?;
    let workload = Rc::new(RefCell::new(workload));
    if transfers == 0 {
        return Ok(workload);
    }
    let shape = Shape {
        batch: REQUEST_EVENTS_MAX.min(transfers as usize),
        in_flight: IN_FLIGHT,
        rate: None,
    };
    let progress = bar(transfers, "making history");
    let driven = drive(&clients, shape, &workload, async |meter| {
        meter.begin();
        while meter.transfers() < transfers {
            progress.set_position(meter.transfers());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    });
    driven.await?;
    progress.finish_and_clear();
    Ok(workload)
}

/// Waits until everything is as it was: all parts do their share, all servers are in sync and
/// equal, nothing is indexed beside. Gives how many transfers they hold.
async fn settle(clouds: &mut Clouds) -> Result<u64> {
    clouds.whole().await?;
    let indexed = |picture: &Picture| {
        picture.statuses().all(|status| {
            let full = status.applied_lsn / SEGMENT_BYTES_DEFAULT * SEGMENT_BYTES_DEFAULT;
            status.indexed_lsn >= full
        })
    };
    clouds
        .until("all servers index their logs", indexed)
        .await?;
    let picture = clouds.settle().await?;
    picture.check_equal()?;
    let balanced = picture.statuses().flat_map(|status| &status.trial_balance);
    let off = balanced.filter(|ledger| ledger.difference != "0").count();
    ensure!(off == 0, "a ledger's debits are not its credits");
    let first = picture.statuses().next().context("four servers")?;
    Ok(first.transfers)
}
