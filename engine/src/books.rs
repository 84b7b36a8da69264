//! The books: the money, and what is derived from it. They do what execution has weighed and
//! replay has checked; no rule is decided here.
//!
//! Apart from the index, so that an id's place there can be held while money moves.

use kanjo_format::client::{AccountFlags, TransferFlags};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::{AccountNumber, RecordAt};

use crate::account::{Account, Accounts, Reserved, Terms};
use crate::days::{BusinessDays, Day};
use crate::digest::{AccountsDigest, Balance};
use crate::hash::IdHasher;
use crate::pendings::{Pending, Pendings};
use crate::reign::{ReignState, Unprotected};
use crate::totals::{LedgerTotals, Totals};

#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) accounts: Accounts,
    pub(crate) totals: Totals,
    pub(crate) digest: AccountsDigest,
    pub(crate) reign: ReignState,
    pub(crate) pendings: Pendings,
    pub(crate) days: BusinessDays,
    /// Time of the last transfer, in nanoseconds: an imported one must be later.
    pub(crate) transfer_time: u64,
    /// Transfers recorded.
    pub(crate) posted: u64,
    pub(crate) failed: u64,
}

/// Both accounts of a single-phase transfer and their balances after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting {
    pub(crate) debit: AccountNumber,
    pub(crate) credit: AccountNumber,
    pub(crate) ledger_slot: u32,
    pub(crate) amount: u128,
    pub(crate) debits_after: u128,
    pub(crate) credits_after: u128,
}

/// What a transfer or expiry does to its accounts: `released` is no longer pending, `reserved`
/// is from now on, `posted` is moved.
#[derive(Clone, Copy, Debug, Default)]
struct Shift {
    released: u128,
    reserved: u128,
    posted: u128,
}

/// What a transfer changed, as it was before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    debit: Account,
    credit: Account,
    totals: LedgerTotals,
    slot: u32,
    resolved: Option<Pending>,
}

/// What events change beside accounts and pending transfers, as it was at one moment.
#[derive(Debug)]
pub(crate) struct Sums {
    digest: AccountsDigest,
    accounts: u32,
    ledgers: usize,
    posted: u64,
    transfer_time: u64,
    unprotected: Option<Unprotected>,
}

