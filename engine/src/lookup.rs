//! Reading: accounts from memory, transfers from the batch being built or from the log.

use kanjo_format::client::{AccountBody, TransferBody};
use kanjo_format::record::TransferRow;
use kanjo_format::{AccountId, Timestamp, TransferId};

use crate::account::Accounts;
use crate::batch::OpenBatch;
use crate::index::Entry;
use crate::ledger::Ledger;
use kanjo_format::RecordAt;

/// A posted transfer as its record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostedTransfer {
    /// The record.
    pub row: TransferRow,
    /// When it happened.
    pub timestamp: Timestamp,
}

/// A record of the log that the index points to could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at} could not be read: {reason}")]
pub struct HistoryError {
    /// Which record.
    pub at: RecordAt,
    /// Why, with file and offset, and what to do.
    pub reason: String,
}

/// Reads old records for the ledger. The node implements it over the log.
pub trait HistoryReader {
    /// The posted transfer at `at`. Anything else there is an error: the index said so.
    fn transfer_at(&mut self, at: RecordAt) -> Result<PostedTransfer, HistoryError>;
}

impl Ledger {
    /// Pushes those accounts that exist, in the order of `ids`.
    pub fn lookup_accounts(
        &self,
        ids: impl IntoIterator<Item = AccountId>,
        out: &mut Vec<AccountBody>,
    ) {
        let accounts = &self.books.accounts;
        out.extend(
            ids.into_iter()
                .filter_map(|id| accounts.find(id))
                .map(|number| accounts.at(number).body()),
        );
    }

    /// Pushes those transfers that were posted, in the order of `ids`. `open` is the batch being
    /// built, if there is one.
    pub fn lookup_transfers(
        &self,
        ids: impl IntoIterator<Item = TransferId>,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
        out: &mut Vec<TransferBody>,
    ) -> Result<(), HistoryError> {
        for id in ids {
            if let Some(Entry::Posted(at)) = self.index.find(id) {
                let posted = read_posted(id, at, open, history)?;
                out.push(transfer_body(&self.books.accounts, &posted, at)?);
            }
        }
        Ok(())
    }
}

/// The transfer `id` at `at`, from the open batch or from history, checked to be that one.
pub(crate) fn read_posted(
    id: TransferId,
    at: RecordAt,
    open: Option<&OpenBatch>,
    history: &mut dyn HistoryReader,
) -> Result<PostedTransfer, HistoryError> {
    let posted = match open.filter(|open| open.lsn() == at.lsn()) {
        Some(open) => {
            let (row, timestamp) = open
                .transfer(at.index())
                .expect("the index points to transfers of the open batch");
            PostedTransfer { row, timestamp }
        }
        None => history.transfer_at(at)?,
    };
    if posted.row.id() != id {
        return Err(HistoryError {
            at,
            reason: format!(
                "it is transfer {}, where the index says {id}; run a full check of the log",
                posted.row.id()
            ),
        });
    }
    Ok(posted)
}

/// As clients see it.
fn transfer_body(
    accounts: &Accounts,
    posted: &PostedTransfer,
    at: RecordAt,
) -> Result<TransferBody, HistoryError> {
    let row = &posted.row;
    let (Some(debit), Some(credit)) = (
        accounts.get(row.debit_account()),
        accounts.get(row.credit_account()),
    ) else {
        return Err(no_such_account(at, row));
    };
    Ok(TransferBody {
        id: row.id,
        debit_account_id: debit.id.into(),
        credit_account_id: credit.id.into(),
        amount: row.amount,
        pending_id: 0.into(),
        user_data_128: row.user_data_128,
        user_data_64: row.user_data_64,
        user_data_32: row.user_data_32,
        timeout: 0.into(),
        ledger: debit.ledger.into(),
        code: row.code,
        flags: row.flags,
        timestamp: posted.timestamp.get().into(),
    })
}

pub(crate) fn no_such_account(at: RecordAt, row: &TransferRow) -> HistoryError {
    HistoryError {
        at,
        reason: format!(
            "it names accounts {} and {}, of which one was never opened; run a full check of the log",
            row.debit_account(),
            row.credit_account()
        ),
    }
}
