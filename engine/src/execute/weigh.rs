//! Looks at both accounts: how much a transfer moves or reserves, or why it cannot.

use kanjo_format::client::TransferFlags;
use kanjo_format::result::CreateTransferResult as R;
use kanjo_format::{AccountNumber, Timestamp};

use super::Weighed;
use crate::account::{Core, Reserved};
use crate::ledger::{Ledger, TIMESTAMP_MAX};

const SECOND_NS: u64 = 1_000_000_000;

/// A transfer whose accounts are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) debit: AccountNumber,
    pub(super) credit: AccountNumber,
    pub(super) amount: u128,
    pub(super) flags: u16,
    pub(super) timestamp: Timestamp,
    pub(super) timeout: u32,
}

/// One account with what is reserved of it.
struct Side<'a> {
    number: AccountNumber,
    core: &'a Core,
    reserved: Reserved,
}

impl Wish {
    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl Ledger {
    fn side(&self, number: AccountNumber) -> Side<'_> {
        let core = self.books.accounts.core_at(number);
        Side {
            number,
            core,
            reserved: self.books.accounts.pending(number, core),
        }
    }

    /// The amount that a transfer moves or reserves.
    pub(super) fn weigh(&self, wish: &Wish) -> Weighed<u128> {
        let (debit, credit) = (self.side(wish.debit), self.side(wish.credit));
        self.check_open(wish.debit, wish.credit)?;
        let amount = balanced(wish, &debit, &credit);
        check_overflow(wish, amount, &debit, &credit)?;
        let timeout_ns = u64::from(wish.timeout) * SECOND_NS;
        if wish.timestamp.get() > TIMESTAMP_MAX - timeout_ns {
            return Err(R::OverflowsTimeout);
        }
        self.check_limits(amount, &debit, &credit)?;
        Ok(amount)
    }

    /// Neither account is closed, or frozen on the side that the transfer needs.
    pub(super) fn check_open(&self, debit: AccountNumber, credit: AccountNumber) -> Weighed<()> {
        let traits = |number| self.books.accounts.core_at(number).traits;
        let (debit, credit) = (traits(debit), traits(credit));
        if debit.is_closed() {
            return Err(R::DebitAccountAlreadyClosed);
        }
        if credit.is_closed() {
            return Err(R::CreditAccountAlreadyClosed);
        }
        if debit.has_frozen_debits() {
            return Err(R::DebitAccountFrozen);
        }
        match credit.has_frozen_credits() {
            true => Err(R::CreditAccountFrozen),
            false => Ok(()),
        }
    }

    fn check_limits(&self, amount: u128, debit: &Side<'_>, credit: &Side<'_>) -> Weighed<()> {
        // The sums were checked for overflow.
        let debits = debit.core.debits_posted + debit.reserved.debits + amount;
        let traits = debit.core.traits;
        if traits.has_overdraft() {
            let terms = self.books.accounts.terms(debit.number);
            let overdraft = terms.overdraft_limit().unwrap_or(0);
            // A limit beyond what 128 bits hold is none.
            let most = debit.core.credits_posted.saturating_add(overdraft);
            if debits > most {
                return Err(R::ExceedsOverdraftLimit);
            }
        } else if traits.has_limited_debits() && debits > debit.core.credits_posted {
            return Err(R::ExceedsCredits);
        }
        let credits = credit.core.credits_posted + credit.reserved.credits + amount;
        if credit.core.traits.has_limited_credits() && credits > credit.core.debits_posted {
            return Err(R::ExceedsDebits);
        }
        Ok(())
    }
}

/// What of the wished amount a balancing transfer moves.
fn balanced(wish: &Wish, debit: &Side<'_>, credit: &Side<'_>) -> u128 {
    let mut amount = wish.amount;
    if wish.has(TransferFlags::BALANCING_DEBIT) {
        let debits = debit.core.debits_posted + debit.reserved.debits;
        amount = amount.min(debit.core.credits_posted.saturating_sub(debits));
    }
    if wish.has(TransferFlags::BALANCING_CREDIT) {
        let credits = credit.core.credits_posted + credit.reserved.credits;
        amount = amount.min(credit.core.debits_posted.saturating_sub(credits));
    }
    amount
}

fn check_overflow(wish: &Wish, amount: u128, debit: &Side<'_>, credit: &Side<'_>) -> Weighed<()> {
    let fits = |balance: u128, overflow: R| match balance.checked_add(amount) {
        Some(_) => Ok(()),
        None => Err(overflow),
    };
    if wish.has(TransferFlags::PENDING) {
        fits(debit.reserved.debits, R::OverflowsDebitsPending)?;
        fits(credit.reserved.credits, R::OverflowsCreditsPending)?;
    }
    fits(debit.core.debits_posted, R::OverflowsDebitsPosted)?;
    fits(credit.core.credits_posted, R::OverflowsCreditsPosted)?;
    // Pending and posted together never overflow: it is checked here each time.
    let debits = debit.core.debits_posted + debit.reserved.debits;
    fits(debits, R::OverflowsDebits)?;
    let credits = credit.core.credits_posted + credit.reserved.credits;
    fits(credits, R::OverflowsCredits)
}
