//! A transfer that moves back what another one moved, at most once and at most as much.

use kanjo_format::TransferId;
use kanjo_format::client::TransferBody;
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::result::CreateTransferResult as R;

use super::pending::differs;
use super::transfer::plain_transfer;
use super::weigh::Wish;
use super::{Intent, Weighed};
use crate::batch::OpenBatch;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

impl Ledger {
    /// What a reversal comes to.
    pub(super) fn weigh_reversal(
        &mut self,
        open: &OpenBatch,
        intent: &Intent<'_>,
        history: &mut dyn HistoryReader,
    ) -> Result<Weighed<Transfer>, HistoryError> {
        let event = intent.body;
        if let Some(refused) = refuse_fields(event) {
            return Ok(Err(refused));
        }
        let id = TransferId::new(intent.detail.reverses);
        let Some(at) = self.find_transfer_at(id, history)? else {
            return Ok(Err(R::ReversedTransferNotFound));
        };
        let original = self.read_transfer(id, at, Some(open), history)?;
        if !original.form.moves_money() {
            return Ok(Err(R::ReversedTransferNotPosted));
        }
        let amount = match self.check_original(event, &original) {
            Ok(amount) => amount,
            Err(refused) => return Ok(Err(refused)),
        };
        let reversal = match self.index.reversal_of(at) {
            None => history.reversal_of(at)?,
            found => found,
        };
        if reversal.is_some() {
            return Ok(Err(R::TransferAlreadyReversed));
        }
        if let Err(refused) = self.check_business_date(&intent.detail) {
            return Ok(Err(refused));
        }
        let timestamp = open.next_timestamp();
        let wish = Wish {
            debit: original.credit,
            credit: original.debit,
            amount,
            flags: event.flags.get(),
            timestamp,
            timeout: 0,
        };
        Ok(self.weigh(&wish).map(|amount| {
            let wished = plain_transfer(intent, wish.debit, wish.credit, timestamp);
            Transfer {
                amount,
                form: Form::Reverses(at),
                code: match wished.code {
                    0 => original.code,
                    code => code,
                },
                ..wished
            }
        }))
    }

    /// What the event says of the original is so; the amount that it moves back.
    fn check_original(&self, event: &TransferBody, original: &Transfer) -> Weighed<u128> {
        if differs(event.debit_account_id.get(), self.id_of(original.credit)) {
            return Err(R::ReversedTransferHasDifferentDebitAccountId);
        }
        if differs(event.credit_account_id.get(), self.id_of(original.debit)) {
            return Err(R::ReversedTransferHasDifferentCreditAccountId);
        }
        if differs(event.ledger.get(), self.ledger_of(original.debit)) {
            return Err(R::ReversedTransferHasDifferentLedger);
        }
        match event.amount.get() {
            u128::MAX => Ok(original.amount),
            amount if amount > original.amount => Err(R::ExceedsReversedTransferAmount),
            amount => Ok(amount),
        }
    }
}

/// As for any transfer, but for accounts, ledger and code, which may be left out.
fn refuse_fields(event: &TransferBody) -> Option<R> {
    let (debit, credit) = (event.debit_account_id.get(), event.credit_account_id.get());
    if debit == u128::MAX {
        return Some(R::DebitAccountIdMustNotBeIntMax);
    }
    if credit == u128::MAX {
        return Some(R::CreditAccountIdMustNotBeIntMax);
    }
    if debit != 0 && debit == credit {
        return Some(R::AccountsMustBeDifferent);
    }
    if event.pending_id.get() != 0 {
        return Some(R::PendingIdMustBeZero);
    }
    let has_timeout = event.timeout.get() != 0;
    has_timeout.then_some(R::TimeoutReservedForPendingTransfer)
}
