//! Ids of one generation: which are taken, and where their records stand.
//!
//! Clients' ids mostly begin with the time, so a new one lies above all that were ever seen, and
//! one look into a small table tells that it is free.
//!
//! ```text
//! recent ── full, ids in order ──▶ partitions   by range; the shape of sorted runs on disk
//!    └───── full, ids in no order ─▶ rest       one growing table, as are stragglers
//! ```

#[cfg(test)]
mod tests;

use kanjo_format::TransferId;

use super::Entry;
use super::arrivals::{Arrivals, ROWS, Row, SAMPLE_EVERY, Span, VacantArrival, ordered_span};
use super::partitions::{Partition, Partitions};
use super::rest::{Rest, VacantRest};
use crate::hash::IdHasher;

/// Rows that a freeze may send to the rest at once: with more of them the table is poured.
const OUTSIDE_MAX: usize = ROWS / 16;
/// Rows that are poured before each probe; with two, all are gone before another table is full.
const POURED_AT_ONCE: usize = 2;

/// The ids that were taken in one generation.
#[derive(Debug)]
pub(super) struct Ids {
    /// Takes new ids while they come in order of time.
    recent: Arrivals,
    partitions: Partitions,
    rest: Rest,
    /// A table of ids that turned out to come in no order, on its way to the rest.
    pouring: Option<Pouring>,
    /// While ids come in no order they go to the rest at once; some are noted to see that change.
    scattered: Option<Samples>,
    len: usize,
    hasher: IdHasher,
}

/// What one probe for an id found.
pub(crate) enum Probe<'a> {
    Taken,
    Free(FreeId<'a>),
}

/// An id that is not taken, and the place where it would stand.
pub(crate) struct FreeId<'a> {
    id: TransferId,
    place: FreePlace<'a>,
    len: &'a mut usize,
}

enum FreePlace<'a> {
    Recent(VacantArrival<'a>),
    Rest(VacantRest<'a>, &'a mut Samples),
}

impl FreeId<'_> {
    /// Takes the id.
    #[inline]
    pub(crate) fn take(self, entry: Entry) {
        let row = Row::new(self.id, entry);
        *self.len += 1;
        match self.place {
            FreePlace::Recent(place) => place.insert(row),
            FreePlace::Rest(place, samples) => {
                place.insert(row);
                samples.note(self.id.get());
            }
        }
    }
}

impl Ids {
    /// No ids. `scattered` says that they are expected in no order.
    pub(super) fn new(hasher: IdHasher, scattered: bool) -> Self {
        Self {
            recent: Arrivals::new(),
            partitions: Partitions::default(),
            rest: Rest::new(),
            pouring: None,
            scattered: scattered.then(Samples::new),
            len: 0,
            hasher,
        }
    }

    /// Whether ids come in no order.
    pub(super) fn is_scattered(&self) -> bool {
        self.scattered.is_some()
    }

    /// What became of `id`; `None` if nothing was recorded of it here.
    pub(super) fn find(&self, id: TransferId) -> Option<Entry> {
        let (id, hash) = (id.get(), self.hasher.hash(id.get()));
        let found = self.recent.find(hash, id);
        let found = found.or_else(|| self.partitions.find(hash, id));
        let found = found.or_else(|| self.pouring.as_ref()?.ids.find(hash, id));
        let found = found.or_else(|| self.rest.find(hash, id));
        found.map(Row::entry)
    }

    /// Ids here.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// No id above it is here. Looks at some tens of thousands of them.
    pub(super) fn top(&self) -> u128 {
        let rows = |ids: &Arrivals| ids.rows().iter().map(Row::id).max();
        let recent = rows(&self.recent);
        let pouring = self.pouring.as_ref().and_then(|p| rows(&p.ids));
        let tables = self.partitions.top().max(self.rest.top());
        tables.max(recent.max(pouring).unwrap_or(0))
    }

