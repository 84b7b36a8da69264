//! Reading sealed segments: footer when the log opens, index and blocks when they are asked for.
//!
//! Few files are kept open and few blocks decompressed; both are forgotten oldest first. The
//! file's bytes are untrusted: every length is bounded before anything is allocated.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kanjo_format::limits::BATCH_HEADER_BYTES;
use kanjo_format::segment::{
    BLOCK_ENTRY_BYTES, BlockEntry, SEALED_FOOTER_BYTES, SEGMENT_HEADER_BYTES, SealedFooter,
    SegmentForm, SegmentHeader,
};
use kanjo_format::{Batch, BatchError, BatchHeader, BatchPlace, Lsn, Tail};
use rustix::fs::Advice;

use crate::error::LogError;
use crate::raw::{Geometry, Reached, first_page, sealed_path, segment_error};
use crate::stretch::Stretch;

const OPEN_FILES_MAX: usize = 32;
const OPEN_BLOCKS_MAX: usize = 16;

/// What the log keeps in memory of a sealed segment.
#[derive(Debug)]
pub(crate) struct SealedMeta {
    pub(crate) path: PathBuf,
    pub(crate) footer: SealedFooter,
    pub(crate) file_bytes: u64,
}

/// A sealed segment with its index.
#[derive(Debug)]
pub(crate) struct SealedFile {
    pub(crate) meta: Arc<SealedMeta>,
    pub(crate) index: Vec<BlockEntry>,
    file: File,
}

/// A decompressed block and where its batches begin in it.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    pub(crate) starts: Vec<(Lsn, u32)>,
}

/// What decompressing blocks one after the other uses again.
#[derive(Default)]
pub(crate) struct Unpacker {
    stored: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl SealedMeta {
    /// Reads header and footer of segment `number`.
    pub(crate) fn open(log: &Path, geometry: &Geometry, number: u64) -> Result<Self, LogError> {
        Self::open_at(sealed_path(log, number), geometry, number)
    }

    pub(crate) fn open_at(
        path: PathBuf,
        geometry: &Geometry,
        number: u64,
    ) -> Result<Self, LogError> {
        let lsn = geometry.first_lsn(number);
        let file = File::open(&path).map_err(LogError::io(&path, 0, "open the file"))?;
        let file_bytes = file
            .metadata()
            .map_err(LogError::io(&path, 0, "read the file's length"))?
            .len();
        let bad = |offset, error| segment_error(&path, offset, lsn, error);
        let page = first_page(&path, &file, file_bytes)?;
        let header = SegmentHeader::decode(&page).map_err(|e| bad(0, e))?;
        header
            .check(&geometry.header(number, SegmentForm::Sealed))
            .map_err(|e| bad(0, e))?;
        let least = (SEGMENT_HEADER_BYTES + SEALED_FOOTER_BYTES) as u64;
        if file_bytes < least {
            let what = format!("the file has {file_bytes} bytes, no sealed segment is so short");
            return Err(LogError::corruption(&path, file_bytes, lsn, what));
        }
        let at = file_bytes - SEALED_FOOTER_BYTES as u64;
        let mut bytes = vec![0; SEALED_FOOTER_BYTES];
        file.read_exact_at(&mut bytes, at)
            .map_err(LogError::io(&path, at, "read the footer"))?;
        let footer = SealedFooter::decode(&bytes, file_bytes).map_err(|e| bad(at, e))?;
        footer.check(&header).map_err(|e| bad(at, e))?;
        Ok(Self {
            path,
            footer,
            file_bytes,
        })
    }

    /// Checks that this segment continues the history that ends at `tail`.
    pub(crate) fn check_continues(&self, tail: &Tail) -> Result<(), LogError> {
        if self.footer.base != *tail {
            let what = format!(
                "the segment continues {}, the log before it ends at {tail}",
                self.footer.base
            );
            let at = self.file_bytes - SEALED_FOOTER_BYTES as u64;
            return Err(LogError::corruption(&self.path, at, tail.lsn, what));
        }
        Ok(())
    }

    /// The log behind this segment.
    pub(crate) fn reached(&self) -> Reached {
        Reached {
            tail: self.footer.end,
            last_timestamp: self.footer.last_timestamp,
            confirmed: self.footer.confirmed,
        }
    }
}

impl SealedFile {
    /// Opens the file and reads its index.
    pub(crate) fn open(meta: Arc<SealedMeta>) -> Result<Self, LogError> {
        let path = &meta.path;
        let at = meta.footer.index_offset;
        let file = File::open(path).map_err(LogError::io(path, 0, "open the file"))?;
        let mut bytes = vec![0; meta.footer.block_count as usize * BLOCK_ENTRY_BYTES];
        file.read_exact_at(&mut bytes, at)
            .map_err(LogError::io(path, at, "read the index"))?;
        let index = meta
            .footer
            .decode_index(&bytes)
            .map_err(|error| segment_error(path, at, meta.footer.base.lsn, error))?;
        Ok(Self { meta, index, file })
    }

