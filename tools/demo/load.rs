//! A random load on accounts of its own: each one starts with the same money and may not
//! overdraw, so that some transfers are rejected.

use kanjo_client::{AccountBody, AccountFlags, TransferBody};

use crate::random::Random;

/// Euros, where nothing of the bank is.
pub(super) const LEDGER: u32 = 978;
/// Accounts of customers.
pub(super) const ACCOUNTS: u64 = 1_000;
/// Above the counterparties of the bank.
const TREASURY: u128 = 1 << 33;
const OPENING_BALANCE: u128 = 100_000;
const AMOUNT_MAX: u64 = 30_000;
const CODE: u16 = 3;

/// What is posted, all of it drawn before anything is sent.
pub(super) struct Load {
    /// Accounts to open.
    pub(super) accounts: Vec<AccountBody>,
    /// Gives every account its opening balance; to be answered before the rest begins.
    pub(super) funding: Vec<TransferBody>,
    /// Between random accounts.
    pub(super) transfers: Vec<TransferBody>,
}

/// Draws one transfer after the other.
pub(super) struct Drawer {
    random: Random,
    ids: u64,
}

impl Drawer {
    pub(super) const fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self { random, ids: 0 }
    }

    /// Transfers that give every account its opening balance.
    pub(super) fn funding(&mut self) -> Vec<TransferBody> {
        (1..=ACCOUNTS)
            .map(|n| self.transfer(TREASURY, account_id(n), OPENING_BALANCE))
            .collect()
    }

    /// A transfer between two random accounts.
    pub(super) fn next(&mut self) -> TransferBody {
        let random = &mut self.random;
        let debit = 1 + random.below(ACCOUNTS);
        // Any but the first one.
        let credit = 1 + (debit - 1 + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = 1 + random.below(AMOUNT_MAX);
        self.transfer(account_id(debit), account_id(credit), amount.into())
    }

    fn transfer(&mut self, debit: u128, credit: u128, amount: u128) -> TransferBody {
        self.ids += 1;
        // Far above the bank's `trans_id`, growing, and not to be guessed.
        let id = u128::from(self.ids) << 80 | u128::from(self.random.next()) << 16 | 1;
        TransferBody {
            id: id.into(),
            debit_account_id: debit.into(),
            credit_account_id: credit.into(),
            amount: amount.into(),
            ledger: LEDGER.into(),
            code: CODE.into(),
            ..TransferBody::default()
        }
    }
}

impl Load {
    /// Draws a load of `count` transfers, its funding included if there is room for it.
    pub(super) fn draw(seed: u64, count: u64) -> Self {
        let mut drawer = Drawer::new(seed);
        let funding = drawer.funding();
        let rest = count.saturating_sub(ACCOUNTS);
        let transfers = (0..rest).map(|_| drawer.next()).collect();
        Self {
            accounts: accounts(),
            funding,
            transfers,
        }
    }
}

fn account_id(number: u64) -> u128 {
    TREASURY + u128::from(number)
}

/// The accounts that the transfers are between.
pub(super) fn accounts() -> Vec<AccountBody> {
    let own = |id: u128, flags: u16| AccountBody {
        id: id.into(),
        ledger: LEDGER.into(),
        code: CODE.into(),
        flags: flags.into(),
        ..AccountBody::default()
    };
    let limited = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let customers = (1..=ACCOUNTS).map(|number| own(account_id(number), limited));
    std::iter::once(own(TREASURY, 0)).chain(customers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_gives_one_load_of_unique_ids_between_distinct_accounts() {
        let load = Load::draw(7, 5_000);
        let again = Load::draw(7, 5_000);
        assert_eq!(load.transfers, again.transfers);
        assert_ne!(load.transfers, Load::draw(8, 5_000).transfers);
        assert_eq!(load.funding.len() + load.transfers.len(), 5_000);
        let all: Vec<_> = load.funding.iter().chain(&load.transfers).collect();
        let ids: BTreeSet<u128> = all.iter().map(|one| one.id.get()).collect();
        assert_eq!(ids.len(), all.len());
        let opened: BTreeSet<u128> = load.accounts.iter().map(|one| one.id.get()).collect();
        for transfer in all {
            let (debit, credit) = (transfer.debit_account_id, transfer.credit_account_id);
            assert_ne!(debit, credit);
            assert!(opened.contains(&debit.get()) && opened.contains(&credit.get()));
        }
    }
}
