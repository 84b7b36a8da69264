//! The documented queries: a filter, a direction, a limit.

use kanjo_format::client::{AccountBody, TransferBody};

use super::account::HISTORY;
use super::{Balance, Model, TIME_END, Transfer, What};

/// Conditions of a query; a zero matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Only of the queries by account.
    pub(crate) account_id: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    /// Not of the queries by account.
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) timestamp_min: u64,
    pub(crate) timestamp_max: u64,
    pub(crate) limit: u32,
    /// Only of the queries by account.
    pub(crate) debits: bool,
    /// Only of the queries by account.
    pub(crate) credits: bool,
    pub(crate) reversed: bool,
}

/// Balances of an account behind one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BalanceAt {
    pub(crate) timestamp: u64,
    pub(crate) balance: Balance,
}

impl Filter {
    fn is_valid(&self) -> bool {
        let in_range = |time: u64| time < TIME_END;
        in_range(self.timestamp_min)
            && in_range(self.timestamp_max)
            && (self.timestamp_max == 0 || self.timestamp_min <= self.timestamp_max)
            && self.limit != 0
    }

    fn is_valid_for_account(&self) -> bool {
        let id = self.account_id;
        self.is_valid() && id != 0 && id != u128::MAX && (self.debits || self.credits)
    }

    fn has_time(&self, time: u64) -> bool {
        time >= self.timestamp_min && (self.timestamp_max == 0 || time <= self.timestamp_max)
    }

    fn matches(&self, data: (u128, u64, u32), ledger: u32, code: u16, time: u64) -> bool {
        (self.user_data_128 == 0 || self.user_data_128 == data.0)
            && (self.user_data_64 == 0 || self.user_data_64 == data.1)
            && (self.user_data_32 == 0 || self.user_data_32 == data.2)
            && (self.ledger == 0 || self.ledger == ledger)
            && (self.code == 0 || self.code == code)
            && self.has_time(time)
    }

    fn matches_transfer(&self, transfer: &Transfer) -> bool {
        let t = transfer;
        let data = (t.user_data_128, t.user_data_64, t.user_data_32);
        self.matches(data, t.ledger, t.code, t.timestamp)
    }

    fn matches_transfer_of_account(&self, transfer: &Transfer) -> bool {
        let debited = self.debits && transfer.debit_account_id == self.account_id;
        let credited = self.credits && transfer.credit_account_id == self.account_id;
        // The ledger is no condition of these queries.
        let anywhere = Filter { ledger: 0, ..*self };
        (debited || credited) && anywhere.matches_transfer(transfer)
    }

    /// In the order asked for, and no more than asked for.
    fn page<T>(&self, mut found: Vec<T>) -> Vec<T> {
        if self.reversed {
            found.reverse();
        }
        found.truncate(self.limit as usize);
        found
    }
}

impl Model {
    pub(crate) fn get_account_transfers(&self, filter: &Filter) -> Vec<TransferBody> {
        if !filter.is_valid_for_account() {
            return Vec::new();
        }
        let found = self.transfers.iter();
        let found = found.filter(|t| filter.matches_transfer_of_account(t));
        filter.page(found.map(Transfer::body).collect())
    }

    pub(crate) fn get_account_balances(&self, filter: &Filter) -> Vec<BalanceAt> {
        let account = self.account(filter.account_id);
        if !filter.is_valid_for_account() || !account.is_some_and(|a| a.has(HISTORY)) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for event in &self.events {
            let What::Moved {
                transfer,
                expiry: false,
                debit_after,
                credit_after,
            } = event.what
            else {
                continue;
            };
            let transfer = &self.transfers[transfer];
            if filter.matches_transfer_of_account(transfer) {
                let debited = transfer.debit_account_id == filter.account_id;
                found.push(BalanceAt {
                    timestamp: transfer.timestamp,
                    balance: if debited { debit_after } else { credit_after },
                });
            }
        }
        filter.page(found)
    }

    pub(crate) fn query_transfers(&self, filter: &Filter) -> Vec<TransferBody> {
        if !filter.is_valid() {
            return Vec::new();
        }
        let found = self.transfers.iter().filter(|t| filter.matches_transfer(t));
        filter.page(found.map(Transfer::body).collect())
    }

    pub(crate) fn query_accounts(&self, filter: &Filter) -> Vec<AccountBody> {
        if !filter.is_valid() {
            return Vec::new();
        }
        let found = self.accounts.iter().filter(|a| {
            let data = (a.user_data_128, a.user_data_64, a.user_data_32);
            filter.matches(data, a.ledger, a.code, a.timestamp)
        });
        filter.page(found.map(|account| account.body()).collect())
    }
}
