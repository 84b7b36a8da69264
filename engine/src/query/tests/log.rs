//! A log that is made of drawn numbers, and what all queries read of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::TransferFlags;
use kanjo_format::columns::push_group;
use kanjo_format::movement::{self, Expired, Form, Transfer};
use kanjo_format::record::{
    AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, PendingRow, RecordKind, ResolvedRow,
    Row, TransferRow,
};
use kanjo_format::{
    AccountNumber, BatchHeader, Chain, ClusterId, Epoch, LedgerId, Lsn, RecordAt, Timestamp,
    TransferId,
};

use crate::query::calendar::Closing;
use crate::query::walk::Event;
use crate::query::{Balances, Calendar, Key, MemoryPast, Past, PastBatch, PastError};

pub(super) const ACCOUNTS: u32 = 5;
const SEGMENT_BYTES: u64 = 64 << 10;

/// What the log was made of.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    pub(super) at: RecordAt,
    pub(super) event: Event,
    /// Of a resolution or an expiry, what was reserved before it.
    pub(super) released: u128,
}

/// Makes a log record by record.
pub(super) struct Maker {
    pub(super) past: MemoryPast,
    pub(super) all: Vec<Happened>,
    pub(super) days: Vec<Closing>,
    open: Vec<(RecordAt, AccountNumber, AccountNumber, u128)>,
    payload: Vec<u8>,
    count: usize,
    first: u64,
    last_transfer: u64,
    next_id: u128,
}

impl Maker {
    pub(super) fn new() -> Self {
        let mut past = MemoryPast::default();
        let ledgers = (0..ACCOUNTS).map(|n| LedgerId::new(1 + n % 2));
        past.ledgers_mut().extend(ledgers);
        Self {
            past,
            all: Vec::new(),
            days: Vec::new(),
            open: Vec::new(),
            payload: Vec::new(),
            count: 0,
            first: 1_000,
            last_transfer: 0,
            next_id: 1,
        }
    }

    fn at(&self) -> RecordAt {
        RecordAt::new(self.past.end(), self.count)
    }

    fn push<R: Row>(&mut self, kind: RecordKind, row: R) {
        push_group(&mut self.payload, kind, &[row]);
        self.count += 1;
        if self.count == 40 {
            self.finish(0);
        }
    }

    pub(super) fn finish(&mut self, flags: u16) {
        let place = self.past.batches().last();
        let header = BatchHeader::build(
            &BatchFields {
                cluster: ClusterId::new(1),
                epoch: Epoch::from_terms(1, 1),
                lsn: self.past.end(),
                flags,
                record_count: self.count as u32,
                timestamp: Timestamp::new(self.first),
                confirmed: Lsn::ZERO,
                prev_chain: place.map_or(Chain::default(), |b| b.header.chain_after(&b.payload)),
            },
            &self.payload,
        );
        let end = header.end(SEGMENT_BYTES);
        let payload = std::mem::take(&mut self.payload);
        self.past.push(&header, &payload, end);
        self.first += self.count as u64 + 3;
        self.count = 0;
    }

    fn note(&mut self, event: Event, released: u128) {
        let at = self.at();
        if let Event::Transfer(transfer) = &event {
            self.last_transfer = transfer.timestamp.get();
            if transfer.form == Form::Reserves {
                let (debit, credit) = (transfer.debit, transfer.credit);
                self.open.push((at, debit, credit, transfer.amount));
            }
        }
        let happened = Happened {
            at,
            event,
            released,
        };
        self.all.push(happened);
    }

