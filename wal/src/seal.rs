//! Sealing: a full, committed segment is recompressed, and the raw file goes.
//!
//! ```text
//! write N.sealed.tmp > fsync > read back and compare > rename > fsync log/ > table > remove N.seg
//! ```
//!
//! A crash leaves a temporary file, or both forms, of which the sealed one was compared and
//! counts. A replica that is seeded gets sealed files as they are and checks every byte.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use kanjo_disk::Pace;
use kanjo_format::limits::SEALED_BLOCK_BYTES_MAX;
use kanjo_format::segment::{
    BlockEntry, SEALED_BLOCK_BYTES_AIM, SEGMENT_HEADER_BYTES, SealedFooter, SegmentForm, block_crc,
    index_crc,
};
use kanjo_format::{BatchHeader, Lsn, Tail};
use zerocopy::IntoBytes;

use crate::error::LogError;
use crate::log::{Entry, Log, Shared};
use crate::raw::{
    Geometry, RawSegment, Reached, Window, forget_cached, open_file, publish, raw_path,
    read_checked, sealed_path,
};
use crate::sealed::{SealedFile, SealedMeta};

/// Recompresses full segments; cloned to whatever thread does so.
#[derive(Clone, Debug)]
pub struct Sealer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pace: Pace<'static>,
}

/// What sealing a segment gained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealInfo {
    /// The segment.
    pub number: u64,
    /// Bytes of its raw file.
    pub raw_bytes: u64,
    /// Bytes of its sealed file.
    pub sealed_bytes: u64,
    /// Batches in it.
    pub batch_count: u64,
}

impl Sealer {
    /// The same, but it writes the sealed form, and removes the raw one, at this pace. Nobody waits
    /// for a rest in a cut, or where a sealed segment is taken in.
    #[must_use]
    pub fn at_pace(mut self, pace: Pace<'static>) -> Self {
        self.pace = pace;
        self
    }

    /// Seals segment `number` at this `zstd` level. It must be full and synced; that all of it
    /// is committed is the caller's duty. Readers that hold parts of the raw form go on.
    pub fn seal(&self, number: u64, level: i32) -> Result<SealInfo, LogError> {
        let shared = &self.shared;
        shared.check_open()?;
        let files = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = shared.sealable(number)?;
        let path = sealed_path(&shared.log_path, number);
        let temporary = path.with_extension("sealed.tmp");
        let hurry = |_| shared.is_waited_for();
        let pace = self.pace.clone().unless(&hurry);
        let made = write_sealed(&temporary, &shared.geometry, &segment, level, pace)
            .and_then(|()| compare(&temporary, &shared.geometry, &segment));
        if let Err(error) = made {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        publish(&temporary, &path)?;
        let meta = SealedMeta::open_at(path, &shared.geometry, number)?;
        let info = SealInfo {
            number,
            raw_bytes: shared.geometry.raw_file_bytes(),
            sealed_bytes: meta.file_bytes,
            batch_count: meta.footer.batch_count,
        };
        let raw = shared.replace_entry(number, Entry::Sealed(Arc::new(meta)));
        let raw_path = segment.path.clone();
        // Its mapping would keep the file whole, and nobody should wait for what follows.
        drop((raw, segment, files));
        // ORDER: the sealed name is synced before the raw one goes.
        kanjo_disk::remove(&raw_path, self.pace.clone()).map_err(LogError::io(
            &raw_path,
            0,
            "remove the raw segment",
        ))?;
        Ok(info)
    }
}

impl Log {
    /// A fresh file in the log's folder, to receive sealed segment `number` from another node.
    pub fn install_file(&self, number: u64) -> Result<(File, PathBuf), LogError> {
        let name = format!("{number:016x}.install.tmp");
        let path = self.shared.log_path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(LogError::io(&path, 0, "create the file"))?;
        Ok((file, path))
    }

