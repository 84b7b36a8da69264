//! `kanjo bench link`: what a long way between the two nodes costs.

use std::time::Duration;

use anyhow::{Context, Result};
use kanjo_format::limits::{CONNECTION_REQUESTS_MAX, REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use serde::Serialize;

use super::rig::{Case, Length, Rig};
use super::round_trip::{LinkedFloor, RoundTrip};
use super::rounds::{Figures, Summary};
use super::series::{Results, Series, draw, measure};
use super::throughput::{parse_seconds, within};
use super::workload::WorkArgs;
use super::{OutputArgs, say};
use crate::commands::parse_segment_size;
use crate::machine::Machine;
use crate::output::table;
use crate::pair::{Pair, Which, Workspace};
use crate::relay::Relay;

/// Of throughput without delay: what a delayed link keeps at the least.
const THROUGHPUT_BAR: f64 = 0.9;
/// A single commit takes the round trip and so many times the floor at the most.
const FLOOR_BAR: f64 = 1.25;
const WARM_UP_MAX: Duration = Duration::from_secs(2);
/// One client's rounds are this much shorter than those of full load.
const ONE_CLIENT_SHARE: f64 = 0.2;

/// Measure throughput and latency over a link of some length
///
/// A relay in this process stands between primary and auxiliary and holds every byte for the
/// delay, in each direction, without limit of bandwidth and without loss. Full load and one
/// client with one transfer a request are measured without delay and with each delay in turn,
/// always through the relay. Before one client is measured the nodes finish what full load left to
/// recompress, index and merge; how long that took is told.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArgs {
    /// Delays each way
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_value = "5,20",
        value_parser = clap::value_parser!(u64).range(1..=2_000))]
    delay_ms: Vec<u64>,
    /// Seconds of each round of full load; one client's are a fifth of it
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Rounds of each kind of load with each delay
    #[arg(long, value_name = "R", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Transfers of one request at full load
    #[arg(long, value_name = "B", default_value_t = REQUEST_EVENTS_MAX,
        value_parser = within(1..=REQUEST_EVENTS_MAX))]
    batch: usize,
    /// Requests outstanding on the one connection at full load
    #[arg(long, value_name = "D", default_value_t = 16,
        value_parser = within(1..=CONNECTION_REQUESTS_MAX))]
    in_flight: usize,
    /// Size of the log's segments
    #[arg(long, value_name = "SIZE", default_value_t = SEGMENT_BYTES_DEFAULT,
        value_parser = parse_segment_size)]
    segment_size: u64,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    segment_bytes: u64,
    seconds: f64,
    digests_equal: bool,
    delays: Vec<Delayed>,
    #[serde(flatten)]
    results: Results,
}

/// What one delay costs, round by round beside the load without delay.
#[derive(Serialize)]
struct Delayed {
    delay_ms: u64,
    /// `throughput_ratio`: of that without delay in the same round. `round_trip_us`: of an echo
    /// over a link of the same delay, before the round. `p50_allowed_us`: that and 1.25 times the
    /// floor. `p50_of_allowed`: one client's p50 as a share of that. `floor_over_link_us`: p50 of
    /// the floor with such a link between its disks, and `p50_of_linked` one client's as a share of
    /// the round trip and 1.25 times what that floor takes beside it. `rested_after_s`: how long the
    /// nodes took before that round to finish what full load had left.
    #[serde(flatten)]
    summary: Summary,
    throughput_kept: bool,
    p50_kept: bool,
}

/// Measures, prints, writes JSON and SVGs.
pub(super) async fn run(args: LinkArgs) -> Result<()> {
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let mut pair = Pair::format(workspace.path(), args.segment_size, |_| {})?;
    let relay = Relay::start(&pair.config(Which::First).peer_replication)?;
    let address = relay.address().to_owned();
    pair.reconfigure(Which::First, |config| config.peer_replication = address)?;
    let mut rig = Rig::on(pair, workspace.path(), &args.work).await?;
    let mut delays = vec![0];
    delays.extend(&args.delay_ms);
    let mut all = Vec::new();
    for delay in &delays {
        for (case, length) in args.cases(*delay) {
            all.push(Series::prepare(&mut rig, case, length).await?);
        }
    }
    let mut link = RoundTrip::new()?;
    let linked = workspace.path().join("linked-floor");
    std::fs::create_dir(&linked).with_context(|| format!("making {}", linked.display()))?;
    let mut floor = LinkedFloor::new(&linked, rig.prepare_floor(1).await?)?;
    measure(&mut rig, &mut all, args.rounds, async |rig, place| {
        let delay = Duration::from_millis(delays[place / 2]);
        let mut found = Figures::new();
        if place.is_multiple_of(2) {
            // One client is measured alone, not beside what full load left to index and merge.
            let rested = rig.wait_until_at_rest().await?;
            found.extend([
                ("rested_after_s", rested.as_secs_f64()),
                ("round_trip_us", link.median_us(delay)?),
                ("floor_over_link_us", floor.median_us(delay)?),
            ]);
        }
        relay.set_delay(delay);
        Ok(found)
    })
    .await?;
    drop(rig);
    let title = "link with delay, connections × transfers a request";
    draw(&args.output, "link", title, &all)?;
    let (none, delayed) = all.split_at(2);
    let outcome = Outcome {
        benchmark: "link",
        machine,
        work: args.work,
        segment_bytes: args.segment_size,
        seconds: args.seconds,
        digests_equal: true,
        delays: std::iter::zip(&args.delay_ms, delayed.chunks(2))
            .map(|(delay_ms, some)| Delayed::of(*delay_ms, none, some))
            .collect(),
        results: Results::of(all),
    };
    outcome.print();
    args.output.write_json("link.json", &outcome)
}