    /// Says that it is read from its start to its end: the kernel then reads further ahead.
    pub(crate) fn read_ahead(&self) {
        if let Err(error) = rustix::fs::fadvise(&self.file, 0, None, Advice::Sequential) {
            tracing::debug!(%error, "a sealed segment is not read ahead");
        }
    }

    /// Which block holds the batch at `lsn`, if one starts there.
    pub(crate) fn block_of(&self, lsn: Lsn) -> Result<usize, LogError> {
        let behind = self.index.partition_point(|e| e.first_lsn <= lsn);
        behind.checked_sub(1).ok_or(LogError::NoBatch { lsn })
    }

    /// Reads and decompresses one block, and finds its batches.
    pub(crate) fn block(
        &self,
        entry: &BlockEntry,
        unpacker: &mut Unpacker,
    ) -> Result<Block, LogError> {
        let (path, footer) = (&self.meta.path, &self.meta.footer);
        let Unpacker { stored, zstd } = unpacker;
        stored.resize(entry.stored_bytes as usize, 0);
        self.file
            .read_exact_at(stored, entry.offset)
            .map_err(LogError::io(path, entry.offset, "read a block"))?;
        entry
            .check_block(footer.cluster, footer.number, stored)
            .map_err(|e| segment_error(path, entry.offset, entry.first_lsn, e))?;
        let corrupt =
            |what: String| LogError::corruption(path, entry.offset, entry.first_lsn, what);
        // The index bounds `raw_bytes`, and nothing is decompressed beyond it.
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(zstd::bulk::Decompressor::new().map_err(LogError::io(
                path,
                entry.offset,
                "set up decompression",
            ))?),
        };
        let bytes = zstd
            .decompress(stored, entry.raw_bytes as usize)
            .map_err(|e| corrupt(format!("the block cannot be decompressed: {e}")))?;
        if bytes.len() != entry.raw_bytes as usize {
            let (found, said) = (bytes.len(), entry.raw_bytes);
            return Err(corrupt(format!("the block has {found} bytes, not {said}")));
        }
        let starts = find_batches(&bytes, footer.segment_bytes)
            .map_err(|(at, e)| corrupt(format!("byte {at} of the decompressed block: {e}")))?;
        let first = starts.first().map(|(lsn, _)| *lsn);
        if first != Some(entry.first_lsn) || starts.len() != entry.batch_count as usize {
            return Err(corrupt(
                "the block holds other batches than the index says".into(),
            ));
        }
        Ok(Block {
            bytes: bytes.into(),
            starts,
        })
    }

    /// A batch of a block, checked but for its chain.
    pub(crate) fn batch(
        &self,
        entry: &BlockEntry,
        block: &Block,
        position: usize,
    ) -> Result<Batch<Bytes>, LogError> {
        let (lsn, start) = block.starts[position];
        let start = start as usize;
        let read = || {
            let header = BatchHeader::decode(&block.bytes[start..])?;
            let body = start + BATCH_HEADER_BYTES;
            let payload = block.bytes.slice(body..body + header.payload_bytes());
            header.check_place(&BatchPlace {
                cluster: self.meta.footer.cluster,
                lsn,
                epoch: self.meta.footer.base.epoch,
                chain: header.prev_chain(),
            })?;
            header.check_payload(&payload)?;
            Ok(Batch { header, payload })
        };
        read().map_err(|error: BatchError| {
            LogError::bad_batch(&self.meta.path, entry.offset, lsn, error)
        })
    }

