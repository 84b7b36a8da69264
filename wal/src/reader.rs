//! Reading the log, in either form, while it is written.
//!
//! A batch of a raw segment is lent out of the mapping without a copy, one of a sealed segment
//! out of its decompressed block. Either keeps alive what it is part of, through seal and cut.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::segment::SegmentForm;
use kanjo_format::{Batch, BatchError, BatchHeader, BatchPlace, Chain, Lsn, Tail};

use crate::error::LogError;
use crate::log::{Entry, Shared};
use crate::raw::RawSegment;
use crate::scan::Scan;

/// Reads the log; cloned to whatever thread does so.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

/// One segment of the log, for people and for seeding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Counts segments from 0.
    pub number: u64,
    /// Lsn of its first batch.
    pub first_lsn: Lsn,
    /// Where its data ends.
    pub end_lsn: Lsn,
    /// How it is stored.
    pub form: SegmentForm,
    /// Bytes of its file.
    pub bytes_on_disk: u64,
    /// Its file.
    pub path: PathBuf,
}

impl LogReader {
    /// The log's tail: what was appended, synced or not.
    pub fn tail(&self) -> Tail {
        self.shared.tail()
    }

    /// The batch that starts at `lsn`, checked but for its chain; `None` at or behind the tail.
    pub fn read(&self, lsn: Lsn) -> Result<Option<Batch<Bytes>>, LogError> {
        if lsn >= self.tail().lsn {
            return Ok(None);
        }
        if !lsn.get().is_multiple_of(PAGE_BYTES) {
            return Err(LogError::NoBatch { lsn });
        }
        match self.shared.entry(self.shared.geometry.number_of(lsn)) {
            Some(Entry::Raw(segment)) => self.read_raw(&segment, lsn).map(Some),
            Some(Entry::Sealed(meta)) => self.shared.cache.read(&meta, lsn).map(Some),
            // Cut since the tail was read.
            None => Ok(None),
        }
    }

    /// The chain value before the batch at `lsn`, or behind the last one at the tail; `None`
    /// where no batch starts.
    pub fn chain_at(&self, lsn: Lsn) -> Result<Option<Chain>, LogError> {
        let tail = self.tail();
        if lsn == tail.lsn {
            return Ok(Some(tail.chain));
        }
        match self.read(lsn) {
            Ok(batch) => Ok(batch.map(|b| b.header.prev_chain())),
            Err(LogError::NoBatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All batches from `from` to the tail as it then is, checked with place and chain.
    pub fn scan(&self, from: BatchPlace) -> Scan {
        Scan::new(self.clone(), from)
    }

    /// All segments that hold data, in order.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let tail = self.tail().lsn;
        let geometry = self.shared.geometry;
        let table = self.shared.table();
        let info = |(number, entry): (u64, &Entry)| {
            let end = geometry.first_lsn(number + 1);
            let (end_lsn, form, bytes_on_disk, path) = match entry {
                Entry::Raw(segment) => (
                    end.min(tail),
                    SegmentForm::Raw,
                    geometry.raw_file_bytes(),
                    segment.path.clone(),
                ),
                Entry::Sealed(meta) => {
                    let path = meta.path.clone();
                    (end, SegmentForm::Sealed, meta.file_bytes, path)
                }
            };
            SegmentInfo {
                number,
                first_lsn: geometry.first_lsn(number),
                end_lsn,
                form,
                bytes_on_disk,
                path,
            }
        };
        (0..).zip(table.iter()).map(info).collect()
    }

    /// End of the segments from lsn 0 on that are sealed, up to the first one that is not.
    pub fn sealed_end(&self) -> Lsn {
        let table = self.shared.table();
        let is_sealed = |entry: &&Entry| matches!(entry, Entry::Sealed(_));
        let count = table.iter().take_while(is_sealed).count();
        self.shared.geometry.first_lsn(count as u64)
    }

    /// The first segment that is not sealed among those with a number below `bound`, and how many
    /// of them there are; `None` if there is none.
    pub fn raw_below(&self, bound: u64) -> Option<(u64, usize)> {
        let table = self.shared.table();
        let mut raw = (0..bound)
            .zip(table.iter())
            .filter(|(_, entry)| matches!(entry, Entry::Raw(_)));
        let (first, _) = raw.next()?;
        Some((first, 1 + raw.count()))
    }

    /// The file of a sealed segment and its length, to be sent as it is; `None` if the segment
    /// is raw or not there.
    pub fn sealed_file(&self, number: u64) -> Result<Option<(File, u64)>, LogError> {
        let Some(Entry::Sealed(meta)) = self.shared.entry(number) else {
            return Ok(None);
        };
        let file = File::open(&meta.path).map_err(LogError::io(&meta.path, 0, "open the file"))?;
        Ok(Some((file, meta.file_bytes)))
    }

    fn read_raw(&self, segment: &RawSegment, lsn: Lsn) -> Result<Batch<Bytes>, LogError> {
        let offset = self.shared.geometry.offset_of(lsn);
        match self.try_raw(segment, lsn, offset)? {
            Ok(batch) => Ok(batch),
            Err(error) => Err(self.explain(segment, lsn, offset, error)),
        }
    }

    fn try_raw(
        &self,
        segment: &RawSegment,
        lsn: Lsn,
        offset: u64,
    ) -> Result<Result<Batch<Bytes>, BatchError>, LogError> {
        let read = |at: u64, len: usize| match segment.device.read(at, len) {
            Ok(bytes) => Ok(Ok(bytes)),
            // More than was written: the length is wrong, not the disk.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Err(BatchError::Short { have: 0, need: len }))
            }
            Err(error) => Err(LogError::io(&segment.path, at, "read the log")(error)),
        };
        let start = match read(offset, BATCH_HEADER_BYTES)? {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        let header = match BatchHeader::decode(&start) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let place = BatchPlace {
            cluster: self.shared.geometry.cluster,
            lsn,
            epoch: segment.base.tail.epoch,
            chain: header.prev_chain(),
        };
        if let Err(error) = header.check_place(&place) {
            return Ok(Err(error));
        }
        let payload = match read(offset + BATCH_HEADER_BYTES as u64, header.payload_bytes())? {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(error)),
        };
        Ok(header
            .check_payload(&payload)
            .map(|()| Batch { header, payload }))
    }

    /// Tells a damaged batch from an lsn at which none starts, by walking the headers before.
    fn explain(&self, segment: &RawSegment, lsn: Lsn, offset: u64, error: BatchError) -> LogError {
        let geometry = self.shared.geometry;
        let mut at = segment.base.tail.lsn;
        while at < lsn {
            let bytes = segment
                .device
                .read(geometry.offset_of(at), BATCH_HEADER_BYTES);
            match bytes.map(|bytes| BatchHeader::decode(&bytes)) {
                Ok(Ok(header)) if header.lsn() == at => at = header.end(geometry.segment_bytes),
                // The damage is further down; this lsn cannot be judged.
                _ => break,
            }
        }
        if at > lsn {
            return LogError::NoBatch { lsn };
        }
        LogError::bad_batch(&segment.path, offset, lsn, error)
    }
}

impl LogReader {
    pub(crate) fn locate(&self, lsn: Lsn) -> (PathBuf, u64) {
        let geometry = &self.shared.geometry;
        match self.shared.entry(geometry.number_of(lsn)) {
            Some(Entry::Raw(segment)) => (segment.path.clone(), geometry.offset_of(lsn)),
            Some(Entry::Sealed(meta)) => (meta.path.clone(), 0),
            None => (self.shared.log_path.clone(), 0),
        }
    }
}
