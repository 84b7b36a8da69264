//! What is looked at before a planned switch: pure, from what the servers said of themselves.

use std::time::Duration;

use comfy_table::Table;
use kanjo_group::SiteReport;
use kanjo_node::status::{PeerStatus, Status};
use serde::Serialize;

use super::super::status::lag;
use super::{ClockSeen, Heard};
use crate::output::table;
use crate::quantities::show_size;
use crate::times::show_duration;

/// A server that is further behind would not be drained in time.
const LAG_MAX: Duration = Duration::from_secs(5);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) holds: bool,
    pub(super) found: String,
    /// What to do where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_do: Option<&'static str>,
}

impl Check {
    fn good(check: &'static str, found: String) -> Self {
        Self {
            check,
            holds: true,
            found,
            to_do: None,
        }
    }

    fn bad(check: &'static str, found: String, to_do: &'static str) -> Self {
        Self {
            check,
            holds: false,
            found,
            to_do: Some(to_do),
        }
    }

    fn of(check: &'static str, holds: bool, found: String, to_do: &'static str) -> Self {
        match holds {
            true => Self::good(check, found),
            false => Self::bad(check, found, to_do),
        }
    }
}

/// Looks at everything that can be seen from outside before the server `from` hands over. The server
/// itself checks once more what may change meanwhile.
pub(super) fn checks(from: &Heard, heard: &[Heard]) -> Vec<Check> {
    let Ok(primary) = &from.status else {
        return Vec::new();
    };
    let mut found = vec![writer(primary), registers(primary)];
    let other = primary.group.as_ref().and_then(|g| g.other.as_ref());
    let Some(to) = other.and_then(|other| nominee(other, heard)) else {
        let text = "nobody is known to process for the other site".to_owned();
        let to_do = "`kanjo status --cluster-file FILE` shows what its register says";
        found.push(Check::bad("destination", text, to_do));
        return found;
    };
    let status = match &to.status {
        Ok(status) => status,
        Err(why) => {
            let text = format!("node {} processes there, but: {why}", to.server.node);
            let to_do = "its admin port has to be reachable from here: it is to be looked at";
            found.push(Check::bad("destination", text, to_do));
            return found;
        }
    };
    found.push(destination(status));
    found.push(in_set(primary, status));
    let peer = primary.peers.iter().find(|p| p.node == Some(status.node));
    found.extend(peer.map(lagging));
    found.extend(peer.map(chain));
    found.push(clock(
        (primary, from.clock.as_ref()),
        (status, to.clock.as_ref()),
    ));
    found.push(disk(status));
    found
}

/// The checks as people see them.
pub(super) fn shown(checks: &[Check]) -> Table {
    let mut rows = table(&["check", "holds", "found"], &[]);
    for check in checks {
        let holds = if check.holds { "yes" } else { "NO" };
        rows.add_row([check.check, holds, &check.found]);
    }
    rows
}

fn nominee<'a>(site: &SiteReport, heard: &'a [Heard]) -> Option<&'a Heard> {
    let node = site.register.nominee?.node;
    heard.iter().find(|one| one.server.node == node)
}

fn writer(primary: &Status) -> Check {
    let found = format!(
        "node {} of site {} serves in epoch {}, {}",
        primary.node, primary.site, primary.epoch, primary.protection
    );
    let to_do = "only a primary that commits can be drained: see `kanjo status`";
    Check::of("writer", primary.serving, found, to_do)
}

fn registers(primary: &Status) -> Check {
    let group = primary.group.as_ref();
    let says = |report: Option<&SiteReport>| match report.map(|r| (r.register.site, r.leader)) {
        Some((site, Some(leader))) => (true, format!("site {site} has node {leader} for leader")),
        Some((site, None)) => (false, format!("site {site} has no majority")),
        None => (false, "one site is not heard".to_owned()),
    };
    let own = says(group.and_then(|group| group.own.as_ref()));
    let other = says(group.and_then(|group| group.other.as_ref()));
    let to_do = "both registers have to agree to a switch: start what is down; if the site that processes is lost, use `kanjo failover`";
    let found = format!("{}, {}", own.1, other.1);
    Check::of("registers", own.0 && other.0, found, to_do)
}

fn destination(status: &Status) -> Check {
    let found = format!(
        "node {} processes for site {}, {} in epoch {}",
        status.node, status.site, status.role, status.epoch
    );
    let to_do = "wait until it follows; `kanjo status --connect ITS_ADMIN` says what it does";
    Check::of("destination", status.role == "replica", found, to_do)
}

