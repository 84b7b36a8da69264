//! Rows of the money: accounts, ledgers, pending transfers, terms, business dates.

use kanjo_format::checkpoint::{
    CheckpointAccountRow, CheckpointDayRow, CheckpointPendingRow, CheckpointTermsRow, LedgerRow,
};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::{AccountNumber, RecordAt, Timestamp, TransferId};

use crate::account::{Account, Terms};
use crate::days::Day;
use crate::ledger::TIMESTAMP_MAX;
use crate::pendings::Pending;
use crate::totals::LedgerTotals;

/// The row of an account.
pub(super) fn account(account: &Account) -> CheckpointAccountRow {
    CheckpointAccountRow {
        id: account.id.into(),
        debits_pending: account.debits_pending.into(),
        debits_posted: account.debits_posted.into(),
        credits_pending: account.credits_pending.into(),
        credits_posted: account.credits_posted.into(),
        user_data_128: account.user_data_128.into(),
        user_data_64: account.user_data_64.into(),
        timestamp: account.timestamp.into(),
        ledger: account.ledger.into(),
        user_data_32: account.user_data_32.into(),
        code: account.code.into(),
        flags: account.flags.into(),
        zero: 0.into(),
    }
}

/// The account of a row; its terms stand apart.
pub(super) fn account_of(row: &CheckpointAccountRow) -> Account {
    Account {
        debits_pending: row.debits_pending.get(),
        debits_posted: row.debits_posted.get(),
        credits_pending: row.credits_pending.get(),
        credits_posted: row.credits_posted.get(),
        id: row.id.get(),
        user_data_128: row.user_data_128.get(),
        user_data_64: row.user_data_64.get(),
        timestamp: row.timestamp.get(),
        ledger: row.ledger.get(),
        user_data_32: row.user_data_32.get(),
        code: row.code.get(),
        flags: row.flags.get(),
        terms: Terms::default(),
    }
}

/// The row of a ledger.
pub(super) fn ledger(totals: &LedgerTotals) -> LedgerRow {
    LedgerRow {
        ledger: totals.ledger.get().into(),
        zero: 0.into(),
        accounts: totals.accounts.into(),
        transfers: totals.transfers.into(),
        volume_low: totals.debits.low().into(),
        volume_high: totals.debits.high().into(),
    }
}

/// The row of an open pending transfer.
pub(super) fn pending(pending: &Pending) -> CheckpointPendingRow {
    let transfer = &pending.transfer;
    CheckpointPendingRow {
        at: pending.at.packed().into(),
        timestamp: transfer.timestamp.get().into(),
        id: transfer.id.get().into(),
        amount: transfer.amount.into(),
        user_data_128: transfer.user_data_128.into(),
        user_data_64: transfer.user_data_64.into(),
        debit_account: transfer.debit.get().into(),
        credit_account: transfer.credit.get().into(),
        user_data_32: transfer.user_data_32.into(),
        timeout: transfer.timeout.into(),
        value_date: transfer.value_date.into(),
        business_date: transfer.business_date.into(),
        code: transfer.code.into(),
        flags: transfer.flags.into(),
        zero: 0.into(),
    }
}

/// The open pending transfer of a row; `None` if its place or time cannot be.
pub(super) fn pending_of(row: &CheckpointPendingRow) -> Option<Pending> {
    let timeout_ns = u64::from(row.timeout.get()) * 1_000_000_000;
    let fits = row.timestamp.get() <= TIMESTAMP_MAX - timeout_ns;
    Some(Pending {
        at: RecordAt::from_packed(row.at.get()).filter(|_| fits)?,
        transfer: Transfer {
            id: TransferId::new(row.id.get()),
            debit: AccountNumber::new(row.debit_account.get()),
            credit: AccountNumber::new(row.credit_account.get()),
            amount: row.amount.get(),
            form: Form::Reserves,
            timestamp: Timestamp::new(row.timestamp.get()),
            user_data_128: row.user_data_128.get(),
            user_data_64: row.user_data_64.get(),
            user_data_32: row.user_data_32.get(),
            timeout: row.timeout.get(),
            code: row.code.get(),
            flags: row.flags.get(),
            value_date: row.value_date.get(),
            business_date: row.business_date.get(),
        },
    })
}

/// The row of terms that were ever changed.
pub(super) fn terms(number: u32, terms: &Terms) -> CheckpointTermsRow {
    let limit = terms.overdraft_limit();
    CheckpointTermsRow {
        overdraft_limit: limit.unwrap_or(0).into(),
        changed: terms.changed.into(),
        account: number.into(),
        has_overdraft_limit: limit.is_some().into(),
        freeze: terms.freeze,
        zero: 0.into(),
    }
}

/// The row of a business date that was closed.
pub(super) fn day(day: &Day) -> CheckpointDayRow {
    CheckpointDayRow {
        closed: day.closed.into(),
        next: day.next.into(),
        at: day.at.packed().into(),
        timestamp: day.timestamp.into(),
    }
}
