//! What became of a transfer id, and making that final.

use std::time::Duration;

use kanjo_format::TransferId;
use kanjo_format::client::{OutcomeBody, OutcomeState};
use kanjo_format::result::CreateTransferResult;

use crate::client::after;
use crate::{Client, ClientError};

/// What became of a transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet. A delayed request may still bring the transfer.
    Unknown,
    /// It is a transfer, for ever.
    Committed {
        /// The transfer's, in nanoseconds.
        timestamp: u64,
    },
    /// It can never become a transfer.
    Rejected {
        /// Why; `Burned` where it was by request.
        why: CreateTransferResult,
    },
}

impl Fate {
    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        self != Self::Unknown
    }

    pub(crate) fn of(row: &OutcomeBody) -> Result<Self, ClientError> {
        let unknown = |what: &str, number| {
            let text = format!("outcome of transfer {}: {what} {number} is unknown", row.id);
            Err(ClientError::Protocol(text))
        };
        match OutcomeState::from_number(row.state.get()) {
            Some(OutcomeState::Unknown) => Ok(Self::Unknown),
            Some(OutcomeState::Committed) => Ok(Self::Committed {
                timestamp: row.timestamp.get(),
            }),
            Some(OutcomeState::Rejected) => {
                match CreateTransferResult::from_number(row.result.get()) {
                    Some(why) => Ok(Self::Rejected { why }),
                    None => unknown("result", row.result.get()),
                }
            }
            None => unknown("state", row.state.get()),
        }
    }
}

impl Client {
    /// Makes the fate of transfer ids final: what is no transfer by now never becomes one, even
    /// if a duplicate of a request that was given up arrives later. Repeats until there is an
    /// answer or `overall` has passed. No fate that it returns is [`Fate::Unknown`].
    ///
    /// For ids whose request was answered [`ClientError::Indeterminate`] and shall not be
    /// repeated. Whoever still wants the transfer uses [`Self::create_transfers_resolved`].
    ///
    /// ```no_run
    /// # use kanjo_client::{Client, ClientError, Fate, TransferBody, TransferId};
    /// # use std::time::Duration;
    /// # async fn example(client: Client, transfer: TransferBody) -> Result<bool, ClientError> {
    /// let posted = match client.create_transfers(&[transfer]).await {
    ///     Ok(results) => results[0].created(),
    ///     Err(error) if error.outcome_unknown() => {
    ///         let ids = [TransferId::new(transfer.id.get())];
    ///         let fates = client.settle(&ids, Duration::from_secs(30)).await?;
    ///         matches!(fates[0], Fate::Committed { .. })
    ///     }
    ///     Err(error) => return Err(error),
    /// };
    /// # Ok(posted)
    /// # }
    /// ```
    pub async fn settle(
        &self,
        ids: &[TransferId],
        overall: Duration,
    ) -> Result<Vec<Fate>, ClientError> {
        if let Some(id) = ids.iter().find(|id| matches!(id.get(), 0 | u128::MAX)) {
            let text = format!("{id} is no transfer id");
            return Err(ClientError::Malformed { text });
        }
        let deadline = after(overall);
        // A burn whose answer was lost changes nothing the second time.
        let burn = |client: Client| async move { client.burn(ids).await };
        self.repeat(deadline, burn).await?;
        let look_up = |client: Client| async move { client.lookup_outcomes(ids).await };
        let fates = self.repeat(deadline, look_up).await?.answer;
        match fates.iter().position(|fate| !fate.is_final()) {
            None => Ok(fates),
            Some(open) => {
                let text = format!("transfer id {} was burned and is not rejected", ids[open]);
                Err(ClientError::Protocol(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_that_cannot_be_read_is_not_guessed() {
        let row = |state: u32, result: u32| OutcomeBody {
            id: 5.into(),
            state: state.into(),
            result: result.into(),
            timestamp: 7.into(),
        };
        assert_eq!(Fate::of(&row(0, 0)).unwrap(), Fate::Unknown);
        let committed = Fate::of(&row(1, 0)).unwrap();
        assert_eq!(committed, Fate::Committed { timestamp: 7 });
        let why = CreateTransferResult::ExceedsCredits;
        let rejected = Fate::of(&row(2, why.number())).unwrap();
        assert_eq!(rejected, Fate::Rejected { why });
        assert!(rejected.is_final() && !Fate::Unknown.is_final());
        for strange in [row(3, 0), row(2, 0), row(2, 999), row(u32::MAX, 0)] {
            assert!(matches!(Fate::of(&strange), Err(ClientError::Protocol(_))));
        }
    }
}
