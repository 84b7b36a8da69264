use super::*;
use kanjo_format::{Chain, ClusterId, Incarnation, NodeId, Site};

const CLUSTER: ClusterId = ClusterId::new(7);
const OWN: Incarnation = Incarnation::new(0x11);
const PEER: Incarnation = Incarnation::new(0x22);
const ONE_THREE: Epoch = Epoch::from_terms(1, 3);

fn tail(page: u64, content: u8) -> Tail {
    Tail {
        epoch: ONE_THREE,
        lsn: Lsn::new(page * 4096),
        chain: Chain::new([content; 32]),
    }
}

fn log(page: u64, content: u8) -> LocalLog {
    LocalLog {
        tail: tail(page, content),
        confirmed: Lsn::ZERO,
        history: vec![EpochEntry {
            epoch: ONE_THREE,
            base: Tail::empty(CLUSTER),
        }],
        alone_to: Lsn::ZERO,
    }
}

fn own_opening() -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: OWN,
        random: 5,
    }
}

fn control(role: Role, protection: Protection) -> Control {
    Control {
        start_count: 2,
        granted_epoch: ONE_THREE,
        granted_opening: own_opening(),
        protection,
        member: (protection == Protection::Protected).then_some((NodeId::new(2), PEER)),
        durable: tail(5, 1),
        ..Control::fresh(CLUSTER, (NodeId::new(1), OWN), Site::One, role, 1 << 21)
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        cluster: CLUSTER,
        node: NodeId::new(2),
        incarnation: PEER,
        site: Site::Two,
        role: Role::Replica,
        segment_bytes: 1 << 21,
        start_count: 1,
        granted_epoch: ONE_THREE,
        granted_opening: own_opening(),
        tail: tail(5, 1),
        confirmed: Lsn::ZERO,
        in_sync: true,
        in_sync_lsn: Lsn::ZERO,
        uncertain: false,
        awaiting_operator: false,
        history: log(5, 1).history,
        client_address: String::new(),
    }
}

/// Runs an opening up to the given answers and returns what it asked for last.
struct Run {
    opening: Opening,
    actions: Vec<Action>,
}

impl Run {
    fn new(want: Want, control: Control, log: LocalLog) -> Self {
        let mut opening = Opening::new(want, control, log, String::new(), 9);
        let mut actions = Vec::new();
        opening.start(&mut actions);
        Self { opening, actions }
    }

    fn step(&mut self, event: Event<'_>) -> &mut Self {
        self.actions.clear();
        self.opening.step(event, &mut self.actions);
        self
    }

    fn frame(&mut self, body: Body<'static>) -> &mut Self {
        let promised = self.opening.promised().map(|(epoch, _)| epoch);
        let epoch = promised.unwrap_or(ONE_THREE);
        self.step(Event::Frame(&Frame { epoch, body }))
    }

    /// Up to the grant, with this welcome and a tail in the grant.
    fn granted(&mut self, welcome: Welcome) -> &mut Self {
        let granted = Granted {
            opening: OpeningId {
                random: 9,
                ..own_opening()
            },
            tail: welcome.tail,
            confirmed: welcome.confirmed,
            in_sync: welcome.in_sync,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
        };
        self.step(Event::Connected);
        self.frame(Body::Welcome(Box::new(welcome)));
        let tail = self.opening.log.tail;
        self.step(Event::Promised { tail });
        self.frame(Body::Granted(granted))
    }

    fn last(&self) -> &Action {
        self.actions.last().expect("it asked for something")
    }

    fn opened(&self) -> &OpenEpoch {
        match self.last() {
            Action::Open(open) => open,
            other => panic!("{other:?}"),
        }
    }
}

const RESTART: Want = Want::Restart { member_gone: false };

fn restart(protection: Protection, log: LocalLog) -> Run {
    Run::new(RESTART, control(Role::Primary, protection), log)
}

#[test]
fn a_restart_takes_an_epoch_above_everything_seen_and_the_marked_replica_as_its_set() {
    let mut run = restart(Protection::Protected, log(6, 1));
    run.granted(welcome());
    assert_eq!(
        run.last(),
        &Action::CheckChain {
            lsn: tail(5, 1).lsn
        }
    );
    let chain = Some(tail(5, 1).chain);
    run.step(Event::ChainAt { chain });
    let open = run.opened();
    assert_eq!(open.epoch, Epoch::from_terms(1, 4));
    assert_eq!(open.base, tail(6, 1));
    assert_eq!(open.protection, Protection::Protected);
    assert_eq!(open.members[0].incarnation, PEER);
}

