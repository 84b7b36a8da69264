//! Posts transfers, one a request, many requests outstanding, and keeps every answer.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use kanjo_client::{Client, Resolved, TransferBody};
use kanjo_format::result::CreateTransferResult;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long a transfer is repeated until it must have an answer.
pub(super) const RESOLVING_MAX: Duration = Duration::from_secs(60);
/// Longest latency that is told apart from longer ones.
const NANOS_MAX: u64 = 60_000_000_000;

/// How a transfer ended, for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands in the ledger, once.
    Posted,
    /// It does not and never will: a balance limit stood against it.
    Rejected,
}

/// Judges the last answer to a transfer that nobody else knows the id of.
pub(super) fn judge(resolved: Resolved) -> Result<Fate> {
    let number = resolved.result.result;
    let Some(result) = CreateTransferResult::from_number(number) else {
        bail!("result {number} is unknown");
    };
    match result {
        CreateTransferResult::Created => Ok(Fate::Posted),
        CreateTransferResult::ExceedsCredits | CreateTransferResult::ExceedsDebits => {
            Ok(Fate::Rejected)
        }
        // An attempt whose answer got lost had come that far.
        CreateTransferResult::Exists if resolved.repeated => Ok(Fate::Posted),
        CreateTransferResult::IdAlreadyFailed if resolved.repeated => Ok(Fate::Rejected),
        other => bail!("the unexpected result {}", other.name()),
    }
}

/// A transfer with its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// As it was sent.
    pub(super) transfer: TransferBody,
    /// What became of it.
    pub(super) fate: Fate,
    /// When it was posted, by the log's time.
    pub(super) timestamp: u64,
    /// An attempt before had an unknown outcome.
    pub(super) repeated: bool,
}

/// Where and when somebody takes over, as the posting side sees it.
#[derive(Debug, Default)]
struct Outage {
    killed: OnceLock<Instant>,
    /// Since the kill, the first answer that came from another node than the killed one.
    first_answer: OnceLock<Instant>,
    over: AtomicBool,
}

/// Posts over several connections and remembers.
pub(super) struct Poster {
    clients: Vec<Client>,
    outstanding: usize,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Mutex<Vec<Answer>>,
    latencies: Mutex<Histogram<u64>>,
    answered: AtomicU64,
    in_flight: AtomicUsize,
    /// Wakes whoever waits for an answer count.
    mark: Notify,
    mark_at: AtomicU64,
    outage: Outage,
    bar: ProgressBar,
}

impl Poster {
    /// Over these connections, with so many requests outstanding in all.
    pub(super) fn new(clients: Vec<Client>, outstanding: usize, bar: ProgressBar) -> Result<Self> {
        Ok(Self {
            clients,
            outstanding,
            shared: Arc::new(Shared {
                answers: Mutex::default(),
                latencies: Mutex::new(Histogram::new_with_bounds(1, NANOS_MAX, 3)?),
                answered: AtomicU64::new(0),
                in_flight: AtomicUsize::new(0),
                mark: Notify::new(),
                mark_at: AtomicU64::new(u64::MAX),
                outage: Outage::default(),
                bar,
            }),
        })
    }

