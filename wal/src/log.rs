//! The log: appends at the tail, one writer; readers, syncer, preparer and sealer beside it.
//!
//! ```text
//! locks, in the order in which they are taken:
//! preparing (files ahead) > files (seal, cut, install) > syncing > table > tail
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use kanjo_disk::Pace;
use kanjo_format::batch::stored_bytes;
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::{BatchError, BatchHeader, BatchPlace, Lsn, Tail, Timestamp};
use zerocopy::IntoBytes;

use crate::DataDir;
use crate::device::{DeviceKind, DeviceWrap, Devices};
use crate::error::LogError;
use crate::prepare::{Prepared, Preparer};
use crate::raw::{Geometry, RawSegment, Reached};
use crate::reader::LogReader;
use crate::recovery::{Recovered, Recovery};
use crate::seal::Sealer;
use crate::sealed::{SealedCache, SealedMeta};
use crate::sync::Syncer;

/// Bytes made ready ahead of the tail at a time. Fewer, and each commit pays for it; more, and the
/// commit that pays waits longer. What is ready and not needed for half a minute is written to the
/// disk as the zeros that it is.
const READY_BYTES: u64 = 8 * PAGE_BYTES;

/// The writing end of the log. There is one; everything else is handed out by it.
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reached: Reached,
    /// The segment of the last batch, if it is raw.
    pub(crate) current: Option<Arc<RawSegment>>,
    pub(crate) prepared: BTreeMap<u64, Prepared>,
    /// Up to here pages were made ready to be written.
    pub(crate) ready_to: Lsn,
}

/// One segment that holds data.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Raw(Arc<RawSegment>),
    Sealed(Arc<SealedMeta>),
}

/// What all ends of the log share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: Arc<DataDir>,
    pub(crate) log_path: PathBuf,
    pub(crate) geometry: Geometry,
    pub(crate) devices: Devices,
    /// The number of the segment that is made next. This lock and `files` are taken with
    /// [`Shared::lock_soon`], but by what makes a segment ahead or seals one.
    pub(crate) preparing: Mutex<u64>,
    /// How many wait for what makes a segment ahead, or seals one.
    pub(crate) waiting: AtomicU64,
    /// Grows with each cut, which deletes what was prepared before.
    pub(crate) generation: AtomicU64,
    pub(crate) files: Mutex<()>,
    pub(crate) syncing: Mutex<()>,
    /// By segment number, from 0, without a gap.
    pub(crate) table: RwLock<Vec<Entry>>,
    pub(crate) tail: RwLock<Tail>,
    pub(crate) synced: AtomicU64,
    pub(crate) poison: OnceLock<String>,
    pub(crate) cache: SealedCache,
}

impl Log {
    /// Opens the log of `dir`: checks it, cuts a torn tail into quarantine, syncs what remains.
    pub fn open(dir: Arc<DataDir>, kind: DeviceKind) -> Result<(Self, Recovery), LogError> {
        Self::open_with(dir, kind, None)
    }

    /// The same with something put in front of each segment's device.
    pub fn open_with(
        dir: Arc<DataDir>,
        kind: DeviceKind,
        wrap: Option<DeviceWrap>,
    ) -> Result<(Self, Recovery), LogError> {
        let devices = Devices { kind, wrap };
        let Recovered {
            geometry,
            table,
            prepared,
            reached,
            recovery,
        } = crate::recovery::recover(&dir, &devices)?;
        let next = prepared.keys().next_back().map_or_else(
            || geometry.number_of(reached.tail.lsn).max(table.len() as u64),
            |last| last + 1,
        );
        let current = match table.last() {
            Some(Entry::Raw(segment)) => Some(Arc::clone(segment)),
            _ => None,
        };
        let shared = Arc::new(Shared {
            log_path: dir.log_path(),
            dir,
            geometry,
            devices,
            preparing: Mutex::new(next),
            waiting: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            files: Mutex::new(()),
            syncing: Mutex::new(()),
            table: RwLock::new(table),
            tail: RwLock::new(reached.tail),
            synced: AtomicU64::new(reached.tail.lsn.get()),
            poison: OnceLock::new(),
            cache: SealedCache::default(),
        });
        let log = Self {
            shared,
            reached,
            current,
            prepared,
            ready_to: Lsn::ZERO,
        };
        Ok((log, recovery))
    }

    /// Where the log ends: what was appended, synced or not.
    pub fn tail(&self) -> Tail {
        self.reached.tail
    }

    /// Where the next batch stands.
    pub fn place(&self) -> BatchPlace {
        self.reached.place(self.shared.geometry.cluster)
    }

    /// Time of the last record, which later ones are after.
    pub fn last_timestamp(&self) -> Timestamp {
        self.reached.last_timestamp
    }

    /// Bytes left in the segment in which the next batch stands.
    pub fn room(&self) -> u64 {
        let segment_bytes = self.shared.geometry.segment_bytes;
        segment_bytes - self.reached.tail.lsn.get() % segment_bytes
    }

    /// Whether a batch of this payload fits here: it fills the segment exactly, or leaves a
    /// page for the batch that ends the segment.
    pub fn fits(&self, payload_bytes: usize) -> bool {
        let (batch, room) = (stored_bytes(payload_bytes), self.room());
        batch == room || batch + PAGE_BYTES <= room
    }

