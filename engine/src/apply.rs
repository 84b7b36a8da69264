//! Replay: takes batches as they are and never decides. It checks only that they fit what is
//! there, so that a wrong batch is found where it stands and not in a balance long after.

use kanjo_format::columns::{Group, Groups, PayloadError};
use kanjo_format::limits::{ACCOUNTS_MAX, BATCH_RECORDS_MAX, PAGE_BYTES};
use kanjo_format::record::{AccountRow, FailedRow, RecordKind, TransferRow};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{
    AccountId, AccountNumber, BatchHeader, Epoch, LedgerId, Lsn, Timestamp, TransferId,
};

use crate::batch::Rows;
use crate::index::{Entry, Probe};
use crate::ledger::{Books, Ledger, Posting, TIMESTAMP_MAX};
use crate::reign::ReignError;
use kanjo_format::RecordAt;

/// Transfers whose balances are loaded together.
const CHUNK_ROWS: usize = 32;

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
    /// A kind that this ledger does not apply.
    #[error("record kind {0} is not applied by this program: use a newer kanjo")]
    Kind(u16),
    /// A reign record does not fit.
    #[error(transparent)]
    Reign(#[from] ReignError),
}

type TakeGroup =
    fn(&mut Ledger, &BatchHeader, &Group<'_>, &mut Rows) -> Result<(), (usize, RecordError)>;

impl Ledger {
    /// Takes a committed batch whose checksums and chain were checked, and which ends at `end`.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        end: Lsn,
    ) -> Result<(), ApplyError> {
        assert!(self.is_idle(), "a ledger that executes does not replay");
        if self.broken {
            return Err(ApplyError::Broken);
        }
        // Nothing is changed by a batch that is simply not the next one.
        self.check_header(header, end)?;
        let applied = self.each_group(header, payload, Self::apply_group);
        self.broken = applied.is_err();
        applied?;
        self.advance(header, end);
        Ok(())
    }

    /// Takes only the ids of a batch below the checkpoint that this ledger was restored from.
    /// Batches come in order from lsn 0; at the checkpoint the counts must agree with it.
    pub fn index_only(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        end: Lsn,
    ) -> Result<(), ApplyError> {
        assert!(self.is_idle(), "a ledger that executes does not replay");
        if self.broken {
            return Err(ApplyError::Broken);
        }
        let (lsn, expected) = (header.lsn(), self.indexing.next);
        if lsn != expected || self.is_index_complete() {
            return Err(ApplyError::Place {
                found: lsn,
                expected,
            });
        }
        if end > self.indexing.until {
            return Err(ApplyError::End { lsn, end });
        }
        check_end(lsn, end)?;
        let taken = self.each_group(header, payload, Self::index_group);
        let taken = taken.and_then(|()| self.check_index_end(end));
        self.broken = taken.is_err();
        taken?;
        self.indexing.next = end;
        Ok(())
    }

    /// Takes the groups of a payload one by one, with rows to decode them into.
    fn each_group(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        take: TakeGroup,
    ) -> Result<(), ApplyError> {
        let lsn = header.lsn();
        let mut rows = std::mem::take(&mut self.rows);
        let taken = Groups::new(payload, header.record_count()).try_for_each(|group| {
            let group = group.map_err(|source| ApplyError::Payload { lsn, source })?;
            let taken = take(self, header, &group, &mut rows);
            taken.map_err(|(index, source)| ApplyError::Record { lsn, index, source })
        });
        self.rows = rows;
        taken
    }

    fn check_header(&self, header: &BatchHeader, end: Lsn) -> Result<(), ApplyError> {
        let lsn = header.lsn();
        if lsn != self.applied {
            return Err(ApplyError::Place {
                found: lsn,
                expected: self.applied,
            });
        }
        check_end(lsn, end)?;
        let current = self.books.reign.epoch();
        if header.epoch() < current {
            return Err(ApplyError::Epoch {
                lsn,
                found: header.epoch(),
                current,
            });
        }
        let (found, count) = (header.timestamp(), header.record_count());
        let follows = match count {
            0 => true,
            _ => found > self.log_time && header.last_timestamp().get() <= TIMESTAMP_MAX,
        };
        if !follows || count as usize > BATCH_RECORDS_MAX {
            return Err(ApplyError::Time {
                lsn,
                found,
                log_time: self.log_time,
            });
        }
        Ok(())
    }

    fn apply_group(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        rows: &mut Rows,
    ) -> Result<(), (usize, RecordError)> {
        let (lsn, first) = (header.lsn(), group.first_index);
        match group.kind {
            RecordKind::EpochStart | RecordKind::SetChange => {
                group.read_rows(&mut rows.reigns);
                let reign = &mut self.books.reign;
                each(first, &rows.reigns, |_, row| {
                    Ok(reign.apply(group.kind, header.epoch(), lsn, row)?)
                })
            }
            RecordKind::AccountOpened => {
                group.read_rows(&mut rows.accounts);
                let started = header.timestamp().get();
                each(first, &rows.accounts, |index, row| {
                    let timestamp = Timestamp::new(started + index as u64);
                    self.apply_account(row, timestamp)
                })
            }
            RecordKind::TransferPosted => {
                group.read_rows(&mut rows.transfers);
                let mut chunks = rows.transfers.chunks(CHUNK_ROWS).enumerate();
                chunks.try_for_each(|(chunk, rows)| {
                    let numbers = rows
                        .iter()
                        .flat_map(|row| [row.debit_account(), row.credit_account()]);
                    self.books.accounts.touch(numbers);
                    each(first + chunk * CHUNK_ROWS, rows, |index, row| {
                        let posting = fit(&self.books, row)?;
                        self.take_id(row.id(), Entry::Posted(RecordAt::new(lsn, index)))?;
                        self.books.post(&posting);
                        Ok(())
                    })
                })
            }
            RecordKind::TransferFailed => {
                group.read_rows(&mut rows.failed);
                each(first, &rows.failed, |_, row| {
                    self.take_failed(row)?;
                    self.books.failed += 1;
                    Ok(())
                })
            }
            kind => Err((first, RecordError::Kind(kind as u16))),
        }
    }

    fn index_group(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        rows: &mut Rows,
    ) -> Result<(), (usize, RecordError)> {
        let (lsn, first) = (header.lsn(), group.first_index);
        match group.kind {
            RecordKind::EpochStart | RecordKind::SetChange | RecordKind::AccountOpened => Ok(()),
            RecordKind::TransferPosted => {
                group.read_rows(&mut rows.transfers);
                self.indexing.posted += group.count as u64;
                each(first, &rows.transfers, |index, row| {
                    self.take_id(row.id(), Entry::Posted(RecordAt::new(lsn, index)))
                })
            }
            RecordKind::TransferFailed => {
                group.read_rows(&mut rows.failed);
                self.indexing.failed += group.count as u64;
                each(first, &rows.failed, |_, row| self.take_failed(row))
            }
            kind => Err((first, RecordError::Kind(kind as u16))),
        }
    }

    fn check_index_end(&self, end: Lsn) -> Result<(), ApplyError> {
        let indexing = &self.indexing;
        let agrees = indexing.posted == indexing.expected_posted
            && indexing.failed == indexing.expected_failed;
        if end == indexing.until && !agrees {
            return Err(ApplyError::Counts {
                lsn: end,
                posted: indexing.posted,
                failed: indexing.failed,
                expected_posted: indexing.expected_posted,
                expected_failed: indexing.expected_failed,
            });
        }
        Ok(())
    }

    fn apply_account(&mut self, row: &AccountRow, timestamp: Timestamp) -> Result<(), RecordError> {
        let expected = AccountNumber::new(self.books.accounts.count());
        if row.number() != expected {
            return Err(RecordError::Number {
                found: row.number(),
                expected,
            });
        }
        if is_no_id(row.id().get()) || expected.get() as usize == ACCOUNTS_MAX {
            return Err(RecordError::Account(row.id()));
        }
        if row.ledger() == LedgerId::new(0) {
            return Err(RecordError::NoLedger(row.id()));
        }
        match self.books.open_account(row, timestamp) {
            Some(_) => Ok(()),
            None => Err(RecordError::Account(row.id())),
        }
    }

    fn take_failed(&mut self, row: &FailedRow) -> Result<(), RecordError> {
        let number = row.result.get();
        let result = CreateTransferResult::from_number(number)
            .filter(|result| result.is_transient())
            .ok_or(RecordError::Failure(number))?;
        self.take_id(TransferId::new(row.id.get()), Entry::Failed(result))
    }

    fn take_id(&mut self, id: TransferId, entry: Entry) -> Result<(), RecordError> {
        if is_no_id(id.get()) {
            return Err(RecordError::Transfer(id));
        }
        match self.index.probe(id) {
            Probe::Free(free) => {
                free.take(entry);
                Ok(())
            }
            Probe::Taken(_) => Err(RecordError::Transfer(id)),
        }
    }
}

