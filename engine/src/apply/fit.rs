//! Whether records fit what is there.

use kanjo_format::client::{Freeze, TransferFlags};
use kanjo_format::limits::ACCOUNTS_MAX;
use kanjo_format::movement::{Expired, Form, Transfer};
use kanjo_format::record::{AccountChangeRow, AccountRow, DayRow, ImportedAccountRow, TransferRow};
use kanjo_format::{AccountNumber, LedgerId, RecordAt, Timestamp};

use super::{RecordError, is_no_id};
use crate::account::{Account, Core, Terms};
use crate::books::Posting;
use crate::days::Day;
use crate::index::Entry;
use crate::ledger::{Ledger, TIMESTAMP_MAX};
use crate::pendings::{Pending, due};

const SECOND_NS: u64 = 1_000_000_000;

/// Balances of one side of an account.
#[derive(Clone, Copy)]
struct Balances {
    number: AccountNumber,
    pending: u128,
    posted: u128,
}

impl Balances {
    /// They stay within 128 bits, also together.
    fn fit(&self, reserved: u128, posted: u128) -> Result<(), RecordError> {
        let pending = self.pending.checked_add(reserved);
        let posted = self.posted.checked_add(posted);
        let together = pending.and_then(|pending| pending.checked_add(posted?));
        match together {
            Some(_) => Ok(()),
            None => Err(RecordError::Overflow(self.number)),
        }
    }
}

impl Ledger {
    /// The cores of two accounts that may pay each other.
    #[inline]
    fn pair(
        &self,
        debit: AccountNumber,
        credit: AccountNumber,
    ) -> Result<(&Core, &Core), RecordError> {
        let find = |number| {
            let core = self.books.accounts.core(number);
            core.ok_or(RecordError::NoAccount(number))
        };
        let (from, to) = (find(debit)?, find(credit)?);
        if debit == credit || from.traits.ledger_slot() != to.traits.ledger_slot() {
            return Err(RecordError::Accounts { debit, credit });
        }
        Ok((from, to))
    }

    /// What a posted transfer makes of its accounts, if they are there and their balances hold it.
    #[inline]
    pub(super) fn fit_posted(&self, row: &TransferRow) -> Result<Posting, RecordError> {
        let (debit, credit) = (row.debit_account(), row.credit_account());
        let (from, to) = self.pair(debit, credit)?;
        let amount = row.amount.get();
        let grown = |balance: u128, number| {
            let sum = balance.checked_add(amount);
            sum.ok_or(RecordError::Overflow(number))
        };
        let debits_after = grown(from.debits_posted, debit)?;
        let credits_after = grown(to.credits_posted, credit)?;
        if from.traits.has_pending() || to.traits.has_pending() {
            let accounts = &self.books.accounts;
            let reserved = accounts.pending(debit, from).debits;
            let all = debits_after.checked_add(reserved);
            all.ok_or(RecordError::Overflow(debit))?;
            let reserved = accounts.pending(credit, to).credits;
            let all = credits_after.checked_add(reserved);
            all.ok_or(RecordError::Overflow(credit))?;
        }
        Ok(Posting {
            debit,
            credit,
            amount,
            ledger_slot: from.traits.ledger_slot(),
            debits_after,
            credits_after,
        })
    }

    /// Takes a transfer of any form.
    pub(super) fn apply_transfer(
        &mut self,
        at: RecordAt,
        transfer: &Transfer,
        recorded: Timestamp,
    ) -> Result<(), RecordError> {
        let (from, to) = self.pair(transfer.debit, transfer.credit)?;
        let (pending, accounts) = (self.fit_pending(transfer)?, &self.books.accounts);
        let debits = Balances {
            number: transfer.debit,
            pending: accounts.pending(transfer.debit, from).debits,
            posted: from.debits_posted,
        };
        let credits = Balances {
            number: transfer.credit,
            pending: accounts.pending(transfer.credit, to).credits,
            posted: to.credits_posted,
        };
        for side in [debits, credits] {
            match (transfer.form, &pending) {
                (Form::Reserves, _) => side.fit(transfer.amount, 0)?,
                (Form::Posts | Form::Reverses(_), _) => side.fit(0, transfer.amount)?,
                // No more than was reserved, which fitted.
                (Form::PostsPending(_) | Form::VoidsPending(_), _) => {}
            }
        }
        self.fit_closing(transfer)?;
        self.fit_time(transfer, recorded)?;
        self.fit_links(at, transfer)?;
        self.take_id(transfer.id, Entry::Posted(at))?;
        self.index.note_transfer(at, transfer);
        self.books.take_transfer(at, transfer);
        Ok(())
    }

    /// The pending transfer that a transfer resolves is open, and agrees with it.
    fn fit_pending(&self, transfer: &Transfer) -> Result<Option<Pending>, RecordError> {
        let (Form::PostsPending(at) | Form::VoidsPending(at)) = transfer.form else {
            return Ok(None);
        };
        let pending = self.books.pendings.get(at);
        let pending = pending.ok_or(RecordError::NotPending(at))?;
        let reserved = &pending.transfer;
        let agrees = reserved.debit == transfer.debit
            && reserved.credit == transfer.credit
            && match transfer.form.moves_money() {
                true => transfer.amount <= reserved.amount,
                false => transfer.amount == reserved.amount,
            };
        match agrees {
            true => Ok(Some(*pending)),
            false => Err(RecordError::OtherPending(at)),
        }
    }

