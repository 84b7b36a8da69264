//! What queries need of the ledger: accounts by number, their names, and the whole book.

use kanjo_format::client::{AccountBody, QueryFilterBody, TrialBalanceBody};
use kanjo_format::{AccountId, AccountNumber, LedgerId};
use std::collections::BTreeMap;

use super::balances::{Balances, Present};
use super::bodies::Names;
use super::transfers::Filter;
use crate::account::{Account, SharedAccounts};
use crate::ledger::Ledger;
use crate::totals::WideAmount;

/// Accounts that one page of a query for accounts may look at.
const ACCOUNTS_PER_PAGE: u32 = 16 << 10;

impl Names for Ledger {
    fn name_of(&self, account: AccountNumber) -> Option<(AccountId, LedgerId)> {
        let account = self.books.accounts.get(account)?;
        Some((AccountId::new(account.id), account.ledger()))
    }
}

impl Ledger {
    /// An account as it is now, and its flags.
    pub fn present(&self, id: AccountId) -> Option<(Present, u16)> {
        let number = self.books.accounts.find(id)?;
        let account = self.books.accounts.at(number);
        let present = Present {
            number,
            opened: account.timestamp,
            balances: Balances {
                debits_pending: account.debits_pending,
                debits_posted: account.debits_posted,
                credits_pending: account.credits_pending,
                credits_posted: account.credits_posted,
            },
        };
        Some((present, account.flags))
    }

    /// Pushes the accounts that a filter means, at most `rows_max`. Gives the bound of the page
    /// behind: its `timestamp_min`, or reversed its `timestamp_max`; 0 where there is no more.
    pub fn query_accounts(
        &self,
        body: &QueryFilterBody,
        rows_max: usize,
        out: &mut Vec<AccountBody>,
    ) -> u64 {
        let Some(filter) = Filter::of_query(body) else {
            return 0;
        };
        let rows_max = filter.limit.min(rows_max);
        // Accounts are numbered in the order of their times, imported ones too.
        let mut left = self.first_at(filter.timestamp_min)..self.first_at(filter.timestamp_max + 1);
        for _ in 0..ACCOUNTS_PER_PAGE {
            if out.len() >= rows_max {
                break;
            }
            let number = match filter.reversed {
                false => left.next(),
                true => left.next_back(),
            };
            let Some(number) = number else { break };
            let account = self.books.accounts.at(AccountNumber::new(number));
            if filter.matches_account(&account) {
                out.push(account.body());
            }
        }
        let next = match filter.reversed {
            false => left.next(),
            true => left.next_back(),
        };
        next.map_or(0, |number| {
            self.books.accounts.at(AccountNumber::new(number)).timestamp
        })
    }

    /// The number of the first account that was opened at `timestamp` or later.
    fn first_at(&self, timestamp: u64) -> u32 {
        let (mut low, mut high) = (0, self.books.accounts.count());
        while low < high {
            let middle = low + (high - low) / 2;
            let opened = self.books.accounts.at(AccountNumber::new(middle)).timestamp;
            match opened < timestamp {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// All accounts as they are now. Costs later one copy of each page of accounts that is
    /// written while the book lives.
    pub fn book(&mut self) -> Book {
        Book {
            accounts: self.books.accounts.share(),
        }
    }

    /// Pushes the ledgers of the accounts from number `first` on, at most `most`.
    pub fn ledgers_of_accounts(
        &self,
        first: AccountNumber,
        most: usize,
        ledgers: &mut Vec<LedgerId>,
    ) {
        let numbers = (first.get()..self.books.accounts.count()).take(most);
        let ledger_of = |n| self.books.accounts.at(AccountNumber::new(n)).ledger();
        ledgers.extend(numbers.map(ledger_of));
    }
}

impl Filter {
    fn matches_account(&self, account: &Account) -> bool {
        (self.user_data_128 == 0 || self.user_data_128 == account.user_data_128)
            && (self.user_data_64 == 0 || self.user_data_64 == account.user_data_64)
            && (self.user_data_32 == 0 || self.user_data_32 == account.user_data_32)
            && (self.ledger == 0 || self.ledger == account.ledger)
            && (self.code == 0 || self.code == account.code)
    }
}

/// All accounts as they were at one moment.
#[derive(Debug)]
pub struct Book {
    accounts: SharedAccounts,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    accounts: u64,
    debits_pending: WideAmount,
    debits_posted: WideAmount,
    credits_pending: WideAmount,
    credits_posted: WideAmount,
}

impl Sums {
    fn add(&mut self, account: &Account) {
        self.accounts += 1;
        self.debits_pending.add(account.debits_pending);
        self.debits_posted.add(account.debits_posted);
        self.credits_pending.add(account.credits_pending);
        self.credits_posted.add(account.credits_posted);
    }

    fn row(&self, ledger: u32, code: u16) -> TrialBalanceBody {
        TrialBalanceBody {
            ledger: ledger.into(),
            code: code.into(),
            accounts: self.accounts.into(),
            debits_pending: self.debits_pending.low().into(),
            debits_posted: self.debits_posted.low().into(),
            credits_pending: self.credits_pending.low().into(),
            credits_posted: self.credits_posted.low().into(),
            debits_pending_high: self.debits_pending.high().into(),
            debits_posted_high: self.debits_posted.high().into(),
            credits_pending_high: self.credits_pending.high().into(),
            credits_posted_high: self.credits_posted.high().into(),
            ..TrialBalanceBody::default()
        }
    }
}

impl Book {
    /// Totals of each ledger (code 0), each followed by those of its codes. Takes time with the
    /// number of accounts.
    pub fn trial_balance(&self) -> Vec<TrialBalanceBody> {
        let mut sums: BTreeMap<(u32, u16), Sums> = BTreeMap::new();
        for account in self.accounts.iter() {
            for code in [0, account.code] {
                sums.entry((account.ledger, code))
                    .or_default()
                    .add(&account);
            }
        }
        let rows = sums.iter();
        rows.map(|((ledger, code), sums)| sums.row(*ledger, *code))
            .collect()
    }
}
