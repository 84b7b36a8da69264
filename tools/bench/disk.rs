//! `kanjo bench disk`: a replica whose disk is slow, or stands still for a while.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kanjo_format::limits::{CONNECTION_REQUESTS_MAX, REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use kanjo_node::admin::Condition;
use serde::Serialize;

use super::load::{SLICE, Slice, histogram};
use super::rig::{Case, Length, Rig, Round};
use super::rounds::Figures;
use super::series::{Results, Series, draw, measure};
use super::throughput::{parse_seconds, within};
use super::workload::WorkArgs;
use super::{OutputArgs, say};
use crate::commands::parse_segment_size;
use crate::machine::Machine;
use crate::output::table;
use crate::pair::{Which, Workspace};
use crate::quantities::show_size;

const WARM_UP_MAX: Duration = Duration::from_secs(1);
/// Where in the syncs of a round the disk stands still.
const STOP_AT: f64 = 0.4;

/// Measure what a slow or stopped disk of the auxiliary does to the pair
///
/// The auxiliary runs under `strace`, which lets its syncs (`msync`, `fdatasync`) begin later:
/// every one by some milliseconds, or one of them by seconds. Beside these stand the auxiliary as
/// it is, and under `strace` without delay, which shows what `strace` itself costs.
#[derive(Debug, clap::Args)]
pub(crate) struct DiskArgs {
    /// Milliseconds that every sync of the slow disk takes longer
    #[arg(long, value_name = "MS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    sync_ms: u64,
    /// Milliseconds that the disk stands still once
    #[arg(long, value_name = "MS", default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(1..=30_000))]
    stop_ms: u64,
    /// TCP connections, each a client of its own
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = within(1..=4_096))]
    connections: usize,
    /// Transfers of one request
    #[arg(long, value_name = "B", default_value_t = 100,
        value_parser = within(1..=REQUEST_EVENTS_MAX))]
    batch: usize,
    /// Requests outstanding on each connection
    #[arg(long, value_name = "D", default_value_t = 1,
        value_parser = within(1..=CONNECTION_REQUESTS_MAX))]
    in_flight: usize,
    /// Seconds of each round
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Rounds of each kind of disk
    #[arg(long, value_name = "R", default_value_t = 3,
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

/// What the auxiliary's disk is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum DiskKind {
    AsItIs,
    UnderStrace,
    Slow,
    Stops,
}

const KINDS: [DiskKind; 4] = [
    DiskKind::AsItIs,
    DiskKind::UnderStrace,
    DiskKind::Slow,
    DiskKind::Stops,
];

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    segment_bytes: u64,
    seconds: f64,
    sync_ms: u64,
    stop_ms: u64,
    digests_equal: bool,
    /// Rounds in which the disk was to stand still and no request waited for it.
    stops_missed: usize,
    #[serde(flatten)]
    results: Results,
}

/// Measures, prints, writes JSON and SVGs.
pub(super) async fn run(args: DiskArgs) -> Result<()> {
    look_for_strace()?;
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let mut rig = Rig::start(workspace.path(), args.segment_size, &args.work, |_| {}).await?;
    let mut all = Vec::new();
    for kind in KINDS {
        all.push(Series::prepare(&mut rig, args.case(kind), args.length()).await?);
    }
    let trace = workspace.path().join("strace.txt");
    // Learnt in the round under strace before; none before the first of those ended.
    let (stop_at, last) = (Cell::new(1), Cell::new(DiskKind::AsItIs));
    measure(&mut rig, &mut all, args.rounds, async |rig, place| {
        let kind = KINDS[place];
        if last.replace(kind) == DiskKind::UnderStrace {
            stop_at.set((syncs_in(&trace)? as f64 * STOP_AT) as u64 + 1);
        }
        rig.pair.stop(Which::Second).await?;
        let under = args.strace(kind, &trace, stop_at.get());
        rig.pair.run_under(Which::Second, under);
        rig.pair.start(Which::Second)?;
        rig.pair.expect(Which::First, Condition::Protected).await?;
        Ok(Figures::new())
    })
    .await?;
    drop(rig);
    for series in &mut all {
        for round in &mut series.rounds {
            let gap = gap_figures(round)?;
            round.figures.extend(gap);
        }
    }
    let stops = all
        .iter()
        .zip(KINDS)
        .filter(|(_, kind)| *kind == DiskKind::Stops);
    let rounds = stops.flat_map(|(series, _)| &series.rounds);
    let stops_missed = stops_missed(rounds.map(|round| &round.figures), args.stop_ms);
    draw(&args.output, "disk", "the auxiliary's disk", &all)?;
    let outcome = Outcome {
        benchmark: "disk",
        machine,
        work: args.work,
        segment_bytes: args.segment_size,
        seconds: args.seconds,
        sync_ms: args.sync_ms,
        stop_ms: args.stop_ms,
        digests_equal: true,
        stops_missed,
        results: Results::of(all),
    };
    outcome.print();
    args.output.write_json("disk.json", &outcome)
}

