//! `kanjo bench throughput`: how much a pair posts, in how large requests, from how many clients.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use kanjo_format::limits::{CONNECTION_REQUESTS_MAX, REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use serde::Serialize;

use super::rig::{Case, Length, Rig, Round};
use super::rounds::Figures;
use super::series::{CaseResult, Results, Series, draw, measure};
use super::workload::WorkArgs;
use super::{OutputArgs, say};
use crate::commands::parse_segment_size;
use crate::machine::Machine;
use crate::output::table;
use crate::pair::Workspace;
use crate::quantities::show_count;

/// A measurement of throughput that is shorter, or that saw fewer segments sealed, says so.
const FULL_SECONDS: f64 = 30.0;
const FULL_SEGMENTS: u64 = 3;
/// Before a round is measured.
const WARM_UP_MAX: Duration = Duration::from_secs(2);
/// Requests outstanding on a connection that brings many transfers in each.
const IN_FLIGHT: usize = 8;

/// Measure how many transfers a pair posts a second
///
/// A primary and its auxiliary run on loopback with checkpoints, digests and recompression on;
/// every transfer must be answered `created`, and after each round both nodes must have the same
/// digest. Beside each round stands the floor of its requests: three plain threads that send,
/// write and sync the same bytes. A round whose floor strays more than 25 % from the median is
/// repeated at most twice and shown.
#[derive(Debug, clap::Args)]
pub(crate) struct ThroughputArgs {
    /// TCP connections, each a client of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = within(1..=4_096))]
    connections: usize,
    /// Transfers of one request
    #[arg(long, value_name = "B", default_value_t = REQUEST_EVENTS_MAX,
        value_parser = within(1..=REQUEST_EVENTS_MAX))]
    batch: usize,
    /// Requests outstanding on each connection [default: 8, of single transfers 1]
    #[arg(long, value_name = "D", value_parser = within(1..=CONNECTION_REQUESTS_MAX))]
    in_flight: Option<usize>,
    /// Open loop: so many transfers a second are due, whatever the answers do; a latency counts
    /// from when its request was due
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Several kinds of load in one run, their rounds in turn
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["connections", "batch", "rate"])]
    preset: Option<Preset>,
    /// Seconds of each round
    #[arg(long, value_name = "S", default_value_t = FULL_SECONDS, value_parser = parse_seconds)]
    seconds: f64,
    /// Each round goes on until so many segments were sealed in it, at most four times as long
    /// [default: 3, in rounds of less than 30 s 0]
    #[arg(long, value_name = "N")]
    sealed_segments: Option<u64>,
    /// Rounds of each kind of load
    #[arg(long, value_name = "R", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Size of the log's segments
    #[arg(long, value_name = "SIZE", default_value_t = SEGMENT_BYTES_DEFAULT,
        value_parser = parse_segment_size)]
    segment_size: u64,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// 1, 8, 32 and 128 connections with one transfer a request
    Clients,
    /// Batches of 100, 1,000 and 8,189 on one connection
    Batches,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    segment_bytes: u64,
    seconds: f64,
    /// Each round lasted at least 30 s and saw at least 3 segments sealed.
    full_length: bool,
    digests_equal: bool,
    #[serde(flatten)]
    results: Results,
}

/// Measures, prints, writes JSON and SVGs.
pub(super) async fn run(args: ThroughputArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let mut rig = Rig::start(workspace.path(), args.segment_size, &args.work, |_| {}).await?;
    let length = args.length();
    let mut all = Vec::new();
    for case in args.cases() {
        all.push(Series::prepare(&mut rig, case, length).await?);
    }
    measure(&mut rig, &mut all, args.rounds, async |_, _| {
        Ok(Figures::new())
    })
    .await?;
    drop(rig);
    let full = |round: &Round| {
        let at = |name| round.figures.get(name).copied().unwrap_or_default();
        at("seconds") >= FULL_SECONDS && at("sealed_segments") >= FULL_SEGMENTS as f64
    };
    let full_length = all.iter().flat_map(|series| &series.rounds).all(full);
    draw(
        &args.output,
        "throughput",
        "connections × transfers a request",
        &all,
    )?;
    let outcome = Outcome {
        benchmark: "throughput",
        machine,
        work: args.work,
        segment_bytes: args.segment_size,
        seconds: args.seconds,
        full_length,
        digests_equal: true,
        results: Results::of(all),
    };
    outcome.print();
    args.output.write_json("throughput.json", &outcome)
}

impl ThroughputArgs {
    fn length(&self) -> Length {
        let measured = Duration::from_secs_f64(self.seconds);
        let sealed = match self.seconds >= FULL_SECONDS {
            true => FULL_SEGMENTS,
            false => 0,
        };
        let mut length = Length::new(WARM_UP_MAX.min(measured / 5), measured);
        length.sealed_segments = self.sealed_segments.unwrap_or(sealed);
        length
    }

