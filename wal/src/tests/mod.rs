//! The promises of this crate, one file a subject. All logs have the smallest segments.

mod browsing;
mod cutting;
mod directory;
mod recovering;
mod sealing;
mod syncing;
mod verifying;
mod writing;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kanjo_disk::Pace;
use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::SEGMENT_BYTES_MIN;
use kanjo_format::{
    Batch, BatchHeader, BatchPlace, ClusterId, Epoch, Incarnation, Lsn, NodeId, Site, Tail,
    Timestamp,
};
use tempfile::TempDir;

use crate::{DataDir, DeviceKind, Log, Recovery};

const SEGMENT: u64 = SEGMENT_BYTES_MIN;
const CLUSTER: ClusterId = ClusterId::new(0xc1);

fn control() -> Control {
    Control::fresh(
        CLUSTER,
        (NodeId::new(1), Incarnation::new(0x1c)),
        Site::One,
        Role::Primary,
        SEGMENT,
    )
}

/// A formatted directory that goes away with the test.
struct Home {
    temp: TempDir,
}

impl Home {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    /// In memory where the system has such a folder: for tests that read whole logs very often.
    fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::in_folder(folder.unwrap())
    }

    fn in_folder(temp: TempDir) -> Self {
        let home = Self { temp };
        DataDir::format(home.path(), &control()).unwrap();
        home
    }

    fn path(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    fn raw(&self, number: u64) -> PathBuf {
        self.path().join(format!("log/{number:016x}.seg"))
    }

    fn sealed(&self, number: u64) -> PathBuf {
        self.path().join(format!("log/{number:016x}.sealed"))
    }

    fn dir(&self) -> Arc<DataDir> {
        Arc::new(DataDir::open(self.path()).unwrap())
    }

    fn try_open(&self) -> Result<(Log, Recovery), crate::LogError> {
        Log::open(self.dir(), DeviceKind::Mapped)
    }

    fn open(&self) -> (Log, Recovery) {
        self.try_open().unwrap()
    }
}

/// Bytes without any zero, different for each seed.
fn payload(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 | 1
    };
    (0..len).map(|_| next()).collect()
}

fn fields(place: &BatchPlace, flags: u16) -> BatchFields {
    BatchFields {
        cluster: place.cluster,
        epoch: place.epoch.max(Epoch::from_terms(1, 1)),
        lsn: place.lsn,
        flags,
        record_count: u32::from(flags == 0),
        timestamp: Timestamp::new(place.lsn.get() + 1),
        confirmed: Lsn::ZERO,
        prev_chain: place.chain,
    }
}

fn put(log: &mut Log, payload: &[u8]) -> Tail {
    put_confirmed(log, payload, Lsn::ZERO)
}

/// Appends a batch, ending the segment first where it does not fit.
fn put_confirmed(log: &mut Log, payload: &[u8], confirmed: Lsn) -> Tail {
    if !log.fits(payload.len()) {
        end_segment(log);
    }
    let fields = BatchFields {
        confirmed,
        ..fields(&log.place(), 0)
    };
    log.append(&BatchHeader::build(&fields, payload), payload)
        .unwrap()
}

fn end_segment(log: &mut Log) -> Tail {
    let header = BatchHeader::build(&fields(&log.place(), FLAG_SEGMENT_END), b"");
    log.append(&header, b"").unwrap()
}

/// Fills whole segments with compressible batches up to the start of segment `number`.
fn fill_to(log: &mut Log, number: u64) {
    let mut seed = log.tail().lsn.get();
    while log.tail().lsn.get() < number * SEGMENT {
        seed += 1;
        let len = 20_000 + (seed % 60_000) as usize;
        let mut bytes = payload(seed, 64).repeat(len / 64);
        bytes.truncate(len);
        if log.fits(bytes.len()) {
            put(log, &bytes);
        } else {
            end_segment(log);
        }
    }
    log.syncer().sync_to(log.tail().lsn).unwrap();
}

fn all(log: &Log) -> Vec<Batch<Bytes>> {
    scan(log).map(|b| b.unwrap()).collect()
}

fn scan(log: &Log) -> crate::Scan {
    log.reader().scan(BatchPlace {
        cluster: CLUSTER,
        lsn: Lsn::ZERO,
        epoch: Epoch::NONE,
        chain: Tail::empty(CLUSTER).chain,
    })
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Where a batch stands in its raw file.
fn offset(lsn: Lsn) -> u64 {
    4096 + lsn.get() % SEGMENT
}
