//! The batch that is being built: rows in order of execution, grouped by kind as they come.

mod rows;

use kanjo_format::client::FrameKind;
use kanjo_format::columns::group_bytes_max;
use kanjo_format::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, REQUEST_EVENTS_MAX};
use kanjo_format::movement::{self, Movement, Transfer};
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow,
    PendingRow, RecordKind, ReignRow, ResolvedRow, TransferRow,
};
use kanjo_format::{Lsn, RecordAt, Timestamp};

use rows::Group;
pub(crate) use rows::{Rows, Width};

/// Most reign records of one batch.
const REIGN_RECORDS_MAX: usize = 64;
/// Most bytes of an event of a request whose rows are narrow: each in a group of its own.
const NARROW_BYTES_MAX: usize = group_bytes_max(size_of::<ResolvedRow>(), 1);
/// What a request takes beside its rows if all of its groups but failures have one kind. A failure
/// between two rows costs two headers, which is less than the row in its place would take.
const GROUPS_BYTES_MAX: usize = 128;

/// A full request of each width fits an empty batch, and one of narrow rows fits behind reigns.
const _: () = assert!(
    BATCH_RECORDS_MAX * NARROW_BYTES_MAX
        + REIGN_RECORDS_MAX * group_bytes_max(size_of::<ReignRow>(), 1)
        <= BATCH_PAYLOAD_BYTES_MAX
);
const _: () = assert!(
    REQUEST_EVENTS_MAX * size_of::<DetailedRow>() + GROUPS_BYTES_MAX <= BATCH_PAYLOAD_BYTES_MAX
);
const _: () = assert!(size_of::<TransferRow>() <= size_of::<ResolvedRow>());
const _: () = assert!(size_of::<PendingRow>() <= size_of::<ResolvedRow>());
const _: () = assert!(
    2 * group_bytes_max(0, 0)
        + size_of::<DetailedRow>().div_ceil(4)
        + size_of::<FailedRow>().div_ceil(4)
        + size_of::<FailedRow>()
        <= size_of::<DetailedRow>()
);

/// A batch that is being built. Its records are executed already: they are in the ledger's
/// memory, and the batch must be closed, appended and placed, or the ledger dropped.
#[derive(Debug)]
pub struct OpenBatch {
    pub(crate) lsn: Lsn,
    pub(crate) first: Timestamp,
    groups: Vec<Group>,
    rows: Rows,
    count: usize,
    /// The most bytes that the groups take.
    bytes: usize,
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

/// The records of a batch up to one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    count: usize,
}

