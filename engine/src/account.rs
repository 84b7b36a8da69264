//! The accounts: dense arrays by number and a hash index from id to number.
//!
//! ```text
//! index     id → number, traits        all that a transfer asks of an account but its balances
//! traits    ledger slot, limits        the same by number, for replay
//! balances  one cache line each        what transfers change, in pages
//! profiles  one cache line each        what stays, in pages
//! ```
//!
//! Pages are shared with snapshots and copied when first written after one, so that a
//! checkpoint is written beside the hot path. Accounts are never removed or renumbered.

mod pages;

use std::sync::Arc;

use hashbrown::hash_table::Entry;
use kanjo_format::client::{AccountBody, AccountFlags};
use kanjo_format::limits::ACCOUNTS_MAX;
use kanjo_format::record::AccountRow;
use kanjo_format::{AccountId, AccountNumber, LedgerId, Timestamp};

use crate::hash::{IdHasher, Sharded};
#[cfg(test)]
pub(crate) use pages::PAGE_ACCOUNTS;
pub(crate) use pages::Page;
use pages::Pages;

const SHARD_BITS: u32 = 6;

/// One account as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) debits_pending: u128,
    pub(crate) debits_posted: u128,
    pub(crate) credits_pending: u128,
    pub(crate) credits_posted: u128,
    pub(crate) id: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) timestamp: u64,
    pub(crate) ledger: u32,
    pub(crate) user_data_32: u32,
    pub(crate) code: u16,
    pub(crate) flags: u16,
}

/// What transfers change of an account: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Balances {
    pub(crate) debits_pending: u128,
    pub(crate) debits_posted: u128,
    pub(crate) credits_pending: u128,
    pub(crate) credits_posted: u128,
}

/// What stays of an account as it was opened: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Profile {
    id: u128,
    user_data_128: u128,
    user_data_64: u64,
    timestamp: u64,
    ledger: u32,
    user_data_32: u32,
    code: u16,
    flags: u16,
}

const _: () = assert!(size_of::<Balances>() == 64);
const _: () = assert!(size_of::<Profile>() == 64);

/// Place of an account's ledger among the totals, and whether its balances have limits. Derived,
/// never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits(u32);

impl Traits {
    const DEBITS_LIMITED: u32 = 1;
    const CREDITS_LIMITED: u32 = 2;
    const SLOT_SHIFT: u32 = 2;

    fn new(slot: u32, flags: u16) -> Self {
        assert!(
            slot < 1 << (32 - Self::SLOT_SHIFT),
            "all places for ledgers are given out"
        );
        let bit = |flag, bit| if flags & flag != 0 { bit } else { 0 };
        Self(
            slot << Self::SLOT_SHIFT
                | bit(
                    AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
                    Self::DEBITS_LIMITED,
                )
                | bit(
                    AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
                    Self::CREDITS_LIMITED,
                ),
        )
    }

    pub(crate) fn ledger_slot(self) -> u32 {
        self.0 >> Self::SLOT_SHIFT
    }

    /// Debits must not exceed credits.
    pub(crate) fn has_limited_debits(self) -> bool {
        self.0 & Self::DEBITS_LIMITED != 0
    }

    /// Credits must not exceed debits.
    pub(crate) fn has_limited_credits(self) -> bool {
        self.0 & Self::CREDITS_LIMITED != 0
    }
}

impl Account {
    /// An account as it is opened.
    pub(crate) fn opened(row: &AccountRow, timestamp: Timestamp) -> Self {
        Self {
            id: row.id.get(),
            user_data_128: row.user_data_128.get(),
            user_data_64: row.user_data_64.get(),
            timestamp: timestamp.get(),
            ledger: row.ledger.get(),
            user_data_32: row.user_data_32.get(),
            code: row.code.get(),
            flags: row.flags.get(),
            ..Self::default()
        }
    }

    pub(crate) fn ledger(&self) -> LedgerId {
        LedgerId::new(self.ledger)
    }

    fn balances(&self) -> Balances {
        Balances {
            debits_pending: self.debits_pending,
            debits_posted: self.debits_posted,
            credits_pending: self.credits_pending,
            credits_posted: self.credits_posted,
        }
    }

    fn profile(&self) -> Profile {
        Profile {
            id: self.id,
            user_data_128: self.user_data_128,
            user_data_64: self.user_data_64,
            timestamp: self.timestamp,
            ledger: self.ledger,
            user_data_32: self.user_data_32,
            code: self.code,
            flags: self.flags,
        }
    }

    fn joined(balances: &Balances, profile: &Profile) -> Self {
        Self {
            debits_pending: balances.debits_pending,
            debits_posted: balances.debits_posted,
            credits_pending: balances.credits_pending,
            credits_posted: balances.credits_posted,
            id: profile.id,
            user_data_128: profile.user_data_128,
            user_data_64: profile.user_data_64,
            timestamp: profile.timestamp,
            ledger: profile.ledger,
            user_data_32: profile.user_data_32,
            code: profile.code,
            flags: profile.flags,
        }
    }

