//! The digest of all accounts: a sum of one mixed term for each field of each account.
//!
//! A term is a bijection of its field's value (odd multiplications and shifts modulo 2^128),
//! keyed by account number and field. So any change of a single field changes the sum, a change
//! costs two terms, the order of changes does not matter, and reading costs nothing. It finds
//! accidents (a bug, a bad disk), not an attacker, who could search for sums that agree.
//!
//! Open pending transfers, terms that were ever changed and closed business dates add one term
//! each, so that a ledger without them has the digest that it had before there were any.

use kanjo_format::{AccountNumber, Digest};

use crate::account::{Account, Terms};
use crate::days::Day;
use crate::pendings::Pending;

/// The fields that transfers change, by their place among the fields of [`AccountsDigest::open`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Balance {
    DebitsPending = 0,
    DebitsPosted = 1,
    CreditsPending = 2,
    CreditsPosted = 3,
}

/// Place of the field that has an account's flags.
const FLAGS_FIELD: u8 = 7;
/// Keys of what is no field of an account, whose keys are below 2^35.
const PENDING_KEY: u64 = 1 << 63;
const TERMS_KEY: u64 = 1 << 40;
const DAY_KEY: u64 = 1 << 41;

/// What else a digest covers; mixed in when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) accounts: u32,
    pub(crate) posted: u64,
    pub(crate) failed: u64,
    pub(crate) log_time: u64,
}

/// The running sum over all accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountsDigest(u128);

impl AccountsDigest {
    /// Takes a whole account in.
    pub(crate) fn open(&mut self, number: AccountNumber, account: &Account) {
        let fields = [
            account.debits_pending,
            account.debits_posted,
            account.credits_pending,
            account.credits_posted,
            account.id,
            account.user_data_128,
            u128::from(account.user_data_64) | u128::from(account.timestamp) << 64,
            kinds(account),
        ];
        for (field, value) in fields.into_iter().enumerate() {
            self.0 = self.0.wrapping_add(term(key(number, field as u8), value));
        }
        self.add(terms_term(number, &account.terms));
    }

    /// Replaces flags and terms of an account.
    pub(crate) fn change_state(&mut self, number: AccountNumber, from: &Account, to: &Account) {
        let key = key(number, FLAGS_FIELD);
        self.take(term(key, kinds(from)));
        self.add(term(key, kinds(to)));
        self.take(terms_term(number, &from.terms));
        self.add(terms_term(number, &to.terms));
    }

    /// Takes an open pending transfer in.
    pub(crate) fn open_pending(&mut self, pending: &Pending) {
        self.add(pending_term(pending));
    }

    /// Takes an open pending transfer out.
    pub(crate) fn close_pending(&mut self, pending: &Pending) {
        self.take(pending_term(pending));
    }

    /// Takes the close of a business date in, the `n`th.
    pub(crate) fn close_day(&mut self, n: usize, day: &Day) {
        let dates = u128::from(day.closed) | u128::from(day.next) << 32;
        let values = [dates, u128::from(day.timestamp)];
        self.add(folded(DAY_KEY | n as u64, &values));
    }

    fn add(&mut self, term: u128) {
        self.0 = self.0.wrapping_add(term);
    }

    fn take(&mut self, term: u128) {
        self.0 = self.0.wrapping_sub(term);
    }

    /// Replaces one balance of an account.
    pub(crate) fn change(&mut self, number: AccountNumber, balance: Balance, from: u128, to: u128) {
        let key = key(number, balance as u8);
        self.0 = self
            .0
            .wrapping_sub(term(key, from))
            .wrapping_add(term(key, to));
    }

    /// The digest together with the counts.
    pub(crate) fn read(&self, counts: &Counts) -> Digest {
        let first = u128::from(counts.accounts) | u128::from(counts.posted) << 64;
        let second = u128::from(counts.failed) | u128::from(counts.log_time) << 64;
        Digest::new(
            self.0
                .wrapping_add(term(u64::MAX, first))
                .wrapping_add(term(u64::MAX - 1, second)),
        )
    }
}

fn key(number: AccountNumber, field: u8) -> u64 {
    u64::from(number.get()) << 3 | u64::from(field)
}

