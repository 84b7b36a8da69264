//! Going through the log from a place to its tail.
//!
//! A scan keeps its place in a sealed segment: each block is decompressed once, for this scan
//! alone, and costs other readers neither a lock nor a place in what they keep decompressed.

use std::sync::Arc;

use bytes::Bytes;
use kanjo_format::{Batch, BatchPlace, Lsn};

use crate::error::LogError;
use crate::log::Entry;
use crate::reader::LogReader;
use crate::sealed::{Block, SealedFile, SealedMeta, Unpacker};

/// Iterates over batches, checking that each continues the one before. Ends at the tail, or
/// behind the first error; at the tail it may be asked again when more was appended.
#[derive(Debug)]
pub struct Scan {
    reader: LogReader,
    place: BatchPlace,
    sealed: Option<SealedPlace>,
    failed: bool,
}

/// A place in a sealed segment.
#[derive(Debug)]
struct SealedPlace {
    file: SealedFile,
    /// The block that is read next.
    next_block: usize,
    block: Option<Block>,
    /// The batch that is next, in the block.
    position: usize,
    unpacker: Unpacker,
}

impl Scan {
    pub(crate) const fn new(reader: LogReader, place: BatchPlace) -> Self {
        Self {
            reader,
            place,
            sealed: None,
            failed: false,
        }
    }

    /// The place behind the last batch that was given.
    pub const fn place(&self) -> BatchPlace {
        self.place
    }

    fn step(&mut self) -> Result<Option<Batch<Bytes>>, LogError> {
        let Some(batch) = self.read()? else {
            return Ok(None);
        };
        let header = &batch.header;
        let checked = header
            .check_place(&self.place)
            .and_then(|()| header.check_chain(&self.place));
        if let Err(error) = checked {
            let lsn = self.place.lsn;
            let (path, offset) = self.reader.locate(lsn);
            return Err(LogError::bad_batch(&path, offset, lsn, error));
        }
        let segment_bytes = self.reader.shared.geometry.segment_bytes;
        self.place = header.next_place(&batch.payload, segment_bytes);
        Ok(Some(batch))
    }

    /// The batch at the scan's place, checked but for its chain.
    fn read(&mut self) -> Result<Option<Batch<Bytes>>, LogError> {
        let lsn = self.place.lsn;
        if let Some(sealed) = &mut self.sealed
            && let Some(batch) = sealed.read(lsn)?
        {
            return Ok(Some(batch));
        }
        let shared = &self.reader.shared;
        self.sealed = None;
        let Some(Entry::Sealed(meta)) = shared.entry(shared.geometry.number_of(lsn)) else {
            // Behind the last segment, or raw: lent out of the mapping.
            return self.reader.read(lsn);
        };
        let sealed = self.sealed.insert(SealedPlace::open(meta, lsn)?);
        let batch = sealed.read(lsn)?;
        batch.ok_or(LogError::NoBatch { lsn }).map(Some)
    }
}

impl SealedPlace {
    fn open(meta: Arc<SealedMeta>, lsn: Lsn) -> Result<Self, LogError> {
        let file = SealedFile::open(meta)?;
        file.read_ahead();
        let mut place = Self {
            next_block: file.block_of(lsn)?,
            file,
            block: None,
            position: 0,
            unpacker: Unpacker::default(),
        };
        place.load()?;
        let starts = place.block.iter().flat_map(|block| &block.starts);
        place.position = starts.take_while(|(start, _)| *start < lsn).count();
        Ok(place)
    }

    /// The batch at `lsn`; `None` behind the segment's last one.
    fn read(&mut self, lsn: Lsn) -> Result<Option<Batch<Bytes>>, LogError> {
        if self
            .block
            .as_ref()
            .is_some_and(|b| self.position == b.starts.len())
        {
            self.load()?;
        }
        let Some(block) = &self.block else {
            return Ok(None);
        };
        if block.starts[self.position].0 != lsn {
            return Err(LogError::NoBatch { lsn });
        }
        let entry = &self.file.index[self.next_block - 1];
        let batch = self.file.batch(entry, block, self.position)?;
        self.position += 1;
        Ok(Some(batch))
    }

    fn load(&mut self) -> Result<(), LogError> {
        self.position = 0;
        self.block = match self.file.index.get(self.next_block) {
            Some(entry) => Some(self.file.block(entry, &mut self.unpacker)?),
            None => None,
        };
        self.next_block += 1;
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Batch<Bytes>, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.step().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}
