//! What the ledger takes for one transfer: execution, replay, and the transfer index.
//!
//! Batches of 8,189 transfers as the performance figures speak of them: time-ordered ids of 48 bits
//! of milliseconds and 80 random bits unless said otherwise, amounts uniform over 1 to 10,000. The
//! rates are of transfers. Making the requests is outside of the measured time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kanjo_engine::{Entry, HistoryError, HistoryReader, Ledger, RecordAt, Resolution};
use kanjo_format::batch::{BatchFields, BatchHeader};
use kanjo_format::client::{AccountBody, TransferBody};
use kanjo_format::columns::push_group;
use kanjo_format::movement::Transfer;
use kanjo_format::record::{RecordKind, TransferRow};
use kanjo_format::{BatchPlace, Chain, ClusterId, Epoch, Lsn, Tail, Timestamp, TransferId};

const TRANSFERS: usize = 8_189;
const SEGMENT_BYTES: u64 = 1 << 30;

/// A small generator (xorshift64*), so that every run sees the same transfers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[derive(Clone, Copy)]
enum Choice {
    Uniform,
    /// Skewed, with exponent 0.99 and the favourites spread over all numbers.
    Zipf,
}

/// Transfers without end.
struct Load {
    random: Random,
    made: u128,
    accounts: u64,
    /// Running sums of the weights of ranks; empty if all accounts are alike.
    weights: Vec<f64>,
    has_random_ids: bool,
}

impl Load {
    fn new(accounts: u64, choice: Choice, has_random_ids: bool) -> Self {
        let ranks = match choice {
            Choice::Uniform => 0,
            Choice::Zipf => accounts,
        };
        let mut sum = 0.0;
        let weight = |rank: u64| {
            sum += (rank as f64).powf(-0.99);
            sum
        };
        Self {
            random: Random(7),
            made: 0,
            accounts,
            weights: (1..=ranks).map(weight).collect(),
            has_random_ids,
        }
    }

    fn account(&mut self) -> u64 {
        match self.weights.last() {
            None => self.random.next() % self.accounts,
            Some(all) => {
                let wanted = self.random.fraction() * all;
                let rank = self.weights.partition_point(|&sum| sum < wanted) as u64;
                rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.accounts
            }
        }
    }

    /// Two accounts that differ.
    fn pair(&mut self) -> (u64, u64) {
        let debit = self.account();
        loop {
            let credit = self.account();
            if credit != debit {
                return (debit, credit);
            }
        }
    }

    fn id(&mut self) -> u128 {
        self.made += 1;
        let noise = u128::from(self.random.next()) << 64 | u128::from(self.random.next()) | 1;
        match self.has_random_ids {
            true => noise,
            false => (1_780_000_000_000 + self.made / 1_000) << 80 | noise >> 48,
        }
    }

    fn amount(&mut self) -> u128 {
        u128::from(1 + self.random.next() % 10_000)
    }

    fn request(&mut self, events: &mut Vec<TransferBody>) {
        events.clear();
        for _ in 0..TRANSFERS {
            let (debit, credit) = self.pair();
            events.push(TransferBody {
                id: self.id().into(),
                debit_account_id: account_id(debit).into(),
                credit_account_id: account_id(credit).into(),
                amount: self.amount().into(),
                pending_id: 0.into(),
                user_data_128: 0.into(),
                user_data_64: 0.into(),
                user_data_32: 0.into(),
                timeout: 0.into(),
                ledger: 1.into(),
                code: 1.into(),
                flags: 0.into(),
                timestamp: 0.into(),
            });
        }
    }

    fn payload(&mut self, payload: &mut Vec<u8>) {
        let rows: Vec<TransferRow> = (0..TRANSFERS)
            .map(|_| {
                let (debit, credit) = self.pair();
                TransferRow {
                    id: self.id().into(),
                    amount: self.amount().into(),
                    debit_account: (debit as u32).into(),
                    credit_account: (credit as u32).into(),
                    code: 1.into(),
                    ..TransferRow::default()
                }
            })
            .collect();
        payload.clear();
        push_group(payload, RecordKind::TransferPosted, &rows);
    }
}

fn account_id(n: u64) -> u128 {
    u128::from(n) + 1
}

/// No id comes twice here, so nothing is read back.
struct NoHistory;

impl HistoryReader for NoHistory {
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError> {
        panic!("{at} is not asked for")
    }

    fn find_id(&mut self, id: TransferId) -> Result<Option<Entry>, HistoryError> {
        panic!("{id} is not asked for")
    }

    fn resolution_of(&mut self, at: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        panic!("{at} is not asked for")
    }

    fn reversal_of(&mut self, at: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        panic!("{at} is not asked for")
    }

    fn has_transfer_at_time(&mut self, at: Timestamp) -> Result<bool, HistoryError> {
        panic!("{at} is not asked for")
    }
}

