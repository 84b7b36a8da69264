//! A cluster of two sites, of which a test starts the voters that it needs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kanjo_format::{ClusterId, Epoch, Incarnation, Lsn, NodeId, OpeningId, Site, Tail};
use kanjo_group::register::Reign;
use kanjo_group::topology::{Server, ThirdWitness as ThirdAddress, Timing, Witness};
use kanjo_group::{
    Beat, Command, GroupError, Outcome, Question, RegisterPort, Reply, SetMember, Setup,
    SiteReport, ThirdSetup, Topology, View, Voter,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// Nothing that a test waits for takes longer, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes: servers 1 and 2, witness 9 in site 1; servers 3 and 4, witness 10 in site 2.
pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) cluster: ClusterId,
    dirs: TempDir,
    incarnations: BTreeMap<u32, u128>,
    voters: BTreeMap<u32, Voter>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(
                std::env::var("KANJO_LOG").unwrap_or_else(|_| "off".to_owned()),
            ))
            .with_test_writer()
            .try_init();
        let [r1, r2, r3, r4, r9, r10, r20] = free_addresses();
        let server = |node: u32, site, register| Server {
            node: NodeId::new(node),
            site,
            client: format!("127.0.{node}.1:1"),
            replication: format!("127.0.{node}.1:2"),
            admin: format!("127.0.{node}.1:3"),
            register,
            http: None,
        };
        let witness = |node: u32, site, register| Witness {
            node: NodeId::new(node),
            site,
            register,
        };
        let topology = Topology {
            servers: vec![
                server(1, Site::One, r1),
                server(2, Site::One, r2),
                server(3, Site::Two, r3),
                server(4, Site::Two, r4),
            ],
            witnesses: vec![witness(9, Site::One, r9), witness(10, Site::Two, r10)],
            third_witness: Some(ThirdAddress {
                node: NodeId::new(20),
                register: r20,
            }),
            // The pause between nominations is the governor's own to test.
            timing: Timing {
                nomination_pause_ms: 0,
                ..Timing::default()
            },
        };
        topology.check().unwrap();
        let nodes = [1, 2, 3, 4, 9, 10, 20];
        Self {
            topology,
            cluster: ClusterId::new(0xc1),
            dirs: TempDir::new().unwrap(),
            incarnations: nodes.map(|node| (node, u128::from(node) << 80 | 1)).into(),
            voters: BTreeMap::new(),
        }
    }

    pub(crate) fn dir(&self, node: u32) -> PathBuf {
        let incarnation = self.incarnations[&node] as u64;
        self.dirs.path().join(format!("{node}-{incarnation}"))
    }

    pub(crate) fn member(&self, node: u32) -> SetMember {
        SetMember {
            node: NodeId::new(node),
            incarnation: Incarnation::new(self.incarnations[&node]),
        }
    }

    pub(crate) fn setup(&self, node: u32) -> Setup {
        let member = self.member(node);
        let site = match node {
            1 | 2 | 9 => Site::One,
            _ => Site::Two,
        };
        Setup {
            topology: self.topology.clone(),
            cluster: self.cluster,
            site,
            node: member.node,
            incarnation: member.incarnation,
            witness: node >= 9,
            dir: self.dir(node),
        }
    }

    /// The third site's witness; its directory is there, as its identity would make it.
    pub(crate) fn third(&self) -> ThirdSetup {
        let SetMember { node, incarnation } = self.member(20);
        std::fs::create_dir_all(self.dir(20)).unwrap();
        ThirdSetup {
            cluster: self.cluster,
            node,
            incarnation,
            dir: self.dir(20),
            topology: self.topology.clone(),
        }
    }

    pub(crate) fn start(&mut self, nodes: &[u32]) {
        for node in nodes {
            let voter = Voter::start(self.setup(*node)).unwrap();
            self.voters.insert(*node, voter);
        }
    }

    /// Its sockets close at once, as if it was killed.
    pub(crate) fn stop(&mut self, node: u32) {
        self.voters.remove(&node).unwrap().stop().unwrap();
    }

    /// The node's next start is from an empty directory.
    pub(crate) fn wipe(&mut self, node: u32) {
        *self.incarnations.get_mut(&node).unwrap() += 1;
    }

    /// The directory from before the wipe is put back.
    pub(crate) fn restore(&mut self, node: u32) {
        *self.incarnations.get_mut(&node).unwrap() -= 1;
    }

    pub(crate) fn voter(&self, node: u32) -> &Voter {
        &self.voters[&node]
    }

    pub(crate) fn port(&self, node: u32) -> RegisterPort {
        self.voters[&node].port()
    }

    pub(crate) async fn own(
        &self,
        node: u32,
        what: &str,
        holds: impl Fn(&SiteReport) -> bool,
    ) -> SiteReport {
        let view = until(self.port(node).view(), what, |view| {
            view.own.as_ref().is_some_and(&holds)
        });
        view.await.own.unwrap()
    }

    /// Waits until this voter knows a leader.
    pub(crate) async fn led(&self, node: u32) -> NodeId {
        let report = self
            .own(node, "a leader is known", |own| own.leader.is_some())
            .await;
        report.leader.unwrap()
    }

    /// A server tells that it lives.
    pub(crate) fn tell(&self, node: u32, lsn: u64) {
        self.port(node).tell(self.beat(node, lsn));
    }

    pub(crate) fn beat(&self, node: u32, lsn: u64) -> Beat {
        Beat {
            member: self.member(node),
            tail: Tail {
                epoch: Epoch::from_terms(1, 1),
                lsn: Lsn::new(lsn),
                ..Tail::empty(self.cluster)
            },
            committed: Lsn::ZERO,
            applied: Lsn::ZERO,
            role: "replica".to_owned(),
            writes: None,
            serving: false,
            why_not_serving: String::new(),
            fit: true,
            other_silent_ms: Some(0),
            other_heard_for_ms: 60_000,
        }
    }

    pub(crate) fn reign(&self, local_term: u32, node: u32) -> Reign {
        Reign {
            epoch: Epoch::from_terms(1, local_term),
            opening: OpeningId {
                node: NodeId::new(node),
                incarnation: self.member(node).incarnation,
                random: local_term.into(),
            },
            address: "127.0.0.1:1".to_owned(),
            third: None,
        }
    }

    pub(crate) fn claim(&self, local_term: u32, node: u32) -> Command {
        let expected = match local_term {
            1 => Epoch::NONE,
            term => Epoch::from_terms(1, term - 1),
        };
        let reign = self.reign(local_term, node);
        Command::Claim { expected, reign }
    }
}

