//! From places of records to something that is known of them.

use hashbrown::hash_table::Entry;
use kanjo_format::RecordAt;

use crate::hash::{IdHasher, Sharded};

const SHARD_BITS: u32 = 4;

#[derive(Debug)]
pub(super) struct Links<T> {
    table: Sharded<(RecordAt, T)>,
    hasher: IdHasher,
}

impl<T: Copy> Links<T> {
    pub(super) fn new(hasher: IdHasher) -> Self {
        Self {
            table: Sharded::new(SHARD_BITS),
            hasher,
        }
    }

    pub(super) fn find(&self, from: RecordAt) -> Option<T> {
        let found = self.table.find(hash(&self.hasher, from), |e| e.0 == from);
        found.map(|entry| entry.1)
    }

    /// Panics if there is one from the same place, which only a bug can cause.
    pub(super) fn insert(&mut self, from: RecordAt, to: T) {
        let hasher = &self.hasher;
        let place = self
            .table
            .entry(hash(hasher, from), |e| e.0 == from, |e| hash(hasher, e.0));
        match place {
            Entry::Vacant(place) => place.insert((from, to)),
            Entry::Occupied(_) => panic!("{from} is linked already"),
        };
    }

    pub(super) fn remove(&mut self, from: RecordAt) {
        let removed = self.table.remove(hash(&self.hasher, from), |e| e.0 == from);
        assert!(removed.is_some(), "an undone link is there");
    }
}

fn hash(hasher: &IdHasher, at: RecordAt) -> u64 {
    hasher.hash(u128::from(at.packed()))
}
