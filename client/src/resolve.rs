//! Posting for certain: the same ids again and again, until there is an answer.

use std::time::Duration;

use kanjo_format::client::{FrameKind, TransferBody};
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::client::after;
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

impl Client {
    /// Posts transfers and, where an outcome stays unknown or a node cannot take them, repeats
    /// them with the same ids until there is an answer or `overall` has passed. Each attempt
    /// gets the deadline of [`crate::ClientConfig::deadline`].
    ///
    /// A transfer posts at most once, however often it is repeated. At the overall deadline the
    /// error says whether anything is unknown: [`ClientError::outcome_unknown`].
    pub async fn create_transfers_resolved(
        &self,
        transfers: &[TransferBody],
        overall: Duration,
    ) -> Result<Vec<Resolved>, ClientError> {
        let deadline = after(overall);
        let mut resolved = Vec::with_capacity(transfers.len());
        for request in transfers.chunks(REQUEST_EVENTS_MAX) {
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

    async fn resolve(
        &self,
        transfers: &[TransferBody],
        deadline: Instant,
    ) -> Result<Vec<Resolved>, ClientError> {
        let (min, max) = (self.config.backoff_min, self.config.backoff_max);
        let mut backoff = Backoff::new(min, max);
        let mut unknown = None;
        loop {
            let attempt = after(self.config.deadline).min(deadline);
            let kind = FrameKind::CreateTransfers;
            let error = match self.create_once(kind, transfers, attempt).await {
                Ok(results) => {
                    let repeated = unknown.is_some();
                    let resolved = |result| Resolved { result, repeated };
                    return Ok(results.into_iter().map(resolved).collect());
                }
                Err(error) => error,
            };
            let again = error.worth_repeating();
            if error.outcome_unknown() {
                unknown = Some(error.clone());
            }
            let wake = Instant::now() + backoff.pause();
            if !again || wake >= deadline {
                // What an earlier attempt left open outweighs that the last one did nothing.
                return Err(unknown.unwrap_or(error));
            }
            sleep(wake.saturating_duration_since(Instant::now())).await;
        }
    }
}
