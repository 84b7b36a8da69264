//! Requests to a batch: executed against memory, appended, and held until they are committed.

use std::time::{Duration, Instant};

use kanjo_engine::{Ledger, OpenBatch};
use kanjo_format::client::{FrameKind, Outcome, ResultRun};
use kanjo_format::limits::{BATCH_RECORDS_MAX, SEND_WINDOW_BYTES_MAX};
use kanjo_format::record::Protection;
use kanjo_format::{AccountId, BatchHeader, TransferId};
use zerocopy::little_endian::U128;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Primary;
use super::holding::Holding;
use super::replies::{Reply, Results};
use crate::clock;
use crate::error::NodeError;
use crate::front::Request;
use crate::history::LogHistory;
use crate::metrics::{Metrics, Stage};
use crate::promotion;

/// So many events are executed at once: that takes longer than the sync they would wait for.
const GATHER_EVENTS_MAX: usize = BATCH_RECORDS_MAX / 2;
/// With fewer requests under way the cores are idle between them, and none gathers for an ack.
pub(super) const CROWD_WAITING: usize = 32;
/// An ack is not waited for that takes longer, as did the one before or as this one does: the
/// auxiliary is far away or stands still, and requests would wait for it twice.
pub(super) const NEAR_ACK_MAX: Duration = Duration::from_millis(2);
/// Most transfers that one request looks up on the hot thread; each may take a block of a sealed
/// segment, which is decompressed in about a millisecond.
const LOOKUPS_HERE_MAX: usize = 4;

