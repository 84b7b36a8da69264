use super::*;
use crate::{Identity, LocalLog, Packer};
use kanjo_format::batch::BatchFields;
use kanjo_format::replication::REPLICATION_LENGTH_BYTES;
use kanjo_format::{BatchHeader, Chain, ClusterId, Incarnation, NodeId, Timestamp};

const CLUSTER: ClusterId = ClusterId::new(7);
const FIRST: SessionId = SessionId(1);
const SECOND: SessionId = SessionId(2);
const EPOCH: Epoch = Epoch::from_terms(1, 1);
const SEGMENT_BYTES: u64 = 4 * 4096;

fn identity(node: u32, site: Site) -> Identity {
    Identity {
        cluster: CLUSTER,
        node: NodeId::new(node),
        incarnation: Incarnation::new(u128::from(node)),
        site,
        segment_bytes: SEGMENT_BYTES,
        start_count: 1,
        client_address: String::new(),
    }
}

fn opening(random: u128) -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: Incarnation::new(1),
        random,
    }
}

struct Run {
    receiver: Receiver,
    actions: Vec<Action>,
    /// The writer's log so far.
    end: Tail,
}

impl Run {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ReceiverStart)) -> Self {
        let mut start = ReceiverStart {
            identity: identity(2, Site::Two),
            role: Role::Replica,
            granted_epoch: Epoch::NONE,
            granted_opening: OpeningId::default(),
            in_sync: false,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
            awaiting_operator: false,
            log: LocalLog {
                tail: Tail::empty(CLUSTER),
                confirmed: Lsn::ZERO,
                history: Vec::new(),
                alone_to: Lsn::ZERO,
            },
            applied: Lsn::ZERO,
        };
        change(&mut start);
        Self {
            receiver: Receiver::new(start),
            actions: Vec::new(),
            end: Tail::empty(CLUSTER),
        }
    }

    fn step(&mut self, event: Event<'_>) {
        self.actions.clear();
        self.receiver.step(event, &mut self.actions);
    }

    fn frame(&mut self, session: SessionId, epoch: Epoch, body: Body<'_>) {
        let frame = &Frame { epoch, body };
        self.step(Event::Frame { session, frame });
    }

    fn hello(&mut self, session: SessionId) {
        let own = identity(1, Site::One);
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            purpose: Purpose::Replicate,
            cluster: own.cluster,
            node: own.node,
            incarnation: own.incarnation,
            site: own.site,
            role: Role::Primary,
            segment_bytes: SEGMENT_BYTES,
            start_count: 1,
            highest_epoch: EPOCH,
            opening: None,
            tail: Tail::empty(CLUSTER),
            history: Vec::new(),
            client_address: "primary:1".to_owned(),
        };
        self.frame(session, EPOCH, Body::Hello(Box::new(hello)));
    }

    fn seal(&mut self, session: SessionId, epoch: Epoch) {
        self.hello(session);
        let opening = opening(1);
        self.frame(session, epoch, Body::Seal { opening });
        self.step(Event::GrantPersisted { epoch });
    }

    /// Sealed and following a log of one page.
    fn follow(&mut self, session: SessionId) {
        self.seal(session, EPOCH);
        let follow = Follow {
            opening: opening(1),
            tail: Tail {
                epoch: EPOCH,
                lsn: Lsn::new(4096),
                chain: Chain::default(),
            },
            committed: Lsn::ZERO,
            history: vec![EpochEntry {
                epoch: EPOCH,
                base: Tail::empty(CLUSTER),
            }],
        };
        self.frame(session, EPOCH, Body::Follow(follow));
        assert!(self.receiver.is_following());
    }

    /// Sends the writer's next batch and appends it.
    fn batch(&mut self, session: SessionId, epoch: Epoch) {
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch,
            lsn: self.end.lsn,
            flags: 0,
            record_count: 0,
            timestamp: Timestamp::new(1),
            confirmed: Lsn::ZERO,
            prev_chain: self.end.chain,
        };
        let header = BatchHeader::build(&fields, b"payload");
        let mut bytes = Vec::new();
        Packer::new().pack(epoch, &header, b"payload", &mut bytes);
        let frame = &Frame::decode(&bytes[REPLICATION_LENGTH_BYTES..]).unwrap();
        self.step(Event::Frame { session, frame });
        if matches!(self.actions[..], [Action::Append { .. }]) {
            self.end = Tail {
                epoch,
                lsn: header.end(SEGMENT_BYTES),
                chain: header.chain_after(b"payload"),
            };
            let tail = self.end;
            self.step(Event::Appended { tail });
        }
    }

    fn sent(&self) -> Vec<&Body<'static>> {
        let sent = self.actions.iter().filter_map(|a| match a {
            Action::Send { frame, .. } => Some(&frame.body),
            _ => None,
        });
        sent.collect()
    }

    fn refusal(&self) -> Option<RefusalCode> {
        self.sent().into_iter().find_map(|body| match body {
            Body::Refused(refused) => Some(refused.code),
            _ => None,
        })
    }
}

