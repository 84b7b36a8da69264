//! What there is at the end: every answered transfer is looked up, all four servers are compared.

use anyhow::Result;
use kanjo_client::{AccountBody, Client};

use super::load::{Answers, Unknown};
use crate::clouds::{Clouds, SERVERS};
use crate::demo::check::{Lost, find_lost, find_wrong_accounts};
use crate::demo::failover::quarantined;
use crate::demo::post::{Answer, Fate};
use crate::demo::report::{NodeDigest, TrialBalance};
use crate::demo::telling::Telling;

/// What was found.
pub(super) struct Ending {
    pub(super) answered: usize,
    pub(super) posted: usize,
    pub(super) unknown: Unknown,
    pub(super) lost: Vec<Lost>,
    pub(super) wrong_accounts: Vec<String>,
    /// Transfers that the ledger holds.
    pub(super) transfers: u64,
    pub(super) digests: Vec<NodeDigest>,
    /// What differs between the servers.
    pub(super) difference: Option<String>,
    pub(super) trial_balance: Vec<TrialBalance>,
    /// Transfers that were cut from the end of a log, answered to nobody.
    pub(super) quarantined: usize,
}

impl Ending {
    /// Looks; nothing is posted any more.
    pub(super) async fn of(
        clouds: &mut Clouds,
        client: &Client,
        accounts: &[AccountBody],
        heard: &Answers,
    ) -> Result<Self> {
        clouds.whole().await?;
        let picture = clouds.settle().await?;
        let answers: Vec<Answer> = heard.0.iter().map(|one| one.answer).collect();
        let posted = answers.iter().filter(|one| one.fate == Fate::Posted);
        let mut cut = 0;
        for server in SERVERS {
            cut += quarantined(&clouds.data_dir(server))?;
        }
        let transfers = picture.statuses().map(|status| status.transfers);
        Ok(Self {
            answered: answers.len(),
            posted: posted.count(),
            unknown: heard.all_unknown(),
            lost: find_lost(client, &answers).await?,
            wrong_accounts: find_wrong_accounts(client, accounts, &answers).await?,
            transfers: transfers.max().unwrap_or_default(),
            digests: picture.statuses().map(NodeDigest::of).collect(),
            difference: picture.check_equal().err().map(|error| error.to_string()),
            trial_balance: TrialBalance::of(picture.statuses()),
            quarantined: cut,
        })
    }

    /// Says it in a line.
    pub(super) fn tell(&self, telling: &Telling) {
        telling.say(format!(
            "looked up all {} answered transfers: {} lost; the four servers are {}",
            self.answered,
            self.lost.len(),
            match &self.difference {
                None => "equal",
                Some(difference) => difference,
            }
        ));
    }
}
