//! The batch that is being built: rows in order of execution, grouped by kind as they come.

use kanjo_format::columns::{group_bytes_max, push_group};
use kanjo_format::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX};
use kanjo_format::record::{AccountRow, FailedRow, RecordKind, ReignRow, TransferRow};
use kanjo_format::{Lsn, Timestamp};

/// Most reign records of one batch; with it any batch fits the payload limit.
const REIGN_RECORDS_MAX: usize = 64;

const _: () = assert!(
    BATCH_RECORDS_MAX * group_bytes_max(size_of::<TransferRow>(), 1)
        + REIGN_RECORDS_MAX * group_bytes_max(size_of::<ReignRow>(), 1)
        <= BATCH_PAYLOAD_BYTES_MAX
);
const _: () = assert!(size_of::<AccountRow>() <= size_of::<TransferRow>());
const _: () = assert!(size_of::<FailedRow>() <= size_of::<TransferRow>());

/// Rows of all kinds, each in order of execution. Kept by the ledger between batches, so that
/// no batch allocates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) reigns: Vec<ReignRow>,
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) transfers: Vec<TransferRow>,
    pub(crate) failed: Vec<FailedRow>,
}

impl Rows {
    fn clear(&mut self) {
        self.reigns.clear();
        self.accounts.clear();
        self.transfers.clear();
        self.failed.clear();
    }
}

/// Consecutive records of one kind.
#[derive(Clone, Copy, Debug)]
struct Group {
    kind: RecordKind,
    /// Index of its first record within the batch.
    first_index: usize,
    /// Place of its first row among the rows of its kind.
    first_row: usize,
    count: usize,
}

/// A batch that is being built. Its records are executed already: they are in the ledger's
/// memory, and the batch must be closed, appended and placed, or the ledger dropped.
#[derive(Debug)]
pub struct OpenBatch {
    pub(crate) lsn: Lsn,
    pub(crate) first: Timestamp,
    groups: Vec<Group>,
    rows: Rows,
    count: usize,
}

/// What a header needs to know of a closed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedBatch {
    /// Where it must be appended.
    pub lsn: Lsn,
    /// Records in its payload.
    pub record_count: u32,
    /// Time of its first record.
    pub timestamp: Timestamp,
}

impl OpenBatch {
    pub(crate) fn new(lsn: Lsn, first: Timestamp, mut rows: Rows) -> Self {
        rows.clear();
        Self {
            lsn,
            first,
            groups: Vec::new(),
            rows,
            count: 0,
        }
    }

    /// Where it will stand.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Records so far.
    pub fn record_count(&self) -> usize {
        self.count
    }

    /// Whether it has no records: then there is nothing to append, see `Ledger::discard_batch`.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many more records it can take. A request takes at most one an event; one with more
    /// events than room needs the next batch.
    pub fn room(&self) -> usize {
        BATCH_RECORDS_MAX - self.count
    }

    /// The most bytes that its payload can take as it is now.
    pub fn payload_bytes_max(&self) -> usize {
        self.groups
            .iter()
            .map(|g| group_bytes_max(g.kind.row_bytes(), g.count))
            .sum()
    }

    /// When its next record happens.
    pub(crate) fn next_timestamp(&self) -> Timestamp {
        Timestamp::new(self.first.get() + self.count as u64)
    }

    pub(crate) fn push_account(&mut self, row: AccountRow) {
        self.note(RecordKind::AccountOpened, self.rows.accounts.len());
        self.rows.accounts.push(row);
    }

    pub(crate) fn push_transfer(&mut self, row: TransferRow) {
        self.note(RecordKind::TransferPosted, self.rows.transfers.len());
        self.rows.transfers.push(row);
    }

    pub(crate) fn push_failed(&mut self, row: FailedRow) {
        self.note(RecordKind::TransferFailed, self.rows.failed.len());
        self.rows.failed.push(row);
    }

    pub(crate) fn push_reign(&mut self, kind: RecordKind, row: ReignRow) {
        assert!(
            self.rows.reigns.len() < REIGN_RECORDS_MAX,
            "too many reign records in one batch"
        );
        self.note(kind, self.rows.reigns.len());
        self.rows.reigns.push(row);
    }

    fn note(&mut self, kind: RecordKind, first_row: usize) {
        assert!(self.count < BATCH_RECORDS_MAX, "the batch is full");
        match self.groups.last_mut() {
            Some(group) if group.kind == kind => group.count += 1,
            _ => self.groups.push(Group {
                kind,
                first_index: self.count,
                first_row,
                count: 1,
            }),
        }
        self.count += 1;
    }

    /// Posted transfer `index`, if that record is one.
    pub(crate) fn transfer(&self, index: usize) -> Option<(TransferRow, Timestamp)> {
        let after = self.groups.partition_point(|g| g.first_index <= index);
        let group = self.groups.get(after.checked_sub(1)?)?;
        let within = index - group.first_index;
        if group.kind != RecordKind::TransferPosted || within >= group.count {
            return None;
        }
        let timestamp = Timestamp::new(self.first.get() + index as u64);
        Some((self.rows.transfers[group.first_row + within], timestamp))
    }

    /// All posted transfers with their index within the batch.
    pub(crate) fn transfers(&self) -> impl Iterator<Item = (usize, &TransferRow)> {
        self.groups
            .iter()
            .filter(|g| g.kind == RecordKind::TransferPosted)
            .flat_map(|g| {
                let rows = &self.rows.transfers[g.first_row..g.first_row + g.count];
                rows.iter()
                    .enumerate()
                    .map(|(n, row)| (g.first_index + n, row))
            })
    }

    /// Appends the payload, and gives the rows back to be used again.
    pub(crate) fn close(self, payload: &mut Vec<u8>) -> Rows {
        let rows = &self.rows;
        for group in &self.groups {
            let range = group.first_row..group.first_row + group.count;
            match group.kind {
                RecordKind::EpochStart | RecordKind::SetChange => {
                    push_group(payload, group.kind, &rows.reigns[range]);
                }
                RecordKind::AccountOpened => push_group(payload, group.kind, &rows.accounts[range]),
                RecordKind::TransferPosted => {
                    push_group(payload, group.kind, &rows.transfers[range]);
                }
                RecordKind::TransferFailed => push_group(payload, group.kind, &rows.failed[range]),
                _ => unreachable!("the ledger makes no other kinds"),
            }
        }
        self.rows
    }
}
