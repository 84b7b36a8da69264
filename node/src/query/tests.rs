//! A ledger's whole past in a log of sealed and raw segments, with runs, must answer as the same
//! batches in memory do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kanjo_engine::query::{Asked, Budget, MemoryPast, Page, Past, Query};
use kanjo_engine::{HistoryError, HistoryReader, Ledger, OpenBatch, RecordAt, Resolution};
use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::{
    AccountBody, AccountFilterBody, AccountFlags, BalanceAsOfBody, CloseDayBody, FeedBody,
    FrameKind, QueryFilterBody, Span, StatementBody, TransferBody, TransferDetailBody,
    TransferFlags,
};
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::SEGMENT_BYTES_MIN;
use kanjo_format::movement::{self, Transfer};
use kanjo_format::{
    BatchHeader, ClusterId, Epoch, Incarnation, Lsn, NodeId, Site, Timestamp, TransferId,
};
use kanjo_index::{RunBuilder, RunSet, SetParams};
use kanjo_wal::{DataDir, DeviceKind, Log};
use tempfile::TempDir;
use zerocopy::IntoBytes;

use super::past::{AccountLedgers, LogPast};
use super::{Job, Work};

const CLUSTER: ClusterId = ClusterId::new(7);
const ACCOUNTS: u64 = 12;
const SEALED: u64 = 2;
const SEGMENTS: u64 = 4;

fn control() -> Control {
    Control::fresh(
        CLUSTER,
        (NodeId::new(1), Incarnation::new(1)),
        Site::One,
        Role::Primary,
        SEGMENT_BYTES_MIN,
    )
}

/// Numbers that look random, the same in each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Reads old transfers out of memory; everything else is in the young part.
struct Memory<'a>(&'a mut MemoryPast);

impl HistoryReader for Memory<'_> {
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError> {
        let batch = self.0.batch_from(at.lsn()).unwrap().unwrap();
        let found = movement::transfer_at(&batch.header, &batch.payload, at.index());
        Ok(found.unwrap().unwrap())
    }

    fn find_id(&mut self, _: TransferId) -> Result<Option<kanjo_engine::Entry>, HistoryError> {
        Ok(None)
    }

    fn resolution_of(&mut self, _: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        Ok(None)
    }

    fn reversal_of(&mut self, _: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        Ok(None)
    }

    fn has_transfer_at_time(&mut self, _: Timestamp) -> Result<bool, HistoryError> {
        Ok(false)
    }
}

/// A ledger that writes its log to the disk and to memory.
struct Desk {
    _temp: TempDir,
    log: Log,
    ledger: Ledger,
    memory: MemoryPast,
    runs: RunSet,
    draw: Draw,
    now: u64,
    next_id: u128,
    /// What is drawn now: like comes with like, as in requests of people.
    what: u64,
    open_pendings: Vec<u128>,
    /// Rows that were compared.
    compared: usize,
}