/// A ledger, and the place in a log that does not exist.
struct Desk {
    ledger: Ledger,
    place: BatchPlace,
    payload: Vec<u8>,
    /// Every batch, if they are kept.
    kept: Option<Vec<Kept>>,
}

/// A batch for another ledger.
struct Kept {
    header: BatchHeader,
    payload: Vec<u8>,
    end: Lsn,
}

impl Desk {
    fn new(accounts: u64, keep: bool) -> Self {
        let cluster = ClusterId::new(7);
        let mut desk = Self {
            ledger: Ledger::new(3),
            place: BatchPlace {
                cluster,
                lsn: Lsn::ZERO,
                epoch: Epoch::NONE,
                chain: Chain::genesis(cluster),
            },
            payload: Vec::new(),
            kept: keep.then(Vec::new),
        };
        let numbers: Vec<u64> = (0..accounts).collect();
        for numbers in numbers.chunks(TRANSFERS) {
            let events: Vec<AccountBody> = numbers.iter().map(|&n| account(n)).collect();
            let mut open = desk.ledger.open_batch(desk.place.lsn, Timestamp::new(1));
            desk.ledger
                .create_accounts(&mut open, &events, &mut NoHistory, &mut Vec::new())
                .expect("no history is asked for");
            desk.place_batch(open);
        }
        desk
    }

    fn header(&self, record_count: u32, timestamp: Timestamp) -> BatchHeader {
        let fields = BatchFields {
            cluster: self.place.cluster,
            epoch: Epoch::from_terms(1, 1),
            lsn: self.place.lsn,
            flags: 0,
            record_count,
            timestamp,
            confirmed: Lsn::ZERO,
            prev_chain: self.place.chain,
        };
        BatchHeader::build(&fields, &self.payload)
    }

    fn place_batch(&mut self, open: kanjo_engine::OpenBatch) {
        let closed = self.ledger.close_batch(open, &mut self.payload);
        let header = self.header(closed.record_count, closed.timestamp);
        self.place.lsn = header.end(SEGMENT_BYTES);
        self.ledger.batch_placed(&header, self.place.lsn);
        self.keep(header);
    }

    fn keep(&mut self, header: BatchHeader) {
        if let Some(kept) = &mut self.kept {
            kept.push(Kept {
                header,
                payload: self.payload.clone(),
                end: self.place.lsn,
            });
        }
    }

    /// A ledger as it is after a restart from a checkpoint: without ids.
    fn restored(&mut self) -> Ledger {
        let tail = Tail {
            epoch: Epoch::from_terms(1, 1),
            lsn: self.place.lsn,
            chain: self.place.chain,
        };
        let mut checkpoint = Vec::new();
        let snapshot = self.ledger.snapshot(self.place.cluster, tail);
        snapshot.write(&mut checkpoint).expect("memory takes it");
        let restored = Ledger::restore(&mut checkpoint.as_slice(), 3);
        restored.expect("just written").ledger
    }

    /// Executes one full request; the time until its payload is built.
    fn execute(&mut self, load: &mut Load, events: &mut Vec<TransferBody>) -> Duration {
        load.request(events);
        let mut runs = Vec::new();
        let started = Instant::now();
        let mut open = self.ledger.open_batch(self.place.lsn, Timestamp::new(1));
        self.ledger
            .create_transfers(&mut open, events, &mut NoHistory, &mut runs)
            .expect("no history is asked for");
        let closed = self.ledger.close_batch(open, &mut self.payload);
        let taken = started.elapsed();
        assert_eq!(runs.len(), 1, "every transfer is created");
        let header = self.header(closed.record_count, closed.timestamp);
        self.place.lsn = header.end(SEGMENT_BYTES);
        self.ledger.batch_placed(&header, self.place.lsn);
        taken
    }

    /// Applies one full batch; the time that it takes.
    fn apply(&mut self, load: &mut Load) -> Duration {
        load.payload(&mut self.payload);
        let timestamp = Timestamp::new(self.ledger.log_time().get() + 1);
        let header = self.header(TRANSFERS as u32, timestamp);
        let end = header.end(SEGMENT_BYTES);
        let started = Instant::now();
        let applied = self.ledger.apply(&header, &self.payload, end);
        let taken = started.elapsed();
        applied.expect("it follows");
        self.place.lsn = end;
        self.keep(header);
        taken
    }
}

fn account(n: u64) -> AccountBody {
    AccountBody {
        id: account_id(n).into(),
        debits_pending: 0.into(),
        debits_posted: 0.into(),
        credits_pending: 0.into(),
        credits_posted: 0.into(),
        user_data_128: 0.into(),
        user_data_64: 0.into(),
        user_data_32: 0.into(),
        reserved: 0.into(),
        ledger: 1.into(),
        code: 1.into(),
        flags: 0.into(),
        timestamp: 0.into(),
    }
}

