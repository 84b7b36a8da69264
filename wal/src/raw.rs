//! Raw segment files: where they are, how they are made, how they are walked.
//!
//! A file is whole before it has its name: temporary name, `fallocate`, zeros, `fsync`, rename,
//! `fsync` of the directory. So a full disk shows here, as an error, and never as a store into
//! memory that has no block behind it. Zeros are written with `O_DIRECT`, because buffered ones
//! leave large folios in the page cache, and each commit would then write 1 MiB.
//! For the same reason what may still be written is only read in folios of one page ([`Window`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::batch::stored_bytes;
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::segment::{SegmentError, SegmentForm, SegmentHeader};
use kanjo_format::{BatchError, BatchHeader, BatchPlace, ClusterId, Lsn, Tail, Timestamp};
use rustix::fs::{Advice, FallocateFlags, OFlags};

use crate::device::LogDevice;
use crate::dir::{parse_hex, sync_dir};
use crate::error::LogError;

/// Bytes written at a time where a segment is made, and read at a time after it: commits on the same
/// disk wait behind no more than that.
pub(crate) const PIECE_BYTES: u64 = 128 << 10;
/// Unit in which the kernel counts the blocks of a file.
const SECTOR_BYTES: u64 = 512;
const RAW_SUFFIX: &str = ".seg";
const SEALED_SUFFIX: &str = ".sealed";

/// What all segments of a log have in common: turns lsns into files and offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) cluster: ClusterId,
    pub(crate) segment_bytes: u64,
}

/// How far a walk along the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) tail: Tail,
    /// Time of the last record.
    pub(crate) last_timestamp: Timestamp,
    /// The highest confirmed lsn of any header so far.
    pub(crate) confirmed: Lsn,
}

/// A raw segment that holds data, or is about to.
#[derive(Debug)]
pub(crate) struct RawSegment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) device: Arc<dyn LogDevice>,
    /// The log before the first batch.
    pub(crate) base: Reached,
}

impl Geometry {
    pub(crate) fn number_of(&self, lsn: Lsn) -> u64 {
        lsn.get() / self.segment_bytes
    }

    pub(crate) fn first_lsn(&self, number: u64) -> Lsn {
        Lsn::new(number * self.segment_bytes)
    }

    /// Offset in the raw file of the segment that holds `lsn`.
    pub(crate) fn offset_of(&self, lsn: Lsn) -> u64 {
        PAGE_BYTES + lsn.get() % self.segment_bytes
    }

    pub(crate) fn raw_file_bytes(&self) -> u64 {
        PAGE_BYTES + self.segment_bytes
    }

    pub(crate) fn header(&self, number: u64, form: SegmentForm) -> SegmentHeader {
        SegmentHeader {
            cluster: self.cluster,
            number,
            segment_bytes: self.segment_bytes,
            form,
        }
    }
}

impl Reached {
    pub(crate) fn start(cluster: ClusterId) -> Self {
        Self {
            tail: Tail::empty(cluster),
            last_timestamp: Timestamp::default(),
            confirmed: Lsn::ZERO,
        }
    }

    pub(crate) fn place(&self, cluster: ClusterId) -> BatchPlace {
        BatchPlace {
            cluster,
            lsn: self.tail.lsn,
            epoch: self.tail.epoch,
            chain: self.tail.chain,
        }
    }

    /// One batch further. Hashes the batch once.
    pub(crate) fn behind(&self, header: &BatchHeader, payload: &[u8], geometry: &Geometry) -> Self {
        let next = header.next_place(payload, geometry.segment_bytes);
        Self {
            tail: Tail {
                epoch: next.epoch,
                lsn: next.lsn,
                chain: next.chain,
            },
            last_timestamp: self.last_timestamp.max(header.last_timestamp()),
            confirmed: self.confirmed.max(header.confirmed()),
        }
    }
}

pub(crate) fn raw_path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:016x}{RAW_SUFFIX}"))
}

pub(crate) fn sealed_path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:016x}{SEALED_SUFFIX}"))
}

