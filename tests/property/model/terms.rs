//! What goes beyond transfers: an account's overdraft limit and freeze, and the business date.

use kanjo_format::client::{AccountChangeBody, CloseDayBody};
use kanjo_format::result::{ChangeAccountResult, CloseDayResult, CreateTransferResult};

use super::{Asked, Model, What};

const SET_LIMIT: u32 = 1 << 0;
const CLEAR_LIMIT: u32 = 1 << 1;
const SET_FREEZE: u32 = 1 << 2;
const FREEZE_DEBITS: u32 = 1 << 0;
const FREEZE_CREDITS: u32 = 1 << 1;

impl Model {
    pub(crate) fn change_account(
        &mut self,
        asked: &AccountChangeBody,
    ) -> (ChangeAccountResult, u64) {
        use ChangeAccountResult as R;
        let change = asked.change.get();
        let (limit, freeze) = (asked.overdraft_limit.get(), asked.freeze.get());
        let has = |bit: u32| change & bit != 0;
        let place = self.accounts.iter().position(|a| a.id == asked.id.get());
        let unasked = (limit != 0 && !has(SET_LIMIT)) || (freeze != 0 && !has(SET_FREEZE));
        let unknown = change & !(SET_LIMIT | CLEAR_LIMIT | SET_FREEZE) != 0
            || freeze & !(FREEZE_DEBITS | FREEZE_CREDITS) != 0;
        let both = has(SET_LIMIT) && has(CLEAR_LIMIT);
        let mut changed = place.map(|place| self.accounts[place].clone());
        if let Some(account) = &mut changed {
            if has(SET_LIMIT) {
                account.overdraft_limit = Some(limit);
            }
            if has(CLEAR_LIMIT) {
                account.overdraft_limit = None;
            }
            if has(SET_FREEZE) {
                account.debits_frozen = freeze & FREEZE_DEBITS != 0;
                account.credits_frozen = freeze & FREEZE_CREDITS != 0;
            }
        }
        let same = place.is_some_and(|place| changed.as_ref() == Some(&self.accounts[place]));
        let rules = [
            (asked.reserved.get() != 0 || unasked, R::ReservedField),
            (unknown || both, R::ReservedFlag),
            (change == 0, R::NothingToChange),
            (place.is_none(), R::AccountNotFound),
            (same, R::Unchanged),
        ];
        if let Some((_, refused)) = rules.into_iter().find(|(applies, _)| *applies) {
            return (refused, self.now());
        }
        let (Some(place), Some(mut account)) = (place, changed) else {
            unreachable!("an account that is not there was refused");
        };
        let logged = self.record(What::Changed(place));
        account.terms_changed = logged;
        self.accounts[place] = account;
        (R::Changed, logged)
    }

    /// A date of zero begins with business dates.
    pub(crate) fn close_day(&mut self, asked: &CloseDayBody) -> (CloseDayResult, u64) {
        use CloseDayResult as R;
        let (date, next) = (asked.date.get(), asked.next.get());
        let closed_before = What::DayClosed { date, next };
        let earlier = self.events.iter().find(|event| event.what == closed_before);
        let rules = [
            (asked.reserved.get() != 0, R::ReservedField),
            (date != 0 && !is_date(date), R::DateMustBeValid),
            (!is_date(next), R::NextDateMustBeValid),
            (next <= date, R::NextDateMustBeLater),
            (earlier.is_some(), R::AlreadyClosed),
            (self.business_date != date, R::DateIsNotCurrent),
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
