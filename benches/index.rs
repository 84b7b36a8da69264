//! What the index takes: building a run, merging runs, and look-ups in them.
//!
//! Runs are shorter than those of whole segments; what is shown a transfer hardly depends on it.
//! The files lie below `target/` and in the page cache.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kanjo_disk::Pace;
use kanjo_format::batch::BatchFields;
use kanjo_format::columns::push_group;
use kanjo_format::record::{AccountRow, RecordKind};
use kanjo_format::{
    AccountNumber, BatchHeader, Chain, ClusterId, Epoch, Lsn, RecordAt, Timestamp, TransferId,
};
use kanjo_index::{Direction, Merge, RunBuilder, RunInfo, RunKey, RunSet, SetParams, merge};
use rows::{TRANSFERS, transfers};
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId::new(7);
const SEGMENT_BYTES: u64 = 64 << 20;
const ACCOUNTS: u32 = 10_000;
/// Batches of one run.
const BATCHES: usize = 32;
const RUNS: usize = 8;

/// Full batches, the first ones with the accounts.
struct Batches {
    all: Vec<(BatchHeader, Vec<u8>)>,
    ids: Vec<TransferId>,
}

impl Batches {
    fn new(count: usize) -> Self {
        let mut batches = Self {
            all: Vec::new(),
            ids: Vec::new(),
        };
        for first in [0, ACCOUNTS / 2] {
            let account = |number: u32| AccountRow {
                id: u128::from(number + 1).into(),
                number: number.into(),
                ledger: 1.into(),
                code: 1.into(),
                ..AccountRow::default()
            };
            let rows: Vec<AccountRow> = (first..first + ACCOUNTS / 2).map(account).collect();
            let mut payload = Vec::new();
            push_group(&mut payload, RecordKind::AccountOpened, &rows);
            batches.add(rows.len(), payload);
        }
        for rows in transfers(count * TRANSFERS).chunks(TRANSFERS) {
            batches.ids.extend(rows.iter().map(|row| row.id()));
            let mut payload = Vec::new();
            push_group(&mut payload, RecordKind::TransferPosted, rows);
            batches.add(rows.len(), payload);
        }
        batches
    }

    fn add(&mut self, records: usize, payload: Vec<u8>) {
        let last = self.all.last();
        let lsn = last.map_or(Lsn::ZERO, |(header, _)| header.end(SEGMENT_BYTES));
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::from_terms(1, 1),
            lsn,
            flags: 0,
            record_count: records as u32,
            timestamp: Timestamp::new(1 + lsn.get()),
            confirmed: Lsn::ZERO,
            prev_chain: Chain::default(),
        };
        self.all
            .push((BatchHeader::build(&fields, &payload), payload));
    }
}

fn set(folder: &TempDir, filter_bytes_max: usize) -> RunSet {
    let params = SetParams {
        dir: folder.path().to_path_buf(),
        cluster: CLUSTER,
        segment_bytes: SEGMENT_BYTES,
        seed: 1,
        filter_bytes_max,
    };
    RunSet::empty(params)
}

fn build(set: &RunSet, batches: &[(BatchHeader, Vec<u8>)]) -> RunInfo {
    let mut builder = RunBuilder::new(Arc::new(set.clone()));
    for (header, payload) in batches {
        builder.add_batch(header, payload).expect("the next batch");
    }
    builder.finish().expect("room on the disk")
}

/// Eight runs, the first with the accounts.
fn runs(folder: &TempDir, batches: &Batches) -> RunSet {
    let mut set = set(folder, 1 << 30);
    let (accounts, rest) = batches.all.split_at(2);
    let first: Vec<_> = accounts.iter().chain(&rest[..BATCHES]).cloned().collect();
    set = set.with(&build(&set, &first)).expect("a run");
    for some in rest[BATCHES..].chunks(BATCHES) {
        set = set.with(&build(&set, some)).expect("a run");
    }
    set
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn make(criterion: &mut Criterion) {
    let batches = Batches::new(BATCHES * RUNS);
    let mut group = criterion.benchmark_group("index");
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(3));
    let (place, first) = (folder(), &batches.all[..2 + BATCHES]);
    group.throughput(Throughput::Elements((BATCHES * TRANSFERS) as u64));
    group.bench_function("build a run", |b| b.iter(|| build(&set(&place, 0), first)));
    let place = folder();
    let set = runs(&place, &batches);
    let due = set.next_merge().expect("eight runs are due");
    group.throughput(Throughput::Elements(set.counts().transfers));
    group.bench_function("merge eight runs", |b| {
        b.iter(|| merge(&due, Pace::at_once()).expect("room on the disk"));
    });
    group.finish();
}

fn look_up(criterion: &mut Criterion) {
    let (place, batches) = (folder(), Batches::new(BATCHES * RUNS));
    let set = runs(&place, &batches);
    let Merge { runs, .. } = set.next_merge().expect("eight runs are due");
    assert_eq!(runs.len(), RUNS);
    let mut group = criterion.benchmark_group("index, eight runs");
    let mut n = 0;
    let mut next = move || {
        n = (n + 7_919) % (BATCHES * RUNS * TRANSFERS);
        n
    };
    group.bench_function("find an id that is there", |b| {
        b.iter(|| set.find(batches.ids[next()]).expect("it is read"));
    });
    group.bench_function("find an id that is not there", |b| {
        b.iter(|| {
            let id = TransferId::new(batches.ids[next()].get() ^ 1 << 40);
            set.find(id).expect("it is read")
        });
    });
    group.bench_function("find an id above all", |b| {
        b.iter(|| {
            set.find(TransferId::new(u128::MAX - next() as u128))
                .expect("it is read")
        });
    });
    let account = |n: usize| AccountNumber::new(n as u32 % ACCOUNTS);
    group.bench_function("a balance of the past", |b| {
        b.iter(|| {
            let lsn = next() as u64 % (set.end().get() / 4_096) * 4_096;
            set.base(account(next()), RecordAt::new(Lsn::new(lsn), 0))
                .expect("it is read")
        });
    });
    group.bench_function("the last 100 records of an account", |b| {
        b.iter(|| {
            let all = RecordAt::MIN..RecordAt::MAX;
            let key = RunKey::Account(account(next()));
            set.postings(key, all, Direction::Backwards)
                .take(100)
                .count()
        });
    });
    group.finish();
}

criterion_group!(benches, make, look_up);
criterion_main!(benches);
