//! The ledger: its state, and the life of a batch on the primary.
//!
//! ```text
//! idle ──open_batch──► open ──close_batch──► closed ──batch_placed──► idle
//!   └──apply / index_only / batch_placed (a batch without records) stay idle
//! ```

use kanjo_format::batch::FLAG_SEGMENT_END;
use kanjo_format::movement::Movement;
use kanjo_format::record::{RecordKind, ReignRow};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{BatchHeader, Digest, Epoch, Lsn, Timestamp, TransferId};

use crate::batch::{ClosedBatch, OpenBatch, Rows, moved};
use crate::books::Books;
use crate::days::BusinessDays;
use crate::digest::Counts;
use crate::execute::Undo;
use crate::hash::IdHasher;
use crate::index::{Entry, TransferIndex};
use crate::pendings::Pending;
use crate::reign::ReignState;
use crate::totals::{AuditError, LedgerTotals};

/// Log time ends here, in the year 2262.
pub(crate) const TIMESTAMP_MAX: u64 = (1 << 63) - 1;

/// All that is true about money at one lsn, and which transfer ids are taken.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) books: Books,
    pub(crate) index: TransferIndex,
    pub(crate) log_time: Timestamp,
    pub(crate) applied: Lsn,
    pub(crate) indexing: Indexing,
    /// Set by the first batch that did not fit; nothing is applied after it.
    pub(crate) broken: bool,
    /// Whether it was restored from a checkpoint that does not tell the last transfer's time.
    pub(crate) transfer_time_guessed: bool,
    /// What undoes the linked events that are being executed.
    pub(crate) undo: Option<Undo>,
    phase: Phase,
    pub(crate) rows: Rows,
}

/// Which part of the log below a restored checkpoint the index holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Indexing {
    pub(crate) next: Lsn,
    pub(crate) until: Lsn,
    pub(crate) posted: u64,
    pub(crate) failed: u64,
    pub(crate) expected_posted: u64,
    pub(crate) expected_failed: u64,
}

/// What the old part of the index holds: everything below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldPart {
    /// Where it ends: a batch boundary.
    pub end: Lsn,
    /// Transfers in it.
    pub posted: u64,
    /// Failed and burned ids in it.
    pub failed: u64,
    /// None of its transfer ids is higher.
    pub highest_id: TransferId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Open,
    Closed(ClosedBatch),
}

impl Ledger {
    /// An empty ledger before lsn 0. `seed` keys its id tables: draw it at random, so that no
    /// client can choose ids that collide. It changes nothing that anybody sees.
    pub fn new(seed: u64) -> Self {
        let hasher = IdHasher::new(seed);
        Self {
            books: Books::new(hasher),
            index: TransferIndex::new(hasher),
            log_time: Timestamp::new(0),
            applied: Lsn::ZERO,
            indexing: Indexing::default(),
            broken: false,
            transfer_time_guessed: false,
            undo: None,
            phase: Phase::Idle,
            rows: Rows::default(),
        }
    }

    /// Starts a batch at `lsn`, which is where the last one ended. Its first record happens at
    /// `now`, or one nanosecond after log time if that is later. Panics while another batch is
    /// open, while the index is incomplete, or after a batch did not fit: bugs of the caller.
    pub fn open_batch(&mut self, lsn: Lsn, now: Timestamp) -> OpenBatch {
        assert!(!self.broken, "a broken ledger executes nothing");
        assert!(
            self.is_index_complete(),
            "an id is checked against all history"
        );
        assert_eq!(self.phase, Phase::Idle, "one batch at a time");
        assert_eq!(lsn, self.applied, "a batch starts where the last one ended");
        let first = now.get().max(self.log_time.get() + 1);
        assert!(first <= TIMESTAMP_MAX, "log time ends in the year 2262");
        self.phase = Phase::Open;
        OpenBatch::new(lsn, Timestamp::new(first), std::mem::take(&mut self.rows))
    }

