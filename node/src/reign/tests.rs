//! A reign with several peers: a primary and two replicas in one thread, over real sockets.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::client::{AccountBody, Frame, FrameKind, Outcome, ResultRun};
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::{PAGE_BYTES, SEGMENT_BYTES_MIN};
use kanjo_format::record::Protection;
use kanjo_format::{ClusterId, Epoch, Incarnation, Lsn, NodeId, Site};
use kanjo_shipper::Member;
use kanjo_wal::DataDir;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use zerocopy::{FromBytes, IntoBytes};

use super::execute::{CROWD_WAITING, NEAR_ACK_MAX};
use super::replies::{Reply, Results};
use crate::admin::{Answer, Command, Condition, PromoteOptions};
use crate::caller::{connect, in_one_thread, send};
use crate::clock::ClockCheck;
use crate::config::Config;
use crate::error::NodeError;
use crate::front::{Door, Front, Identity};
use crate::hot::{AdminRequest, Hot, Ports};
use crate::node::Node;
use crate::peers::{PeerAddress, PeerIndex, Peers};
use crate::server::{Shared, accept_replication, read_frame};
use crate::status::Status;
use crate::store::{Replayed, Store};
use crate::waking::Sources;
use crate::{node, promotion};

const CLUSTER: ClusterId = ClusterId::new(7);
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn promoted() -> PromoteOptions {
    PromoteOptions {
        accept_missing_transfers: true,
        ..PromoteOptions::default()
    }
}

/// A freshly formatted node before it runs, and the other ends of its ports.
struct Desk {
    temp: TempDir,
    hot: Hot,
    sources: Sources,
    peers: Peers,
    front: Rc<Front>,
    shared: Arc<Shared>,
    admin: mpsc::Sender<AdminRequest>,
    inbound: mpsc::Sender<crate::server::Inbound>,
    shutdown: watch::Sender<bool>,
}

impl Desk {
    fn new(number: u32, peers: Vec<String>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let control = Control::fresh(
            CLUSTER,
            (NodeId::new(number), Incarnation::new(number.into())),
            if number == 1 { Site::One } else { Site::Two },
            Role::Replica,
            SEGMENT_BYTES_MIN,
        );
        DataDir::format(&path, &control).unwrap();
        let config = Config::new(path, "", "", "", "");
        let shared = Arc::new(Shared::default());
        let (store, _) = Store::open(&config, Arc::clone(&shared.published)).unwrap();
        let identity = Identity {
            cluster: CLUSTER,
            node: control.node,
            epoch: Epoch::NONE,
            primary: false,
        };
        let front = Front::new(identity, 16, PATIENCE, Arc::clone(&shared));
        let (inbound, inbound_ended) = mpsc::channel(8);
        let (admin, commands) = mpsc::channel(8);
        let (shutdown, stop) = watch::channel(false);
        let ports = Ports {
            inbound: inbound_ended,
            admin: commands,
            shutdown: stop,
            shared: Arc::clone(&shared),
        };
        let (hot, sources) = Hot::new(config, store, Rc::clone(&front), ports).unwrap();
        let peers = peers.into_iter().map(|replication| PeerAddress {
            replication,
            who: None,
        });
        let peers = Peers::new(peers.collect(), &hot.traffic);
        Self {
            temp,
            hot,
            sources,
            peers,
            front,
            shared,
            admin,
            inbound,
            shutdown,
        }
    }

    async fn run(self, replication: TcpListener) -> Running {
        let client = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = client.local_addr().unwrap();
        tokio::task::spawn_local(self.front.accept(client));
        tokio::spawn(accept_replication(replication, self.inbound, self.shared));
        let task = tokio::task::spawn_local(node::play(
            self.hot,
            self.sources,
            self.peers,
            Lsn::ZERO,
            None,
        ));
        Running {
            _temp: self.temp,
            client: address.to_string(),
            admin: self.admin,
            shutdown: self.shutdown,
            task,
        }
    }
}

/// A node that runs.
struct Running {
    _temp: TempDir,
    client: String,
    admin: mpsc::Sender<AdminRequest>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<Result<(), NodeError>>,
}

impl Running {
    async fn ask(&self, command: Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        let request = AdminRequest { command, answer };
        assert!(self.admin.send(request).await.is_ok(), "the node runs");
        answered.await.expect("the node answers")
    }