#[test]
fn a_restart_fetches_what_its_set_member_has_and_it_lacks() {
    let mut run = restart(Protection::Protected, log(4, 1));
    run.granted(welcome());
    let Action::Send(frame) = run.last() else {
        panic!("it fetches");
    };
    assert_eq!(
        frame.body,
        Body::Fetch {
            from: tail(4, 1).lsn
        }
    );
    run.step(Event::Appended { tail: tail(5, 1) });
    run.frame(Body::FetchEnd { tail: tail(5, 1) });
    assert_eq!(run.last(), &Action::Sync);
    run.step(Event::Synced);
    assert_eq!(run.opened().base, tail(5, 1));
}

#[test]
fn a_log_that_does_not_hold_its_members_tail_opens_nothing() {
    let mut run = restart(Protection::Protected, log(6, 1));
    run.granted(welcome());
    let chain = Some(tail(5, 2).chain);
    run.step(Event::ChainAt { chain });
    assert!(matches!(run.last(), Action::Stop(StopReason::Logs(_))));
}

#[test]
fn an_old_primary_follows_the_one_that_was_promoted() {
    let mut run = restart(Protection::Protected, log(6, 1));
    let promoted = OpeningId {
        node: NodeId::new(2),
        incarnation: PEER,
        random: 1,
    };
    let epoch = Epoch::from_terms(2, 1);
    run.step(Event::Connected);
    run.frame(Body::Welcome(Box::new(Welcome {
        granted_epoch: epoch,
        granted_opening: promoted,
        role: Role::Primary,
        ..welcome()
    })));
    let opening = promoted;
    assert_eq!(run.last(), &Action::BecomeReplica { epoch, opening });
}

#[test]
fn a_restarted_primary_waits_for_its_peer_also_if_it_served_alone() {
    for before in [
        Protection::Protected,
        Protection::Alone,
        Protection::Waiting,
    ] {
        let mut run = restart(before, log(6, 1));
        run.step(Event::Unreachable);
        assert_eq!(run.last(), &Action::Wait(Waiting::Peer));
    }
}

/// An operator started the directory of a former member, which kept its mark, in place of the
/// present one: what was committed since may be missing from it.
#[test]
fn a_mark_of_another_directory_than_the_member_is_cleared_and_opens_nothing() {
    let mut run = restart(Protection::Protected, log(6, 1));
    run.granted(Welcome {
        incarnation: Incarnation::new(77),
        ..welcome()
    });
    let clear = Mark {
        turn: 1,
        in_sync: false,
        lsn: Lsn::ZERO,
    };
    let Action::Send(frame) = run.last() else {
        panic!("{:?}", run.actions);
    };
    assert_eq!(frame.body, Body::Mark(clear));
    run.frame(Body::Marked(clear));
    let replaced = |a: &Action| matches!(a, Action::Stop(StopReason::MemberReplaced { .. }));
    assert!(replaced(run.last()), "{:?}", run.actions);
}

#[test]
fn going_alone_clears_the_mark_first_or_needs_an_operators_word() {
    let alone = |unfenced| {
        let control = control(Role::Primary, Protection::Protected);
        Run::new(Want::Alone { unfenced }, control, log(6, 1))
    };
    let mut run = alone(false);
    run.step(Event::Unreachable);
    let stop = Action::Stop(StopReason::AuxiliaryUnreachable);
    assert_eq!(run.last(), &stop);
    let mut run = alone(true);
    run.step(Event::Unreachable);
    run.step(Event::Promised { tail: tail(6, 1) });
    assert!(run.opened().unfenced);
    let mut run = alone(false);
    run.granted(welcome());
    let Action::Send(frame) = run.last() else {
        panic!("it asks for the mark to be cleared");
    };
    let Body::Mark(mark) = frame.body else {
        panic!("it asks for the mark to be cleared");
    };
    assert!(!mark.in_sync);
    run.frame(Body::Marked(mark));
    let open = run.opened();
    assert_eq!((open.protection, open.unfenced), (Protection::Alone, false));
}

