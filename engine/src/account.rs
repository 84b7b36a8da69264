//! The accounts: a dense table by number and a hash index from id to number.
//!
//! Pages are shared with snapshots and copied when first written after one, so that a
//! checkpoint is written beside the hot path. Accounts are never removed or renumbered.

use std::sync::Arc;

use hashbrown::hash_table::Entry;
use kanjo_format::client::AccountBody;
use kanjo_format::limits::ACCOUNTS_MAX;
use kanjo_format::record::AccountRow;
use kanjo_format::{AccountId, AccountNumber, LedgerId, Timestamp};

use crate::hash::{IdHasher, Sharded};

/// Accounts of one page; the unit of copy-on-write.
pub(crate) const PAGE_ACCOUNTS: usize = 256;
const SHARD_BITS: u32 = 6;

/// One account, two cache lines: what every transfer changes, then what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
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
    /// Place of its ledger among the totals; derived, never stored.
    pub(crate) ledger_slot: u32,
    pub(crate) code: u16,
    pub(crate) flags: u16,
}

const _: () = assert!(size_of::<Account>() == 128);

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

pub(crate) type Page = [Account; PAGE_ACCOUNTS];

/// An account's number, and enough of its id's hash to grow the table without reading accounts.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    hash: u32,
}

impl Slot {
    fn table_hash(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    pages: Vec<Arc<Page>>,
    count: u32,
    table: Sharded<Slot>,
    hasher: IdHasher,
}

impl Accounts {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            pages: Vec::new(),
            count: 0,
            table: Sharded::new(SHARD_BITS),
            hasher,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The account of that number; `None` for one that was not given out.
    pub(crate) fn get(&self, number: AccountNumber) -> Option<&Account> {
        if number.get() >= self.count {
            return None;
        }
        Some(self.at(number))
    }

    /// The account of a number that is known to be given out.
    pub(crate) fn at(&self, number: AccountNumber) -> &Account {
        let number = number.get() as usize;
        &self.pages[number / PAGE_ACCOUNTS][number % PAGE_ACCOUNTS]
    }

    /// The same to write; copies its page if a snapshot shares it.
    pub(crate) fn at_mut(&mut self, number: AccountNumber) -> &mut Account {
        let number = number.get() as usize;
        let page = Arc::make_mut(&mut self.pages[number / PAGE_ACCOUNTS]);
        &mut page[number % PAGE_ACCOUNTS]
    }

    pub(crate) fn find(&self, id: AccountId) -> Option<AccountNumber> {
        let hash = self.hasher.hash(id.get()) as u32;
        let slot = Slot { number: 0, hash };
        self.table
            .find(slot.table_hash(), |s| self.is(*s, hash, id))
            .map(|s| AccountNumber::new(s.number))
    }

    fn is(&self, slot: Slot, hash: u32, id: AccountId) -> bool {
        slot.hash == hash && self.at(AccountNumber::new(slot.number)).id == id.get()
    }

    /// Gives the account the next number; `None` if its id has one already.
    pub(crate) fn push(&mut self, account: Account) -> Option<AccountNumber> {
        assert!(
            (self.count as usize) < ACCOUNTS_MAX,
            "all account numbers are given out"
        );
        let hash = self.hasher.hash(account.id) as u32;
        let slot = Slot {
            number: self.count,
            hash,
        };
        let pages = &self.pages;
        let same = |s: &Slot| {
            let number = s.number as usize;
            s.hash == hash && pages[number / PAGE_ACCOUNTS][number % PAGE_ACCOUNTS].id == account.id
        };
        match self
            .table
            .entry(slot.table_hash(), same, |s| s.table_hash())
        {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(slot),
        };
        let number = AccountNumber::new(self.count);
        if self.count as usize / PAGE_ACCOUNTS == self.pages.len() {
            self.pages
                .push(Arc::new([Account::default(); PAGE_ACCOUNTS]));
        }
        self.count += 1;
        *self.at_mut(number) = account;
        Some(number)
    }

    /// The pages as they are now, shared until written.
    pub(crate) fn share_pages(&self) -> Vec<Arc<Page>> {
        self.pages.clone()
    }

    /// All accounts by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AccountNumber, &Account)> {
        (0..self.count).map(|n| {
            let number = AccountNumber::new(n);
            (number, self.at(number))
        })
    }
}