impl Books {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            accounts: Accounts::new(hasher),
            totals: Totals::default(),
            digest: AccountsDigest::default(),
            reign: ReignState::default(),
            pendings: Pendings::new(hasher),
            days: BusinessDays::default(),
            transfer_time: 0,
            posted: 0,
            failed: 0,
        }
    }

    /// Opens an account under the next number; `None` if its id has one.
    pub(crate) fn open_account(&mut self, account: &Account) -> Option<AccountNumber> {
        let slot = self.totals.slot(account.ledger());
        self.take_account(account, slot)
    }

    /// Takes in an account whose ledger has that slot.
    pub(crate) fn take_account(&mut self, account: &Account, slot: u32) -> Option<AccountNumber> {
        let number = self.accounts.push(account, slot)?;
        self.totals.at_mut(slot).accounts += 1;
        self.digest.open(number, account);
        Some(number)
    }

    /// Moves money whose sums were checked.
    #[inline]
    pub(crate) fn post(&mut self, posting: &Posting) {
        let (debit, credit) = (posting.debit, posting.credit);
        let debits = &mut self.accounts.at_mut(debit).debits_posted;
        let from = std::mem::replace(debits, posting.debits_after);
        self.digest
            .change(debit, Balance::DebitsPosted, from, posting.debits_after);
        let credits = &mut self.accounts.at_mut(credit).credits_posted;
        let from = std::mem::replace(credits, posting.credits_after);
        self.digest
            .change(credit, Balance::CreditsPosted, from, posting.credits_after);

        let totals = self.totals.at_mut(posting.ledger_slot);
        totals.debits.add(posting.amount);
        totals.credits.add(posting.amount);
        self.count(posting.ledger_slot, posting.amount);
    }

    /// Counts a transfer that moved `amount`.
    #[inline]
    fn count(&mut self, slot: u32, amount: u128) {
        let totals = self.totals.at_mut(slot);
        totals.transfers += 1;
        self.posted += 1;
        if self.reign.is_alone() {
            let ledger = totals.ledger;
            self.reign.count_unprotected(ledger, amount);
        }
    }

    /// What a transfer will change, so that it can be undone.
    pub(crate) fn before(&self, transfer: &Transfer) -> Before {
        let slot = self.accounts.core_at(transfer.debit).traits.ledger_slot();
        let resolved = match transfer.form {
            Form::PostsPending(at) | Form::VoidsPending(at) => self.pendings.get(at).copied(),
            Form::Posts | Form::Reserves | Form::Reverses(_) => None,
        };
        Before {
            debit: self.accounts.at(transfer.debit),
            credit: self.accounts.at(transfer.credit),
            totals: *self.totals.at(slot),
            slot,
            resolved,
        }
    }

    /// Takes a transfer of any form in.
    pub(crate) fn take_transfer(&mut self, at: RecordAt, transfer: &Transfer) {
        let slot = self.accounts.core_at(transfer.debit).traits.ledger_slot();
        let amount = transfer.amount;
        let mut shift = Shift::default();
        match transfer.form {
            Form::Posts | Form::Reverses(_) => shift.posted = amount,
            Form::Reserves => {
                shift.reserved = amount;
                let pending = Pending {
                    at,
                    transfer: *transfer,
                };
                self.digest.open_pending(&pending);
                self.pendings.insert(pending);
                self.close_accounts(transfer, true);
            }
            Form::PostsPending(pending) | Form::VoidsPending(pending) => {
                let pending = self.close_pending(pending);
                shift.released = pending.transfer.amount;
                if transfer.form.moves_money() {
                    shift.posted = amount;
                } else {
                    self.close_accounts(&pending.transfer, false);
                }
            }
        }
        self.shift(transfer.debit, transfer.credit, shift);
        self.count(slot, shift.posted);
        self.transfer_time = transfer.timestamp.get();
    }

    /// Undoes the last transfer that was taken in; sums are set back apart from it.
    pub(crate) fn undo_transfer(&mut self, at: RecordAt, transfer: &Transfer, before: &Before) {
        if transfer.form == Form::Reserves {
            self.pendings.remove(at);
        }
        if let Some(pending) = before.resolved {
            self.pendings.insert(pending);
        }
        for (number, account) in [
            (transfer.debit, &before.debit),
            (transfer.credit, &before.credit),
        ] {
            let core = self.accounts.at_mut(number);
            core.debits_posted = account.debits_posted;
            core.credits_posted = account.credits_posted;
            self.accounts.set_pending(number, account.pending());
            self.accounts
                .set_state(number, account.flags, account.terms);
        }
        *self.totals.at_mut(before.slot) = before.totals;
    }

    /// Releases what a pending transfer reserved, and opens what it closed.
    pub(crate) fn expire(&mut self, pending: RecordAt) -> Pending {
        let pending = self.close_pending(pending);
        let transfer = &pending.transfer;
        self.close_accounts(transfer, false);
        let shift = Shift {
            released: transfer.amount,
            ..Shift::default()
        };
        self.shift(transfer.debit, transfer.credit, shift);
        pending
    }

    fn close_pending(&mut self, at: RecordAt) -> Pending {
        let pending = self.pendings.remove(at);
        let pending = pending.expect("that it is open was checked");
        self.digest.close_pending(&pending);
        pending
    }

    fn shift(&mut self, debit: AccountNumber, credit: AccountNumber, shift: Shift) {
        let shifted = |pending: u128| {
            let left = pending.checked_sub(shift.released);
            left.and_then(|left| left.checked_add(shift.reserved))
                .expect("that it fits was checked")
        };
        let posted = |balance: u128| {
            let sum = balance.checked_add(shift.posted);
            sum.expect("that it fits was checked")
        };
        let core = *self.accounts.core_at(debit);
        let reserved = self.accounts.pending(debit, &core);
        let (pending_after, after) = (shifted(reserved.debits), posted(core.debits_posted));
        let digest = &mut self.digest;
        digest.change(
            debit,
            Balance::DebitsPending,
            reserved.debits,
            pending_after,
        );
        digest.change(debit, Balance::DebitsPosted, core.debits_posted, after);
        self.accounts.at_mut(debit).debits_posted = after;
        let debits = Reserved {
            debits: pending_after,
            ..reserved
        };
        self.accounts.set_pending(debit, debits);

        let core = *self.accounts.core_at(credit);
        let reserved = self.accounts.pending(credit, &core);
        let (pending_after, after) = (shifted(reserved.credits), posted(core.credits_posted));
        digest.change(
            credit,
            Balance::CreditsPending,
            reserved.credits,
            pending_after,
        );
        digest.change(credit, Balance::CreditsPosted, core.credits_posted, after);
        self.accounts.at_mut(credit).credits_posted = after;
        let credits = Reserved {
            credits: pending_after,
            ..reserved
        };
        self.accounts.set_pending(credit, credits);

        let totals = self.totals.at_mut(core.traits.ledger_slot());
        for side in [&mut totals.debits_pending, &mut totals.credits_pending] {
            side.subtract(shift.released);
            side.add(shift.reserved);
        }
        totals.debits.add(shift.posted);
        totals.credits.add(shift.posted);
    }

    /// Closes the accounts that a pending transfer closes, or opens them again.
    fn close_accounts(&mut self, pending: &Transfer, close: bool) {
        for (closes, number) in [
            (TransferFlags::CLOSING_DEBIT, pending.debit),
            (TransferFlags::CLOSING_CREDIT, pending.credit),
        ] {
            if pending.flags & closes != 0 {
                let from = self.accounts.at(number);
                let flags = match close {
                    true => from.flags | AccountFlags::CLOSED,
                    false => from.flags & !AccountFlags::CLOSED,
                };
                self.set_state(number, &from, Account { flags, ..from });
            }
        }
    }

    /// Changes the terms of an account.
    pub(crate) fn change_terms(&mut self, number: AccountNumber, terms: Terms) {
        let from = self.accounts.at(number);
        self.set_state(number, &from, Account { terms, ..from });
    }

    fn set_state(&mut self, number: AccountNumber, from: &Account, to: Account) {
        self.digest.change_state(number, from, &to);
        self.accounts.set_state(number, to.flags, to.terms);
    }

    /// Closes a business date.
    pub(crate) fn close_day(&mut self, day: Day) {
        self.digest.close_day(self.days.closes().len(), &day);
        self.days.push(day);
    }

    /// Sums as they are now.
    pub(crate) fn sums(&self) -> Sums {
        let is_alone = self.reign.is_alone();
        Sums {
            digest: self.digest,
            accounts: self.accounts.count(),
            ledgers: self.totals.count(),
            posted: self.posted,
            transfer_time: self.transfer_time,
            unprotected: is_alone.then(|| self.reign.unprotected.clone()),
        }
    }

    /// Takes back the accounts that were opened since, and sets the sums back.
    pub(crate) fn undo_sums(&mut self, sums: Sums) {
        while self.accounts.count() > sums.accounts {
            let last = AccountNumber::new(self.accounts.count() - 1);
            let slot = self.accounts.core_at(last).traits.ledger_slot();
            self.totals.at_mut(slot).accounts -= 1;
            self.accounts.pop();
        }
        self.totals.truncate(sums.ledgers);
        self.digest = sums.digest;
        self.posted = sums.posted;
        self.transfer_time = sums.transfer_time;
        if let Some(unprotected) = sums.unprotected {
            self.reign.unprotected = unprotected;
        }
    }
}