fn look_for_strace() -> Result<()> {
    let mut tried = Command::new("strace");
    match tried.args(["-f", "--seccomp-bpf", "-qq", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or_default();
            bail!("strace, which slows the disk down, cannot be used here: {said}")
        }
        Err(_) => bail!("strace slows the disk down and is not installed: apt-get install strace"),
    }
}

impl DiskArgs {
    fn case(&self, kind: DiskKind) -> Case {
        let name = match kind {
            DiskKind::AsItIs => "as it is".to_owned(),
            DiskKind::UnderStrace => "under strace, no delay".to_owned(),
            DiskKind::Slow => format!("{} ms a sync", self.sync_ms),
            DiskKind::Stops => format!("stops once for {} ms", self.stop_ms),
        };
        Case {
            name,
            connections: self.connections,
            batch: self.batch,
            in_flight: self.in_flight,
            rate: None,
        }
    }

    fn length(&self) -> Length {
        let measured = Duration::from_secs_f64(self.seconds);
        let mut length = Length::new(WARM_UP_MAX.min(measured / 5), measured);
        length.watch_queues = true;
        length
    }

    /// The program that the auxiliary runs under.
    fn strace(&self, kind: DiskKind, trace: &Path, stop_at: u64) -> Vec<OsString> {
        let delay = match kind {
            DiskKind::AsItIs => return Vec::new(),
            DiskKind::UnderStrace => None,
            DiskKind::Slow => Some(format!("{}", self.sync_ms * 1_000)),
            DiskKind::Stops => Some(format!("{}:when={stop_at}", self.stop_ms * 1_000)),
        };
        // Only syncs stop for strace: all else runs at its usual speed.
        let words = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=msync,fdatasync",
            "-o",
        ];
        let mut words: Vec<OsString> = words.map(OsString::from).into();
        words.push(trace.into());
        if let Some(delay) = delay {
            words.push("-e".into());
            words.push(format!("inject=msync,fdatasync:delay_enter={delay}").into());
        }
        words
    }
}

/// How many syncs the thread made that made most of them: the one that acks.
fn syncs_in(trace: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(trace)
        .with_context(|| format!("reading {}", PathBuf::from(trace).display()))?;
    let mut threads: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("sync(")) {
        let thread = line.split_ascii_whitespace().next().unwrap_or_default();
        *threads.entry(thread).or_default() += 1;
    }
    Ok(threads.into_values().max().unwrap_or(0))
}

/// The longest time in which nothing was answered and, if there was one, how it was before and
/// after it.
fn gap_figures(round: &Round) -> Result<Figures> {
    let gap = longest_gap(&round.slices);
    let mut figures = Figures::from([("gap_s", gap.len() as f64 * SLICE.as_secs_f64())]);
    if gap.is_empty() {
        return Ok(figures);
    }
    // The last slice may have been cut short by the end of the round.
    let whole = round.slices.len().saturating_sub(1).max(gap.end);
    let before = Part::of(&round.slices[..gap.start])?;
    // The first slice behind the gap holds the answers that were due in it.
    let after = Part::of(&round.slices[(gap.end + 1).min(whole)..whole])?;
    figures.extend([
        ("transfers_per_s_before_gap", before.transfers_per_s),
        ("transfers_per_s_after_gap", after.transfers_per_s),
        ("p99_us_before_gap", before.p99_us),
        ("p99_us_after_gap", after.p99_us),
    ]);
    Ok(figures)
}

/// Some slices together.
struct Part {
    transfers_per_s: f64,
    p99_us: f64,
}

