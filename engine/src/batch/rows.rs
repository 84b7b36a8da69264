//! Rows of all kinds, and how a transfer of any form becomes one.

use kanjo_format::client::TransferFlags;
use kanjo_format::columns::{PayloadError, push_group};
use kanjo_format::movement::{self, Form, Transfer};
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow,
    PendingRow, RecordKind, ReignRow, ResolvedRow, TransferRow,
};
use kanjo_format::{RecordAt, Timestamp};

/// Rows of all kinds, each in order of execution. Kept by the ledger between batches, so that
/// no batch allocates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) reigns: Vec<ReignRow>,
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) transfers: Vec<TransferRow>,
    pub(crate) failed: Vec<FailedRow>,
    pub(crate) pending: Vec<PendingRow>,
    /// Of both kinds that resolve.
    pub(crate) resolved: Vec<ResolvedRow>,
    pub(crate) expired: Vec<ExpiredRow>,
    pub(crate) detailed: Vec<DetailedRow>,
    pub(crate) imported: Vec<ImportedAccountRow>,
    pub(crate) changes: Vec<AccountChangeRow>,
    pub(crate) days: Vec<DayRow>,
}

/// Consecutive records of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) kind: RecordKind,
    /// Index of its first record within the batch.
    pub(super) first_index: usize,
    /// Place of its first row among the rows of its kind.
    pub(super) first_row: usize,
    pub(super) count: usize,
}

/// How a transfer is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// In the narrowest row that its form has.
    Narrow,
    /// In a row that holds everything, as all of its request are.
    Detailed,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.reigns.clear();
        self.accounts.clear();
        self.transfers.clear();
        self.failed.clear();
        self.pending.clear();
        self.resolved.clear();
        self.expired.clear();
        self.detailed.clear();
        self.imported.clear();
        self.changes.clear();
        self.days.clear();
    }

    /// How many rows of that kind there are.
    pub(super) fn len(&self, kind: RecordKind) -> usize {
        match kind {
            RecordKind::EpochStart | RecordKind::SetChange => self.reigns.len(),
            RecordKind::AccountOpened => self.accounts.len(),
            RecordKind::TransferPosted => self.transfers.len(),
            RecordKind::TransferFailed => self.failed.len(),
            RecordKind::TransferPending => self.pending.len(),
            RecordKind::PendingPosted | RecordKind::PendingVoided => self.resolved.len(),
            RecordKind::PendingExpired => self.expired.len(),
            RecordKind::TransferDetailed => self.detailed.len(),
            RecordKind::AccountImported => self.imported.len(),
            RecordKind::AccountChanged => self.changes.len(),
            RecordKind::DayClosed => self.days.len(),
        }
    }

    /// Forgets all rows of that kind from `from` on.
    pub(super) fn truncate(&mut self, kind: RecordKind, from: usize) {
        match kind {
            RecordKind::EpochStart | RecordKind::SetChange => self.reigns.truncate(from),
            RecordKind::AccountOpened => self.accounts.truncate(from),
            RecordKind::TransferPosted => self.transfers.truncate(from),
            RecordKind::TransferFailed => self.failed.truncate(from),
            RecordKind::TransferPending => self.pending.truncate(from),
            RecordKind::PendingPosted | RecordKind::PendingVoided => self.resolved.truncate(from),
            RecordKind::PendingExpired => self.expired.truncate(from),
            RecordKind::TransferDetailed => self.detailed.truncate(from),
            RecordKind::AccountImported => self.imported.truncate(from),
            RecordKind::AccountChanged => self.changes.truncate(from),
            RecordKind::DayClosed => self.days.truncate(from),
        }
    }

    /// Adds the row of a transfer; the kind of record that it is.
    pub(super) fn push_transfer(&mut self, transfer: &Transfer, width: Width) -> RecordKind {
        match (width, transfer.form) {
            (Width::Narrow, Form::Posts) => {
                self.transfers.push(transfer_row(transfer));
                RecordKind::TransferPosted
            }
            (Width::Narrow, Form::Reserves) => {
                self.pending.push(PendingRow {
                    transfer: transfer_row(transfer),
                    timeout: transfer.timeout.into(),
                    reserved: 0.into(),
                });
                RecordKind::TransferPending
            }
            (Width::Narrow, Form::PostsPending(pending)) => {
                self.resolved.push(resolved_row(transfer, pending));
                RecordKind::PendingPosted
            }
            (Width::Narrow, Form::VoidsPending(pending)) => {
                self.resolved.push(resolved_row(transfer, pending));
                RecordKind::PendingVoided
            }
            (Width::Detailed, _) | (Width::Narrow, Form::Reverses(_)) => {
                self.detailed.push(detailed_row(transfer));
                RecordKind::TransferDetailed
            }
        }
    }

    /// The transfer in row `row` of that kind; `None` if another kind of record is.
    pub(super) fn transfer(
        &self,
        kind: RecordKind,
        row: usize,
        recorded: Timestamp,
    ) -> Option<Transfer> {
        let good = |read: Result<Transfer, PayloadError>| read.expect("the ledger made it");
        Some(match kind {
            RecordKind::TransferPosted => movement::posted(&self.transfers[row], recorded),
            RecordKind::TransferPending => movement::pending(&self.pending[row], recorded),
            RecordKind::PendingPosted | RecordKind::PendingVoided => {
                good(movement::resolved(&self.resolved[row], kind, recorded))
            }
            RecordKind::TransferDetailed => good(movement::detailed(&self.detailed[row], recorded)),
            _ => return None,
        })
    }

    /// Points rows to where records of a batch that was moved stand.
    pub(super) fn repoint(&mut self, moved: impl Fn(RecordAt) -> RecordAt) {
        let packed = |at: Option<RecordAt>| moved(at.expect("the ledger made it")).packed();
        for row in &mut self.resolved {
            row.pending = packed(row.pending()).into();
        }
        for row in &mut self.expired {
            row.pending = packed(row.pending()).into();
        }
        for row in &mut self.detailed {
            if let Some(at) = row.related().expect("the ledger made it") {
                *row = row.with_related(moved(at));
            }
        }
    }

    pub(super) fn push_group(&self, payload: &mut Vec<u8>, group: &Group) {
        let range = group.first_row..group.first_row + group.count;
        let kind = group.kind;
        match kind {
            RecordKind::EpochStart | RecordKind::SetChange => {
                push_group(payload, kind, &self.reigns[range]);
            }
            RecordKind::AccountOpened => push_group(payload, kind, &self.accounts[range]),
            RecordKind::TransferPosted => push_group(payload, kind, &self.transfers[range]),
            RecordKind::TransferFailed => push_group(payload, kind, &self.failed[range]),
            RecordKind::TransferPending => push_group(payload, kind, &self.pending[range]),
            RecordKind::PendingPosted | RecordKind::PendingVoided => {
                push_group(payload, kind, &self.resolved[range]);
            }
            RecordKind::PendingExpired => push_group(payload, kind, &self.expired[range]),
            RecordKind::TransferDetailed => push_group(payload, kind, &self.detailed[range]),
            RecordKind::AccountImported => push_group(payload, kind, &self.imported[range]),
            RecordKind::AccountChanged => push_group(payload, kind, &self.changes[range]),
            RecordKind::DayClosed => push_group(payload, kind, &self.days[range]),
        }
    }
}

