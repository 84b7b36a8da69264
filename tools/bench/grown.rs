//! A pair that grows, and what it does at each size: for `growth` and `history`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use kanjo_format::limits::{REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use kanjo_node::admin::Condition;
use serde::Serialize;

use super::load::{SLICE, Shape, drive};
use super::rig::{Case, Length, Rig};
use super::rounds::Figures;
use super::sealed::SealedPart;
use super::throughput::parse_seconds;
use super::workload::{IdOrder, WorkArgs};
use crate::pair::Which;

/// Requests outstanding while transfers are posted in batches.
const IN_FLIGHT: usize = 8;
/// A node may replay a long log before it answers.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often one looks whether enough was posted.
const LOOK: Duration = Duration::from_millis(5);
/// How often one looks whether the log is indexed.
const LOOK_AT_INDEX: Duration = Duration::from_millis(50);
/// Length of a stretch of history of which one throughput is told.
const STRETCH: Duration = Duration::from_secs(1);
/// What is kept of a round of batches, and under which name.
const OF_BATCHES: [(&str, &str); 11] = [
    ("transfers_per_s", "transfers_per_s"),
    ("floor_p50_us", "batch_floor_p50_us"),
    ("p50_us", "batch_p50_us"),
    ("p99_us", "batch_p99_us"),
    ("cpu_us_per_transfer", "cpu_us_per_transfer"),
    ("primary_cpu_us_per_transfer", "primary_cpu_us_per_transfer"),
    (
        "auxiliary_cpu_us_per_transfer",
        "auxiliary_cpu_us_per_transfer",
    ),
    ("wire_bytes_per_transfer", "wire_bytes_per_transfer"),
    ("rss_bytes", "rss_bytes"),
    ("primary_own_memory_bytes", "primary_own_memory_bytes"),
    ("auxiliary_own_memory_bytes", "auxiliary_own_memory_bytes"),
];
/// The same of a round of one transfer a request.
const OF_COMMITS: [&str; 6] = [
    "p50_us",
    "p99_us",
    "floor_p50_us",
    "floor_p99_us",
    "ratio_p50",
    "ratio_p99",
];

/// Throughput at a size of history: transfers before, transfers a second.
pub(super) type Stretch = (f64, f64);

/// How much is posted for one measurement.
#[derive(Clone, Copy, Debug, clap::Args, Serialize)]
pub(super) struct LoadArgs {
    /// Measured time of throughput and of single commits, each, at each size; a fifth of it is for warming
    /// up before
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = parse_seconds)]
    pub(super) seconds: f64,
    /// Transfers of a request, where throughput is measured and where history grows
    #[arg(long, value_name = "N", default_value_t = REQUEST_EVENTS_MAX as u64,
        value_parser = clap::value_parser!(u64).range(2..=REQUEST_EVENTS_MAX as u64))]
    pub(super) batch: u64,
}

/// A running pair.
pub(super) struct Grown {
    rig: Rig,
    length: Length,
    batch: usize,
    accounts: u64,
    opening_seconds: f64,
    /// Throughput of all that was posted to grow.
    pub(super) stretches: Vec<Stretch>,
}

impl Grown {
    /// Starts a pair in `dir` and opens its accounts.
    pub(super) async fn start(
        dir: &Path,
        work: &WorkArgs,
        ids: IdOrder,
        load: LoadArgs,
    ) -> Result<Self> {
        let begun = Instant::now();
        let mut rig = Rig::start(dir, SEGMENT_BYTES_DEFAULT, work, |_| {}).await?;
        let opening_seconds = begun.elapsed().as_secs_f64();
        rig.workload.borrow_mut().order_ids(ids);
        rig.pair.wait_at_most(PATIENCE);
        let measured = Duration::from_secs_f64(load.seconds);
        Ok(Self {
            rig,
            length: Length::new(measured / 5, measured),
            batch: load.batch as usize,
            accounts: work.accounts,
            opening_seconds,
            stretches: Vec::new(),
        })
    }

