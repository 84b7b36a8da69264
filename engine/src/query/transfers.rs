//! Queries for transfers: filters combined with AND, in either direction, page by page.

use kanjo_format::client::{
    AccountFilterBody, AccountFilterFlags, QueryFilterBody, QueryFilterFlags,
};
use kanjo_format::movement::Transfer;
use kanjo_format::{AccountNumber, LedgerId, RecordAt};

use super::calendar::Calendar;
use super::past::{Budget, Key, Past, PastError, start_of};
use super::times::transfer_place;
use super::told::Told;
use super::walk::{Event, Plan, Step, Walk};
use super::{PAGE_WORK, Work};

/// Times end here: the highest bit of a timestamp is never set.
const TIMESTAMP_MAX: u64 = (1 << 63) - 1;

/// Which transfers, or accounts; what is zero or `None` does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub(super) debits: Option<AccountNumber>,
    pub(super) credits: Option<AccountNumber>,
    pub(super) user_data_128: u128,
    pub(super) user_data_64: u64,
    pub(super) user_data_32: u32,
    pub(super) ledger: u32,
    pub(super) code: u16,
    pub(super) timestamp_min: u64,
    pub(super) timestamp_max: u64,
    pub(super) limit: usize,
    pub(super) reversed: bool,
}

/// Whether a filter of accounts is valid; one that is not finds nothing.
pub fn is_valid_account_filter(body: &AccountFilterBody) -> bool {
    let flags = body.flags.get();
    let roles = AccountFilterFlags::DEBITS | AccountFilterFlags::CREDITS;
    let account = body.account_id.get();
    account != 0
        && account != u128::MAX
        && are_valid_times(body.timestamp_min.get(), body.timestamp_max.get())
        && body.limit.get() != 0
        && flags & roles != 0
        && flags & !(roles | AccountFilterFlags::REVERSED) == 0
        && body.reserved == [0; 58]
}

/// Whether a query filter is valid; one that is not finds nothing.
pub fn is_valid_query_filter(body: &QueryFilterBody) -> bool {
    are_valid_times(body.timestamp_min.get(), body.timestamp_max.get())
        && body.limit.get() != 0
        && body.flags.get() & !QueryFilterFlags::REVERSED == 0
        && body.reserved == [0; 6]
}

fn are_valid_times(min: u64, max: u64) -> bool {
    min <= TIMESTAMP_MAX && max <= TIMESTAMP_MAX && (max == 0 || min <= max)
}

const fn time_end(max: u64) -> u64 {
    if max == 0 { TIMESTAMP_MAX } else { max }
}

impl Filter {
    /// What the filter asks of the account of that number; `None` if it is not valid.
    pub fn of_account(body: &AccountFilterBody, account: AccountNumber) -> Option<Self> {
        if !is_valid_account_filter(body) {
            return None;
        }
        let has = |flag| body.flags.get() & flag != 0;
        Some(Self {
            debits: has(AccountFilterFlags::DEBITS).then_some(account),
            credits: has(AccountFilterFlags::CREDITS).then_some(account),
            user_data_128: body.user_data_128.get(),
            user_data_64: body.user_data_64.get(),
            user_data_32: body.user_data_32.get(),
            ledger: 0,
            code: body.code.get(),
            timestamp_min: body.timestamp_min.get(),
            timestamp_max: time_end(body.timestamp_max.get()),
            limit: body.limit.get() as usize,
            reversed: has(AccountFilterFlags::REVERSED),
        })
    }

    /// What the filter asks; `None` if it is not valid.
    pub fn of_query(body: &QueryFilterBody) -> Option<Self> {
        is_valid_query_filter(body).then(|| Self {
            debits: None,
            credits: None,
            user_data_128: body.user_data_128.get(),
            user_data_64: body.user_data_64.get(),
            user_data_32: body.user_data_32.get(),
            ledger: body.ledger.get(),
            code: body.code.get(),
            timestamp_min: body.timestamp_min.get(),
            timestamp_max: time_end(body.timestamp_max.get()),
            limit: body.limit.get() as usize,
            reversed: body.flags.get() & QueryFilterFlags::REVERSED != 0,
        })
    }

