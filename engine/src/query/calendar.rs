//! Business dates as positions of the log.

use std::sync::Arc;

use kanjo_format::RecordAt;

use crate::days::{BusinessDays, Day};

/// A business date was closed at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// Of the record that closed it.
    pub(super) at: RecordAt,
    /// The date that was closed, as YYYYMMDD; 0 where there was none before.
    pub(super) closed: u32,
    /// The date that is current from there on.
    pub(super) next: u32,
}

/// All closings, in order.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    days: Arc<[Closing]>,
}

impl Calendar {
    /// A ledger's business dates as they are now.
    pub fn of(days: &BusinessDays) -> Self {
        let closing = |day: &Day| Closing {
            at: day.at,
            closed: day.closed,
            next: day.next,
        };
        Self::new(days.closes().iter().map(closing).collect())
    }

    /// A calendar of these closings, which are in order of place and of dates.
    pub(super) fn new(days: Arc<[Closing]>) -> Self {
        assert!(
            days.is_sorted_by_key(|day| day.at),
            "closings follow each other"
        );
        Self { days }
    }

    /// The date that is current at a place; 0 where there is no calendar yet.
    pub fn current_at(&self, place: RecordAt) -> u32 {
        let behind = self.days.partition_point(|day| day.at < place);
        behind.checked_sub(1).map_or(0, |n| self.days[n].next)
    }

    /// In front of this place the current date is an earlier one than `date`.
    pub(super) fn start_of(&self, date: u32) -> RecordAt {
        if date == 0 {
            return RecordAt::MIN;
        }
        let first = self.days.partition_point(|day| day.next < date);
        self.days.get(first).map_or(RecordAt::MAX, |day| day.at)
    }

    /// From this place on nothing belongs to a date earlier than `date`.
    pub(super) fn end_before(&self, date: u32) -> RecordAt {
        let Some(last) = date.checked_sub(1) else {
            return RecordAt::MIN;
        };
        let first = self.days.partition_point(|day| day.closed < last);
        self.days.get(first).map_or(RecordAt::MAX, |day| day.at)
    }
}
