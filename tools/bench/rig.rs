//! One round of load on a running pair: throughput and latency beside the floor of the machine,
//! and what both nodes used for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use kanjo_client::Client;
use kanjo_node::Config;
use kanjo_node::status::Status;
use serde::Serialize;

use super::costs::Costs;
use super::frames;
use super::load::{Measured, Meter, Shape, Slice, drive, histogram};
use super::rounds::Figures;
use super::sealed::SealedPart;
use super::workload::{WorkArgs, Workload};
use crate::floor::{Floor, FrameBytes};
use crate::pair::{PATIENCE, Pair, Which};

/// Commits of the floor before and after the load of a round.
const FLOOR_BLOCK: u64 = 300;
/// Requests by which is found out how large their batches are.
const SIZING_REQUESTS: u64 = 50;
/// How often a round looks around while the load runs.
const LOOK: Duration = Duration::from_millis(100);
/// How long one looks at a node to see whether it rests.
const REST: Duration = Duration::from_millis(500);
/// It does if what it did beside commits took less than this share of the time.
const REST_SHARE: f64 = 0.02;
/// A round that waits for sealed segments ends after so many times its length even so.
const LENGTHS_MAX: u32 = 4;

/// One kind of load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Case {
    /// For tables and plots.
    pub(super) name: String,
    /// TCP connections, each a client of its own.
    pub(super) connections: usize,
    /// Transfers of one request.
    pub(super) batch: usize,
    /// Requests outstanding on each connection.
    pub(super) in_flight: usize,
    /// Transfers due a second; none: a closed loop.
    pub(super) rate: Option<f64>,
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    /// Not counted.
    pub(super) warm_up: Duration,
    /// Counted.
    pub(super) measured: Duration,
    /// Counted on until so many segments were sealed, up to four times as long.
    pub(super) sealed_segments: u64,
    /// Whether the nodes are asked all the time how long their queues are.
    pub(super) watch_queues: bool,
}

/// What one round gave.
pub(super) struct Round {
    /// By name.
    pub(super) figures: Figures,
    /// Of its requests.
    pub(super) latencies: Histogram<u64>,
    /// Over its time.
    pub(super) slices: Vec<Slice>,
}

/// A pair with accounts, and the floor beside it.
pub(super) struct Rig {
    pub(super) pair: Pair,
    dir: PathBuf,
    pub(super) workload: Rc<RefCell<Workload>>,
    floors: BTreeMap<usize, (FrameBytes, Floor)>,
}

/// What was watched while the load ran.
struct Watched {
    /// How all were when the measured time began.
    before: Look,
    /// And when it ended.
    after: Look,
    queues: Option<Queues>,
}

/// The most of each that was seen.
#[derive(Default)]
struct Queues {
    requests_outstanding: u64,
    lag_bytes: u64,
    /// Of both nodes together.
    rss_bytes: u64,
}

/// How both nodes and this process are at one time.
pub(super) struct Look {
    pub(super) nodes: [(Status, Costs); 2],
    own: Costs,
}

impl Rig {
    /// Starts a pair in `dir` and opens the accounts.
    pub(super) async fn start(
        dir: &Path,
        segment_bytes: u64,
        work: &WorkArgs,
        tune: impl Fn(&mut Config),
    ) -> Result<Self> {
        let pair = Pair::format(dir, segment_bytes, tune)?;
        Self::on(pair, dir, work).await
    }

    /// The same with a pair that was formatted and does not run yet.
    pub(super) async fn on(mut pair: Pair, dir: &Path, work: &WorkArgs) -> Result<Self> {
        let started = pair.start_protected().await;
        started.with_context(|| pair.last_words())?;
        let workload = Workload::open(&pair.connect().await?, work).await?;
        Ok(Self {
            pair,
            dir: dir.to_owned(),
            workload: Rc::new(RefCell::new(workload)),
            floors: BTreeMap::new(),
        })
    }

