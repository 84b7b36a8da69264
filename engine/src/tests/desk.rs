//! A stand-in for the node: keeps the batches that a ledger makes, and reads them back.

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::{
    AccountBody, AccountChangeBody, CloseDayBody, FrameKind, ResultRun, TransferBody,
    TransferDetailBody,
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
pub(super) const SEGMENT_BYTES: u64 = 1 << 20;

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
    /// End of the old part, which is found by a walk.
    pub(super) old: Lsn,
}

impl Log {
    fn old_movements(&self) -> Vec<(RecordAt, Movement)> {
        let mut all = Vec::new();
        for batch in self.batches.iter().filter(|b| b.end <= self.old) {
            each_movement(&batch.header, &batch.payload, |at, movement| {
                all.push((at, movement));
                Ok::<_, PayloadError>(())
            })
            .unwrap();
        }
        all
    }

    fn old_transfers(&self) -> impl Iterator<Item = (RecordAt, Transfer)> {
        let all = self.old_movements().into_iter();
        all.filter_map(|(at, movement)| match movement {
            Movement::Transfer(transfer) => Some((at, transfer)),
            _ => None,
        })
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
        let all = self.old_movements().into_iter();
        let mut found = all.filter_map(|(at, movement)| match movement {
            Movement::Transfer(transfer) if transfer.id == id => Some(Entry::Posted(at)),
            Movement::Failed(row) if row.id.get() == id.get() => {
                let result = CreateTransferResult::from_number(row.result.get());
                Some(Entry::Failed(result.unwrap()))
            }
            _ => None,
        });
        Ok(found.next())
    }

    fn resolution_of(&mut self, pending: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        let all = self.old_movements().into_iter();
        let mut found = all.filter_map(|(at, movement)| match movement {
            Movement::Expired(expired) if expired.pending == pending => {
                Some(Resolution::Expired(at))
            }
            Movement::Transfer(transfer) => match transfer.form {
                Form::PostsPending(p) if p == pending => Some(Resolution::Posted(at)),
                Form::VoidsPending(p) if p == pending => Some(Resolution::Voided(at)),
                _ => None,
            },
            _ => None,
        });
        Ok(found.next())
    }

    fn reversal_of(&mut self, original: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        let mut all = self.old_transfers();
        let found = all.find(|(_, transfer)| transfer.form == Form::Reverses(original));
        Ok(found.map(|(at, _)| at))
    }

    fn has_transfer_at_time(&mut self, timestamp: Timestamp) -> Result<bool, HistoryError> {
        Ok(self.old_transfers().any(|(_, t)| t.timestamp == timestamp))
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

    pub(super) fn detailed(&mut self, event: TransferDetailBody) -> u32 {
        self.run(&Request::Details(vec![event]))[0].0
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

/// Asserts that two ledgers cannot be told apart by anything that anybody can see.
pub(super) fn assert_same(one: &Ledger, two: &Ledger, log: &mut Log, ids: &[u128]) {
    assert_eq!(one.digest(), two.digest());
    assert_eq!(one.log_time(), two.log_time());
    assert_eq!(one.applied(), two.applied());
    assert_eq!(one.trial_balance(), two.trial_balance());
    assert_eq!(one.reign(), two.reign());
    assert_eq!(one.account_count(), two.account_count());
    assert_eq!(one.index().len(), two.index().len());
    one.audit().unwrap();
    two.audit().unwrap();
    for &id in ids {
        assert_eq!(lookup_account(one, id), lookup_account(two, id));
        let entry: Option<Entry> = one.index().find(TransferId::new(id));
        assert_eq!(entry, two.index().find(TransferId::new(id)));
        assert_eq!(lookup_transfer(one, log, id), lookup_transfer(two, log, id));
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
