use super::*;
use crate::{Identity, LocalLog};
use kanjo_format::replication::EpochEntry;
use kanjo_format::{Chain, ClusterId, Incarnation, NodeId, OpeningId, Site};

const CLUSTER: ClusterId = ClusterId::new(7);
const EPOCH: Epoch = Epoch::from_terms(1, 1);
const SEGMENT_BYTES: u64 = 4 * 4096;
const REPLICA: Member = Member {
    node: NodeId::new(2),
    incarnation: Incarnation::new(2),
};

fn page(n: u64) -> Tail {
    Tail {
        epoch: EPOCH,
        lsn: Lsn::new(n * 4096),
        chain: Chain::new([n as u8; 32]),
    }
}

fn opening() -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: Incarnation::new(1),
        random: 1,
    }
}

struct Run {
    sender: Sender,
    actions: Vec<Action>,
}

impl Run {
    fn new(end: Tail, members: impl IntoIterator<Item = Member>) -> Self {
        let base = Tail::empty(CLUSTER);
        let sender = Sender::new(SenderStart {
            identity: Identity {
                cluster: CLUSTER,
                node: NodeId::new(1),
                incarnation: Incarnation::new(1),
                site: Site::One,
                segment_bytes: SEGMENT_BYTES,
                start_count: 1,
                client_address: String::new(),
            },
            epoch: EPOCH,
            opening: opening(),
            log: LocalLog {
                tail: end,
                confirmed: Lsn::ZERO,
                history: vec![EpochEntry { epoch: EPOCH, base }],
                alone_to: Lsn::ZERO,
            },
            durable: end.lsn,
            members: members.into_iter().collect(),
            ping_every_ns: 10,
            silent_after_ns: 50,
        });
        Self {
            sender,
            actions: Vec::new(),
        }
    }

    fn step(&mut self, event: Event<'_>) {
        self.actions.clear();
        self.sender.step(event, &mut self.actions);
    }

    fn frame(&mut self, body: Body<'static>) {
        let frame = &Frame { epoch: EPOCH, body };
        self.step(Event::Frame { now_ns: 0, frame });
    }

    fn greet(&mut self, granted_epoch: Epoch) {
        self.step(Event::Connected { now_ns: 0 });
        self.frame(Body::Welcome(Box::new(Welcome {
            version: 1,
            cluster: CLUSTER,
            node: REPLICA.node,
            incarnation: REPLICA.incarnation,
            site: Site::Two,
            role: Role::Replica,
            segment_bytes: SEGMENT_BYTES,
            start_count: 1,
            granted_epoch,
            granted_opening: opening(),
            tail: Tail::empty(CLUSTER),
            confirmed: Lsn::ZERO,
            in_sync: false,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
            awaiting_operator: false,
            history: Vec::new(),
            client_address: String::new(),
        })));
    }

    fn grant(&mut self, in_sync: bool) {
        self.grant_at(Tail::empty(CLUSTER), in_sync);
    }

    fn grant_at(&mut self, tail: Tail, in_sync: bool) {
        self.frame(Body::Granted(Granted {
            opening: opening(),
            tail,
            confirmed: Lsn::ZERO,
            in_sync,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
        }));
    }

    /// Live, with a replica that ends at `tail`.
    fn live(&mut self, tail: Tail) {
        self.greet(Epoch::NONE);
        self.grant(false);
        self.frame(Body::Following { tail });
        self.step(Event::PlaceChecked { holds: true });
    }

    fn ack(&mut self, tail: Tail) {
        self.frame(Body::Ack {
            tail,
            node: REPLICA.node,
            incarnation: REPLICA.incarnation,
        });
    }

    fn asks(&self, body: &Body<'static>) -> bool {
        let sends = self.actions.iter();
        sends
            .filter_map(|a| match a {
                Action::Send(frame) => Some(&frame.body),
                _ => None,
            })
            .any(|b| b == body)
    }
}

#[test]
fn a_higher_grant_fences_the_sender_for_good() {
    let mut run = Run::new(page(1), None);
    let epoch = Epoch::from_terms(2, 1);
    run.greet(epoch);
    assert_eq!(run.actions, [Action::Fenced { epoch }]);
    run.step(Event::Connected { now_ns: 1 });
    assert_eq!(run.actions, []);
}

#[test]
fn a_mark_that_no_commit_waits_for_is_cleared_before_anything_is_shipped() {
    let mut run = Run::new(page(1), None);
    run.greet(Epoch::NONE);
    run.grant(true);
    let mark = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    assert!(run.asks(&Body::Mark(mark)));
    run.frame(Body::Marked(mark));
    assert!(matches!(&run.actions[..], [Action::Send(f)] if matches!(f.body, Body::Follow(_))));
}

