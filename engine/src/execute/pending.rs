//! A transfer that posts or voids a pending one.

use kanjo_format::client::{TransferBody, TransferFlags};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::result::CreateTransferResult as R;
use kanjo_format::{AccountNumber, RecordAt, TransferId};

use super::transfer::plain_transfer;
use super::{Intent, Weighed};
use crate::batch::OpenBatch;
use crate::index::Resolution;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

impl Ledger {
    /// What a transfer that posts or voids a pending one comes to.
    pub(super) fn weigh_resolution(
        &mut self,
        open: &OpenBatch,
        intent: &Intent<'_>,
        history: &mut dyn HistoryReader,
    ) -> Result<Weighed<Transfer>, HistoryError> {
        let event = intent.body;
        if let Some(refused) = refuse_fields(event) {
            return Ok(Err(refused));
        }
        let pending_id = TransferId::new(event.pending_id.get());
        let Some(at) = self.find_transfer_at(pending_id, history)? else {
            return Ok(Err(R::PendingTransferNotFound));
        };
        let pending = self.read_transfer(pending_id, at, Some(open), history)?;
        if pending.form != Form::Reserves {
            return Ok(Err(R::PendingTransferNotPending));
        }
        let amount = match self.check_same(event, &pending) {
            Ok(amount) => amount,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(refused) = self.refuse_resolved(at, history)? {
            return Ok(Err(refused));
        }
        if let Err(refused) = self.check_business_date(&intent.detail) {
            return Ok(Err(refused));
        }
        let timestamp = match self.transfer_time(open, event) {
            Ok(timestamp) => timestamp,
            Err(refused) => return Ok(Err(refused)),
        };
        let voids = event.flags.get() & TransferFlags::VOID_PENDING_TRANSFER != 0;
        // Nothing but a void is allowed for an account that is closed or frozen.
        if !voids && let Err(refused) = self.check_open(pending.debit, pending.credit) {
            return Ok(Err(refused));
        }
        let wished = plain_transfer(intent, pending.debit, pending.credit, timestamp);
        Ok(Ok(Transfer {
            amount,
            form: match voids {
                true => Form::VoidsPending(at),
                false => Form::PostsPending(at),
            },
            user_data_128: or(wished.user_data_128, pending.user_data_128),
            user_data_64: or(wished.user_data_64, pending.user_data_64),
            user_data_32: or(wished.user_data_32, pending.user_data_32),
            code: pending.code,
            ..wished
        }))
    }

    /// What the event says of the pending transfer is so; the amount that it posts or voids.
    fn check_same(&self, event: &TransferBody, pending: &Transfer) -> Weighed<u128> {
        if differs(event.debit_account_id.get(), self.id_of(pending.debit)) {
            return Err(R::PendingTransferHasDifferentDebitAccountId);
        }
        if differs(event.credit_account_id.get(), self.id_of(pending.credit)) {
            return Err(R::PendingTransferHasDifferentCreditAccountId);
        }
        if differs(event.ledger.get(), self.ledger_of(pending.debit)) {
            return Err(R::PendingTransferHasDifferentLedger);
        }
        if differs(event.code.get(), pending.code) {
            return Err(R::PendingTransferHasDifferentCode);
        }
        let voids = event.flags.get() & TransferFlags::VOID_PENDING_TRANSFER != 0;
        let whole = if voids { 0 } else { u128::MAX };
        let amount = match event.amount.get() {
            amount if amount == whole => pending.amount,
            amount => amount,
        };
        if amount > pending.amount {
            return Err(R::ExceedsPendingTransferAmount);
        }
        if voids && amount < pending.amount {
            return Err(R::PendingTransferHasDifferentAmount);
        }
        Ok(amount)
    }

    /// Why the pending transfer at `at` cannot be resolved any more, if it cannot.
    fn refuse_resolved(
        &self,
        at: RecordAt,
        history: &mut dyn HistoryReader,
    ) -> Result<Option<R>, HistoryError> {
        if self.books.pendings.get(at).is_some() {
            return Ok(None);
        }
        let resolution = match self.index.resolution_of(at) {
            None => history.resolution_of(at)?,
            found => found,
        };
        match resolution {
            Some(Resolution::Posted(_)) => Ok(Some(R::PendingTransferAlreadyPosted)),
            Some(Resolution::Voided(_)) => Ok(Some(R::PendingTransferAlreadyVoided)),
            Some(Resolution::Expired(_)) => Ok(Some(R::PendingTransferExpired)),
            None => Err(HistoryError {
                at,
                reason: "it is a pending transfer that is not open, and the index does not know \
                         what resolved it: rebuild the index"
                    .to_owned(),
            }),
        }
    }

    pub(super) fn id_of(&self, number: AccountNumber) -> u128 {
        self.books.accounts.id_at(number)
    }

    pub(super) fn ledger_of(&self, number: AccountNumber) -> u32 {
        let slot = self.books.accounts.core_at(number).traits.ledger_slot();
        self.books.totals.at(slot).ledger.get()
    }
}

fn refuse_fields(event: &TransferBody) -> Option<R> {
    match event.pending_id.get() {
        0 => return Some(R::PendingIdMustNotBeZero),
        u128::MAX => return Some(R::PendingIdMustNotBeIntMax),
        id if id == event.id.get() => return Some(R::PendingIdMustBeDifferent),
        _ => {}
    }
    let has_timeout = event.timeout.get() != 0;
    has_timeout.then_some(R::TimeoutReservedForPendingTransfer)
}

/// Whether a field that may be left out says something else.
pub(super) fn differs<T: Default + PartialEq>(wished: T, there: T) -> bool {
    wished != T::default() && wished != there
}

/// What the client gave, or else what was there.
fn or<T: Default + PartialEq>(wished: T, there: T) -> T {
    if wished == T::default() {
        there
    } else {
        wished
    }
}