    /// Appends a whole sealed segment that another node sent into `received` (see
    /// [`Log::install_file`]). The log must end, synced, where the segment starts. Every block,
    /// batch and chain value is checked before the file gets its name.
    pub fn install_sealed(&mut self, number: u64, received: &Path) -> Result<Tail, LogError> {
        let shared = Arc::clone(&self.shared);
        shared.check_open()?;
        let geometry = shared.geometry;
        let mut preparing = shared.lock_soon(&shared.preparing);
        let _files = shared.lock_soon(&shared.files);
        let _syncing = shared
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tail = self.reached.tail.lsn;
        let refused = |why: String| LogError::Refused {
            doing: "install a sealed segment",
            lsn: tail,
            why,
        };
        if number != shared.table_len() || tail != geometry.first_lsn(number) {
            return Err(refused(format!("segment {number} does not start there")));
        }
        if shared.synced.load(Ordering::Acquire) < tail.get() {
            return Err(refused("what is before it is not synced yet".into()));
        }
        let file = open_file(received)?;
        file.sync_all()
            .map_err(LogError::io(received, 0, "sync the file"))?;
        forget_cached(&file);
        let meta = SealedMeta::open_at(received.to_path_buf(), &geometry, number)?;
        let sealed = SealedFile::open(Arc::new(meta))?;
        let reached = sealed.walk(&geometry, self.reached, |_| Ok(()))?;
        // An empty segment that was prepared under this number is not needed.
        self.prepared.remove(&number);
        let raw = raw_path(&shared.log_path, number);
        if fs::exists(&raw).map_err(LogError::io(&raw, 0, "look for the file"))? {
            fs::remove_file(&raw).map_err(LogError::io(&raw, 0, "remove the empty segment"))?;
        }
        let path = sealed_path(&shared.log_path, number);
        publish(received, &path)?;
        let meta = SealedMeta::open_at(path, &geometry, number)?;
        shared.push_entry(Entry::Sealed(Arc::new(meta)));
        *preparing = (*preparing).max(number + 1);
        self.current = None;
        self.reached = reached;
        shared.set_tail(reached.tail);
        shared
            .synced
            .store(reached.tail.lsn.get(), Ordering::Release);
        Ok(reached.tail)
    }
}

impl Shared {
    fn sealable(&self, number: u64) -> Result<Arc<RawSegment>, LogError> {
        let end = self.geometry.first_lsn(number.saturating_add(1));
        let synced = self.synced.load(Ordering::Acquire);
        let refused = |why: String| LogError::Refused {
            doing: "seal",
            lsn: self.geometry.first_lsn(number),
            why,
        };
        match self.entry(number) {
            Some(Entry::Raw(_)) if end.get() > synced => Err(refused(format!(
                "segment {number} is synced through lsn {synced} only, it ends at {end}"
            ))),
            Some(Entry::Raw(segment)) => Ok(segment),
            Some(Entry::Sealed(_)) => Err(refused(format!("segment {number} is sealed already"))),
            None => Err(refused(format!("there is no segment {number}"))),
        }
    }

    /// Puts an entry into the table and gives back the one that it replaces: that takes a mapping
    /// with it, for which nobody who reads the table should wait.
    #[must_use]
    fn replace_entry(&self, number: u64, entry: Entry) -> Entry {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut table[number as usize], entry)
    }
}

struct SealedWriter<'a> {
    path: &'a Path,
    out: kanjo_disk::Writer<'a>,
    compressor: zstd::bulk::Compressor<'static>,
    geometry: &'a Geometry,
    number: u64,
    offset: u64,
    index: Vec<u8>,
    block: Vec<u8>,
    block_first: Lsn,
    block_batches: u32,
    footer: SealedFooter,
}

fn write_sealed(
    temporary: &Path,
    geometry: &Geometry,
    segment: &RawSegment,
    level: i32,
    pace: Pace<'_>,
) -> Result<(), LogError> {
    let file = File::create(temporary).map_err(LogError::io(temporary, 0, "create the file"))?;
    let compressor = zstd::bulk::Compressor::new(level).map_err(LogError::io(
        temporary,
        0,
        "set up compression",
    ))?;
    let base = segment.base;
    let mut writer = SealedWriter {
        path: temporary,
        out: kanjo_disk::Writer::new(file, pace),
        compressor,
        geometry,
        number: segment.number,
        offset: 0,
        index: Vec::new(),
        block: Vec::with_capacity(SEALED_BLOCK_BYTES_AIM * 2),
        block_first: base.tail.lsn,
        block_batches: 0,
        footer: SealedFooter {
            cluster: geometry.cluster,
            number: segment.number,
            segment_bytes: geometry.segment_bytes,
            index_offset: 0,
            block_count: 0,
            index_crc: 0,
            batch_count: 0,
            record_count: 0,
            raw_bytes: 0,
            base: base.tail,
            end: base.tail,
            last_timestamp: base.last_timestamp,
            confirmed: base.confirmed,
        },
    };
    let header = geometry.header(segment.number, SegmentForm::Sealed);
    writer.put(&header.encode())?;
    let end = each_raw_batch(geometry, segment, |header, payload| {
        writer.push(header, payload)
    })?;
    writer.finish(&end)
}