/// A primary goes on alone while its auxiliary is down with the mark set. The auxiliary returns,
/// its stale mark is cleared, it catches up, every commit waits for it: without its mark asked
/// for again the cluster would call itself degraded for ever.
#[test]
fn a_replica_whose_stale_mark_was_cleared_gets_a_new_one_once_it_caught_up() {
    let mut run = Run::new(page(1), None);
    run.greet(Epoch::NONE);
    run.grant(true);
    let stale = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    run.frame(Body::Marked(stale));
    run.frame(Body::Following { tail: page(1) });
    run.step(Event::PlaceChecked { holds: true });
    let lsn = page(1).lsn;
    run.step(Event::Joined { through: lsn });
    let mark = Mark {
        turn: 2,
        in_sync: true,
        lsn,
    };
    assert!(run.asks(&Body::Mark(mark)), "{:?}", run.actions);
}

#[test]
fn what_is_sent_and_not_acked_stays_within_the_window() {
    let end = page(2 * SEND_WINDOW_BYTES_MAX / 4096);
    let mut run = Run::new(end, None);
    run.live(Tail::empty(CLUSTER));
    let from = Lsn::ZERO;
    let bytes_max = SEND_WINDOW_BYTES_MAX;
    let ask = Action::SendBatches { from, bytes_max };
    assert_eq!(run.actions.last(), Some(&ask));
    let window = SEND_WINDOW_BYTES_MAX / 4096;
    for n in 1..=window {
        run.step(Event::Sent { tail: page(n) });
    }
    run.step(Event::SendDone);
    assert_eq!(run.actions, []);
    run.ack(page(2));
    let ask = Action::SendBatches {
        from: page(window).lsn,
        bytes_max: 8192,
    };
    assert_eq!(run.actions.last(), Some(&ask));
}

/// Commits wait for a replica that has caught up. One that stands still with a window of batches
/// before it would stop a primary that answers alone.
#[test]
fn a_replica_has_caught_up_when_it_acked_what_was_there_and_little_is_under_way() {
    let told = |run: &Run| {
        let caught_up = |a: &Action| matches!(a, Action::CaughtUp { .. });
        run.actions.iter().any(caught_up)
    };
    let send = |run: &mut Run, pages: std::ops::RangeInclusive<u64>| {
        let mut is_told = false;
        for n in pages {
            run.step(Event::Sent { tail: page(n) });
            is_told |= told(run);
        }
        run.step(Event::SendDone);
        is_told | told(run)
    };
    let most = CAUGHT_UP_UNACKED_BYTES_MAX / 4096;
    let mut run = Run::new(page(3), None);
    run.live(page(1));
    // Two pages, all sent: so few are under way, and none of them is acked.
    assert!(!told(&run) && !send(&mut run, 2..=3));
    run.ack(page(2));
    assert!(!told(&run));
    // It acks all that was there, while the load has more under way than a replica that keeps up
    // would leave.
    let end = 3 + most + 1;
    run.step(Event::Appended { tail: page(end) });
    run.step(Event::Synced { lsn: page(end).lsn });
    assert!(!told(&run) && !send(&mut run, 4..=end));
    run.ack(page(3));
    assert!(!told(&run));
    run.ack(page(4));
    assert!(told(&run), "{:?}", run.actions);
    // Once a session.
    run.ack(page(5));
    assert!(!told(&run));
}

/// An auxiliary that catches up with a primary that answers alone must not have what that primary
/// lost in a crash: it would take it for answered, and wait for an operator.
#[test]
fn while_nobody_is_a_member_only_what_the_own_disk_has_is_sent() {
    let asks = |run: &Run| {
        run.actions.iter().find_map(|a| match a {
            Action::SendBatches { from, bytes_max } => Some((*from, *bytes_max)),
            _ => None,
        })
    };
    let at_once = (page(2).lsn, SEND_WINDOW_BYTES_MAX);
    for is_member in [false, true] {
        let mut run = Run::new(page(2), is_member.then_some(REPLICA));
        run.live(page(2));
        run.step(Event::Appended { tail: page(4) });
        assert_eq!(asks(&run), is_member.then_some(at_once));
        run.step(Event::Synced { lsn: page(3).lsn });
        let behind_the_sync = (page(2).lsn, 4096);
        assert_eq!(asks(&run), (!is_member).then_some(behind_the_sync));
    }
    // A standby beside a member.
    let other = Member {
        node: NodeId::new(3),
        incarnation: Incarnation::new(3),
    };
    let mut run = Run::new(page(2), [other]);
    run.live(page(2));
    run.step(Event::Appended { tail: page(3) });
    assert_eq!(asks(&run), Some(at_once));
    // Once it is a member, what comes behind the record that says so.
    let mut run = Run::new(page(2), None);
    run.live(page(2));
    run.step(Event::Appended { tail: page(3) });
    let lsn = page(3).lsn;
    run.step(Event::Joined { through: lsn });
    assert_eq!(asks(&run), None);
    run.step(Event::Synced { lsn });
    assert_eq!(asks(&run), Some(at_once));
}

