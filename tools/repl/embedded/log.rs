//! The log in memory: batches as a node would append them, and old records read from them.

use kanjo_engine::query::MemoryPast;
use kanjo_engine::{ClosedBatch, Entry, HistoryError, HistoryReader, Ledger, Resolution};
use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::limits::{BATCH_HEADER_BYTES, BATCH_PAYLOAD_BYTES_MAX, PAGE_BYTES};
use kanjo_format::movement::{self, Transfer};
use kanjo_format::{BatchHeader, ClusterId, Epoch, Lsn, RecordAt, Tail, Timestamp, TransferId};

const CLUSTER: ClusterId = ClusterId::new(0xe3b);
const SEGMENT_BYTES: u64 = kanjo_format::limits::SEGMENT_BYTES_DEFAULT;
/// The largest batch, and the one that ends a segment.
const ROOM_BYTES: u64 = (BATCH_HEADER_BYTES + BATCH_PAYLOAD_BYTES_MAX) as u64 + 2 * PAGE_BYTES;

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) past: MemoryPast,
    tail: Tail,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            past: MemoryPast::default(),
            tail: Tail::empty(CLUSTER),
        }
    }
}

impl Log {
    /// Where it ends.
    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// Goes on to the next segment where a batch of any size might not fit this one.
    pub(super) fn make_room(&mut self, ledger: &mut Ledger) {
        let used = self.tail.lsn.get() % SEGMENT_BYTES;
        if used + ROOM_BYTES > SEGMENT_BYTES {
            self.append(ledger, FLAG_SEGMENT_END, 0, ledger.log_time(), &[]);
        }
    }

    /// Appends what the ledger has closed.
    pub(super) fn place(&mut self, ledger: &mut Ledger, closed: &ClosedBatch, payload: &[u8]) {
        self.append(ledger, 0, closed.record_count, closed.timestamp, payload);
    }

    fn append(
        &mut self,
        ledger: &mut Ledger,
        flags: u16,
        record_count: u32,
        timestamp: Timestamp,
        payload: &[u8],
    ) {
        let epoch = Epoch::from_terms(1, 1);
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch,
            lsn: self.tail.lsn,
            flags,
            record_count,
            timestamp,
            confirmed: Lsn::ZERO,
            prev_chain: self.tail.chain,
        };
        let header = BatchHeader::build(&fields, payload);
        let lsn = header.end(SEGMENT_BYTES);
        self.tail = Tail {
            epoch,
            lsn,
            chain: header.chain_after(payload),
        };
        self.past.push(&header, payload, lsn);
        ledger.batch_placed(&header, lsn);
    }
}

/// Everything is young here: the ledger itself knows ids, resolutions and reversals.
impl HistoryReader for Log {
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError> {
        let failed = |reason: String| HistoryError { at, reason };
        let batches = self.past.batches();
        let place = batches
            .binary_search_by_key(&at.lsn(), |batch| batch.header.lsn())
            .map_err(|_| failed("no batch starts there".to_owned()))?;
        let batch = &batches[place];
        movement::transfer_at(&batch.header, &batch.payload, at.index())
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed("no transfer stands there".to_owned()))
    }

    fn find_id(&mut self, _: TransferId) -> Result<Option<Entry>, HistoryError> {
        Ok(None)
    }

    fn resolution_of(&mut self, _: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        Ok(None)
    }

    fn reversal_of(&mut self, _: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        Ok(None)
    }

    fn has_transfer_at_time(&mut self, _: Timestamp) -> Result<bool, HistoryError> {
        Ok(false)
    }
}
