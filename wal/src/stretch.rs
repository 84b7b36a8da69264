//! Where batches start: for readers that come from anywhere, and go backwards.

use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::{BatchHeader, Lsn};

use crate::error::LogError;
use crate::log::Entry;
use crate::raw::RawSegment;
use crate::reader::LogReader;

/// A part of the log, with the place of every batch in it: a raw segment as far as it is written,
/// or a block of a sealed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where each batch starts, in order; never empty.
    pub starts: Vec<Lsn>,
    /// Where the last one ends, which is where the next stretch starts. A raw segment goes on from there.
    pub end: Lsn,
}

impl Stretch {
    /// Whether `lsn` lies within.
    pub fn holds(&self, lsn: Lsn) -> bool {
        self.starts.first().is_some_and(|first| *first <= lsn) && lsn < self.end
    }
}

impl LogReader {
    /// The stretch in which `lsn` lies; `None` at or behind the tail. The headers of a raw
    /// segment are read one by one: who keeps a stretch of it passes it in, and only what was
    /// written since is read.
    pub fn stretch(&self, lsn: Lsn, known: Option<Stretch>) -> Result<Option<Stretch>, LogError> {
        let tail = self.tail().lsn;
        if lsn >= tail {
            return Ok(None);
        }
        let number = self.shared.geometry.number_of(lsn);
        match self.shared.entry(number) {
            Some(Entry::Sealed(meta)) => self.shared.cache.stretch(&meta, lsn).map(Some),
            Some(Entry::Raw(segment)) => self.raw_stretch(&segment, known, tail).map(Some),
            // Cut since the tail was read.
            None => Ok(None),
        }
    }

    fn raw_stretch(
        &self,
        segment: &RawSegment,
        known: Option<Stretch>,
        tail: Lsn,
    ) -> Result<Stretch, LogError> {
        let geometry = &self.shared.geometry;
        let first = geometry.first_lsn(segment.number);
        let known = known.filter(|known| known.starts.first() == Some(&first));
        let mut stretch = known.unwrap_or(Stretch {
            starts: Vec::new(),
            end: first,
        });
        while stretch.end < tail && geometry.number_of(stretch.end) == segment.number {
            let lsn = stretch.end;
            assert!(
                lsn.get().is_multiple_of(PAGE_BYTES),
                "batches start on pages"
            );
            let offset = geometry.offset_of(lsn);
            let bytes = segment
                .device
                .read(offset, BATCH_HEADER_BYTES)
                .map_err(LogError::io(&segment.path, offset, "read the log"))?;
            let header = BatchHeader::decode(&bytes)
                .map_err(|error| LogError::bad_batch(&segment.path, offset, lsn, error))?;
            stretch.starts.push(lsn);
            stretch.end = header.end(geometry.segment_bytes);
        }
        Ok(stretch)
    }
}
