//! `kanjo bench commit`: what one commit takes, beside what it must take at the least.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use kanjo_client::{Client, ClientConfig};
use kanjo_format::limits::SEGMENT_BYTES_DEFAULT;
use kanjo_format::replication::BATCH_FRAME_OVERHEAD_BYTES;
use serde::Serialize;

use super::frames;
use super::rounds::{Figures, Summary};
use super::workload::{WorkArgs, Workload};
use super::{OutputArgs, bar, say};
use crate::floor::{Floor, FrameBytes};
use crate::machine::Machine;
use crate::pair::{Pair, Which, Workspace};
use crate::plot::{Distribution, write_latencies};

/// Commits of one side before the other side's turn: what the machine does meanwhile meets both.
const BLOCK: u64 = 500;
/// Body of a batch of one transfer, where the node cannot be asked what it ships.
const BODY_BYTES_GUESS: usize = 47;
const NANOS_MAX: u64 = 60_000_000_000;
const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// Measure the latency of one commit against the floor of this machine
///
/// One client, one transfer a request, unique ids. Blocks of 500 commits alternate with as many
/// of the floor: three plain threads that send, write and sync the same bytes and do nothing
/// else.
#[derive(Debug, clap::Args)]
pub(crate) struct CommitArgs {
    /// Measure this cluster instead of a pair on loopback; its client addresses. The floor is
    /// then that of this machine
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    connect: Vec<String>,
    /// Commits of each side, over all rounds
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    commits: u64,
    /// Rounds that they are divided into
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    #[command(flatten)]
    work: WorkArgs,
    /// Draw the distributions here [default: commit.svg in DIR]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Both sides of one round or of all.
struct Latencies {
    kanjo: Histogram<u64>,
    floor: Histogram<u64>,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    commits: u64,
    block: u64,
    #[serde(flatten)]
    work: WorkArgs,
    frame_bytes: FrameBytes,
    /// Of all commits together.
    percentiles_us: Vec<Percentile>,
    digests_equal: Option<bool>,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Serialize)]
struct Percentile {
    percentile: &'static str,
    kanjo: f64,
    floor: f64,
    ratio: f64,
}

/// Measures, prints, writes JSON and SVG.
pub(super) async fn run(args: CommitArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    // Declared after the directory: the processes end before it is removed.
    let mut pair = None;
    let client = match args.connect.is_empty() {
        true => {
            let own = Pair::format(workspace.path(), SEGMENT_BYTES_DEFAULT, |_| {})?;
            let own = pair.insert(own);
            own.start_protected().await?;
            own.connect().await?
        }
        false => Client::connect(ClientConfig::new(args.connect.clone())).await?,
    };
    let mut workload = Workload::open(&client, &args.work).await?;
    let frames = warm_up(&client, &mut workload, &mut pair).await?;
    let floor = Floor::start(workspace.path(), frames)?;
    let (all, rounds) = measure(&args, &client, &mut workload, floor).await?;
    let digests_equal = match &mut pair {
        Some(pair) => {
            let [first, second] = pair.settle().await?;
            ensure!(first.digest == second.digest, "the digests differ");
            Some(true)
        }
        None => None,
    };
    let outcome = Outcome {
        benchmark: "commit",
        machine,
        commits: all.kanjo.len(),
        block: BLOCK,
        work: args.work,
        frame_bytes: frames,
        percentiles_us: percentiles(&all),
        digests_equal,
        summary: Summary::of(rounds),
    };
    outcome.print();
    args.output.write_json("commit.json", &outcome)?;
    let svg = args.output.file(args.svg.as_deref(), "commit.svg")?;
    let curves = [
        ("Kanjo, primary and auxiliary", &all.kanjo),
        ("floor: plain threads", &all.floor),
    ]
    .map(|(name, latencies)| Distribution { name, latencies });
    write_latencies(&svg, "One commit on two disks", &curves)?;
    say(format!("written: {}", svg.display()));
    Ok(())
}

/// Makes commits that are not counted and finds out how large their frames are.
async fn warm_up(
    client: &Client,
    workload: &mut Workload,
    pair: &mut Option<Pair>,
) -> Result<FrameBytes> {
    let shipped = async |pair: &mut Option<Pair>| match pair {
        Some(pair) => pair
            .status(Which::First)
            .await
            .map(|status| Some(status.shipped_bytes)),
        None => Ok(None),
    };
    let before = shipped(pair).await?;
    let mut ignored = histogram()?;
    run_block(client, workload, &mut ignored).await?;
    let after = shipped(pair).await?;
    let guess = BATCH_FRAME_OVERHEAD_BYTES + BODY_BYTES_GUESS;
    let ship = match (before, after) {
        (Some(before), Some(after)) => (after - before).div_ceil(BLOCK) as usize,
        _ => guess,
    };
    // Both are less than a page.
    let write = ship;
    Ok(frames::of_request(1, write, ship))
}

