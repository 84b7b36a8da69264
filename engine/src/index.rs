//! The transfer index: which ids are taken, and where their records stand.
//!
//! It answers one question, "what became of this id", with one probe. Today it is one table in
//! memory, rebuilt by scanning the log; its interface is what sorted runs on disk will answer.

use hashbrown::hash_table::{self, OccupiedEntry, VacantEntry};
use kanjo_format::limits::{BATCH_RECORDS_MAX, PAGE_BYTES};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{Lsn, TransferId};

use crate::hash::{IdHasher, Sharded};

const SHARD_BITS: u32 = 10;
const INDEX_BITS: u32 = 13;
/// Marks an id that failed; the result's number stands below it.
const FAILED: u64 = 1 << 63;

const _: () = assert!(BATCH_RECORDS_MAX <= 1 << INDEX_BITS);
const _: () = assert!(PAGE_BYTES == 1 << 12);

/// Where a record stands: its batch's lsn in pages, then its index within the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordAt(u64);

impl RecordAt {
    /// Record `index` of the batch at `lsn`. Panics if the lsn is not on a page or beyond 2^61,
    /// or if no batch has so many records, which only a bug can cause.
    pub fn new(lsn: Lsn, index: usize) -> Self {
        assert!(lsn.get().is_multiple_of(PAGE_BYTES), "lsn off the page");
        assert!(lsn.get() < 1 << 61, "lsn beyond what a record can name");
        assert!(index < BATCH_RECORDS_MAX, "no batch has so many records");
        Self((lsn.get() / PAGE_BYTES) << INDEX_BITS | index as u64)
    }

    /// Where its batch stands.
    pub const fn lsn(self) -> Lsn {
        Lsn::new((self.0 >> INDEX_BITS) * PAGE_BYTES)
    }

    /// Its index within the batch.
    pub const fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }
}

impl std::fmt::Display for RecordAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "record {} of the batch at lsn {}",
            self.index(),
            self.lsn()
        )
    }
}

/// What became of a transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It was posted; its record stands there.
    Posted(RecordAt),
    /// It failed in a way that sticks.
    Failed(CreateTransferResult),
}

impl Entry {
    fn pack(self) -> u64 {
        match self {
            Self::Posted(at) => at.0,
            Self::Failed(result) => FAILED | u64::from(result.number()),
        }
    }

    fn unpack(packed: u64) -> Self {
        if packed & FAILED == 0 {
            return Self::Posted(RecordAt(packed));
        }
        let result = CreateTransferResult::from_number(packed as u32);
        Self::Failed(result.expect("only results are packed"))
    }
}

/// 24 bytes: a `u128` would round it up to 32.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: [u64; 2],
    packed: u64,
}

impl Row {
    fn new(id: TransferId, entry: Entry) -> Self {
        Self {
            id: halves(id),
            packed: entry.pack(),
        }
    }

    fn id(&self) -> u128 {
        u128::from(self.id[0]) | u128::from(self.id[1]) << 64
    }
}

fn halves(id: TransferId) -> [u64; 2] {
    [id.get() as u64, (id.get() >> 64) as u64]
}

/// All ids that were posted or burned.
#[derive(Debug)]
pub struct TransferIndex {
    table: Sharded<Row>,
    hasher: IdHasher,
}

/// What one probe for an id found.
pub(crate) enum Probe<'a> {
    Taken(Entry),
    Free(FreeId<'a>),
}

/// An id that is not taken, and the place where it would stand.
pub(crate) struct FreeId<'a> {
    vacant: VacantEntry<'a, Row>,
    id: TransferId,
}

impl FreeId<'_> {
    /// Takes the id.
    pub(crate) fn take(self, entry: Entry) {
        self.vacant.insert(Row::new(self.id, entry));
    }
}

impl TransferIndex {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            table: Sharded::new(SHARD_BITS),
            hasher,
        }
    }

    /// What became of `id`; `None` if nothing was ever recorded of it.
    pub fn find(&self, id: TransferId) -> Option<Entry> {
        let id_halves = halves(id);
        self.table
            .find(self.hasher.hash(id.get()), |row| row.id == id_halves)
            .map(|row| Entry::unpack(row.packed))
    }

    /// Ids posted or burned so far.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no id was ever taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn probe(&mut self, id: TransferId) -> Probe<'_> {
        let hasher = self.hasher;
        let id_halves = halves(id);
        let entry = self.table.entry(
            hasher.hash(id.get()),
            |row| row.id == id_halves,
            |row| hasher.hash(row.id()),
        );
        match entry {
            hash_table::Entry::Occupied(taken) => Probe::Taken(unpack_taken(&taken)),
            hash_table::Entry::Vacant(vacant) => Probe::Free(FreeId { vacant, id }),
        }
    }

    /// Points a taken id elsewhere. Panics if it is not taken, which only a bug can cause.
    pub(crate) fn replace(&mut self, id: TransferId, entry: Entry) {
        let id_halves = halves(id);
        let row = self
            .table
            .find_mut(self.hasher.hash(id.get()), |row| row.id == id_halves);
        row.expect("a replaced id is taken").packed = entry.pack();
    }
}

fn unpack_taken(taken: &OccupiedEntry<'_, Row>) -> Entry {
    Entry::unpack(taken.get().packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut index = TransferIndex::new(IdHasher::new(1));
        let far = RecordAt::new(Lsn::new((1 << 61) - PAGE_BYTES), BATCH_RECORDS_MAX - 1);
        assert_eq!(far.lsn(), Lsn::new((1 << 61) - PAGE_BYTES));
        assert_eq!(far.index(), BATCH_RECORDS_MAX - 1);
        let entries: Vec<Entry> = CreateTransferResult::ALL
            .iter()
            .map(|&r| Entry::Failed(r))
            .chain([
                Entry::Posted(far),
                Entry::Posted(RecordAt::new(Lsn::ZERO, 0)),
            ])
            .collect();
        for (n, &entry) in entries.iter().enumerate() {
            let id = TransferId::new(n as u128 * 0x1_0000_0000_0000_0001 + 1);
            let Probe::Free(free) = index.probe(id) else {
                panic!("a new id is free")
            };
            free.take(entry);
        }
        for (n, &entry) in entries.iter().enumerate() {
            let id = TransferId::new(n as u128 * 0x1_0000_0000_0000_0001 + 1);
            assert_eq!(index.find(id), Some(entry));
        }
        assert_eq!(index.len(), entries.len());
        assert_eq!(index.find(TransferId::new(77 << 64)), None);
    }
}
