//! Looking things up by their ids.

use std::time::Duration;

use kanjo_format::client::{
    AccountBody, AccountTermsBody, FrameKind, OutcomeBody, TransferBody, TransferDetailBody,
};
use kanjo_format::{AccountId, TransferId};
use zerocopy::FromBytes;

use crate::pages::ReplyRow;
use crate::{Client, ClientError, Fate};

impl Client {
    /// The accounts of these ids that exist, in the order asked for.
    pub async fn lookup_accounts(
        &self,
        ids: &[AccountId],
    ) -> Result<Vec<AccountBody>, ClientError> {
        let ids = ids.iter().map(|id| id.get());
        self.lookup(FrameKind::LookupAccounts, ids).await
    }

    /// As [`Self::lookup_accounts`], with a deadline of its own.
    pub async fn lookup_accounts_within(
        &self,
        ids: &[AccountId],
        deadline: Duration,
    ) -> Result<Vec<AccountBody>, ClientError> {
        self.with_deadline(deadline).lookup_accounts(ids).await
    }

    /// Overdraft limits and freezes of the accounts of these ids that exist, in the order asked
    /// for.
    pub async fn lookup_account_terms(
        &self,
        ids: &[AccountId],
    ) -> Result<Vec<AccountTermsBody>, ClientError> {
        let ids = ids.iter().map(|id| id.get());
        self.lookup(FrameKind::LookupAccountTerms, ids).await
    }

    /// The transfers of these ids that exist, in the order asked for.
    pub async fn lookup_transfers(
        &self,
        ids: &[TransferId],
    ) -> Result<Vec<TransferBody>, ClientError> {
        let ids = ids.iter().map(|id| id.get());
        self.lookup(FrameKind::LookupTransfers, ids).await
    }

    /// As [`Self::lookup_transfers`], with a deadline of its own.
    pub async fn lookup_transfers_within(
        &self,
        ids: &[TransferId],
        deadline: Duration,
    ) -> Result<Vec<TransferBody>, ClientError> {
        self.with_deadline(deadline).lookup_transfers(ids).await
    }

    /// As [`Self::lookup_transfers`], with dates and reversals.
    pub async fn lookup_transfer_details(
        &self,
        ids: &[TransferId],
    ) -> Result<Vec<TransferDetailBody>, ClientError> {
        let ids = ids.iter().map(|id| id.get());
        self.lookup(FrameKind::LookupTransferDetails, ids).await
    }

    /// What became of these transfer ids: one fate an id, in order. [`Fate::Unknown`] is not
    /// final: a delayed request may still bring the transfer. [`Self::settle`] ends that.
    pub async fn lookup_outcomes(&self, ids: &[TransferId]) -> Result<Vec<Fate>, ClientError> {
        let asked = ids.iter().map(|id| id.get());
        let kind = FrameKind::LookupOutcomes;
        let rows: Vec<OutcomeBody> = self.lookup(kind, asked).await?;
        let is_answer = |(row, id): (&OutcomeBody, &TransferId)| row.id.get() == id.get();
        if rows.len() != ids.len() || !rows.iter().zip(ids).all(is_answer) {
            let text = "the outcomes are not those of the ids asked for".to_owned();
            return Err(ClientError::Protocol(text));
        }
        rows.iter().map(Fate::of).collect()
    }

    async fn lookup<R: ReplyRow>(
        &self,
        kind: FrameKind,
        ids: impl Iterator<Item = u128>,
    ) -> Result<Vec<R>, ClientError> {
        let deadline = self.due();
        let ids: Vec<[u8; 16]> = ids.map(u128::to_le_bytes).collect();
        let mut rows = Vec::with_capacity(ids.len());
        for request in ids.chunks(kind.request_rows_max()) {
            let body = request.concat().into();
            let answer = self.call(kind, request.len(), body, deadline).await?;
            let found = <[R]>::ref_from_bytes(&answer.body)
                .map_err(|error| ClientError::Protocol(error.to_string()))?;
            rows.extend_from_slice(found);
        }
        Ok(rows)
    }
}
