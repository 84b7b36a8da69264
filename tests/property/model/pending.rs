//! The second phase: posting, voiding, and what time does when nobody comes.

use kanjo_format::result::CreateTransferResult;

use super::transfer::{
    BALANCING_CREDIT, BALANCING_DEBIT, CLOSING_CREDIT, CLOSING_DEBIT, IMPORTED, PENDING,
    POST_PENDING, VOID_PENDING, first_of, refuse_closed_and_frozen,
};
use super::{Asked, Model, Pending, Transfer};

impl Model {
    /// Posts or voids a pending transfer.
    pub(super) fn try_resolve(&mut self, asked: &Asked) -> Result<u64, CreateTransferResult> {
        use CreateTransferResult as R;
        let pending = self.weigh_resolution(asked)?;
        let amount = resolved_amount(asked, &pending);
        let state = if asked.has(POST_PENDING) {
            Pending::Posted
        } else {
            Pending::Voided
        };
        let resolution = Transfer {
            debit_account_id: pending.debit_account_id,
            credit_account_id: pending.credit_account_id,
            amount,
            user_data_128: or(asked.body.user_data_128.get(), pending.user_data_128),
            user_data_64: or(asked.body.user_data_64.get(), pending.user_data_64),
            user_data_32: or(asked.body.user_data_32.get(), pending.user_data_32),
            ledger: pending.ledger,
            code: pending.code,
            ..self.as_asked(asked)
        };
        if resolution.has(POST_PENDING) {
            let debit = self.account_mut(pending.debit_account_id);
            debit.balance.debits_posted += amount;
            let credit = self.account_mut(pending.credit_account_id);
            credit.balance.credits_posted += amount;
            assert!(
                !pending.has(CLOSING_DEBIT | CLOSING_CREDIT),
                "{}",
                R::DebitAccountAlreadyClosed
            );
        }
        self.release(&pending, state);
        Ok(self.keep(resolution))
    }

    /// The pending transfer that may be ended so, or why it may not.
    fn weigh_resolution(&self, asked: &Asked) -> Result<Transfer, CreateTransferResult> {
        use CreateTransferResult as R;
        let body = &asked.body;
        let pending_id = body.pending_id.get();
        first_of([
            (pending_id == 0, R::PendingIdMustNotBeZero),
            (pending_id == u128::MAX, R::PendingIdMustNotBeIntMax),
            (pending_id == body.id.get(), R::PendingIdMustBeDifferent),
            (
                body.timeout.get() != 0,
                R::TimeoutReservedForPendingTransfer,
            ),
        ])?;
        let pending = self
            .transfer(pending_id)
            .ok_or(R::PendingTransferNotFound)?;
        if !pending.has(PENDING) {
            return Err(R::PendingTransferNotPending);
        }
        let other = |asked: u128, there: u128| asked != 0 && asked != there;
        let amount = resolved_amount(asked, pending);
        let state = self.pending[&pending_id];
        let overdue = pending.due().is_some_and(|due| due <= self.now());
        let regresses = asked.has(IMPORTED) && self.transfer_time_regresses(body.timestamp.get());
        first_of([
            (
                other(body.debit_account_id.get(), pending.debit_account_id),
                R::PendingTransferHasDifferentDebitAccountId,
            ),
            (
                other(body.credit_account_id.get(), pending.credit_account_id),
                R::PendingTransferHasDifferentCreditAccountId,
            ),
            (
                other(body.ledger.get().into(), pending.ledger.into()),
                R::PendingTransferHasDifferentLedger,
            ),
            (
                other(body.code.get().into(), pending.code.into()),
                R::PendingTransferHasDifferentCode,
            ),
            (amount > pending.amount, R::ExceedsPendingTransferAmount),
            (
                asked.has(VOID_PENDING) && amount < pending.amount,
                R::PendingTransferHasDifferentAmount,
            ),
            (state == Pending::Posted, R::PendingTransferAlreadyPosted),
            (state == Pending::Voided, R::PendingTransferAlreadyVoided),
            (
                state == Pending::Expired || overdue,
                R::PendingTransferExpired,
            ),
        ])?;
        self.refuse_business_date(asked)?;
        first_of([(regresses, R::ImportedEventTimestampMustNotRegress)])?;
        if asked.has(POST_PENDING) {
            let debit = self.account(pending.debit_account_id).expect("it exists");
            let credit = self.account(pending.credit_account_id).expect("it exists");
            refuse_closed_and_frozen(debit, credit)?;
        }
        Ok(pending.clone())
    }

