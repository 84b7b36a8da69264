//! The past as queries read it: batches, posting lists, and balances to begin from.

use kanjo_format::columns::PayloadError;
use kanjo_format::movement::{self, Transfer};
use kanjo_format::{AccountNumber, BatchHeader, LedgerId, Lsn, RecordAt, TransferId};

use super::balances::Balances;

/// What a posting list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Movements of that account, expiries too.
    Account(AccountNumber),
    /// Movements of which that account is the debit account, expiries too.
    Debits(AccountNumber),
    /// Movements of which that account is the credit account, expiries too.
    Credits(AccountNumber),
    /// Transfers with that value, never zero.
    UserData128(u128),
    /// Transfers with that value, never zero.
    UserData64(u64),
    /// Transfers with that value, never zero.
    UserData32(u32),
    /// Transfers of that ledger.
    Ledger(LedgerId),
    /// Transfers with that reason code.
    Code(u16),
    /// Transfers that name their business date.
    Dated,
}

/// A batch of the log with the place behind it.
#[derive(Clone, Debug)]
pub struct PastBatch<P> {
    /// Its header.
    pub header: BatchHeader,
    /// Its payload.
    pub payload: P,
    /// Where the next one starts.
    pub end: Lsn,
}

/// Why the past could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    /// The log or the index could not be read there.
    #[error("the past at lsn {lsn} could not be read: {reason}")]
    Unreadable {
        /// Where.
        lsn: Lsn,
        /// Why, with file and offset, and what to do.
        reason: String,
    },
    /// A batch that does not hold what a batch holds.
    #[error("the batch at lsn {lsn}: {source}; run a full check of the log")]
    Payload {
        /// Where.
        lsn: Lsn,
        /// What is wrong with it.
        source: PayloadError,
    },
    /// A posting list or a record names a place where something else stands.
    #[error(
        "{at} is not what the log and its index say; run a full check of the log, then rebuild the index"
    )]
    Misplaced {
        /// Where.
        at: RecordAt,
    },
}

/// What is read of the past: the log up to one place, and what is derived from it.
///
/// Posting lists cover the places in front of [`Self::indexed_to`]; the batches behind are looked
/// through one by one. Whatever is asked for lately is asked for again: batches are kept by who
/// implements this.
pub trait Past {
    /// A batch's payload, shared rather than copied.
    type Payload: AsRef<[u8]>;

    /// Where it ends: nothing that stands at or behind it is told.
    fn end(&self) -> Lsn;

    /// The first batch that starts at `lsn` or behind it, and in front of [`Self::end`].
    fn batch_from(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError>;

    /// The last batch that starts in front of `lsn`, and of [`Self::end`].
    fn batch_before(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError>;

    /// How far posting lists reach: places of batches in front of it are in them.
    fn indexed_to(&self) -> Lsn;

    /// Whether there is a posting list of that kind.
    fn is_indexed(&self, key: Key) -> bool;

    /// About how long a posting list is, to choose the shorter of several; only compared.
    fn length(&self, key: Key) -> u64 {
        let _ = key;
        0
    }

    /// The first place of a posting list at `from` or behind it.
    fn seek(&mut self, key: Key, from: RecordAt) -> Result<Option<RecordAt>, PastError>;

    /// The last place of a posting list in front of `before`.
    fn seek_back(&mut self, key: Key, before: RecordAt) -> Result<Option<RecordAt>, PastError>;

    /// The account's balances in front of some place that is not behind `before`: the nearer, the
    /// fewer movements are added to them. Nothing in front of [`RecordAt::MIN`] is always right.
    fn base(
        &mut self,
        account: AccountNumber,
        before: RecordAt,
    ) -> Result<(RecordAt, Balances), PastError>;

    /// Where to look for a moment: all movements in batches that start in front of it happened
    /// earlier than that. The nearer, the less is looked at; lsn 0 is always right.
    fn start_of_time(&mut self, timestamp: u64) -> Result<Lsn, PastError> {
        let _ = timestamp;
        Ok(Lsn::ZERO)
    }

    /// Places in front of [`Self::indexed_to`] at which the transfer of that id may stand.
    fn find(&mut self, id: TransferId) -> Result<Vec<RecordAt>, PastError>;

    /// The ledger of an account.
    fn ledger_of(&self, account: AccountNumber) -> Option<LedgerId>;
}

/// The batch in which `at` stands.
pub(super) fn batch_at<P: Past>(
    past: &mut P,
    at: RecordAt,
) -> Result<PastBatch<P::Payload>, PastError> {
    match past.batch_from(at.lsn())? {
        Some(batch) if batch.header.lsn() == at.lsn() => Ok(batch),
        _ => Err(PastError::Misplaced { at }),
    }
}

/// The transfer at a place that a record or a posting list names.
pub(super) fn transfer_at<P: Past>(past: &mut P, at: RecordAt) -> Result<Transfer, PastError> {
    let batch = batch_at(past, at)?;
    movement::transfer_at(&batch.header, batch.payload.as_ref(), at.index())
        .map_err(|source| PastError::Payload {
            lsn: at.lsn(),
            source,
        })?
        .ok_or(PastError::Misplaced { at })
}

/// The place behind a place.
pub(super) fn behind(at: RecordAt) -> RecordAt {
    RecordAt::from_packed(at.packed() + 1).unwrap_or(RecordAt::MAX)
}

/// The place of a batch's first record.
pub(super) fn start_of(lsn: Lsn) -> RecordAt {
    RecordAt::new(lsn, 0)
}

/// How much may be looked at before somebody else gets a turn.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
    spent: u64,
}

/// What it costs to go to another batch, in records that are looked at.
pub(super) const BATCH_COST: u64 = 8;

impl Budget {
    /// So many records.
    pub const fn new(records: u64) -> Self {
        Self {
            left: records,
            spent: 0,
        }
    }

    pub(super) fn spend(&mut self, records: u64) {
        self.left = self.left.saturating_sub(records);
        self.spent += records;
    }

    /// Whether nothing is left.
    pub const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// How much was looked at.
    pub const fn spent(&self) -> u64 {
        self.spent
    }
}
