//! Totals of each ledger, kept beside the accounts so that double entry is checked for free.

use std::collections::BTreeMap;
use std::fmt;

use kanjo_format::client::AccountFlags;
use kanjo_format::{AccountNumber, Digest, LedgerId};

use crate::account::{Account, Reserved};
use crate::books::Books;
use crate::digest::{AccountsDigest, Counts};

/// A sum of amounts: each fits 128 bits, their sum over all accounts may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WideAmount {
    high: u64,
    low: u128,
}

impl WideAmount {
    /// Nothing.
    pub const ZERO: Self = Self { high: 0, low: 0 };

    /// The sum of these parts, `high` counting 2^128.
    pub const fn from_parts(high: u64, low: u128) -> Self {
        Self { high, low }
    }

    /// How many times 2^128 it holds.
    pub const fn high(self) -> u64 {
        self.high
    }

    /// What is left beside [`Self::high`].
    pub const fn low(self) -> u128 {
        self.low
    }

    /// The sum if it fits 128 bits.
    pub const fn narrow(self) -> Option<u128> {
        match self.high {
            0 => Some(self.low),
            _ => None,
        }
    }

    pub(crate) fn add(&mut self, amount: u128) {
        let (low, carry) = self.low.overflowing_add(amount);
        self.low = low;
        // 2^64 carries take 2^64 transfers, each with its own nanosecond of log time.
        self.high += u64::from(carry);
    }

    pub(crate) fn subtract(&mut self, amount: u128) {
        let (low, borrow) = self.low.overflowing_sub(amount);
        self.low = low;
        self.high = self.high.wrapping_sub(u64::from(borrow));
    }
}

impl fmt::Display for WideAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(narrow) = self.narrow() {
            return fmt::Display::fmt(&narrow, f);
        }
        const CHUNK: u128 = 1_000_000_000_000_000_000;
        // Long division, 64 bits at a time, eighteen digits a round.
        let mut limbs = [self.high, (self.low >> 64) as u64, self.low as u64];
        let mut chunks = Vec::new();
        while limbs.iter().any(|&l| l != 0) {
            let mut rest = 0_u128;
            for limb in &mut limbs {
                let value = rest << 64 | u128::from(*limb);
                *limb = (value / CHUNK) as u64;
                rest = value % CHUNK;
            }
            chunks.push(rest);
        }
        let mut text = String::new();
        for (n, chunk) in chunks.iter().rev().enumerate() {
            text += &if n == 0 {
                format!("{chunk}")
            } else {
                format!("{chunk:018}")
            };
        }
        f.pad_integral(true, "", &text)
    }
}

/// What one ledger holds in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerTotals {
    /// The ledger.
    pub ledger: LedgerId,
    /// Posted debits of all its accounts.
    pub debits: WideAmount,
    /// Posted credits of all its accounts.
    pub credits: WideAmount,
    /// Pending debits of all its accounts.
    pub debits_pending: WideAmount,
    /// Pending credits of all its accounts.
    pub credits_pending: WideAmount,
    /// Accounts opened in it.
    pub accounts: u64,
    /// Transfers recorded in it, of any form.
    pub transfers: u64,
}

impl LedgerTotals {
    pub(crate) fn new(ledger: LedgerId) -> Self {
        Self {
            ledger,
            debits: WideAmount::ZERO,
            credits: WideAmount::ZERO,
            debits_pending: WideAmount::ZERO,
            credits_pending: WideAmount::ZERO,
            accounts: 0,
            transfers: 0,
        }
    }

    /// Whether every debit has its credit.
    pub fn is_balanced(&self) -> bool {
        self.debits == self.credits && self.debits_pending == self.credits_pending
    }

    /// Takes the balances of an account in.
    pub(crate) fn add_balances(&mut self, account: &Account) {
        self.debits.add(account.debits_posted);
        self.credits.add(account.credits_posted);
        self.debits_pending.add(account.debits_pending);
        self.credits_pending.add(account.credits_pending);
    }
}

/// The accounts do not add up; the state in memory must not be used any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Debits and credits of a ledger differ.
    #[error(
        "ledger {} has debits of {} (pending {}) and credits of {} (pending {}): they must be equal",
        .0.ledger, .0.debits, .0.debits_pending, .0.credits, .0.credits_pending
    )]
    Unbalanced(Box<LedgerTotals>),
    /// The running totals are not what the accounts add up to.
    #[error("ledger {ledger}: the accounts add up to {summed:?}, the running totals say {kept:?}")]
    Totals {
        /// The ledger.
        ledger: LedgerId,
        /// Sum over its accounts.
        summed: Box<LedgerTotals>,
        /// As kept.
        kept: Box<LedgerTotals>,
    },
    /// The running digest is not what the accounts give.
    #[error("the accounts give digest {computed}, the running one is {kept}")]
    Digest {
        /// From the accounts.
        computed: Digest,
        /// As kept.
        kept: Digest,
    },
    /// An account's flag promises what its balances do not keep.
    #[error("account number {0} is beyond the limit that its flags set")]
    Limit(AccountNumber),
    /// An account's pending balances are not what its open pending transfers reserve.
    #[error("account number {0} has pending balances that its open pending transfers do not make")]
    Pending(AccountNumber),
}

