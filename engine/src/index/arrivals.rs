//! Ids in order of arrival: a table of one fixed size, allocated once, that never grows.
//!
//! ```text
//! rows    id, entry | id, entry | …          written one after the other
//! places  hash table: where among the rows   small enough to stay in a near cache
//! ```
//!
//! A new id costs one look at `places`; the row behind it is only written.

use hashbrown::HashTable;
use hashbrown::hash_table::{self, VacantEntry};
use kanjo_format::TransferId;

use super::Entry;
use crate::hash::IdHasher;

/// Rows of one table: seven eighths of 2^16, which is how far its places may be filled.
pub(super) const ROWS: usize = 57_344;
/// Every so many arrivals one is looked at, to tell whether ids come in order of time.
pub(super) const SAMPLE_EVERY: usize = 64;

const _: () = assert!(ROWS <= 1 << 16);
const _: () = assert!(ROWS.is_multiple_of(SAMPLE_EVERY));

/// 24 bytes: a `u128` would round it up to 32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    id: [u64; 2],
    packed: u64,
}

impl Row {
    pub(super) fn new(id: TransferId, entry: Entry) -> Self {
        Self {
            id: [id.get() as u64, (id.get() >> 64) as u64],
            packed: entry.pack(),
        }
    }

    pub(super) fn id(&self) -> u128 {
        u128::from(self.id[0]) | u128::from(self.id[1]) << 64
    }

    pub(super) fn is(&self, id: u128) -> bool {
        self.id == [id as u64, (id >> 64) as u64]
    }

    pub(super) fn entry(&self) -> Entry {
        Entry::unpack(self.packed)
    }

    /// Whether it was given back. No id is zero.
    pub(super) fn is_gone(&self) -> bool {
        self.id == [0; 2]
    }
}

/// A table of arrivals: the recent one, a partition, or one that is being poured.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    rows: Vec<Row>,
    places: HashTable<u16>,
}

/// The place of an id that is not there yet.
pub(super) struct VacantArrival<'a> {
    rows: &'a mut Vec<Row>,
    place: VacantEntry<'a, u16>,
}

impl Arrivals {
    /// A table that takes [`ROWS`] ids without growing.
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::with_capacity(ROWS),
            places: HashTable::with_capacity(ROWS),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() == ROWS
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, id: u128) -> Option<&Row> {
        let rows = &self.rows;
        let place = self.places.find(hash, |&at| rows[usize::from(at)].is(id))?;
        Some(&rows[usize::from(*place)])
    }

    /// Gives an id back; whether it was there. A row in the middle stays, without an id.
    pub(super) fn remove(&mut self, hash: u64, id: u128) -> bool {
        let rows = &self.rows;
        let found = self
            .places
            .find_entry(hash, |&at| rows[usize::from(at)].is(id));
        let Ok(found) = found else {
            return false;
        };
        let at = usize::from(found.remove().0);
        match at + 1 == self.rows.len() {
            true => drop(self.rows.pop()),
            false => self.rows[at].id = [0; 2],
        }
        true
    }

    /// The row of an id, or the place where it would stand. The table must not be full.
    #[inline]
    pub(super) fn entry(
        &mut self,
        hasher: &IdHasher,
        hash: u64,
        id: u128,
    ) -> Result<&Row, VacantArrival<'_>> {
        debug_assert!(!self.is_full(), "a full table is frozen before it is asked");
        let rows = &mut self.rows;
        let entry = self.places.entry(
            hash,
            |&at| rows[usize::from(at)].is(id),
            |&at| hasher.hash(rows[usize::from(at)].id()),
        );
        match entry {
            hash_table::Entry::Occupied(taken) => Ok(&rows[usize::from(*taken.get())]),
            hash_table::Entry::Vacant(place) => Err(VacantArrival { rows, place }),
        }
    }
}

impl VacantArrival<'_> {
    #[inline]
    pub(super) fn insert(self, row: Row) {
        self.place.insert(self.rows.len() as u16);
        self.rows.push(row);
    }
}

/// An inclusive range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u128,
    pub(super) high: u128,
}

impl Span {
    pub(super) const NONE: Self = Self {
        low: u128::MAX,
        high: 0,
    };

    pub(super) fn holds(&self, id: u128) -> bool {
        self.low <= id && id <= self.high
    }

    pub(super) fn take(&mut self, id: u128) {
        self.low = self.low.min(id);
        self.high = self.high.max(id);
    }
}

/// Where ids lie that come in order of time, told from some of them in order of arrival; `None`
/// if they do not come so. Of ordered ids the last quarter lies above nearly all others; they may
/// come in lumps, with any pauses between. A few ids that lie much further out than all others
/// reach are no part of the range: one from the far future must not keep all later ones from
/// lying above it.
pub(super) fn ordered_span(samples: &[u128]) -> Option<Span> {
    let quarter = samples.len() / 4;
    let mut last = samples[3 * quarter..].to_vec();
    let last = *last.select_nth_unstable(quarter / 2).1;
    let below = samples.iter().filter(|&&id| id <= last).count();
    if below < 3 * quarter {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let (few, end) = (samples.len() / 64, samples.len() - 1);
    let far = |gap: u128, reach: u128| gap > reach.saturating_mul(2);
    let top = (end - few..end)
        .find(|&n| far(sorted[n + 1] - sorted[n], sorted[n] - sorted[quarter]))
        .unwrap_or(end);
    let bottom = (1..=few)
        .rev()
        .find(|&n| far(sorted[n] - sorted[n - 1], sorted[3 * quarter] - sorted[n]))
        .unwrap_or(0);
    // Not every outlier was looked at, and not every id of the range.
    let reach = (sorted[top] - sorted[bottom]).saturating_mul(2);
    Some(Span {
        low: sorted[bottom].saturating_sub(reach),
        high: sorted[top].saturating_add(reach),
    })
}
