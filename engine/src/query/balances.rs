//! An account's balances: what movements do to them, and what they were at some place.

use kanjo_format::movement::Form;
use kanjo_format::{AccountNumber, RecordAt};

use super::past::{BATCH_COST, Budget, Key, Past, PastError, start_of, transfer_at};
use super::walk::{Event, Step, Walk};

/// Balances of one account, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Reserved debits.
    pub debits_pending: u128,
    /// Posted debits.
    pub debits_posted: u128,
    /// Reserved credits.
    pub credits_pending: u128,
    /// Posted credits.
    pub credits_posted: u128,
}

/// An account that a query is about, as it is where the past ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub number: AccountNumber,
    /// When it was opened, in nanoseconds; of an imported one what it says.
    pub opened: u64,
    /// Its balances at the end of the past.
    pub balances: Balances,
}

/// What one movement does to one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    debit: bool,
    credit: bool,
    reserved: u128,
    released: u128,
    posted: u128,
    undone: bool,
}

/// Balances while they are counted up from a part of all movements: what is reserved may be less
/// than nothing on the way, or more than there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    balances: Balances,
    debits_pending_high: i64,
    credits_pending_high: i64,
}

impl Effect {
    /// What `event` does to `account`. Of a pending transfer that was posted or that expired,
    /// the log says what it reserved.
    pub(super) fn of<P: Past>(
        past: &mut P,
        budget: &mut Budget,
        event: &Event,
        account: AccountNumber,
    ) -> Result<Self, PastError> {
        let (debit, credit) = event.accounts();
        let mut effect = Self {
            debit: debit == account,
            credit: credit == account,
            ..Self::default()
        };
        if !effect.debit && !effect.credit {
            return Ok(effect);
        }
        let mut reserved_by = |at| {
            budget.spend(BATCH_COST);
            transfer_at(past, at).map(|pending| pending.amount)
        };
        match event {
            Event::Expired(expired, _) => effect.released = reserved_by(expired.pending)?,
            Event::Transfer(transfer) => match transfer.form {
                Form::Posts | Form::Reverses(_) => effect.posted = transfer.amount,
                Form::Reserves => effect.reserved = transfer.amount,
                Form::VoidsPending(_) => effect.released = transfer.amount,
                Form::PostsPending(pending) => {
                    effect.released = reserved_by(pending)?;
                    effect.posted = transfer.amount;
                }
            },
        }
        Ok(effect)
    }

    /// The same, undone.
    pub(super) fn undone(self) -> Self {
        Self {
            undone: !self.undone,
            ..self
        }
    }
}

impl From<Balances> for Running {
    fn from(balances: Balances) -> Self {
        Self {
            balances,
            ..Self::default()
        }
    }
}

impl Running {
    /// Adds what a movement did, or takes it away.
    pub(super) fn apply(&mut self, effect: Effect) {
        let (more, less) = match effect.undone {
            false => (effect.reserved, effect.released),
            true => (effect.released, effect.reserved),
        };
        let posted = match effect.undone {
            false => effect.posted,
            true => effect.posted.wrapping_neg(),
        };
        let change = |pending: &mut u128, high: &mut i64, sum: &mut u128| {
            let (added, carry) = pending.overflowing_add(more);
            let (left, borrow) = added.overflowing_sub(less);
            *pending = left;
            *high += i64::from(carry) - i64::from(borrow);
            // Of all that was ever posted a part is no more than the ledger allows.
            *sum = sum.wrapping_add(posted);
        };
        let Balances {
            debits_pending,
            debits_posted,
            credits_pending,
            credits_posted,
        } = &mut self.balances;
        if effect.debit {
            change(debits_pending, &mut self.debits_pending_high, debits_posted);
        }
        if effect.credit {
            change(
                credits_pending,
                &mut self.credits_pending_high,
                credits_posted,
            );
        }
    }

    /// The balances. By business date, what a pending transfer reserved may be released on an
    /// earlier date than its own: nothing is reserved then, rather than less than nothing.
    pub(super) fn shown(&self) -> Balances {
        let shown = |pending: u128, high: i64| match high.signum() {
            -1 => 0,
            0 => pending,
            _ => u128::MAX,
        };
        let balances = &self.balances;
        Balances {
            debits_pending: shown(balances.debits_pending, self.debits_pending_high),
            credits_pending: shown(balances.credits_pending, self.credits_pending_high),
            ..*balances
        }
    }
}

/// Counts up an account's balances in front of a place: from the nearest base, or back from the
/// present where that is nearer.
#[derive(Clone, Debug)]
pub(super) struct BalancesAt {
    account: AccountNumber,
    balances: Running,
    walk: Walk,
    back: bool,
}

impl BalancesAt {
    pub(super) fn begin<P: Past>(
        past: &mut P,
        account: &Present,
        opened_at: RecordAt,
        place: RecordAt,
    ) -> Result<Self, PastError> {
        let (base, balances) = past.base(account.number, place)?;
        let base = base.max(opened_at);
        let end = start_of(past.end());
        let to_place = place.packed().saturating_sub(base.packed());
        let back = end.packed().saturating_sub(place.packed()) < to_place;
        let plan = vec![Key::Account(account.number)];
        Ok(Self {
            account: account.number,
            balances: if back { account.balances } else { balances }.into(),
            walk: match back {
                true => Walk::new(plan, true, place, end),
                false => Walk::new(plan, false, base, place),
            },
            back,
        })
    }

    /// Goes on; `None` while there is more to do.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<Running>, PastError> {
        loop {
            match self.walk.step(past, budget)? {
                Step::Event(_, event) => {
                    let effect = Effect::of(past, budget, &event, self.account)?;
                    self.balances.apply(match self.back {
                        true => effect.undone(),
                        false => effect,
                    });
                }
                Step::Pause => return Ok(None),
                Step::End => return Ok(Some(self.balances)),
            }
        }
    }
}