impl LinkArgs {
    /// One client and full load, in this order.
    fn cases(&self, delay_ms: u64) -> [(Case, Length); 2] {
        let case = |connections: usize, batch: usize, in_flight: usize| Case {
            name: format!("{delay_ms} ms: {connections} × {batch}"),
            connections,
            batch,
            in_flight,
            rate: None,
        };
        let length = |seconds: f64| {
            let measured = Duration::from_secs_f64(seconds);
            Length::new(WARM_UP_MAX.min(measured / 5), measured)
        };
        [
            (case(1, 1, 1), length(self.seconds * ONE_CLIENT_SHARE)),
            (case(1, self.batch, self.in_flight), length(self.seconds)),
        ]
    }
}

impl Delayed {
    /// Both of one client and full load.
    fn of(delay_ms: u64, none: &[Series], delayed: &[Series]) -> Self {
        let rounds = none[1].rounds.iter().zip(&delayed[0].rounds);
        let figures = rounds.zip(&delayed[1].rounds).map(|((none, one), full)| {
            let throughput_none = none.figures["transfers_per_s"];
            let throughput = full.figures["transfers_per_s"];
            let mut figures = beside_the_link(&one.figures);
            figures.insert("transfers_per_s", throughput);
            figures.insert("throughput_ratio", throughput / throughput_none);
            figures
        });
        let summary = Summary::of(figures.collect());
        Self {
            delay_ms,
            throughput_kept: summary.median["throughput_ratio"] >= THROUGHPUT_BAR,
            p50_kept: summary.median["p50_of_allowed"] <= 1.0,
            summary,
        }
    }
}

/// One client's figures beside what was found before its round.
fn beside_the_link(one: &Figures) -> Figures {
    let (round_trip_us, p50_us) = (one["round_trip_us"], one["p50_us"]);
    let floor_over_link_us = one["floor_over_link_us"];
    let beside = (floor_over_link_us - round_trip_us).max(0.0);
    let allowed = round_trip_us + FLOOR_BAR * one["floor_p50_us"];
    Figures::from([
        ("round_trip_us", round_trip_us),
        ("p50_us", p50_us),
        ("p50_allowed_us", allowed),
        ("p50_of_allowed", p50_us / allowed),
        ("floor_over_link_us", floor_over_link_us),
        (
            "p50_of_linked",
            p50_us / (round_trip_us + FLOOR_BAR * beside),
        ),
        ("p99_us", one["p99_us"]),
        ("rested_after_s", one["rested_after_s"]),
    ])
}

impl Outcome {
    fn print(&self) {
        let header = [
            "load",
            "transfers/s",
            "p50 µs",
            "p99 µs",
            "floor p50 µs",
            "busy: client, primary, auxiliary, relay",
        ];
        let mut loads = table(&header, &[1, 2, 3, 4, 5]);
        for case in &self.results.cases {
            let range = |name, decimals| case.summary.range(name, decimals);
            let at = |name| case.summary.median[name];
            loads.add_row([
                case.case.name.clone(),
                range("transfers_per_s", 0),
                range("p50_us", 0),
                range("p99_us", 0),
                range("floor_p50_us", 0),
                format!(
                    "{:.2}, {:.2}, {:.2}, {:.2}",
                    at("client_busy"),
                    at("primary_busy"),
                    at("auxiliary_busy"),
                    at("relay_busy")
                ),
            ]);
        }
        say(loads);
        let header = [
            "delay each way",
            "of throughput without",
            "round trip µs",
            "p50 µs",
            "allowed µs",
            "share",
            "floor over it µs",
            "share so",
            "at rest after s",
        ];
        let mut bars = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8]);
        for delayed in &self.delays {
            let range = |name, decimals| delayed.summary.range(name, decimals);
            bars.add_row([
                format!("{} ms", delayed.delay_ms),
                range("throughput_ratio", 2),
                range("round_trip_us", 0),
                range("p50_us", 0),
                range("p50_allowed_us", 0),
                range("p50_of_allowed", 2),
                range("floor_over_link_us", 0),
                range("p50_of_linked", 2),
                range("rested_after_s", 1),
            ]);
        }
        say(bars);
        say(format!(
            "allowed: round trip and {FLOOR_BAR} × the floor without a link; floor over it: plain threads \
             with such a link between them, of which the last share allows {FLOOR_BAR} × what is \
             beside the round trip; at rest: after full load, before one client; median (least to most) of \
             {} rounds in turn; digests equal after each",
            self.delays
                .first()
                .map_or(0, |delayed| delayed.summary.rounds.len())
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_judged_by_what_was_found_before_its_own_round() {
        let round = |round_trip_us: f64| {
            let figures = Figures::from([
                ("round_trip_us", round_trip_us),
                ("floor_over_link_us", round_trip_us + 400.0),
                ("floor_p50_us", 200.0),
                ("p50_us", round_trip_us + 250.0),
                ("p99_us", 0.0),
                ("rested_after_s", 0.0),
            ]);
            let beside = beside_the_link(&figures);
            (beside["p50_of_allowed"], beside["p50_of_linked"])
        };
        // 1.25 × 200 beside the round trip are allowed, and 1.25 × 400 with the link's own floor.
        assert_eq!(round(10_000.0), (1.0, 10_250.0 / 10_500.0));
        assert_eq!(round(40_000.0), (1.0, 40_250.0 / 40_500.0));
    }
}
