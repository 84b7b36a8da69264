//! Requests to a batch: executed against memory, appended, and held until they are committed.

use kanjo_engine::{Ledger, OpenBatch};
use kanjo_format::client::{AccountBody, FrameKind, ResultRun, TransferBody};
use kanjo_format::limits::{BATCH_RECORDS_MAX, SEND_WINDOW_BYTES_MAX};
use kanjo_format::{AccountId, BatchHeader, TransferId};
use zerocopy::little_endian::U128;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Primary;
use super::replies::Reply;
use crate::error::NodeError;
use crate::front::Request;
use crate::promotion;
use crate::store::LogHistory;

/// So many events are executed at once: that takes longer than the sync they would wait for.
const GATHER_EVENTS_MAX: usize = BATCH_RECORDS_MAX / 2;

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

    /// Executes what is queued. While a sync runs the next batch gathers, as long as it is small.
    pub(super) fn execute_queue(&mut self) -> Result<(), NodeError> {
        while !self.hot.front.queue_is_empty() && self.can_execute() {
            let gather = self.hot.sync.in_flight();
            if gather && self.hot.front.queued_events() < GATHER_EVENTS_MAX {
                return Ok(());
            }
            self.execute_batch()?;
        }
        Ok(())
    }

    fn execute_batch(&mut self) -> Result<(), NodeError> {
        let now = self.reign.clock.next()?;
        let store = &mut self.hot.store;
        let mut open = store.ledger.open_batch(store.log.tail().lsn, now);
        let mut executed = Vec::new();
        loop {
            let fits = |r: &Request| {
                store
                    .ledger
                    .fits_request(&mut open, r.kind, r.count as usize)
            };
            let Some(request) = self.hot.front.take(fits) else {
                break;
            };
            executed.push(execute(
                &mut store.ledger,
                &mut store.history,
                &mut open,
                &request,
            )?);
        }
        if open.is_empty() {
            store.ledger.discard_batch(open);
            return self.hold_reads(executed);
        }
        self.append_open(open)?;
        let lsn = self.hot.store.log.tail().lsn;
        for reply in executed {
            // A read in a batch with records is covered by that batch's own acks, which begin
            // after it and check the epoch.
            self.reign.replies.hold_write(reply, lsn);
        }
        Ok(())
    }

    fn append_open(&mut self, mut open: OpenBatch) -> Result<(), NodeError> {
        let (epoch, confirmed) = (self.reign.gate.epoch(), self.reign.gate.committed());
        if !self.hot.store.log.fits(open.payload_bytes_max()) {
            let filler = promotion::write_segment_end(&mut self.hot.store, epoch, confirmed)?;
            self.reign.payload.clear();
            // The ledger holds the open batch already, which stands behind this one: its digest
            // here would be of a place that no other node can stop at.
            self.note_shippable(&filler)?;
            let store = &mut self.hot.store;
            store.ledger.move_batch(&mut open, store.log.tail().lsn);
        }
        let store = &mut self.hot.store;
        let closed = store.ledger.close_batch(open, &mut self.reign.payload);
        let header = promotion::append(store, epoch, confirmed, &closed, &self.reign.payload)?;
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
        self.keep_last(header, tail);
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

fn execute(
    ledger: &mut Ledger,
    history: &mut LogHistory,
    open: &mut OpenBatch,
    request: &Request,
) -> Result<Reply, NodeError> {
    let mut runs: Vec<ResultRun> = Vec::new();
    let (count, body) = match request.kind {
        FrameKind::CreateAccounts => {
            ledger.create_accounts(open, rows::<AccountBody>(request), history, &mut runs)?;
            (runs.len(), runs.as_bytes().to_vec())
        }
        FrameKind::CreateTransfers => {
            ledger.create_transfers(open, rows::<TransferBody>(request), history, &mut runs)?;
            (runs.len(), runs.as_bytes().to_vec())
        }
        FrameKind::LookupAccounts => {
            let ids = rows::<U128>(request)
                .iter()
                .map(|id| AccountId::new(id.get()));
            let mut found = Vec::new();
            ledger.lookup_accounts(ids, &mut found);
            (found.len(), found.as_bytes().to_vec())
        }
        FrameKind::LookupTransfers => {
            let ids = rows::<U128>(request)
                .iter()
                .map(|id| TransferId::new(id.get()));
            let mut found = Vec::new();
            ledger.lookup_transfers(ids, Some(open), history, &mut found)?;
            (found.len(), found.as_bytes().to_vec())
        }
        kind => unreachable!("the front queues no {kind:?}"),
    };
    Ok(Reply {
        ticket: request.ticket,
        count: count as u32,
        body,
    })
}

/// The rows of a request, whose size the front has checked.
fn rows<T: FromBytes + Immutable + KnownLayout + Unaligned>(request: &Request) -> &[T] {
    <[T]>::ref_from_bytes(&request.rows).expect("the front checked the count")
}