/// Addresses that nobody listens on, all different: 250 calls in a row have each a loopback address
/// of its own, 127.b.c.d. The kernel takes ports of outgoing connections on 127.0.0.1, and tests beside this one
/// draw elsewhere, so a port stays free also while its voter is down.
fn free_addresses<const COUNT: usize>() -> [String; COUNT] {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let (process, call) = (std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
    let [b, c, d] = [process / 250, process, call].map(|number| 1 + (number % 250) as u8);
    // All are held until all are drawn, so that they differ.
    let held = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::new(127, b, c, d), 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().to_string())
}

#[test]
fn no_two_voters_of_a_cluster_share_an_address() {
    // Few, so that no address of a test beside this one comes again.
    for _ in 0..50 {
        let mut addresses = free_addresses::<7>();
        addresses.sort_unstable();
        assert!(
            addresses.windows(2).all(|two| two[0] != two[1]),
            "{addresses:?}"
        );
    }
}

/// Waits until the view holds what it should.
pub(crate) async fn until(
    mut view: watch::Receiver<View>,
    what: &str,
    holds: impl Fn(&View) -> bool,
) -> View {
    let found = tokio::time::timeout(PATIENCE, view.wait_for(|view| holds(view))).await;
    let found = found.map(|found| found.expect("the voter lives").clone());
    match found {
        Ok(found) => found,
        Err(_) => panic!("not in time: {what}; the view is {:?}", *view.borrow()),
    }
}

pub(crate) async fn ask(port: &RegisterPort, site: Site, question: Question) -> Reply {
    let answered = tokio::time::timeout(PATIENCE, port.ask(site, question)).await;
    answered.expect("an answer in time").expect("an answer")
}

pub(crate) async fn apply(port: &RegisterPort, site: Site, command: Command) -> Outcome {
    let command = Box::new(command);
    match ask(port, site, Question::Apply { command }).await {
        Reply::Outcome { outcome } => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn read(port: &RegisterPort, site: Site) -> SiteReport {
    match ask(port, site, Question::Read).await {
        Reply::Report { report } => *report,
        other => panic!("{other:?}"),
    }
}

/// Waits until a voter ends by itself.
pub(crate) async fn end_of(voter: &Voter) -> GroupError {
    let mut ended = voter.ended();
    let error = tokio::time::timeout(PATIENCE, ended.wait_for(Option::is_some)).await;
    error
        .expect("it ends in time")
        .expect("it ends with an error")
        .clone()
        .unwrap()
}