    /// Takes a pending transfer out of the pending balances and opens what it closed.
    fn release(&mut self, pending: &Transfer, state: Pending) {
        let debit = self.account_mut(pending.debit_account_id);
        debit.balance.debits_pending -= pending.amount;
        if pending.has(CLOSING_DEBIT) {
            debit.set_closed(false);
        }
        let credit = self.account_mut(pending.credit_account_id);
        credit.balance.credits_pending -= pending.amount;
        if pending.has(CLOSING_CREDIT) {
            credit.set_closed(false);
        }
        self.pending.insert(pending.id, state);
    }

    /// Lets expire what is due, first what was due first. Each expiry takes a nanosecond, so
    /// another one may fall due by it.
    pub(super) fn expire_due(&mut self) {
        while let Some((_, place)) = self.due_by(self.now()).min() {
            let pending = self.transfers[place].clone();
            self.release(&pending, Pending::Expired);
            self.record_movement(place, true);
        }
    }

    /// The latest time up to `time` at which a pending transfer is due.
    pub(super) fn last_due_by(&self, time: u64) -> Option<u64> {
        self.due_by(time).map(|(due, _)| due).max()
    }

    /// What is due up to a time: when, and which; of several at one time the one created first
    /// comes first.
    fn due_by(&self, time: u64) -> impl Iterator<Item = (u64, usize)> {
        let is_open =
            |place: &usize| self.pending.get(&self.transfers[*place].id) == Some(&Pending::Open);
        (0..self.transfers.len())
            .filter(is_open)
            .filter_map(|place| Some((self.transfers[place].due()?, place)))
            .filter(move |(due, _)| *due <= time)
    }
}

fn or<T: Default + PartialEq>(asked: T, else_this: T) -> T {
    if asked == T::default() {
        else_this
    } else {
        asked
    }
}

/// Whether a transfer is both phases at once, or has flags that no second phase has.
pub(super) fn has_exclusive_flags(asked: &Asked) -> bool {
    let alone = PENDING | BALANCING_DEBIT | BALANCING_CREDIT | CLOSING_DEBIT | CLOSING_CREDIT;
    let (posts, voids) = (asked.has(POST_PENDING), asked.has(VOID_PENDING));
    (posts && voids) || ((posts || voids) && asked.has(alone))
}

/// What a post or void moves: a void of zero and a post of the maximum mean all of it.
fn resolved_amount(asked: &Asked, pending: &Transfer) -> u128 {
    let amount = asked.body.amount.get();
    let all = if asked.has(VOID_PENDING) {
        0
    } else {
        u128::MAX
    };
    if amount == all {
        pending.amount
    } else {
        amount
    }
}

/// Whether a retry asks for the post or void that is there.
pub(super) fn compare_resolution(
    there: &Transfer,
    pending: &Transfer,
    asked: &Asked,
) -> Result<(), CreateTransferResult> {
    use CreateTransferResult as R;
    let body = &asked.body;
    let other = |asked: u128, there: u128| asked != 0 && asked != there;
    let data = |asked: u128, of_pending: u128| if asked == 0 { of_pending } else { asked };
    first_of([
        (
            other(body.debit_account_id.get(), there.debit_account_id),
            R::ExistsWithDifferentDebitAccountId,
        ),
        (
            other(body.credit_account_id.get(), there.credit_account_id),
            R::ExistsWithDifferentCreditAccountId,
        ),
        (
            resolved_amount(asked, pending) != there.amount,
            R::ExistsWithDifferentAmount,
        ),
        (
            data(body.user_data_128.get(), pending.user_data_128) != there.user_data_128,
            R::ExistsWithDifferentUserData128,
        ),
        (
            data(body.user_data_64.get().into(), pending.user_data_64.into())
                != u128::from(there.user_data_64),
            R::ExistsWithDifferentUserData64,
        ),
        (
            data(body.user_data_32.get().into(), pending.user_data_32.into())
                != u128::from(there.user_data_32),
            R::ExistsWithDifferentUserData32,
        ),
        (
            other(body.ledger.get().into(), there.ledger.into()),
            R::ExistsWithDifferentLedger,
        ),
        (
            other(body.code.get().into(), there.code.into()),
            R::ExistsWithDifferentCode,
        ),
    ])
}
