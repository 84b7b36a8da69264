//! One transfer, the long way: every check in the documented order.

use kanjo_format::client::{TransferBody, TransferFlags};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::result::CreateTransferResult as R;
use kanjo_format::{AccountNumber, Timestamp, TransferId};

use super::weigh::Wish;
use super::{Detail, Ended, Intent, Weighed};
use crate::batch::OpenBatch;
use crate::days::is_date;
use crate::index::Entry;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

/// Flags of a transfer that resolves a pending one.
pub(super) const RESOLVING: u16 =
    TransferFlags::POST_PENDING_TRANSFER | TransferFlags::VOID_PENDING_TRANSFER;
const CLOSING: u16 = TransferFlags::CLOSING_DEBIT | TransferFlags::CLOSING_CREDIT;
const BALANCING: u16 = TransferFlags::BALANCING_DEBIT | TransferFlags::BALANCING_CREDIT;

impl Ledger {
    pub(super) fn create_transfer(
        &mut self,
        open: &mut OpenBatch,
        intent: &Intent<'_>,
        history: &mut dyn HistoryReader,
    ) -> Result<Ended<R>, HistoryError> {
        let event = intent.body;
        let flags = event.flags.get();
        if flags & !TransferFlags::ALL != 0 || intent.detail.reserved != 0 {
            return Ok(R::ReservedFlag.into());
        }
        match event.id.get() {
            0 => return Ok(R::IdMustNotBeZero.into()),
            u128::MAX => return Ok(R::IdMustNotBeIntMax.into()),
            _ => {}
        }
        match self.find_id(TransferId::new(event.id.get()), history)? {
            Some(Entry::Posted(at)) => return self.compare_transfer(open, intent, at, history),
            Some(Entry::Failed(_)) => return Ok(R::IdAlreadyFailed.into()),
            None => {}
        }
        if let Some(refused) = refuse_detail(event, &intent.detail) {
            return Ok(refused.into());
        }
        let weighed = if flags & RESOLVING != 0 {
            self.weigh_resolution(open, intent, history)?
        } else if intent.detail.reverses != 0 {
            self.weigh_reversal(open, intent, history)?
        } else {
            self.weigh_movement(open, intent)
        };
        Ok(match weighed {
            Ok(transfer) => Ended::Created(self.record(open, &transfer, intent)),
            Err(refused) => refused.into(),
        })
    }

    /// Records a transfer for which all was checked.
    fn record(
        &mut self,
        open: &mut OpenBatch,
        transfer: &Transfer,
        intent: &Intent<'_>,
    ) -> Timestamp {
        let at = open.next_at();
        self.note_undo(at, transfer);
        self.books.take_transfer(at, transfer);
        self.index.take(transfer.id, Entry::Posted(at));
        self.index.note_transfer(at, transfer);
        open.push_transfer(transfer, intent.width);
        transfer.timestamp
    }

    /// What a transfer that moves or reserves money comes to.
    fn weigh_movement(&self, open: &OpenBatch, intent: &Intent<'_>) -> Weighed<Transfer> {
        let event = intent.body;
        refuse_fields(event)?;
        let debit = intent.ends.debit.ok_or(R::DebitAccountNotFound)?;
        let credit = intent.ends.credit.ok_or(R::CreditAccountNotFound)?;
        self.check_ledger(event, debit, credit)?;
        self.check_business_date(&intent.detail)?;
        let timestamp = self.transfer_time(open, event)?;
        let flags = event.flags.get();
        if flags & TransferFlags::IMPORTED != 0 {
            let accounts = &self.books.accounts;
            if timestamp.get() <= accounts.opened_at(debit) {
                return Err(R::ImportedEventTimestampMustPostdateDebitAccount);
            }
            if timestamp.get() <= accounts.opened_at(credit) {
                return Err(R::ImportedEventTimestampMustPostdateCreditAccount);
            }
            if event.timeout.get() != 0 {
                return Err(R::ImportedEventTimeoutMustBeZero);
            }
        }
        let wish = Wish {
            debit,
            credit,
            amount: event.amount.get(),
            flags,
            timestamp,
            timeout: event.timeout.get(),
        };
        let form = match flags & TransferFlags::PENDING {
            0 => Form::Posts,
            _ => Form::Reserves,
        };
        Ok(Transfer {
            amount: self.weigh(&wish)?,
            form,
            ..plain_transfer(intent, debit, credit, timestamp)
        })
    }