    /// A transfer closes no account that is closed.
    fn fit_closing(&self, transfer: &Transfer) -> Result<(), RecordError> {
        if transfer.form != Form::Reserves {
            return Ok(());
        }
        for (closes, number) in [
            (TransferFlags::CLOSING_DEBIT, transfer.debit),
            (TransferFlags::CLOSING_CREDIT, transfer.credit),
        ] {
            let core = self.books.accounts.core_at(number);
            if transfer.flags & closes != 0 && core.traits.is_closed() {
                return Err(RecordError::Closed(number));
            }
        }
        Ok(())
    }

    /// Times of transfers rise along the log, and stay in range when they time out.
    fn fit_time(&self, transfer: &Transfer, recorded: Timestamp) -> Result<(), RecordError> {
        let found = transfer.timestamp;
        let timeout_ns = u64::from(transfer.timeout) * SECOND_NS;
        let after = match self.transfer_time_guessed {
            true => 0,
            false => self.books.transfer_time,
        };
        let fits =
            found.get() > after && found <= recorded && found.get() <= TIMESTAMP_MAX - timeout_ns;
        match fits {
            true => Ok(()),
            false => Err(RecordError::Time {
                found,
                after: Timestamp::new(after),
                recorded,
            }),
        }
    }

    /// Nothing is resolved or reversed twice, as far as the young part knows.
    pub(super) fn fit_links(&self, at: RecordAt, transfer: &Transfer) -> Result<(), RecordError> {
        match transfer.form {
            Form::Posts | Form::Reserves => Ok(()),
            Form::PostsPending(pending) | Form::VoidsPending(pending) => {
                self.fit_resolution(pending, at)
            }
            Form::Reverses(original) => {
                match original < at && self.index.reversal_of(original).is_none() {
                    true => Ok(()),
                    false => Err(RecordError::Reversed(original)),
                }
            }
        }
    }

    pub(super) fn fit_resolution(
        &self,
        pending: RecordAt,
        at: RecordAt,
    ) -> Result<(), RecordError> {
        match pending < at && self.index.resolution_of(pending).is_none() {
            true => Ok(()),
            false => Err(RecordError::NotPending(pending)),
        }
    }

    /// Takes an expiry.
    pub(super) fn apply_expiry(
        &mut self,
        at: RecordAt,
        expired: &Expired,
        recorded: Timestamp,
    ) -> Result<(), RecordError> {
        let pending = self.books.pendings.get(expired.pending);
        let pending = pending.ok_or(RecordError::NotPending(expired.pending))?;
        let transfer = &pending.transfer;
        if transfer.debit != expired.debit || transfer.credit != expired.credit {
            return Err(RecordError::OtherPending(expired.pending));
        }
        let due = due(transfer).unwrap_or(u64::MAX);
        if due > recorded.get() {
            return Err(RecordError::NotDue {
                pending: expired.pending,
                recorded,
                due: Timestamp::new(due),
            });
        }
        self.fit_resolution(expired.pending, at)?;
        self.index.note_expiry(at, expired);
        self.books.expire(expired.pending);
        Ok(())
    }

    /// Takes an account that was opened at `timestamp`.
    pub(super) fn apply_account(
        &mut self,
        row: &AccountRow,
        timestamp: Timestamp,
    ) -> Result<(), RecordError> {
        let expected = AccountNumber::new(self.books.accounts.count());
        if row.number() != expected {
            return Err(RecordError::Number {
                found: row.number(),
                expected,
            });
        }
        if is_no_id(row.id().get()) || expected.get() as usize >= ACCOUNTS_MAX - 1 {
            return Err(RecordError::Account(row.id()));
        }
        if row.ledger() == LedgerId::new(0) {
            return Err(RecordError::NoLedger(row.id()));
        }
        match self.books.open_account(&Account::opened(row, timestamp)) {
            Some(_) => Ok(()),
            None => Err(RecordError::Account(row.id())),
        }
    }

    pub(super) fn apply_imported(
        &mut self,
        row: &ImportedAccountRow,
        recorded: Timestamp,
    ) -> Result<(), RecordError> {
        let found = Timestamp::new(row.timestamp.get());
        let after = Timestamp::new(self.books.accounts.last_opened_at());
        if found <= after || found > recorded {
            return Err(RecordError::Time {
                found,
                after,
                recorded,
            });
        }
        self.apply_account(&row.account, found)
    }

    pub(super) fn apply_change(
        &mut self,
        row: &AccountChangeRow,
        recorded: Timestamp,
    ) -> Result<(), RecordError> {
        let number = AccountNumber::new(row.account.get());
        if self.books.accounts.core(number).is_none() {
            return Err(RecordError::NoAccount(number));
        }
        let limit = match (row.has_overdraft_limit, row.overdraft_limit.get()) {
            (0, 0) => None,
            (1, limit) => Some(limit),
            _ => return Err(RecordError::Terms(number)),
        };
        if u32::from(row.freeze) & !Freeze::ALL != 0 {
            return Err(RecordError::Terms(number));
        }
        let terms = Terms::new(limit, row.freeze, recorded.get());
        self.books.change_terms(number, terms);
        Ok(())
    }

    pub(super) fn apply_day(
        &mut self,
        row: &DayRow,
        at: RecordAt,
        recorded: Timestamp,
    ) -> Result<(), RecordError> {
        let (closed, next) = (row.closed.get(), row.next.get());
        if !self.books.days.fits(closed, next) {
            let current = self.books.days.current();
            return Err(RecordError::Day {
                closed,
                next,
                current,
            });
        }
        self.books.close_day(Day {
            closed,
            next,
            at,
            timestamp: recorded.get(),
        });
        Ok(())
    }
}
