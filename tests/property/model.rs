//! The ledger once more, written to be read: what Kanjo promises about money, in the plainest
//! code that says it.
//!
//! Everything stands in lists in the order in which it happened, whatever is asked is answered
//! by looking through them, and a chain that fails is undone by going back to a copy. It shares
//! nothing with the engine but the bodies and names of results in `kanjo-format`; where the two
//! differ, one of them is wrong.
//!
//! Time: a batch begins at the clock, or 1 ns after the last record where that is later. Each
//! record takes the next nanosecond. What is due expires before a request is looked at; a request
//! whose records could reach the due time of a pending transfer waits until then.

mod account;
mod book;
mod chain;
mod filter;
mod outcome;
mod pending;
mod reversal;
mod terms;
mod transfer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kanjo_format::result::CreateTransferResult;

pub(crate) use account::{Account, Balance};
pub(crate) use book::{Line, Totals};
pub(crate) use filter::{BalanceAt, Filter};
pub(crate) use outcome::Fate;
pub(crate) use transfer::{Asked, IMPORTED, Transfer};

/// No timestamp is this large or larger.
pub(crate) const TIME_END: u64 = 1 << 63;

/// What became of a pending transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Open,
    Posted,
    Voided,
    Expired,
}

/// One thing that happened, at one nanosecond of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it was recorded.
    pub(crate) logged: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The account of that place in the list was opened.
    Opened(usize),
    /// A transfer was created, or a pending one expired: balances of both accounts after it.
    Moved {
        /// Its place in the list of transfers; of an expiry, the pending one's.
        transfer: usize,
        expiry: bool,
        debit_after: Balance,
        credit_after: Balance,
    },
    /// An id failed, or was burned.
    Failed(u128),
    /// Overdraft limit or freeze of an account changed.
    Changed(usize),
    /// A business date was closed.
    DayClosed { date: u32, next: u32 },
}

/// The whole ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// In the order in which they were opened.
    pub(crate) accounts: Vec<Account>,
    /// In the order in which they were created.
    pub(crate) transfers: Vec<Transfer>,
    /// State of every pending transfer, by id.
    pub(crate) pending: BTreeMap<u128, Pending>,
    /// Why ids failed for ever.
    pub(crate) failed: BTreeMap<u128, CreateTransferResult>,
    /// Everything, in order.
    pub(crate) events: Vec<Event>,
    /// The current business date; zero before the first close.
    pub(crate) business_date: u32,
    /// The nanosecond of the next record.
    next: u64,
}

impl Model {
    /// Begins a batch at what the clock says.
    pub(crate) fn begin_batch(&mut self, clock: u64) {
        self.next = clock.max(self.log_time() + 1);
        self.expire_due();
    }

    /// Makes sure that no pending transfer falls due while so many records are made.
    pub(crate) fn begin_request(&mut self, records: usize) {
        self.expire_due();
        while let Some(due) = self.last_due_by(self.next + (records as u64).saturating_sub(1)) {
            self.next = due;
            self.expire_due();
        }
    }

    /// When the last record was made; zero before the first.
    pub(crate) fn log_time(&self) -> u64 {
        self.events.last().map_or(0, |event| event.logged)
    }

    /// The time at which the next event is checked.
    pub(crate) fn now(&self) -> u64 {
        self.next
    }

    fn record(&mut self, what: What) -> u64 {
        let logged = self.next;
        self.events.push(Event { logged, what });
        self.next += 1;
        logged
    }

    /// Makes an id fail for ever.
    fn fail_for_ever(&mut self, id: u128, why: CreateTransferResult) -> u64 {
        self.failed.insert(id, why);
        self.record(What::Failed(id))
    }

    pub(crate) fn account(&self, id: u128) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    fn account_mut(&mut self, id: u128) -> &mut Account {
        let found = self.accounts.iter_mut().find(|account| account.id == id);
        found.expect("a transfer's accounts exist")
    }

    pub(crate) fn transfer(&self, id: u128) -> Option<&Transfer> {
        self.transfers.iter().find(|transfer| transfer.id == id)
    }

    /// Records that the transfer at `place` moved money, or that it expired, and gives the time.
    fn record_movement(&mut self, place: usize, expiry: bool) -> u64 {
        let transfer = &self.transfers[place];
        let balance = |id| self.account(id).expect("its accounts exist").balance;
        let what = What::Moved {
            transfer: place,
            expiry,
            debit_after: balance(transfer.debit_account_id),
            credit_after: balance(transfer.credit_account_id),
        };
        self.record(what)
    }
}
