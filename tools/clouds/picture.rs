//! What the servers that answer say together: who processes, who has everything, whether all of
//! it is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, bail};
use kanjo_format::Site;
use kanjo_group::{Register, SiteReport};
use kanjo_node::status::Status;

use super::part::{Part, SERVERS, other};

/// Statuses of all servers that answered.
pub(crate) struct Picture(pub(super) BTreeMap<Part, Status>);

impl Picture {
    /// How a server is, if it answered.
    pub(crate) fn of(&self, server: Part) -> Option<&Status> {
        self.0.get(&server)
    }

    /// All statuses.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.0.values()
    }

    /// The server that answers new transfers. An old one that has not heard yet may say so too;
    /// the higher epoch is the one that can commit.
    pub(crate) fn primary(&self) -> Option<Part> {
        let serving = self.0.iter();
        let serving = serving.filter(|(_, status)| status.role == "primary" && status.serving);
        let newest = serving.max_by_key(|(_, status)| epoch_of(status));
        newest.map(|(&server, _)| server)
    }

    /// Who processes for a site, by its own register.
    pub(crate) fn nominee(&self, site: Site) -> Option<Part> {
        let registers = self.own_reports(site).map(|report| &report.register);
        let newest = registers.max_by_key(|register| register.version)?;
        Part::of_node(newest.nominee?.node.get()).filter(|server| self.0.contains_key(server))
    }

    /// Whether all six parts live and do what they should: one server answers, every commit waits
    /// for both servers of the other site, the fourth follows, all voters answer.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(primary) = self.primary() else {
            return false;
        };
        let status = &self.0[&primary];
        let Some(register) = self.authority() else {
            return false;
        };
        let auxiliary = SERVERS.into_iter().filter(|s| s.site() != primary.site());
        self.0.len() == SERVERS.len()
            && status.protection == "PROTECTED"
            && status.peers.len() == SERVERS.len() - 1
            && status.peers.iter().all(|peer| peer.connected)
            && register.active == primary.site()
            && register.site == other(primary.site())
            && set_of(register) == auxiliary.collect()
            && [Site::One, Site::Two]
                .into_iter()
                .all(|site| self.all_vote(site))
    }

    /// Whether the other voters of that one's site miss it, and are a majority.
    pub(crate) fn votes_without(&self, voter: Part) -> bool {
        self.own_reports(voter.site()).any(|report| {
            let answers = |node: u32| {
                let known = report.voters.iter().find(|one| one.node.get() == node);
                known.is_some_and(|one| one.answers)
            };
            report
                .leader
                .is_some_and(|leader| leader.get() != voter.node())
                && !answers(voter.node())
        })
    }

    /// Whether all four stand at the end of one log, with all of it applied.
    pub(crate) fn is_settled(&self) -> bool {
        let mut all = self.0.values();
        let Some(first) = all.next() else {
            return false;
        };
        let same = |status: &Status| {
            status.tail_lsn == first.tail_lsn && status.applied_lsn == first.tail_lsn
        };
        let idle = |status: &Status| status.requests_outstanding == 0;
        self.0.len() == SERVERS.len() && self.0.values().all(|one| same(one) && idle(one))
    }

    /// An error unless all have the same history and the same accounts. They must be settled.
    pub(crate) fn check_equal(&self) -> Result<()> {
        let mut all = self.0.iter();
        let Some((one, mine)) = all.next() else {
            bail!("no server answered");
        };
        for (other, theirs) in all {
            if mine.tail_chain != theirs.tail_chain {
                bail!(
                    "{one} and {other} have different histories at lsn {}",
                    mine.tail_lsn
                );
            }
            if mine.digest != theirs.digest || mine.transfers != theirs.transfers {
                bail!(
                    "the ledgers of {one} and {other} differ at lsn {}",
                    mine.tail_lsn
                );
            }
        }
        Ok(())
    }

    /// The register that holds the authority, in the newest state that any server tells.
    fn authority(&self) -> Option<&Register> {
        let groups = self.0.values().filter_map(|status| status.group.as_ref());
        let reports = groups.flat_map(|group| group.own.iter().chain(&group.other));
        let registers = reports.map(|report| &report.register);
        let holders = registers.filter(|register| register.holds_authority());
        holders.max_by_key(|register| (register.holding(), register.version))
    }

    fn own_reports(&self, site: Site) -> impl Iterator<Item = &SiteReport> {
        let own = self
            .0
            .iter()
            .filter(move |(server, _)| server.site() == site);
        own.filter_map(|(_, status)| status.group.as_ref()?.own.as_ref())
    }

    fn all_vote(&self, site: Site) -> bool {
        self.own_reports(site).any(|report| {
            report.leader.is_some() && report.voters.iter().all(|voter| voter.answers)
        })
    }
}

fn set_of(register: &Register) -> BTreeSet<Part> {
    let members = register.set.iter();
    members
        .filter_map(|member| Part::of_node(member.node.get()))
        .collect()
}

/// Site term and local term, of `SITE.LOCAL`.
fn epoch_of(status: &Status) -> (u32, u32) {
    let terms = status.epoch.split_once('.');
    let parsed = terms.and_then(|(site, local)| Some((site.parse().ok()?, local.parse().ok()?)));
    parsed.unwrap_or_default()
}

/// For a person who looks for the reason of a failure.
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (server, status) in &self.0 {
            writeln!(
                f,
                "{server}: {} in epoch {}, {}, serving {} ({}), tail {} committed {} applied {}",
                status.role,
                status.epoch,
                status.protection,
                status.serving,
                status.why_not_serving,
                status.tail_lsn,
                status.committed_lsn,
                status.applied_lsn
            )?;
            for peer in &status.peers {
                let node = peer
                    .node
                    .map_or_else(|| "?".to_owned(), |node| node.to_string());
                let (connected, member) = (peer.connected, peer.member);
                let error = peer.last_error.as_deref().unwrap_or("no error");
                writeln!(
                    f,
                    "    to {node}: connected {connected}, member {member}, {error}"
                )?;
            }
        }
        for site in [Site::One, Site::Two] {
            let Some(report) = self.own_reports(site).max_by_key(|r| r.register.version) else {
                continue;
            };
            let (register, leader) = (&report.register, report.leader);
            let silent = report.voters.iter().filter(|voter| !voter.answers);
            let silent: Vec<String> = silent.map(|voter| voter.node.to_string()).collect();
            let set: Vec<String> = register.set.iter().map(|m| m.node.to_string()).collect();
            writeln!(
                f,
                "site {site}: leader {leader:?}, authority {}, active {}, set {set:?}, {}, nominee {:?}, voters that do not answer {silent:?}",
                register.authority,
                register.active,
                register.protection.name(),
                register.nominee.map(|nominee| nominee.node.get())
            )?;
        }
        Ok(())
    }
}
