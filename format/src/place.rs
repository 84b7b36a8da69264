//! Where a record stands: the name by which records, checkpoints and the index mean a past one.
//!
//! ```text
//! bits  63 zero   62..13 page of its batch's lsn   12..0 index within the batch
//! ```
//!
//! Places are ordered like the log. The highest bit is free for whoever keeps a place beside
//! something else in one word.

use std::fmt;

use crate::ids::Lsn;
use crate::limits::{BATCH_RECORDS_MAX, PAGE_BYTES};

const INDEX_BITS: u32 = 13;
const LSN_END: u64 = 1 << 61;

const _: () = assert!(BATCH_RECORDS_MAX <= 1 << INDEX_BITS);
const _: () = assert!(PAGE_BYTES == 1 << 12);

/// Where a record stands: its batch's lsn in pages, then its index within the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordAt(u64);

impl RecordAt {
    /// Before every record.
    pub const MIN: Self = Self(0);
    /// Behind every record.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// Record `index` of the batch at `lsn`. Panics if the lsn is not on a page or beyond 2^61,
    /// or if no batch has so many records, which only a bug can cause.
    pub fn new(lsn: Lsn, index: usize) -> Self {
        assert!(lsn.get().is_multiple_of(PAGE_BYTES), "lsn off the page");
        assert!(lsn.get() < LSN_END, "lsn beyond what a record can name");
        assert!(index < BATCH_RECORDS_MAX, "no batch has so many records");
        Self((lsn.get() / PAGE_BYTES) << INDEX_BITS | index as u64)
    }

    /// The place as one integer below 2^63, as records and files store it.
    pub const fn packed(self) -> u64 {
        self.0
    }

    /// The place that `packed` gave; `None` for an integer that is no place.
    pub const fn from_packed(packed: u64) -> Option<Self> {
        let is_place =
            packed >> 63 == 0 && packed & ((1 << INDEX_BITS) - 1) < BATCH_RECORDS_MAX as u64;
        if is_place { Some(Self(packed)) } else { None }
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

impl fmt::Display for RecordAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} of the batch at lsn {}",
            self.index(),
            self.lsn()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_are_ordered_like_the_log() {
        let page = |n| Lsn::new(n * PAGE_BYTES);
        let rising = [
            (0, 0),
            (0, 8_191),
            (1, 0),
            (1, 1),
            (77, 5),
            (1 << 48, 8_191),
        ];
        let places: Vec<RecordAt> = rising
            .iter()
            .map(|&(n, i)| RecordAt::new(page(n), i))
            .collect();
        assert!(places.is_sorted_by(|a, b| a < b));
        for (place, (n, index)) in places.iter().zip(rising) {
            assert_eq!((place.lsn(), place.index()), (page(n), index));
            assert_eq!(RecordAt::from_packed(place.packed()), Some(*place));
            assert!(RecordAt::MIN <= *place && *place < RecordAt::MAX);
        }
        assert_eq!(RecordAt::from_packed(1 << 63), None);
    }
}
