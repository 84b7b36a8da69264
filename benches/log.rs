//! What the log takes for one commit: append and sync, by device and size of the batch; and what
//! reading takes that checks every batch.
//!
//! The log lies below `target/`. A sync takes what the disk takes: look at the devices beside each
//! other, not at one alone.

mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::columns::push_group;
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::BATCH_HEADER_BYTES;
use kanjo_format::record::RecordKind;
use kanjo_format::{
    BatchHeader, BatchPlace, ClusterId, Epoch, Incarnation, Lsn, NodeId, Site, Tail, Timestamp,
};
use kanjo_wal::{DataDir, DeviceKind, Log};
use rows::{TRANSFERS, transfers};
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId::new(7);
const SEGMENT_BYTES: u64 = 16 << 20;
/// Level of `zstd` at which a node seals.
const SEAL_LEVEL: i32 = 3;
const DEVICES: [(&str, DeviceKind); 2] = [
    ("mapped", DeviceKind::Mapped),
    ("pwrite", DeviceKind::Pwrite),
];
/// A batch on the disk, its header included.
const SIZES: [(&str, usize); 3] = [
    ("1 page", 4 << 10),
    ("16 KiB", 16 << 10),
    ("136 KiB", 136 << 10),
];

fn control() -> Control {
    Control::fresh(
        CLUSTER,
        (NodeId::new(1), Incarnation::new(1)),
        Site::One,
        Role::Primary,
        SEGMENT_BYTES,
    )
}

/// A log that goes away with its folder.
struct Desk {
    log: Log,
    _folder: TempDir,
}

impl Desk {
    fn new(device: DeviceKind) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().join("data");
        DataDir::format(&path, &control()).expect("an empty folder");
        let dir = Arc::new(DataDir::open(&path).expect("just formatted"));
        let (log, _) = Log::open(dir, device).expect("just formatted");
        Self {
            log,
            _folder: folder,
        }
    }

    fn header(&self, payload: &[u8], flags: u16) -> BatchHeader {
        let place = self.log.place();
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::from_terms(1, 1),
            lsn: place.lsn,
            flags,
            record_count: u32::from(flags == 0),
            timestamp: Timestamp::new(place.lsn.get() + 1),
            confirmed: Lsn::ZERO,
            prev_chain: place.chain,
        };
        BatchHeader::build(&fields, payload)
    }

    /// Makes room as a node does it: a segment is there before it is needed.
    fn make_room(&mut self, payload: &[u8]) {
        if !self.log.fits(payload.len()) {
            let end = self.header(b"", FLAG_SEGMENT_END);
            self.log.append(&end, b"").expect("an end fits");
        }
        if self.log.prepared_ahead() == 0 {
            let prepared = self.log.preparer().prepare().expect("room on the disk");
            self.log.add_prepared(prepared);
        }
        self.log.ready_ahead();
    }

    /// The time of append and sync.
    fn commit(&mut self, payload: &[u8]) -> Duration {
        self.make_room(payload);
        let header = self.header(payload, 0);
        let begun = Instant::now();
        let tail = self.log.append(&header, payload).expect("it belongs there");
        let synced = self.log.syncer().sync_to(tail.lsn);
        let taken = begun.elapsed();
        assert!(synced.expect("a sync") >= tail.lsn);
        taken
    }

    /// Appends until a segment is full; gives the batches in it.
    fn fill_segment(&mut self, payload: &[u8]) -> usize {
        let mut batches = 1;
        while self.log.fits(payload.len()) {
            let header = self.header(payload, 0);
            self.log.append(&header, payload).expect("it belongs there");
            batches += 1;
        }
        let end = self.header(b"", FLAG_SEGMENT_END);
        let tail = self.log.append(&end, b"").expect("an end fits");
        self.log.syncer().sync_to(tail.lsn).expect("a sync");
        batches
    }

    /// Reads and checks all batches; gives how many.
    fn scan(&self) -> usize {
        let start = BatchPlace {
            cluster: CLUSTER,
            lsn: Lsn::ZERO,
            epoch: Epoch::NONE,
            chain: Tail::empty(CLUSTER).chain,
        };
        let batches = self.log.reader().scan(start);
        batches.fold(0, |count, batch| {
            batch.expect("a good batch");
            count + 1
        })
    }
}

fn commit(criterion: &mut Criterion) {
    for (size, bytes) in SIZES {
        let mut group = criterion.benchmark_group(format!("append and sync, {size}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_secs(1));
        let payload: Vec<u8> = (1..=u8::MAX)
            .cycle()
            .take(bytes - BATCH_HEADER_BYTES)
            .collect();
        for (name, device) in DEVICES {
            let mut desk = None;
            group.bench_function(name, |b| {
                let desk = desk.get_or_insert_with(|| Desk::new(device));
                b.iter_custom(|rounds| (0..rounds).map(|_| desk.commit(&payload)).sum());
            });
        }
        group.finish();
    }
}

fn read(criterion: &mut Criterion) {
    let mut payload = Vec::new();
    let rows = transfers(TRANSFERS);
    push_group(&mut payload, RecordKind::TransferPosted, &rows);
    let mut group = criterion.benchmark_group("a segment of full batches");
    group.throughput(Throughput::Bytes(SEGMENT_BYTES));
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(1));
    let mut desk = Desk::new(DeviceKind::Mapped);
    let batches = desk.fill_segment(&payload);
    group.bench_function("read and check, raw", |b| {
        b.iter(|| assert_eq!(desk.scan(), batches));
    });
    // It can be sealed only once.
    let begun = Instant::now();
    desk.log
        .sealer()
        .seal(0, SEAL_LEVEL)
        .expect("a full segment");
    println!("sealing it took {} ms", begun.elapsed().as_millis());
    group.bench_function("read and check, sealed", |b| {
        b.iter(|| assert_eq!(desk.scan(), batches));
    });
    group.finish();
}

criterion_group!(benches, commit, read);
criterion_main!(benches);