impl Part {
    fn of(slices: &[Slice]) -> Result<Self> {
        let transfers: u64 = slices.iter().map(|slice| slice.transfers).sum();
        let mut latencies = histogram()?;
        for slice in slices {
            for step in slice.latencies.iter_recorded() {
                let count = step.count_since_last_iteration();
                latencies.saturating_record_n(step.value_iterated_to(), count);
            }
        }
        Ok(Self {
            transfers_per_s: transfers as f64 / (slices.len().max(1) as f64 * SLICE.as_secs_f64()),
            p99_us: latencies.value_at_quantile(0.99) as f64 / 1e3,
        })
    }
}

/// Of rounds in which the disk was to stand still: those in which no request waited for as long.
fn stops_missed<'f>(rounds: impl Iterator<Item = &'f Figures>, stop_ms: u64) -> usize {
    let stop_us = stop_ms as f64 * 1e3;
    rounds.filter(|figures| figures["max_us"] < stop_us).count()
}

fn longest_gap(slices: &[Slice]) -> std::ops::Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (place, slice) in slices.iter().enumerate() {
        if slice.transfers > 0 {
            start = place + 1;
        } else if place + 1 - start > longest.len() {
            longest = start..place + 1;
        }
    }
    longest
}

impl Outcome {
    fn print(&self) {
        let header = [
            "the auxiliary's disk",
            "transfers/s",
            "p50 ms",
            "p99 ms",
            "longest ms",
            "nothing for s",
            "/s before, after",
            "p99 ms before, after",
            "most requests open",
            "most lag",
            "most RSS",
        ];
        let mut kinds = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        for case in &self.results.cases {
            let median = &case.summary.median;
            let millis = |name| format!("{:.1}", median[name] / 1e3);
            let most = |name| case.summary.max[name];
            let around = |before, after, unit: f64| match (median.get(before), median.get(after)) {
                (Some(before), Some(after)) => {
                    format!("{:.0}, {:.0}", before / unit, after / unit)
                }
                _ => "-".to_owned(),
            };
            kinds.add_row([
                case.case.name.clone(),
                case.summary.range("transfers_per_s", 0),
                millis("p50_us"),
                millis("p99_us"),
                millis("max_us"),
                case.summary.range("gap_s", 1),
                around(
                    "transfers_per_s_before_gap",
                    "transfers_per_s_after_gap",
                    1.0,
                ),
                around("p99_us_before_gap", "p99_us_after_gap", 1e3),
                format!("{:.0}", most("requests_outstanding_max")),
                show_size(most("lag_bytes_max") as u64),
                show_size(most("rss_bytes_max") as u64),
            ]);
        }
        say(kinds);
        if self.stops_missed > 0 {
            say(format!(
                "in {} rounds the disk did not stop while it was measured: it stops at a sync \
                 whose number comes from the last round under strace",
                self.stops_missed
            ));
        }
        let load = &self.results.cases[0];
        say(format!(
            "{} connections × {} transfers, {} in flight; median (least to most) of {} rounds of {} s in turn, \
             most of all rounds; digests equal after each",
            load.case.connections,
            load.case.batch,
            load.case.in_flight,
            load.summary.rounds.len(),
            self.seconds
        ));
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn the_longest_gap_is_found() {
        let of = |transfers: &[u64]| {
            let slice = |transfers: &u64| Slice {
                transfers: *transfers,
                latencies: Histogram::new(2).unwrap(),
            };
            longest_gap(&transfers.iter().map(slice).collect::<Vec<_>>())
        };
        assert_eq!(of(&[5, 0, 3, 0, 0, 0, 7, 0]), 3..6);
        assert_eq!(of(&[5, 4, 3]).len(), 0);
        assert_eq!(of(&[0, 0, 1]), 0..2);
    }

    #[test]
    fn a_stop_that_no_request_met_is_counted() {
        let rounds = [2_071_000.0, 34_000.0].map(|longest| Figures::from([("max_us", longest)]));
        assert_eq!(stops_missed(rounds.iter(), 2_000), 1);
        assert_eq!(stops_missed(rounds.iter(), 30), 0);
    }

    #[test]
    fn syncs_are_counted_for_the_thread_that_makes_most() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = "7 fdatasync(3) = 0\n8 msync(0x7f, 4096, MS_SYNC) = 0\n8 msync(0x7f, 1) = 0 (DELAYED)\n8 +++ exited\n";
        std::fs::write(file.path(), lines).unwrap();
        assert_eq!(syncs_in(file.path()).unwrap(), 2);
    }
}
