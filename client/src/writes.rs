//! Requests that write: what they are cut into, and what is made of their answers.

use std::time::Duration;

use bytes::Bytes;
use kanjo_format::TransferId;
use kanjo_format::client::{
    AccountBody, AccountChangeBody, CloseDayBody, FrameKind, ResultRun, TransferBody,
    TransferDetailBody,
};
use kanjo_format::result::{BurnResult, ChangeAccountResult, CloseDayResult};
use tokio::time::Instant;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::results::expand_runs;
use crate::split::{Event, split};
use crate::{Client, ClientError, CreateResult, EventResult};

impl Client {
    /// Opens accounts. One result an account, in order, all from disks of both sites. More than
    /// a request can hold are sent as [`Self::create_transfers`] says.
    pub async fn create_accounts(
        &self,
        accounts: &[AccountBody],
    ) -> Result<Vec<CreateResult>, ClientError> {
        self.create(FrameKind::CreateAccounts, accounts).await
    }

    /// As [`Self::create_accounts`], with a deadline of its own.
    pub async fn create_accounts_within(
        &self,
        accounts: &[AccountBody],
        deadline: Duration,
    ) -> Result<Vec<CreateResult>, ClientError> {
        self.with_deadline(deadline).create_accounts(accounts).await
    }

    /// Posts transfers. One result a transfer, in order.
    ///
    /// More than a request can hold are sent in several requests, one after the other; if one of
    /// those gets no result, what was answered before is in [`ClientError::Partial`]. The cuts
    /// change no result: a chain of linked transfers stays in one request, and transfers of
    /// which some are imported and some are not go into one request or none. Where that is not
    /// possible nothing is sent, and [`ClientError::Unsplittable`] says why. An imported batch
    /// that was cut and got an error half-way is continued by sending all of it again.
    pub async fn create_transfers(
        &self,
        transfers: &[TransferBody],
    ) -> Result<Vec<CreateResult>, ClientError> {
        self.create(FrameKind::CreateTransfers, transfers).await
    }

    /// As [`Self::create_transfers`], with a deadline of its own for all of it.
    pub async fn create_transfers_within(
        &self,
        transfers: &[TransferBody],
        deadline: Duration,
    ) -> Result<Vec<CreateResult>, ClientError> {
        let client = self.with_deadline(deadline);
        client.create_transfers(transfers).await
    }