    /// One more thing happens, as the drawn numbers say.
    pub(super) fn happen(&mut self, [what, one, two, three]: [u8; 4]) {
        match what % 16 {
            0..=4 => self.transfer(what, one, two, three, 0),
            5 | 6 => self.resolve(RecordKind::PendingPosted, one, three),
            7 => self.resolve(RecordKind::PendingVoided, one, three),
            8 => self.expire(one),
            9 => self.transfer(what, one, two, three, 1),
            10 => self.transfer(what, one, two, three, 2),
            11 => self.close_day(one),
            12 => self.push(RecordKind::AccountOpened, AccountRow::default()),
            13 => self.push(RecordKind::TransferFailed, FailedRow::default()),
            14 if self.count > 0 => self.finish(0),
            14 => self.finish(FLAG_SEGMENT_END),
            _ => {
                if self.count > 0 {
                    self.finish(0);
                }
                self.first += u64::from(one) * 100;
            }
        }
    }

    /// Reserves so much between two accounts.
    pub(super) fn reserve(&mut self, debit: u32, credit: u32, amount: u128) {
        let row = PendingRow {
            transfer: TransferRow {
                id: 1.into(),
                amount: amount.into(),
                debit_account: debit.into(),
                credit_account: credit.into(),
                code: 1.into(),
                ..TransferRow::default()
            },
            ..PendingRow::default()
        };
        let transfer = movement::pending(&row, Timestamp::new(self.first));
        self.note(Event::Transfer(transfer), 0);
        self.push(RecordKind::TransferPending, row);
    }

    fn transfer(&mut self, what: u8, one: u8, two: u8, three: u8, detailed: u8) {
        // Both accounts are of one ledger.
        let debit = u32::from(one) % ACCOUNTS;
        let credit = (debit + 2 * (1 + u32::from(two) % 2)) % (ACCOUNTS - 1);
        let credit = if credit == debit {
            (debit + 2) % 4
        } else {
            credit
        };
        let now = self.first + self.count as u64;
        let earliest = self.last_transfer + 1;
        let mut transfer = Transfer {
            id: TransferId::new(self.next_id),
            debit: AccountNumber::new(debit),
            credit: AccountNumber::new(credit),
            amount: u128::from(two) + 1,
            form: if what % 16 == 4 {
                Form::Reserves
            } else {
                Form::Posts
            },
            timestamp: Timestamp::new(now),
            user_data_128: u128::from(three % 3),
            user_data_64: u64::from(three / 3 % 3),
            user_data_32: u32::from(three / 9 % 3),
            timeout: 0,
            code: u16::from(three / 27 % 3) + 1,
            flags: 0,
            value_date: 0,
            business_date: 0,
        };
        self.next_id += 1;
        if transfer.form == Form::Reserves {
            transfer.flags = TransferFlags::PENDING;
        }
        let mut imported = 0;
        if detailed == 1 && earliest < now {
            imported = earliest + u64::from(two) * (now - 1 - earliest) / 255;
            transfer.timestamp = Timestamp::new(imported);
            transfer.flags |= TransferFlags::IMPORTED;
        }
        if detailed == 2 {
            let closed = self.days.last().map_or(0, |day| day.closed);
            transfer.business_date = closed + 1 + u32::from(two) % 5;
        }
        self.note(Event::Transfer(transfer), 0);
        let row = TransferRow {
            id: transfer.id.get().into(),
            amount: transfer.amount.into(),
            user_data_128: transfer.user_data_128.into(),
            user_data_64: transfer.user_data_64.into(),
            debit_account: debit.into(),
            credit_account: credit.into(),
            user_data_32: transfer.user_data_32.into(),
            code: transfer.code.into(),
            flags: transfer.flags.into(),
        };
        match (detailed, transfer.form) {
            (0, Form::Posts) => self.push(RecordKind::TransferPosted, row),
            (0, _) => self.push(
                RecordKind::TransferPending,
                PendingRow {
                    transfer: row,
                    ..PendingRow::default()
                },
            ),
            _ => self.push(
                RecordKind::TransferDetailed,
                DetailedRow {
                    id: row.id,
                    amount: row.amount,
                    user_data_128: row.user_data_128,
                    user_data_64: row.user_data_64,
                    timestamp: imported.into(),
                    debit_account: row.debit_account,
                    credit_account: row.credit_account,
                    user_data_32: row.user_data_32,
                    business_date: transfer.business_date.into(),
                    code: row.code,
                    flags: row.flags,
                    ..DetailedRow::default()
                },
            ),
        }
    }