#[test]
fn a_grant_is_answered_only_when_it_is_durable() {
    let mut run = Run::new();
    run.hello(FIRST);
    let opening = opening(1);
    run.frame(FIRST, EPOCH, Body::Seal { opening });
    let epoch = EPOCH;
    assert_eq!(run.actions, [Action::PersistGrant { epoch, opening }]);
    run.step(Event::GrantPersisted { epoch });
    assert!(matches!(run.sent()[..], [Body::Granted(_)]));
}

#[test]
fn an_epoch_belongs_to_one_opening_of_the_site_that_may_open_it() {
    let mut run = Run::new();
    run.seal(FIRST, EPOCH);
    run.hello(SECOND);
    let opening_two = opening(2);
    let body = Body::Seal {
        opening: opening_two,
    };
    run.frame(SECOND, EPOCH, body);
    assert_eq!(run.refusal(), Some(RefusalCode::OtherOpening));
    run.hello(SECOND);
    let body = Body::Seal {
        opening: opening(1),
    };
    run.frame(SECOND, Epoch::from_terms(2, 1), body);
    assert_eq!(run.refusal(), Some(RefusalCode::NotGranted));
}

#[test]
fn many_batches_take_one_sync_and_one_ack() {
    let mut run = Run::new();
    run.follow(FIRST);
    for _ in 0..3 {
        run.batch(FIRST, EPOCH);
        assert_eq!(run.actions, []);
    }
    run.step(Event::ReadDone);
    assert_eq!(run.actions, [Action::Sync]);
    let tail = run.end;
    run.step(Event::Synced { lsn: tail.lsn });
    let acks = run.sent();
    assert!(matches!(acks[..], [Body::Ack { tail: t, .. }] if *t == tail));
}

#[test]
fn a_replica_never_acks_or_appends_for_a_lower_epoch() {
    let mut run = Run::new();
    run.follow(FIRST);
    run.batch(FIRST, EPOCH);
    run.step(Event::ReadDone);
    let higher = Epoch::from_terms(1, 2);
    run.hello(SECOND);
    let body = Body::Seal {
        opening: opening(1),
    };
    run.frame(SECOND, higher, body);
    let cut_off = |a: &Action| matches!(a, Action::Close { session: FIRST, .. });
    assert!(run.actions.iter().any(cut_off));
    // Refused from the moment that the higher one is asked for, before the disk has it.
    run.batch(FIRST, EPOCH);
    assert!(
        !run.actions
            .iter()
            .any(|a| matches!(a, Action::Append { .. }))
    );
    run.step(Event::Synced { lsn: run.end.lsn });
    assert!(run.sent().is_empty());
    run.step(Event::GrantPersisted { epoch: higher });
    let tail = run.end;
    assert!(matches!(run.sent()[..], [Body::Granted(g)] if g.tail == tail));
    run.hello(FIRST);
    let body = Body::Seal {
        opening: opening(1),
    };
    run.frame(FIRST, EPOCH, body);
    assert_eq!(run.refusal(), Some(RefusalCode::LowerEpoch));
}