    /// Walks every batch from `reached` on, checking everything; ends where the footer says.
    pub(crate) fn walk(
        &self,
        geometry: &Geometry,
        mut reached: Reached,
        mut visit: impl FnMut(&Batch<Bytes>) -> Result<(), LogError>,
    ) -> Result<Reached, LogError> {
        self.meta.check_continues(&reached.tail)?;
        let (mut batches, mut records, mut raw_bytes) = (0, 0, 0);
        let mut unpacker = Unpacker::default();
        for entry in &self.index {
            let block = self.block(entry, &mut unpacker)?;
            for position in 0..block.starts.len() {
                let batch = self.batch(entry, &block, position)?;
                let place = reached.place(geometry.cluster);
                batch.header.check(&place, &batch.payload).map_err(|e| {
                    LogError::bad_batch(&self.meta.path, entry.offset, place.lsn, e)
                })?;
                visit(&batch)?;
                reached = reached.behind(&batch.header, &batch.payload, geometry);
                batches += 1;
                records += u64::from(batch.header.record_count());
            }
            raw_bytes += u64::from(entry.raw_bytes);
        }
        let footer = &self.meta.footer;
        let counted = (batches, records, raw_bytes);
        let said = (footer.batch_count, footer.record_count, footer.raw_bytes);
        if reached != self.meta.reached() || counted != said {
            let at = self.meta.file_bytes - SEALED_FOOTER_BYTES as u64;
            let what = format!(
                "the batches lead to {} and count {counted:?}, the footer says {} and {said:?}",
                reached.tail, footer.end
            );
            return Err(LogError::corruption(
                &self.meta.path,
                at,
                footer.base.lsn,
                what,
            ));
        }
        Ok(reached)
    }
}

/// Where the batches of a decompressed block begin; each ends where the next one starts.
fn find_batches(bytes: &[u8], segment_bytes: u64) -> Result<Vec<(Lsn, u32)>, (usize, BatchError)> {
    let mut starts = Vec::new();
    let (mut at, mut lsn) = (0, None);
    while at < bytes.len() {
        let header = BatchHeader::decode(&bytes[at..]).map_err(|e| (at, e))?;
        let need = BATCH_HEADER_BYTES + header.payload_bytes();
        if bytes.len() - at < need {
            let have = bytes.len() - at;
            return Err((at, BatchError::Short { have, need }));
        }
        if let Some(expected) = lsn
            && expected != header.lsn()
        {
            let found = header.lsn();
            return Err((at, BatchError::Place { found, expected }));
        }
        starts.push((header.lsn(), at as u32));
        lsn = Some(header.end(segment_bytes));
        at += need;
    }
    Ok(starts)
}

/// Open files and decompressed blocks, the latest first.
#[derive(Debug, Default)]
pub(crate) struct SealedCache {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    files: VecDeque<Arc<SealedFile>>,
    blocks: VecDeque<(u64, Arc<Block>)>,
}

impl SealedCache {
    /// The batch at `lsn` of a sealed segment.
    pub(crate) fn read(&self, meta: &Arc<SealedMeta>, lsn: Lsn) -> Result<Batch<Bytes>, LogError> {
        let file = self.file(meta)?;
        let entry = &file.index[file.block_of(lsn)?];
        let block = self.block(&file, entry)?;
        match block.starts.binary_search_by_key(&lsn, |(lsn, _)| *lsn) {
            Ok(position) => file.batch(entry, &block, position),
            Err(_) => Err(LogError::NoBatch { lsn }),
        }
    }

    /// The block of a sealed segment in which `lsn` lies.
    pub(crate) fn stretch(&self, meta: &Arc<SealedMeta>, lsn: Lsn) -> Result<Stretch, LogError> {
        let file = self.file(meta)?;
        let n = file.block_of(lsn)?;
        let block = self.block(&file, &file.index[n])?;
        let next = file.index.get(n + 1);
        Ok(Stretch {
            starts: block.starts.iter().map(|(lsn, _)| *lsn).collect(),
            end: next.map_or(file.meta.footer.end.lsn, |next| next.first_lsn),
        })
    }

    fn file(&self, meta: &Arc<SealedMeta>) -> Result<Arc<SealedFile>, LogError> {
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let found = recent.files.iter().position(|f| Arc::ptr_eq(&f.meta, meta));
            if let Some(file) = found.and_then(|at| recent.files.remove(at)) {
                recent.files.push_front(Arc::clone(&file));
                return Ok(file);
            }
        }
        // Opened without the lock: a slow disk holds up nobody else.
        let file = Arc::new(SealedFile::open(Arc::clone(meta))?);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.files.truncate(OPEN_FILES_MAX - 1);
        recent.files.push_front(Arc::clone(&file));
        Ok(file)
    }

    fn block(&self, file: &SealedFile, entry: &BlockEntry) -> Result<Arc<Block>, LogError> {
        // The first lsn names a block within the whole log.
        let key = entry.first_lsn.get();
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let found = recent.blocks.iter().position(|(k, _)| *k == key);
            if let Some((_, block)) = found.and_then(|at| recent.blocks.remove(at)) {
                recent.blocks.push_front((key, Arc::clone(&block)));
                return Ok(block);
            }
        }
        let block = Arc::new(file.block(entry, &mut Unpacker::default())?);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.blocks.truncate(OPEN_BLOCKS_MAX - 1);
        recent.blocks.push_front((key, Arc::clone(&block)));
        Ok(block)
    }
}
