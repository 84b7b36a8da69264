//! A transfer of an id that is taken: whether it is the same one.

use kanjo_format::client::{TransferBody, TransferFlags};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::result::CreateTransferResult as R;
use kanjo_format::{RecordAt, TransferId};

use super::pending::differs;
use super::{Detail, Ended, Intent};
use crate::batch::OpenBatch;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

const BALANCING: u16 = TransferFlags::BALANCING_DEBIT | TransferFlags::BALANCING_CREDIT;

/// A transfer that is there, and the one that it resolves or reverses.
struct There {
    transfer: Transfer,
    related: Option<Transfer>,
}

impl Ledger {
    /// Compares an event with the transfer at `at`, which has its id.
    pub(super) fn compare_transfer(
        &self,
        open: &OpenBatch,
        intent: &Intent<'_>,
        at: RecordAt,
        history: &mut dyn HistoryReader,
    ) -> Result<Ended<R>, HistoryError> {
        let (event, detail) = (intent.body, &intent.detail);
        let id = TransferId::new(event.id.get());
        let transfer = self.read_transfer(id, at, Some(open), history)?;
        let related = match transfer.form.related() {
            None => None,
            Some(at) => Some(self.read_at(at, Some(open), history)?),
        };
        let there = There { transfer, related };
        Ok(self
            .difference(event, detail, &there)
            .map_or(Ended::Exists(there.transfer.timestamp), Ended::Refused))
    }

    /// The first difference, if there is one.
    fn difference(&self, event: &TransferBody, detail: &Detail, there: &There) -> Option<R> {
        let transfer = &there.transfer;
        if transfer.flags != event.flags.get() {
            return Some(R::ExistsWithDifferentFlags);
        }
        if there.pending_id() != event.pending_id.get() {
            return Some(R::ExistsWithDifferentPendingId);
        }
        if transfer.timeout != event.timeout.get() {
            return Some(R::ExistsWithDifferentTimeout);
        }
        // What may be left out in an event of its kind.
        let resolves = there.resolves();
        let fills_in = resolves || detail.reverses != 0;
        let other = |wished: u128, there: u128| match fills_in {
            true => differs(wished, there),
            false => wished != there,
        };
        if other(event.debit_account_id.get(), self.id_of(transfer.debit)) {
            return Some(R::ExistsWithDifferentDebitAccountId);
        }
        if other(event.credit_account_id.get(), self.id_of(transfer.credit)) {
            return Some(R::ExistsWithDifferentCreditAccountId);
        }
        if there.has_other_amount(event.amount.get(), detail) {
            return Some(R::ExistsWithDifferentAmount);
        }
        let pending = there.related.filter(|_| resolves);
        let left_out = |wished: u128, pending: Option<u128>| match wished {
            0 => pending.unwrap_or(0),
            wished => wished,
        };
        let wished = event.user_data_128.get();
        let wished = left_out(wished, pending.map(|p| p.user_data_128));
        if wished != transfer.user_data_128 {
            return Some(R::ExistsWithDifferentUserData128);
        }
        let wished = event.user_data_64.get().into();
        let wished = left_out(wished, pending.map(|p| p.user_data_64.into()));
        if wished != u128::from(transfer.user_data_64) {
            return Some(R::ExistsWithDifferentUserData64);
        }
        let wished = event.user_data_32.get().into();
        let wished = left_out(wished, pending.map(|p| p.user_data_32.into()));
        if wished != u128::from(transfer.user_data_32) {
            return Some(R::ExistsWithDifferentUserData32);
        }
        let ledger = self.ledger_of(transfer.debit);
        if other(event.ledger.get().into(), ledger.into()) {
            return Some(R::ExistsWithDifferentLedger);
        }
        if other(event.code.get().into(), transfer.code.into()) {
            return Some(R::ExistsWithDifferentCode);
        }
        there.detail_difference(detail)
    }
}

impl There {
    fn resolves(&self) -> bool {
        let form = self.transfer.form;
        matches!(form, Form::PostsPending(_) | Form::VoidsPending(_))
    }

    fn pending_id(&self) -> u128 {
        let pending = self.related.filter(|_| self.resolves());
        pending.map_or(0, |pending| pending.id.get())
    }

    fn reverses(&self) -> u128 {
        match (self.transfer.form, &self.related) {
            (Form::Reverses(_), Some(original)) => original.id.get(),
            _ => 0,
        }
    }

    fn has_other_amount(&self, wished: u128, detail: &Detail) -> bool {
        let there = self.transfer.amount;
        let whole = self.related.map(|related| related.amount);
        let everything = match self.transfer.form {
            Form::VoidsPending(_) => Some(0),
            Form::PostsPending(_) => Some(u128::MAX),
            Form::Reverses(_) if detail.reverses != 0 => Some(u128::MAX),
            _ => None,
        };
        if Some(wished) == everything {
            return Some(there) != whole;
        }
        match self.transfer.flags & BALANCING {
            0 => wished != there,
            _ => wished < there,
        }
    }

    fn detail_difference(&self, detail: &Detail) -> Option<R> {
        if self.reverses() != detail.reverses {
            return Some(R::ExistsWithDifferentReverses);
        }
        if self.transfer.value_date != detail.value_date {
            return Some(R::ExistsWithDifferentValueDate);
        }
        let other = self.transfer.business_date != detail.business_date;
        other.then_some(R::ExistsWithDifferentBusinessDate)
    }
}