fn in_set(primary: &Status, to: &Status) -> Check {
    let group = primary.group.as_ref();
    let mut reports = group.into_iter().flat_map(|g| g.own.iter().chain(&g.other));
    let holder = reports.find(|report| report.register.holds_authority());
    let named = holder.is_some_and(|holder| {
        let mut set = holder.register.set.iter();
        set.any(|m| m.node.get() == to.node && m.incarnation.to_string() == to.incarnation)
    });
    let found = match named {
        true => format!("every commit waits for node {}", to.node),
        false => format!("node {} is not in the in-sync set", to.node),
    };
    let to_do = "wait until it has caught up: `kanjo status --cluster-file FILE --watch`";
    Check::of("in-sync set", named, found, to_do)
}

fn lagging(peer: &PeerStatus) -> Check {
    let behind = peer.lag_us.map(Duration::from_micros);
    let connected = peer.connected == Some(true);
    let soon = behind.is_some_and(|behind| behind <= LAG_MAX);
    let found = match connected {
        true => format!("{} behind", lag(peer)),
        false => format!("no batches flow; {} behind", lag(peer)),
    };
    let to_do = "wait until it keeps up: what is under way has 5 s to commit";
    Check::of("lag", connected && soon, found, to_do)
}

/// The session between the two verifies it with each ack: one that names another chain than the
/// primary's log has there ends the session, and its server is dropped from the set.
fn chain(peer: &PeerStatus) -> Check {
    let found = format!(
        "each ack names the chain value; the last one, at lsn {}, is the primary's own",
        peer.acked_lsn
    );
    let to_do = "without a session nothing vouches for equal histories: see the last error in `kanjo status`";
    Check::of("chain", peer.connected == Some(true), found, to_do)
}

/// The two clocks may be apart by no more than either server allows. What cannot be measured
/// better than that does not hold.
fn clock(
    (primary, here): (&Status, Option<&ClockSeen>),
    (to, there): (&Status, Option<&ClockSeen>),
) -> Check {
    const TO_DO: &str = "set the clocks right on both machines; a server whose clock is behind the log's time by more than its clock_bound_ms opens no epoch";
    let bound_ms = primary.clock_bound_ms.min(to.clock_bound_ms);
    let (Some(here), Some(there)) = (here, there) else {
        return Check::bad("clock", "a server did not tell its clock".to_owned(), TO_DO);
    };
    let apart = there.ahead_us.saturating_sub(here.ahead_us);
    let unsure = here.unsure + there.unsure;
    let most = Duration::from_micros(apart.unsigned_abs()).saturating_add(unsure);
    let direction = if apart < 0 { "behind" } else { "ahead of" };
    let found = format!(
        "node {} is {} {direction} node {}, give or take {}; allowed are {bound_ms} ms",
        to.node,
        show_duration(most - unsure),
        primary.node,
        show_duration(unsure),
    );
    let holds = most <= Duration::from_millis(bound_ms);
    Check::of("clock", holds, found, TO_DO)
}

fn disk(to: &Status) -> Check {
    let (free, needed) = (to.free_disk_bytes, to.needed_disk_bytes);
    let found = format!(
        "node {} has {} free and needs {}",
        to.node,
        show_size(free),
        show_size(needed)
    );
    let to_do = "make room on its data directory's file system: it would answer Overloaded";
    Check::of("disk", free >= needed, found, to_do)
}

#[cfg(test)]
mod tests {
    use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
    use kanjo_group::register::Nominee;
    use kanjo_group::topology::Server;
    use kanjo_group::{Register, SetMember};
    use kanjo_node::status::GroupStatus;

    use super::*;

    const MEMBER: SetMember = SetMember {
        node: NodeId::new(3),
        incarnation: Incarnation::new(33),
    };

    fn report(site: Site) -> SiteReport {
        let mut register = Register::new(ClusterId::new(1), site);
        register.nominee = Some(Nominee {
            node: MEMBER.node,
            incarnation: MEMBER.incarnation,
            number: 1,
        });
        register.set = vec![MEMBER];
        SiteReport {
            register,
            leader: Some(NodeId::new(1)),
            voters: Vec::new(),
            servers: Vec::new(),
            elections: 1,
        }
    }

