//! The dialogues with the members of the set.

use super::*;

#[test]
fn every_member_but_oneself_is_greeted_and_sealed() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[ME, FIRST, SECOND]);
    assert_eq!(run.dials(), [FIRST.node, SECOND.node]);
    run.step(Event::Connected { node: FIRST.node });
    let Some(Body::Hello(hello)) = run.said(FIRST.node) else {
        panic!("{:?}", run.actions);
    };
    assert_eq!((hello.node, hello.highest_epoch), (ME.node, OPENED));
    let opening = run.opening.promised().1;
    let greeting = Body::Welcome(Box::new(welcome(FIRST, &own)));
    run.body(FIRST.node, greeting);
    assert_eq!(run.said(FIRST.node), Some(&Body::Seal { opening }));
    let granted = run.granted(&own);
    run.body(FIRST.node, Body::Granted(granted));
    assert_eq!(run.actions, []);
}

#[test]
fn it_goes_on_at_once_when_all_members_have_granted() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &own).grant(SECOND, &own);
    let lsn = own.tail().lsn;
    assert_eq!(run.actions, [Action::CheckChain { lsn }]);
}

#[test]
fn nothing_is_opened_while_no_member_of_the_set_was_sealed() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.step(Event::Unreachable { node: FIRST.node });
    assert_eq!(run.dials(), [FIRST.node]);
    run.patience_ends();
    let missing = vec![FIRST, SECOND];
    assert_eq!(run.actions, [Action::Wait { missing }]);
    for _ in 0..20 {
        run.patience_ends();
        let more = |a: &Action| !matches!(a, Action::Dial { .. });
        assert!(!run.actions.iter().any(more), "{:?}", run.actions);
    }
    // The first one that comes is enough then.
    run.grant(SECOND, &own);
    assert_eq!(run.asked_set(), [SECOND]);
}

#[test]
fn a_standby_outside_the_set_is_not_even_asked() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.grant(STANDBY, &own);
    assert_eq!(run.actions, []);
}

#[test]
fn another_directory_never_answers_for_the_member() {
    let own = log(3);
    let wiped = Member {
        incarnation: Incarnation::new(99),
        ..SECOND
    };
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &own);
    run.greet(wiped, &Log::empty());
    assert_eq!(run.actions, []);
    let granted = run.granted(&Log::empty());
    run.body(SECOND.node, Body::Granted(granted));
    assert_eq!(run.actions, []);
    run.patience_ends();
    assert_eq!(run.asked_set(), [FIRST]);
}

#[test]
fn a_peer_of_another_cluster_or_segment_size_never_answers_for_the_member() {
    let own = log(3);
    for change in [
        |welcome: &mut Welcome| welcome.cluster = ClusterId::new(8),
        |welcome: &mut Welcome| welcome.segment_bytes = 1 << 22,
    ] {
        let mut run = Run::claimed(&own, &[FIRST]);
        run.step(Event::Connected { node: FIRST.node });
        let mut stranger = welcome(FIRST, &own);
        change(&mut stranger);
        run.body(FIRST.node, Body::Welcome(Box::new(stranger)));
        assert_eq!(run.actions, []);
    }
}

#[test]
fn a_member_that_granted_a_higher_epoch_fences_this_opening() {
    let (own, higher) = (log(3), epoch(6));
    let fenced = [Action::Fenced { epoch: higher }];
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.step(Event::Connected { node: FIRST.node });
    let greeting = Welcome {
        granted_epoch: higher,
        ..welcome(FIRST, &own)
    };
    run.body(FIRST.node, Body::Welcome(Box::new(greeting)));
    assert_eq!(run.actions, fenced);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.greet(FIRST, &own);
    run.refuse(FIRST.node, RefusalCode::LowerEpoch, higher);
    assert_eq!(run.actions, fenced);
    // Of the same epoch, but another opening was granted it.
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.greet(FIRST, &own);
    run.refuse(FIRST.node, RefusalCode::OtherOpening, OPENED);
    assert_eq!(run.actions, [Action::Fenced { epoch: OPENED }]);
}

#[test]
fn a_member_that_cannot_answer_now_is_dialled_again() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.greet(FIRST, &own);
    run.refuse(FIRST.node, RefusalCode::Unable, epoch(2));
    assert_eq!(run.dials(), [FIRST.node]);
    // What the closed connection still brings does not count.
    let granted = run.granted(&own);
    run.body(FIRST.node, Body::Granted(granted));
    assert_eq!(run.actions, []);
    run.grant(FIRST, &own);
    assert!(matches!(run.last(), Action::CheckChain { .. }));
}

#[test]
fn a_grant_of_another_epoch_or_opening_seals_nothing() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.greet(FIRST, &own);
    let granted = run.granted(&own);
    let frame = &Frame {
        epoch: epoch(3),
        body: Body::Granted(granted),
    };
    let node = FIRST.node;
    run.step(Event::Frame { node, frame });
    assert_eq!(run.actions, []);
    let mut other = granted;
    other.opening.random = 10;
    run.body(FIRST.node, Body::Granted(other));
    assert_eq!(run.actions, []);
}

#[test]
fn a_log_that_moved_between_greeting_and_grant_is_looked_at_again() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.greet(FIRST, &own);
    let moved = own.clone().and(epoch(3), 1);
    let granted = run.granted(&moved);
    run.body(FIRST.node, Body::Granted(granted));
    assert_eq!(run.dials(), [FIRST.node]);
    run.grant(FIRST, &moved);
    let node = FIRST.node;
    assert!(matches!(run.said(node), Some(Body::Fetch { from }) if *from == own.tail().lsn));
}

#[test]
fn a_connection_over_which_nothing_comes_is_made_anew() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.step(Event::Connected { node: FIRST.node });
    run.grant(SECOND, &own);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.step(Event::Connected { node: FIRST.node });
    let now_ns = run.opening.silence_ns() - 1;
    run.step(Event::Tick { now_ns });
    assert_eq!(run.dials(), []);
    let now_ns = now_ns + 1;
    run.step(Event::Tick { now_ns });
    assert_eq!(run.dials(), [FIRST.node]);
    run.step(Event::Tick { now_ns });
    assert_eq!(run.dials(), []);
}

/// A grant is durable: a connection that ends behind it takes nothing back.
#[test]
fn a_member_that_granted_stays_sealed_without_its_connection() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &own);
    run.step(Event::Unreachable { node: FIRST.node });
    assert_eq!(run.actions, []);
    run.grant(SECOND, &own);
    assert!(matches!(run.last(), Action::CheckChain { .. }));
}

#[test]
fn a_log_that_changed_after_its_grant_opens_nothing() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &log(5));
    run.step(Event::Unreachable { node: FIRST.node });
    run.grant(FIRST, &log(4));
    let (had, has) = (log(5).tail().lsn, log(4).tail().lsn);
    let member = FIRST;
    assert_eq!(run.stopped(), &StopReason::TailGone { member, had, has });
}
