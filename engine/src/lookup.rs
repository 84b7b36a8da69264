//! Reading: accounts from memory, transfers from the batch being built or from the log.

use kanjo_format::client::{
    AccountBody, AccountTermsBody, OutcomeBody, OutcomeState, TransferBody, TransferDetailBody,
};
use kanjo_format::movement::{Form, Transfer};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{AccountId, AccountNumber, RecordAt, Timestamp, TransferId};

use crate::batch::OpenBatch;
use crate::index::{Entry, Resolution};
use crate::ledger::Ledger;

/// A record of the log, or the old part of the index, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at} could not be read: {reason}")]
pub struct HistoryError {
    /// Which record; [`RecordAt::MIN`] where the index itself could not be read.
    pub at: RecordAt,
    /// Why, with file and offset, and what to do.
    pub reason: String,
}

/// Reads what the ledger does not keep: records of the log, and the old part of the index. The
/// node implements it over the log and the runs. Asked for what is in the young part, it may find
/// it or not.
pub trait HistoryReader {
    /// The transfer at `at`. Anything else there is an error: the index said so.
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError>;

    /// What became of `id` in the old part.
    fn find_id(&mut self, id: TransferId) -> Result<Option<Entry>, HistoryError>;

    /// What of the old part resolved the pending transfer at `pending`.
    fn resolution_of(&mut self, pending: RecordAt) -> Result<Option<Resolution>, HistoryError>;

    /// Where in the old part the transfer at `original` was reversed.
    fn reversal_of(&mut self, original: RecordAt) -> Result<Option<RecordAt>, HistoryError>;

    /// Whether a transfer of the old part has exactly this timestamp.
    fn has_transfer_at_time(&mut self, timestamp: Timestamp) -> Result<bool, HistoryError>;
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

    /// Pushes the terms of those accounts that exist, in the order of `ids`.
    pub fn lookup_terms(
        &self,
        ids: impl IntoIterator<Item = AccountId>,
        out: &mut Vec<AccountTermsBody>,
    ) {
        let accounts = &self.books.accounts;
        for id in ids {
            let Some(number) = accounts.find(id) else {
                continue;
            };
            let terms = accounts.terms(number);
            let limit = terms.overdraft_limit();
            out.push(AccountTermsBody {
                id: id.get().into(),
                overdraft_limit: limit.unwrap_or(0).into(),
                has_overdraft_limit: u32::from(limit.is_some()).into(),
                freeze: u32::from(terms.freeze).into(),
                timestamp: terms.changed.into(),
            });
        }
    }

    /// Pushes those transfers that exist, in the order of `ids`. `open` is the batch being built,
    /// if there is one.
    pub fn lookup_transfers(
        &self,
        ids: impl IntoIterator<Item = TransferId>,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
        out: &mut Vec<TransferBody>,
    ) -> Result<(), HistoryError> {
        for id in ids {
            if let Some(detail) = self.find_detail(id, open, history)? {
                out.push(detail.transfer);
            }
        }
        Ok(())
    }

    /// As [`Self::lookup_transfers`], with dates and reversals.
    pub fn lookup_transfer_details(
        &self,
        ids: impl IntoIterator<Item = TransferId>,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
        out: &mut Vec<TransferDetailBody>,
    ) -> Result<(), HistoryError> {
        for id in ids {
            out.extend(self.find_detail(id, open, history)?);
        }
        Ok(())
    }

    /// Pushes what became of each id.
    pub fn lookup_outcomes(
        &self,
        ids: impl IntoIterator<Item = TransferId>,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
        out: &mut Vec<OutcomeBody>,
    ) -> Result<(), HistoryError> {
        for id in ids {
            let rejected = |why: CreateTransferResult| (OutcomeState::Rejected, why.number(), 0);
            let (state, result, timestamp) = match id.get() {
                0 => rejected(CreateTransferResult::IdMustNotBeZero),
                u128::MAX => rejected(CreateTransferResult::IdMustNotBeIntMax),
                _ => match self.find_id(id, history)? {
                    None => (OutcomeState::Unknown, 0, 0),
                    Some(Entry::Failed(why)) => rejected(why),
                    Some(Entry::Posted(at)) => {
                        let transfer = self.read_transfer(id, at, open, history)?;
                        (OutcomeState::Committed, 0, transfer.timestamp.get())
                    }
                },
            };
            out.push(OutcomeBody {
                id: id.get().into(),
                state: (state as u32).into(),
                result: result.into(),
                timestamp: timestamp.into(),
            });
        }
        Ok(())
    }