/// The register's word that drops a member may come late, while that member catches up: it is taken
/// in again before its mark is cleared.
#[test]
fn a_member_that_was_dropped_and_taken_in_again_gets_its_mark_and_stays_a_member() {
    let mut run = Run::new(page(2), [REPLICA]);
    run.greet(EPOCH);
    run.grant(true);
    run.frame(Body::Following { tail: page(2) });
    run.step(Event::PlaceChecked { holds: true });
    run.step(Event::Dropped { member: REPLICA });
    let clear = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    assert!(run.asks(&Body::Mark(clear)), "{:?}", run.actions);
    let lsn = page(2).lsn;
    run.step(Event::Joined { through: lsn });
    run.frame(Body::Marked(clear));
    let set = Mark {
        turn: 2,
        in_sync: true,
        lsn,
    };
    assert!(run.asks(&Body::Mark(set)), "{:?}", run.actions);
    run.step(Event::Appended { tail: page(3) });
    let at_once = |a: &Action| matches!(a, Action::SendBatches { .. });
    assert!(run.actions.iter().any(at_once), "{:?}", run.actions);
}

#[test]
fn what_was_written_before_a_session_began_is_acked_before_its_replica_has_caught_up() {
    let told = |run: &Run| {
        let caught_up = |a: &Action| matches!(a, Action::CaughtUp { .. });
        run.actions.iter().any(caught_up)
    };
    let mut run = Run::new(page(1), None);
    run.step(Event::Appended { tail: page(2) });
    run.step(Event::Synced { lsn: page(2).lsn });
    run.live(page(1));
    run.step(Event::Sent { tail: page(2) });
    run.step(Event::SendDone);
    assert!(!told(&run), "{:?}", run.actions);
    run.ack(page(2));
    assert!(told(&run), "{:?}", run.actions);
}

#[test]
fn the_mark_is_asked_for_only_when_the_replica_has_everything_through_the_set_change() {
    let mut run = Run::new(page(2), None);
    run.live(page(2));
    let acked = page(2).lsn;
    let member = REPLICA;
    let caught_up = Action::CaughtUp { member, acked };
    assert_eq!(run.actions.last(), Some(&caught_up));
    run.step(Event::Appended { tail: page(3) });
    let lsn = page(3).lsn;
    run.step(Event::Joined { through: lsn });
    assert_eq!(run.actions, []);
    run.step(Event::Synced { lsn });
    assert!(matches!(run.actions[..], [Action::SendBatches { .. }]));
    run.step(Event::Sent { tail: page(3) });
    run.ack(page(3));
    let mark = Mark {
        turn: 1,
        in_sync: true,
        lsn,
    };
    assert!(run.asks(&Body::Mark(mark)));
    run.frame(Body::Marked(mark));
    assert_eq!(run.actions, [Action::InSync { member, lsn }]);
}

/// Which member a peer is shows when it greets: any of the set may be behind any address.
#[test]
fn every_member_of_the_set_keeps_its_mark_and_nobody_else_does() {
    let other = Member {
        node: NodeId::new(3),
        incarnation: Incarnation::new(3),
    };
    let clears = |run: &Run| {
        let clear = |a: &Action| matches!(a, Action::Send(f) if matches!(f.body, Body::Mark(_)));
        run.actions.iter().any(clear)
    };
    let mut run = Run::new(page(1), [other, REPLICA]);
    run.greet(EPOCH);
    assert_eq!(run.sender.peer(), Some((REPLICA, Site::Two)));
    run.grant(true);
    assert!(!clears(&run), "{:?}", run.actions);
    let mut run = Run::new(page(1), [other]);
    run.greet(EPOCH);
    run.grant(true);
    assert!(clears(&run), "{:?}", run.actions);
}

