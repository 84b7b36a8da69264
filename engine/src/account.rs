//! The accounts: dense arrays by number and a hash index from id to number.
//!
//! ```text
//! index     hash of the id → number    8 bytes each, so that it stays in a near cache
//! cores     one cache line each        all that a transfer needs of an account, in pages
//! profiles  what else there is         read by people and checkpoints, in pages
//! ```
//!
//! Pages are shared with snapshots and copied when first written after one, so that a
//! checkpoint is written beside the hot path. Accounts are never removed or renumbered.

mod pages;
mod table;
mod terms;
mod traits;

use std::cmp::Ordering;

use kanjo_format::client::AccountBody;
use kanjo_format::limits::ACCOUNTS_MAX;
use kanjo_format::record::AccountRow;
use kanjo_format::{AccountId, AccountNumber, LedgerId, Timestamp};

use crate::hash::IdHasher;
#[cfg(test)]
pub(crate) use pages::PAGE_VALUES;
pub(crate) use pages::{Pages, SharedPage};
use table::{NumberTable, Place};
pub(crate) use terms::Terms;
pub(crate) use traits::Traits;

/// Most accounts that are looked up together.
pub(crate) const FIND_MAX: usize = 64;

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
    pub(crate) terms: Terms,
}

/// All that a posted transfer needs of an account: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Core {
    pub(crate) debits_posted: u128,
    pub(crate) credits_posted: u128,
    id: u128,
    pub(crate) traits: Traits,
}

/// What else there is of an account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Profile {
    pending: Reserved,
    user_data_128: u128,
    terms: Terms,
    user_data_64: u64,
    timestamp: u64,
    ledger: u32,
    user_data_32: u32,
    code: u16,
    flags: u16,
}

/// What is reserved of an account's balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) debits: u128,
    pub(crate) credits: u128,
}