impl Primary<'_> {
    /// Whether requests may be executed: what they write can commit, and not too much waits.
    fn can_execute(&self) -> bool {
        let uncommitted = self
            .hot
            .store
            .log
            .tail()
            .lsn
            .since(self.reign.gate.committed());
        self.can_serve() && uncommitted < SEND_WINDOW_BYTES_MAX
    }

    /// Executes what is queued, unless the next batch gathers.
    pub(super) fn execute_queue(&mut self) -> Result<(), NodeError> {
        while !self.hot.front.queue_is_empty() && self.can_execute() && !self.gathers() {
            self.execute_batch()?;
        }
        Ok(())
    }

    /// Whether the next batch gathers, as long as it is small: while a sync runs, and of a crowd
    /// also until the batch before has its ack or as many are queued as wait for theirs. A batch
    /// costs what it costs whatever is in it, and the answers to one bring the requests of the next.
    pub(crate) fn gathers(&self) -> bool {
        let (front, gate) = (&self.hot.front, &self.reign.gate);
        let ack_is_near = || {
            let waiting = self.reign.replies.uncommitted(gate.committed());
            let is_late = |since: Instant| since.elapsed() > NEAR_ACK_MAX;
            waiting >= CROWD_WAITING
                && front.queued() < waiting
                && gate.protection() != Protection::Alone
                && self.reign.commit_took <= NEAR_ACK_MAX
                && !self.reign.uncommitted.oldest().is_some_and(is_late)
        };
        front.queued_events() < GATHER_EVENTS_MAX && (self.hot.sync.in_flight() || ack_is_near())
    }

    /// Records what timed out, also when no request comes. A batch that is being built does so
    /// before anything else.
    pub(super) fn expire_if_due(&mut self) -> Result<(), NodeError> {
        let is_due = |ledger: &Ledger| ledger.next_expiry().is_some_and(|due| due <= clock::now());
        while self.can_execute() && is_due(&self.hot.store.ledger) {
            let before = self.hot.store.log.tail().lsn;
            self.execute_batch()?;
            if self.hot.store.log.tail().lsn == before {
                break;
            }
        }
        Ok(())
    }

    fn execute_batch(&mut self) -> Result<(), NodeError> {
        let begun = Instant::now();
        let now = match self.reign.waits_since.take() {
            // Log time goes on by nanoseconds from there, so that nothing new falls due on the way.
            Some(since) => since,
            None => self.reign.clock.next()?,
        };
        let cap = self.cap_in_force();
        let metrics = &self.hot.shared.metrics;
        let store = &mut self.hot.store;
        let mut open = store.ledger.open_batch(store.log.tail().lsn, now);
        // What is due is recorded before anything is executed, and when nothing is.
        store.ledger.expire_due(&mut open);
        let mut executed = Vec::with_capacity(self.hot.front.queued().min(BATCH_RECORDS_MAX));
        let (mut queries, mut runs) = (Vec::new(), Vec::new());
        loop {
            let fits = |r: &Request| {
                store
                    .ledger
                    .fits_request(&mut open, r.kind, r.count as usize)
            };
            let Some(request) = self.hot.front.take(fits) else {
                break;
            };
            let waited = begun.saturating_duration_since(request.ticket.arrived.into_std());
            metrics.stage(Stage::Queue).record(waited);
            if request.kind.is_paged() || is_long_lookup(&request) {
                queries.push(request);
                continue;
            }
            let mut desk = Desk {
                ledger: &mut store.ledger,
                history: &mut store.history,
                open: &mut open,
                runs: &mut runs,
                metrics,
            };
            match desk.hold_back(&request, cap)? {
                None => executed.push(desk.execute(&request)?),
                Some(text) => {
                    let (ticket, outcome) = (request.ticket, Outcome::Overloaded);
                    self.hot.front.answer(ticket, outcome, 0, text.as_bytes());
                }
            }
        }
        if open.is_empty() {
            assert!(
                !executed.is_empty() || !queries.is_empty() || self.hot.front.queue_is_empty(),
                "an empty batch has room for any request"
            );
            store.ledger.discard_batch(open);
            self.hold_reads(executed)?;
            return self.begin_queries(queries);
        }
        if executed.is_empty() && queries.is_empty() && !self.hot.front.queue_is_empty() {
            // Only expiries: whoever is first in line shall not give way to still more of them.
            self.reign.waits_since = Some(now);
        }
        self.append_open(open, begun)?;
        let lsn = self.hot.store.log.tail().lsn;
        for reply in executed {
            // A read in a batch with records is covered by that batch's own acks, which begin
            // after it and check the epoch.
            self.reign.replies.hold_write(reply, lsn);
        }
        self.begin_queries(queries)
    }

    /// The most that one transfer may move now; `None` where nothing is held back.
    fn cap_in_force(&self) -> Option<u64> {
        let alone = self.reign.gate.protection() == Protection::Alone;
        self.hot.config.degraded_transfer_max.filter(|_| alone)
    }

    fn append_open(&mut self, mut open: OpenBatch, begun: Instant) -> Result<(), NodeError> {
        let (epoch, confirmed) = (self.reign.gate.epoch(), self.reign.gate.committed());
        if !self.hot.store.log.fits(open.payload_bytes_max()) {
            let filler = promotion::write_segment_end(&mut self.hot.store, epoch, confirmed)?;
            self.reign.last.payload.clear();
            // The ledger holds the open batch already, which stands behind this one: its digest
            // here would be of a place that no other node can stop at.
            self.note_shippable(&filler)?;
            let store = &mut self.hot.store;
            store.ledger.move_batch(&mut open, store.log.tail().lsn);
        }
        let store = &mut self.hot.store;
        let closed = store.ledger.close_batch(open, &mut self.reign.last.payload);
        let header = promotion::append(store, epoch, confirmed, &closed, &self.reign.last.payload)?;
        let executed = self.hot.shared.metrics.stage(Stage::Execute);
        executed.record(begun.elapsed());
        self.note_appended(&header)
    }

    /// A batch with the payload kept here now stands at the log's end, and the ledger holds
    /// exactly what the log does: tell gate and session, and note the digest.
    pub(super) fn note_appended(&mut self, header: &BatchHeader) -> Result<(), NodeError> {
        let store = &self.hot.store;
        assert!(store.ledger.is_idle(), "a digest of an open batch");
        let (lsn, digest) = (store.log.tail().lsn, store.ledger.digest());
        self.reign.digests.push_back((lsn, digest));
        self.note_shippable(header)
    }

    fn note_shippable(&mut self, header: &BatchHeader) -> Result<(), NodeError> {
        let tail = self.hot.store.log.tail();
        let bytes = header.payload_bytes() + size_of::<BatchHeader>();
        self.hot.counters.payload_bytes += bytes as u64;
        self.hot.counters.appended_bytes += tail.lsn.since(header.lsn());
        self.reign.gate.appended(tail);
        let now = Instant::now();
        self.reign.unsynced.push(tail.lsn, now);
        self.reign.uncommitted.push(tail.lsn, now);
        for session in &mut self.reign.sessions {
            session.lacking.appended(tail.lsn, now);
        }
        self.reign.last.keep(header, tail);
        self.offer_batch(tail)
    }

    fn hold_reads(&mut self, executed: Vec<Reply>) -> Result<(), NodeError> {
        if executed.is_empty() {
            return Ok(());
        }
        let lsn = self.hot.store.log.tail().lsn;
        let token = self.reign.gate.read_arrived();
        for reply in executed {
            self.reign.replies.hold_read(reply, lsn, token);
        }
        self.want_exchange(token)
    }
}

