//! Why a batch, or one record of it, does not fit.

use kanjo_format::columns::PayloadError;
use kanjo_format::{AccountId, AccountNumber, Epoch, Lsn, RecordAt, Timestamp, TransferId};

use crate::reign::ReignError;

/// A batch does not fit the ledger. The ledger may hold part of it and refuses every batch from
/// then on: drop it, and build it again from a good checkpoint and log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A batch before this one did not fit.
    #[error("an earlier batch did not fit the ledger: rebuild it from a checkpoint and the log")]
    Broken,
    /// Another batch is due.
    #[error("batch is of lsn {found}, the ledger continues at lsn {expected}")]
    Place {
        /// The batch's.
        found: Lsn,
        /// The next one.
        expected: Lsn,
    },
    /// It ends where no batch can end.
    #[error("batch at lsn {lsn} cannot end at lsn {end}")]
    End {
        /// Where it starts.
        lsn: Lsn,
        /// Where it was said to end.
        end: Lsn,
    },
    /// Its epoch is lower than the ledger's.
    #[error("batch at lsn {lsn} is of epoch {found}, the ledger is in {current} already")]
    Epoch {
        /// Where it stands.
        lsn: Lsn,
        /// The batch's.
        found: Epoch,
        /// The ledger's.
        current: Epoch,
    },
    /// Its time is not after the last record's, or out of range.
    #[error("batch at lsn {lsn} is of time {found}, which does not follow log time {log_time}")]
    Time {
        /// Where it stands.
        lsn: Lsn,
        /// The batch's.
        found: Timestamp,
        /// The ledger's.
        log_time: Timestamp,
    },
    /// Its payload cannot be read.
    #[error("batch at lsn {lsn}: {source}")]
    Payload {
        /// Where it stands.
        lsn: Lsn,
        /// Why.
        source: PayloadError,
    },
    /// One of its records does not fit.
    #[error("batch at lsn {lsn}, record {index}: {source}")]
    Record {
        /// Where the batch stands.
        lsn: Lsn,
        /// Index of the record.
        index: usize,
        /// Why.
        source: RecordError,
    },
    /// The batches below a checkpoint do not hold what it counts.
    #[error(
        "below lsn {lsn} the log has {posted} posted and {failed} failed transfers, the checkpoint counts {expected_posted} and {expected_failed}: it is of another log"
    )]
    Counts {
        /// The checkpoint's lsn.
        lsn: Lsn,
        /// In the log.
        posted: u64,
        /// In the log.
        failed: u64,
        /// In the checkpoint.
        expected_posted: u64,
        /// In the checkpoint.
        expected_failed: u64,
    },
}

/// Why one record does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Account numbers are given out one by one.
    #[error("account gets number {found}, the next one is {expected}")]
    Number {
        /// The record's.
        found: AccountNumber,
        /// The next.
        expected: AccountNumber,
    },
    /// The account id is taken, or is none.
    #[error("account id {0} cannot be opened")]
    Account(AccountId),
    /// Zero is no ledger.
    #[error("account id {0} is in no ledger")]
    NoLedger(AccountId),
    /// It names an account that was never opened.
    #[error("transfer names account number {0}, which was never opened")]
    NoAccount(AccountNumber),
    /// Debit and credit account are one, or of two ledgers.
    #[error("transfer between account numbers {debit} and {credit}, which cannot pay each other")]
    Accounts {
        /// The debit account.
        debit: AccountNumber,
        /// The credit account.
        credit: AccountNumber,
    },
    /// A balance would not fit 128 bits.
    #[error("transfer makes a balance of account number {0} overflow")]
    Overflow(AccountNumber),
    /// The id was posted or burned before, or is none.
    #[error("transfer id {0} is taken already, or is none")]
    Transfer(TransferId),
    /// A failure of an unknown number, or of one that does not stick.
    #[error("transfer failure of result {0}, which is none that sticks")]
    Failure(u32),
    /// A row that no writer makes.
    #[error(transparent)]
    Row(#[from] PayloadError),
    /// A pending transfer that is not open.
    #[error("it names the pending transfer at {0}, which is not open")]
    NotPending(RecordAt),
    /// It says something else than the pending transfer that it names.
    #[error("it does not agree with the pending transfer at {0}")]
    OtherPending(RecordAt),
    /// A pending transfer expires before it is due.
    #[error("the pending transfer at {pending} expires at {recorded} and is due at {due}")]
    NotDue {
        /// The pending transfer.
        pending: RecordAt,
        /// Time of the expiry.
        recorded: Timestamp,
        /// When it is due.
        due: Timestamp,
    },
    /// A second reversal, or one of itself.
    #[error("the transfer at {0} cannot be reversed once more")]
    Reversed(RecordAt),
    /// A time that is not behind the one before, or not in the past.
    #[error("it is of time {found}, which has to be after {after} and at most {recorded}")]
    Time {
        /// As it says.
        found: Timestamp,
        /// Time of the last of its kind.
        after: Timestamp,
        /// When it was recorded.
        recorded: Timestamp,
    },
    /// A closing transfer of an account that is closed.
    #[error("it closes account number {0}, which is closed")]
    Closed(AccountNumber),
    /// Terms that this program does not know.
    #[error("it sets terms of account number {0} that are unknown: use a newer kanjo")]
    Terms(AccountNumber),
    /// A business date that is not the current one, or does not grow.
    #[error("it closes business date {closed} for {next}, where {current} is current")]
    Day {
        /// The date that it closes.
        closed: u32,
        /// The date that it makes current.
        next: u32,
        /// The ledger's.
        current: u32,
    },
    /// A reign record does not fit.
    #[error(transparent)]
    Reign(#[from] ReignError),
}
