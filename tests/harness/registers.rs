//! What the two registers and the servers say together: who writes, with whom, and whether all
//! of them are whole and alike.

use std::collections::{BTreeMap, BTreeSet};

use kanjo_format::Site;
use kanjo_group::{Register, SiteReport};
use kanjo_node::admin::Condition;
use kanjo_node::status::{PeerStatus, Status};

use super::PATIENCE;
use super::clouds::Cloud;
use super::part::{Part, SERVERS};

impl Cloud {
    /// The server that answers, if there is one.
    pub(crate) fn primary(&mut self) -> Option<Part> {
        primary_of(&self.statuses())
    }

    /// Every server that takes itself for the primary, whether it can answer or not.
    pub(crate) fn writers(&mut self) -> Vec<Part> {
        let statuses = self.statuses().into_iter();
        let writers = statuses.filter(|(_, status)| status.role == "primary");
        writers.map(|(server, _)| server).collect()
    }

    /// Waits until a server answers.
    pub(crate) fn expect_primary(&mut self) -> Part {
        self.look("a server answers", PATIENCE, Self::primary)
    }

    /// Waits until a server of this site answers.
    pub(crate) fn expect_primary_in(&mut self, site: Site) -> Part {
        self.look(
            &format!("a server of site {site} answers"),
            PATIENCE,
            |cloud| cloud.primary().filter(|primary| primary.site() == site),
        )
    }

    /// Waits until another server than that one answers.
    pub(crate) fn expect_other_primary(&mut self, than: Part) -> Part {
        self.look(
            &format!("another server than {than} answers"),
            PATIENCE,
            |cloud| cloud.primary().filter(|&primary| primary != than),
        )
    }

    /// The server that processes for a site, by its register.
    pub(crate) fn nominee(&mut self, site: Site) -> Part {
        self.look(
            &format!("site {site} has somebody who processes for it"),
            PATIENCE,
            |cloud| {
                let statuses = cloud.statuses();
                let own = statuses.iter().filter(|(server, _)| server.site() == site);
                let mut registers = own.filter_map(|(_, status)| own_report(status));
                let nominee = registers.find_map(|report| report.register.nominee)?;
                let nominee = Part::of_node(nominee.node.get());
                statuses.contains_key(&nominee).then_some(nominee)
            },
        )
    }

    /// The register that holds the authority, in its newest state that any server tells.
    pub(crate) fn authority(&mut self) -> Option<Register> {
        authority_of(&self.statuses())
    }

    /// The in-sync set in force.
    pub(crate) fn set(&mut self) -> BTreeSet<Part> {
        self.authority().as_ref().map(set_of).unwrap_or_default()
    }

    /// Waits for an in-sync set.
    pub(crate) fn expect_set(&mut self, members: &[Part]) {
        let wanted: BTreeSet<Part> = members.iter().copied().collect();
        let what = format!("the in-sync set is {members:?}");
        self.look(&what, PATIENCE, |cloud| {
            (cloud.set() == wanted).then_some(())
        });
    }

    /// Waits until all is as it should be with all six parts alive: one server answers, every
    /// commit waits for both servers of the other site, the fourth follows, and both sites have
    /// all their voters.
    pub(crate) fn expect_protected(&mut self) -> Part {
        self.look("all six are whole", PATIENCE, |cloud| {
            let statuses = cloud.statuses();
            is_whole(&statuses).then(|| primary_of(&statuses))?
        })
    }

    /// Waits until all four have the same log and have applied it, and compares their ledgers
    /// there. Nothing may be under way. Gives the writer's status.
    pub(crate) fn expect_equal_digests(&mut self) -> Status {
        let primary = self.expect_protected();
        self.expect_condition(primary, Condition::Idle);
        let (statuses, mine) = self.look("all four have applied the same log", PATIENCE, |cloud| {
            let statuses = cloud.statuses();
            let mine = statuses.get(&primary)?.clone();
            let at_one_lsn = |status: &Status| {
                status.tail_lsn == mine.tail_lsn && status.applied_lsn == mine.tail_lsn
            };
            let settled = statuses.len() == SERVERS.len() && statuses.values().all(at_one_lsn);
            settled.then_some((statuses, mine))
        });
        for (server, status) in &statuses {
            let at = status.tail_lsn;
            assert_eq!(
                status.tail_chain, mine.tail_chain,
                "history of {server} at {at}"
            );
            assert_eq!(status.digest, mine.digest, "ledger of {server} at {at}");
            assert_eq!(status.transfers, mine.transfers, "{server}");
            for ledger in &status.trial_balance {
                assert_eq!(ledger.difference, "0", "{server}: {ledger:?}");
            }
        }
        mine
    }
}

/// The one that answers. Two of them may each say so for a moment, when an old one has not heard
/// yet; the higher epoch is the one that can commit.
pub(crate) fn primary_of(statuses: &BTreeMap<Part, Status>) -> Option<Part> {
    let serving = statuses
        .iter()
        .filter(|(_, status)| status.role == "primary" && status.serving);
    let newest = serving.max_by_key(|(_, status)| epoch_of(status));
    newest.map(|(&server, _)| server)
}

/// Site term and local term.
pub(crate) fn epoch_of(status: &Status) -> (u32, u32) {
    let parsed = status
        .epoch
        .split_once('.')
        .and_then(|(site, local)| Some((site.parse().ok()?, local.parse().ok()?)));
    parsed.unwrap_or_else(|| panic!("an epoch is SITE.LOCAL, not {:?}", status.epoch))
}

pub(crate) fn own_report(status: &Status) -> Option<&SiteReport> {
    status.group.as_ref()?.own.as_ref()
}

pub(crate) fn authority_of(statuses: &BTreeMap<Part, Status>) -> Option<Register> {
    let groups = statuses.values().filter_map(|status| status.group.as_ref());
    let reports = groups.flat_map(|group| group.own.iter().chain(&group.other));
    let holders = reports
        .map(|report| &report.register)
        .filter(|register| register.holds_authority());
    holders
        .max_by_key(|register| (register.holding(), register.version))
        .cloned()
}

pub(crate) fn set_of(register: &Register) -> BTreeSet<Part> {
    let members = register.set.iter();
    members
        .map(|member| Part::of_node(member.node.get()))
        .collect()
}

/// What a server says of another one.
pub(crate) fn peer(status: &Status, part: Part) -> Option<&PeerStatus> {
    let mut peers = status.peers.iter();
    peers.find(|peer| peer.node == Some(part.node()))
}

fn is_whole(statuses: &BTreeMap<Part, Status>) -> bool {
    let Some(primary) = primary_of(statuses) else {
        return false;
    };
    let Some(register) = authority_of(statuses) else {
        return false;
    };
    let auxiliary = Part::servers_of(primary.site().other());
    let voters_answer = |status: &Status| {
        own_report(status).is_some_and(|report| {
            report.leader.is_some() && report.voters.iter().all(|voter| voter.answers)
        })
    };
    statuses.len() == SERVERS.len()
        && statuses[&primary].protection == "PROTECTED"
        && register.active == primary.site()
        && set_of(&register) == BTreeSet::from(auxiliary)
        && statuses.iter().all(|(&server, status)| {
            let follows = status.role == "replica"
                && status.epoch == statuses[&primary].epoch
                && peer(&statuses[&primary], server)
                    .is_some_and(|peer| peer.connected == Some(true));
            server == primary || follows
        })
        && [Site::One, Site::Two].into_iter().all(|site| {
            let of_site = statuses.iter().filter(|(server, _)| server.site() == site);
            of_site.clone().any(|(_, status)| voters_answer(status))
        })
}
