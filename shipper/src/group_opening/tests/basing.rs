//! Whose tail is the base, and how the own log comes to hold it.

use super::*;

#[test]
fn the_highest_epoch_wins_over_the_longest_log() {
    let own = log(1);
    let longer = log(9);
    let higher = log(2).and(epoch(3), 1);
    for order in [[0, 1], [1, 0]] {
        let grants = [(FIRST, &longer), (SECOND, &higher)];
        let mut run = Run::claimed(&own, &[FIRST, SECOND]);
        for at in order {
            let (member, has) = grants[at];
            run.grant(member, has);
        }
        let from = own.tail().lsn;
        assert_eq!(run.said(SECOND.node), Some(&Body::Fetch { from }));
        assert_eq!(run.said(FIRST.node), None);
    }
}

#[test]
fn within_an_epoch_the_longest_log_is_the_base() {
    let own = log(1);
    let mut run = Run::claimed(&own, &[FIRST, SECOND, ME]);
    run.grant(FIRST, &log(5)).grant(SECOND, &log(4));
    let from = own.tail().lsn;
    assert_eq!(run.said(FIRST.node), Some(&Body::Fetch { from }));
    let mut run = Run::claimed(&log(6), &[FIRST, SECOND, ME]);
    run.grant(FIRST, &log(5)).grant(SECOND, &log(4));
    let opened = run.opened();
    assert_eq!(opened.open.base, log(6).tail());
    let grants = [(FIRST, log(5)), (SECOND, log(4)), (ME, log(6))];
    let grants = grants.map(|(member, has)| (member, has.tail()));
    assert_eq!(opened.grants, grants);
}

#[test]
fn a_longer_own_log_outside_the_set_counts_only_if_it_holds_the_base() {
    let own = log(7);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.grant(FIRST, &log(4));
    let lsn = log(4).tail().lsn;
    assert_eq!(run.last(), &Action::CheckChain { lsn });
    let chain = Some(log(4).tail().chain);
    run.step(Event::ChainAt { chain });
    assert_eq!(run.opened().open.base, own.tail());
    let mut run = Run::claimed(&own, &[FIRST]);
    run.grant(FIRST, &log(4));
    let chain = Some(log(5).tail().chain);
    run.step(Event::ChainAt { chain });
    assert!(matches!(run.stopped(), StopReason::Logs(_)));
}

/// Fetches all that is lacking from there.
fn fetch(run: &mut Run, member: Member, from: &Log) {
    let at = (run.opening.log.tail.lsn.get() / 4096) as usize;
    for number in at..from.frames.len() {
        run.batch(member.node, from, number);
        assert!(matches!(run.last(), Action::Append { .. }));
        let tail = from_tail(from, number);
        run.step(Event::Appended { tail });
    }
}

/// Where the log ended behind that batch.
fn from_tail(from: &Log, number: usize) -> Tail {
    let mut log = Log::empty();
    for (at, entry) in from.local.history.iter().enumerate() {
        let next = from.local.history.get(at + 1);
        let end = next.map_or(from.tail().lsn, |next| next.base.lsn);
        let batches = (end.since(entry.base.lsn) / 4096) as u32;
        let left = (number + 1) as u32 - log.frames.len() as u32;
        log = log.and(entry.epoch, batches.min(left));
    }
    log.tail()
}

#[test]
fn what_was_fetched_is_on_the_disk_before_it_is_a_base() {
    let base = log(4).and(epoch(3), 2);
    let mut run = Run::claimed(&log(2), &[FIRST]);
    run.grant(FIRST, &base);
    fetch(&mut run, FIRST, &base);
    run.body(FIRST.node, Body::FetchEnd { tail: base.tail() });
    assert_eq!(run.actions, [Action::Sync]);
    run.step(Event::Synced);
    assert_eq!(run.opened().open.base, base.tail());
    assert_eq!(run.opened().open.members, [FIRST]);
}

