//! Small logs of all kinds of movements, made of a list of numbers.

use kanjo_format::batch::BatchFields;
use kanjo_format::client::TransferFlags;
use kanjo_format::columns::push_group;
use kanjo_format::record::{
    AccountRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow, PendingRow, RecordKind,
    ResolvedRow, Row, TransferRow,
};
use kanjo_format::{BatchHeader, Chain, ClusterId, Epoch, Lsn, RecordAt, Timestamp};

pub(super) const CLUSTER: ClusterId = ClusterId::new(7);
pub(super) const SEGMENT_BYTES: u64 = 2 << 20;

#[derive(Clone, Debug)]
pub(super) struct TestBatch {
    pub(super) header: BatchHeader,
    pub(super) payload: Vec<u8>,
}

/// Numbers from one seed (xorshift64*).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}

#[derive(Clone, Copy)]
struct Open {
    at: RecordAt,
    debit: u32,
    credit: u32,
    amount: u128,
}

/// Writes a log whose records fit one another.
pub(super) struct LogWriter {
    random: Random,
    accounts: u32,
    open: Vec<Open>,
    movers: Vec<Open>,
    lsn: u64,
    time: u64,
    next_id: u128,
    payload: Vec<u8>,
    count: usize,
}

impl LogWriter {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed | 1),
            accounts: 0,
            open: Vec::new(),
            movers: Vec::new(),
            lsn: 0,
            time: 1_000,
            next_id: 1,
            payload: Vec::new(),
            count: 0,
        }
    }

    /// A batch of so many groups.
    pub(super) fn batch(&mut self, groups: usize) -> TestBatch {
        self.payload.clear();
        self.count = 0;
        if self.accounts == 0 {
            self.open_accounts();
        }
        for _ in 0..groups {
            self.group();
        }
        let header = BatchHeader::build(
            &BatchFields {
                cluster: CLUSTER,
                epoch: Epoch::from_terms(1, 1),
                lsn: Lsn::new(self.lsn),
                flags: 0,
                record_count: self.count as u32,
                timestamp: Timestamp::new(self.time),
                confirmed: Lsn::ZERO,
                prev_chain: Chain::default(),
            },
            &self.payload,
        );
        self.lsn = header.end(SEGMENT_BYTES).get();
        self.time += self.count as u64 + self.random.below(50);
        TestBatch {
            header,
            payload: self.payload.clone(),
        }
    }

    fn push<R: Row>(&mut self, kind: RecordKind, rows: &[R]) {
        push_group(&mut self.payload, kind, rows);
        self.count += rows.len();
    }

    fn at(&self, n: usize) -> RecordAt {
        RecordAt::new(Lsn::new(self.lsn), self.count + n)
    }

    fn open_accounts(&mut self) {
        let row = |number: u32| AccountRow {
            id: u128::from(number + 1).into(),
            number: number.into(),
            ledger: (1 + number % 2).into(),
            ..AccountRow::default()
        };
        let rows: Vec<AccountRow> = (self.accounts..self.accounts + 3).map(row).collect();
        self.accounts += 3;
        if self.random.below(2) == 0 {
            return self.push(RecordKind::AccountOpened, &rows);
        }
        let imported = rows.iter().map(|account| ImportedAccountRow {
            account: *account,
            timestamp: 5.into(),
        });
        self.push(RecordKind::AccountImported, &imported.collect::<Vec<_>>());
    }

    fn group(&mut self) {
        let rows = 1 + self.random.below(6) as usize;
        match self.random.below(12) {
            0..=3 => {
                let rows: Vec<TransferRow> = (0..rows).map(|n| self.transfer(n)).collect();
                self.push(RecordKind::TransferPosted, &rows);
            }
            4 | 5 => {
                let rows: Vec<PendingRow> = (0..rows)
                    .map(|n| PendingRow {
                        transfer: self.pending(n),
                        timeout: 9.into(),
                        ..PendingRow::default()
                    })
                    .collect();
                self.push(RecordKind::TransferPending, &rows);
            }
            kind @ (6 | 7) => {
                let kind = match kind {
                    6 => RecordKind::PendingPosted,
                    _ => RecordKind::PendingVoided,
                };
                let mut resolved = Vec::new();
                for n in 0..rows {
                    resolved.extend(self.resolve(kind, n));
                }
                if !resolved.is_empty() {
                    self.push(kind, &resolved);
                }
            }
            8 => {
                let expired: Vec<ExpiredRow> = (0..rows)
                    .map_while(|_| self.settle())
                    .map(|open| ExpiredRow {
                        pending: open.at.packed().into(),
                        debit_account: open.debit.into(),
                        credit_account: open.credit.into(),
                    })
                    .collect();
                if !expired.is_empty() {
                    self.push(RecordKind::PendingExpired, &expired);
                }
            }
            9 => {
                let id = self.id();
                let row = FailedRow {
                    id: id.into(),
                    result: 3.into(),
                    ..FailedRow::default()
                };
                self.push(RecordKind::TransferFailed, &[row]);
            }
            10 => {
                let rows: Vec<DetailedRow> = (0..rows).map(|n| self.detailed(n)).collect();
                self.push(RecordKind::TransferDetailed, &rows);
            }
            _ => self.open_accounts(),
        }
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1 + u128::from(self.random.below(3));
        match self.random.below(4) {
            0 => u128::MAX / 2 + self.next_id,
            _ => self.next_id,
        }
    }

    fn row(&mut self) -> TransferRow {
        let id = self.id();
        let debit = self.random.below(self.accounts.into()) as u32;
        let credit =
            (debit + 1 + self.random.below(u64::from(self.accounts) - 1) as u32) % self.accounts;
        let amount = match self.random.below(9) {
            0 => u128::MAX / 1_000,
            1 => u64::MAX.into(),
            _ => self.random.below(1_000).into(),
        };
        TransferRow {
            id: id.into(),
            amount: amount.into(),
            user_data_128: (u128::from(self.random.below(3)) << 90).into(),
            user_data_64: self.random.below(3).into(),
            user_data_32: (self.random.below(3) as u32).into(),
            debit_account: debit.into(),
            credit_account: credit.into(),
            code: (1 + self.random.below(2) as u16).into(),
            ..TransferRow::default()
        }
    }

    fn remember(&self, n: usize, row: &TransferRow) -> Open {
        Open {
            at: self.at(n),
            debit: row.debit_account.get(),
            credit: row.credit_account.get(),
            amount: row.amount.get(),
        }
    }

    fn transfer(&mut self, n: usize) -> TransferRow {
        let row = self.row();
        let mover = self.remember(n, &row);
        self.movers.push(mover);
        row
    }

    fn pending(&mut self, n: usize) -> TransferRow {
        let row = self.row();
        let open = self.remember(n, &row);
        self.open.push(open);
        row
    }

    /// A pending transfer of the past; those of the group that is being made do not count.
    fn settle(&mut self) -> Option<Open> {
        match self.open.len() as u64 {
            0 => None,
            open => Some(self.open.swap_remove(self.random.below(open) as usize)),
        }
    }

    fn resolve(&mut self, kind: RecordKind, _: usize) -> Option<ResolvedRow> {
        let (open, row) = (self.settle()?, self.row());
        let part = open.amount - open.amount / (1 + u128::from(self.random.below(3)));
        Some(ResolvedRow {
            id: row.id,
            amount: match kind {
                RecordKind::PendingVoided => open.amount,
                _ => part,
            }
            .into(),
            user_data_64: row.user_data_64,
            pending: open.at.packed().into(),
            debit_account: open.debit.into(),
            credit_account: open.credit.into(),
            code: row.code,
            ..ResolvedRow::default()
        })
    }

    fn detailed(&mut self, n: usize) -> DetailedRow {
        let row = self.row();
        let plain = DetailedRow {
            id: row.id,
            amount: row.amount,
            user_data_128: row.user_data_128,
            debit_account: row.debit_account,
            credit_account: row.credit_account,
            code: row.code,
            timestamp: (self.time + (self.count + n) as u64).into(),
            ..DetailedRow::default()
        };
        match self.random.below(5) {
            0 => {
                let open = self.remember(n, &row);
                self.open.push(open);
                let flags = TransferFlags::PENDING.into();
                DetailedRow { flags, ..plain }
            }
            1 if !self.movers.is_empty() => {
                let n = self.random.below(self.movers.len() as u64) as usize;
                let original = self.movers.swap_remove(n);
                DetailedRow {
                    debit_account: original.credit.into(),
                    credit_account: original.debit.into(),
                    reverses: 1,
                    ..plain
                }
                .with_related(original.at)
            }
            2 | 3 if !self.open.is_empty() => {
                let open = self.settle().expect("one is open");
                let flags = match self.random.below(2) {
                    0 => TransferFlags::POST_PENDING_TRANSFER,
                    _ => TransferFlags::VOID_PENDING_TRANSFER,
                };
                DetailedRow {
                    amount: open.amount.into(),
                    debit_account: open.debit.into(),
                    credit_account: open.credit.into(),
                    flags: flags.into(),
                    ..plain
                }
                .with_related(open.at)
            }
            _ => plain,
        }
    }
}