/// Whether transfers are looked up by the thread for queries: old ones take reading.
fn is_long_lookup(request: &Request) -> bool {
    request.count as usize > LOOKUPS_HERE_MAX
        && matches!(
            request.kind,
            FrameKind::LookupTransfers
                | FrameKind::LookupTransferDetails
                | FrameKind::LookupOutcomes
        )
}

/// What execution needs beside the batch.
struct Desk<'a> {
    ledger: &'a mut Ledger,
    history: &'a mut LogHistory,
    open: &'a mut OpenBatch,
    /// Used again for each request.
    runs: &'a mut Vec<ResultRun>,
    metrics: &'a Metrics,
}

impl Desk<'_> {
    /// What to answer to a request of which nothing is executed because of the cap in force.
    fn hold_back(
        &mut self,
        request: &Request,
        cap: Option<u64>,
    ) -> Result<Option<String>, NodeError> {
        let Some(cap) = cap else {
            return Ok(None);
        };
        let mut holding = Holding {
            cap: cap.into(),
            ledger: self.ledger,
            open: self.open,
            history: self.history,
        };
        Ok(holding.refusal(request)?)
    }

    /// Executes a request that is answered by rows at once.
    fn execute(&mut self, request: &Request) -> Result<Reply, NodeError> {
        let (count, body) = match request.kind.is_write() {
            true => self.write(request)?,
            false => self.look_up(request)?,
        };
        Ok(Reply {
            ticket: request.ticket,
            count: count as u32,
            body,
        })
    }

    fn write(&mut self, request: &Request) -> Result<(usize, Results), NodeError> {
        let Self {
            ledger,
            history,
            open,
            runs,
            metrics,
        } = self;
        let history = &mut **history;
        runs.clear();
        match request.kind {
            FrameKind::CreateAccounts => {
                ledger.create_accounts(open, rows(request), history, runs)?;
            }
            FrameKind::CreateTransfers => {
                ledger.create_transfers(open, rows(request), history, runs)?;
            }
            FrameKind::CreateTransfersDetailed => {
                ledger.create_transfers_detailed(open, rows(request), history, runs)?;
            }
            FrameKind::ChangeAccounts => ledger.change_accounts(open, rows(request), runs),
            FrameKind::CloseDay => {
                for event in rows(request) {
                    ledger.close_day(open, event, runs);
                }
            }
            FrameKind::BurnIds => {
                let ids: Vec<TransferId> = transfer_ids(request).collect();
                ledger.burn_ids(open, &ids, history, runs)?;
            }
            kind => unreachable!("{kind:?} writes nothing"),
        }
        for run in runs.iter() {
            metrics.executed(request.kind, run.result.get(), run.count.get());
        }
        Ok((runs.len(), Results::of_runs(runs)))
    }

    fn look_up(&mut self, request: &Request) -> Result<(usize, Results), NodeError> {
        let open = Some(&*self.open);
        let (ledger, history) = (&*self.ledger, &mut *self.history);
        Ok(match request.kind {
            FrameKind::LookupAccounts => {
                let mut found = Vec::new();
                ledger.lookup_accounts(account_ids(request), &mut found);
                packed(&found)
            }
            FrameKind::LookupAccountTerms => {
                let mut found = Vec::new();
                ledger.lookup_terms(account_ids(request), &mut found);
                packed(&found)
            }
            FrameKind::LookupTransfers => {
                let mut found = Vec::new();
                ledger.lookup_transfers(transfer_ids(request), open, history, &mut found)?;
                packed(&found)
            }
            FrameKind::LookupTransferDetails => {
                let mut found = Vec::new();
                ledger.lookup_transfer_details(transfer_ids(request), open, history, &mut found)?;
                packed(&found)
            }
            FrameKind::LookupOutcomes => {
                let mut found = Vec::new();
                ledger.lookup_outcomes(transfer_ids(request), open, history, &mut found)?;
                packed(&found)
            }
            kind => unreachable!("the front queues no {kind:?}"),
        })
    }
}

fn account_ids(request: &Request) -> impl Iterator<Item = AccountId> {
    let ids = rows::<U128>(request).iter();
    ids.map(|id| AccountId::new(id.get()))
}

fn transfer_ids(request: &Request) -> impl Iterator<Item = TransferId> {
    let ids = rows::<U128>(request).iter();
    ids.map(|id| TransferId::new(id.get()))
}

fn packed<T: IntoBytes + Immutable>(rows: &[T]) -> (usize, Results) {
    (rows.len(), Results::Rows(rows.as_bytes().to_vec()))
}

/// The rows of a request, whose size the front has checked.
pub(super) fn rows<T: FromBytes + Immutable + KnownLayout + Unaligned>(request: &Request) -> &[T] {
    <[T]>::ref_from_bytes(&request.rows).expect("the front checked the count")
}