    #[inline]
    pub(super) fn probe(&mut self, id: TransferId) -> Probe<'_> {
        let sampled = self.scattered.as_ref().is_some_and(Samples::is_full);
        if self.recent.is_full() || sampled || self.pouring.is_some() {
            self.tidy();
        }
        let key = id.get();
        let hash = self.hasher.hash(key);
        if self.partitions.find(hash, key).is_some() {
            return Probe::Taken;
        }
        if let Some(pouring) = &self.pouring
            && pouring.ids.find(hash, key).is_some()
        {
            return Probe::Taken;
        }
        let len = &mut self.len;
        let place = match &mut self.scattered {
            None => {
                if self.rest.find(hash, key).is_some() {
                    return Probe::Taken;
                }
                match self.recent.entry(&self.hasher, hash, key) {
                    Ok(_) => return Probe::Taken,
                    Err(place) => FreePlace::Recent(place),
                }
            }
            Some(samples) => match self.rest.entry(&self.hasher, hash, key) {
                Ok(_) => return Probe::Taken,
                Err(place) => FreePlace::Rest(place, samples),
            },
        };
        Probe::Free(FreeId { id, place, len })
    }

    /// Gives an id back that is taken here; whether it was.
    pub(super) fn remove(&mut self, id: TransferId) -> bool {
        let (id, hash) = (id.get(), self.hasher.hash(id.get()));
        // What is being poured stands in two tables for a while.
        let mut taken = self.recent.remove(hash, id);
        taken |= self.partitions.remove(hash, id);
        if let Some(pouring) = &mut self.pouring {
            taken |= pouring.ids.remove(hash, id);
        }
        taken |= self.rest.remove(hash, id);
        self.len -= usize::from(taken);
        taken
    }

    /// What is to be done between two ids; each time a bounded part of it.
    #[cold]
    #[inline(never)]
    fn tidy(&mut self) {
        if let Some(pouring) = &mut self.pouring
            && pouring.pour(&mut self.rest, &self.hasher)
        {
            self.pouring = None;
        }
        if self.recent.is_full() {
            self.freeze();
        }
        if let Some(samples) = &mut self.scattered
            && samples.is_full()
        {
            match ordered_span(&samples.ids) {
                None => samples.ids.clear(),
                Some(_) => {
                    self.scattered = None;
                    self.recent = Arrivals::new();
                }
            }
        }
    }

    /// Puts the full table away whole: as a partition if its ids came in order, and else to be
    /// poured into the rest row by row.
    fn freeze(&mut self) {
        let rows = self.recent.rows();
        let samples: Vec<u128> = rows.iter().step_by(SAMPLE_EVERY).map(Row::id).collect();
        let room = ordered_span(&samples).and_then(|span| self.partitions.room(span));
        let (mut span, mut outside) = (Span::NONE, Vec::new());
        if let Some(room) = room {
            for row in rows {
                if row.is_gone() {
                    continue;
                }
                match room.holds(row.id()) {
                    true => span.take(row.id()),
                    false => outside.push(*row),
                }
            }
        }
        let is_partition = outside.len() <= OUTSIDE_MAX && self.partitions.fits(span);
        let ids = std::mem::take(&mut self.recent);
        if is_partition {
            for row in outside {
                self.rest.insert(&self.hasher, row);
            }
            self.partitions.insert(Partition { span, ids });
            self.recent = Arrivals::new();
        } else {
            assert!(
                self.pouring.is_none(),
                "a table pours faster than one fills"
            );
            self.pouring = Some(Pouring { ids, poured: 0 });
            self.scattered = Some(Samples::new());
        }
    }
}

/// A table on its way to the rest. Its rows stay findable in it until all are there.
#[derive(Debug)]
struct Pouring {
    ids: Arrivals,
    poured: usize,
}

impl Pouring {
    /// Pours a few rows; whether it was the last ones.
    fn pour(&mut self, rest: &mut Rest, hasher: &IdHasher) -> bool {
        let rows = &self.ids.rows()[self.poured..];
        let some = &rows[..rows.len().min(POURED_AT_ONCE)];
        for row in some.iter().filter(|row| !row.is_gone()) {
            rest.insert(hasher, *row);
        }
        self.poured += some.len();
        some.len() == rows.len()
    }
}

/// Some of the ids that went to the rest at once, in order of arrival.
#[derive(Debug)]
struct Samples {
    ids: Vec<u128>,
    passed: usize,
}

impl Samples {
    fn new() -> Self {
        Self {
            ids: Vec::with_capacity(ROWS / SAMPLE_EVERY),
            passed: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.ids.len() == ROWS / SAMPLE_EVERY
    }

    #[inline]
    fn note(&mut self, id: u128) {
        self.passed += 1;
        if self.passed == SAMPLE_EVERY {
            self.passed = 0;
            self.ids.push(id);
        }
    }
}
