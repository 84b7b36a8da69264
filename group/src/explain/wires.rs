//! Who reaches whom under a fault.

use std::collections::BTreeSet;

use kanjo_format::{NodeId, Site};

use super::Fault;
use crate::topology::Topology;

/// What is alive and connected.
#[derive(Clone, Debug)]
pub(super) struct Wires<'a> {
    topology: &'a Topology,
    lost: BTreeSet<NodeId>,
    cut_from_own_site: Option<NodeId>,
    cut_from_other_site: Option<NodeId>,
    link_cut: bool,
    /// Whether a third site's witness answers both sites.
    pub(super) third_witness: bool,
}

/// All servers and witnesses with their sites.
pub(super) fn parts(topology: &Topology) -> impl Iterator<Item = (NodeId, Site)> {
    let servers = topology
        .servers
        .iter()
        .map(|server| (server.node, server.site));
    servers.chain(topology.witnesses.iter().map(|one| (one.node, one.site)))
}

impl<'a> Wires<'a> {
    /// The cluster under a fault.
    pub(super) fn with(topology: &'a Topology, fault: &Fault, third_witness: bool) -> Self {
        let mut wires = Self {
            topology,
            lost: BTreeSet::new(),
            cut_from_own_site: None,
            cut_from_other_site: None,
            link_cut: false,
            third_witness,
        };
        match fault {
            Fault::Lost { nodes } => wires.lost.extend(nodes),
            // Nothing is done that is not asked over a connection, which takes both directions.
            Fault::Deaf { node } | Fault::Mute { node } => {
                wires.lost.insert(*node);
            }
            Fault::CutFromOwnSite { node } => wires.cut_from_own_site = Some(*node),
            Fault::CutFromOtherSite { node } => wires.cut_from_other_site = Some(*node),
            Fault::SiteLost { site } => wires.lose_site(*site),
            Fault::LinkCut => wires.link_cut = true,
            Fault::ThirdWitnessLost => wires.third_witness = false,
            Fault::ThirdWitnessAndSiteLost { site } => {
                wires.third_witness = false;
                wires.lose_site(*site);
            }
            Fault::ThirdWitnessLostAndLinkCut => {
                wires.third_witness = false;
                wires.link_cut = true;
            }
        }
        wires
    }

    fn lose_site(&mut self, site: Site) {
        let all = parts(self.topology).filter(|(_, at)| *at == site);
        self.lost.extend(all.map(|(node, _)| node));
    }

    /// The same with one part more lost.
    pub(super) fn without(&self, node: NodeId) -> Self {
        let mut wires = self.clone();
        wires.lost.insert(node);
        wires
    }

    /// Whether it runs and is not cut off from everybody.
    pub(super) fn lives(&self, node: NodeId) -> bool {
        !self.lost.contains(&node)
    }

    /// Whether these two can talk.
    pub(super) fn connects(&self, one: NodeId, other: NodeId) -> bool {
        if !self.lives(one) || !self.lives(other) {
            return false;
        }
        if one == other {
            return true;
        }
        let cut = |at: Option<NodeId>| at.is_some_and(|node| node == one || node == other);
        match self.site_of(one) == self.site_of(other) {
            true => !cut(self.cut_from_own_site),
            false => !self.link_cut && !cut(self.cut_from_other_site),
        }
    }

    fn site_of(&self, node: NodeId) -> Option<Site> {
        let mut all = parts(self.topology);
        all.find(|(one, _)| *one == node).map(|(_, site)| site)
    }

    /// The voters of a site that reach each other, if they are a majority of it.
    pub(super) fn majority(&self, site: Site) -> Option<Vec<NodeId>> {
        let voters: Vec<NodeId> = self
            .topology
            .voters_of(site)
            .map(|(node, ..)| node)
            .collect();
        let groups = voters.iter().map(|&voter| {
            let reached = voters.iter().copied();
            reached
                .filter(|&other| self.connects(voter, other))
                .collect::<Vec<_>>()
        });
        let largest = groups.max_by_key(Vec::len)?;
        (largest.len() * 2 > voters.len()).then_some(largest)
    }

    /// Whether it reaches a majority of that site, through any of its voters.
    pub(super) fn asks(&self, node: NodeId, site: Site) -> bool {
        let majority = self.majority(site).unwrap_or_default();
        majority.iter().any(|&voter| self.connects(node, voter))
    }

    /// Voters of a site that live, and how many there are in all.
    pub(super) fn voters(&self, site: Site) -> (Vec<NodeId>, usize) {
        let all: Vec<NodeId> = self
            .topology
            .voters_of(site)
            .map(|(node, ..)| node)
            .collect();
        let count = all.len();
        let living = all.into_iter().filter(|&node| self.lives(node));
        (living.collect(), count)
    }
}
