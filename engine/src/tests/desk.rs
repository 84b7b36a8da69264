//! A stand-in for the node: keeps the batches that a ledger makes, and reads them back.

use std::collections::{BTreeMap, BTreeSet};

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::{
    AccountBody, AccountChangeBody, CloseDayBody, FrameKind, ResultRun, TransferBody,
    TransferDetailBody, TransferFlags,
};
use kanjo_format::columns::PayloadError;
use kanjo_format::movement::{Form, Movement, Transfer, each_movement, transfer_at};
use kanjo_format::record::{RecordKind, ReignRow};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{
    AccountId, BatchHeader, Chain, ClusterId, Epoch, Lsn, Tail, Timestamp, TransferId,
};

use crate::{
    Entry, HistoryError, HistoryReader, Ledger, OpenBatch, RecordAt, Resolution, Snapshot,
};

pub(super) const CLUSTER: ClusterId = ClusterId::new(0xc1);
pub(super) const SEGMENT_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) header: BatchHeader,
    pub(super) payload: Vec<u8>,
    pub(super) end: Lsn,
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Accounts(Vec<AccountBody>),
    Transfers(Vec<TransferBody>),
    Details(Vec<TransferDetailBody>),
    Changes(Vec<AccountChangeBody>),
    Day(CloseDayBody),
    Burns(Vec<TransferId>),
}

impl Request {
    pub(super) fn kind(&self) -> FrameKind {
        match self {
            Self::Accounts(_) => FrameKind::CreateAccounts,
            Self::Transfers(_) => FrameKind::CreateTransfers,
            Self::Details(_) => FrameKind::CreateTransfersDetailed,
            Self::Changes(_) => FrameKind::ChangeAccounts,
            Self::Day(_) => FrameKind::CloseDay,
            Self::Burns(_) => FrameKind::BurnIds,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Accounts(events) => events.len(),
            Self::Transfers(events) => events.len(),
            Self::Details(events) => events.len(),
            Self::Changes(events) => events.len(),
            Self::Day(_) => 1,
            Self::Burns(ids) => ids.len(),
        }
    }
}

/// The log of one ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Placed>,
    old: Old,
}

/// What runs on disk would hold.
#[derive(Clone, Debug, Default)]
struct Old {
    ids: BTreeMap<TransferId, Entry>,
    resolutions: BTreeMap<RecordAt, Resolution>,
    reversals: BTreeMap<RecordAt, RecordAt>,
    times: BTreeSet<Timestamp>,
}

impl Old {
    fn take(&mut self, at: RecordAt, movement: &Movement) {
        match movement {
            Movement::Failed(row) => {
                let result = CreateTransferResult::from_number(row.result.get()).unwrap();
                let id = TransferId::new(row.id.get());
                self.ids.insert(id, Entry::Failed(result));
            }
            Movement::Expired(expired) => {
                let resolution = Resolution::Expired(at);
                self.resolutions.insert(expired.pending, resolution);
            }
            Movement::Transfer(transfer) => {
                self.ids.insert(transfer.id, Entry::Posted(at));
                self.times.insert(transfer.timestamp);
                match transfer.form {
                    Form::Posts | Form::Reserves => {}
                    Form::PostsPending(pending) => {
                        self.resolutions.insert(pending, Resolution::Posted(at));
                    }
                    Form::VoidsPending(pending) => {
                        self.resolutions.insert(pending, Resolution::Voided(at));
                    }
                    Form::Reverses(original) => {
                        self.reversals.insert(original, at);
                    }
                }
            }
        }
    }
}

impl Log {
    /// From now on the old part of the index holds all below `end`.
    pub(super) fn set_old(&mut self, end: Lsn) {
        let mut old = Old::default();
        for batch in self.batches.iter().filter(|b| b.end <= end) {
            each_movement(&batch.header, &batch.payload, |at, movement| {
                old.take(at, &movement);
                Ok::<_, PayloadError>(())
            })
            .unwrap();
        }
        self.old = old;
    }
}

