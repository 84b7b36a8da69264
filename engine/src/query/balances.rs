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
    /// How many times 2^128 more the pending debits and credits are while only a part of all
    /// movements is added up; negative where they are below zero. Zero of what the ledger holds.
    pub pending_carried: [i64; 2],
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

    /// Adds what is reserved and takes off what is released.
    fn reserve(&self, pending: &mut u128, carried: &mut i64) {
        let (sum, over) = pending.overflowing_add(self.reserved);
        let (rest, under) = sum.overflowing_sub(self.released);
        *pending = rest;
        *carried += i64::from(over) - i64::from(under);
    }

    /// The same, undone.
    pub(super) fn undone(self) -> Self {
        Self {
            reserved: self.released,
            released: self.reserved,
            posted: self.posted.wrapping_neg(),
            ..self
        }
    }
}

impl Balances {
    /// Adds what a movement did. Sums of a part of all movements may wrap on their way; those of
    /// what the ledger allowed do not.
    pub(super) fn apply(&mut self, effect: Effect) {
        let [debits_carried, credits_carried] = &mut self.pending_carried;
        if effect.debit {
            effect.reserve(&mut self.debits_pending, debits_carried);
            self.debits_posted = self.debits_posted.wrapping_add(effect.posted);
        }
        if effect.credit {
            effect.reserve(&mut self.credits_pending, credits_carried);
            self.credits_posted = self.credits_posted.wrapping_add(effect.posted);
        }
    }
}

/// Counts up an account's balances in front of a place: from the nearest base, or back from the
/// present where that is nearer.
#[derive(Clone, Debug)]
pub(super) struct BalancesAt {
    account: AccountNumber,
    balances: Balances,
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
            balances: if back { account.balances } else { balances },
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
    ) -> Result<Option<Balances>, PastError> {
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