    /// Prepares the floor of requests of so many transfers; gives what one commit of it is.
    pub(super) async fn prepare_floor(&mut self, batch: usize) -> Result<FrameBytes> {
        if let Some((sizes, _)) = self.floors.get(&batch) {
            return Ok(*sizes);
        }
        let client = self.connect().await?;
        let shape = Shape {
            batch,
            in_flight: 1,
            rate: None,
        };
        let before = self.pair.status(Which::First).await?;
        // One request at a time: each is a batch of its own.
        let enough = SIZING_REQUESTS * batch as u64;
        drive(&[client], shape, &self.workload, async |meter| {
            meter.begin();
            while meter.transfers() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
        .await?;
        let after = self.settle().await?;
        let requests = (after.transfers - before.transfers) / batch as u64;
        let each = |bytes: u64| bytes.div_ceil(requests.max(1)) as usize;
        let sizes = frames::of_request(
            batch,
            each(after.payload_bytes - before.payload_bytes),
            each(after.shipped_bytes - before.shipped_bytes),
        );
        let mut floor = Floor::start(&self.dir, sizes)?;
        // Warm, as the other side is.
        floor.run_block(FLOOR_BLOCK, &mut histogram()?)?;
        self.floors.insert(batch, (sizes, floor));
        Ok(sizes)
    }

    /// One round; what it did so far is told to `progress`, which counts milliseconds.
    pub(super) async fn round(
        &mut self,
        case: &Case,
        length: Length,
        progress: &ProgressBar,
    ) -> Result<Round> {
        self.prepare_floor(case.batch).await?;
        let mut floor = histogram()?;
        self.run_floor(case.batch, &mut floor)?;
        let mut clients = Vec::new();
        for _ in 0..case.connections {
            clients.push(self.connect().await?);
        }
        let shape = Shape {
            batch: case.batch,
            in_flight: case.in_flight,
            rate: case.rate,
        };
        let from = self.pair.status(Which::First).await?.tail_lsn;
        let (pair, done) = (&mut self.pair, progress.position());
        let (watched, measured) = drive(&clients, shape, &self.workload, async |meter| {
            progress.set_message(case.name.clone());
            let watched = watch(pair, meter, length, progress).await;
            progress.set_position(done + length.bar_units());
            watched
        })
        .await?;
        drop(clients);
        ensure!(
            !measured.latencies.is_empty(),
            "no request of {} transfers was answered in the measured time: measure longer with --seconds",
            case.batch
        );
        let ended = Instant::now();
        let settled = self.settle().await?;
        let mut figures = Figures::new();
        figures.extend(nodes_figures(&watched, &measured));
        figures.extend(watched.queues.iter().flat_map(Queues::figures));
        let sealing = self.sealing_figures(from, &settled, &watched.after, ended);
        figures.extend(sealing.await?);
        self.run_floor(case.batch, &mut floor)?;
        figures.extend(time_figures(&measured, &floor));
        Ok(Round {
            figures,
            latencies: measured.latencies,
            slices: measured.slices,
        })
    }

    /// A client of its own, patient with each request.
    pub(super) async fn connect(&self) -> Result<Client> {
        let tune = |config: &mut kanjo_client::ClientConfig| config.deadline = PATIENCE;
        self.pair.connect_with(tune).await
    }

    fn run_floor(&mut self, batch: usize, latencies: &mut Histogram<u64>) -> Result<()> {
        let (_, floor) = self.floors.get_mut(&batch).context("it was prepared")?;
        floor.run_block(FLOOR_BLOCK, latencies)
    }

    /// Waits until nothing is under way; both nodes must then have the same accounts. Gives how
    /// the primary is.
    pub(super) async fn settle(&mut self) -> Result<Status> {
        let [first, second] = self.pair.settle().await?;
        ensure!(
            first.digest == second.digest && first.transfers == second.transfers,
            "the digests differ: {} and {}",
            first.digest,
            second.digest
        );
        Ok(first)
    }

    /// Waits until all full segments are sealed and tells how long that took after the load, and
    /// what the transfers of this round take on disk.
    async fn sealing_figures(
        &mut self,
        from: u64,
        settled: &Status,
        end: &Look,
        ended: Instant,
    ) -> Result<Figures> {
        let segment_bytes = self.pair.segment_bytes();
        let end = &end.nodes[0].0;
        let behind = (end.tail_lsn / segment_bytes).saturating_sub(end.sealed_segments);
        self.wait_until_sealed(settled.tail_lsn).await?;
        let mut figures = Figures::from([
            ("sealing_behind_segments", behind as f64),
            ("sealing_after_s", ended.elapsed().as_secs_f64()),
        ]);
        let part = SealedPart::between(self.pair.data_dir(Which::First), from, settled.tail_lsn)?;
        if part.records > 0 {
            let bytes = part.bytes as f64 / part.records as f64;
            figures.insert("disk_bytes_per_transfer", bytes);
        }
        Ok(figures)
    }

    /// Waits until both nodes have sealed all segments that are full below this lsn.
    pub(super) async fn wait_until_sealed(&self, lsn: u64) -> Result<()> {
        let full = lsn / self.pair.segment_bytes();
        let begun = Instant::now();
        for which in [Which::First, Which::Second] {
            while self.sealed_segments(which)? < full {
                ensure!(
                    begun.elapsed() < 5 * PATIENCE,
                    "segments are not being sealed"
                );
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Waits until both nodes have done what earlier load left to do beside the commits, as
    /// recompression, indexing and merging; how long that took.
    pub(super) async fn wait_until_at_rest(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let mut look = Look::at(&mut self.pair).await?;
        loop {
            tokio::time::sleep(REST).await;
            let now = Look::at(&mut self.pair).await?;
            let rests = |place: usize| {
                let used = now.nodes[place].1.since(&look.nodes[place].1);
                used.beside_cpu_seconds() < REST.as_secs_f64() * REST_SHARE
            };
            if rests(0) && rests(1) {
                return Ok(begun.elapsed());
            }
            ensure!(
                begun.elapsed() < 5 * PATIENCE,
                "the nodes do not come to rest without load"
            );
            look = now;
        }
    }

    fn sealed_segments(&self, which: Which) -> Result<u64> {
        Ok(SealedPart::between(self.pair.data_dir(which), 0, u64::MAX)?.segments)
    }
}

impl Length {
    /// By the clock alone.
    pub(super) const fn new(warm_up: Duration, measured: Duration) -> Self {
        Self {
            warm_up,
            measured,
            sealed_segments: 0,
            watch_queues: false,
        }
    }

    /// What a round adds to the progress bar.
    pub(super) fn bar_units(&self) -> u64 {
        (self.warm_up + self.measured).as_millis() as u64
    }
}

/// Lets the load run for its time; gives how all were when it began and when it ended.
async fn watch(
    pair: &mut Pair,
    meter: &Meter,
    length: Length,
    progress: &ProgressBar,
) -> Result<Watched> {
    let position = progress.position();
    let begun = Instant::now();
    while begun.elapsed() < length.warm_up {
        tokio::time::sleep(LOOK.min(length.warm_up)).await;
        progress.set_position(position + begun.elapsed().as_millis() as u64);
    }
    let before = Look::at(pair).await?;
    meter.begin();
    let begun = Instant::now();
    let position = progress.position();
    let mut queues = length.watch_queues.then(Queues::default);
    loop {
        let left = length.measured.saturating_sub(begun.elapsed());
        tokio::time::sleep(LOOK.min(left.max(Duration::from_millis(1)))).await;
        let elapsed = begun.elapsed();
        let units = elapsed.min(length.measured).as_millis() as u64;
        progress.set_position(position + units);
        if let Some(queues) = &mut queues {
            queues.look(pair, &before).await?;
        }
        if elapsed < length.measured {
            continue;
        }
        let after = Look::at(pair).await?;
        let sealed = |look: &Look| look.nodes[0].0.sealed_segments;
        let enough = sealed(&after) - sealed(&before) >= length.sealed_segments;
        if enough || elapsed > length.measured * LENGTHS_MAX {
            return Ok(Watched {
                before,
                after,
                queues,
            });
        }
    }
}

impl Queues {
    /// Asks the primary alone: the auxiliary may stand still.
    async fn look(&mut self, pair: &mut Pair, nodes: &Look) -> Result<()> {
        let status = pair.status(Which::First).await?;
        let rss = |place: usize| Costs::of(nodes.nodes[place].0.pid).map(|costs| costs.rss_bytes);
        self.requests_outstanding = self.requests_outstanding.max(status.requests_outstanding);
        self.lag_bytes = self.lag_bytes.max(status.peer.lag_bytes);
        self.rss_bytes = self.rss_bytes.max(rss(0)? + rss(1)?);
        Ok(())
    }

    fn figures(&self) -> Figures {
        Figures::from([
            ("requests_outstanding_max", self.requests_outstanding as f64),
            ("lag_bytes_max", self.lag_bytes as f64),
            ("rss_bytes_max", self.rss_bytes as f64),
        ])
    }
}

impl Look {
    pub(super) async fn at(pair: &mut Pair) -> Result<Self> {
        let first = pair.status(Which::First).await?;
        let second = pair.status(Which::Second).await?;
        let costs = [Costs::of(first.pid)?, Costs::of(second.pid)?];
        let [first_costs, second_costs] = costs;
        Ok(Self {
            nodes: [(first, first_costs), (second, second_costs)],
            own: Costs::own()?,
        })
    }

    /// What the threads of a node that commit have written since, for each byte of the whole
    /// pages by which its log grew.
    pub(super) fn commit_writes_ratio(&self, before: &Self, place: usize) -> f64 {
        let ((now, costs), (then, earlier)) = (&self.nodes[place], &before.nodes[place]);
        let appended = now.appended_bytes - then.appended_bytes;
        costs.since(earlier).commit_written_bytes() as f64 / appended.max(1) as f64
    }
}

fn time_figures(measured: &Measured, floor: &Histogram<u64>) -> Figures {
    let at =
        |latencies: &Histogram<u64>, quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let (p50, p99) = (at(&measured.latencies, 0.5), at(&measured.latencies, 0.99));
    let (floor_p50, floor_p99) = (at(floor, 0.5), at(floor, 0.99));
    Figures::from([
        ("seconds", measured.seconds),
        ("transfers", measured.transfers as f64),
        (
            "transfers_per_s",
            measured.transfers as f64 / measured.seconds,
        ),
        ("p50_us", p50),
        ("p99_us", p99),
        ("max_us", measured.latencies.max() as f64 / 1e3),
        ("floor_p50_us", floor_p50),
        ("floor_p99_us", floor_p99),
        ("ratio_p50", p50 / floor_p50),
        ("ratio_p99", p99 / floor_p99),
    ])
}

/// What the nodes and this process used between two looks.
fn nodes_figures(watched: &Watched, measured: &Measured) -> Figures {
    let Watched { before, after, .. } = watched;
    let used = |place: usize| after.nodes[place].1.since(&before.nodes[place].1);
    let (primary, auxiliary) = (used(0), used(1));
    let own = after.own.since(&before.own);
    let relay = own.relay_cpu_seconds();
    let client = own.cpu_seconds - relay;
    let micros = |seconds: f64| seconds * 1e6 / measured.transfers.max(1) as f64;
    let share = |seconds: f64| seconds / measured.seconds;
    let (then, now) = (&before.nodes[0].0, &after.nodes[0].0);
    let transfers = (now.transfers - then.transfers).max(1) as f64;
    let each = |bytes: fn(&Status) -> u64| (bytes(now) - bytes(then)) as f64 / transfers;
    let sealed = now.sealed_segments - then.sealed_segments;
    let all_cpu = primary.cpu_seconds + auxiliary.cpu_seconds + client;
    Figures::from([
        (
            "wire_bytes_per_transfer",
            each(|s| s.sent_bytes + s.received_bytes),
        ),
        ("shipped_bytes_per_transfer", each(|s| s.shipped_bytes)),
        ("payload_bytes_per_transfer", each(|s| s.payload_bytes)),
        ("log_bytes_per_transfer", each(|s| s.appended_bytes)),
        ("prepared_bytes_per_transfer", each(|s| s.prepared_bytes)),
        ("sealed_bytes_per_transfer", each(|s| s.sealed_bytes)),
        (
            "checkpoint_bytes_per_transfer",
            each(|s| s.checkpoint_bytes),
        ),
        (
            "primary_commit_writes_ratio",
            after.commit_writes_ratio(before, 0),
        ),
        (
            "auxiliary_commit_writes_ratio",
            after.commit_writes_ratio(before, 1),
        ),
        (
            "primary_other_writes_per_transfer",
            primary.beside_written_bytes() as f64 / transfers,
        ),
        ("sealed_segments", sealed as f64),
        (
            "rss_bytes",
            (primary.rss_bytes + auxiliary.rss_bytes) as f64,
        ),
        ("primary_rss_bytes", primary.rss_bytes as f64),
        ("auxiliary_rss_bytes", auxiliary.rss_bytes as f64),
        ("primary_own_memory_bytes", primary.own_bytes as f64),
        ("auxiliary_own_memory_bytes", auxiliary.own_bytes as f64),
        ("cpu_us_per_transfer", micros(all_cpu)),
        ("client_cpu_us_per_transfer", micros(client)),
        ("primary_cpu_us_per_transfer", micros(primary.cpu_seconds)),
        (
            "auxiliary_cpu_us_per_transfer",
            micros(auxiliary.cpu_seconds),
        ),
        ("client_busy", share(client)),
        ("relay_busy", share(relay)),
        ("primary_busy", share(primary.cpu_seconds)),
        ("auxiliary_busy", share(auxiliary.cpu_seconds)),
        ("primary_hot_busy", share(primary.hot_cpu_seconds())),
        ("auxiliary_hot_busy", share(auxiliary.hot_cpu_seconds())),
    ])
}