impl HistoryReader for Log {
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError> {
        let failed = |reason: &str| HistoryError {
            at,
            reason: reason.to_owned(),
        };
        let place = self
            .batches
            .binary_search_by_key(&at.lsn(), |b| b.header.lsn())
            .map_err(|_| failed("no batch starts there"))?;
        let batch = &self.batches[place];
        transfer_at(&batch.header, &batch.payload, at.index())
            .map_err(|e| failed(&e.to_string()))?
            .ok_or_else(|| failed("another kind of record"))
    }

    fn find_id(&mut self, id: TransferId) -> Result<Option<Entry>, HistoryError> {
        Ok(self.old.ids.get(&id).copied())
    }

    fn resolution_of(&mut self, pending: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        Ok(self.old.resolutions.get(&pending).copied())
    }

    fn reversal_of(&mut self, original: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        Ok(self.old.reversals.get(&original).copied())
    }

    fn has_transfer_at_time(&mut self, timestamp: Timestamp) -> Result<bool, HistoryError> {
        Ok(self.old.times.contains(&timestamp))
    }
}

/// A ledger that executes, and its log.
pub(super) struct Desk {
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    pub(super) tail: Tail,
    pub(super) epoch: Epoch,
    pub(super) now: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::new(7),
            log: Log::default(),
            tail: Tail::empty(CLUSTER),
            epoch: Epoch::from_terms(1, 1),
            now: 1_000,
        }
    }

    pub(super) fn open(&mut self) -> OpenBatch {
        self.ledger
            .open_batch(self.tail.lsn, Timestamp::new(self.now))
    }

    /// Closes, appends and places a batch; drops one without records.
    pub(super) fn finish(&mut self, open: OpenBatch) {
        if open.is_empty() {
            return self.ledger.discard_batch(open);
        }
        let most = open.payload_bytes_max();
        let mut payload = vec![1, 2, 3];
        let closed = self.ledger.close_batch(open, &mut payload);
        assert!(payload.len() <= most);
        self.place(0, closed.record_count, closed.timestamp, payload);
    }

    /// Ends the segment, also while a batch is open.
    pub(super) fn end_segment(&mut self) {
        let log_time = self.ledger.log_time();
        self.place(FLAG_SEGMENT_END, 0, log_time, Vec::new());
    }

    fn place(&mut self, flags: u16, record_count: u32, timestamp: Timestamp, payload: Vec<u8>) {
        let header = BatchHeader::build(
            &BatchFields {
                cluster: CLUSTER,
                epoch: self.epoch,
                lsn: self.tail.lsn,
                flags,
                record_count,
                timestamp,
                confirmed: Lsn::ZERO,
                prev_chain: self.tail.chain,
            },
            &payload,
        );
        let end = header.end(SEGMENT_BYTES);
        self.tail = Tail {
            epoch: self.epoch,
            lsn: end,
            chain: header.chain_after(&payload),
        };
        self.log.batches.push(Placed {
            header,
            payload,
            end,
        });
        self.ledger.batch_placed(&header, end);
    }

    pub(super) fn execute(&mut self, open: &mut OpenBatch, request: &Request) -> Vec<ResultRun> {
        let mut runs = Vec::new();
        let (ledger, log) = (&mut self.ledger, &mut self.log);
        match request {
            Request::Accounts(events) => ledger.create_accounts(open, events, log, &mut runs),
            Request::Transfers(events) => ledger.create_transfers(open, events, log, &mut runs),
            Request::Details(events) => {
                ledger.create_transfers_detailed(open, events, log, &mut runs)
            }
            Request::Changes(events) => {
                ledger.change_accounts(open, events, &mut runs);
                Ok(())
            }
            Request::Day(event) => {
                ledger.close_day(open, event, &mut runs);
                Ok(())
            }
            Request::Burns(ids) => ledger.burn_ids(open, ids, log, &mut runs),
        }
        .unwrap();
        runs
    }

    /// A batch into which the request fits, with what is due before it.
    pub(super) fn open_for(&mut self, request: &Request) -> OpenBatch {
        loop {
            let mut open = self.open();
            if (self.ledger).fits_request(&mut open, request.kind(), request.len()) {
                return open;
            }
            self.finish(open);
        }
    }

    /// One request in a batch of its own: result number and timestamp of each event.
    pub(super) fn run(&mut self, request: &Request) -> Vec<(u32, u64)> {
        let mut open = self.open_for(request);
        let runs = self.execute(&mut open, request);
        self.finish(open);
        expand(&runs)
    }

    pub(super) fn account(&mut self, event: AccountBody) -> u32 {
        self.run(&Request::Accounts(vec![event]))[0].0
    }

    pub(super) fn transfer(&mut self, event: TransferBody) -> u32 {
        self.run(&Request::Transfers(vec![event]))[0].0
    }

    /// How one transfer ends that is asked for in a request of its own.
    pub(super) fn ends(&mut self, event: TransferBody) -> CreateTransferResult {
        CreateTransferResult::from_number(self.transfer(event)).unwrap()
    }

    /// How several end that are asked for together.
    pub(super) fn all_end(&mut self, events: Vec<TransferBody>) -> Vec<CreateTransferResult> {
        let results = self.run(&Request::Transfers(events)).into_iter();
        results
            .map(|(result, _)| CreateTransferResult::from_number(result).unwrap())
            .collect()
    }

    pub(super) fn detail_ends(&mut self, event: TransferDetailBody) -> CreateTransferResult {
        let results = self.run(&Request::Details(vec![event]));
        CreateTransferResult::from_number(results[0].0).unwrap()
    }

    pub(super) fn reign(&mut self, kind: RecordKind, row: ReignRow) {
        let mut open = self.open();
        self.ledger.append_reign(&mut open, kind, self.epoch, row);
        self.finish(open);
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.ledger.snapshot(CLUSTER, self.tail)
    }

    /// A ledger that replays the whole log.
    pub(super) fn replayed(&self) -> Ledger {
        let mut ledger = Ledger::new(99);
        for batch in &self.log.batches {
            ledger
                .apply(&batch.header, &batch.payload, batch.end)
                .unwrap();
        }
        ledger
    }
}

