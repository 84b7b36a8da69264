//! What a record does to an account, and what that changes of its balances.

/// What an account has to do with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(u8);

/// What a record does to its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Action {
    /// Moves money at once.
    Posts = 0,
    /// Reserves money.
    Reserves = 1,
    /// Moves what a pending transfer reserved.
    PostsPending = 2,
    /// Releases what a pending transfer reserved.
    VoidsPending = 3,
    /// Moves money back.
    Reverses = 4,
    /// Releases what a pending transfer reserved, since its time is over.
    Expires = 5,
}

impl Action {
    const ALL: [Self; 6] = [
        Self::Posts,
        Self::Reserves,
        Self::PostsPending,
        Self::VoidsPending,
        Self::Reverses,
        Self::Expires,
    ];
}

impl Role {
    /// Of the debit account.
    pub const fn debit(action: Action) -> Self {
        Self((action as u8) << 1)
    }

    /// Of the credit account.
    pub const fn credit(action: Action) -> Self {
        Self((action as u8) << 1 | 1)
    }

    pub(super) const fn number(self) -> u8 {
        self.0
    }

    /// Whether the account is the credit account.
    pub const fn is_credit(self) -> bool {
        self.0 & 1 == 1
    }

    /// What the record does.
    pub const fn action(self) -> Action {
        Action::ALL[self.0 as usize >> 1]
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < 2 * Action::ALL.len() {
            Some(Self(number))
        } else {
            None
        }
    }
}

/// Balances of an account, or how they changed. Sums wrap around, so that changes add up in any
/// order to what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Debits reserved.
    pub debits_pending: u128,
    /// Debits posted.
    pub debits_posted: u128,
    /// Credits reserved.
    pub credits_pending: u128,
    /// Credits posted.
    pub credits_posted: u128,
}

impl Sums {
    /// Both changes, one after the other.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            debits_pending: self.debits_pending.wrapping_add(other.debits_pending),
            debits_posted: self.debits_posted.wrapping_add(other.debits_posted),
            credits_pending: self.credits_pending.wrapping_add(other.credits_pending),
            credits_posted: self.credits_posted.wrapping_add(other.credits_posted),
        }
    }

    /// What a record of that role changes: `amount` is what it posts, reserves or releases;
    /// `released` what was reserved by a pending transfer that it posts.
    pub fn add(&mut self, role: Role, amount: u128, released: u128) {
        let (pending, posted) = match role.is_credit() {
            false => (&mut self.debits_pending, &mut self.debits_posted),
            true => (&mut self.credits_pending, &mut self.credits_posted),
        };
        match role.action() {
            Action::Posts | Action::Reverses => *posted = posted.wrapping_add(amount),
            Action::Reserves => *pending = pending.wrapping_add(amount),
            Action::PostsPending => {
                *posted = posted.wrapping_add(amount);
                *pending = pending.wrapping_sub(released);
            }
            Action::VoidsPending | Action::Expires => *pending = pending.wrapping_sub(amount),
        }
    }
}