#[test]
fn a_fetch_goes_on_where_the_log_is_after_a_lost_connection() {
    let base = log(5);
    let mut run = Run::claimed(&log(2), &[FIRST]);
    run.grant(FIRST, &base);
    run.batch(FIRST.node, &base, 7);
    let tail = log(3).tail();
    run.step(Event::Appended { tail });
    run.step(Event::Unreachable { node: FIRST.node });
    assert_eq!(run.dials(), [FIRST.node]);
    // Frames of the former connection.
    run.batch(FIRST.node, &base, 8);
    assert_eq!(run.actions, []);
    run.grant(FIRST, &base);
    let from = tail.lsn;
    assert_eq!(run.said(FIRST.node), Some(&Body::Fetch { from }));
    fetch(&mut run, FIRST, &base);
    run.body(FIRST.node, Body::FetchEnd { tail: base.tail() });
    assert_eq!(run.last(), &Action::Sync);
}

/// It ended while the register was asked, so nobody heard of it then.
#[test]
fn a_base_whose_connection_ended_before_the_fetch_is_dialled() {
    let base = log(5);
    let mut run = Run::claimed(&log(2), &[FIRST, SECOND]);
    run.grant(FIRST, &base);
    run.step(Event::Unreachable { node: FIRST.node });
    run.patience_ends();
    assert_eq!(run.asked_set(), [FIRST]);
    run.step(Event::SetChanged);
    assert_eq!(run.actions, [Action::Dial { node: FIRST.node }]);
    run.grant(FIRST, &base);
    let from = log(2).tail().lsn;
    assert_eq!(run.said(FIRST.node), Some(&Body::Fetch { from }));
}

#[test]
fn a_fetch_that_ends_elsewhere_is_begun_anew() {
    let base = log(5);
    let mut run = Run::claimed(&log(2), &[FIRST]);
    run.grant(FIRST, &base);
    run.body(FIRST.node, Body::FetchEnd { tail: base.tail() });
    assert_eq!(run.dials(), [FIRST.node]);
    run.grant(FIRST, &base);
    // A gap: it does not fit behind the own log.
    run.batch(FIRST.node, &base, 8);
    assert_eq!(run.dials(), [FIRST.node]);
}

#[test]
fn no_batch_of_an_epoch_that_was_not_open_yet_is_taken() {
    let base = log(2).and(OPENED, 1);
    let mut run = Run::claimed(&log(2), &[FIRST]);
    run.grant(FIRST, &log(5));
    run.batch(FIRST.node, &base, 7);
    assert_eq!(run.actions, [Action::Dial { node: FIRST.node }]);
}

#[test]
fn a_divergent_tail_is_cut_only_if_nothing_above_can_have_been_answered() {
    let base = log(2).and(epoch(3), 1);
    let own = log(6);
    let mut run = Run::claimed(&own, &[FIRST]);
    run.grant(FIRST, &base);
    let to = log(2).tail();
    assert_eq!(run.actions, [Action::Cut { to }]);
    let log_after = &log(2).local;
    run.step(Event::Cut {
        log: Some(log_after),
    });
    let from = to.lsn;
    assert_eq!(run.said(FIRST.node), Some(&Body::Fetch { from }));
    let mut answered = own;
    answered.local.alone_to = answered.tail().lsn;
    let mut run = Run::claimed(&answered, &[FIRST, SECOND]);
    run.grant(FIRST, &base).patience_ends();
    // The register was not asked to leave anybody out for an opening that cannot be.
    assert_eq!(run.stopped(), &StopReason::DivergentAnswered { fork: to });
}

#[test]
fn a_cut_that_was_refused_opens_nothing() {
    let mut run = Run::claimed(&log(6), &[FIRST]);
    run.grant(FIRST, &log(2).and(epoch(3), 1));
    run.step(Event::Cut { log: None });
    assert!(matches!(run.stopped(), StopReason::Logs(_)));
}

#[test]
fn a_log_below_what_was_committed_is_no_base_and_leaves_the_set() {
    let own = log(6).confirmed(9);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &log(3)).grant(SECOND, &log(5));
    assert_eq!(run.asked_set(), [SECOND]);
    // It may be the one that is missing that has it.
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &log(3)).patience_ends();
    let missing = vec![SECOND];
    assert_eq!(run.actions, [Action::Wait { missing }]);
    run.grant(SECOND, &log(3));
    let StopReason::MemberOlder { has, confirmed, .. } = run.stopped() else {
        panic!("{:?}", run.actions);
    };
    assert_eq!((has.get(), confirmed.get()), (8 * 4096, 9 * 4096));
}

