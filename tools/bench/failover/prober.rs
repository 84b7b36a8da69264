//! The one client that measures: one transfer outstanding, asked again at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use kanjo_client::{Client, ClientConfig};

use crate::bench::load::histogram;
use crate::bench::micros;
use crate::bench::rounds::Figures;
use crate::bench::workload::Workload;
use crate::clouds::{Clouds, Part};
use crate::pair::PATIENCE;

/// A request without an answer for so long is asked again, and its server is in doubt.
const DEADLINE: Duration = Duration::from_millis(50);
/// A server that does not greet within this is stopped.
const DIAL_TIMEOUT: Duration = Duration::from_millis(50);
/// Between two searches for a primary: what this client adds to a figure, at most.
const SEARCH_PAUSE: Duration = Duration::from_millis(5);
/// Commits by which quiet times are known.
const QUIET: u64 = 500;

/// Posts and counts.
pub(super) struct Prober {
    client: Client,
    workload: Rc<RefCell<Workload>>,
    /// Transfers that the ledger must hold.
    expected: Cell<u64>,
}

impl Prober {
    /// Connects to a ledger that holds so many transfers.
    pub(super) async fn connect(
        clouds: &Clouds,
        workload: Rc<RefCell<Workload>>,
        held: u64,
    ) -> Result<Self> {
        let hasty = |config: &mut ClientConfig| {
            config.deadline = DEADLINE;
            config.dial_timeout = DIAL_TIMEOUT;
            config.backoff_min = SEARCH_PAUSE;
            config.backoff_max = SEARCH_PAUSE;
        };
        Ok(Self {
            client: clouds.connect_with(hasty).await?,
            workload,
            expected: Cell::new(held),
        })
    }

    /// One transfer, until it is posted; gives when that was answered, and by whom.
    async fn post(&self) -> Result<(Instant, Option<Part>)> {
        let transfer = self.workload.borrow_mut().next();
        let some = std::slice::from_ref(&transfer);
        let posted = self.client.create_transfers_resolved(some, PATIENCE).await;
        let answered = Instant::now();
        let posted = posted.context("a measured transfer")?;
        ensure!(
            matches!(posted[..], [one] if one.posted()),
            "a measured transfer got {posted:?}"
        );
        self.expected.set(self.expected.get() + 1);
        let primary = self.client.primary();
        let by = primary.and_then(|primary| Part::of_node(primary.node.get()));
        Ok((answered, by))
    }

    /// Posts until the first answer of such a server; gives when that was.
    pub(super) async fn first_by(&self, wanted: impl Fn(Part) -> bool) -> Result<Instant> {
        loop {
            let (answered, by) = self.post().await?;
            if by.is_some_and(&wanted) {
                return Ok(answered);
            }
        }
    }

    /// Posts until `done` says so; gives the longest time between two answers.
    pub(super) async fn longest_gap(&self, done: &Cell<bool>) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        let mut last = Instant::now();
        while !done.get() {
            let (answered, _) = self.post().await?;
            longest = longest.max(answered - last);
            last = answered;
        }
        Ok(longest)
    }

    /// What a commit takes this client while nothing else happens.
    pub(super) async fn in_quiet_times(&self) -> Result<Figures> {
        let mut latencies: Histogram<u64> = histogram()?;
        for _ in 0..QUIET {
            let begun = Instant::now();
            let (answered, _) = self.post().await?;
            let nanos = u64::try_from((answered - begun).as_nanos()).unwrap_or(u64::MAX);
            latencies.saturating_record(nanos);
        }
        Ok(Figures::from([
            ("quiet_p50_us", micros(&latencies, 0.5)),
            ("quiet_p99_us", micros(&latencies, 0.99)),
        ]))
    }

    /// Every transfer that was answered is there, once.
    pub(super) fn check(&self, held: u64) -> Result<()> {
        let expected = self.expected.get();
        ensure!(
            held == expected,
            "the ledger holds {held} transfers, {expected} were answered"
        );
        Ok(())
    }
}
