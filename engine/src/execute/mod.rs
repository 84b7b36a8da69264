//! Execution on the primary: the rules of money, in the order that TigerBeetle documents.
//!
//! An event either leaves a record in the open batch, and is in memory from then on, or leaves
//! no trace. A failure that may pass with time leaves one too: it burns the id, so that a retry
//! never ends otherwise than the first attempt did. Linked events that fail are undone together.
//!
//! Most transfers are plain: they go the short way (`plain`), which either posts them or gives
//! up, without deciding why. Everything else goes the long way (`transfer`).

mod account;
mod exists;
mod expiry;
mod linked;
mod pending;
mod plain;
mod reversal;
mod terms;
mod transfer;
mod weigh;

use kanjo_format::client::{AccountBody, ResultRun, TransferBody, TransferDetailBody};
use kanjo_format::record::FailedRow;
use kanjo_format::result::{CreateAccountResult, CreateTransferResult};
use kanjo_format::{AccountId, AccountNumber, RecordAt, Timestamp, TransferId};

use crate::account::FIND_MAX;
use crate::batch::{OpenBatch, Width};
use crate::index::Entry;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};
pub(crate) use linked::Undo;
use linked::{Request, Start};

/// Events whose accounts are looked up together.
const CHUNK_EVENTS: usize = FIND_MAX / 2;

/// The accounts of a transfer, as far as they are there.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    debit: Option<AccountNumber>,
    credit: Option<AccountNumber>,
}

/// What goes beyond the documented model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Detail {
    reverses: u128,
    value_date: u32,
    business_date: u32,
    reserved: u64,
}

/// A transfer that somebody wants.
#[derive(Clone, Copy, Debug)]
struct Intent<'a> {
    body: &'a TransferBody,
    detail: Detail,
    ends: Ends,
    width: Width,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended<R> {
    /// Recorded; of then.
    Created(Timestamp),
    /// It was there, of then.
    Exists(Timestamp),
    /// It was not recorded.
    Refused(R),
}

impl<R> From<R> for Ended<R> {
    fn from(refused: R) -> Self {
        Self::Refused(refused)
    }
}

type Weighed<T> = Result<T, CreateTransferResult>;

impl Ledger {
    /// Opens accounts, and pushes how each event ended. Panics if the request does not fit (see
    /// [`Self::fits_request`]), which only a bug of the caller can cause. After an error, the
    /// events before the one that needed history stand in the batch, which stays good, but for a
    /// chain of events that was not complete; the request must not be answered.
    pub fn create_accounts(
        &mut self,
        open: &mut OpenBatch,
        events: &[AccountBody],
        history: &mut dyn HistoryReader,
        results: &mut Vec<ResultRun>,
    ) -> Result<(), HistoryError> {
        self.assert_fits(open, events.len());
        let first = events.first().map(Start::of_account);
        let imports = first.is_some_and(|first| first.is_imported());
        let mut request = Request::new(results, events.len(), imports);
        for event in events {
            let start = Start::of_account(event);
            let created = match request.begin(self, open, start) {
                Some(refused) => Ok(Ended::Refused(refused.for_account())),
                None => self.create_account(open, event, history),
            };
            let ended = created.inspect_err(|_| request.abandon(self, open))?;
            let (result, at) = match ended {
                Ended::Created(at) => (CreateAccountResult::Created, Some(at)),
                Ended::Exists(at) => (CreateAccountResult::Exists, Some(at)),
                Ended::Refused(result) => (result, None),
            };
            let at = request.end(self, open, start, result.number(), at);
            request.push(result.number(), at);
        }
        Ok(())
    }

    /// Makes transfers of all documented forms, and pushes how each event ended. Panics if the
    /// request does not fit (see [`Self::fits_request`]), which only a bug of the caller can cause.
    /// Errors as of [`Self::create_accounts`].
    pub fn create_transfers(
        &mut self,
        open: &mut OpenBatch,
        events: &[TransferBody],
        history: &mut dyn HistoryReader,
        results: &mut Vec<ResultRun>,
    ) -> Result<(), HistoryError> {
        self.assert_fits(open, events.len());
        let first = events.first().map(Start::of_transfer);
        let imports = first.is_some_and(|first| first.is_imported());
        let width = if imports {
            Width::Detailed
        } else {
            Width::Narrow
        };
        let mut request = Request::new(results, events.len(), imports);
        for events in events.chunks(CHUNK_EVENTS) {
            let ends = self.resolve(events.iter());
            for (event, ends) in events.iter().zip(ends) {
                if request.is_plain()
                    && let Some(created) = self.post_plain(open, event, &ends, history)?
                {
                    request.push_created(created);
                    continue;
                }
                let intent = Intent {
                    body: event,
                    detail: Detail::default(),
                    ends,
                    width,
                };
                self.create_one(open, &intent, history, &mut request)?;
            }
        }
        Ok(())
    }

