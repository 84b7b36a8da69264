//! The past in memory: a ledger without a disk, and tests. Every batch is looked through.

use std::sync::Arc;

use kanjo_format::{AccountNumber, BatchHeader, LedgerId, Lsn, RecordAt, TransferId};

use super::balances::Balances;
use super::past::{Key, Past, PastBatch, PastError};
use crate::ledger::Ledger;

/// Batches in memory, from lsn 0 on.
#[derive(Clone, Debug, Default)]
pub struct MemoryPast {
    batches: Vec<PastBatch<Arc<[u8]>>>,
    ledgers: Vec<LedgerId>,
}

impl MemoryPast {
    /// Takes the batch that follows the last one and ends at `end`. Panics if it does not.
    pub fn push(&mut self, header: &BatchHeader, payload: &[u8], end: Lsn) {
        assert_eq!(header.lsn(), self.end(), "batches follow each other");
        self.batches.push(PastBatch {
            header: *header,
            payload: payload.into(),
            end,
        });
    }

    /// Takes in the ledgers of accounts that were opened since, as a query by ledger needs them.
    pub fn note_accounts(&mut self, ledger: &Ledger) {
        let first = AccountNumber::new(self.ledgers.len() as u32);
        ledger.ledgers_of_accounts(first, usize::MAX, &mut self.ledgers);
    }

    #[cfg(test)]
    pub(super) fn ledgers_mut(&mut self) -> &mut Vec<LedgerId> {
        &mut self.ledgers
    }

    /// All batches.
    pub fn batches(&self) -> &[PastBatch<Arc<[u8]>>] {
        &self.batches
    }
}

impl Past for MemoryPast {
    type Payload = Arc<[u8]>;

    fn end(&self) -> Lsn {
        self.batches.last().map_or(Lsn::ZERO, |batch| batch.end)
    }

    fn batch_from(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError> {
        let first = self.batches.partition_point(|b| b.header.lsn() < lsn);
        Ok(self.batches.get(first).cloned())
    }

    fn batch_before(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError> {
        let first = self.batches.partition_point(|b| b.header.lsn() < lsn);
        Ok(first.checked_sub(1).map(|last| self.batches[last].clone()))
    }

    fn indexed_to(&self) -> Lsn {
        Lsn::ZERO
    }

    fn is_indexed(&self, _: Key) -> bool {
        false
    }

    fn seek(&mut self, _: Key, _: RecordAt) -> Result<Option<RecordAt>, PastError> {
        Ok(None)
    }

    fn seek_back(&mut self, _: Key, _: RecordAt) -> Result<Option<RecordAt>, PastError> {
        Ok(None)
    }

    fn base(&mut self, _: AccountNumber, _: RecordAt) -> Result<(RecordAt, Balances), PastError> {
        Ok((RecordAt::MIN, Balances::default()))
    }

    fn find(&mut self, _: TransferId) -> Result<Vec<RecordAt>, PastError> {
        Ok(Vec::new())
    }

    fn ledger_of(&self, account: AccountNumber) -> Option<LedgerId> {
        self.ledgers.get(account.get() as usize).copied()
    }
}