    /// Appends a reign record to the batch and takes it. Panics if it does not fit, which only
    /// a bug can cause: the opener makes it from what it knows.
    pub fn append_reign(
        &mut self,
        open: &mut OpenBatch,
        kind: RecordKind,
        epoch: Epoch,
        row: ReignRow,
    ) {
        assert!(
            matches!(kind, RecordKind::EpochStart | RecordKind::SetChange),
            "not a reign record"
        );
        let taken = self.books.reign.apply(kind, epoch, open.lsn, &row);
        assert_eq!(taken, Ok(()), "a reign record fits its reign");
        open.push_reign(kind, row);
    }

    /// Moves an open batch to where it will really stand: behind a batch that ends the segment,
    /// which was placed meanwhile. All that is kept of its records moves into the generation of
    /// the next segment.
    pub fn move_batch(&mut self, open: &mut OpenBatch, lsn: Lsn) {
        assert_eq!(lsn, self.applied, "a batch starts where the last one ended");
        let movements: Vec<_> = open.movements().collect();
        for (at, movement) in movements.iter().rev() {
            match movement {
                Movement::Transfer(transfer) => {
                    self.index.undo_transfer(transfer);
                    if let Some(pending) = self.books.pendings.remove(*at) {
                        let at = moved(*at, open.lsn, lsn);
                        self.books.pendings.insert(Pending { at, ..pending });
                    }
                }
                Movement::Expired(expired) => self.index.undo_expiry(expired),
                Movement::Failed(row) => self.index.undo_failed(TransferId::new(row.id.get())),
            }
        }
        let from = open.lsn;
        open.move_to(lsn);
        self.books.days.repoint(|at| moved(at, from, lsn));
        self.index.begin_generation(lsn);
        for (at, movement) in open.movements() {
            match movement {
                Movement::Transfer(transfer) => {
                    self.index.take(transfer.id, Entry::Posted(at));
                    self.index.note_transfer(at, &transfer);
                }
                Movement::Expired(expired) => self.index.note_expiry(at, &expired),
                Movement::Failed(row) => {
                    let result = CreateTransferResult::from_number(row.result.get());
                    let entry = Entry::Failed(result.expect("the ledger made it"));
                    self.index.take(TransferId::new(row.id.get()), entry);
                }
            }
        }
    }

    /// Writes the batch's payload, in place of what `payload` held. The caller appends it and says
    /// so with [`Self::batch_placed`]. Whether it fits its segment is decided before, by
    /// [`OpenBatch::payload_bytes_max`]: a closed batch is not moved any more.
    pub fn close_batch(&mut self, open: OpenBatch, payload: &mut Vec<u8>) -> ClosedBatch {
        assert_eq!(self.phase, Phase::Open, "the batch is this ledger's");
        assert_eq!(
            open.lsn, self.applied,
            "the batch stands where the log ends"
        );
        let closed = ClosedBatch {
            lsn: open.lsn,
            record_count: open.record_count() as u32,
            timestamp: if open.is_empty() {
                self.log_time
            } else {
                open.first
            },
        };
        payload.clear();
        self.rows = open.close(payload);
        self.phase = Phase::Closed(closed);
        closed
    }

    /// Gives back a batch in which nothing was recorded. Panics if something was.
    pub fn discard_batch(&mut self, open: OpenBatch) {
        assert_eq!(self.phase, Phase::Open, "the batch is this ledger's");
        assert!(open.is_empty(), "what was executed cannot be taken back");
        self.rows = open.close(&mut Vec::new());
        self.phase = Phase::Idle;
    }

    /// A batch of this ledger's own was appended and ends at `end`: the one just closed, or one
    /// without records, such as ends a segment.
    pub fn batch_placed(&mut self, header: &BatchHeader, end: Lsn) {
        assert_eq!(header.lsn(), self.applied, "placed where the log ended");
        assert!(end > header.lsn(), "a batch has a length");
        match self.phase {
            Phase::Closed(closed) => {
                assert_eq!(header.record_count(), closed.record_count, "that batch");
                assert_eq!(header.timestamp(), closed.timestamp, "that batch");
                self.phase = Phase::Idle;
            }
            Phase::Idle | Phase::Open => {
                assert_eq!(header.record_count(), 0, "records come from the ledger");
                assert!(
                    header.timestamp() <= self.log_time,
                    "an empty batch does not move log time"
                );
            }
        }
        self.advance(header, end);
    }