    /// Makes transfers with dates, or that reverse others; otherwise as [`Self::create_transfers`].
    pub fn create_transfers_detailed(
        &mut self,
        open: &mut OpenBatch,
        events: &[TransferDetailBody],
        history: &mut dyn HistoryReader,
        results: &mut Vec<ResultRun>,
    ) -> Result<(), HistoryError> {
        self.assert_fits(open, events.len());
        let first = events.first().map(|e| Start::of_transfer(&e.transfer));
        let imports = first.is_some_and(|first| first.is_imported());
        let mut request = Request::new(results, events.len(), imports);
        for events in events.chunks(CHUNK_EVENTS) {
            let ends = self.resolve(events.iter().map(|e| &e.transfer));
            for (event, ends) in events.iter().zip(ends) {
                let intent = Intent {
                    body: &event.transfer,
                    detail: Detail {
                        reverses: event.reverses.get(),
                        value_date: event.value_date.get(),
                        business_date: event.business_date.get(),
                        reserved: event.reserved.get(),
                    },
                    ends,
                    width: Width::Detailed,
                };
                self.create_one(open, &intent, history, &mut request)?;
            }
        }
        Ok(())
    }

    /// One event the long way.
    fn create_one(
        &mut self,
        open: &mut OpenBatch,
        intent: &Intent<'_>,
        history: &mut dyn HistoryReader,
        request: &mut Request<'_>,
    ) -> Result<(), HistoryError> {
        let event = intent.body;
        let start = Start::of_transfer(event);
        let created = match request.begin(self, open, start) {
            Some(refused) => Ok(Ended::Refused(refused.for_transfer())),
            None => self.create_transfer(open, intent, history),
        };
        let ended = created.inspect_err(|_| request.abandon(self, open))?;
        let (result, at) = match ended {
            Ended::Created(at) => (CreateTransferResult::Created, Some(at)),
            Ended::Exists(at) => (CreateTransferResult::Exists, Some(at)),
            Ended::Refused(result) => (result, None),
        };
        let at = request.end(self, open, start, result.number(), at);
        if result.is_transient() {
            self.burn(open, TransferId::new(event.id.get()), result);
        }
        request.push(result.number(), at);
        Ok(())
    }

    /// Looks up both accounts of some events together. A transfer opens no account and changes no
    /// number, so what is found holds until each event is executed.
    fn resolve<'a>(
        &self,
        events: impl ExactSizeIterator<Item = &'a TransferBody>,
    ) -> [Ends; CHUNK_EVENTS] {
        let wanted = 2 * events.len();
        let mut ids = [AccountId::new(0); FIND_MAX];
        for (ids, event) in ids.as_chunks_mut().0.iter_mut().zip(events) {
            *ids = [event.debit_account_id, event.credit_account_id]
                .map(|id| AccountId::new(id.get()));
        }
        let mut found = [None; FIND_MAX];
        self.books
            .accounts
            .find_many(&ids[..wanted], &mut found[..wanted]);
        std::array::from_fn(|n| Ends {
            debit: found[2 * n],
            credit: found[2 * n + 1],
        })
    }

    /// Records that an id failed, or was burned, for ever. It must be free.
    fn burn(&mut self, open: &mut OpenBatch, id: TransferId, result: CreateTransferResult) {
        self.index.take(id, Entry::Failed(result));
        open.push_failed(FailedRow {
            id: id.get().into(),
            result: result.number().into(),
            reserved: 0.into(),
        });
        self.books.failed += 1;
    }

    /// What became of an id, in all of history.
    pub fn find_id(
        &self,
        id: TransferId,
        history: &mut dyn HistoryReader,
    ) -> Result<Option<Entry>, HistoryError> {
        match self.index.find(id) {
            None if id.get() < self.index.old_bound() => history.find_id(id),
            found => Ok(found),
        }
    }

    /// The transfer of that id and its place; `None` if there is none.
    fn find_transfer_at(
        &self,
        id: TransferId,
        history: &mut dyn HistoryReader,
    ) -> Result<Option<RecordAt>, HistoryError> {
        Ok(match self.find_id(id, history)? {
            Some(Entry::Posted(at)) => Some(at),
            Some(Entry::Failed(_)) | None => None,
        })
    }
}
