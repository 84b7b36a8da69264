//! The whole book: balances in the past, statements, and totals.

use std::collections::BTreeMap;

use kanjo_format::client::Span;

use super::filter::BalanceAt;
use super::transfer::{PENDING, POST_PENDING, VOID_PENDING};
use super::{Balance, Event, Model, What};

/// A sum, and how many times 2^128 more (or, below zero, less).
type Wide = (u128, i64);

/// Debits and credits of one ledger, or of one code of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) accounts: u64,
    pub(crate) debits_pending: Wide,
    pub(crate) debits_posted: Wide,
    pub(crate) credits_pending: Wide,
    pub(crate) credits_posted: Wide,
}

/// A line of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Place of the transfer in the list; of an expiry, of the pending one.
    pub(crate) transfer: usize,
    pub(crate) expiry: bool,
    pub(crate) then: BalanceAt,
}

fn add(sum: &mut Wide, amount: u128) {
    let (low, carried) = sum.0.overflowing_add(amount);
    *sum = (low, sum.1 + i64::from(carried));
}

fn subtract(sum: &mut Wide, amount: u128) {
    let (low, borrowed) = sum.0.overflowing_sub(amount);
    *sum = (low, sum.1 - i64::from(borrowed));
}

/// Balances while they are added up. By business date, money can be released on an earlier
/// date than it was reserved.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    debits_pending: Wide,
    debits_posted: Wide,
    credits_pending: Wide,
    credits_posted: Wide,
}

impl Sum {
    /// As it is shown: nothing is reserved rather than less than nothing.
    fn balance(&self) -> Balance {
        let pending = |sum: Wide| if sum.1 < 0 { 0 } else { sum.0 };
        Balance {
            debits_pending: pending(self.debits_pending),
            debits_posted: self.debits_posted.0,
            credits_pending: pending(self.credits_pending),
            credits_posted: self.credits_posted.0,
        }
    }
}

impl Model {
    /// Adds what one movement did to one account; whether it did anything.
    fn add_movement(&self, sum: &mut Sum, id: u128, place: usize, expiry: bool) -> bool {
        let transfer = &self.transfers[place];
        let (pending, posted) = if transfer.debit_account_id == id {
            (&mut sum.debits_pending, &mut sum.debits_posted)
        } else if transfer.credit_account_id == id {
            (&mut sum.credits_pending, &mut sum.credits_posted)
        } else {
            return false;
        };
        let reserved = || self.transfer(transfer.pending_id).map_or(0, |p| p.amount);
        if expiry {
            subtract(pending, transfer.amount);
        } else if transfer.has(PENDING) {
            add(pending, transfer.amount);
        } else if transfer.has(VOID_PENDING) {
            subtract(pending, transfer.amount);
        } else {
            if transfer.has(POST_PENDING) {
                subtract(pending, reserved());
            }
            add(posted, transfer.amount);
        }
        true
    }

    /// Movements of an account in the order of the log: which transfer, whether it expired, and
    /// when it counts in that unit.
    fn movements(&self, unit: Span) -> Vec<(usize, bool, u64, u64)> {
        let mut current = 0;
        let mut found = Vec::new();
        for event in &self.events {
            match event.what {
                What::DayClosed { next, .. } => current = next,
                What::Moved {
                    transfer, expiry, ..
                } => {
                    let timestamp = self.movement_time(event, transfer, expiry);
                    let date = match expiry {
                        true => current,
                        false => self.transfers[transfer].business_date,
                    };
                    let at = match unit {
                        Span::Timestamp => timestamp,
                        Span::BusinessDate => date.into(),
                        Span::Lsn => panic!("the model has no lsn"),
                    };
                    found.push((transfer, expiry, timestamp, at));
                }
                _ => {}
            }
        }
        found
    }

    fn movement_time(&self, event: &Event, transfer: usize, expiry: bool) -> u64 {
        match expiry {
            true => event.logged,
            false => self.transfers[transfer].timestamp,
        }
    }

    /// Balances of an account with everything up to `at`, and the time of the last of it.
    pub(crate) fn balance_as_of(&self, id: u128, unit: Span, at: u64) -> BalanceAt {
        let mut sum = Sum::default();
        let mut last = 0;
        for (transfer, expiry, timestamp, when) in self.movements(unit) {
            if when <= at && self.add_movement(&mut sum, id, transfer, expiry) {
                last = timestamp;
            }
        }
        BalanceAt {
            timestamp: last,
            balance: sum.balance(),
        }
    }

    /// Movements of an account from `from` to `to`, both included, with the balances after each.
    pub(crate) fn statement(&self, id: u128, unit: Span, from: u64, to: u64) -> Vec<Line> {
        let mut sum = Sum::default();
        let mut lines = Vec::new();
        let movements = self.movements(unit);
        for (transfer, expiry, _, when) in &movements {
            if *when < from {
                self.add_movement(&mut sum, id, *transfer, *expiry);
            }
        }
        for (transfer, expiry, timestamp, when) in movements {
            let is_in = (from..=to).contains(&when);
            if is_in && self.add_movement(&mut sum, id, transfer, expiry) {
                let balance = sum.balance();
                let then = BalanceAt { timestamp, balance };
                lines.push(Line {
                    transfer,
                    expiry,
                    then,
                });
            }
        }
        lines
    }

    /// Totals by ledger and code; code zero is all of a ledger.
    pub(crate) fn trial_balance(&self) -> BTreeMap<(u32, u16), Totals> {
        let mut totals = BTreeMap::<(u32, u16), Totals>::new();
        for account in &self.accounts {
            for code in [0, account.code] {
                let total = totals.entry((account.ledger, code)).or_default();
                total.accounts += 1;
                add(&mut total.debits_pending, account.balance.debits_pending);
                add(&mut total.debits_posted, account.balance.debits_posted);
                add(&mut total.credits_pending, account.balance.credits_pending);
                add(&mut total.credits_posted, account.balance.credits_posted);
            }
        }
        totals
    }
}