/// One result and timestamp an event.
pub(super) fn expand(runs: &[ResultRun]) -> Vec<(u32, u64)> {
    let mut all = Vec::new();
    for run in runs {
        for n in 0..u64::from(run.count.get()) {
            let created = run.result.get() == u32::MAX;
            let passed = if created { n } else { 0 };
            all.push((run.result.get(), run.timestamp.get() + passed));
        }
    }
    all
}

pub(super) fn lookup_account(ledger: &Ledger, id: u128) -> Option<AccountBody> {
    let mut found = Vec::new();
    ledger.lookup_accounts([AccountId::new(id)], &mut found);
    found.pop()
}

pub(super) fn lookup_transfer(ledger: &Ledger, log: &mut Log, id: u128) -> Option<TransferBody> {
    let mut found = Vec::new();
    ledger
        .lookup_transfers([TransferId::new(id)], None, log, &mut found)
        .unwrap();
    found.pop()
}

/// Asserts that two ledgers cannot be told apart by anything that anybody can see. They may hold
/// different parts of the index.
pub(super) fn assert_alike(one: &Ledger, two: &Ledger, log: &mut Log, ids: &[u128]) {
    assert_eq!(one.digest(), two.digest());
    assert_eq!(one.log_time(), two.log_time());
    assert_eq!(one.applied(), two.applied());
    assert_eq!(one.trial_balance(), two.trial_balance());
    assert_eq!(one.reign(), two.reign());
    assert_eq!(one.account_count(), two.account_count());
    assert_eq!(one.pending_count(), two.pending_count());
    assert_eq!(one.next_expiry(), two.next_expiry());
    assert_eq!(one.business_days(), two.business_days());
    assert_eq!(one.books.transfer_time, two.books.transfer_time);
    one.audit().unwrap();
    two.audit().unwrap();
    let seen = |ledger: &Ledger, log: &mut Log| {
        let (mut accounts, mut terms) = (Vec::new(), Vec::new());
        let (mut details, mut outcomes) = (Vec::new(), Vec::new());
        ledger.lookup_accounts(ids.iter().map(|&id| AccountId::new(id)), &mut accounts);
        ledger.lookup_terms(ids.iter().map(|&id| AccountId::new(id)), &mut terms);
        let transfers = || ids.iter().map(|&id| TransferId::new(id));
        ledger
            .lookup_transfer_details(transfers(), None, log, &mut details)
            .unwrap();
        ledger
            .lookup_outcomes(transfers(), None, log, &mut outcomes)
            .unwrap();
        (accounts, terms, details, outcomes)
    };
    assert_eq!(seen(one, log), seen(two, log));
}