    /// Appends one batch, without syncing it. Checks that it belongs here, hashes it once,
    /// copies it once, and returns the log's new tail.
    pub fn append(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<Tail, LogError> {
        self.shared.check_open()?;
        let geometry = self.shared.geometry;
        let at = self.reached.tail.lsn;
        let place = self.place();
        header
            .check_place(&place)
            .and_then(|()| header.check_chain(&place))
            .and_then(|()| check_length(header, payload))
            .map_err(|source| LogError::Misplaced { at, source })?;
        let batch_bytes = stored_bytes(payload.len());
        let fits =
            self.fits(payload.len()) || (header.is_segment_end() && batch_bytes <= self.room());
        if !fits {
            return Err(LogError::NoRoom {
                at,
                batch_bytes,
                room: self.room(),
            });
        }
        let reached = self.reached.behind(header, payload, &geometry);
        let segment = self.segment_for(geometry.number_of(at))?;
        let offset = geometry.offset_of(at);
        let written = segment.device.write(offset, [header.as_bytes(), payload]);
        self.shared
            .poison_on_error(written, &segment.path, offset, "write the log")?;
        self.reached = reached;
        // Readers see the tail only after the bytes below it.
        self.shared.set_tail(reached.tail);
        Ok(reached.tail)
    }

    /// Makes the pages of the next small batches ready to be written, so that their commits do
    /// not wait for it. Call it when nobody waits for anything.
    pub fn ready_ahead(&mut self) {
        let (tail, geometry) = (self.reached.tail.lsn, self.shared.geometry);
        if tail < self.ready_to {
            return;
        }
        if let Some(current) = &self.current
            && current.number == geometry.number_of(tail)
        {
            self.ready_to = tail.advance(READY_BYTES);
            let len = READY_BYTES.min(self.room());
            current.device.ready(geometry.offset_of(tail), len);
        }
    }

    /// Takes over a segment that was made ahead. One that the log has no use for is dropped.
    pub fn add_prepared(&mut self, prepared: Prepared) {
        // Not under `preparing`: the commit path never waits for a segment being made.
        let generation = self.shared.generation.load(Ordering::Acquire);
        let wanted = prepared.number >= self.shared.table_len();
        if prepared.generation == generation && wanted {
            self.prepared.insert(prepared.number, prepared);
        }
    }

    /// Segments that are ready ahead of the current one.
    pub fn prepared_ahead(&self) -> usize {
        self.prepared.len()
    }

    /// Makes segments ahead on another thread.
    pub fn preparer(&self) -> Preparer {
        Preparer {
            shared: Arc::clone(&self.shared),
            pace: Pace::at_once(),
        }
    }

    /// Syncs what was appended, on another thread.
    pub fn syncer(&self) -> Syncer {
        Syncer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Reads what was appended, on any thread.
    pub fn reader(&self) -> LogReader {
        LogReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Recompresses full segments, on another thread.
    pub fn sealer(&self) -> Sealer {
        Sealer {
            shared: Arc::clone(&self.shared),
            pace: Pace::at_once(),
        }
    }

    /// The segment of the next batch: the current one, or the next if that is full.
    fn segment_for(&mut self, number: u64) -> Result<Arc<RawSegment>, LogError> {
        if let Some(current) = &self.current
            && current.number == number
        {
            return Ok(Arc::clone(current));
        }
        let prepared = match self.prepared.remove(&number) {
            Some(prepared) => prepared,
            None => self.prepare_inline(number)?,
        };
        assert_eq!(
            number,
            self.shared.table_len(),
            "segments follow one another"
        );
        let segment = Arc::new(RawSegment {
            number,
            path: prepared.path,
            device: prepared.device,
            base: self.reached,
        });
        self.shared.push_entry(Entry::Raw(Arc::clone(&segment)));
        self.current = Some(Arc::clone(&segment));
        Ok(segment)
    }

    /// Nobody was fast enough: the commit path waits for the disk.
    fn prepare_inline(&self, number: u64) -> Result<Prepared, LogError> {
        let mut next = self.shared.lock_soon(&self.shared.preparing);
        let prepared = self.shared.prepare(number, &mut Pace::at_once())?;
        *next = (*next).max(number + 1);
        Ok(prepared)
    }
}

impl Shared {
    pub(crate) fn tail(&self) -> Tail {
        *self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_tail(&self, tail: Tail) {
        *self.tail.write().unwrap_or_else(PoisonError::into_inner) = tail;
    }

    /// Takes a lock that a long job may have, for the thread that owns the log: while this waits
    /// neither a seal nor a segment made ahead takes a rest.
    pub(crate) fn lock_soon<'a, T>(&self, lock: &'a Mutex<T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Whether the owner of the log waits for a job that makes a segment ahead or seals one.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn entry(&self, number: u64) -> Option<Entry> {
        self.table().get(usize::try_from(number).ok()?).cloned()
    }

    /// What segments there are, by number.
    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Vec<Entry>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push_entry(&self, entry: Entry) {
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }

    pub(crate) fn table_len(&self) -> u64 {
        self.table().len() as u64
    }

    /// Refuses once anything has failed.
    pub(crate) fn check_open(&self) -> Result<(), LogError> {
        match self.poison.get() {
            Some(first) => Err(LogError::Poisoned {
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Closes the log for ever if `result` is a failure.
    pub(crate) fn poison_on_error<T>(
        &self,
        result: io::Result<T>,
        path: &Path,
        offset: u64,
        doing: &'static str,
    ) -> Result<T, LogError> {
        result.map_err(|source| {
            let error = LogError::io(path, offset, doing)(source);
            self.poison(&error);
            error
        })
    }

    pub(crate) fn poison(&self, error: &LogError) {
        let text = error.to_string();
        tracing::error!(error = %text, "the log is closed");
        // Only the first failure is kept.
        let _ = self.poison.set(text);
    }
}

fn check_length(header: &BatchHeader, payload: &[u8]) -> Result<(), BatchError> {
    if header.payload_bytes() != payload.len() {
        return Err(BatchError::Short {
            have: payload.len() + BATCH_HEADER_BYTES,
            need: header.payload_bytes() + BATCH_HEADER_BYTES,
        });
    }
    Ok(())
}
