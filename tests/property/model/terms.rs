//! What goes beyond transfers: an account's overdraft limit and freeze, and the business date.

use kanjo_format::result::{ChangeAccountResult, CloseDayResult, CreateTransferResult};

use super::{Asked, Model, What};

/// Terms of one account that shall be so from now on; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) id: u128,
    /// `Some(None)` takes the limit away.
    pub(crate) overdraft_limit: Option<Option<u128>>,
    /// Debits and credits.
    pub(crate) freeze: Option<(bool, bool)>,
}

impl Model {
    pub(crate) fn change_account(&mut self, change: Change) -> (ChangeAccountResult, u64) {
        use ChangeAccountResult as R;
        let now = self.now();
        if change.overdraft_limit.is_none() && change.freeze.is_none() {
            return (R::NothingToChange, now);
        }
        let Some(place) = self.accounts.iter().position(|a| a.id == change.id) else {
            return (R::AccountNotFound, now);
        };
        let mut account = self.accounts[place].clone();
        if let Some(limit) = change.overdraft_limit {
            account.overdraft_limit = limit;
        }
        if let Some(freeze) = change.freeze {
            (account.debits_frozen, account.credits_frozen) = freeze;
        }
        if account == self.accounts[place] {
            return (R::Unchanged, now);
        }
        self.accounts[place] = account;
        (R::Changed, self.record(What::Changed(place)))
    }

    /// A date of zero begins with business dates.
    pub(crate) fn close_day(&mut self, date: u32, next: u32) -> (CloseDayResult, u64) {
        use CloseDayResult as R;
        let closed_before = What::DayClosed { date, next };
        let earlier = self.events.iter().find(|event| event.what == closed_before);
        let current = self.business_date;
        let rules = [
            (date != 0 && !is_date(date), R::DateMustBeValid),
            (!is_date(next), R::NextDateMustBeValid),
            (next <= date, R::NextDateMustBeLater),
            (earlier.is_some(), R::AlreadyClosed),
            (current != date, R::DateIsNotCurrent),
        ];
        match rules.into_iter().find(|(applies, _)| *applies) {
            Some((_, R::AlreadyClosed)) => {
                (R::AlreadyClosed, earlier.map_or(0, |event| event.logged))
            }
            Some((_, refused)) => (refused, self.now()),
            None => {
                self.business_date = next;
                (R::Closed, self.record(What::DayClosed { date, next }))
            }
        }
    }

    /// The last business date that was closed; zero before the first.
    pub(crate) fn last_closed(&self) -> u32 {
        let closed = |what: &What| match *what {
            What::DayClosed { date, .. } => Some(date),
            _ => None,
        };
        let mut dates = self.events.iter().rev().filter_map(|e| closed(&e.what));
        dates.next().unwrap_or(0)
    }

    pub(super) fn refuse_business_date(&self, asked: &Asked) -> Result<(), CreateTransferResult> {
        if asked.business_date != 0 && asked.business_date <= self.last_closed() {
            return Err(CreateTransferResult::BusinessDateClosed);
        }
        Ok(())
    }
}

/// Whether YYYYMMDD is a day of the Gregorian calendar.
pub(crate) fn is_date(date: u32) -> bool {
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=9_999).contains(&year) && (1..=days).contains(&day)
}