/// The segment that a file name stands for.
pub(crate) fn parse_name(name: &str) -> Option<(u64, SegmentForm)> {
    if let Some(digits) = name.strip_suffix(RAW_SUFFIX) {
        return Some((parse_hex(digits)?, SegmentForm::Raw));
    }
    let digits = name.strip_suffix(SEALED_SUFFIX)?;
    Some((parse_hex(digits)?, SegmentForm::Sealed))
}

/// Makes a raw segment file of zeros under a temporary name, synced.
pub(crate) fn create_zeroed(
    temporary: &Path,
    geometry: &Geometry,
    number: u64,
    pace: &mut Pace<'_>,
) -> Result<(), LogError> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LogError::io(temporary, 0, "remove the old temporary file")(
                error,
            ));
        }
        _ => {}
    }
    let header = geometry.header(number, SegmentForm::Raw).encode();
    let filled = fill(temporary, &header, geometry.raw_file_bytes(), pace);
    if let Err(error) = filled {
        // What was allocated is given back: the disk may be full.
        let _ = fs::remove_file(temporary);
        return Err(LogError::io(
            temporary,
            0,
            "make a segment (is the disk full?)",
        )(error));
    }
    Ok(())
}

fn fill(temporary: &Path, header: &[u8], file_bytes: u64, pace: &mut Pace<'_>) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(temporary)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, file_bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            tracing::warn!(file = %temporary.display(),
                "the file system cannot allocate ahead; zeros are written all the same");
        }
        Err(errno) => return Err(errno.into()),
    }
    match fill_direct(temporary, header, file_bytes, pace) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            tracing::warn!(file = %temporary.display(),
                "O_DIRECT is refused here; zeros go through the page cache, which takes longer");
            fill_with(&file, header, file_bytes, pace)?;
        }
        other => other?,
    }
    file.sync_all()
}

fn fill_direct(
    temporary: &Path,
    header: &[u8],
    file_bytes: u64,
    pace: &mut Pace<'_>,
) -> io::Result<()> {
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(temporary)?;
    fill_with(&direct, header, file_bytes, pace)
}

/// Writes the header page and zeros, from memory that starts on a page as `O_DIRECT` demands.
fn fill_with(file: &File, header: &[u8], file_bytes: u64, pace: &mut Pace<'_>) -> io::Result<()> {
    let mut memory = vec![0u8; (PIECE_BYTES + PAGE_BYTES) as usize];
    let skip = memory.as_ptr().align_offset(PAGE_BYTES as usize);
    let chunk = memory
        .get_mut(skip..skip + PIECE_BYTES as usize)
        .ok_or(io::ErrorKind::InvalidInput)?;
    chunk[..header.len()].copy_from_slice(header);
    let mut at = 0;
    while at < file_bytes {
        let len = (file_bytes - at).min(PIECE_BYTES) as usize;
        pace.piece(|| file.write_all_at(&chunk[..len], at))?;
        if at == 0 {
            chunk[..header.len()].fill(0);
        }
        at += len as u64;
    }
    Ok(())
}

/// Gives a synced file its name, for good.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<(), LogError> {
    // ORDER: content was synced before; then the name; then the directory that holds it.
    fs::rename(temporary, path).map_err(LogError::io(path, 0, "name the file"))?;
    Ok(sync_dir(path.parent().unwrap_or(path))?)
}

/// Opens a raw file. It stays whole while it is open, whoever seals the segment meanwhile.
pub(crate) fn open_file(path: &Path) -> Result<File, LogError> {
    kanjo_disk::open_with(path, OpenOptions::new().read(true).write(true)).map_err(LogError::io(
        path,
        0,
        "open the file",
    ))
}

/// Checks length and header page of a raw segment's file.
pub(crate) fn check_raw_header(
    path: &Path,
    file: &File,
    geometry: &Geometry,
    number: u64,
) -> Result<(), LogError> {
    // Before the very first read: it would leave a mark at which reads of any file handle go on to
    // read ahead.
    in_pages(file);
    let lsn = geometry.first_lsn(number);
    let bytes = file
        .metadata()
        .map_err(LogError::io(path, 0, "read the file's length"))?
        .len();
    let page = first_page(path, file, bytes)?;
    SegmentHeader::decode(&page)
        .and_then(|header| header.check(&geometry.header(number, SegmentForm::Raw)))
        .map_err(|error| segment_error(path, 0, lsn, error))?;
    if bytes != geometry.raw_file_bytes() {
        let need = geometry.raw_file_bytes();
        let what = format!("the file has {bytes} bytes, a segment of this cluster has {need}");
        return Err(LogError::corruption(path, bytes.min(need), lsn, what));
    }
    Ok(())
}

