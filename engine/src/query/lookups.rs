//! Looking up many transfers by id: old ones take reading, which holds nobody up here.

use kanjo_format::columns::find_row;
use kanjo_format::movement;
use kanjo_format::record::{FailedRow, RecordKind};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{RecordAt, TransferId};

use super::calendar::Calendar;
use super::past::{BATCH_COST, Budget, Past, PastError, batch_at};
use super::told::Told;
use crate::index::Entry;
use crate::ledger::Ledger;

/// What became of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet.
    Unknown,
    /// It failed for ever; the number of a `CreateTransferResult`.
    Rejected(u32),
    /// It is this transfer.
    Transfer(Told),
}

/// Looks up transfers by id.
#[derive(Clone, Debug)]
pub struct LookupQuery {
    wanted: Vec<(TransferId, Known)>,
    calendar: Calendar,
    found: Vec<(TransferId, Fate)>,
}

/// What the ledger knows of an id.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It stands there.
    At(RecordAt),
    /// It failed.
    Failed(CreateTransferResult),
    /// If it is anywhere, then in the indexed part of the past.
    Old,
}

impl LookupQuery {
    /// Looks up these ids, whatever became of them.
    pub fn new(ledger: &Ledger, ids: impl IntoIterator<Item = TransferId>) -> Self {
        let known = |id: TransferId| match id.get() {
            0 => Known::Failed(CreateTransferResult::IdMustNotBeZero),
            u128::MAX => Known::Failed(CreateTransferResult::IdMustNotBeIntMax),
            _ => match ledger.index.find(id) {
                Some(Entry::Posted(at)) => Known::At(at),
                Some(Entry::Failed(why)) => Known::Failed(why),
                None => Known::Old,
            },
        };
        Self {
            wanted: ids.into_iter().map(|id| (id, known(id))).collect(),
            calendar: Calendar::of(ledger.business_days()),
            found: Vec::new(),
        }
    }

    /// 0 once all are found.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        while let Some((id, known)) = self.wanted.get(self.found.len()).copied() {
            if budget.is_spent() {
                return Ok(None);
            }
            budget.spend(BATCH_COST);
            let fate = match known {
                Known::Failed(why) => Fate::Rejected(why.number()),
                Known::At(at) => {
                    let fate = self.read(past, budget, id, at)?;
                    fate.ok_or(PastError::Misplaced { at })?
                }
                Known::Old => {
                    let mut fate = None;
                    for at in past.find(id)? {
                        fate = fate.or(self.read(past, budget, id, at)?);
                    }
                    fate.unwrap_or(Fate::Unknown)
                }
            };
            self.found.push((id, fate));
        }
        Ok(Some(0))
    }

    /// What the record at `at` says of `id`; `None` if it is about another one.
    fn read<P: Past>(
        &self,
        past: &mut P,
        budget: &mut Budget,
        id: TransferId,
        at: RecordAt,
    ) -> Result<Option<Fate>, PastError> {
        let bad = |source| PastError::Payload {
            lsn: at.lsn(),
            source,
        };
        budget.spend(BATCH_COST);
        let batch = batch_at(past, at)?;
        let (header, payload) = (&batch.header, batch.payload.as_ref());
        if let Some(transfer) = movement::transfer_at(header, payload, at.index()).map_err(bad)? {
            if transfer.id != id {
                return Ok(None);
            }
            let told = Told::of(past, budget, &self.calendar, at, &transfer)?;
            return Ok(Some(Fate::Transfer(told)));
        }
        let count = header.record_count();
        let failed: Option<FailedRow> =
            find_row(payload, count, RecordKind::TransferFailed, at.index()).map_err(bad)?;
        let mine = failed.filter(|row| row.id.get() == id.get());
        Ok(mine.map(|row| Fate::Rejected(row.result.get())))
    }

    pub(super) fn into_found(self) -> Vec<(TransferId, Fate)> {
        self.found
    }
}
