//! A transfer that takes back another one, in whole or in part, once.

use kanjo_format::result::CreateTransferResult;

use super::pending::has_exclusive_flags;
use super::transfer::{
    LINKED, PENDING, VOID_PENDING, first_of, refuse_closed_and_frozen, refuse_limits, refuse_sums,
};
use super::{Asked, Model, Transfer};

impl Model {
    /// The reversal that may be created, or why it may not.
    pub(super) fn weigh_reversal(&self, asked: &Asked) -> Result<Transfer, CreateTransferResult> {
        use CreateTransferResult as R;
        let body = &asked.body;
        let (debit, credit) = (body.debit_account_id.get(), body.credit_account_id.get());
        first_of([
            (debit == u128::MAX, R::DebitAccountIdMustNotBeIntMax),
            (credit == u128::MAX, R::CreditAccountIdMustNotBeIntMax),
            (debit != 0 && debit == credit, R::AccountsMustBeDifferent),
            (body.pending_id.get() != 0, R::PendingIdMustBeZero),
            (
                body.timeout.get() != 0,
                R::TimeoutReservedForPendingTransfer,
            ),
        ])?;
        let original = self
            .transfer(asked.reverses)
            .ok_or(R::ReversedTransferNotFound)?;
        let reversal = self.as_asked(asked).reversing(original);
        let reversed = self.transfers.iter().any(|t| t.reverses == original.id);
        first_of([
            (
                original.has(PENDING | VOID_PENDING),
                R::ReversedTransferNotPosted,
            ),
            (
                reversal.debit_account_id != original.credit_account_id,
                R::ReversedTransferHasDifferentDebitAccountId,
            ),
            (
                reversal.credit_account_id != original.debit_account_id,
                R::ReversedTransferHasDifferentCreditAccountId,
            ),
            (
                reversal.ledger != original.ledger,
                R::ReversedTransferHasDifferentLedger,
            ),
            (
                reversal.amount > original.amount,
                R::ExceedsReversedTransferAmount,
            ),
            (reversed, R::TransferAlreadyReversed),
        ])?;
        self.refuse_business_date(asked)?;
        let debit = self.account(reversal.debit_account_id).expect("it exists");
        let credit = self.account(reversal.credit_account_id).expect("it exists");
        refuse_closed_and_frozen(debit, credit)?;
        refuse_sums(&reversal, debit, credit)?;
        refuse_limits(reversal.amount, debit, credit)?;
        Ok(reversal)
    }

    /// What is checked of dates and of the reversed id, whatever else the transfer is.
    pub(super) fn refuse_details(&self, asked: &Asked) -> Result<(), CreateTransferResult> {
        use CreateTransferResult as R;
        let not_plain = asked.body.flags.get() & !LINKED != 0;
        let exclusive = has_exclusive_flags(asked) || (asked.reverses != 0 && not_plain);
        first_of([
            (exclusive, R::FlagsAreMutuallyExclusive),
            (!is_date_or_zero(asked.value_date), R::ValueDateMustBeValid),
            (
                !is_date_or_zero(asked.business_date),
                R::BusinessDateMustBeValid,
            ),
            (asked.reverses == u128::MAX, R::ReversesMustNotBeIntMax),
            (
                asked.reverses == asked.body.id.get(),
                R::ReversesMustBeDifferent,
            ),
        ])
    }
}

impl Transfer {
    /// With what the request left open taken from the original.
    fn reversing(self, original: &Transfer) -> Transfer {
        let or = |asked: u128, original: u128| if asked == 0 { original } else { asked };
        Transfer {
            debit_account_id: or(self.debit_account_id, original.credit_account_id),
            credit_account_id: or(self.credit_account_id, original.debit_account_id),
            amount: if self.amount == u128::MAX {
                original.amount
            } else {
                self.amount
            },
            ledger: if self.ledger == 0 {
                original.ledger
            } else {
                self.ledger
            },
            code: if self.code == 0 {
                original.code
            } else {
                self.code
            },
            ..self
        }
    }
}

fn is_date_or_zero(date: u32) -> bool {
    date == 0 || super::terms::is_date(date)
}

/// Whether a retry that reverses something asks for what is there; what it leaves open is filled
/// in. `original` is what the transfer that is there reverses, if it does.
pub(super) fn compare_reversal(
    there: &Transfer,
    original: Option<&Transfer>,
    asked: &Asked,
) -> Result<(), CreateTransferResult> {
    use CreateTransferResult as R;
    let body = &asked.body;
    let other = |asked: u128, there: u128| asked != 0 && asked != there;
    let amount = match (body.amount.get(), original) {
        (u128::MAX, Some(original)) => original.amount,
        (amount, _) => amount,
    };
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
            there.differs_in_amount(amount),
            R::ExistsWithDifferentAmount,
        ),
        (
            body.user_data_128.get() != there.user_data_128,
            R::ExistsWithDifferentUserData128,
        ),
        (
            body.user_data_64.get() != there.user_data_64,
            R::ExistsWithDifferentUserData64,
        ),
        (
            body.user_data_32.get() != there.user_data_32,
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