/// The header page of a file of `file_bytes`; shorter if the file is.
pub(crate) fn first_page(path: &Path, file: &File, file_bytes: u64) -> Result<Vec<u8>, LogError> {
    let mut page = vec![0; file_bytes.min(PAGE_BYTES) as usize];
    file.read_exact_at(&mut page, 0)
        .map_err(LogError::io(path, 0, "read the file"))?;
    Ok(page)
}

pub(crate) fn segment_error(path: &Path, offset: u64, lsn: Lsn, error: SegmentError) -> LogError {
    match error {
        SegmentError::Version(_) => LogError::Version {
            file: path.to_path_buf(),
            offset,
            lsn,
            what: error.to_string(),
        },
        SegmentError::Cluster { found, expected } => LogError::OtherCluster {
            file: path.to_path_buf(),
            found,
            expected,
        },
        other => LogError::corruption(path, offset, lsn, other),
    }
}

/// Drops what the page cache holds of a file, so that what is read next is what the disk has.
/// After a failed sync Linux keeps pages that look well and never reached the disk.
pub(crate) fn forget_cached(file: &File) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        tracing::debug!(%error, "the page cache could not be dropped");
    }
}

/// Gives a file that will be written through a mapping the blocks that it lacks. A copy may have holes,
/// and a store into one would kill the process on a full disk; here that is an error.
pub(crate) fn allocate(file: &File, file_bytes: u64) -> io::Result<()> {
    if file.metadata()?.blocks() * SECTOR_BYTES >= file_bytes {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, file_bytes) {
        Ok(()) => tracing::warn!(
            "a segment had holes, as sparse copies have; its blocks are allocated now"
        ),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            tracing::warn!(
                "a segment has holes, and the file system cannot allocate them: on a full disk the process would be killed"
            );
            return Ok(());
        }
        Err(errno) => return Err(errno.into()),
    }
    file.sync_all()
}

/// Has the kernel read a file that is about to be read whole, in small pieces: of one advice it takes
/// no more than the device's read-ahead or its largest transfer. A failure costs time only.
pub(crate) fn ask_ahead(file: &File, file_bytes: u64) {
    let piece = NonZeroU64::new(PIECE_BYTES);
    for at in (0..file_bytes).step_by(PIECE_BYTES as usize) {
        if let Err(error) = rustix::fs::fadvise(file, at, piece, Advice::WillNeed) {
            tracing::debug!(%error, "a segment could not be read ahead");
            return;
        }
    }
}

/// Reads a file from `from` to `file_bytes` into memory, in folios of one page, before it is written
/// through a mapping. Populating alone would read one page at a time, as the mapping is advised:
/// here 64 MiB of zeros took 2.9 s and 16,384 reads that way. A failure costs time only.
pub(crate) fn warm(file: &File, from: u64, file_bytes: u64, pace: &mut Pace<'_>) {
    in_pages(file);
    let mut piece = vec![0; PIECE_BYTES as usize];
    for at in (from..file_bytes).step_by(piece.len()) {
        let len = (file_bytes - at).min(PIECE_BYTES) as usize;
        if let Err(error) = pace.piece(|| file.read_exact_at(&mut piece[..len], at)) {
            tracing::debug!(%error, "a segment could not be read ahead");
            return;
        }
    }
}

/// Has what is read through this open file come into memory in folios of one page: of a larger one
/// each commit through a mapping would write all. A read makes the kernel read ahead, in folios that
/// grow to megabytes, unless it is told that reads come in no order.
fn in_pages(file: &File) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, Advice::Random) {
        tracing::warn!(%error, "the kernel takes no advice on reads; each commit may write up to 1 MiB");
    }
}