/// Alternates blocks; gives all latencies and each round's figures.
async fn measure(
    args: &CommitArgs,
    client: &Client,
    workload: &mut Workload,
    mut floor: Floor,
) -> Result<(Latencies, Vec<Figures>)> {
    let blocks = args.commits.div_ceil(args.rounds).div_ceil(BLOCK).max(1);
    let progress: ProgressBar = bar(2 * args.rounds * blocks * BLOCK, "commits");
    let mut all = Latencies::new()?;
    let mut rounds = Vec::new();
    // Warm, as the other side is.
    floor.run_block(BLOCK, &mut histogram()?)?;
    for _ in 0..args.rounds {
        let mut round = Latencies::new()?;
        let begun = Instant::now();
        let mut floor_seconds = 0.0;
        for _ in 0..blocks {
            run_block(client, workload, &mut round.kanjo).await?;
            progress.inc(BLOCK);
            let floor_begun = Instant::now();
            floor.run_block(BLOCK, &mut round.floor)?;
            floor_seconds += floor_begun.elapsed().as_secs_f64();
            progress.inc(BLOCK);
        }
        let seconds = begun.elapsed().as_secs_f64() - floor_seconds;
        rounds.push(round.figures(seconds));
        all.kanjo.add(&round.kanjo)?;
        all.floor.add(&round.floor)?;
    }
    progress.finish_and_clear();
    floor.stop()?;
    Ok((all, rounds))
}

/// One client's commits, one after the other; drawing the transfer is inside the time.
async fn run_block(
    client: &Client,
    workload: &mut Workload,
    latencies: &mut Histogram<u64>,
) -> Result<()> {
    for _ in 0..BLOCK {
        let begun = Instant::now();
        let transfer = workload.next();
        let results = client.create_transfers(&[transfer]).await;
        let results = results.context("a measured transfer")?;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        ensure!(
            matches!(results[..], [one] if one.created()),
            "a measured transfer got {results:?}"
        );
        latencies.saturating_record(nanos);
    }
    Ok(())
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, NANOS_MAX, 3)?)
}

impl Latencies {
    fn new() -> Result<Self> {
        Ok(Self {
            kanjo: histogram()?,
            floor: histogram()?,
        })
    }

    fn figures(&self, seconds: f64) -> Figures {
        let at = |latencies: &Histogram<u64>, quantile| micros(latencies, quantile);
        let (p50, p99) = (at(&self.kanjo, 0.5), at(&self.kanjo, 0.99));
        let (floor_p50, floor_p99) = (at(&self.floor, 0.5), at(&self.floor, 0.99));
        Figures::from([
            ("p50_us", p50),
            ("p99_us", p99),
            ("floor_p50_us", floor_p50),
            ("floor_p99_us", floor_p99),
            ("ratio_p50", p50 / floor_p50),
            ("ratio_p99", p99 / floor_p99),
            ("transfers_per_s", self.kanjo.len() as f64 / seconds),
        ])
    }
}

fn micros(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

fn percentiles(all: &Latencies) -> Vec<Percentile> {
    let of = |(percentile, quantile): (&'static str, f64)| {
        let (kanjo, floor) = (micros(&all.kanjo, quantile), micros(&all.floor, quantile));
        Percentile {
            percentile,
            kanjo,
            floor,
            ratio: kanjo / floor,
        }
    };
    QUANTILES.map(of).into()
}

impl Outcome {
    fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["one commit", "Kanjo µs", "floor µs", "ratio"]);
        for row in &self.percentiles_us {
            table.add_row([
                row.percentile.to_owned(),
                format!("{:.0}", row.kanjo),
                format!("{:.0}", row.floor),
                format!("{:.2}", row.ratio),
            ]);
        }
        say(&table);
        let summary = &self.summary;
        say(format!(
            "{} commits each in {} rounds; median (least to most) of the rounds:",
            self.commits,
            summary.rounds.len()
        ));
        for (name, decimals) in [
            ("p50_us", 0),
            ("floor_p50_us", 0),
            ("ratio_p50", 2),
            ("p99_us", 0),
            ("floor_p99_us", 0),
            ("ratio_p99", 2),
            ("transfers_per_s", 0),
        ] {
            say(format!("  {name:16} {}", summary.range(name, decimals)));
        }
        say(format!(
            "data on {}; a sync of 4 KiB takes {:.0} µs; frames of {} + {} + {} + {} bytes",
            self.machine.file_system.describe(),
            self.machine.sync.p50_us,
            self.frame_bytes.request,
            self.frame_bytes.ship,
            self.frame_bytes.ack,
            self.frame_bytes.reply
        ));
    }
}