/// The same, and they hold the same part of the index.
pub(super) fn assert_same(one: &Ledger, two: &Ledger, log: &mut Log, ids: &[u128]) {
    assert_alike(one, two, log, ids);
    assert_eq!(one.index().len(), two.index().len());
    assert_eq!(one.index().start(), two.index().start());
    for &id in ids {
        let entry: Option<Entry> = one.index().find(TransferId::new(id));
        assert_eq!(entry, two.index().find(TransferId::new(id)));
    }
}

pub(super) fn account(id: u128, ledger: u32, flags: u16) -> AccountBody {
    AccountBody {
        id: id.into(),
        ledger: ledger.into(),
        code: 1.into(),
        flags: flags.into(),
        ..AccountBody::default()
    }
}

pub(super) fn transfer(id: u128, debit: u128, credit: u128, amount: u128) -> TransferBody {
    TransferBody {
        id: id.into(),
        debit_account_id: debit.into(),
        credit_account_id: credit.into(),
        amount: amount.into(),
        ledger: 1.into(),
        code: 1.into(),
        ..TransferBody::default()
    }
}

/// Some chain that is not the genesis.
pub(super) fn chain(byte: u8) -> Chain {
    Chain::new([byte; 32])
}

/// A pending transfer.
pub(super) fn pending(
    id: u128,
    debit: u128,
    credit: u128,
    amount: u128,
    timeout: u32,
) -> TransferBody {
    TransferBody {
        timeout: timeout.into(),
        flags: TransferFlags::PENDING.into(),
        ..transfer(id, debit, credit, amount)
    }
}

/// Posts a pending transfer, or a part of it.
pub(super) fn post(id: u128, pending: u128, amount: u128) -> TransferBody {
    TransferBody {
        id: id.into(),
        pending_id: pending.into(),
        amount: amount.into(),
        flags: TransferFlags::POST_PENDING_TRANSFER.into(),
        ..TransferBody::default()
    }
}

/// Voids a pending transfer.
pub(super) fn void(id: u128, pending: u128) -> TransferBody {
    TransferBody {
        flags: TransferFlags::VOID_PENDING_TRANSFER.into(),
        ..post(id, pending, 0)
    }
}

/// The same with more flags.
pub(super) fn with(event: TransferBody, flags: u16) -> TransferBody {
    TransferBody {
        flags: (event.flags.get() | flags).into(),
        ..event
    }
}

/// Balances of an account: debits pending and posted, credits pending and posted.
pub(super) fn balances(desk: &Desk, id: u128) -> [u128; 4] {
    let account = lookup_account(&desk.ledger, id).unwrap();
    [
        account.debits_pending.get(),
        account.debits_posted.get(),
        account.credits_pending.get(),
        account.credits_posted.get(),
    ]
}
