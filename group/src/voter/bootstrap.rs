//! How a voter comes to its register: together with the others at the first start, or later by
//! asking the leader.

use std::collections::BTreeMap;
use std::time::Duration;

use kanjo_format::NodeId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::voter::link::Target;
use crate::voter::setup::{VoterId, VoterInfo};
use crate::voter::wire::{Answer, Purpose, Request};
use crate::voter::{Core, Shared};

/// Between two attempts to find the others.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);
/// A voter that does not say who it is within this time does not count as there.
const WHO_TIMEOUT: Duration = Duration::from_millis(700);
/// The leader takes a voter in within this time, or is asked again.
const JOIN_TIMEOUT: Duration = Duration::from_millis(11_000);

/// What one voter of the site said.
struct Found {
    voter: VoterInfo,
    blank: bool,
    topology: u32,
    leader: Option<NodeId>,
}

/// Goes on until this voter votes.
pub(crate) async fn find_register(core: Core) {
    let mut members = core.raft.server_metrics();
    let mut said = String::new();
    loop {
        let me = core.info.id();
        if members
            .borrow_and_update()
            .membership_config
            .voter_ids()
            .any(|id| id == me)
        {
            tracing::info!("this voter is a member of the register");
            return;
        }
        let tried = core.attempt().await;
        if let Err(why) = tried
            && why != said
        {
            tracing::info!(why, "looking for the register's other voters");
            said = why;
        }
        // State that comes from the leader ends the wait early.
        let _ = timeout(ATTEMPT_PAUSE, members.changed()).await;
    }
}

impl Shared {
    async fn attempt(&self) -> Result<(), String> {
        let (found, missing) = self.look_around().await;
        if let Some(known) = found.iter().find(|found| !found.blank) {
            let leader = found.iter().find_map(|found| found.leader);
            let Some(leader) = leader else {
                return Err(format!(
                    "voter {} knows the register, but nobody leads it",
                    known.voter.node
                ));
            };
            return self.join(leader).await;
        }
        if !self.store.is_blank() {
            return Err("this voter waits for the others, who know nothing yet".to_owned());
        }
        if let Some(why) = missing {
            return Err(format!("the first start needs every voter: {why}"));
        }
        self.begin(&found).await
    }

    /// Asks every other voter of the site who it is; the second is why one did not say.
    async fn look_around(&self) -> (Vec<Found>, Option<String>) {
        let mut asked = JoinSet::new();
        for (node, _, _) in self.setup.topology.voters_of(self.setup.site) {
            if node != self.setup.node
                && let Some(target) = self.voter(node)
            {
                let link = self.links.to(target);
                asked.spawn(async move {
                    match timeout(WHO_TIMEOUT, link.call(Request::Who)).await {
                        Ok(Ok(Answer::Who {
                            voter,
                            blank,
                            topology,
                            leader,
                        })) => Ok(Found {
                            voter,
                            blank,
                            topology,
                            leader,
                        }),
                        Ok(Ok(other)) => Err(format!("voter {node} answered {other:?}")),
                        Ok(Err(error)) => Err(error.to_string()),
                        Err(_) => Err(format!("voter {node} does not answer")),
                    }
                });
            }
        }
        let (mut found, mut missing) = (Vec::new(), None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(voter)) => found.push(voter),
                Ok(Err(why)) => missing = Some(why),
                Err(error) => missing = Some(error.to_string()),
            }
        }
        (found, missing)
    }

    /// The register begins, with all voters of the site; one of them says so.
    async fn begin(&self, found: &[Found]) -> Result<(), String> {
        let own = self.who();
        let Answer::Who { topology, .. } = own else {
            unreachable!("who() tells who");
        };
        if let Some(other) = found.iter().find(|found| found.topology != topology) {
            return Err(format!(
                "voter {} was started with another cluster file: it must be the same everywhere",
                other.voter.node
            ));
        }
        let all = found.iter().map(|found| &found.voter).chain([&self.info]);
        let begins = all.clone().min_by_key(|voter| (!voter.witness, voter.node));
        if begins != Some(&self.info) {
            return Err("all are there; another one begins the register".to_owned());
        }
        let members: BTreeMap<VoterId, VoterInfo> = all
            .clone()
            .map(|voter| (voter.id(), voter.clone()))
            .collect();
        if members.len() != all.count() {
            return Err("two voters have the same incarnation: format each by itself".to_owned());
        }
        tracing::info!(voters = members.len(), "the register begins");
        let begun = self.raft.initialize(members).await;
        begun.map_err(|error| error.to_string())
    }

    async fn join(&self, leader: NodeId) -> Result<(), String> {
        let Some(target) = self.voter(leader).filter(|_| leader != self.setup.node) else {
            return Err(format!(
                "the leader, voter {leader}, is not in the cluster file"
            ));
        };
        let voter = self.info.clone();
        let link = self.links.to(target);
        let joined = link.call(Request::Join { voter });
        match timeout(JOIN_TIMEOUT, joined).await {
            Ok(Ok(Answer::Joined)) => Ok(()),
            Ok(Ok(Answer::Declined { why })) => Err(format!("voter {leader} declines: {why}")),
            Ok(Ok(_)) => Err(format!("voter {leader} leads no more")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("voter {leader} does not answer")),
        }
    }

    fn voter(&self, node: NodeId) -> Option<Target> {
        let site = self.setup.site;
        let mut voters = self.setup.topology.voters_of(site);
        let (_, address, _) = voters.find(|(listed, _, _)| *listed == node)?;
        Some(Target {
            site,
            node,
            address: address.to_owned(),
            purpose: Purpose::Join,
            incarnation: None,
        })
    }
}