    /// The number of the account of that id.
    pub fn account_number(&self, id: AccountId) -> Option<AccountNumber> {
        self.books.accounts.find(id)
    }

    /// The account of that number; `None` for one that was not given out.
    pub fn account(&self, number: AccountNumber) -> Option<AccountBody> {
        Some(self.books.accounts.get(number)?.body())
    }

    fn find_detail(
        &self,
        id: TransferId,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
    ) -> Result<Option<TransferDetailBody>, HistoryError> {
        let Some(Entry::Posted(at)) = self.find_id(id, history)? else {
            return Ok(None);
        };
        let transfer = self.read_transfer(id, at, open, history)?;
        self.transfer_body(at, &transfer, open, history).map(Some)
    }

    /// A transfer that stands at `at`, as clients see it.
    pub fn transfer_body(
        &self,
        at: RecordAt,
        transfer: &Transfer,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
    ) -> Result<TransferDetailBody, HistoryError> {
        let related = match transfer.form.related() {
            None => 0,
            Some(at) => self.read_at(at, open, history)?.id.get(),
        };
        let (pending_id, reverses) = match transfer.form {
            Form::Reverses(_) => (0, related),
            _ => (related, 0),
        };
        let (Some(debit), Some(credit)) =
            (self.account(transfer.debit), self.account(transfer.credit))
        else {
            return Err(no_such_account(at, transfer));
        };
        Ok(TransferDetailBody {
            transfer: TransferBody {
                id: transfer.id.get().into(),
                debit_account_id: debit.id,
                credit_account_id: credit.id,
                amount: transfer.amount.into(),
                pending_id: pending_id.into(),
                user_data_128: transfer.user_data_128.into(),
                user_data_64: transfer.user_data_64.into(),
                user_data_32: transfer.user_data_32.into(),
                timeout: transfer.timeout.into(),
                ledger: debit.ledger,
                code: transfer.code.into(),
                flags: transfer.flags.into(),
                timestamp: transfer.timestamp.get().into(),
            },
            reverses: reverses.into(),
            value_date: transfer.value_date.into(),
            business_date: match transfer.business_date {
                0 => self.books.days.date_at(at).into(),
                named => named.into(),
            },
            reserved: 0.into(),
        })
    }

    /// The transfer at `at`: an open pending one from memory, one of the open batch, or from
    /// history.
    pub(crate) fn read_at(
        &self,
        at: RecordAt,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
    ) -> Result<Transfer, HistoryError> {
        if let Some(pending) = self.books.pendings.get(at) {
            return Ok(pending.transfer);
        }
        let transfer = match open.filter(|open| open.lsn() == at.lsn()) {
            Some(open) => {
                let transfer = open.transfer(at.index());
                transfer.expect("the index points to transfers of the open batch")
            }
            None => history.transfer_at(at)?,
        };
        let count = self.books.accounts.count();
        match transfer.debit.get() < count && transfer.credit.get() < count {
            true => Ok(transfer),
            false => Err(no_such_account(at, &transfer)),
        }
    }

    /// The transfer at `at`, checked to be `id`.
    pub(crate) fn read_transfer(
        &self,
        id: TransferId,
        at: RecordAt,
        open: Option<&OpenBatch>,
        history: &mut dyn HistoryReader,
    ) -> Result<Transfer, HistoryError> {
        let transfer = self.read_at(at, open, history)?;
        if transfer.id != id {
            let found = transfer.id;
            return Err(HistoryError {
                at,
                reason: format!(
                    "it is transfer {found}, where the index says {id}; run a full check of the log"
                ),
            });
        }
        Ok(transfer)
    }
}

fn no_such_account(at: RecordAt, transfer: &Transfer) -> HistoryError {
    let (debit, credit) = (transfer.debit, transfer.credit);
    HistoryError {
        at,
        reason: format!(
            "it names accounts {debit} and {credit}, of which one was never opened; run a full check of the log"
        ),
    }
}
