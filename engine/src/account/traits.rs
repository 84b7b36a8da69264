//! What of an account decides how a transfer is checked, in its core's cache line.

use kanjo_format::client::{AccountFlags, Freeze};

use super::{Account, Reserved};

/// Place of an account's ledger among the totals, and one bit for each thing that a transfer has
/// to look at. Derived, never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    slot: u32,
    bits: u32,
}

impl Traits {
    const DEBITS_LIMITED: u32 = 1;
    const CREDITS_LIMITED: u32 = 1 << 1;
    const PENDING: u32 = 1 << 2;
    const CLOSED: u32 = 1 << 3;
    const DEBITS_FROZEN: u32 = 1 << 4;
    const CREDITS_FROZEN: u32 = 1 << 5;
    const OVERDRAFT: u32 = 1 << 6;
    /// What sends a transfer that debits the account the long way.
    const DEBIT_LONG: u32 = Self::CLOSED | Self::DEBITS_FROZEN | Self::OVERDRAFT;
    /// The same for one that credits it.
    const CREDIT_LONG: u32 = Self::CLOSED | Self::CREDITS_FROZEN;

    pub(super) fn new(slot: u32, account: &Account) -> Self {
        let flag = |flag| account.flags & flag != 0;
        let frozen = |freeze: u32| u32::from(account.terms.freeze) & freeze != 0;
        let mut traits = Self { slot, bits: 0 };
        let limited = flag(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
        traits.set(Self::DEBITS_LIMITED, limited);
        let limited = flag(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        traits.set(Self::CREDITS_LIMITED, limited);
        traits.set(Self::PENDING, account.pending() != Reserved::default());
        traits.set(Self::CLOSED, flag(AccountFlags::CLOSED));
        traits.set(Self::DEBITS_FROZEN, frozen(Freeze::DEBITS));
        traits.set(Self::CREDITS_FROZEN, frozen(Freeze::CREDITS));
        traits.set(Self::OVERDRAFT, account.terms.overdraft_limit().is_some());
        traits
    }

    fn set(&mut self, bit: u32, on: bool) {
        self.bits = if on {
            self.bits | bit
        } else {
            self.bits & !bit
        };
    }

    pub(super) fn set_pending(&mut self, pending: bool) {
        self.set(Self::PENDING, pending);
    }

    pub(super) fn touch(self) -> u64 {
        u64::from(self.bits)
    }

    #[inline]
    pub(crate) fn ledger_slot(self) -> u32 {
        self.slot
    }

    /// Debits must not exceed credits.
    #[inline]
    pub(crate) fn has_limited_debits(self) -> bool {
        self.bits & Self::DEBITS_LIMITED != 0
    }

    /// Credits must not exceed debits.
    #[inline]
    pub(crate) fn has_limited_credits(self) -> bool {
        self.bits & Self::CREDITS_LIMITED != 0
    }

    /// Something is reserved.
    #[inline]
    pub(crate) fn has_pending(self) -> bool {
        self.bits & Self::PENDING != 0
    }

    /// Nothing but limits has to be looked at when the account is debited.
    #[inline]
    pub(crate) fn is_plain_debit(self) -> bool {
        self.bits & Self::DEBIT_LONG == 0
    }

    /// Nothing but limits has to be looked at when the account is credited.
    #[inline]
    pub(crate) fn is_plain_credit(self) -> bool {
        self.bits & Self::CREDIT_LONG == 0
    }

    pub(crate) fn is_closed(self) -> bool {
        self.bits & Self::CLOSED != 0
    }

    pub(crate) fn has_frozen_debits(self) -> bool {
        self.bits & Self::DEBITS_FROZEN != 0
    }

    pub(crate) fn has_frozen_credits(self) -> bool {
        self.bits & Self::CREDITS_FROZEN != 0
    }

    pub(crate) fn has_overdraft(self) -> bool {
        self.bits & Self::OVERDRAFT != 0
    }
}
