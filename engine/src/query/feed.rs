//! The change feed: every committed record in order, a page at a time.
//!
//! A batch that is too large for one page is continued in the next. The place to go on from is
//! then its lsn plus half the number of records that were told, which is less than a page.

use kanjo_format::columns::{Group, Groups, PayloadError};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::movement::{Movement, each_of_group, record_time};
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, FailedRow, ImportedAccountRow, RecordKind, Row,
};
use kanjo_format::{BatchHeader, Epoch, Lsn, RecordAt};

use super::calendar::Calendar;
use super::past::{BATCH_COST, Budget, Past, PastBatch, PastError, transfer_at};
use super::told::Told;

/// One record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedItem {
    /// Where it stands.
    pub at: RecordAt,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// When it was recorded, in nanoseconds.
    pub timestamp: u64,
    /// Its kind.
    pub kind: RecordKind,
    /// What it says.
    pub change: Change,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An account was opened at that time.
    Account(AccountRow, u64),
    /// Terms of an account are these now.
    Terms(AccountChangeRow),
    /// A transfer; or the pending transfer that expired.
    Transfer(Told),
    /// An id failed for ever.
    Failed(FailedRow),
    /// A business date was closed.
    Day(DayRow),
    /// Something about who writes.
    Reign,
}

/// One page of the feed.
#[derive(Clone, Debug)]
pub struct FeedQuery {
    from: Lsn,
    /// Records of the batch there that were told before.
    told: usize,
    limit: usize,
    rows_max: usize,
    calendar: Calendar,
    items: Vec<FeedItem>,
}

impl FeedQuery {
    /// From `from` on, until at least `limit` rows are there; never more than `rows_max`.
    pub fn new(from: u64, limit: usize, calendar: Calendar, rows_max: usize) -> Self {
        let within = from % PAGE_BYTES;
        Self {
            from: Lsn::new(from - within),
            told: 2 * within as usize,
            limit,
            rows_max: rows_max & !1,
            calendar,
            items: Vec::new(),
        }
    }

    /// Where the next page starts, once this one is full or the past ends.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        while self.items.len() < self.limit.max(1) {
            if budget.is_spent() {
                return Ok(None);
            }
            let Some(batch) = past.batch_from(self.from)? else {
                break;
            };
            let lsn = batch.header.lsn();
            let begin = if lsn == self.from { self.told } else { 0 };
            let count = batch.header.record_count() as usize;
            let left = count.saturating_sub(begin);
            if !self.items.is_empty() && self.items.len() + left > self.rows_max {
                self.from = lsn;
                break;
            }
            let end = begin + left.min(self.rows_max);
            self.tell(past, budget, &batch, begin..end)?;
            if end < count {
                return Ok(Some(lsn.get() + end as u64 / 2));
            }
            (self.from, self.told) = (batch.end, 0);
        }
        Ok(Some(self.from.get() + self.told as u64 / 2))
    }

    fn tell<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
        batch: &PastBatch<P::Payload>,
        range: std::ops::Range<usize>,
    ) -> Result<(), PastError> {
        let header = &batch.header;
        budget.spend(BATCH_COST + range.len() as u64);
        let mut changes = Vec::new();
        for group in Groups::new(batch.payload.as_ref(), header.record_count()) {
            let told = group.and_then(|group| changes_of(header, &group, &mut changes));
            let lsn = header.lsn();
            told.map_err(|source| PastError::Payload { lsn, source })?;
        }
        for (index, (kind, found)) in changes.into_iter().enumerate() {
            if !range.contains(&index) {
                continue;
            }
            let at = RecordAt::new(header.lsn(), index);
            let change = match found {
                Found::Change(change) => change,
                Found::Movement(movement) => self.change(past, budget, at, &movement)?,
            };
            self.items.push(FeedItem {
                at,
                epoch: header.epoch(),
                timestamp: record_time(header, index).get(),
                kind,
                change,
            });
        }
        Ok(())
    }

    fn change<P: Past>(
        &self,
        past: &mut P,
        budget: &mut Budget,
        at: RecordAt,
        movement: &Movement,
    ) -> Result<Change, PastError> {
        Ok(match movement {
            Movement::Failed(row) => Change::Failed(*row),
            Movement::Transfer(transfer) => {
                Change::Transfer(Told::of(past, budget, &self.calendar, at, transfer)?)
            }
            Movement::Expired(expired) => {
                let at = expired.pending;
                let pending = transfer_at(past, at)?;
                Change::Transfer(Told::of(past, budget, &self.calendar, at, &pending)?)
            }
        })
    }

    pub(super) fn into_items(self) -> Vec<FeedItem> {
        self.items
    }
}

enum Found {
    Change(Change),
    Movement(Movement),
}

/// Pushes what each record of a group says.
fn changes_of(
    header: &BatchHeader,
    group: &Group<'_>,
    out: &mut Vec<(RecordKind, Found)>,
) -> Result<(), PayloadError> {
    let kind = group.kind;
    let mut push = |change| out.push((kind, Found::Change(change)));
    match kind {
        RecordKind::EpochStart | RecordKind::SetChange => {
            (0..group.count).for_each(|_| push(Change::Reign));
        }
        RecordKind::AccountOpened => {
            for (n, row) in rows::<AccountRow>(group).into_iter().enumerate() {
                let opened = record_time(header, group.first_index + n);
                push(Change::Account(row, opened.get()));
            }
        }
        RecordKind::AccountImported => {
            for row in rows::<ImportedAccountRow>(group) {
                push(Change::Account(row.account, row.timestamp.get()));
            }
        }
        RecordKind::AccountChanged => {
            let rows = rows::<AccountChangeRow>(group).into_iter();
            rows.for_each(|row| push(Change::Terms(row)));
        }
        RecordKind::DayClosed => {
            let rows = rows::<DayRow>(group).into_iter();
            rows.for_each(|row| push(Change::Day(row)));
        }
        _ => {
            return each_of_group(header, group, |_, movement| {
                out.push((kind, Found::Movement(movement)));
                Ok::<_, PayloadError>(())
            });
        }
    }
    Ok(())
}

fn rows<R: Row>(group: &Group<'_>) -> Vec<R> {
    let mut rows = Vec::new();
    group.read_rows(&mut rows);
    rows
}