fn transfer_row(transfer: &Transfer) -> TransferRow {
    TransferRow {
        id: transfer.id.get().into(),
        amount: transfer.amount.into(),
        user_data_128: transfer.user_data_128.into(),
        user_data_64: transfer.user_data_64.into(),
        debit_account: transfer.debit.get().into(),
        credit_account: transfer.credit.get().into(),
        user_data_32: transfer.user_data_32.into(),
        code: transfer.code.into(),
        flags: transfer.flags.into(),
    }
}

fn resolved_row(transfer: &Transfer, pending: RecordAt) -> ResolvedRow {
    ResolvedRow {
        id: transfer.id.get().into(),
        amount: transfer.amount.into(),
        user_data_128: transfer.user_data_128.into(),
        user_data_64: transfer.user_data_64.into(),
        pending: pending.packed().into(),
        debit_account: transfer.debit.get().into(),
        credit_account: transfer.credit.get().into(),
        user_data_32: transfer.user_data_32.into(),
        code: transfer.code.into(),
        flags: transfer.flags.into(),
    }
}

fn detailed_row(transfer: &Transfer) -> DetailedRow {
    let is_imported = transfer.flags & TransferFlags::IMPORTED != 0;
    let row = DetailedRow {
        id: transfer.id.get().into(),
        amount: transfer.amount.into(),
        user_data_128: transfer.user_data_128.into(),
        user_data_64: transfer.user_data_64.into(),
        timestamp: match is_imported {
            true => transfer.timestamp.get().into(),
            false => 0.into(),
        },
        related: 0.into(),
        debit_account: transfer.debit.get().into(),
        credit_account: transfer.credit.get().into(),
        user_data_32: transfer.user_data_32.into(),
        timeout: transfer.timeout.into(),
        value_date: transfer.value_date.into(),
        business_date: transfer.business_date.into(),
        code: transfer.code.into(),
        flags: transfer.flags.into(),
        reverses: matches!(transfer.form, Form::Reverses(_)).into(),
        reserved: [0; 3],
    };
    match transfer.form.related() {
        None => row,
        Some(at) => row.with_related(at),
    }
}
