//! `kanjo bench compare`: the same work on a pair of nodes and on somebody else's pair, in turns.

mod poster;
mod report;
mod sides;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use super::load::{Measured, Shape, drive};
use super::rounds::Figures;
use super::workload::{WorkArgs, Workload};
use super::{OutputArgs, bar, micros, say};
use crate::machine::Machine;
use crate::pair::Workspace;
use crate::postgres::Programs;
use report::{Outcome, Result as CaseResult};
use sides::Contender;

/// Compare with PostgreSQL on the same work, in the same run
///
/// Starts a PostgreSQL primary with one synchronous standby of its own, from the installed
/// package, beside a pair of Kanjo's nodes. Round by round each case runs on one, then on the
/// other; who begins changes. PostgreSQL posts with one call of a PL/pgSQL function a request,
/// prepared, locks in id order; a batch is one set-based call that posts all or nothing. At the end
/// both books must balance on all four servers and hold what was answered.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The peer: PostgreSQL with `synchronous_commit=on` and one standby
    #[arg(long, required = true)]
    postgres: bool,
    /// Connections with one transfer a request
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 8, 32, 128],
        value_parser = clap::value_parser!(u16).range(1..=300))]
    connections: Vec<u16>,
    /// Transfers a request, where several are posted in one
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100, 1_000, 8_189],
        value_parser = clap::value_parser!(u16).range(2..=8_189))]
    batches: Vec<u16>,
    /// Connections that post those
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=300))]
    batch_connections: u16,
    /// Measure requests of one transfer only
    #[arg(long, conflicts_with_all = ["batches", "batch_connections"])]
    no_batches: bool,
    /// Measured time of one case on one side in one round; a fifth of it is for warming up before
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = super::throughput::parse_seconds)]
    seconds: f64,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
struct Case {
    connections: usize,
    batch: usize,
}

impl CompareArgs {
    fn cases(&self) -> Vec<Case> {
        let single = self.connections.iter().map(|&connections| Case {
            connections: connections.into(),
            batch: 1,
        });
        let batches = self.batches.iter().filter(|_| !self.no_batches);
        let batches = batches.map(|&batch| Case {
            connections: self.batch_connections.into(),
            batch: batch.into(),
        });
        single.chain(batches).collect()
    }
}

/// Measures, prints and writes JSON.
pub(super) async fn run(args: CompareArgs) -> Result<()> {
    let programs = Programs::find()?;
    let cases = args.cases();
    let most = cases.iter().map(|case| case.connections).max();
    ensure!(most.is_some(), "there is nothing to measure");
    let connections = most.unwrap_or_default();
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    // Declared after the directory: the processes end before it is removed.
    let folder = workspace.path();
    let (kanjo, workload) = Contender::kanjo(folder, connections, &args.work).await?;
    let mut sides = [
        Contender::postgres(&programs, folder, connections, &workload).await?,
        kanjo,
    ];
    let workload = Rc::new(RefCell::new(workload));
    let progress = bar(args.rounds * cases.len() as u64 * 2, "measurements");
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); cases.len()];
    for _ in 0..args.rounds {
        for (case, figures) in cases.iter().zip(&mut rounds) {
            figures.push(measure(&args, *case, &mut sides, &workload, &progress).await?);
            sides.reverse();
        }
        if cases.len().is_multiple_of(2) {
            // Whoever began with a case is second with it in the next round.
            sides.reverse();
        }
    }
    progress.finish_and_clear();
    let results = cases.into_iter().zip(rounds);
    let results = results.map(|(case, rounds)| CaseResult::of(case, rounds));
    let outcome = Outcome::of(machine, &args, results.collect(), &mut sides).await?;
    outcome.print();
    args.output.write_json("compare.json", &outcome)
}

/// One case on both sides, in the order in which they stand.
async fn measure(
    args: &CompareArgs,
    case: Case,
    sides: &mut [Contender; 2],
    workload: &Rc<RefCell<Workload>>,
    progress: &ProgressBar,
) -> Result<Figures> {
    let mut figures = Figures::new();
    for side in sides {
        let [transfers_per_s, p50, p99, log, wire, memory] = side.figure_names();
        let shape = Shape {
            batch: case.batch,
            in_flight: 1,
            rate: None,
        };
        let before = side.counters().await?;
        let measured = load(args, shape, side.posters(case.connections), workload).await?;
        let used = side.counters().await? - before;
        figures.extend([
            (
                transfers_per_s,
                measured.transfers as f64 / measured.seconds,
            ),
            (p50, micros(&measured.latencies, 0.5)),
            (p99, micros(&measured.latencies, 0.99)),
            (log, used.log_bytes as f64 / used.transfers as f64),
            (wire, used.wire_bytes as f64 / used.transfers as f64),
            (memory, side.resident_bytes()? as f64),
        ]);
        progress.inc(1);
    }
    let ratio = |a: &str, b: &str| figures[a] / figures[b];
    let ratios = [
        (
            "ratio_transfers_per_s",
            ratio("transfers_per_s", "postgres_transfers_per_s"),
        ),
        ("ratio_p50", ratio("p50_us", "postgres_p50_us")),
        ("ratio_p99", ratio("p99_us", "postgres_p99_us")),
        (
            "ratio_p99_to_postgres_p50",
            ratio("p99_us", "postgres_p50_us"),
        ),
    ];
    figures.extend(ratios);
    Ok(figures)
}

async fn load(
    args: &CompareArgs,
    shape: Shape,
    posters: &[poster::Poster],
    workload: &Rc<RefCell<Workload>>,
) -> Result<Measured> {
    let measured = Duration::from_secs_f64(args.seconds);
    let driven = drive(posters, shape, workload, async |meter| {
        tokio::time::sleep(measured / 5).await;
        meter.begin();
        tokio::time::sleep(measured).await;
        Ok(())
    });
    let ((), measured) = driven.await?;
    ensure!(
        !measured.latencies.is_empty(),
        "no request of {} transfers was answered in the measured time: measure longer with --seconds",
        shape.batch
    );
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn cases(args: &[&str]) -> Result<Vec<Case>, clap::Error> {
        let command = CompareArgs::augment_args(Command::new("compare"));
        let given = ["compare", "--postgres"].iter().chain(args);
        let matches = command.try_get_matches_from(given)?;
        Ok(CompareArgs::from_arg_matches(&matches)?.cases())
    }

    #[test]
    fn without_batches_only_single_transfers_are_compared() {
        let single = |connections| Case {
            connections,
            batch: 1,
        };
        let only = cases(&["--connections", "8,128", "--no-batches"]).unwrap();
        assert_eq!(only, [single(8), single(128)]);
        let all = cases(&["--connections", "8"]).unwrap();
        assert_eq!(all.len(), 4, "the default batches as well");
        let both = cases(&["--no-batches", "--batches", "100"]);
        assert_eq!(
            both.unwrap_err().kind(),
            clap::error::ErrorKind::ArgumentConflict
        );
    }
}