/// The field with what kind of account it is.
fn kinds(account: &Account) -> u128 {
    u128::from(account.ledger)
        | u128::from(account.user_data_32) << 32
        | u128::from(account.code) << 64
        | u128::from(account.flags) << 80
}

/// Zero for terms that never changed.
fn terms_term(number: AccountNumber, terms: &Terms) -> u128 {
    if terms.changed == 0 {
        return 0;
    }
    let limit = terms.overdraft_limit();
    let rest = u128::from(limit.is_some())
        | u128::from(terms.freeze) << 8
        | u128::from(terms.changed) << 64;
    folded(
        TERMS_KEY | u64::from(number.get()),
        &[limit.unwrap_or(0), rest],
    )
}

/// Not its place, which changes while its batch is being built.
fn pending_term(pending: &Pending) -> u128 {
    let t = &pending.transfer;
    let accounts = u128::from(t.debit.get()) | u128::from(t.credit.get()) << 32;
    let dates = u128::from(t.value_date) | u128::from(t.business_date) << 32;
    let values = [
        t.id.get(),
        t.amount,
        t.user_data_128,
        u128::from(t.user_data_64) | u128::from(t.timestamp.get()) << 64,
        accounts | u128::from(t.user_data_32) << 64 | u128::from(t.timeout) << 96,
        dates | u128::from(t.code) << 64 | u128::from(t.flags) << 80,
    ];
    folded(PENDING_KEY | t.timestamp.get(), &values)
}

/// One term of several values, each mixed into the next.
fn folded(key: u64, values: &[u128]) -> u128 {
    values.iter().fold(u128::from(key), |mixed, value| {
        term(key, mixed.rotate_left(59) ^ value)
    })
}

/// A bijection of `value` for every key.
fn term(key: u64, value: u128) -> u128 {
    const KEY: u128 = 0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15;
    const FIRST: u128 = 0xda94_2042_e4dd_58b5_d6e8_feb8_6659_fd93;
    const SECOND: u128 = 0xff51_afd7_ed55_8ccd_c4ce_b9fe_1a85_ec53;
    let mut x = value ^ u128::from(key).wrapping_add(1).wrapping_mul(KEY);
    x ^= x >> 67;
    x = x.wrapping_mul(FIRST);
    x ^= x >> 61;
    x = x.wrapping_mul(SECOND);
    x ^ x >> 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_bit_of_every_field_changes_the_digest() {
        let number = AccountNumber::new(7);
        let base = Account {
            id: 9,
            ledger: 1,
            ..Account::default()
        };
        let mut seen = BTreeSet::new();
        let mut add = |account: &Account| {
            let mut digest = AccountsDigest::default();
            digest.open(number, account);
            assert!(seen.insert(digest.0), "two accounts of one digest");
        };
        add(&base);
        for bit in 0..128 {
            let one = 1_u128 << bit;
            add(&Account {
                debits_pending: one,
                ..base
            });
            add(&Account {
                debits_posted: one,
                ..base
            });
            add(&Account {
                credits_pending: one,
                ..base
            });
            add(&Account {
                credits_posted: one,
                ..base
            });
            add(&Account {
                id: base.id ^ one,
                ..base
            });
            add(&Account {
                user_data_128: one,
                ..base
            });
        }
        for bit in 0..64 {
            let one = 1_u64 << bit;
            add(&Account {
                user_data_64: one,
                ..base
            });
            add(&Account {
                timestamp: one,
                ..base
            });
        }
        for bit in 0..16 {
            add(&Account {
                code: 1 << bit,
                ..base
            });
            add(&Account {
                flags: 1 << bit,
                ..base
            });
            add(&Account {
                user_data_32: 1 << bit,
                ..base
            });
            add(&Account {
                ledger: 1 ^ 1 << bit,
                ..base
            });
        }
    }

    #[test]
    fn a_change_equals_opening_with_the_new_value() {
        let number = AccountNumber::new(3);
        let (mut changed, mut opened) = (AccountsDigest::default(), AccountsDigest::default());
        changed.open(number, &Account::default());
        changed.change(number, Balance::CreditsPosted, 0, 55);
        changed.change(number, Balance::DebitsPosted, 0, u128::MAX);
        opened.open(
            number,
            &Account {
                credits_posted: 55,
                debits_posted: u128::MAX,
                ..Account::default()
            },
        );
        assert_eq!(changed, opened);
    }
}
