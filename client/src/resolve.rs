//! Asking for certain: the same request again and again, until there is an answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kanjo_format::TransferId;
use kanjo_format::client::{TransferBody, TransferDetailBody, TransferFlags};
use kanjo_format::result::CreateTransferResult;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::client::after;
use crate::results::TRANSFER_EXISTS;
use crate::split::{Posting, split};
use crate::{Client, ClientError, CreateResult};

/// What became of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The last answer.
    pub result: CreateResult,
    /// An attempt before the last one had an unknown outcome. Then `exists` means that the
    /// earlier attempt posted the transfer, and `id_already_failed` that it was rejected, for a
    /// reason that only the answer which got lost had named.
    pub repeated: bool,
}

impl Resolved {
    /// The transfer stands in the ledger, exactly once: it was created now, or it exists with
    /// the same content. Everything else means that it was rejected.
    pub fn posted(self) -> bool {
        self.result.created() || self.result.transfer_exists()
    }
}

/// An answer, and whether an attempt before it had an unknown outcome.
pub(crate) struct Repeated<T> {
    pub(crate) answer: T,
    pub(crate) was_unknown: bool,
}

impl Client {
    /// Posts transfers and, where an outcome stays unknown or a node cannot take them, repeats
    /// them with the same ids until there is an answer or `overall` has passed. Each attempt
    /// gets the deadline of [`crate::ClientConfig::deadline`]. What does not fit one request is
    /// cut as [`Self::create_transfers`] says.
    ///
    /// A transfer posts at most once, however often it is repeated. At the overall deadline the
    /// error says whether anything is unknown: [`ClientError::outcome_unknown`].
    pub async fn create_transfers_resolved(
        &self,
        transfers: &[TransferBody],
        overall: Duration,
    ) -> Result<Vec<Resolved>, ClientError> {
        self.resolve_all(transfers, overall).await
    }

    /// As [`Self::create_transfers_resolved`], for transfers with dates and for reversals.
    pub async fn create_transfers_detailed_resolved(
        &self,
        transfers: &[TransferDetailBody],
        overall: Duration,
    ) -> Result<Vec<Resolved>, ClientError> {
        self.resolve_all(transfers, overall).await
    }

    async fn resolve_all<P: Posting>(
        &self,
        transfers: &[P],
        overall: Duration,
    ) -> Result<Vec<Resolved>, ClientError> {
        let deadline = after(overall);
        let mut resolved = Vec::with_capacity(transfers.len());
        for request in split(transfers, P::KIND.request_rows_max())? {
            match self.resolve(request, deadline).await {
                Ok(results) => resolved.extend(results),
                Err(error) if resolved.is_empty() => return Err(error),
                Err(error) => {
                    let answered = resolved.iter().map(|one: &Resolved| one.result);
                    return Err(ClientError::Partial {
                        answered: answered.collect(),
                        error: Box::new(error),
                    });
                }
            }
        }
        Ok(resolved)
    }

    async fn resolve<P: Posting>(
        &self,
        transfers: &[P],
        deadline: Instant,
    ) -> Result<Vec<Resolved>, ClientError> {
        let post = |client: Client| async move {
            client.write_once(P::KIND, transfers, client.due()).await
        };
        let Repeated {
            answer: mut results,
            was_unknown: repeated,
        } = self.repeat(deadline, post).await?;
        self.resolve_chains(transfers, &mut results, deadline)
            .await?;
        let resolved = |result| Resolved { result, repeated };
        Ok(results.into_iter().map(resolved).collect())
    }

    /// Of a chain of events that an earlier attempt posted (this call's, or that of a program
    /// which is started again) the first answers `exists`, which breaks the chain: all others
    /// answer `linked_event_failed`, although they are posted too. Those are looked up.
    async fn resolve_chains<P: Posting>(
        &self,
        transfers: &[P],
        results: &mut [CreateResult],
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let in_doubt = chained_to_existing(transfers, results);
        if in_doubt.is_empty() {
            return Ok(());
        }
        let id = |&at: &usize| TransferId::new(transfers[at].transfer().id.get());
        let ids: Vec<TransferId> = in_doubt.iter().map(id).collect();
        let ids = ids.as_slice();
        let look_up = |client: Client| async move { client.lookup_transfers(ids).await };
        // Without this answer the fate of these transfers is as unknown as it was.
        let unknown = |error: ClientError| ClientError::Indeterminate {
            cause: format!("the transfers of a repeated chain could not be looked up: {error}"),
        };
        let found = self.repeat(deadline, look_up).await.map_err(unknown)?;
        let found: BTreeMap<u128, TransferBody> = found
            .answer
            .into_iter()
            .map(|row| (row.id.get(), row))
            .collect();
        for at in in_doubt {
            let asked = &transfers[at];
            let stands = found.get(&asked.transfer().id.get());
            if let Some(row) = stands.filter(|row| is_same(asked, row)) {
                results[at] = CreateResult {
                    result: TRANSFER_EXISTS,
                    timestamp: row.timestamp.get(),
                };
            }
        }
        Ok(())
    }

