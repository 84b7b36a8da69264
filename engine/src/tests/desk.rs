//! A stand-in for the node: keeps the batches that a ledger makes, and reads them back.

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::{AccountBody, ResultRun, TransferBody};
use kanjo_format::columns::find_row;
use kanjo_format::record::{RecordKind, ReignRow, TransferRow};
use kanjo_format::{
    AccountId, BatchHeader, Chain, ClusterId, Epoch, Lsn, Tail, Timestamp, TransferId,
};

use crate::{
    Entry, HistoryError, HistoryReader, Ledger, OpenBatch, PostedTransfer, RecordAt, Snapshot,
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
}

/// The log of one ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Placed>,
}

impl HistoryReader for Log {
    fn transfer_at(&mut self, at: RecordAt) -> Result<PostedTransfer, HistoryError> {
        let failed = |reason: &str| HistoryError {
            at,
            reason: reason.to_owned(),
        };
        let place = self
            .batches
            .binary_search_by_key(&at.lsn(), |b| b.header.lsn())
            .map_err(|_| failed("no batch starts there"))?;
        let batch = &self.batches[place];
        let kind = RecordKind::TransferPosted;
        let row: Option<TransferRow> = find_row(
            &batch.payload,
            batch.header.record_count(),
            kind,
            at.index(),
        )
        .map_err(|e| failed(&e.to_string()))?;
        Ok(PostedTransfer {
            row: row.ok_or_else(|| failed("another kind of record"))?,
            timestamp: Timestamp::new(batch.header.timestamp().get() + at.index() as u64),
        })
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
        match request {
            Request::Accounts(events) => self.ledger.create_accounts(open, events, &mut runs),
            Request::Transfers(events) => self
                .ledger
                .create_transfers(open, events, &mut self.log, &mut runs)
                .unwrap(),
        }
        runs
    }

    /// One request in a batch of its own: result number and timestamp of each event.
    pub(super) fn run(&mut self, request: &Request) -> Vec<(u32, u64)> {
        let mut open = self.open();
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