    fn cases(&self) -> Vec<Case> {
        let case = |connections: usize, batch: usize| {
            let usual = if batch == 1 { 1 } else { IN_FLIGHT };
            Case {
                name: format!("{connections} × {batch}"),
                connections,
                batch,
                in_flight: self.in_flight.unwrap_or(usual),
                rate: self.rate,
            }
        };
        match self.preset {
            None => vec![case(self.connections, self.batch)],
            Some(Preset::Clients) => [1, 8, 32, 128].map(|count| case(count, 1)).into(),
            Some(Preset::Batches) => [100, 1_000, REQUEST_EVENTS_MAX]
                .map(|batch| case(1, batch))
                .into(),
        }
    }
}

impl Outcome {
    fn print(&self) {
        let cases = &self.results.cases;
        say(throughput_table(cases));
        say(cost_table(cases));
        let accounts = show_count(self.work.accounts);
        let choice = match self.work.zipf {
            Some(exponent) => format!("Zipf {exponent}"),
            None => "uniform".to_owned(),
        };
        say(format!(
            "median (least to most) of {} rounds of {} s; {accounts} accounts, {choice}; digests equal after each",
            cases.first().map_or(0, |case| case.summary.rounds.len()),
            self.seconds,
        ));
        if !self.full_length {
            say(
                "shorter than 30 s and 3 sealed segments a round: not a measurement of lasting throughput",
            );
        }
        let aside = self.results.put_aside();
        if aside > 0 {
            say(format!(
                "{aside} rounds were repeated: the machine was not as in the others"
            ));
        }
        say(format!(
            "{}, {} cores; data on {}; a sync of 4 KiB takes {:.0} µs",
            self.machine.processor,
            self.machine.cores,
            self.machine.file_system.describe(),
            self.machine.sync.p50_us
        ));
    }
}

fn throughput_table(cases: &[CaseResult]) -> comfy_table::Table {
    let header = [
        "connections × batch",
        "in flight",
        "transfers/s",
        "p50 µs",
        "p99 µs",
        "floor p50 µs",
        "p50 ÷ floor",
        "p99 ÷ floor",
    ];
    let mut table = table(&header, &[1, 2, 3, 4, 5, 6, 7]);
    for case in cases {
        let range = |name, decimals| case.summary.range(name, decimals);
        table.add_row([
            case.case.name.clone(),
            case.case.in_flight.to_string(),
            range("transfers_per_s", 0),
            range("p50_us", 0),
            range("p99_us", 0),
            range("floor_p50_us", 0),
            range("ratio_p50", 2),
            range("ratio_p99", 2),
        ]);
    }
    table
}

fn cost_table(cases: &[CaseResult]) -> comfy_table::Table {
    let header = [
        "a transfer",
        "wire B",
        "log B",
        "sealed B",
        "prepared B",
        "µs CPU: client + primary + auxiliary",
        "busy, of a core",
        "commit writes ÷ pages",
        "RSS MB",
    ];
    let mut table = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for case in cases {
        let at = |name| case.summary.median.get(name).copied().unwrap_or(f64::NAN);
        let sealed = case.summary.median.get("disk_bytes_per_transfer");
        table.add_row([
            case.case.name.clone(),
            format!("{:.1}", at("wire_bytes_per_transfer")),
            format!("{:.1}", at("log_bytes_per_transfer")),
            sealed.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.1}")),
            format!("{:.1}", at("prepared_bytes_per_transfer")),
            format!(
                "{:.2} + {:.2} + {:.2}",
                at("client_cpu_us_per_transfer"),
                at("primary_cpu_us_per_transfer"),
                at("auxiliary_cpu_us_per_transfer")
            ),
            format!(
                "{:.2} + {:.2} + {:.2}",
                at("client_busy"),
                at("primary_busy"),
                at("auxiliary_busy")
            ),
            format!(
                "{:.2}, {:.2}",
                at("primary_commit_writes_ratio"),
                at("auxiliary_commit_writes_ratio")
            ),
            format!(
                "{:.0} + {:.0}",
                at("primary_rss_bytes") / 1e6,
                at("auxiliary_rss_bytes") / 1e6
            ),
        ]);
    }
    table
}

/// For clap: a `usize` within bounds.
pub(super) fn within(
    bounds: std::ops::RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number: usize = text.parse().map_err(|_| "is no number".to_owned())?;
        match bounds.contains(&number) {
            true => Ok(number),
            false => Err(format!(
                "is not within {} to {}",
                bounds.start(),
                bounds.end()
            )),
        }
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    positive(text, 1e9)
}

/// Seconds, also parts of one.
pub(super) fn parse_seconds(text: &str) -> Result<f64, String> {
    positive(text, 86_400.0)
}

fn positive(text: &str, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= most => Ok(number),
        _ => Err(format!("is no number above 0 and up to {most}")),
    }
}