    /// As clients see it.
    pub(crate) fn body(&self) -> AccountBody {
        AccountBody {
            id: self.id.into(),
            debits_pending: self.debits_pending.into(),
            debits_posted: self.debits_posted.into(),
            credits_pending: self.credits_pending.into(),
            credits_posted: self.credits_posted.into(),
            user_data_128: self.user_data_128.into(),
            user_data_64: self.user_data_64.into(),
            user_data_32: self.user_data_32.into(),
            reserved: 0.into(),
            ledger: self.ledger.into(),
            code: self.code.into(),
            flags: self.flags.into(),
            timestamp: self.timestamp.into(),
        }
    }
}

/// What the index knows of an account: 24 bytes, so that a match needs no other line.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: [u64; 2],
    found: Found,
}

const _: () = assert!(size_of::<Slot>() == 24);

fn halves(id: u128) -> [u64; 2] {
    [id as u64, (id >> 64) as u64]
}

/// An account that was found by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) number: AccountNumber,
    pub(crate) traits: Traits,
}

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    balances: Pages<Balances>,
    profiles: Pages<Profile>,
    traits: Vec<Traits>,
    index: Sharded<Slot>,
    hasher: IdHasher,
}

impl Accounts {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            balances: Pages::new(),
            profiles: Pages::new(),
            traits: Vec::new(),
            index: Sharded::new(SHARD_BITS),
            hasher,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.traits.len() as u32
    }

    /// The account of that number; `None` for one that was not given out.
    pub(crate) fn get(&self, number: AccountNumber) -> Option<Account> {
        (number.get() < self.count()).then(|| self.at(number))
    }

    /// The account of a number that is known to be given out.
    pub(crate) fn at(&self, number: AccountNumber) -> Account {
        Account::joined(self.balances.at(number), self.profiles.at(number))
    }

    /// Traits of that account; `None` for a number that was not given out.
    #[inline]
    pub(crate) fn traits(&self, number: AccountNumber) -> Option<Traits> {
        self.traits.get(number.get() as usize).copied()
    }

    /// Balances of an account whose number is known to be given out.
    #[inline]
    pub(crate) fn balances(&self, number: AccountNumber) -> &Balances {
        self.balances.at(number)
    }

    /// Loads balances of many accounts into a near cache: loads that do not need each other are
    /// waited for together. Accounts that are not there are passed over.
    #[inline]
    pub(crate) fn touch(&self, numbers: impl IntoIterator<Item = AccountNumber>) {
        let there = numbers.into_iter().filter(|n| n.get() < self.count());
        let first_bytes = there.map(|number| self.balances.at(number).debits_pending as u64);
        std::hint::black_box(first_bytes.fold(0, u64::wrapping_add));
    }

    /// The same to write; copies their page if a snapshot shares it.
    #[inline]
    pub(crate) fn at_mut(&mut self, number: AccountNumber) -> &mut Balances {
        self.balances.at_mut(number)
    }

    #[inline]
    pub(crate) fn find(&self, id: AccountId) -> Option<Found> {
        let id_halves = halves(id.get());
        self.index
            .find(self.hasher.hash(id.get()), |slot| slot.id == id_halves)
            .map(|slot| slot.found)
    }

    /// Gives the account the next number; `None` if its id has one already. `slot` is the place of
    /// its ledger among the totals.
    pub(crate) fn push(&mut self, account: &Account, slot: u32) -> Option<AccountNumber> {
        assert!(
            self.traits.len() < ACCOUNTS_MAX,
            "all account numbers are given out"
        );
        let (hasher, id_halves) = (self.hasher, halves(account.id));
        let entry = self.index.entry(
            hasher.hash(account.id),
            |slot| slot.id == id_halves,
            |slot| hasher.hash(u128::from(slot.id[0]) | u128::from(slot.id[1]) << 64),
        );
        let Entry::Vacant(vacant) = entry else {
            return None;
        };
        let number = AccountNumber::new(self.traits.len() as u32);
        let traits = Traits::new(slot, account.flags);
        vacant.insert(Slot {
            id: id_halves,
            found: Found { number, traits },
        });
        self.traits.push(traits);
        self.balances.push(number, account.balances());
        self.profiles.push(number, account.profile());
        Some(number)
    }

    /// The accounts as they are now, shared until written.
    pub(crate) fn share(&mut self) -> SharedAccounts {
        SharedAccounts {
            balances: self.balances.share(),
            profiles: self.profiles.share(),
            count: self.traits.len(),
        }
    }

    /// All accounts by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AccountNumber, Account)> {
        (0..self.count()).map(|n| {
            let number = AccountNumber::new(n);
            (number, self.at(number))
        })
    }
}

/// All accounts as they were at one moment.
#[derive(Debug)]
pub(crate) struct SharedAccounts {
    pub(crate) balances: Vec<Arc<Box<Page<Balances>>>>,
    profiles: Vec<Arc<Box<Page<Profile>>>>,
    count: usize,
}

impl SharedAccounts {
    /// In order of number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Account> {
        let balances = self.balances.iter().flat_map(|page| page.iter());
        let profiles = self.profiles.iter().flat_map(|page| page.iter());
        balances
            .zip(profiles)
            .take(self.count)
            .map(|(balances, profile)| Account::joined(balances, profile))
    }
}