    fn resolve(&mut self, kind: RecordKind, one: u8, three: u8) {
        let Some(open) = self.open.len().checked_sub(1) else {
            return;
        };
        let (at, debit, credit, reserved) = self.open.swap_remove(usize::from(one) % (open + 1));
        let posts = kind == RecordKind::PendingPosted;
        let transfer = Transfer {
            id: TransferId::new(self.next_id),
            debit,
            credit,
            amount: if posts { reserved / 2 + 1 } else { reserved },
            form: match posts {
                true => Form::PostsPending(at),
                false => Form::VoidsPending(at),
            },
            timestamp: Timestamp::new(self.first + self.count as u64),
            user_data_128: u128::from(three % 3),
            user_data_64: 0,
            user_data_32: 0,
            timeout: 0,
            code: 1,
            flags: 0,
            value_date: 0,
            business_date: 0,
        };
        self.next_id += 1;
        self.note(Event::Transfer(transfer), reserved);
        let row = ResolvedRow {
            id: transfer.id.get().into(),
            amount: transfer.amount.into(),
            user_data_128: transfer.user_data_128.into(),
            pending: at.packed().into(),
            debit_account: debit.get().into(),
            credit_account: credit.get().into(),
            code: 1.into(),
            ..ResolvedRow::default()
        };
        self.push(kind, row);
    }

    fn expire(&mut self, one: u8) {
        let Some(open) = self.open.len().checked_sub(1) else {
            return;
        };
        let (pending, debit, credit, reserved) =
            self.open.swap_remove(usize::from(one) % (open + 1));
        let expired = Expired {
            pending,
            debit,
            credit,
        };
        let now = self.first + self.count as u64;
        self.note(Event::Expired(expired, now), reserved);
        let row = ExpiredRow {
            pending: pending.packed().into(),
            debit_account: debit.get().into(),
            credit_account: credit.get().into(),
        };
        self.push(RecordKind::PendingExpired, row);
    }

    fn close_day(&mut self, one: u8) {
        let closed = self.days.last().map_or(0, |day| day.next);
        let next = closed + 1 + u32::from(one) % 3;
        self.days.push(Closing {
            at: self.at(),
            closed,
            next,
        });
        let row = DayRow {
            closed: closed.into(),
            next: next.into(),
        };
        self.push(RecordKind::DayClosed, row);
    }

    pub(super) fn calendar(&self) -> Calendar {
        Calendar::new(self.days.clone().into())
    }
}

/// The same past with posting lists and bases up to some place.
#[derive(Clone)]
pub(super) struct IndexedPast {
    past: MemoryPast,
    to: Lsn,
    lists: Arc<BTreeMap<Key, Vec<RecordAt>>>,
    bases: Arc<Vec<(RecordAt, [Balances; ACCOUNTS as usize])>>,
    has_dated: bool,
}

impl IndexedPast {
    /// Indexed up to the batch of that number.
    pub(super) fn new(maker: &Maker, batches: usize, has_dated: bool) -> Self {
        let past = maker.past.clone();
        let to = match batches.checked_sub(1).map(|last| past.batches().get(last)) {
            Some(Some(batch)) => batch.end,
            Some(None) => past.end(),
            None => Lsn::ZERO,
        };
        let mut lists: BTreeMap<Key, Vec<RecordAt>> = BTreeMap::new();
        let mut balances = [Balances::default(); ACCOUNTS as usize];
        let mut bases = vec![(RecordAt::MIN, balances)];
        for (n, happened) in maker.all.iter().enumerate() {
            let (at, event) = (happened.at, &happened.event);
            if at.lsn() >= to {
                break;
            }
            let mut put = |key| lists.entry(key).or_default().push(at);
            let (debit, credit) = event.accounts();
            put(Key::Account(debit));
            put(Key::Account(credit));
            put(Key::Debits(debit));
            put(Key::Credits(credit));
            if let Event::Transfer(transfer) = event {
                put(Key::Code(transfer.code));
                put(Key::Ledger(past.ledger_of(debit).unwrap()));
                put(Key::UserData128(transfer.user_data_128));
                put(Key::UserData64(transfer.user_data_64));
                put(Key::UserData32(transfer.user_data_32));
                if transfer.business_date != 0 {
                    put(Key::Dated);
                }
            }
            if n % 7 == 3 {
                bases.push((at, balances));
            }
            for account in [debit, credit] {
                let number = account.get() as usize;
                naive_apply(&mut balances[number], happened, account);
            }
        }
        Self {
            past,
            to,
            lists: Arc::new(lists),
            bases: Arc::new(bases),
            has_dated,
        }
    }