    /// Asks once and again, with growing pauses, until there is an answer, repeating does not
    /// help, or `deadline` has come. Each attempt gets the client's deadline.
    pub(crate) async fn repeat<T, F>(
        &self,
        deadline: Instant,
        attempt: impl Fn(Client) -> F,
    ) -> Result<Repeated<T>, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let (min, max) = (self.config.backoff_min, self.config.backoff_max);
        let mut backoff = Backoff::new(min, max);
        let mut unknown = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let client = self.with_deadline(self.deadline.min(left));
            let error = match attempt(client).await {
                Ok(answer) => {
                    let was_unknown = unknown.is_some();
                    return Ok(Repeated {
                        answer,
                        was_unknown,
                    });
                }
                Err(error) => error,
            };
            let again = error.worth_repeating();
            if error.outcome_unknown() {
                unknown = Some(error.clone());
            }
            let wake = Instant::now() + backoff.pause();
            // An attempt that has no time would only make the outcome unknown.
            if !again || wake + min >= deadline {
                // What an earlier attempt left open outweighs that the last one did nothing.
                return Err(unknown.unwrap_or(error));
            }
            sleep(wake.saturating_duration_since(Instant::now())).await;
        }
    }
}

/// Whether a transfer is what was asked for, as far as it was not filled in when it was posted.
fn is_same<P: Posting>(asked: &P, row: &TransferBody) -> bool {
    let (is_related, asked) = (asked.is_related(), asked.transfer());
    let balances = TransferFlags::BALANCING_DEBIT | TransferFlags::BALANCING_CREDIT;
    let mut expected = *row;
    expected.timestamp = asked.timestamp;
    if is_related || asked.flags.get() & balances != 0 {
        expected.amount = asked.amount;
    }
    if is_related {
        let filled = |asked: u128| asked == 0;
        if filled(asked.debit_account_id.get()) {
            expected.debit_account_id = asked.debit_account_id;
        }
        if filled(asked.credit_account_id.get()) {
            expected.credit_account_id = asked.credit_account_id;
        }
        if filled(asked.user_data_128.get()) {
            expected.user_data_128 = asked.user_data_128;
        }
        if filled(asked.user_data_64.get().into()) {
            expected.user_data_64 = asked.user_data_64;
        }
        if filled(asked.user_data_32.get().into()) {
            expected.user_data_32 = asked.user_data_32;
        }
        if filled(asked.ledger.get().into()) {
            expected.ledger = asked.ledger;
        }
        if filled(asked.code.get().into()) {
            expected.code = asked.code;
        }
    }
    expected == *asked
}

/// Events that answer `linked_event_failed` and whose chain has one that answers `exists`.
fn chained_to_existing<P: Posting>(transfers: &[P], results: &[CreateResult]) -> Vec<usize> {
    let failed = CreateTransferResult::LinkedEventFailed.number();
    let mut in_doubt = Vec::new();
    let mut first = 0;
    for at in 0..transfers.len() {
        if transfers[at].is_linked() && at + 1 < transfers.len() {
            continue;
        }
        let chain = first..at + 1;
        first = at + 1;
        if results[chain.clone()]
            .iter()
            .any(|one| one.transfer_exists())
        {
            in_doubt.extend(chain.filter(|&one| results[one].result == failed));
        }
    }
    in_doubt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_in_is_no_difference_and_anything_else_is() {
        let asked = TransferBody {
            id: 5.into(),
            debit_account_id: 1.into(),
            credit_account_id: 2.into(),
            amount: 100.into(),
            ..TransferBody::default()
        };
        let posted = |asked: TransferBody| TransferBody {
            timestamp: 77.into(),
            ..asked
        };
        assert!(is_same(&asked, &posted(asked)));
        let other_amount = TransferBody {
            amount: 99.into(),
            ..posted(asked)
        };
        assert!(!is_same(&asked, &other_amount));
        let balancing = |row: TransferBody| TransferBody {
            flags: TransferFlags::BALANCING_DEBIT.into(),
            ..row
        };
        assert!(is_same(&balancing(asked), &balancing(other_amount)));
        let post = TransferBody {
            id: 6.into(),
            amount: u128::MAX.into(),
            pending_id: 5.into(),
            flags: TransferFlags::POST_PENDING_TRANSFER.into(),
            ..TransferBody::default()
        };
        let filled = TransferBody {
            id: 6.into(),
            pending_id: 5.into(),
            flags: post.flags,
            code: 9.into(),
            user_data_64: 3.into(),
            ..posted(asked)
        };
        assert!(is_same(&post, &filled));
        let other = TransferBody {
            debit_account_id: 3.into(),
            ..post
        };
        assert!(!is_same(&other, &filled));
    }
}
