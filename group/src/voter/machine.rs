//! What Raft's log comes to: the register, who votes, and who never may again.

use kanjo_format::limits::REGISTER_REPLACED_MAX;
use kanjo_format::{ClusterId, Site};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use crate::register::{Outcome, Register, SetMember};
use crate::voter::setup::{Entry, LogId, Membership, VoterInfo};

/// The state after the last applied entry. Small enough to be its own snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) register: Register,
    /// Voters whose node came back with another directory, oldest first.
    pub(crate) replaced: Vec<SetMember>,
}

impl Machine {
    pub(crate) fn new(cluster: ClusterId, site: Site) -> Self {
        Self {
            last_applied: None,
            membership: Membership::default(),
            register: Register::new(cluster, site),
            replaced: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, entry: Entry) -> Option<Outcome> {
        self.last_applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(command) => Some(self.register.apply(&command)),
            EntryPayload::Membership(membership) => {
                self.become_members(Membership::new(Some(entry.log_id), membership));
                None
            }
        }
    }

    fn become_members(&mut self, new: Membership) {
        for (id, gone) in self.membership.nodes() {
            let stays = new.nodes().any(|(other, _)| other == id);
            let successor = new.nodes().any(|(_, info)| info.node == gone.node);
            if !stays && successor && !self.replaced.contains(&gone.member()) {
                if self.replaced.len() == REGISTER_REPLACED_MAX {
                    self.replaced.remove(0);
                }
                self.replaced.push(gone.member());
            }
        }
        self.membership = new;
    }

    /// Whether that directory has been replaced by another one of the same node.
    pub(crate) fn was_replaced(&self, member: SetMember) -> bool {
        self.replaced.contains(&member)
    }

    /// Who votes now.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &VoterInfo> {
        let membership = self.membership.membership();
        let ids: Vec<_> = membership.voter_ids().collect();
        self.membership
            .nodes()
            .filter(move |(id, _)| ids.contains(id))
            .map(|(_, info)| info)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use kanjo_format::{Incarnation, NodeId};
    use openraft::CommittedLeaderId;

    use super::*;
    use crate::voter::setup::VoterId;

    fn voter(node: u32, incarnation: u128) -> VoterInfo {
        VoterInfo {
            node: NodeId::new(node),
            incarnation: Incarnation::new(incarnation),
            address: String::new(),
            witness: false,
        }
    }

    fn members(index: u64, configs: &[&[&VoterInfo]]) -> Entry {
        let ids = |voters: &&[&VoterInfo]| voters.iter().map(|v| v.id()).collect::<BTreeSet<_>>();
        let nodes: BTreeMap<_, _> = configs
            .iter()
            .flat_map(|voters| voters.iter().map(|v| (v.id(), (*v).clone())))
            .collect();
        let membership = openraft::Membership::new(configs.iter().map(ids).collect(), nodes);
        Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, VoterId::default()), index),
            payload: EntryPayload::Membership(membership),
        }
    }

    #[test]
    fn a_replaced_directory_is_remembered_once_the_change_is_whole() {
        let mut machine = Machine::new(ClusterId::new(1), Site::One);
        let (one, two, wiped) = (voter(1, 11), voter(2, 22), voter(2, 33));
        machine.apply(members(0, &[&[&one, &two]]));
        machine.apply(members(1, &[&[&one, &two], &[&one, &wiped]]));
        assert!(!machine.was_replaced(two.member()));
        machine.apply(members(2, &[&[&one, &wiped]]));
        assert!(machine.was_replaced(two.member()));
        assert!(!machine.was_replaced(wiped.member()));
        machine.apply(members(3, &[&[&one]]));
        assert!(
            !machine.was_replaced(wiped.member()),
            "taken out is not replaced"
        );
        assert_eq!(machine.voters().count(), 1);
    }
}
