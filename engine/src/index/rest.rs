//! The rest: ids that fit no range, in one table that grows shard by shard.

use hashbrown::hash_table::{Entry, VacantEntry};

use super::arrivals::{Row, Span};
use crate::hash::{IdHasher, Sharded};

const SHARD_BITS: u32 = 10;

#[derive(Debug)]
pub(super) struct Rest {
    table: Sharded<Row>,
    span: Span,
}

/// The place of an id that is not there yet.
pub(super) struct VacantRest<'a> {
    place: VacantEntry<'a, Row>,
    span: &'a mut Span,
}

impl VacantRest<'_> {
    #[inline]
    pub(super) fn insert(self, row: Row) {
        self.span.take(row.id());
        self.place.insert(row);
    }
}

impl Rest {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(SHARD_BITS),
            span: Span::NONE,
        }
    }

    /// No id above it is here.
    pub(super) fn top(&self) -> u128 {
        self.span.high
    }

    /// Ids outside of its range cost two comparisons.
    #[inline]
    pub(super) fn find(&self, hash: u64, id: u128) -> Option<&Row> {
        if !self.span.holds(id) {
            return None;
        }
        self.table.find(hash, |row| row.is(id))
    }

    pub(super) fn remove(&mut self, hash: u64, id: u128) -> bool {
        self.table.remove(hash, |row| row.is(id)).is_some()
    }

    /// The row of an id, or the place where it would stand.
    #[inline]
    pub(super) fn entry(
        &mut self,
        hasher: &IdHasher,
        hash: u64,
        id: u128,
    ) -> Result<&Row, VacantRest<'_>> {
        let span = &mut self.span;
        let eq = |row: &Row| row.is(id);
        match self.table.entry(hash, eq, |row| hasher.hash(row.id())) {
            Entry::Occupied(taken) => Ok(taken.into_mut()),
            Entry::Vacant(place) => Err(VacantRest { place, span }),
        }
    }

    /// Takes a row that came from another table.
    pub(super) fn insert(&mut self, hasher: &IdHasher, row: Row) {
        let entry = self.entry(hasher, hasher.hash(row.id()), row.id());
        assert!(entry.is_err(), "an id stands in one table");
        if let Err(place) = entry {
            place.insert(row);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