const _: () = assert!(size_of::<Core>() == 64);
const _: () = assert!(size_of::<Profile>() == 112);

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

    pub(crate) fn pending(&self) -> Reserved {
        Reserved {
            debits: self.debits_pending,
            credits: self.credits_pending,
        }
    }

    fn core(&self, traits: Traits) -> Core {
        Core {
            debits_posted: self.debits_posted,
            credits_posted: self.credits_posted,
            id: self.id,
            traits,
        }
    }

    fn profile(&self) -> Profile {
        Profile {
            pending: self.pending(),
            user_data_128: self.user_data_128,
            terms: self.terms,
            user_data_64: self.user_data_64,
            timestamp: self.timestamp,
            ledger: self.ledger,
            user_data_32: self.user_data_32,
            code: self.code,
            flags: self.flags,
        }
    }

    fn joined(core: &Core, profile: &Profile) -> Self {
        Self {
            debits_pending: profile.pending.debits,
            debits_posted: core.debits_posted,
            credits_pending: profile.pending.credits,
            credits_posted: core.credits_posted,
            id: core.id,
            user_data_128: profile.user_data_128,
            user_data_64: profile.user_data_64,
            timestamp: profile.timestamp,
            ledger: profile.ledger,
            user_data_32: profile.user_data_32,
            code: profile.code,
            flags: profile.flags,
            terms: profile.terms,
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

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    cores: Pages<Core>,
    profiles: Pages<Profile>,
    count: u32,
    /// How many have had their terms changed.
    changed: u32,
    index: NumberTable,
    hasher: IdHasher,
}

impl Accounts {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            cores: Pages::new(),
            profiles: Pages::new(),
            count: 0,
            changed: 0,
            index: NumberTable::new(),
            hasher,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The account of that number; `None` for one that was not given out.
    pub(crate) fn get(&self, number: AccountNumber) -> Option<Account> {
        (number.get() < self.count).then(|| self.at(number))
    }

    /// The account of a number that is known to be given out.
    pub(crate) fn at(&self, number: AccountNumber) -> Account {
        Account::joined(self.cores.at(number.get()), self.profiles.at(number.get()))
    }

    /// The core of that account; `None` for a number that was not given out.
    #[inline]
    pub(crate) fn core(&self, number: AccountNumber) -> Option<&Core> {
        (number.get() < self.count).then(|| self.cores.at(number.get()))
    }

    /// The core of a number that is known to be given out.
    #[inline]
    pub(crate) fn core_at(&self, number: AccountNumber) -> &Core {
        self.cores.at(number.get())
    }

    /// The same to write; copies its page if a snapshot shares it.
    #[inline]
    pub(crate) fn at_mut(&mut self, number: AccountNumber) -> &mut Core {
        self.cores.at_mut(number.get())
    }

    /// What is pending of the account that has this core.
    #[inline]
    pub(crate) fn pending(&self, number: AccountNumber, core: &Core) -> Reserved {
        match core.traits.has_pending() {
            false => Reserved::default(),
            true => self.profiles.at(number.get()).pending,
        }
    }

    pub(crate) fn set_pending(&mut self, number: AccountNumber, pending: Reserved) {
        self.profiles.at_mut(number.get()).pending = pending;
        let traits = &mut self.cores.at_mut(number.get()).traits;
        traits.set_pending(pending != Reserved::default());
    }

    /// Sets flags that transfers change, and terms.
    pub(crate) fn set_state(&mut self, number: AccountNumber, flags: u16, terms: Terms) {
        let profile = self.profiles.at_mut(number.get());
        self.changed += u32::from(profile.terms.changed == 0 && terms.changed != 0);
        profile.flags = flags;
        profile.terms = terms;
        let slot = self.cores.at(number.get()).traits.ledger_slot();
        let traits = Traits::new(slot, &self.at(number));
        self.cores.at_mut(number.get()).traits = traits;
    }

    pub(crate) fn id_at(&self, number: AccountNumber) -> u128 {
        self.cores.at(number.get()).id
    }

    pub(crate) fn terms(&self, number: AccountNumber) -> Terms {
        self.profiles.at(number.get()).terms
    }

    /// How many have had their terms changed.
    pub(crate) fn changed(&self) -> u32 {
        self.changed
    }

    /// When the account was opened, in nanoseconds. Later numbers have later times.
    pub(crate) fn opened_at(&self, number: AccountNumber) -> u64 {
        self.profiles.at(number.get()).timestamp
    }

    /// When the last account was opened; 0 before the first.
    pub(crate) fn last_opened_at(&self) -> u64 {
        match self.count.checked_sub(1) {
            None => 0,
            Some(last) => self.opened_at(AccountNumber::new(last)),
        }
    }

    /// Whether an account was opened just then.
    pub(crate) fn has_opened_at(&self, timestamp: u64) -> bool {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.opened_at(AccountNumber::new(middle)).cmp(&timestamp) {
                Ordering::Equal => return true,
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        false
    }

    pub(crate) fn find(&self, id: AccountId) -> Option<AccountNumber> {
        let hash = self.hasher.hash(id.get()) as u32;
        let is = |number: AccountNumber| self.cores.at(number.get()).id == id.get();
        self.index.find(self.index.place(hash), is)
    }

    /// Looks up to [`FIND_MAX`] accounts up and loads their cores into a near cache: first all
    /// buckets of the index are loaded, then all cores of the right hash, then their ids compared, so
    /// that none waits for the memory of another.
    pub(crate) fn find_many(&self, ids: &[AccountId], found: &mut [Option<AccountNumber>]) {
        let mut places = [Place::default(); FIND_MAX];
        let places = &mut places[..ids.len()];
        for (place, id) in places.iter_mut().zip(ids) {
            *place = self.index.place(self.hasher.hash(id.get()) as u32);
        }
        let some_bytes = places.iter().map(|place| self.index.touch(*place));
        std::hint::black_box(some_bytes.fold(0, u64::wrapping_add));
        for (found, place) in found.iter_mut().zip(places) {
            *found = self.index.find(*place, |_| true);
        }
        self.touch(found.iter().flatten().copied());
        for (found, id) in found.iter_mut().zip(ids) {
            let is_other = |number: AccountNumber| self.cores.at(number.get()).id != id.get();
            if found.is_some_and(is_other) {
                *found = self.find(*id);
            }
        }
    }

    /// Loads cores of accounts into a near cache: loads that do not need each other are waited for
    /// together. Accounts that are not there are passed over.
    #[inline]
    pub(crate) fn touch(&self, numbers: impl IntoIterator<Item = AccountNumber>) {
        let there = numbers.into_iter().filter(|n| n.get() < self.count);
        let some_bytes = there.map(|number| self.cores.at(number.get()).traits.touch());
        std::hint::black_box(some_bytes.fold(0, u64::wrapping_add));
    }

    /// Gives the account the next number; `None` if its id has one already. `ledger_slot` is the
    /// place of its ledger among the totals.
    pub(crate) fn push(&mut self, account: &Account, ledger_slot: u32) -> Option<AccountNumber> {
        assert!(
            (self.count as usize) < ACCOUNTS_MAX,
            "all account numbers are given out"
        );
        if self.find(AccountId::new(account.id)).is_some() {
            return None;
        }
        let number = AccountNumber::new(self.count);
        let hash = self.hasher.hash(account.id) as u32;
        self.index.insert(hash, number);
        self.count += 1;
        let traits = Traits::new(ledger_slot, account);
        self.changed += u32::from(account.terms.changed != 0);
        self.cores.push(number.get(), account.core(traits));
        self.profiles.push(number.get(), account.profile());
        Some(number)
    }

    /// Takes the last account back.
    pub(crate) fn pop(&mut self) {
        let number = AccountNumber::new(self.count - 1);
        let account = self.at(number);
        assert_eq!(account.terms.changed, 0, "an old account is not taken back");
        let hash = self.hasher.hash(account.id) as u32;
        self.index.remove(hash, number);
        self.count -= 1;
    }

    /// The accounts as they are now, shared until written.
    pub(crate) fn share(&mut self) -> SharedAccounts {
        SharedAccounts {
            cores: self.cores.share(),
            profiles: self.profiles.share(),
            count: self.count as usize,
        }
    }

    /// All accounts by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AccountNumber, Account)> {
        (0..self.count).map(|n| {
            let number = AccountNumber::new(n);
            (number, self.at(number))
        })
    }
}

/// All accounts as they were at one moment.
#[derive(Debug)]
pub(crate) struct SharedAccounts {
    pub(crate) cores: Vec<SharedPage<Core>>,
    profiles: Vec<SharedPage<Profile>>,
    count: usize,
}

impl SharedAccounts {
    /// In order of number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Account> {
        let cores = self.cores.iter().flat_map(|page| page.iter());
        let profiles = self.profiles.iter().flat_map(|page| page.iter());
        let all = cores.zip(profiles).take(self.count);
        all.map(|(core, profile)| Account::joined(core, profile))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn accounts_whose_hashes_agree_are_told_apart() {
        let hasher = IdHasher::new(1);
        let mut ids = BTreeMap::new();
        let twins = (1_u128..).find_map(|id| {
            let other = ids.insert(hasher.hash(id) as u32, id)?;
            Some([other, id])
        });
        let twins = twins.unwrap();
        let mut accounts = Accounts::new(hasher);
        let account = |id| Account {
            id,
            ..Account::default()
        };
        let wanted = twins.map(AccountId::new);
        let mut found = [None; 2];
        accounts.push(&account(twins[0]), 0).unwrap();
        accounts.find_many(&wanted, &mut found);
        assert_eq!(found, [Some(AccountNumber::new(0)), None]);
        accounts.push(&account(twins[1]), 0).unwrap();
        assert_eq!(accounts.push(&account(twins[1]), 0), None);
        accounts.find_many(&wanted, &mut found);
        assert_eq!(found, [0, 1].map(|n| Some(AccountNumber::new(n))));
    }
}