/// What stands in the ledger before the measurement, and what comes then.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    accounts: u64,
    choice: Choice,
    history: usize,
    has_random_ids: bool,
    keep_batches: bool,
}

const PLAIN: Scene = Scene {
    name: "10,000 accounts",
    accounts: 10_000,
    choice: Choice::Uniform,
    history: 0,
    has_random_ids: false,
    keep_batches: false,
};

const SCENES: [Scene; 5] = [
    PLAIN,
    Scene {
        name: "1,000,000 accounts",
        accounts: 1_000_000,
        ..PLAIN
    },
    Scene {
        name: "1,000,000 accounts, Zipf",
        accounts: 1_000_000,
        choice: Choice::Zipf,
        ..PLAIN
    },
    Scene {
        name: "10,000 accounts, 10,000,000 ids before",
        history: 10_000_000,
        ..PLAIN
    },
    Scene {
        name: "10,000 accounts, 10,000,000 random ids before",
        history: 10_000_000,
        has_random_ids: true,
        ..PLAIN
    },
];

impl Scene {
    fn furnished(&self) -> (Desk, Load) {
        let mut desk = Desk::new(self.accounts, self.keep_batches);
        let mut load = Load::new(self.accounts, self.choice, self.has_random_ids);
        for _ in 0..self.history / TRANSFERS {
            desk.apply(&mut load);
        }
        (desk, load)
    }
}

fn measured(
    criterion: &mut Criterion,
    name: &str,
    add: impl FnOnce(&mut BenchmarkGroup<'_, criterion::measurement::WallTime>),
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(TRANSFERS as u64));
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    add(&mut group);
    group.finish();
}

fn execute(criterion: &mut Criterion) {
    measured(criterion, "execute", |group| {
        for scene in SCENES {
            let mut state = None;
            let mut events = Vec::new();
            group.bench_function(scene.name, |b| {
                b.iter_custom(|rounds| {
                    let (desk, load) = state.get_or_insert_with(|| scene.furnished());
                    (0..rounds).map(|_| desk.execute(load, &mut events)).sum()
                });
            });
        }
    });
}

fn apply(criterion: &mut Criterion) {
    measured(criterion, "apply", |group| {
        for scene in SCENES {
            let mut state = None;
            group.bench_function(scene.name, |b| {
                b.iter_custom(|rounds| {
                    let (desk, load) = state.get_or_insert_with(|| scene.furnished());
                    (0..rounds).map(|_| desk.apply(load)).sum()
                });
            });
        }
    });
}

fn index(criterion: &mut Criterion) {
    for (name, has_random_ids) in [("time-ordered ids", false), ("random ids", true)] {
        let scene = Scene {
            history: 2_000_000,
            has_random_ids,
            ..PLAIN
        };
        measured(criterion, &format!("look up, {name}"), |group| {
            let mut state = None;
            let mut ids = Vec::new();
            for (wanted, is_there) in [("old", true), ("unknown", false)] {
                group.bench_function(wanted, |b| {
                    let (desk, _) = state.get_or_insert_with(|| scene.furnished());
                    ids.clear();
                    let mut again = Load::new(scene.accounts, scene.choice, has_random_ids);
                    ids.extend((0..TRANSFERS).map(|_| {
                        again.pair();
                        let id = again.id();
                        again.amount();
                        TransferId::new(if is_there { id } else { id ^ 1 << 20 })
                    }));
                    assert_eq!(desk.ledger.index().find(ids[0]).is_some(), is_there);
                    b.iter(|| {
                        let index = desk.ledger.index();
                        let found = ids.iter().filter(|&&id| index.find(id).is_some());
                        black_box(found.count())
                    });
                });
            }
        });
    }
}

/// The ids of a log below a checkpoint, as a restart takes them.
fn build_index(criterion: &mut Criterion) {
    for (name, has_random_ids) in [("time-ordered ids", false), ("random ids", true)] {
        let scene = Scene {
            history: 60 * TRANSFERS,
            has_random_ids,
            keep_batches: true,
            ..PLAIN
        };
        let mut group = criterion.benchmark_group("build the index");
        group.throughput(Throughput::Elements(scene.history as u64));
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        let mut state = None;
        group.bench_function(name, |b| {
            let (desk, _) = state.get_or_insert_with(|| scene.furnished());
            b.iter_custom(|rounds| (0..rounds).map(|_| index_all(desk)).sum());
        });
        group.finish();
    }
}

fn index_all(desk: &mut Desk) -> Duration {
    let mut ledger = desk.restored();
    let started = Instant::now();
    for batch in desk.kept.iter().flatten() {
        let taken = ledger.index_only(&batch.header, &batch.payload, batch.end);
        taken.expect("it follows");
    }
    let taken = started.elapsed();
    assert!(ledger.is_index_complete());
    taken
}

criterion_group!(benches, execute, apply, index, build_index);
criterion_main!(benches);