#[test]
fn a_member_that_no_commit_waits_for_any_more_loses_its_mark() {
    let clear = |turn| Mark {
        turn,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    // While it follows.
    let mut run = Run::new(page(2), [REPLICA]);
    run.greet(EPOCH);
    run.grant(true);
    run.frame(Body::Following { tail: page(2) });
    run.step(Event::PlaceChecked { holds: true });
    run.step(Event::Dropped { member: REPLICA });
    assert!(run.asks(&Body::Mark(clear(1))), "{:?}", run.actions);
    run.frame(Body::Marked(clear(1)));
    assert_eq!(run.actions, [Action::MarkCleared { member: REPLICA }]);
    // While it is away: it comes back with the mark and is no member.
    let mut run = Run::new(page(2), [REPLICA]);
    run.step(Event::Dropped { member: REPLICA });
    assert_eq!(run.actions, []);
    run.greet(EPOCH);
    run.grant(true);
    assert!(run.asks(&Body::Mark(clear(1))), "{:?}", run.actions);
}

#[test]
fn an_ack_of_what_was_not_sent_ends_the_session() {
    let mut run = Run::new(page(3), None);
    run.live(page(2));
    run.step(Event::Sent { tail: page(3) });
    run.ack(Tail {
        chain: Chain::default(),
        ..page(3)
    });
    let diverged = |a: &Action| matches!(a, Action::Close(CloseReason::Diverged { .. }));
    assert!(run.actions.iter().all(diverged) && !run.actions.is_empty());
}

#[test]
fn an_empty_replica_gets_the_checkpoint_then_sealed_segments_then_batches() {
    let mut run = Run::new(page(6), None);
    run.step(Event::SealedTo {
        lsn: Lsn::new(SEGMENT_BYTES),
    });
    run.step(Event::CheckpointAt { lsn: page(4).lsn });
    run.live(Tail::empty(CLUSTER));
    let mut send_file = |file, end: Tail| {
        let ask = Action::SendChunk { file, offset: 0 };
        assert_eq!(run.actions.last(), Some(&ask));
        run.step(Event::ChunkSent {
            next_offset: 9,
            total_bytes: 9,
            end,
        });
        let tail = match file {
            SeedFile::Checkpoint(_) => Tail::empty(CLUSTER),
            SeedFile::Segment(_) => end,
        };
        run.frame(Body::Stored { file, tail });
    };
    send_file(SeedFile::Checkpoint(page(4).lsn), page(4));
    send_file(SeedFile::Segment(0), page(4));
    let ask = Action::SendBatches {
        from: page(4).lsn,
        bytes_max: 8192,
    };
    assert_eq!(run.actions.last(), Some(&ask));
}

#[test]
fn a_silent_replica_is_pinged_and_then_given_up() {
    let mut run = Run::new(page(1), None);
    run.live(page(1));
    run.step(Event::Tick { now_ns: 20 });
    assert!(run.asks(&Body::Ping { nonce: 20 }));
    run.step(Event::Tick { now_ns: 60 });
    let silent = Action::Close(CloseReason::Silent(60));
    assert_eq!(run.actions, [silent]);
}

/// A disk image of the auxiliary was restored while the primary ran on: what it had acked since is
/// gone from it, and its mark came back with it.
#[test]
fn a_replica_that_lacks_what_it_acked_loses_its_mark_and_is_left() {
    let mut run = Run::new(page(3), Some(REPLICA));
    run.live(page(2));
    run.step(Event::Sent { tail: page(3) });
    run.ack(page(3));
    run.step(Event::Closed);
    run.greet(EPOCH);
    run.grant_at(page(1), true);
    let clear = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    assert!(run.asks(&Body::Mark(clear)), "{:?}", run.actions);
    run.frame(Body::Marked(clear));
    let older = |a: &Action| matches!(a, Action::Close(CloseReason::OlderThanItWas { .. }));
    assert!(run.actions.iter().all(older) && !run.actions.is_empty());
}

/// An old copy of the auxiliary's directory has forgotten that it granted this very epoch.
#[test]
fn a_replica_that_forgot_its_grant_loses_its_mark_and_is_left() {
    let mut run = Run::new(page(3), Some(REPLICA));
    run.live(page(2));
    run.step(Event::Closed);
    run.greet(Epoch::NONE);
    run.grant_at(page(2), true);
    let clear = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    assert!(run.asks(&Body::Mark(clear)), "{:?}", run.actions);
    // The next attempt finds the grant renewed, and is left all the same.
    run.step(Event::Closed);
    run.greet(EPOCH);
    run.grant_at(page(2), false);
    let older = |a: &Action| matches!(a, Action::Close(CloseReason::OlderThanItWas { .. }));
    assert!(run.actions.iter().all(older) && !run.actions.is_empty());
}