    fn check_ledger(
        &self,
        event: &TransferBody,
        debit: AccountNumber,
        credit: AccountNumber,
    ) -> Weighed<()> {
        let slot = |number| {
            let core = self.books.accounts.core_at(number);
            core.traits.ledger_slot()
        };
        if slot(debit) != slot(credit) {
            return Err(R::AccountsMustHaveTheSameLedger);
        }
        let ledger = self.books.totals.at(slot(debit)).ledger.get();
        match ledger == event.ledger.get() {
            true => Ok(()),
            false => Err(R::TransferMustHaveTheSameLedgerAsAccounts),
        }
    }

    pub(super) fn check_business_date(&self, detail: &Detail) -> Weighed<()> {
        let is_closed =
            detail.business_date != 0 && detail.business_date <= self.books.days.last_closed();
        match is_closed {
            true => Err(R::BusinessDateClosed),
            false => Ok(()),
        }
    }

    /// When the transfer happens: now, or when it says if it is imported.
    pub(super) fn transfer_time(
        &self,
        open: &OpenBatch,
        event: &TransferBody,
    ) -> Weighed<Timestamp> {
        if event.flags.get() & TransferFlags::IMPORTED == 0 {
            return Ok(open.next_timestamp());
        }
        let imported = event.timestamp.get();
        let regresses =
            imported <= self.books.transfer_time || self.books.accounts.has_opened_at(imported);
        match regresses {
            true => Err(R::ImportedEventTimestampMustNotRegress),
            false => Ok(Timestamp::new(imported)),
        }
    }
}

/// A transfer as it is wished; amount and form are set by who weighs it.
pub(super) fn plain_transfer(
    intent: &Intent<'_>,
    debit: AccountNumber,
    credit: AccountNumber,
    timestamp: Timestamp,
) -> Transfer {
    let (event, detail) = (intent.body, &intent.detail);
    Transfer {
        id: TransferId::new(event.id.get()),
        debit,
        credit,
        amount: event.amount.get(),
        form: Form::Posts,
        timestamp,
        user_data_128: event.user_data_128.get(),
        user_data_64: event.user_data_64.get(),
        user_data_32: event.user_data_32.get(),
        timeout: event.timeout.get(),
        code: event.code.get(),
        flags: event.flags.get(),
        value_date: detail.value_date,
        business_date: detail.business_date,
    }
}

/// Flags that contradict each other, and what goes beyond the documented fields.
fn refuse_detail(event: &TransferBody, detail: &Detail) -> Option<R> {
    let flags = event.flags.get();
    let excluded = match flags & RESOLVING {
        0 => 0,
        RESOLVING => RESOLVING,
        _ => TransferFlags::PENDING | BALANCING | CLOSING,
    };
    let is_plain = flags & !TransferFlags::LINKED == 0;
    if flags & excluded != 0 || detail.reverses != 0 && !is_plain {
        return Some(R::FlagsAreMutuallyExclusive);
    }
    if detail.value_date != 0 && !is_date(detail.value_date) {
        return Some(R::ValueDateMustBeValid);
    }
    if detail.business_date != 0 && !is_date(detail.business_date) {
        return Some(R::BusinessDateMustBeValid);
    }
    if detail.reverses == u128::MAX {
        return Some(R::ReversesMustNotBeIntMax);
    }
    let reverses_itself = detail.reverses != 0 && detail.reverses == event.id.get();
    reverses_itself.then_some(R::ReversesMustBeDifferent)
}

/// What is checked of a transfer that moves or reserves money before its accounts are looked at.
fn refuse_fields(event: &TransferBody) -> Weighed<()> {
    match event.debit_account_id.get() {
        0 => return Err(R::DebitAccountIdMustNotBeZero),
        u128::MAX => return Err(R::DebitAccountIdMustNotBeIntMax),
        _ => {}
    }
    match event.credit_account_id.get() {
        0 => return Err(R::CreditAccountIdMustNotBeZero),
        u128::MAX => return Err(R::CreditAccountIdMustNotBeIntMax),
        _ => {}
    }
    if event.debit_account_id == event.credit_account_id {
        return Err(R::AccountsMustBeDifferent);
    }
    if event.pending_id.get() != 0 {
        return Err(R::PendingIdMustBeZero);
    }
    if event.flags.get() & TransferFlags::PENDING == 0 {
        if event.timeout.get() != 0 {
            return Err(R::TimeoutReservedForPendingTransfer);
        }
        if event.flags.get() & CLOSING != 0 {
            return Err(R::ClosingTransferMustBePending);
        }
    }
    if event.ledger.get() == 0 {
        return Err(R::LedgerMustNotBeZero);
    }
    match event.code.get() {
        0 => Err(R::CodeMustNotBeZero),
        _ => Ok(()),
    }
}
