//! Who votes: taking a new directory in for a node whose old one is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::{ChangeMembers, ServerState};
use tokio::time::timeout;

use crate::voter::setup::{Membership, VoterId, VoterInfo};
use crate::voter::wire::Answer;
use crate::voter::{Core, Shared};

/// Each step of a change is decided within this time, or left to the next attempt.
const STEP_TIMEOUT: Duration = Duration::from_millis(3_000);

impl Shared {
    /// Who this is, for somebody that looks for the register.
    pub(crate) fn who(&self) -> Answer {
        Answer::Who {
            voter: self.info.clone(),
            blank: self.store.is_blank(),
            topology: crc32fast::hash(self.setup.topology.to_toml().as_bytes()),
            leader: self.leader(),
        }
    }

    /// As leader: takes a voter in, in place of the one with the same node number.
    pub(crate) async fn take_in(&self, voter: VoterInfo) -> Answer {
        let _alone = self.joining.lock().await;
        if !self.leads() {
            return Answer::NotLeader {
                leader: self.leader(),
                report: Box::new(self.report()),
            };
        }
        match self.replace(voter).await {
            Ok(()) => Answer::Joined,
            Err(why) => Answer::Declined { why },
        }
    }

    async fn replace(&self, voter: VoterInfo) -> Result<(), String> {
        let mut listed = self.setup.topology.voters_of(self.setup.site);
        if !listed.any(|(node, _, witness)| (node, witness) == (voter.node, voter.witness)) {
            return Err(format!(
                "the cluster file here does not list voter {} like that",
                voter.node
            ));
        }
        let known = self.membership();
        let voting: BTreeSet<VoterId> = known.voter_ids().collect();
        if voting.contains(&voter.id()) && known.membership().get_joint_config().len() == 1 {
            return Ok(());
        }
        let same = |info: &VoterInfo| info.node == voter.node && info.member() != voter.member();
        let before: Vec<VoterInfo> = known
            .nodes()
            .map(|(_, info)| info.clone())
            .filter(same)
            .collect();
        for old in &before {
            // Whoever starts a node twice must not lose the one that runs.
            if self.contacts.heard_within(old.member(), self.setup.lost()) {
                return Err(format!(
                    "node {} is alive with incarnation {}: stop it first, or give this one its own number",
                    old.node, old.incarnation
                ));
            }
        }
        let gone: BTreeSet<VoterId> = before.iter().map(VoterInfo::id).collect();
        let mut goal: BTreeSet<VoterId> = voting.difference(&gone).copied().collect();
        goal.insert(voter.id());
        tracing::info!(node = %voter.node, incarnation = %voter.incarnation, "a voter joins");
        let learn = self.raft.add_learner(voter.id(), voter.clone(), true);
        within(learn).await?;
        self.change(goal).await?;
        let left: BTreeSet<VoterId> = self
            .membership()
            .nodes()
            .map(|(id, _)| *id)
            .filter(|id| gone.contains(id))
            .collect();
        if !left.is_empty() {
            let forget = ChangeMembers::RemoveNodes(left);
            within(self.raft.change_membership(forget, false)).await?;
        }
        tracing::info!(node = %voter.node, incarnation = %voter.incarnation, "a voter has joined");
        Ok(())
    }

    async fn change(&self, goal: BTreeSet<VoterId>) -> Result<(), String> {
        within(self.raft.change_membership(goal, false)).await
    }

    /// Who votes, as of the newest entry, committed or not.
    pub(crate) fn membership(&self) -> Membership {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow();
        (*now.membership_config).clone()
    }
}

async fn within<T, E: std::fmt::Display>(
    step: impl Future<Output = Result<T, E>>,
) -> Result<(), String> {
    match timeout(STEP_TIMEOUT, step).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it was not decided in time".to_owned()),
    }
}

/// As leader: finishes a change that its predecessor left half done.
pub(crate) async fn finish_changes(core: Core) {
    let mut metrics = core.raft.server_metrics();
    loop {
        let half = {
            let now = metrics.borrow_and_update();
            let configs = now.membership_config.membership().get_joint_config();
            let led = now.state == ServerState::Leader && configs.len() > 1;
            led.then(|| configs.last().cloned()).flatten()
        };
        if let Some(goal) = half {
            let _alone = core.joining.lock().await;
            let still = core.membership();
            if still.membership().get_joint_config().last() == Some(&goal)
                && still.membership().get_joint_config().len() > 1
                && let Err(error) = core.change(goal).await
            {
                tracing::info!(error, "a change of voters is still half done");
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