    fn heard(node: u32, status: Status) -> Heard {
        Heard {
            server: Server {
                node: NodeId::new(node),
                site: if node == 1 { Site::One } else { Site::Two },
                client: String::new(),
                replication: String::new(),
                admin: String::new(),
                register: String::new(),
                http: None,
            },
            status: Ok(Box::new(Status {
                node,
                clock_bound_ms: 60_000,
                free_disk_bytes: 2 << 30,
                needed_disk_bytes: 1 << 30,
                ..status
            })),
            clock: Some(ClockSeen {
                ahead_us: 0,
                unsure: Duration::from_millis(2),
            }),
        }
    }

    /// The primary, and the server that would take over.
    fn ready() -> [Heard; 2] {
        let primary = Status {
            role: "primary".to_owned(),
            serving: true,
            peers: vec![PeerStatus {
                node: Some(3),
                connected: Some(true),
                lag_us: Some(300),
                ..PeerStatus::default()
            }],
            group: Some(GroupStatus {
                own: Some(report(Site::One)),
                other: Some(report(Site::Two)),
                ..GroupStatus::default()
            }),
            ..Status::default()
        };
        let replica = Status {
            role: "replica".to_owned(),
            incarnation: MEMBER.incarnation.to_string(),
            ..Status::default()
        };
        [heard(1, primary), heard(3, replica)]
    }

    fn status(one: &mut Heard) -> &mut Status {
        one.status.as_mut().expect("it answers")
    }

    /// The checks that do not hold after something was changed.
    fn failed(change: impl FnOnce(&mut Heard, &mut Heard)) -> Vec<Check> {
        let [mut from, mut to] = ready();
        change(&mut from, &mut to);
        let heard = [to];
        let found = checks(&from, &heard);
        found.into_iter().filter(|check| !check.holds).collect()
    }

    #[test]
    fn two_sites_that_are_whole_pass_every_check() {
        let [from, to] = ready();
        let found = checks(&from, &[to]);
        let names: Vec<&str> = found.iter().map(|check| check.check).collect();
        assert_eq!(
            names,
            [
                "writer",
                "registers",
                "destination",
                "in-sync set",
                "lag",
                "chain",
                "clock",
                "disk"
            ]
        );
        assert!(found.iter().all(|check| check.holds), "{found:?}");
    }

    #[test]
    fn each_lack_is_refused_by_its_own_check_with_words_for_what_to_do() {
        type Change = fn(&mut Heard, &mut Heard);
        let lacks: [(&[&str], Change); 8] = [
            (&["writer"], |from, _| status(from).serving = false),
            (&["registers"], |from, _| {
                let group = status(from).group.as_mut().expect("a group");
                group.other.as_mut().expect("heard").leader = None;
            }),
            (&["destination"], |_, to| to.status = Err("refused".into())),
            (&["destination"], |_, to| {
                status(to).role = "resolving".into()
            }),
            (&["in-sync set"], |_, to| status(to).incarnation.clear()),
            (&["lag"], |from, _| {
                status(from).peers[0].lag_us = Some(6_000_000);
            }),
            (&["lag", "chain"], |from, _| {
                status(from).peers[0].connected = Some(false);
            }),
            (&["disk"], |_, to| status(to).free_disk_bytes = 1 << 20),
        ];
        for (names, lack) in lacks {
            let found = failed(lack);
            let failed: Vec<&str> = found.iter().map(|check| check.check).collect();
            assert_eq!(failed, names);
            assert!(found.iter().all(|check| check.to_do.is_some()));
        }
    }

    #[test]
    fn clocks_that_may_be_apart_by_more_than_the_bound_are_refused_with_the_figures() {
        let apart = |ahead_us: i64, unsure_ms: u64| {
            failed(|_, to| {
                to.clock = Some(ClockSeen {
                    ahead_us,
                    unsure: Duration::from_millis(unsure_ms),
                });
            })
        };
        assert!(apart(59_000_000, 1).is_empty());
        assert!(apart(-59_000_000, 1).is_empty());
        let [check] = &apart(-61_000_000, 1)[..] else {
            panic!("one check does not hold");
        };
        assert_eq!(
            check.found,
            "node 3 is 1 min 1 s behind node 1, give or take 3.0 ms; allowed are 60000 ms"
        );
        // Within the bound, if it could be measured well enough.
        assert_eq!(apart(59_000_000, 2_000).len(), 1);
    }
}