/// Reads a file upwards through a bounded buffer, in folios of one page: it may be written later.
pub(crate) struct Window<'a> {
    path: &'a Path,
    file: &'a File,
    file_bytes: u64,
    start: u64,
    buffer: Vec<u8>,
}

const WINDOW_BYTES: u64 = 4 << 20;

impl<'a> Window<'a> {
    pub(crate) fn new(path: &'a Path, file: &'a File, file_bytes: u64) -> Self {
        in_pages(file);
        Self {
            path,
            file,
            file_bytes,
            start: 0,
            buffer: Vec::new(),
        }
    }

    /// `len` bytes at `offset`; both within the file as it was measured.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8], LogError> {
        let end = offset + len as u64;
        let have = self.start + self.buffer.len() as u64;
        if offset < self.start || end > have {
            self.start = offset;
            let wanted = (len as u64)
                .max(WINDOW_BYTES)
                .min(self.file_bytes.saturating_sub(offset))
                .max(len as u64);
            if self.buffer.len() as u64 != wanted {
                self.buffer = vec![0; wanted as usize];
            }
            let read = self.file.read_exact_at(&mut self.buffer, offset);
            if read.is_err() {
                self.buffer.clear();
            }
            read.map_err(LogError::io(self.path, offset, "read the file"))?;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.buffer[at..at + len])
    }

    /// Forgets what was read, so that the next `get` asks the file again.
    pub(crate) fn refresh(&mut self) {
        self.buffer.clear();
    }
}

/// A batch that does not verify where one should stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadBatch {
    pub(crate) lsn: Lsn,
    /// Offset in the file.
    pub(crate) offset: u64,
    pub(crate) error: BatchError,
    /// The header, where it verifies by itself.
    pub(crate) header: Option<BatchHeader>,
}

/// Reads and checks the batch that belongs at `reached` in a raw segment's file.
pub(crate) fn read_checked<'w>(
    window: &'w mut Window<'_>,
    geometry: &Geometry,
    reached: &Reached,
) -> Result<Result<(BatchHeader, &'w [u8]), BadBatch>, LogError> {
    let lsn = reached.tail.lsn;
    let offset = geometry.offset_of(lsn);
    let bad = |error, header| BadBatch {
        lsn,
        offset,
        error,
        header,
    };
    let place = reached.place(geometry.cluster);
    let header = match BatchHeader::decode(window.get(offset, BATCH_HEADER_BYTES)?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(bad(error, None))),
    };
    if let Err(error) = header.check_place(&place) {
        return Ok(Err(bad(error, Some(header))));
    }
    let room = geometry.raw_file_bytes() - offset;
    let need = stored_bytes(header.payload_bytes());
    if need > room {
        let error = BatchError::Length {
            field: "payload_bytes",
            value: header.payload_bytes() as u64,
            max: room - BATCH_HEADER_BYTES as u64,
        };
        return Ok(Err(bad(error, Some(header))));
    }
    let payload = window.get(offset + BATCH_HEADER_BYTES as u64, header.payload_bytes())?;
    match header.check(&place, payload) {
        Ok(()) => Ok(Ok((header, payload))),
        Err(error) => Ok(Err(bad(error, Some(header)))),
    }
}

/// Walks the batches of segment `number` from `reached` on, until the segment is full or a
/// batch does not verify. `visit` sees the log behind each batch and may stop the walk.
pub(crate) fn walk(
    window: &mut Window<'_>,
    geometry: &Geometry,
    number: u64,
    mut reached: Reached,
    mut visit: impl FnMut(&Reached, &BatchHeader) -> Result<bool, LogError>,
) -> Result<(Reached, Option<BadBatch>), LogError> {
    while geometry.number_of(reached.tail.lsn) == number {
        match read_checked(window, geometry, &reached)? {
            Ok((header, payload)) => {
                reached = reached.behind(&header, payload, geometry);
                if !visit(&reached, &header)? {
                    break;
                }
            }
            Err(bad) => return Ok((reached, Some(bad))),
        }
    }
    Ok((reached, None))
}

/// Whether all of `bytes` are zero.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}