impl Desk {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        DataDir::format(&path, &control()).unwrap();
        let dir = Arc::new(DataDir::open(&path).unwrap());
        let (log, _) = Log::open(dir, DeviceKind::Mapped).unwrap();
        let (runs, _) = RunSet::open(SetParams {
            dir: temp.path().join("index"),
            cluster: CLUSTER,
            segment_bytes: SEGMENT_BYTES_MIN,
            seed: 5,
            filter_bytes_max: 1 << 20,
        })
        .unwrap();
        Self {
            _temp: temp,
            log,
            ledger: Ledger::new(1),
            memory: MemoryPast::default(),
            runs,
            draw: Draw(0x1234_5678_9abc_def1),
            now: 1_000_000_000,
            next_id: 1,
            what: 0,
            open_pendings: Vec::new(),
            compared: 0,
        }
    }

    fn open(&mut self) -> OpenBatch {
        let now = Timestamp::new(self.now);
        let mut open = self.ledger.open_batch(self.log.tail().lsn, now);
        assert!(self.ledger.expire_due(&mut open));
        open
    }

    fn close(&mut self, mut open: OpenBatch) {
        if open.is_empty() {
            return self.ledger.discard_batch(open);
        }
        if !self.log.fits(open.payload_bytes_max()) {
            let log_time = self.ledger.log_time();
            self.place(FLAG_SEGMENT_END, 0, log_time, &[]);
            self.ledger.move_batch(&mut open, self.log.tail().lsn);
        }
        let mut payload = Vec::new();
        let closed = self.ledger.close_batch(open, &mut payload);
        self.place(0, closed.record_count, closed.timestamp, &payload);
    }

    fn place(&mut self, flags: u16, record_count: u32, timestamp: Timestamp, payload: &[u8]) {
        let place = self.log.place();
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::from_terms(1, 1),
            lsn: place.lsn,
            flags,
            record_count,
            timestamp,
            confirmed: Lsn::ZERO,
            prev_chain: place.chain,
        };
        let header = BatchHeader::build(&fields, payload);
        let tail = self.log.append(&header, payload).unwrap();
        self.ledger.batch_placed(&header, tail.lsn);
        self.memory.push(&header, payload, tail.lsn);
    }

    fn open_accounts(&mut self) {
        let accounts: Vec<AccountBody> = (1..=ACCOUNTS)
            .map(|n| AccountBody {
                id: u128::from(n).into(),
                ledger: (1 + n as u32 % 2).into(),
                code: 1.into(),
                flags: (if n % 3 == 0 { 0 } else { AccountFlags::HISTORY }).into(),
                ..AccountBody::default()
            })
            .collect();
        let (mut open, mut runs) = (self.open(), Vec::new());
        let memory = &mut Memory(&mut self.memory);
        let created = self
            .ledger
            .create_accounts(&mut open, &accounts, memory, &mut runs);
        created.unwrap();
        self.close(open);
        self.memory.note_accounts(&self.ledger);
    }

    fn draw_transfer(&mut self) -> TransferBody {
        let debit = 1 + self.draw.below(ACCOUNTS);
        let credit = 1 + (debit - 1 + 2 * (1 + self.draw.below(ACCOUNTS / 2 - 1))) % ACCOUNTS;
        let id = self.next_id;
        self.next_id += 1;
        if self.draw.below(30) == 0 {
            self.what = self.draw.below(10);
        }
        let what = self.what;
        let mut body = TransferBody {
            id: id.into(),
            debit_account_id: u128::from(debit).into(),
            credit_account_id: u128::from(credit).into(),
            amount: u128::from(1 + self.draw.below(100)).into(),
            user_data_128: u128::from(self.draw.0).into(),
            user_data_64: self.draw.below(5).into(),
            user_data_32: (self.draw.below(3) as u32).into(),
            ledger: (1 + debit as u32 % 2).into(),
            code: (1 + self.draw.below(3) as u16).into(),
            ..TransferBody::default()
        };
        if what < 3 {
            body.flags = TransferFlags::PENDING.into();
            body.timeout = (self.draw.below(3) as u32).into();
            self.open_pendings.push(id);
        } else if what < 5 && !self.open_pendings.is_empty() {
            let n = self.draw.below(self.open_pendings.len() as u64) as usize;
            let pending = self.open_pendings.swap_remove(n);
            let posts = what == 3;
            body = TransferBody {
                id: id.into(),
                pending_id: pending.into(),
                amount: if posts { u128::MAX } else { 0 }.into(),
                flags: match posts {
                    true => TransferFlags::POST_PENDING_TRANSFER,
                    false => TransferFlags::VOID_PENDING_TRANSFER,
                }
                .into(),
                ..TransferBody::default()
            };
        }
        body
    }

    /// One batch: plain and two-phase transfers, sometimes a day's end and transfers that name
    /// their date.
    fn step(&mut self) {
        self.now += 200_000_000;
        let count = 1 + self.draw.below(900) as usize;
        let bodies: Vec<TransferBody> = (0..count).map(|_| self.draw_transfer()).collect();
        let (mut open, mut runs) = (self.open(), Vec::new());
        let dated = self.draw.below(4) == 0;
        if self.draw.below(6) == 0 {
            let current = self.ledger.business_days().current();
            let next = 20_260_101 + self.ledger.business_days().closes().len() as u32;
            let event = CloseDayBody {
                date: current.into(),
                next: next.into(),
                ..CloseDayBody::default()
            };
            if next <= 20_260_131 {
                self.ledger.close_day(&mut open, &event, &mut runs);
            }
        }
        let kind = FrameKind::CreateTransfersDetailed;
        while !self.ledger.fits_request(&mut open, kind, count) {
            self.close(open);
            open = self.open();
        }
        let memory = &mut Memory(&mut self.memory);
        if dated {
            let date = self.ledger.business_days().current() + 1;
            let bodies: Vec<TransferDetailBody> = bodies
                .iter()
                .map(|body| TransferDetailBody {
                    transfer: *body,
                    business_date: if date > 20_260_101 { date } else { 0 }.into(),
                    ..TransferDetailBody::default()
                })
                .collect();
            let made = self
                .ledger
                .create_transfers_detailed(&mut open, &bodies, memory, &mut runs);
            made.unwrap();
        } else {
            let made = self
                .ledger
                .create_transfers(&mut open, &bodies, memory, &mut runs);
            made.unwrap();
        }
        self.close(open);
    }

    /// Seals the first segments and makes runs of them.
    fn derive(&mut self) {
        self.log.syncer().sync_to(self.log.tail().lsn).unwrap();
        for number in 0..SEALED {
            self.log.sealer().seal(number, 1).unwrap();
        }
        let mut builder = RunBuilder::new(Arc::new(self.runs.clone()));
        for batch in self.memory.batches() {
            if batch.header.lsn().get() >= SEALED * SEGMENT_BYTES_MIN {
                break;
            }
            builder.add_batch(&batch.header, &batch.payload).unwrap();
            if builder.is_complete() {
                self.runs = self.runs.with(&builder.finish().unwrap()).unwrap();
                builder = RunBuilder::new(Arc::new(self.runs.clone()));
            }
        }
        assert_eq!(self.runs.end().get(), SEALED * SEGMENT_BYTES_MIN);
    }

    fn ask(&mut self, kind: FrameKind, rows: &[u8]) -> Option<Query> {
        match self.ledger.ask(kind, rows) {
            Asked::Query(query) => Some(*query),
            Asked::Nothing => None,
            Asked::TrialBalance(_) | Asked::Accounts(..) => panic!("no query"),
        }
    }

    fn job(&self, runs: RunSet, query: Query) -> Job {
        let mut ledgers = AccountLedgers::default();
        while !ledgers.catch_up(&self.ledger) {}
        Job {
            id: 1,
            work: Work::Query(Box::new(query)),
            end: self.log.tail().lsn,
            history: 1,
            ledgers,
            runs: Arc::new(runs),
            abandoned: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The same page from the log with runs, from the log alone, and from memory.
    fn compare(&mut self, kind: FrameKind, rows: &[u8]) -> Option<Page> {
        let query = self.ask(kind, rows)?;
        let expected = query.clone().run(&mut self.memory).unwrap();
        let nothing = self.runs.prefix(0, self.runs.params().dir.clone());
        for runs in [nothing, self.runs.clone()] {
            let mut past = LogPast::new(self.log.reader(), SEGMENT_BYTES_MIN);
            past.show(&self.job(runs, query.clone()));
            let mut query = query.clone();
            let next = loop {
                let turn = query.step(&mut past, &mut Budget::new(3_000)).unwrap();
                if let Some(next) = turn {
                    break next;
                }
            };
            let mut page = query.into_page(next);
            // A page may end earlier or later by what its search costs.
            let mut expected = expected.clone();
            cut_to_shorter(&mut page, &mut expected);
            assert!(page.rows == expected.rows, "{kind:?}");
        }
        self.compared += expected.rows.len();
        Some(expected)
    }
}

fn cut_to_shorter(one: &mut Page, two: &mut Page) {
    use kanjo_engine::query::Rows;
    fn cut<T>(one: &mut Vec<T>, two: &mut Vec<T>) {
        let rows = one.len().min(two.len());
        one.truncate(rows);
        two.truncate(rows);
    }
    if one.next == 0 && two.next == 0 {
        return;
    }
    match (&mut one.rows, &mut two.rows) {
        (Rows::Transfers(one), Rows::Transfers(two)) => cut(one, two),
        (Rows::Balances(one), Rows::Balances(two)) => cut(one, two),
        (Rows::Lines(one), Rows::Lines(two)) => cut(one, two),
        (Rows::Feed(one), Rows::Feed(two)) => cut(one, two),
        _ => panic!("rows of two kinds"),
    }
}

#[test]
fn the_log_with_runs_answers_as_the_same_batches_in_memory_do() {
    let mut desk = Desk::new();
    desk.open_accounts();
    while desk.log.tail().lsn.get() < (SEGMENTS - 1) * SEGMENT_BYTES_MIN + SEGMENT_BYTES_MIN / 2 {
        desk.step();
    }
    desk.derive();
    let end = desk.now;
    for round in 0..8_u64 {
        let times = [desk.draw.below(end), desk.draw.below(end)];
        let (min, max) = (times[0].min(times[1]), times[0].max(times[1]));
        let some = |draw: &mut Draw, of| {
            if draw.below(2) == 0 {
                0
            } else {
                draw.below(of)
            }
        };
        let filter = AccountFilterBody {
            account_id: u128::from(1 + desk.draw.below(ACCOUNTS)).into(),
            user_data_64: some(&mut desk.draw, 5).into(),
            code: (some(&mut desk.draw, 4) as u16).into(),
            timestamp_min: min.into(),
            timestamp_max: max.into(),
            limit: (1 + desk.draw.below(3_000) as u32).into(),
            flags: (1 + desk.draw.below(7) as u32).into(),
            ..AccountFilterBody::default()
        };
        desk.compare(FrameKind::GetAccountTransfers, filter.as_bytes());
        desk.compare(FrameKind::GetAccountBalances, filter.as_bytes());
        let query = QueryFilterBody {
            user_data_64: filter.user_data_64,
            user_data_32: (some(&mut desk.draw, 3) as u32).into(),
            ledger: (some(&mut desk.draw, 3) as u32).into(),
            code: filter.code,
            timestamp_min: min.into(),
            timestamp_max: max.into(),
            limit: filter.limit,
            flags: (round as u32 % 2).into(),
            ..QueryFilterBody::default()
        };
        desk.compare(FrameKind::QueryTransfers, query.as_bytes());
        let unit = Span::from_number(round as u32 % 3).unwrap();
        let (from, to) = match unit {
            Span::Timestamp => (min, max),
            Span::BusinessDate => (20_260_100 + min % 30, 20_260_100 + max % 30),
            Span::Lsn => (
                min % desk.log.tail().lsn.get(),
                max % desk.log.tail().lsn.get(),
            ),
        };
        let statement = StatementBody {
            account_id: filter.account_id,
            unit: (unit as u32).into(),
            limit: filter.limit,
            from: from.min(to).into(),
            to: from.max(to).into(),
            ..StatementBody::default()
        };
        desk.compare(FrameKind::GetStatement, statement.as_bytes());
        let moments = [from, to].map(|at| BalanceAsOfBody {
            account_id: filter.account_id,
            at: at.into(),
            unit: (unit as u32).into(),
            ..BalanceAsOfBody::default()
        });
        desk.compare(FrameKind::GetBalancesAsOf, moments.as_bytes());
        let feed = FeedBody {
            from: (min % desk.log.tail().lsn.get()).into(),
            limit: 2_000.into(),
            ..FeedBody::default()
        };
        desk.compare(FrameKind::ReadFeed, feed.as_bytes());
        let most = desk.next_id as u64 + 100;
        let ids: Vec<u128> = (0..50).map(|_| desk.draw.below(most).into()).collect();
        desk.compare(FrameKind::LookupOutcomes, ids.as_bytes());
    }
    assert!(desk.compared > 1_000, "the questions had answers");
}