#[test]
fn what_a_member_knows_to_be_committed_counts_like_the_own_knowledge() {
    let own = log(2);
    let mut run = Run::claimed(&own, &[FIRST, ME]);
    run.grant_uncertain(FIRST, &log(1).confirmed(8));
    assert!(matches!(run.stopped(), StopReason::MemberOlder { member, .. } if *member == ME));
}

#[test]
fn an_uncertain_log_is_no_base_and_stays_in_the_set_if_the_base_holds_it() {
    let own = log(1);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant_uncertain(FIRST, &log(3)).grant(SECOND, &log(4));
    let from = own.tail().lsn;
    assert_eq!(run.said(SECOND.node), Some(&Body::Fetch { from }));
    // Longer than the base, or of another epoch: it has to be brought up like a stranger.
    for has in [log(6), log(2).and(epoch(3), 1)] {
        let mut run = Run::claimed(&own, &[FIRST, SECOND]);
        run.grant_uncertain(FIRST, &has).grant(SECOND, &log(4));
        assert_eq!(run.asked_set(), [SECOND]);
        run.step(Event::SetChanged);
        assert_eq!(run.said(SECOND.node), Some(&Body::Fetch { from }));
    }
}

#[test]
fn nothing_is_opened_on_uncertain_logs_alone() {
    let own = log(4);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant_uncertain(FIRST, &own)
        .grant_uncertain(SECOND, &own);
    assert_eq!(run.stopped(), &StopReason::Uncertain);
    let uncertain = Control {
        uncertain: true,
        ..control()
    };
    let mut run = Run::claimed_by(start(uncertain, &own), &[ME]);
    assert_eq!(run.stopped(), &StopReason::Uncertain);
    run = Run::claimed_by(start(uncertain, &own), &[ME, FIRST]);
    run.grant(FIRST, &log(3));
    let lsn = log(3).tail().lsn;
    assert_eq!(run.last(), &Action::CheckChain { lsn });
}

/// Left out of the register it could never vouch again, and nobody else can.
#[test]
fn a_missing_member_is_not_left_out_for_an_uncertain_one() {
    let own = log(4);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant_uncertain(FIRST, &own).patience_ends();
    let missing = vec![SECOND];
    assert_eq!(run.actions, [Action::Wait { missing }]);
    run.grant(SECOND, &own);
    assert!(matches!(run.last(), Action::CheckChain { .. }));
}

#[test]
fn a_base_that_falls_silent_is_given_up_for_another_sealed_member() {
    let base = log(5);
    let mut run = Run::claimed(&log(2), &[FIRST, SECOND]);
    run.grant(SECOND, &log(3)).grant(FIRST, &base);
    run.batch(FIRST.node, &base, 7);
    let silence_ns = run.opening.silence_ns();
    // A batch that is being appended is progress.
    run.step(Event::Tick { now_ns: silence_ns });
    assert_eq!(run.actions, []);
    run.step(Event::Appended {
        tail: log(3).tail(),
    });
    run.step(Event::Tick {
        now_ns: 2 * silence_ns,
    });
    assert_eq!(
        run.actions,
        [Action::Dial { node: FIRST.node }, Action::Sync]
    );
    run.step(Event::Synced);
    assert_eq!(run.asked_set(), [SECOND]);
    run.step(Event::SetChanged);
    let lsn = log(3).tail().lsn;
    assert_eq!(run.last(), &Action::CheckChain { lsn });
    let chain = Some(log(3).tail().chain);
    run.step(Event::ChainAt { chain });
    assert_eq!(run.opened().open.base, log(3).tail());
    assert_eq!(run.opened().open.members, [SECOND]);
}

/// However slow the only member is, it is given longer each time.
#[test]
fn the_only_base_is_asked_again_and_waited_for_longer() {
    let base = log(5);
    let mut run = Run::claimed(&log(2), &[FIRST]);
    run.grant(FIRST, &base);
    let mut silence_ns = run.opening.silence_ns();
    let mut now_ns = 0;
    for _ in 0..4 {
        now_ns += silence_ns - 1;
        run.step(Event::Tick { now_ns });
        assert_eq!(run.actions, []);
        now_ns += 1;
        run.step(Event::Tick { now_ns });
        assert_eq!(run.dials(), [FIRST.node]);
        run.grant(FIRST, &base);
        assert!(matches!(run.said(FIRST.node), Some(Body::Fetch { .. })));
        silence_ns *= 2;
    }
}
