//! Replay: takes batches as they are and never decides. It checks only that they fit what is
//! there, so that a wrong batch is found where it stands and not in a balance long after.

mod error;
mod fit;

use kanjo_format::batch::FLAG_SEGMENT_END;
use kanjo_format::columns::{Group, Groups};
use kanjo_format::limits::{BATCH_RECORDS_MAX, PAGE_BYTES};
use kanjo_format::movement::{self, Movement};
use kanjo_format::record::{FailedRow, RecordKind};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{BatchHeader, Lsn, RecordAt, TransferId};

use crate::batch::Rows;
use crate::index::{Entry, Probe};
use crate::ledger::{Ledger, TIMESTAMP_MAX};
pub use error::{ApplyError, RecordError};

/// Transfers whose balances are loaded together.
const CHUNK_ROWS: usize = 32;

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
    /// Batches come in order from [`Ledger::indexed`] on; at the checkpoint the counts must agree
    /// with it.
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
        if header.flags() & FLAG_SEGMENT_END != 0 {
            self.index.begin_generation(end);
        }
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
                each(first, &rows.accounts, |index, row| {
                    self.apply_account(row, movement::record_time(header, index))
                })
            }
            RecordKind::AccountImported => {
                group.read_rows(&mut rows.imported);
                each(first, &rows.imported, |index, row| {
                    self.apply_imported(row, movement::record_time(header, index))
                })
            }
            RecordKind::AccountChanged => {
                group.read_rows(&mut rows.changes);
                each(first, &rows.changes, |index, row| {
                    self.apply_change(row, movement::record_time(header, index))
                })
            }
            RecordKind::DayClosed => {
                group.read_rows(&mut rows.days);
                each(first, &rows.days, |index, row| {
                    let at = RecordAt::new(lsn, index);
                    self.apply_day(row, at, movement::record_time(header, index))
                })
            }
            RecordKind::TransferPosted => self.apply_posted(header, group, rows),
            _ => each_movement(header, group, |at, movement| {
                let recorded = movement::record_time(header, at.index());
                match movement {
                    Movement::Transfer(transfer) => self.apply_transfer(at, &transfer, recorded),
                    Movement::Expired(expired) => self.apply_expiry(at, &expired, recorded),
                    Movement::Failed(row) => {
                        self.take_failed(&row)?;
                        self.books.failed += 1;
                        Ok(())
                    }
                }
            }),
        }
    }

    /// Single-phase transfers are most of a log: their accounts are loaded together.
    fn apply_posted(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        rows: &mut Rows,
    ) -> Result<(), (usize, RecordError)> {
        let (lsn, first) = (header.lsn(), group.first_index);
        group.read_rows(&mut rows.transfers);
        for (chunk, rows) in rows.transfers.chunks(CHUNK_ROWS).enumerate() {
            let numbers = rows
                .iter()
                .flat_map(|row| [row.debit_account(), row.credit_account()]);
            self.books.accounts.touch(numbers);
            each(first + chunk * CHUNK_ROWS, rows, |index, row| {
                let posting = self.fit_posted(row)?;
                self.take_id(row.id(), Entry::Posted(RecordAt::new(lsn, index)))?;
                self.books.post(&posting);
                Ok(())
            })?;
        }
        let started = movement::record_time(header, first);
        self.index.note_times(started, group.count);
        let last = movement::record_time(header, first + group.count - 1);
        self.books.transfer_time = last.get();
        Ok(())
    }

    fn index_group(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        rows: &mut Rows,
    ) -> Result<(), (usize, RecordError)> {
        let (lsn, first) = (header.lsn(), group.first_index);
        match group.kind {
            RecordKind::EpochStart
            | RecordKind::SetChange
            | RecordKind::AccountOpened
            | RecordKind::AccountImported
            | RecordKind::AccountChanged
            | RecordKind::DayClosed => Ok(()),
            RecordKind::TransferPosted => {
                group.read_rows(&mut rows.transfers);
                self.indexing.posted += group.count as u64;
                let started = movement::record_time(header, first);
                self.index.note_times(started, group.count);
                each(first, &rows.transfers, |index, row| {
                    self.take_id(row.id(), Entry::Posted(RecordAt::new(lsn, index)))
                })
            }
            _ => each_movement(header, group, |at, movement| match movement {
                Movement::Transfer(transfer) => {
                    self.indexing.posted += 1;
                    self.fit_links(at, &transfer)?;
                    self.take_id(transfer.id, Entry::Posted(at))?;
                    self.index.note_transfer(at, &transfer);
                    Ok(())
                }
                Movement::Expired(expired) => {
                    self.fit_resolution(expired.pending, at)?;
                    self.index.note_expiry(at, &expired);
                    Ok(())
                }
                Movement::Failed(row) => {
                    self.indexing.failed += 1;
                    self.take_failed(&row)
                }
            }),
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

    fn take_failed(&mut self, row: &FailedRow) -> Result<(), RecordError> {
        let number = row.result.get();
        let result = CreateTransferResult::from_number(number)
            .filter(|result| result.is_sticky())
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
            Probe::Taken => Err(RecordError::Transfer(id)),
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

pub(crate) fn is_no_id(id: u128) -> bool {
    id == 0 || id == u128::MAX
}

/// The movements of one group, with the index of the one that does not fit.
fn each_movement(
    header: &BatchHeader,
    group: &Group<'_>,
    mut take: impl FnMut(RecordAt, Movement) -> Result<(), RecordError>,
) -> Result<(), (usize, RecordError)> {
    let mut index = group.first_index;
    let taken = movement::each_of_group(header, group, |at, movement| {
        index = at.index();
        let taken = take(at, movement);
        index += usize::from(taken.is_ok());
        taken
    });
    taken.map_err(|error| (index, error))
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
