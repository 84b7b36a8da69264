//! Operations beyond transfers: terms of accounts, the close of a business date, burned ids.

use kanjo_format::client::{AccountChange, AccountChangeBody, CloseDayBody, Freeze, ResultRun};
use kanjo_format::record::{AccountChangeRow, DayRow};
use kanjo_format::result::{BurnResult, ChangeAccountResult, CloseDayResult, CreateTransferResult};
use kanjo_format::{AccountId, Timestamp, TransferId};

use super::linked::Runs;
use crate::account::Terms;
use crate::batch::OpenBatch;
use crate::days::{Day, is_date};
use crate::index::Entry;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

impl Ledger {
    /// Changes terms of accounts, and pushes how each event ended. Panics if the request does not
    /// fit (see [`Self::fits_request`]).
    pub fn change_accounts(
        &mut self,
        open: &mut OpenBatch,
        events: &[AccountChangeBody],
        results: &mut Vec<ResultRun>,
    ) {
        self.assert_fits(open, events.len());
        let mut runs = Runs::new(results);
        for event in events {
            let now = open.next_timestamp();
            let result = self.change_account(open, event);
            runs.push(result.number(), now);
        }
    }

    fn change_account(
        &mut self,
        open: &mut OpenBatch,
        event: &AccountChangeBody,
    ) -> ChangeAccountResult {
        use ChangeAccountResult as R;
        if let Some(refused) = refuse_change(event) {
            return refused;
        }
        let accounts = &self.books.accounts;
        let Some(number) = accounts.find(AccountId::new(event.id.get())) else {
            return R::AccountNotFound;
        };
        let change = event.change.get();
        let there = accounts.terms(number);
        let limit = match change {
            _ if change & AccountChange::SET_OVERDRAFT_LIMIT != 0 => {
                Some(event.overdraft_limit.get())
            }
            _ if change & AccountChange::CLEAR_OVERDRAFT_LIMIT != 0 => None,
            _ => there.overdraft_limit(),
        };
        let freeze = match change & AccountChange::SET_FREEZE {
            0 => there.freeze,
            // The bits that there are were checked.
            _ => event.freeze.get() as u8,
        };
        if limit == there.overdraft_limit() && freeze == there.freeze {
            return R::Unchanged;
        }
        let terms = Terms::new(limit, freeze, open.next_timestamp().get());
        self.books.change_terms(number, terms);
        open.push_change(AccountChangeRow {
            overdraft_limit: limit.unwrap_or(0).into(),
            account: number.get().into(),
            has_overdraft_limit: limit.is_some().into(),
            freeze,
            reserved: [0; 10],
        });
        R::Changed
    }

    /// Closes a business date, and pushes how that ended. Panics if the request does not fit (see
    /// [`Self::fits_request`]).
    pub fn close_day(
        &mut self,
        open: &mut OpenBatch,
        event: &CloseDayBody,
        results: &mut Vec<ResultRun>,
    ) {
        use CloseDayResult as R;
        self.assert_fits(open, 1);
        let now = open.next_timestamp();
        let (closed, next) = (event.date.get(), event.next.get());
        let (result, at) = match self.refuse_close(event) {
            Some(refused) => refused,
            None => {
                self.books.close_day(Day {
                    closed,
                    next,
                    at: open.next_at(),
                    timestamp: now.get(),
                });
                open.push_day(DayRow {
                    closed: event.date,
                    next: event.next,
                });
                (R::Closed, None)
            }
        };
        Runs::new(results).push(result.number(), at.unwrap_or(now));
    }

    /// Why a date cannot be closed, and when it was if it was before.
    fn refuse_close(&self, event: &CloseDayBody) -> Option<(CloseDayResult, Option<Timestamp>)> {
        use CloseDayResult as R;
        let (closed, next) = (event.date.get(), event.next.get());
        let days = &self.books.days;
        let result = if event.reserved.get() != 0 {
            R::ReservedField
        } else if closed != 0 && !is_date(closed) {
            R::DateMustBeValid
        } else if !is_date(next) {
            R::NextDateMustBeValid
        } else if next <= closed {
            R::NextDateMustBeLater
        } else {
            match days.find(closed) {
                Some(day) if day.next == next => {
                    return Some((R::AlreadyClosed, Some(day.timestamp())));
                }
                Some(_) => R::DateIsNotCurrent,
                None if closed != days.current() => R::DateIsNotCurrent,
                None => return None,
            }
        };
        Some((result, None))
    }

    /// Makes it final that no transfer has these ids, and pushes how each ended. Panics if the
    /// request does not fit (see [`Self::fits_request`]). After an error the ids before the one
    /// that needed history stand in the batch, which stays good; the request must not be answered.
    pub fn burn_ids(
        &mut self,
        open: &mut OpenBatch,
        ids: &[TransferId],
        history: &mut dyn HistoryReader,
        results: &mut Vec<ResultRun>,
    ) -> Result<(), HistoryError> {
        use BurnResult as R;
        self.assert_fits(open, ids.len());
        let mut runs = Runs::new(results);
        for &id in ids {
            let mut at = open.next_timestamp();
            let result = match id.get() {
                0 => R::IdMustNotBeZero,
                u128::MAX => R::IdMustNotBeIntMax,
                _ => match self.find_id(id, history)? {
                    Some(Entry::Posted(place)) => {
                        at = self
                            .read_transfer(id, place, Some(open), history)?
                            .timestamp;
                        R::Exists
                    }
                    Some(Entry::Failed(_)) => R::AlreadyFailed,
                    None => {
                        self.burn(open, id, CreateTransferResult::Burned);
                        R::Burned
                    }
                },
            };
            runs.push(result.number(), at);
        }
        Ok(())
    }
}

/// What is checked of a change before its account is looked up.
fn refuse_change(event: &AccountChangeBody) -> Option<ChangeAccountResult> {
    use ChangeAccountResult as R;
    const LIMIT: u32 = AccountChange::SET_OVERDRAFT_LIMIT | AccountChange::CLEAR_OVERDRAFT_LIMIT;
    let change = event.change.get();
    let sets = |bit: u32| change & bit != 0;
    let limit_is_stray =
        !sets(AccountChange::SET_OVERDRAFT_LIMIT) && event.overdraft_limit.get() != 0;
    let freeze_is_stray = !sets(AccountChange::SET_FREEZE) && event.freeze.get() != 0;
    if event.reserved.get() != 0 || limit_is_stray || freeze_is_stray {
        return Some(R::ReservedField);
    }
    let contradicts = change & LIMIT == LIMIT;
    if change & !AccountChange::ALL != 0 || event.freeze.get() & !Freeze::ALL != 0 || contradicts {
        return Some(R::ReservedFlag);
    }
    (change == 0).then_some(R::NothingToChange)
}