/// Totals of all ledgers, by the slot that accounts carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    by_slot: Vec<LedgerTotals>,
    slots: BTreeMap<LedgerId, u32>,
}

impl Totals {
    /// The ledger's slot, made if it is new.
    pub(crate) fn slot(&mut self, ledger: LedgerId) -> u32 {
        if let Some(&slot) = self.slots.get(&ledger) {
            return slot;
        }
        let slot = self.by_slot.len() as u32;
        self.by_slot.push(LedgerTotals::new(ledger));
        self.slots.insert(ledger, slot);
        slot
    }

    /// How many ledgers have a slot.
    pub(crate) fn count(&self) -> usize {
        self.by_slot.len()
    }

    /// Forgets the slots that were made last.
    pub(crate) fn truncate(&mut self, count: usize) {
        for totals in self.by_slot.drain(count..) {
            self.slots.remove(&totals.ledger);
        }
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &LedgerTotals {
        &self.by_slot[slot as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut LedgerTotals {
        &mut self.by_slot[slot as usize]
    }

    /// In order of ledger.
    pub(crate) fn list(&self) -> Vec<LedgerTotals> {
        self.slots
            .values()
            .map(|&slot| self.by_slot[slot as usize])
            .collect()
    }
}

impl Books {
    /// Adds up all accounts and compares with what is kept beside them.
    pub(crate) fn audit(&self, counts: &Counts) -> Result<(), AuditError> {
        let mut digest = AccountsDigest::default();
        let mut summed = Totals::default();
        for (number, account) in self.accounts.iter() {
            digest.open(number, &account);
            let slot = summed.slot(account.ledger());
            let totals = summed.at_mut(slot);
            totals.add_balances(&account);
            totals.accounts += 1;
            if !keeps_its_limit(&account) {
                return Err(AuditError::Limit(number));
            }
        }
        for (mut summed, kept) in summed.list().into_iter().zip(self.totals.list()) {
            // Transfers leave no trace in the accounts that could be counted.
            summed.transfers = kept.transfers;
            if summed != kept {
                let (ledger, summed, kept) = (kept.ledger, Box::new(summed), Box::new(kept));
                return Err(AuditError::Totals {
                    ledger,
                    summed,
                    kept,
                });
            }
            if !kept.is_balanced() {
                return Err(AuditError::Unbalanced(Box::new(kept)));
            }
        }
        for pending in self.pendings.iter() {
            digest.open_pending(pending);
        }
        self.check_pendings()?;
        for (n, day) in self.days.closes().iter().enumerate() {
            digest.close_day(n, day);
        }
        let (computed, kept) = (digest.read(counts), self.digest.read(counts));
        if computed != kept {
            return Err(AuditError::Digest { computed, kept });
        }
        Ok(())
    }
}

impl Books {
    /// Open pending transfers reserve exactly what is pending.
    pub(crate) fn check_pendings(&self) -> Result<(), AuditError> {
        let mut reserved: BTreeMap<AccountNumber, Reserved> = BTreeMap::new();
        for pending in self.pendings.iter() {
            let transfer = &pending.transfer;
            let debit = reserved.entry(transfer.debit).or_default();
            debit.debits = debit.debits.wrapping_add(transfer.amount);
            let credit = reserved.entry(transfer.credit).or_default();
            credit.credits = credit.credits.wrapping_add(transfer.amount);
        }
        for (number, account) in self.accounts.iter() {
            if account.pending() != reserved.remove(&number).unwrap_or_default() {
                return Err(AuditError::Pending(number));
            }
        }
        Ok(())
    }
}

/// A limit holds at every commit unless the account's terms ever changed: it is checked with the debits that grow, and credits only
/// ever give it room.
fn keeps_its_limit(account: &Account) -> bool {
    if account.terms.changed != 0 {
        return true;
    }
    let debits = account.debits_posted.checked_add(account.debits_pending);
    let credits = account.credits_posted.checked_add(account.credits_pending);
    let debits_kept = account.flags & AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS == 0
        || debits.is_some_and(|debits| debits <= account.credits_posted);
    let credits_kept = account.flags & AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS == 0
        || credits.is_some_and(|credits| credits <= account.debits_posted);
    debits_kept && credits_kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_beyond_128_bits_are_kept_and_shown() {
        let mut sum = WideAmount::ZERO;
        sum.add(u128::MAX);
        assert_eq!(sum.narrow(), Some(u128::MAX));
        assert_eq!(sum.to_string(), u128::MAX.to_string());
        sum.add(1);
        assert_eq!(sum.narrow(), None);
        assert_eq!(sum.to_string(), "340282366920938463463374607431768211456");
        sum.add(u128::MAX);
        assert_eq!(sum.to_string(), "680564733841876926926749214863536422911");
    }
}
