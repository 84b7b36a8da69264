//! From moments to places.
//!
//! Along the log the times of records rise, and so do those of transfers. Both are the same but
//! for imported transfers, whose times lie in the past of their records.

use kanjo_format::columns::{Group, Groups};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::movement::record_time;
use kanjo_format::record::{DetailedRow, RecordKind};
use kanjo_format::{BatchHeader, Lsn, RecordAt};

use super::past::{Past, PastBatch, PastError, start_of};

/// Every record in front of this place happened earlier than `timestamp`, all others then or later.
pub(super) fn record_place<P: Past>(past: &mut P, timestamp: u64) -> Result<RecordAt, PastError> {
    let low = past.start_of_time(timestamp)?;
    let lsn = first_page(low, past.end(), |lsn| {
        Ok(match past.batch_from(lsn)? {
            Some(batch) => {
                let late = batch.header.timestamp().get() >= timestamp;
                (late, Some(batch.header.lsn()))
            }
            None => (true, None),
        })
    })?;
    let Some(batch) = past.batch_before(lsn)? else {
        return Ok(start_of(lsn));
    };
    let within = timestamp.saturating_sub(batch.header.timestamp().get());
    if within < u64::from(batch.header.record_count()) {
        return Ok(RecordAt::new(batch.header.lsn(), within as usize));
    }
    Ok(start_of(lsn))
}

/// In front of this place nothing happened to an account that was opened at `opened`. Where posting
/// lists tell what did happen, it is not looked for more exactly than the index does.
pub(super) fn opened_place<P: Past>(past: &mut P, opened: u64) -> Result<RecordAt, PastError> {
    match past.indexed_to() {
        Lsn::ZERO => record_place(past, opened),
        _ => past.start_of_time(opened).map(start_of),
    }
}

/// Every transfer in front of this place has a time earlier than `timestamp`, all others that or
/// a later one.
pub(super) fn transfer_place<P: Past>(past: &mut P, timestamp: u64) -> Result<RecordAt, PastError> {
    // A transfer is recorded when it happened, or later.
    let low = past.start_of_time(timestamp)?;
    let lsn = first_page(low, past.end(), |lsn| {
        let mut next = lsn;
        while let Some(batch) = past.batch_from(next)? {
            let first = transfer_times(&batch, |times| times.next())?;
            if let Some((_, first)) = first {
                return Ok((first >= timestamp, Some(batch.header.lsn())));
            }
            next = batch.end;
        }
        Ok((true, None))
    })?;
    let Some(batch) = past.batch_before(lsn)? else {
        return Ok(start_of(lsn));
    };
    let found = transfer_times(&batch, |mut times| {
        Iterator::find(&mut times, |(_, time)| *time >= timestamp)
    })?;
    Ok(match found {
        Some((index, _)) => RecordAt::new(batch.header.lsn(), index),
        None => start_of(lsn),
    })
}

/// The first page from `low` on for which `is_late` holds; it holds for all behind one. It also
/// says which batch it looked at: where it does not hold, it does not up to there. Looks near
/// `low` first, in steps that double.
fn first_page(
    low: Lsn,
    high: Lsn,
    mut is_late: impl FnMut(Lsn) -> Result<(bool, Option<Lsn>), PastError>,
) -> Result<Lsn, PastError> {
    let (mut low, mut high) = (low.get() / PAGE_BYTES, high.get().div_ceil(PAGE_BYTES));
    let mut step = 1;
    while low < high {
        let near = low.saturating_add(step - 1);
        let middle = near.min(low + (high - low) / 2);
        step = step.saturating_mul(4);
        match is_late(Lsn::new(middle * PAGE_BYTES))? {
            (true, _) => high = middle,
            (false, seen) => {
                let seen = seen.map_or(middle, |lsn| lsn.get() / PAGE_BYTES);
                low = seen.max(middle) + 1;
            }
        }
    }
    Ok(Lsn::new(low * PAGE_BYTES))
}

/// Gives `take` the transfers of a batch: index and time, in order.
fn transfer_times<P: AsRef<[u8]>, T>(
    batch: &PastBatch<P>,
    take: impl FnOnce(&mut dyn Iterator<Item = (usize, u64)>) -> Option<T>,
) -> Result<Option<T>, PastError> {
    let header = &batch.header;
    let groups = Groups::new(batch.payload.as_ref(), header.record_count());
    let groups: Result<Vec<Group<'_>>, _> = groups.collect();
    let groups = groups.map_err(|source| PastError::Payload {
        lsn: header.lsn(),
        source,
    })?;
    let mut times = groups.iter().flat_map(|group| group_times(header, group));
    Ok(take(&mut times))
}

fn group_times(header: &BatchHeader, group: &Group<'_>) -> impl Iterator<Item = (usize, u64)> {
    let transfers = match group.kind {
        RecordKind::TransferPosted
        | RecordKind::TransferPending
        | RecordKind::PendingPosted
        | RecordKind::PendingVoided
        | RecordKind::TransferDetailed => group.count,
        _ => 0,
    };
    (0..transfers).map(move |n| {
        let index = group.first_index + n;
        let recorded = record_time(header, index).get();
        let detailed = match group.kind {
            RecordKind::TransferDetailed => group.read_row::<DetailedRow>(n),
            _ => None,
        };
        let imported = detailed.map_or(0, |row| row.timestamp.get());
        (index, if imported == 0 { recorded } else { imported })
    })
}
