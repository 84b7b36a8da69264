//! The whole book: balances in the past, statements, and totals.

use std::collections::BTreeMap;

use super::{Balance, Model, What};

/// Debits and credits of one ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) balance: Balance,
    pub(crate) accounts: u64,
}

impl Model {
    /// Balances of an account behind everything that `until` lets pass, in order of the log.
    pub(crate) fn balance_as_of(&self, id: u128, until: impl Fn(&super::Event) -> bool) -> Balance {
        let mut balance = Balance::default();
        for event in self.events.iter().take_while(|event| until(event)) {
            let What::Moved {
                transfer,
                debit_after,
                credit_after,
                ..
            } = event.what
            else {
                continue;
            };
            let transfer = &self.transfers[transfer];
            if transfer.debit_account_id == id {
                balance = debit_after;
            }
            if transfer.credit_account_id == id {
                balance = credit_after;
            }
        }
        balance
    }

    /// Totals of each ledger, by ledger.
    pub(crate) fn trial_balance(&self) -> BTreeMap<u32, Totals> {
        let mut totals = BTreeMap::<u32, Totals>::new();
        for account in &self.accounts {
            let total = totals.entry(account.ledger).or_default();
            total.accounts += 1;
            total.balance.debits_pending += account.balance.debits_pending;
            total.balance.debits_posted += account.balance.debits_posted;
            total.balance.credits_pending += account.balance.credits_pending;
            total.balance.credits_posted += account.balance.credits_posted;
        }
        totals
    }
}