#[test]
fn another_directory_in_the_members_place_needs_an_operators_word() {
    let wiped = Welcome {
        incarnation: Incarnation::new(0x33),
        tail: Tail::empty(CLUSTER),
        history: Vec::new(),
        in_sync: false,
        granted_epoch: Epoch::NONE,
        granted_opening: OpeningId::default(),
        ..welcome()
    };
    let mut run = restart(Protection::Protected, log(6, 1));
    run.granted(wiped.clone());
    let stop = matches!(run.last(), Action::Stop(StopReason::MemberReplaced { .. }));
    assert!(stop, "{:?}", run.last());
    let want = Want::Restart { member_gone: true };
    let mut run = Run::new(
        want,
        control(Role::Primary, Protection::Protected),
        log(6, 1),
    );
    run.granted(wiped);
    assert_eq!(run.opened().protection, Protection::Waiting);
}

#[test]
fn a_restored_disk_image_opens_nothing() {
    let mut run = restart(Protection::Protected, log(6, 1));
    run.step(Event::Connected);
    run.frame(Body::Welcome(Box::new(Welcome {
        granted_epoch: Epoch::from_terms(1, 9),
        ..welcome()
    })));
    let stop = matches!(run.last(), Action::Stop(StopReason::OlderThanItWas { .. }));
    assert!(stop, "{:?}", run.last());
}

#[test]
fn promotion_needs_the_mark_and_a_certain_tail_unless_it_is_forced() {
    let marked = Control {
        site: Site::Two,
        in_sync: true,
        ..control(Role::Replica, Protection::Waiting)
    };
    let promote = |control, forced| {
        let alone = false;
        Run::new(Want::Promote { alone, forced }, control, log(6, 1))
    };
    let unmarked = Control {
        in_sync: false,
        ..marked
    };
    let uncertain = Control {
        uncertain: true,
        ..marked
    };
    let primary = Control {
        role: Role::Primary,
        ..marked
    };
    let refused = [
        (unmarked, StopReason::NotInSync),
        (uncertain, StopReason::Uncertain),
        (primary, StopReason::AlreadyPrimary(ONE_THREE)),
    ];
    for (control, why) in refused {
        assert_eq!(promote(control, false).last(), &Action::Stop(why));
    }
    for (control, forced, unfenced) in [(marked, false, false), (unmarked, true, true)] {
        let mut run = promote(control, forced);
        run.step(Event::Unreachable);
        run.step(Event::Promised { tail: tail(6, 1) });
        let open = run.opened();
        assert_eq!(open.epoch, Epoch::from_terms(2, 1));
        assert_eq!(open.protection, Protection::Waiting);
        assert_eq!(open.unfenced, unfenced);
    }
}

#[test]
fn a_divergent_tail_is_cut_only_if_nothing_above_can_have_been_answered() {
    // The member left epoch 1.3 at page 3 for an epoch that this log never saw.
    let theirs = || Welcome {
        tail: Tail {
            epoch: Epoch::from_terms(1, 4),
            ..tail(8, 2)
        },
        history: vec![
            log(5, 1).history[0],
            EpochEntry {
                epoch: Epoch::from_terms(1, 4),
                base: tail(3, 1),
            },
        ],
        granted_epoch: Epoch::from_terms(1, 4),
        ..welcome()
    };
    let later = Control {
        granted_epoch: Epoch::from_terms(1, 4),
        ..control(Role::Primary, Protection::Protected)
    };
    let mut run = Run::new(RESTART, later, log(6, 1));
    run.granted(theirs());
    assert_eq!(run.last(), &Action::Cut { to: tail(3, 1) });
    for answered in [
        LocalLog {
            confirmed: tail(4, 1).lsn,
            ..log(6, 1)
        },
        LocalLog {
            alone_to: tail(4, 1).lsn,
            ..log(6, 1)
        },
    ] {
        let mut run = Run::new(RESTART, later, answered);
        run.granted(theirs());
        let fork = tail(3, 1);
        let stop = Action::Stop(StopReason::DivergentAnswered { fork });
        assert_eq!(run.last(), &stop);
    }
}

/// The auxiliary's directory was replaced by an older copy while the primary was down: whatever
/// was committed had its ack, so a tail below that shows it.
#[test]
fn an_in_sync_replica_below_what_was_committed_loses_its_mark_and_opens_nothing() {
    let mut own = log(9, 1);
    own.confirmed = own.tail.lsn;
    let mut run = Run::new(RESTART, control(Role::Primary, Protection::Protected), own);
    run.granted(welcome());
    let clears = |a: &Action| matches!(a, Action::Send(frame) if matches!(&frame.body, Body::Mark(mark) if !mark.in_sync));
    assert!(run.actions.iter().any(clears), "{:?}", run.actions);
    assert!(
        matches!(run.last(), Action::Stop(StopReason::MemberOlder { .. })),
        "{:?}",
        run.actions
    );
}