    pub(crate) fn advance(&mut self, header: &BatchHeader, end: Lsn) {
        if header.record_count() > 0 {
            self.log_time = header.last_timestamp();
        }
        if self.is_index_complete() {
            self.indexing.next = end;
            self.indexing.until = end;
        }
        self.applied = end;
        // What an open batch holds is moved into the new generation with it.
        if header.flags() & FLAG_SEGMENT_END != 0 && self.phase != Phase::Open {
            self.index.begin_generation(end);
        }
    }

    /// The part of the log from lsn 0 on whose ids, resolutions and reversals a [`HistoryReader`]
    /// finds. Said of a ledger that was just restored: [`Self::index_only`] then begins where the
    /// old part ends. What of the log is in both parts does no harm.
    ///
    /// [`HistoryReader`]: crate::HistoryReader
    pub fn cover_index(&mut self, old: &OldPart) {
        assert!(self.is_idle() && self.index.is_empty(), "just restored");
        let indexing = &mut self.indexing;
        assert_eq!(indexing.next, Lsn::ZERO, "just restored");
        indexing.next = old.end.min(indexing.until);
        if old.end < indexing.until {
            (indexing.posted, indexing.failed) = (old.posted, old.failed);
        }
        let start = indexing.next;
        self.index.start_at(start);
        self.index.old_holds(old.highest_id.get());
    }

    /// What is kept of the log from here on goes into a generation of its own. Batches that end a
    /// segment do this by themselves; for one that fills its segment to the end the node does.
    pub fn begin_generation(&mut self) {
        assert!(self.is_idle(), "a generation begins between batches");
        self.index.begin_generation(self.applied);
    }

    /// The old part of the index holds the log below `end` from now on: forgets what the young
    /// part holds of it, segment by segment.
    pub fn drop_index_below(&mut self, end: Lsn) {
        self.index.drop_below(end);
    }

    /// When the next pending transfer expires: nothing may be executed from then on before
    /// [`Self::expire_due`] has recorded it.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let (due, _) = self.books.pendings.first_due()?;
        Some(Timestamp::new(due))
    }

    /// Whether no batch is open: what the ledger holds is then the state at one place of the log,
    /// and its digest can be compared.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Time of the last record.
    pub fn log_time(&self) -> Timestamp {
        self.log_time
    }

    /// End of the last batch that was applied or placed: where the next one must start.
    pub fn applied(&self) -> Lsn {
        self.applied
    }

    /// How far from lsn 0 the index holds every id; [`Self::index_only`] continues here.
    pub fn indexed(&self) -> Lsn {
        self.indexing.next
    }

    /// Whether the index holds every id below [`Self::applied`].
    pub fn is_index_complete(&self) -> bool {
        self.indexing.next == self.indexing.until
    }

    /// Digest of all accounts and counts here; equal on every node at the same lsn.
    pub fn digest(&self) -> Digest {
        self.books.digest.read(&self.counts())
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            accounts: self.books.accounts.count(),
            posted: self.books.posted,
            failed: self.books.failed,
            log_time: self.log_time.get(),
        }
    }

    /// Accounts opened so far.
    pub fn account_count(&self) -> u32 {
        self.books.accounts.count()
    }

    /// Pending transfers that are open.
    pub fn pending_count(&self) -> u32 {
        self.books.pendings.count()
    }

    /// Business dates: the current one, and where each was closed.
    pub fn business_days(&self) -> &BusinessDays {
        &self.books.days
    }

    /// Transfers recorded so far, of any form.
    pub fn posted_count(&self) -> u64 {
        self.books.posted
    }

    /// Transfer ids burned so far.
    pub fn failed_count(&self) -> u64 {
        self.books.failed
    }

    /// The young part of the index.
    pub fn index(&self) -> &TransferIndex {
        &self.index
    }

    /// Who writes, and how commits are protected.
    pub fn reign(&self) -> &ReignState {
        &self.books.reign
    }

    /// Running totals of every ledger, in order of ledger.
    pub fn trial_balance(&self) -> Vec<LedgerTotals> {
        self.books.totals.list()
    }

    /// Adds up all accounts and compares with the running totals and digest. Takes time with
    /// the number of accounts.
    pub fn audit(&self) -> Result<(), AuditError> {
        self.books.audit(&self.counts())
    }
}
