//! What belongs to a span of time, of business dates or of the log, and an account's balances at
//! such a span's start.
//!
//! | unit | what belongs to it |
//! |---|---|
//! | timestamp | transfers with their own time, imported ones too; expiries with the time of their record |
//! | business date | a transfer that names its date, with that; all else with the date that was current when it was recorded |
//! | lsn | what stands in batches that start at or behind the first lsn and end at or in front of the last |
//!
//! Places and times rise together but for imported transfers, places and business dates but for
//! those that are named. So a span is a range of places with a few exceptions at its edges, which
//! are looked through one by one.

use kanjo_format::client::Span;
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::{AccountNumber, Lsn, RecordAt};

use super::balances::{BalancesAt, Effect, Present, Running};
use super::calendar::Calendar;
use super::past::{Budget, Key, Past, PastError, start_of};
use super::times::{record_place, transfer_place};
use super::walk::{Event, Plan, Step, Walk};

/// A span of one unit.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    unit: Span,
    from: u64,
    to: u64,
    calendar: Calendar,
    /// In front of it, all that names no date is earlier than the span.
    pub(super) start: RecordAt,
    /// At and behind it nothing is earlier than the span.
    pub(super) from_end: RecordAt,
    /// In front of it, what names no date is not later than the span.
    stop: RecordAt,
    /// At and behind it everything is later than the span.
    pub(super) to_end: RecordAt,
}

impl Extent {
    /// From `from` to `to`, both included.
    pub(super) fn locate<P: Past>(
        past: &mut P,
        unit: Span,
        from: u64,
        to: u64,
        calendar: &Calendar,
    ) -> Result<Self, PastError> {
        let first = match unit {
            Span::Lsn => {
                let place = page_at_or_behind(from, past.end());
                (place, place)
            }
            _ => edge(past, unit, from, calendar)?,
        };
        let last = edge_behind(past, unit, to, calendar)?;
        Ok(Self::new(
            past.end(),
            unit,
            (from, to),
            calendar,
            [first, last],
        ))
    }

    /// Everything behind `at`.
    pub(super) fn behind<P: Past>(
        past: &mut P,
        unit: Span,
        at: u64,
        calendar: &Calendar,
    ) -> Result<Self, PastError> {
        let first = edge_behind(past, unit, at, calendar)?;
        let last = (RecordAt::MAX, RecordAt::MAX);
        let bounds = (at.saturating_add(1), u64::MAX);
        Ok(Self::new(past.end(), unit, bounds, calendar, [first, last]))
    }

    fn new(
        end: Lsn,
        unit: Span,
        (from, to): (u64, u64),
        calendar: &Calendar,
        [(start, from_end), (stop, to_end)]: [(RecordAt, RecordAt); 2],
    ) -> Self {
        let end = start_of(end);
        Self {
            unit,
            from,
            to,
            calendar: calendar.clone(),
            start: start.min(end),
            from_end: from_end.min(end),
            stop: stop.min(end),
            to_end: to_end.min(end),
        }
    }

    /// Where a movement lies on the axis of times or dates.
    fn position(&self, at: RecordAt, event: &Event) -> u64 {
        match self.unit {
            Span::BusinessDate => business_date(&self.calendar, at, event).into(),
            _ => event.timestamp(),
        }
    }

    /// Whether a movement is earlier than the span.
    pub(super) fn is_before(&self, at: RecordAt, event: &Event) -> bool {
        match self.unit {
            Span::Lsn => at < self.start,
            _ => self.position(at, event) < self.from,
        }
    }

    /// Whether a movement belongs to the span.
    pub(super) fn holds(&self, at: RecordAt, event: &Event) -> bool {
        match self.unit {
            Span::Lsn => self.start <= at && at < self.stop,
            _ => (self.from..=self.to).contains(&self.position(at, event)),
        }
    }

    fn is_not_behind(&self, at: RecordAt, event: &Event) -> bool {
        self.is_before(at, event) || self.holds(at, event)
    }

    /// The part of an account's movements that may stand out of order, in front of `end`.
    pub(super) fn exceptions(&self, account: AccountNumber, from: RecordAt, end: RecordAt) -> Walk {
        let mut plan = vec![Key::Account(account)];
        let from = match self.unit {
            Span::BusinessDate => {
                plan.push(Key::Dated);
                from
            }
            _ => end,
        };
        Walk::new(plan, false, from, end)
    }
}