    /// Posts in batches until there are so many transfers; none if there are more.
    pub(super) async fn grow(&mut self, transfers: u64) -> Result<()> {
        let before = self.rig.pair.status(Which::First).await?.transfers;
        let Some(missing) = transfers.checked_sub(before).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let shape = Shape {
            batch: self.batch.min(missing as usize),
            in_flight: IN_FLIGHT,
            rate: None,
        };
        let clients = [self.rig.connect().await?];
        let driven = drive(&clients, shape, &self.rig.workload, async |meter| {
            meter.begin();
            while meter.transfers() < missing {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        });
        let ((), measured) = driven.await?;
        let mut at = before;
        let a_stretch = (STRETCH.as_nanos() / SLICE.as_nanos()) as usize;
        for slices in measured.slices.chunks_exact(a_stretch) {
            let posted: u64 = slices.iter().map(|slice| slice.transfers).sum();
            self.stretches
                .push((at as f64, posted as f64 / STRETCH.as_secs_f64()));
            at += posted;
        }
        self.rig.settle().await?;
        Ok(())
    }

    /// Measures throughput of batches, one commit, and the restart of each node.
    pub(super) async fn measure(&mut self, progress: &ProgressBar) -> Result<Figures> {
        let index_catch_up_s = self.wait_for_index().await?;
        let transfers = self.rig.pair.status(Which::First).await?.transfers;
        let mut figures = Figures::from([
            ("transfers", transfers as f64),
            ("index_catch_up_s", index_catch_up_s),
            ("accounts", self.accounts as f64),
            ("opening_s", self.opening_seconds),
        ]);
        let many = case("batches", self.batch, IN_FLIGHT);
        let batches = self.rig.round(&many, self.length, progress).await?.figures;
        let kept = OF_BATCHES.iter();
        figures.extend(kept.filter_map(|(from, to)| Some((*to, *batches.get(from)?))));
        let single = case("single transfers", 1, 1);
        let commits = self
            .rig
            .round(&single, self.length, progress)
            .await?
            .figures;
        let kept = OF_COMMITS.iter();
        figures.extend(kept.filter_map(|name| Some((*name, *commits.get(name)?))));
        let sealed = SealedPart::between(self.rig.pair.data_dir(Which::First), 0, u64::MAX)?;
        if sealed.records > 0 {
            let bytes = sealed.bytes as f64 / sealed.records as f64;
            figures.insert("disk_bytes_per_transfer", bytes);
        }
        let status = self.rig.pair.status(Which::First).await?;
        let data = self.rig.pair.data_dir(Which::First);
        let indexed = SealedPart::between(data, 0, status.indexed_lsn)?;
        if indexed.records > 0 {
            let index = status.index_bytes as f64 / indexed.records as f64;
            let log = indexed.bytes as f64 / indexed.records as f64;
            figures.insert("index_bytes_per_transfer", index);
            figures.insert("log_and_index_bytes_per_transfer", log + index);
        }
        figures.insert("young_ids", status.young_ids as f64);
        figures.insert("restart_transfers", status.transfers as f64);
        figures.insert("restart_auxiliary_s", self.restart(Which::Second).await?);
        figures.insert("restart_primary_s", self.restart(Which::First).await?);
        // The same accounts as before, in both.
        self.rig.settle().await?;
        Ok(figures)
    }

    /// Waits until both nodes have recompressed and indexed what they can, so that each size is
    /// measured alike; how long that took.
    async fn wait_for_index(&mut self) -> Result<f64> {
        let begun = Instant::now();
        for which in [Which::First, Which::Second] {
            loop {
                let status = self.rig.pair.status(which).await?;
                let full = status.applied_lsn / SEGMENT_BYTES_DEFAULT * SEGMENT_BYTES_DEFAULT;
                if status.indexed_lsn >= full {
                    break;
                }
                ensure!(
                    begun.elapsed() < PATIENCE,
                    "{which:?} does not index its log"
                );
                tokio::time::sleep(LOOK_AT_INDEX).await;
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Stops a node cleanly and starts it again: how long until the primary serves, with this
    /// node in the in-sync set.
    async fn restart(&mut self, which: Which) -> Result<f64> {
        let pair = &mut self.rig.pair;
        pair.stop(which).await?;
        let begun = Instant::now();
        pair.start(which)?;
        if which == Which::First {
            pair.expect(Which::First, Condition::Serving).await?;
        }
        pair.expect(Which::First, Condition::Protected).await?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn case(name: &str, batch: usize, in_flight: usize) -> Case {
    Case {
        name: name.to_owned(),
        connections: 1,
        batch,
        in_flight,
        rate: None,
    }
}

/// Where history is measured: at its beginning and at five shares of `most`.
pub(super) fn sizes_of_history(most: u64) -> Vec<u64> {
    let mut sizes = vec![0];
    sizes.extend([20, 10, 4, 2, 1].map(|share| most / share));
    sizes.dedup();
    sizes
}

/// Powers of ten from a thousand up to `most`, which is the last.
pub(super) fn sizes_of_accounts(most: u64) -> Vec<u64> {
    let powers = (3..8).map(|power| 10_u64.pow(power));
    let mut sizes: Vec<u64> = powers.filter(|size| *size < most).collect();
    sizes.push(most);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_up_to_the_last() {
        let millions = sizes_of_history(20_000_000).into_iter();
        let millions: Vec<u64> = millions.map(|size| size / 1_000_000).collect();
        assert_eq!(millions, [0, 1, 2, 5, 10, 20]);
        assert_eq!(sizes_of_history(0), [0]);
        assert_eq!(sizes_of_accounts(10_000), [1_000, 10_000]);
        assert_eq!(sizes_of_accounts(2_500), [1_000, 2_500]);
        assert_eq!(sizes_of_accounts(500), [500]);
        assert_eq!(sizes_of_accounts(10_000_000).len(), 5);
    }
}