/// Visits every batch of a full raw segment, all of them checked.
fn each_raw_batch(
    geometry: &Geometry,
    segment: &RawSegment,
    mut visit: impl FnMut(&BatchHeader, &[u8]) -> Result<(), LogError>,
) -> Result<Reached, LogError> {
    let file = open_file(&segment.path)?;
    let mut window = Window::new(&segment.path, &file, geometry.raw_file_bytes());
    let mut reached = segment.base;
    while geometry.number_of(reached.tail.lsn) == segment.number {
        match read_checked(&mut window, geometry, &reached)? {
            Ok((header, payload)) => {
                visit(&header, payload)?;
                reached = reached.behind(&header, payload, geometry);
            }
            Err(bad) => {
                return Err(LogError::bad_batch(
                    &segment.path,
                    bad.offset,
                    bad.lsn,
                    bad.error,
                ));
            }
        }
    }
    Ok(reached)
}

impl SealedWriter<'_> {
    fn push(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), LogError> {
        if self.block_batches == 0 {
            self.block_first = header.lsn();
        }
        self.block.extend_from_slice(header.as_bytes());
        self.block.extend_from_slice(payload);
        self.block_batches += 1;
        self.footer.batch_count += 1;
        self.footer.record_count += u64::from(header.record_count());
        if self.block.len() >= SEALED_BLOCK_BYTES_AIM {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), LogError> {
        if self.block.is_empty() {
            return Ok(());
        }
        assert!(
            self.block.len() <= SEALED_BLOCK_BYTES_MAX,
            "a block is closed before it can hold two batches of full size"
        );
        let stored = self.compressor.compress(&self.block).map_err(LogError::io(
            self.path,
            self.offset,
            "compress a block",
        ))?;
        let entry = BlockEntry {
            first_lsn: self.block_first,
            offset: self.offset,
            stored_bytes: u32::try_from(stored.len()).expect("a block is bounded"),
            raw_bytes: u32::try_from(self.block.len()).expect("a block is bounded"),
            batch_count: self.block_batches,
            crc: block_crc(
                self.geometry.cluster,
                self.number,
                self.block_first,
                &stored,
            ),
        };
        entry.encode(&mut self.index);
        self.footer.block_count += 1;
        self.footer.raw_bytes += self.block.len() as u64;
        self.block.clear();
        self.block_batches = 0;
        self.put(&stored)
    }

    fn finish(mut self, end: &Reached) -> Result<(), LogError> {
        self.close_block()?;
        self.footer.end = end.tail;
        self.footer.last_timestamp = end.last_timestamp;
        self.footer.confirmed = end.confirmed;
        self.footer.index_offset = self.offset;
        self.footer.index_crc = index_crc(self.geometry.cluster, self.number, &self.index);
        let index = std::mem::take(&mut self.index);
        self.put(&index)?;
        self.put(&self.footer.encode())?;
        let path = self.path;
        self.out
            .finish()
            .map_err(LogError::io(path, self.offset, "sync the sealed segment"))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.out.write_all(bytes).map_err(LogError::io(
            self.path,
            self.offset,
            "write the sealed segment",
        ))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

const _: () = assert!(SEGMENT_HEADER_BYTES == kanjo_format::limits::PAGE_BYTES as usize);
const _: () = assert!(
    SEALED_BLOCK_BYTES_AIM
        + kanjo_format::limits::BATCH_HEADER_BYTES
        + kanjo_format::limits::BATCH_PAYLOAD_BYTES_MAX
        <= SEALED_BLOCK_BYTES_MAX
);

/// Reads the sealed file back from the disk and compares it with the raw one, batch by batch.
fn compare(temporary: &Path, geometry: &Geometry, segment: &RawSegment) -> Result<(), LogError> {
    forget_cached(&open_file(temporary)?);
    let meta = SealedMeta::open_at(temporary.to_path_buf(), geometry, segment.number)?;
    let sealed = SealedFile::open(Arc::new(meta))?;
    let raw_file = open_file(&segment.path)?;
    let mut window = Window::new(&segment.path, &raw_file, geometry.raw_file_bytes());
    sealed.walk(geometry, segment.base, |batch| {
        let lsn = batch.header.lsn();
        let offset = geometry.offset_of(lsn);
        let header = batch.header.as_bytes();
        let start = window.get(offset, header.len() + batch.payload.len())?;
        if start[..header.len()] != *header || start[header.len()..] != batch.payload[..] {
            let what = "the sealed batch is not the raw one; the raw segment stays";
            return Err(LogError::corruption(temporary, 0, lsn, what));
        }
        Ok(())
    })?;
    Ok(())
}