    /// Posts transfers with value and business dates or as reversals of others; otherwise as
    /// [`Self::create_transfers`].
    ///
    /// ```no_run
    /// # use kanjo_client::{Client, ClientError, TransferBody, TransferDetailBody, new_transfer_id};
    /// # async fn example(client: Client, original: u128) -> Result<(), ClientError> {
    /// // All of it back: what is zero is as in the original, with the accounts swapped.
    /// let reversal = TransferDetailBody {
    ///     transfer: TransferBody {
    ///         id: new_transfer_id().get().into(),
    ///         amount: u128::MAX.into(),
    ///         ..TransferBody::default()
    ///     },
    ///     reverses: original.into(),
    ///     ..TransferDetailBody::default()
    /// };
    /// let results = client.create_transfers_detailed(&[reversal]).await?;
    /// assert!(results[0].created());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_transfers_detailed(
        &self,
        transfers: &[TransferDetailBody],
    ) -> Result<Vec<CreateResult>, ClientError> {
        let kind = FrameKind::CreateTransfersDetailed;
        self.create(kind, transfers).await
    }

    /// Changes overdraft limits and freezes. One result a change, in order.
    ///
    /// ```no_run
    /// # use kanjo_client::{AccountChange, AccountChangeBody, Client, ClientError, Freeze};
    /// # async fn example(client: Client) -> Result<(), ClientError> {
    /// let freeze = AccountChangeBody {
    ///     id: 77.into(),
    ///     change: AccountChange::SET_FREEZE.into(),
    ///     freeze: Freeze::DEBITS.into(),
    ///     ..AccountChangeBody::default()
    /// };
    /// client.change_accounts(&[freeze]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn change_accounts(
        &self,
        changes: &[AccountChangeBody],
    ) -> Result<Vec<EventResult<ChangeAccountResult>>, ClientError> {
        let kind = FrameKind::ChangeAccounts;
        let requests = changes.chunks(kind.request_rows_max());
        let results = self.write(kind, requests).await?;
        named(results, ChangeAccountResult::from_number)
    }

    /// Closes the business date `date` at one position of the log and makes `next` the current
    /// one, both as YYYYMMDD. A `date` of 0 begins with business dates.
    pub async fn close_day(
        &self,
        date: u32,
        next: u32,
    ) -> Result<EventResult<CloseDayResult>, ClientError> {
        let close = [CloseDayBody {
            date: date.into(),
            next: next.into(),
            ..CloseDayBody::default()
        }];
        let results = self.write(FrameKind::CloseDay, close.chunks(1)).await?;
        let mut results = named(results, CloseDayResult::from_number)?;
        Ok(results.remove(0))
    }

    /// Makes sure that no transfer can ever have these ids, unless one has: then its result is
    /// `exists`. One result an id, in order. See [`Self::settle`].
    pub async fn burn(
        &self,
        ids: &[TransferId],
    ) -> Result<Vec<EventResult<BurnResult>>, ClientError> {
        let kind = FrameKind::BurnIds;
        let ids: Vec<[u8; 16]> = ids.iter().map(|id| id.get().to_le_bytes()).collect();
        let requests = ids.chunks(kind.request_rows_max());
        let results = self.write(kind, requests).await?;
        named(results, BurnResult::from_number)
    }

    async fn create<E: Event>(
        &self,
        kind: FrameKind,
        events: &[E],
    ) -> Result<Vec<CreateResult>, ClientError> {
        let requests = split(events, kind.request_rows_max())?;
        self.write(kind, requests).await
    }

    /// One request after the other, all of them within the client's deadline.
    async fn write<'a, E: IntoBytes + Immutable + 'a>(
        &self,
        kind: FrameKind,
        requests: impl Iterator<Item = &'a [E]>,
    ) -> Result<Vec<CreateResult>, ClientError> {
        let deadline = self.due();
        let mut answered = Vec::new();
        for request in requests {
            match self.write_once(kind, request, deadline).await {
                Ok(results) if answered.is_empty() => answered = results,
                Ok(results) => answered.extend(results),
                Err(error) if answered.is_empty() => return Err(error),
                Err(error) => {
                    let error = Box::new(error);
                    return Err(ClientError::Partial { answered, error });
                }
            }
        }
        Ok(answered)
    }

    /// One request of at most as many events as its kind may have.
    pub(crate) async fn write_once<E: IntoBytes + Immutable>(
        &self,
        kind: FrameKind,
        events: &[E],
        deadline: Instant,
    ) -> Result<Vec<CreateResult>, ClientError> {
        let body = Bytes::copy_from_slice(events.as_bytes());
        let answer = self.call(kind, events.len(), body, deadline).await?;
        let runs = <[ResultRun]>::ref_from_bytes(&answer.body).map_err(unreadable)?;
        expand_runs(runs, events.len()).map_err(unreadable)
    }
}

/// The node says "done" but not what: the events may well have been executed.
fn unreadable(error: impl std::fmt::Display) -> ClientError {
    let cause = format!("the answer cannot be read: {error}");
    ClientError::Indeterminate { cause }
}

fn named<R>(
    results: Vec<CreateResult>,
    of_number: impl Fn(u32) -> Option<R>,
) -> Result<Vec<EventResult<R>>, ClientError> {
    let named = |one: CreateResult| match of_number(one.result) {
        Some(result) => Ok(EventResult {
            result,
            timestamp: one.timestamp,
        }),
        None => Err(unreadable(format!("result {} is unknown", one.result))),
    };
    results.into_iter().map(named).collect()
}