    /// Any of the connections, for reading.
    pub(super) fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// Posts all of them and returns when each one has its answer. A request of unknown outcome
    /// is repeated with the same id.
    pub(super) async fn post_all(&self, transfers: Vec<TransferBody>) -> Result<()> {
        let transfers: Arc<[TransferBody]> = transfers.into();
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for worker in 0..self.outstanding.min(transfers.len()) {
            let client = self.clients[worker % self.clients.len()].clone();
            let (shared, transfers, next) = (self.shared.clone(), transfers.clone(), next.clone());
            workers.spawn(async move {
                while let Some(transfer) = transfers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    shared.post(&client, *transfer).await?;
                }
                Ok::<(), anyhow::Error>(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended.context("a posting task")??;
        }
        Ok(())
    }

    /// Waits until so many transfers have an answer in all.
    pub(super) async fn answered(&self, count: u64) {
        self.shared.mark_at.store(count, Ordering::Relaxed);
        while self.shared.answered.load(Ordering::Relaxed) < count {
            self.shared.mark.notified().await;
        }
    }

    /// Requests that have no answer yet.
    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// The primary was killed just now.
    pub(super) fn note_kill(&self, at: Instant) {
        // There is one kill.
        let _ = self.shared.outage.killed.set(at);
    }

    /// From the kill to the first answer of the node that took over.
    pub(super) fn outage(&self) -> Option<Duration> {
        let outage = &self.shared.outage;
        let (killed, first) = (outage.killed.get()?, outage.first_answer.get()?);
        Some(first.saturating_duration_since(*killed))
    }

    /// A copy of all answers so far, in the order in which they came.
    pub(super) fn answers(&self) -> Vec<Answer> {
        held(&self.shared.answers).clone()
    }

    /// Nanoseconds of each commit that did not meet the kill.
    pub(super) fn latencies(&self) -> Histogram<u64> {
        held(&self.shared.latencies).clone()
    }
}

impl Shared {
    async fn post(&self, client: &Client, transfer: TransferBody) -> Result<()> {
        let begun = Instant::now();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let resolved = client
            .create_transfers_resolved(&[transfer], RESOLVING_MAX)
            .await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let of = || format!("transfer {}", transfer.id.get());
        let resolved = resolved.with_context(of)?;
        let [resolved] = resolved[..] else {
            bail!("{} results for one transfer", resolved.len());
        };
        let fate = judge(resolved).with_context(of)?;
        self.time(client, begun, resolved);
        held(&self.answers).push(Answer {
            transfer,
            fate,
            timestamp: resolved.result.timestamp,
            repeated: resolved.repeated,
        });
        self.bar.inc(1);
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if answered == self.mark_at.load(Ordering::Relaxed) {
            self.mark.notify_one();
        }
        Ok(())
    }

    /// An answer that met the kill tells how long the take-over took; all others tell how long
    /// a commit takes.
    fn time(&self, client: &Client, begun: Instant, resolved: Resolved) {
        let killed = self.outage.killed.get();
        let met_kill = killed.is_some_and(|killed| begun <= *killed);
        if killed.is_some() && !self.outage.over.load(Ordering::Relaxed) {
            let survivor = super::AUXILIARY.number();
            let by = client.primary().map(|primary| primary.node.get());
            if by == Some(survivor) {
                // The first one stays.
                let _ = self.outage.first_answer.set(Instant::now());
                self.outage.over.store(true, Ordering::Relaxed);
            }
        }
        // What waited for the take-over without being sent began after the kill and before the
        // first answer.
        let first = self.outage.first_answer.get();
        let waited = killed.is_some() && first.is_none_or(|first| begun <= *first);
        if !met_kill && !waited && !resolved.repeated {
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            held(&self.latencies).saturating_record(nanos);
        }
    }
}

/// The data stays whole whatever a panicking holder did: each change is one call.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kanjo_client::CreateResult;

    fn ended(result: CreateTransferResult, repeated: bool) -> Option<Fate> {
        let result = CreateResult {
            result: result.number(),
            timestamp: 1,
        };
        judge(Resolved { result, repeated }).ok()
    }

    #[test]
    fn an_id_that_exists_is_ours_only_after_an_attempt_of_unknown_outcome() {
        use CreateTransferResult as R;
        assert_eq!(ended(R::Created, false), Some(Fate::Posted));
        assert_eq!(ended(R::Created, true), Some(Fate::Posted));
        assert_eq!(ended(R::Exists, true), Some(Fate::Posted));
        assert_eq!(ended(R::Exists, false), None);
        assert_eq!(ended(R::ExistsWithDifferentAmount, true), None);
    }

    #[test]
    fn only_a_balance_limit_rejects_and_a_lost_rejection_is_still_one() {
        use CreateTransferResult as R;
        assert_eq!(ended(R::ExceedsCredits, false), Some(Fate::Rejected));
        assert_eq!(ended(R::ExceedsDebits, true), Some(Fate::Rejected));
        assert_eq!(ended(R::IdAlreadyFailed, true), Some(Fate::Rejected));
        assert_eq!(ended(R::IdAlreadyFailed, false), None);
        assert_eq!(ended(R::DebitAccountNotFound, false), None);
    }
}
