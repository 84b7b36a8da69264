//! The short way of a single-phase transfer without flags, which most are.
//!
//! It posts the transfer or changes nothing. Whatever is unusual sends it the long way, which
//! finds out what that was in the documented order.

use kanjo_format::client::TransferBody;
use kanjo_format::record::TransferRow;
use kanjo_format::{Timestamp, TransferId};

use super::Ends;
use crate::batch::OpenBatch;
use crate::books::{Books, Posting};
use crate::index::{Entry, Probe};
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

impl Ledger {
    /// Posts a plain transfer; `None` if it has to go the long way.
    #[inline]
    pub(super) fn post_plain(
        &mut self,
        open: &mut OpenBatch,
        event: &TransferBody,
        ends: &Ends,
        history: &mut dyn HistoryReader,
    ) -> Result<Option<Timestamp>, HistoryError> {
        if !has_plain_fields(event) {
            return Ok(None);
        }
        let id = TransferId::new(event.id.get());
        let old_bound = self.index.old_bound();
        let Probe::Free(free) = self.index.probe(id) else {
            return Ok(None);
        };
        if id.get() < old_bound && history.find_id(id)?.is_some() {
            return Ok(None);
        }
        let Some(posting) = weigh_plain(&self.books, event, ends) else {
            return Ok(None);
        };
        let timestamp = open.next_timestamp();
        let at = open.next_at();
        self.books.post(&posting);
        self.books.transfer_time = timestamp.get();
        open.push_posted(row(event, &posting));
        free.take(Entry::Posted(at));
        self.index.note_time(timestamp);
        Ok(Some(timestamp))
    }
}

#[inline]
fn has_plain_fields(event: &TransferBody) -> bool {
    let zeros = u64::from(event.flags.get())
        | u64::from(event.timeout.get())
        | event.timestamp.get()
        | u64::from(event.pending_id.get() != 0);
    let id = event.id.get();
    zeros == 0 && event.code.get() != 0 && id != 0 && id != u128::MAX
}

/// What a transfer makes of its accounts, if there is nothing to be said against it.
#[inline]
fn weigh_plain(books: &Books, event: &TransferBody, ends: &Ends) -> Option<Posting> {
    let accounts = &books.accounts;
    let (from, to) = (ends.debit?, ends.credit?);
    let (debit, credit) = (accounts.core_at(from), accounts.core_at(to));
    let ledger_slot = debit.traits.ledger_slot();
    let fits = from != to
        && ledger_slot == credit.traits.ledger_slot()
        && debit.traits.is_plain_debit()
        && credit.traits.is_plain_credit()
        && books.totals.at(ledger_slot).ledger.get() == event.ledger.get();
    if !fits {
        return None;
    }
    let amount = event.amount.get();
    let debits_after = debit.debits_posted.checked_add(amount)?;
    let credits_after = credit.credits_posted.checked_add(amount)?;
    let debits_all = debits_after.checked_add(accounts.pending(from, debit).debits)?;
    let credits_all = credits_after.checked_add(accounts.pending(to, credit).credits)?;
    let exceeds = debit.traits.has_limited_debits() && debits_all > debit.credits_posted
        || credit.traits.has_limited_credits() && credits_all > credit.debits_posted;
    (!exceeds).then_some(Posting {
        debit: from,
        credit: to,
        ledger_slot,
        amount,
        debits_after,
        credits_after,
    })
}

fn row(event: &TransferBody, posting: &Posting) -> TransferRow {
    TransferRow {
        id: event.id,
        amount: event.amount,
        user_data_128: event.user_data_128,
        user_data_64: event.user_data_64,
        debit_account: posting.debit.get().into(),
        credit_account: posting.credit.get().into(),
        user_data_32: event.user_data_32,
        code: event.code,
        flags: event.flags,
    }
}