fn check_end(lsn: Lsn, end: Lsn) -> Result<(), ApplyError> {
    let nameable = end.get() < 1 << 61;
    if end <= lsn || !end.get().is_multiple_of(PAGE_BYTES) || !nameable {
        return Err(ApplyError::End { lsn, end });
    }
    Ok(())
}

fn is_no_id(id: u128) -> bool {
    id == 0 || id == u128::MAX
}

/// What a posted transfer makes of its accounts, if they are there and their balances hold it.
fn fit(books: &Books, row: &TransferRow) -> Result<Posting, RecordError> {
    let (debit, credit) = (row.debit_account(), row.credit_account());
    let find = |number| {
        let core = books.accounts.core(number);
        core.ok_or(RecordError::NoAccount(number))
    };
    let (from, to) = (find(debit)?, find(credit)?);
    if debit == credit || from.traits.ledger_slot() != to.traits.ledger_slot() {
        return Err(RecordError::Accounts { debit, credit });
    }
    let amount = row.amount.get();
    let grown = |balance: u128, number| {
        let sum = balance.checked_add(amount);
        sum.ok_or(RecordError::Overflow(number))
    };
    Ok(Posting {
        debit,
        credit,
        amount,
        ledger_slot: from.traits.ledger_slot(),
        debits_after: grown(from.debits_posted, debit)?,
        credits_after: grown(to.credits_posted, credit)?,
    })
}

fn each<R>(
    first: usize,
    rows: &[R],
    mut take: impl FnMut(usize, &R) -> Result<(), RecordError>,
) -> Result<(), (usize, RecordError)> {
    for (n, row) in rows.iter().enumerate() {
        take(first + n, row).map_err(|error| (first + n, error))?;
    }
    Ok(())
}
