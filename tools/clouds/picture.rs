//! What the servers that answer say together: who processes, who has everything, whether all of
//! it is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, bail};
use kanjo_format::Site;
use kanjo_group::{Register, SiteReport};
use kanjo_node::status::Status;

use super::part::{Part, SERVERS};

/// Statuses of all servers that answered.
pub(crate) struct Picture(pub(super) BTreeMap<Part, Status>);

impl Picture {
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

    /// Whether all parts of both sites live and do what they should: one server answers, every commit waits
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
            && status.peers.iter().all(|peer| peer.connected == Some(true))
            && register.active == primary.site()
            && register.site == primary.site().other()
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
                    "    to {node}: connected {connected:?}, member {member}, {error}"
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

#[cfg(test)]
mod tests {
    use kanjo_format::{ClusterId, Incarnation, NodeId};
    use kanjo_group::register::{Authority, Nominee};
    use kanjo_group::{SetMember, VoterSeen};
    use kanjo_node::status::{GroupStatus, PeerStatus};

    use super::*;
    use crate::clouds::parts_of;

    fn report(site: Site) -> SiteReport {
        let incarnation = Incarnation::new(7);
        let member = |node: u32| SetMember {
            node: NodeId::new(node),
            incarnation,
        };
        let mut register = Register::new(ClusterId::new(1), site);
        if site == Site::Two {
            register.set = vec![member(3), member(4)];
        }
        let [first, ..] = parts_of(site);
        register.nominee = Some(Nominee {
            node: NodeId::new(first.node()),
            incarnation,
            number: 1,
        });
        let voter = |part: Part| VoterSeen {
            node: NodeId::new(part.node()),
            incarnation,
            witness: part.is_witness(),
            answers: true,
        };
        SiteReport {
            register,
            leader: Some(NodeId::new(first.node())),
            voters: parts_of(site).map(voter).into(),
            servers: Vec::new(),
            elections: 1,
        }
    }

    fn status(server: Part) -> Status {
        let primary = server.node() == 1;
        let peer = PeerStatus {
            connected: Some(true),
            ..PeerStatus::default()
        };
        Status {
            node: server.node(),
            role: if primary { "primary" } else { "replica" }.to_owned(),
            epoch: "1.1".to_owned(),
            protection: "PROTECTED".to_owned(),
            serving: primary,
            tail_lsn: 4096,
            applied_lsn: 4096,
            peers: vec![peer; SERVERS.len() - 1],
            group: Some(GroupStatus {
                own: Some(report(server.site())),
                other: Some(report(server.site().other())),
                ..GroupStatus::default()
            }),
            ..Status::default()
        }
    }

    fn picture() -> Picture {
        Picture(
            SERVERS
                .into_iter()
                .map(|server| (server, status(server)))
                .collect(),
        )
    }

    /// Changes what every server says of a site.
    fn change(picture: &mut Picture, site: Site, change: impl Fn(&mut SiteReport)) {
        for status in picture.0.values_mut() {
            let group = status.group.as_mut().unwrap();
            let reports = group.own.iter_mut().chain(&mut group.other);
            reports
                .filter(|report| report.register.site == site)
                .for_each(&change);
        }
    }

    #[test]
    fn it_is_whole_only_while_every_part_does_its_share() {
        assert!(picture().is_whole(), "{}", picture());
        let faults: [fn(&mut Picture); 8] = [
            |p| drop(p.0.remove(&SERVERS[1])),
            |p| p.0.get_mut(&SERVERS[0]).unwrap().serving = false,
            |p| p.0.get_mut(&SERVERS[0]).unwrap().protection = "ONE SITE ONLY".to_owned(),
            |p| p.0.get_mut(&SERVERS[0]).unwrap().peers[2].connected = Some(false),
            |p| change(p, Site::Two, |report| report.register.set.truncate(1)),
            |p| change(p, Site::Two, |report| report.voters[2].answers = false),
            |p| change(p, Site::One, |report| report.leader = None),
            |p| {
                let holding = 1;
                change(p, Site::Two, |report| {
                    report.register.authority = Authority::Inactive { holding };
                });
            },
        ];
        for (place, fault) in faults.iter().enumerate() {
            let mut picture = picture();
            fault(&mut picture);
            assert!(!picture.is_whole(), "fault {place}");
        }
    }

    #[test]
    fn of_two_that_say_they_serve_the_higher_epoch_counts() {
        let mut picture = picture();
        let second = picture.0.get_mut(&SERVERS[1]).unwrap();
        (second.role, second.serving) = ("primary".to_owned(), true);
        second.epoch = "1.2".to_owned();
        assert_eq!(picture.primary(), Some(SERVERS[1]));
        assert_eq!(picture.nominee(Site::Two), Some(SERVERS[2]));
    }

    #[test]
    fn settled_servers_are_compared_by_history_digest_and_count() {
        let mut picture = picture();
        assert!(picture.is_settled());
        picture.check_equal().unwrap();
        picture.0.get_mut(&SERVERS[3]).unwrap().applied_lsn = 0;
        assert!(!picture.is_settled());
        picture.0.get_mut(&SERVERS[3]).unwrap().transfers = 1;
        let error = picture.check_equal().unwrap_err().to_string();
        assert!(error.contains("node 1 and node 4 differ"), "{error}");
    }
}