    /// Whether a transfer is meant, but for its time.
    pub(super) fn matches<P: Past>(&self, past: &P, transfer: &Transfer) -> bool {
        let any_account = self.debits.is_none() && self.credits.is_none();
        (any_account
            || self.debits == Some(transfer.debit)
            || self.credits == Some(transfer.credit))
            && (self.user_data_128 == 0 || self.user_data_128 == transfer.user_data_128)
            && (self.user_data_64 == 0 || self.user_data_64 == transfer.user_data_64)
            && (self.user_data_32 == 0 || self.user_data_32 == transfer.user_data_32)
            && (self.code == 0 || self.code == transfer.code)
            && (self.ledger == 0
                || past.ledger_of(transfer.debit) == Some(LedgerId::new(self.ledger)))
    }

    pub(super) fn is_in_time(&self, timestamp: u64) -> bool {
        (self.timestamp_min..=self.timestamp_max).contains(&timestamp)
    }

    /// Places of the transfers in time: from the first to before the second.
    pub(super) fn places<P: Past>(&self, past: &mut P) -> Result<(RecordAt, RecordAt), PastError> {
        let from = match self.timestamp_min {
            0 | 1 => RecordAt::MIN,
            min => transfer_place(past, min)?,
        };
        let to = match self.timestamp_max {
            TIMESTAMP_MAX.. => start_of(past.end()),
            max => transfer_place(past, max + 1)?,
        };
        Ok((from, to))
    }

    /// The posting lists that narrow it down.
    fn plan(&self) -> Plan {
        let some = |key, is_asked: bool| is_asked.then_some(key);
        let account = match (self.debits, self.credits) {
            (Some(debits), Some(_)) => Some(Key::Account(debits)),
            (debits, credits) => debits.map(Key::Debits).or(credits.map(Key::Credits)),
        };
        let keys = [
            account,
            some(
                Key::UserData128(self.user_data_128),
                self.user_data_128 != 0,
            ),
            some(Key::UserData64(self.user_data_64), self.user_data_64 != 0),
            some(Key::UserData32(self.user_data_32), self.user_data_32 != 0),
            some(Key::Ledger(LedgerId::new(self.ledger)), self.ledger != 0),
            some(Key::Code(self.code), self.code != 0),
        ];
        keys.into_iter().flatten().collect()
    }
}

/// One page of transfers.
#[derive(Clone, Debug)]
pub struct TransferQuery {
    filter: Filter,
    rows_max: usize,
    calendar: Calendar,
    walk: Option<Walk>,
    found: Vec<Told>,
    work: Work,
}

impl TransferQuery {
    /// A page of at most `rows_max` rows.
    pub fn new(filter: Filter, calendar: Calendar, rows_max: usize) -> Self {
        Self {
            rows_max: filter.limit.min(rows_max),
            filter,
            calendar,
            walk: None,
            found: Vec::new(),
            work: Work::default(),
        }
    }

    /// Where the next page starts, once this one is full or there is no more; 0 for no more.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        let filter = &self.filter;
        let walk = match &mut self.walk {
            Some(walk) => walk,
            none => {
                let (from, to) = filter.places(past)?;
                none.insert(Walk::new(filter.plan(), filter.reversed, from, to))
            }
        };
        loop {
            let spent = budget.spent();
            match walk.step(past, budget)? {
                Step::Event(at, Event::Transfer(transfer)) => {
                    let time = transfer.timestamp.get();
                    if filter.is_in_time(time) && filter.matches(past, &transfer) {
                        let told = Told::of(past, budget, &self.calendar, at, &transfer)?;
                        self.found.push(told);
                    }
                    self.work.add(budget.spent() - spent);
                    if self.found.len() >= self.rows_max || self.work.done() >= PAGE_WORK {
                        return Ok(Some(filter.next_page(time)));
                    }
                }
                Step::Event(..) => self.work.add(budget.spent() - spent),
                Step::Pause => {
                    self.work.add(budget.spent() - spent);
                    return Ok(None);
                }
                Step::End => return Ok(Some(0)),
            }
        }
    }

    pub(super) fn into_found(self) -> Vec<Told> {
        self.found
    }
}

impl Filter {
    /// The bound of the page behind one whose last transfer happened at `last`: its
    /// `timestamp_min`, or reversed its `timestamp_max`; 0 where that would leave nothing.
    pub(super) fn next_page(&self, last: u64) -> u64 {
        let next = match self.reversed {
            false => last + 1,
            true => last - 1,
        };
        if next == 0 || !self.is_in_time(next) {
            0
        } else {
            next
        }
    }
}