    fn list(&self, key: Key) -> &[RecordAt] {
        self.lists.get(&key).map_or(&[], Vec::as_slice)
    }
}

impl Past for IndexedPast {
    type Payload = Arc<[u8]>;

    fn end(&self) -> Lsn {
        self.past.end()
    }

    fn batch_from(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError> {
        self.past.batch_from(lsn)
    }

    fn batch_before(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Self::Payload>>, PastError> {
        self.past.batch_before(lsn)
    }

    fn indexed_to(&self) -> Lsn {
        self.to
    }

    fn is_indexed(&self, key: Key) -> bool {
        self.has_dated || key != Key::Dated
    }

    fn seek(&mut self, key: Key, from: RecordAt) -> Result<Option<RecordAt>, PastError> {
        let list = self.list(key);
        Ok(list.get(list.partition_point(|at| *at < from)).copied())
    }

    fn seek_back(&mut self, key: Key, before: RecordAt) -> Result<Option<RecordAt>, PastError> {
        let list = self.list(key);
        let behind = list.partition_point(|at| *at < before);
        Ok(behind.checked_sub(1).map(|last| list[last]))
    }

    fn base(
        &mut self,
        account: AccountNumber,
        before: RecordAt,
    ) -> Result<(RecordAt, Balances), PastError> {
        let behind = self.bases.partition_point(|(at, _)| *at <= before);
        let (at, balances) = self.bases[behind - 1];
        Ok((at, balances[account.get() as usize]))
    }

    fn start_of_time(&mut self, timestamp: u64) -> Result<Lsn, PastError> {
        let early = |batch: &&PastBatch<Arc<[u8]>>| batch.header.last_timestamp().get() < timestamp;
        let early = self.past.batches().iter().take_while(early);
        let last = early.last().map_or(Lsn::ZERO, |batch| batch.header.lsn());
        Ok(last.min(self.to))
    }

    fn find(&mut self, id: TransferId) -> Result<Vec<RecordAt>, PastError> {
        self.past.find(id)
    }

    fn ledger_of(&self, account: AccountNumber) -> Option<LedgerId> {
        self.past.ledger_of(account)
    }
}

/// What a movement does to an account, told a second time.
pub(super) fn naive_apply(balances: &mut Balances, happened: &Happened, account: AccountNumber) {
    let (debit, credit) = happened.event.accounts();
    let (posted, reserved) = match &happened.event {
        Event::Expired(..) => (0, 0),
        Event::Transfer(transfer) => match transfer.form {
            Form::Reserves => (0, transfer.amount),
            Form::VoidsPending(_) => (0, 0),
            _ => (transfer.amount, 0),
        },
    };
    let moved = |pending: &mut u128, sum: &mut u128| {
        *pending = pending
            .wrapping_add(reserved)
            .wrapping_sub(happened.released);
        *sum += posted;
    };
    if debit == account {
        moved(&mut balances.debits_pending, &mut balances.debits_posted);
    }
    if credit == account {
        moved(&mut balances.credits_pending, &mut balances.credits_posted);
    }
}