/// The business date that a movement belongs to.
pub(super) fn business_date(calendar: &Calendar, at: RecordAt, event: &Event) -> u32 {
    match event {
        Event::Transfer(transfer) if transfer.business_date != 0 => transfer.business_date,
        _ => calendar.current_at(at),
    }
}

/// In front of the first place everything that stands in order is earlier than `value`; at and
/// behind the second nothing is.
fn edge<P: Past>(
    past: &mut P,
    unit: Span,
    value: u64,
    calendar: &Calendar,
) -> Result<(RecordAt, RecordAt), PastError> {
    Ok(match unit {
        Span::BusinessDate => {
            let date = u32::try_from(value).unwrap_or(u32::MAX);
            (calendar.start_of(date), calendar.end_before(date))
        }
        _ => {
            let record = record_place(past, value)?;
            // Where no transfer follows, expiries may.
            (record, transfer_place(past, value)?.max(record))
        }
    })
}

/// The same for what is not later than `value`.
fn edge_behind<P: Past>(
    past: &mut P,
    unit: Span,
    value: u64,
    calendar: &Calendar,
) -> Result<(RecordAt, RecordAt), PastError> {
    if unit != Span::Lsn {
        return match value.checked_add(1) {
            Some(next) => edge(past, unit, next, calendar),
            None => Ok((RecordAt::MAX, RecordAt::MAX)),
        };
    }
    // A batch that ends behind it belongs to what is later.
    let page = page_at_or_behind(value, past.end());
    let place = match past.batch_before(page.lsn())? {
        Some(batch) if batch.end.get() > value => start_of(batch.header.lsn()),
        _ => page,
    };
    Ok((place, place))
}

fn page_at_or_behind(lsn: u64, end: Lsn) -> RecordAt {
    match lsn >= end.get() {
        true => start_of(end),
        false => start_of(Lsn::new(lsn.div_ceil(PAGE_BYTES) * PAGE_BYTES)),
    }
}

/// Counts up what an account had in front of a span, and of the span in front of a place.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    account: AccountNumber,
    extent: Extent,
    /// Movements of the span in front of it count.
    cursor: RecordAt,
    /// Everything in front of it is taken at once; then the exceptions are put right.
    at: BalancesAt,
    taken: Option<Running>,
    /// What was taken and may not count, then what was not taken and may.
    exceptions: Vec<(Walk, bool)>,
}

impl Opening {
    pub(super) fn begin<P: Past>(
        past: &mut P,
        account: &Present,
        opened_at: RecordAt,
        extent: &Extent,
        cursor: RecordAt,
    ) -> Result<Self, PastError> {
        let number = account.number;
        let pivot = extent.start.max(cursor);
        let plan: Plan = vec![Key::Account(number)];
        let late = Walk::new(plan.clone(), false, extent.stop.max(opened_at), pivot);
        let early = Walk::new(plan, false, pivot, extent.from_end);
        let named = extent.exceptions(number, opened_at, pivot.min(extent.stop));
        Ok(Self {
            account: number,
            extent: extent.clone(),
            cursor,
            at: BalancesAt::begin(past, account, opened_at, pivot)?,
            taken: None,
            exceptions: vec![(early, true), (late, false), (named, false)],
        })
    }

    pub(super) const fn account(&self) -> AccountNumber {
        self.account
    }

    /// Goes on; `None` while there is more to do.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<Running>, PastError> {
        let mut balances = match self.taken {
            Some(balances) => balances,
            None => match self.at.step(past, budget)? {
                Some(balances) => balances,
                None => return Ok(None),
            },
        };
        while let Some((walk, missing)) = self.exceptions.last_mut() {
            let missing = *missing;
            match walk.step(past, budget)? {
                Step::Event(at, event) => {
                    let counts = self.extent.is_before(at, &event)
                        || at < self.cursor && self.extent.is_not_behind(at, &event);
                    if counts == missing {
                        let effect = Effect::of(past, budget, &event, self.account)?;
                        balances.apply(if missing { effect } else { effect.undone() });
                    }
                }
                Step::Pause => {
                    self.taken = Some(balances);
                    return Ok(None);
                }
                Step::End => drop(self.exceptions.pop()),
            }
        }
        Ok(Some(balances))
    }
}