    async fn status(&self) -> Status {
        match self.ask(Command::Status).await {
            Answer::Status(status) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    async fn expect(&self, condition: Condition) -> Status {
        let timeout_ms = PATIENCE.as_millis() as u64;
        let wait = Command::Await {
            condition,
            timeout_ms,
        };
        match self.ask(wait).await {
            Answer::Status(status) => *status,
            other => panic!("{condition:?} never held: {other:?}"),
        }
    }

    /// Asks again and again until `holds`.
    async fn expect_that(&self, holds: impl Fn(&Status) -> bool) -> Status {
        let asked = async {
            loop {
                let status = self.status().await;
                if holds(&status) {
                    return status;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.send(true).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Opens an account and waits for the answer.
async fn open_account(address: &str, id: u128) {
    let account = AccountBody {
        id: id.into(),
        ledger: 1.into(),
        code: 1.into(),
        ..AccountBody::default()
    };
    let mut stream = connect(address, CLUSTER).await;
    send(
        &mut stream,
        FrameKind::CreateAccounts,
        1,
        account.as_bytes(),
    )
    .await;
    let reply = read_frame(&mut stream).await.unwrap();
    let reply = Frame::decode(&reply).unwrap();
    assert_eq!(reply.outcome, Outcome::Done);
    let run = ResultRun::read_from_bytes(reply.body).unwrap();
    assert_eq!(
        run.result.get(),
        kanjo_format::result::CreateAccountResult::Created.number()
    );
}

#[test]
fn a_primary_ships_to_every_peer_and_waits_for_the_members_alone() {
    in_one_thread(async {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            listeners.push(listener);
        }
        let mut nodes = Vec::new();
        for (number, listener) in (1..).zip(listeners) {
            let peers = match number {
                1 => addresses[1..].to_vec(),
                _ => addresses[..1].to_vec(),
            };
            nodes.push(Desk::new(number, peers).run(listener).await);
        }
        let primary = nodes.remove(0);
        let promotion = primary.ask(Command::Promote(promoted())).await;
        assert!(matches!(promotion, Answer::Promotion(_)), "{promotion:?}");
        primary.expect(Condition::Protected).await;
        open_account(&primary.client, 1).await;
        let status = primary
            .expect_that(|status| {
                let has_all = |p: &crate::status::PeerStatus| p.acked_lsn == status.tail_lsn;
                status.peers.iter().all(has_all)
            })
            .await;
        for (at, peer) in status.peers.iter().enumerate() {
            assert_eq!(peer.address, addresses[at + 1]);
            assert_eq!((peer.node, peer.site), (Some(at as u32 + 2), Some(2)));
            assert!(
                peer.connected == Some(true) && peer.lag_bytes == 0 && peer.lag_us == Some(0),
                "{peer:?}"
            );
            assert_eq!(nodes[at].status().await.tail_chain, status.tail_chain);
        }
        // In a pair's rules one of them is the set, and the other one follows it.
        let members: Vec<bool> = status.peers.iter().map(|peer| peer.member).collect();
        assert_eq!(members.iter().filter(|member| **member).count(), 1);
        for (node, member) in nodes.iter().zip(&members) {
            assert_eq!(node.status().await.in_sync, *member);
        }
        let member = members.iter().position(|member| *member).unwrap();
        nodes.remove(1 - member).stop().await;
        let lost = 1 - member;
        primary
            .expect_that(|status| status.peers[lost].connected == Some(false))
            .await;
        open_account(&primary.client, 2).await;
        nodes.remove(0).stop().await;
        primary.expect(Condition::NotServing).await;
        primary.stop().await;
    });
}

#[test]
fn a_set_change_names_every_member_and_a_dropped_one_holds_nothing_up() {
    in_one_thread(async {
        let nobody = || "127.0.0.1:1".to_owned();
        let desk = Desk::new(1, vec![nobody(), nobody()]);
        let mut node = Node::start(
            desk.hot,
            mpsc::unbounded_channel().1,
            desk.peers,
            Lsn::ZERO,
            None,
        )
        .unwrap();
        let store = &mut node.hot.store;
        let clock = ClockCheck::new(60_000);
        let (open, _) =
            promotion::promote(store, &promoted(), Replayed::default(), &clock).unwrap();
        node.begin_reign(open, None).unwrap();
        let member = |number| Member {
            node: NodeId::new(number),
            incarnation: Incarnation::new(number.into()),
        };
        let (stays, leaves) = (member(2), member(3));
        let mut primary = node.primary().unwrap();
        let acked = primary.hot.store.log.tail().lsn;
        primary.take_in(stays, acked).unwrap();
        primary.take_in(leaves, acked).unwrap();
        primary.joined(PeerIndex::FIRST, stays);
        let in_log = |primary: &super::Primary<'_>| -> Vec<NodeId> {
            let members = &primary.hot.store.ledger.reign().members;
            members.iter().map(|(node, _)| *node).collect()
        };
        assert_eq!(in_log(&primary), [stays.node, leaves.node]);

        let tail = primary.hot.store.log.tail();
        let synced = primary.hot.store.syncer.sync_to(tail.lsn).unwrap();
        primary.synced(synced).unwrap();
        let epoch = primary.reign.gate.epoch();
        primary.reign.gate.acked(stays, epoch, tail).unwrap();
        assert_eq!(primary.reign.committed(), acked);
        primary.drop_member(leaves).unwrap();
        assert_eq!(primary.reign.committed(), tail.lsn);
        assert_eq!(in_log(&primary), [stays.node]);
        let control = primary.hot.store.dir.control();
        assert_eq!(control.member, Some((stays.node, stays.incarnation)));
        assert_eq!(control.protection, Protection::Protected);

        // The answer to an earlier wish for its mark changes nothing any more.
        primary.drop_member(stays).unwrap();
        primary.joined(PeerIndex::FIRST, stays);
        assert_eq!(in_log(&primary), []);
        assert!(!primary.can_serve());
    });
}

#[test]
fn a_crowd_gathers_until_a_near_ack_or_until_as_many_are_queued_as_wait() {
    in_one_thread(async {
        let desk = Desk::new(1, vec!["127.0.0.1:1".to_owned()]);
        let (front, no_jobs) = (Rc::clone(&desk.front), mpsc::unbounded_channel().1);
        let mut node = Node::start(desk.hot, no_jobs, desk.peers, Lsn::ZERO, None).unwrap();
        let (store, clock) = (&mut node.hot.store, ClockCheck::new(60_000));
        let (open, _) =
            promotion::promote(store, &promoted(), Replayed::default(), &clock).unwrap();
        node.begin_reign(open, None).unwrap();
        let member = Member {
            node: NodeId::new(2),
            incarnation: Incarnation::new(2),
        };
        let mut primary = node.primary().unwrap();
        let acked = primary.hot.store.log.tail().lsn;
        primary.take_in(member, acked).unwrap();
        primary.joined(PeerIndex::FIRST, member);
        let tail = primary.hot.store.log.tail();
        let synced = primary.hot.store.syncer.sync_to(tail.lsn).unwrap();
        primary.synced(synced).unwrap();
        assert!(primary.reign.committed() < tail.lsn, "nobody has acked");
        // A slow machine takes longer than that to get here.
        primary.reign.uncommitted.clear();

        front.set_door(Door::Open);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::task::spawn_local(Rc::clone(&front).accept(listener));
        let mut stream = connect(&address, CLUSTER).await;
        // Sends until so many requests are queued.
        let mut queue = async |count: usize| {
            let (kind, account) = (FrameKind::CreateAccounts, AccountBody::default());
            for _ in front.queued()..count {
                send(&mut stream, kind, 1, account.as_bytes()).await;
            }
            while front.queued() < count {
                front.arrived().await;
            }
        };
        // All that are queued wait for the ack from then on.
        let hold = |primary: &mut super::Primary<'_>| {
            while let Some(request) = front.take(|_| true) {
                let (count, body) = (0, Results::Rows(Vec::new()));
                let ticket = request.ticket;
                let reply = Reply {
                    ticket,
                    count,
                    body,
                };
                primary.reign.replies.hold_write(reply, tail.lsn);
            }
        };

        queue(CROWD_WAITING - 1).await;
        hold(&mut primary);
        queue(1).await;
        assert!(!primary.gathers(), "few wait");
        hold(&mut primary);
        queue(CROWD_WAITING - 1).await;
        assert!(primary.gathers());
        queue(CROWD_WAITING).await;
        assert!(!primary.gathers(), "as many are queued as wait");

        hold(&mut primary);
        queue(1).await;
        assert!(primary.gathers());
        primary.reign.commit_took = NEAR_ACK_MAX + Duration::from_millis(1);
        assert!(!primary.gathers(), "the ack is far");
        primary.reign.commit_took = NEAR_ACK_MAX;
        assert!(primary.gathers());
        let now = std::time::Instant::now();
        let late = now.checked_sub(NEAR_ACK_MAX + Duration::from_millis(1));
        // Of two batches under way the first commits, and the second has waited too long by then.
        let first = Lsn::new(tail.lsn.get() - PAGE_BYTES);
        let fresh = now + Duration::from_secs(60);
        primary.reign.uncommitted.push(first, fresh);
        primary.reign.uncommitted.push(tail.lsn, late.unwrap());
        assert!(primary.gathers());
        assert_eq!(primary.reign.uncommitted.take(first), Some(fresh));
        assert!(!primary.gathers(), "the ack is late");
        primary.reign.uncommitted.clear();
        assert!(primary.gathers());
        let epoch = primary.reign.gate.epoch();
        primary.reign.gate.acked(member, epoch, tail).unwrap();
        assert_eq!(primary.reign.committed(), tail.lsn);
        assert!(!primary.gathers(), "the ack came");
    });
}