/// Most payload bytes that a request can take.
fn request_bytes_max(kind: FrameKind, events: usize) -> usize {
    let row = match kind {
        FrameKind::CreateAccounts => size_of::<ImportedAccountRow>(),
        FrameKind::CreateTransfers => NARROW_BYTES_MAX,
        FrameKind::CreateTransfersDetailed => size_of::<DetailedRow>(),
        FrameKind::ChangeAccounts => size_of::<AccountChangeRow>(),
        FrameKind::CloseDay => size_of::<DayRow>(),
        FrameKind::BurnIds => size_of::<FailedRow>(),
        _ => return 0,
    };
    events * row + GROUPS_BYTES_MAX
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
            bytes: 0,
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

    /// How many more records it can take. A request takes at most one an event; see
    /// `Ledger::fits_request`, which also knows of bytes and time.
    pub fn room(&self) -> usize {
        BATCH_RECORDS_MAX - self.count
    }

    /// Whether a request has room in records and bytes.
    pub(crate) fn has_room(&self, kind: FrameKind, events: usize) -> bool {
        events <= self.room()
            && self.bytes + request_bytes_max(kind, events) <= BATCH_PAYLOAD_BYTES_MAX
    }

    /// Whether one more expiry has room.
    pub(crate) fn has_room_for_expiry(&self) -> bool {
        let bytes = group_bytes_max(size_of::<ExpiredRow>(), 1);
        self.room() > 0 && self.bytes + bytes <= BATCH_PAYLOAD_BYTES_MAX
    }

    /// The most bytes that its payload can take as it is now.
    pub fn payload_bytes_max(&self) -> usize {
        self.bytes
    }

    /// When its next record happens.
    pub(crate) fn next_timestamp(&self) -> Timestamp {
        Timestamp::new(self.first.get() + self.count as u64)
    }

    /// Where its next record will stand. Panics if it is full.
    #[inline]
    pub(crate) fn next_at(&self) -> RecordAt {
        RecordAt::new(self.lsn, self.count)
    }

    pub(crate) fn push_account(&mut self, row: AccountRow) {
        self.note(RecordKind::AccountOpened);
        self.rows.accounts.push(row);
    }

    pub(crate) fn push_imported(&mut self, row: ImportedAccountRow) {
        self.note(RecordKind::AccountImported);
        self.rows.imported.push(row);
    }

    #[inline]
    pub(crate) fn push_posted(&mut self, row: TransferRow) {
        self.note(RecordKind::TransferPosted);
        self.rows.transfers.push(row);
    }

    pub(crate) fn push_transfer(&mut self, transfer: &Transfer, width: Width) {
        let kind = self.rows.push_transfer(transfer, width);
        self.note_row(kind, self.rows.len(kind) - 1);
    }

    pub(crate) fn push_failed(&mut self, row: FailedRow) {
        self.note(RecordKind::TransferFailed);
        self.rows.failed.push(row);
    }

    pub(crate) fn push_expired(&mut self, row: ExpiredRow) {
        self.note(RecordKind::PendingExpired);
        self.rows.expired.push(row);
    }

    pub(crate) fn push_change(&mut self, row: AccountChangeRow) {
        self.note(RecordKind::AccountChanged);
        self.rows.changes.push(row);
    }

    pub(crate) fn push_day(&mut self, row: DayRow) {
        self.note(RecordKind::DayClosed);
        self.rows.days.push(row);
    }

    pub(crate) fn push_reign(&mut self, kind: RecordKind, row: ReignRow) {
        let bytes = self.bytes + group_bytes_max(size_of::<ReignRow>(), 1);
        assert!(
            self.rows.reigns.len() < REIGN_RECORDS_MAX && bytes <= BATCH_PAYLOAD_BYTES_MAX,
            "too many reign records in one batch"
        );
        self.note(kind);
        self.rows.reigns.push(row);
    }

    /// Notes the row that is pushed next.
    #[inline]
    fn note(&mut self, kind: RecordKind) {
        self.note_row(kind, self.rows.len(kind));
    }

    #[inline]
    fn note_row(&mut self, kind: RecordKind, row: usize) {
        assert!(self.count < BATCH_RECORDS_MAX, "the batch is full");
        match self.groups.last_mut() {
            Some(group) if group.kind == kind => {
                group.count += 1;
                self.bytes += kind.row_bytes();
            }
            _ => {
                self.groups.push(Group {
                    kind,
                    first_index: self.count,
                    first_row: row,
                    count: 1,
                });
                self.bytes += group_bytes_max(kind.row_bytes(), 1);
            }
        }
        self.count += 1;
    }

    /// The records as they are now, to come back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark { count: self.count }
    }

    /// Forgets all records since.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        while let Some(group) = self.groups.last_mut() {
            let before = group.first_index;
            if before < mark.count {
                let kept = mark.count - before;
                if kept < group.count {
                    self.bytes -= (group.count - kept) * group.kind.row_bytes();
                    group.count = kept;
                    self.rows.truncate(group.kind, group.first_row + kept);
                }
                break;
            }
            self.bytes -= group_bytes_max(group.kind.row_bytes(), group.count);
            self.rows.truncate(group.kind, group.first_row);
            self.groups.pop();
        }
        self.count = mark.count;
    }

    /// The transfer that is record `index`, if it is one.
    pub(crate) fn transfer(&self, index: usize) -> Option<Transfer> {
        let after = self.groups.partition_point(|g| g.first_index <= index);
        let group = self.groups.get(after.checked_sub(1)?)?;
        let within = index - group.first_index;
        if within >= group.count {
            return None;
        }
        let recorded = Timestamp::new(self.first.get() + index as u64);
        self.rows
            .transfer(group.kind, group.first_row + within, recorded)
    }

    /// Its movements, as replay is told them.
    pub(crate) fn movements(&self) -> impl Iterator<Item = (RecordAt, Movement)> {
        self.groups.iter().flat_map(move |group| {
            (0..group.count).filter_map(move |n| {
                let (index, row) = (group.first_index + n, group.first_row + n);
                let recorded = Timestamp::new(self.first.get() + index as u64);
                let told = match group.kind {
                    RecordKind::TransferFailed => Movement::Failed(self.rows.failed[row]),
                    RecordKind::PendingExpired => {
                        let expired = movement::expired(&self.rows.expired[row]);
                        Movement::Expired(expired.expect("the ledger made it"))
                    }
                    kind => Movement::Transfer(self.rows.transfer(kind, row, recorded)?),
                };
                Some((RecordAt::new(self.lsn, index), told))
            })
        })
    }

    /// Moves the batch to another place; the rows that name its own records follow.
    pub(crate) fn move_to(&mut self, lsn: Lsn) {
        let from = std::mem::replace(&mut self.lsn, lsn);
        self.rows.repoint(|at| moved(at, from, lsn));
    }

    /// Appends the payload, and gives the rows back to be used again.
    pub(crate) fn close(self, payload: &mut Vec<u8>) -> Rows {
        for group in &self.groups {
            self.rows.push_group(payload, group);
        }
        self.rows
    }
}

/// Where a record stands after its batch was moved.
pub(crate) fn moved(at: RecordAt, from: Lsn, to: Lsn) -> RecordAt {
    match at.lsn() == from {
        true => RecordAt::new(to, at.index()),
        false => at,
    }
}