#[test]
fn every_frame_of_the_writer_carries_the_granted_epoch_or_is_refused() {
    let higher = Epoch::from_terms(1, 2);
    for (epoch, code) in [
        (Epoch::NONE, RefusalCode::LowerEpoch),
        (higher, RefusalCode::NotGranted),
    ] {
        let mut run = Run::new();
        run.follow(FIRST);
        run.frame(FIRST, EPOCH, Body::ReadCheck { token: 3 });
        assert_eq!(run.sent(), [&Body::ReadOk { token: 3 }]);
        run.frame(FIRST, epoch, Body::ReadCheck { token: 4 });
        assert_eq!(run.refusal(), Some(code));
        assert!(!run.receiver.is_following());
    }
}

#[test]
fn a_grant_tells_a_tail_that_is_on_disk_to_its_end() {
    let mut run = Run::new();
    run.follow(FIRST);
    run.batch(FIRST, EPOCH);
    run.seal(SECOND, Epoch::from_terms(1, 2));
    assert!(run.sent().is_empty());
    let tail = run.end;
    run.step(Event::Synced { lsn: tail.lsn });
    assert!(matches!(run.sent()[..], [Body::Granted(g)] if g.tail == tail));
}

#[test]
fn the_own_opening_cuts_the_writer_off_and_never_goes_below_a_grant() {
    let mut run = Run::new();
    run.follow(FIRST);
    let mut actions = Vec::new();
    let own = OpeningId {
        node: NodeId::new(2),
        incarnation: Incarnation::new(2),
        random: 3,
    };
    let promoted = Epoch::from_terms(2, 1);
    assert_eq!(
        run.receiver.grant_here(promoted, own, false, &mut actions),
        Ok(())
    );
    assert!(matches!(
        actions[..],
        [Action::Send { .. }, Action::Close { .. }]
    ));
    run.batch(FIRST, EPOCH);
    assert_eq!(run.refusal(), Some(RefusalCode::Dialogue));
    let verdict = run.receiver.grant_here(EPOCH, own, false, &mut actions);
    assert_eq!(verdict, Err(GrantRefused::Higher(promoted)));
}

/// A member that was cut after a crash opened an epoch itself, was fenced, and is asked for its
/// tail: a set of members that are all uncertain could open nothing without an operator.
#[test]
fn who_has_opened_an_epoch_is_certain_of_its_own_log() {
    let mut run = Run::with(|start| start.uncertain = true);
    let own = OpeningId {
        node: NodeId::new(2),
        incarnation: Incarnation::new(2),
        random: 3,
    };
    let promoted = Epoch::from_terms(2, 1);
    let granted = run
        .receiver
        .grant_here(promoted, own, false, &mut Vec::new());
    assert_eq!(granted, Ok(()));
    run.receiver.opened();
    let higher = Epoch::from_terms(3, 1);
    run.seal(FIRST, higher);
    let log = LocalLog {
        tail: Tail::empty(CLUSTER),
        confirmed: Lsn::ZERO,
        history: Vec::new(),
        alone_to: Lsn::ZERO,
    };
    let mut sent = run.actions.clone();
    run.step(Event::LogMoved { log: &log });
    sent.append(&mut run.actions);
    run.actions = sent;
    assert!(
        matches!(run.sent()[..], [.., Body::Granted(g)] if !g.uncertain),
        "{:?}",
        run.actions
    );
}

/// A promotion began while the mark stood; before it promised, the primary had the mark cleared
/// and went on alone. Promoting then would have lost what was answered alone.
#[test]
fn a_promotion_needs_the_mark_at_the_moment_of_its_promise() {
    let mut run = Run::with(|start| start.in_sync = true);
    run.follow(FIRST);
    let mark = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    run.frame(FIRST, EPOCH, Body::Mark(mark));
    let promoted = Epoch::from_terms(2, 1);
    let own = OpeningId {
        node: NodeId::new(2),
        incarnation: Incarnation::new(2),
        random: 3,
    };
    for _ in 0..2 {
        let verdict = run
            .receiver
            .grant_here(promoted, own, true, &mut Vec::new());
        assert_eq!(verdict, Err(GrantRefused::MarkGone));
        assert_eq!(run.receiver.granted().0, EPOCH);
        run.step(Event::MarkPersisted);
    }
}

#[test]
fn the_mark_is_answered_when_durable_and_never_set_ahead_of_the_log() {
    let mut run = Run::new();
    run.follow(FIRST);
    let mark = |turn, in_sync, lsn| Mark {
        turn,
        in_sync,
        lsn: Lsn::new(lsn),
    };
    run.frame(FIRST, EPOCH, Body::Mark(mark(1, true, 0)));
    assert!(run.sent().is_empty());
    run.step(Event::MarkPersisted);
    assert_eq!(run.sent(), [&Body::Marked(mark(1, true, 0))]);
    assert!(run.receiver.in_sync());
    // An old wish that comes again changes nothing.
    run.frame(FIRST, EPOCH, Body::Mark(mark(1, false, 0)));
    assert_eq!(run.actions, []);
    run.frame(FIRST, EPOCH, Body::Mark(mark(2, true, 8192)));
    assert_eq!(run.refusal(), Some(RefusalCode::Dialogue));
}

#[test]
fn a_replica_too_far_behind_in_applying_stops_acking() {
    let mut run = Run::new();
    run.follow(FIRST);
    let lsn = Lsn::new(APPLY_LAG_BYTES_MAX + 4096);
    run.frame(FIRST, EPOCH, Body::Committed { lsn, digest: None });
    run.batch(FIRST, EPOCH);
    run.step(Event::ReadDone);
    run.step(Event::Synced { lsn: run.end.lsn });
    assert!(run.sent().is_empty());
    let digest = Digest::default();
    run.step(Event::Applied {
        lsn: run.end.lsn,
        digest,
    });
    assert!(matches!(run.sent()[0], Body::Ack { .. }));
}

#[test]
fn a_tail_that_may_have_been_answered_is_never_cut() {
    let page = |n: u64| Tail {
        epoch: Epoch::from_terms(2, 1),
        lsn: Lsn::new(n * 4096),
        chain: Chain::new([n as u8; 32]),
    };
    let own_epoch = EpochEntry {
        epoch: Epoch::from_terms(2, 1),
        base: Tail::empty(CLUSTER),
    };
    for (confirmed, alone_to, cut) in [(0, 0, true), (8192, 0, false), (0, 8192, false)] {
        let mut run = Run::with(|start| {
            start.granted_epoch = own_epoch.epoch;
            start.log.tail = page(3);
            start.log.history = vec![own_epoch];
            start.log.confirmed = Lsn::new(confirmed);
            start.log.alone_to = Lsn::new(alone_to);
        });
        let epoch = Epoch::from_terms(3, 1);
        run.seal(FIRST, epoch);
        let follow = Follow {
            opening: opening(1),
            tail: Tail { epoch, ..page(9) },
            committed: Lsn::ZERO,
            history: vec![
                own_epoch,
                EpochEntry {
                    epoch,
                    base: page(1),
                },
            ],
        };
        run.frame(FIRST, epoch, Body::Follow(follow));
        if cut {
            assert_eq!(run.actions, [Action::Cut { to: page(1) }]);
        } else {
            assert_eq!(run.actions[0], Action::AwaitOperator { fork: page(1) });
            assert_eq!(run.refusal(), Some(RefusalCode::DivergentAnswered));
        }
    }
}

#[test]
fn files_come_in_order_and_where_the_log_ends() {
    let mut run = Run::new();
    run.follow(FIRST);
    let chunk = |number, offset| Body::Chunk {
        file: SeedFile::Segment(number),
        total_bytes: 8,
        offset,
        bytes: b"four",
    };
    run.frame(FIRST, EPOCH, chunk(0, 0));
    assert!(matches!(run.actions[..], [Action::WriteChunk { .. }]));
    run.frame(FIRST, EPOCH, chunk(0, 4));
    let file = SeedFile::Segment(0);
    assert_eq!(run.actions[1], Action::InstallFile { file });
    let tail = Tail {
        epoch: EPOCH,
        lsn: Lsn::new(SEGMENT_BYTES),
        chain: Chain::default(),
    };
    run.step(Event::FileStored { tail });
    assert_eq!(run.sent(), [&Body::Stored { file, tail }]);
    assert_eq!(run.receiver.log().history.len(), 1);
    run.frame(FIRST, EPOCH, chunk(0, 0));
    assert_eq!(run.refusal(), Some(RefusalCode::Dialogue));
}
