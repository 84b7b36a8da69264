//! Promises, and what is asked of the register.

use super::*;

fn promised_epoch(run: &Run) -> Epoch {
    match run.last() {
        Action::Promise { epoch, .. } => *epoch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_epoch_is_above_everything_that_is_known() {
    let own = log(3);
    assert_eq!(promised_epoch(&Run::new(start(control(), &own))), epoch(4));
    let peer_granted_epoch = epoch(8);
    let told = Control {
        peer_granted_epoch,
        ..control()
    };
    assert_eq!(promised_epoch(&Run::new(start(told, &own))), epoch(9));
    let read = GroupOpeningStart {
        register_epoch: epoch(11),
        ..start(control(), &own)
    };
    assert_eq!(promised_epoch(&Run::new(read)), epoch(12));
    let written = own.and(epoch(14), 1);
    assert_eq!(
        promised_epoch(&Run::new(start(control(), &written))),
        epoch(15)
    );
}

#[test]
fn taking_over_opens_the_next_site_term_of_the_own_site() {
    let takes_over = |site, register_epoch| {
        let control = Control { site, ..control() };
        let run = Run::new(GroupOpeningStart {
            register_epoch,
            takes_over: true,
            ..start(control, &log(3))
        });
        promised_epoch(&run)
    };
    assert_eq!(takes_over(Site::Two, epoch(5)), Epoch::from_terms(2, 1));
    let two_three = Epoch::from_terms(2, 3);
    assert_eq!(takes_over(Site::One, two_three), Epoch::from_terms(3, 1));
    assert_eq!(takes_over(Site::Two, two_three), Epoch::from_terms(4, 1));
}

#[test]
fn the_register_is_asked_only_for_what_was_promised() {
    let own = log(3);
    let mut run = Run::new(start(control(), &own));
    assert_eq!(run.actions.len(), 1);
    assert!(!run.opening.is_claimed());
    run.step(Event::Promised { tail: own.tail() });
    let (epoch, opening) = run.opening.promised();
    assert_eq!(run.actions, [Action::Claim { epoch, opening }]);
    assert_eq!((opening.node, opening.random), (ME.node, 9));
}

#[test]
fn a_higher_epoch_in_the_register_is_outbid_and_not_for_ever() {
    let own = log(3);
    let mut run = Run::new(start(control(), &own));
    for round in 0..8 {
        assert_eq!(promised_epoch(&run), epoch(4 + round * 3));
        run.step(Event::Promised { tail: own.tail() });
        let highest = epoch(4 + round * 3 + 2);
        run.step(Event::ClaimRefused { highest });
    }
    assert_eq!(run.stopped(), &StopReason::Outrun(8));
    assert!(run.opening.is_ended());
}

/// The register read was old: what it refuses may be lower than what was promised here.
#[test]
fn an_epoch_that_was_promised_is_never_promised_again() {
    let own = log(3);
    let mut run = Run::new(start(control(), &own));
    run.step(Event::Promised { tail: own.tail() });
    run.step(Event::ClaimRefused { highest: epoch(2) });
    assert_eq!(promised_epoch(&run), epoch(5));
}

#[test]
fn an_unknown_answer_is_asked_for_again_word_for_word() {
    let own = log(3);
    let mut run = Run::new(start(control(), &own));
    run.step(Event::Promised { tail: own.tail() });
    let claim = run.last().clone();
    for _ in 0..3 {
        run.step(Event::ClaimUnknown);
        assert_eq!(run.last(), &claim);
    }
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &own).patience_ends();
    let change = run.last().clone();
    assert_eq!(run.asked_set(), [FIRST]);
    for _ in 0..3 {
        run.step(Event::SetUnknown);
        assert_eq!(run.last(), &change);
    }
}

#[test]
fn who_is_not_chosen_any_more_stops() {
    let own = log(3);
    let mut run = Run::new(start(control(), &own));
    run.step(Event::Promised { tail: own.tail() });
    let why = "another server processes".to_owned();
    run.step(Event::ClaimLost { why: why.clone() });
    assert_eq!(run.stopped(), &StopReason::NotChosen(why));
}

#[test]
fn an_empty_set_opens_on_the_own_log_and_holds_writes() {
    let own = log(3);
    let run = Run::claimed(&own, &[]);
    let opened = run.opened();
    assert_eq!(opened.open.base, own.tail());
    assert_eq!(opened.open.protection, Protection::Waiting);
    assert!(opened.open.members.is_empty() && opened.grants.is_empty());
    assert!(!opened.open.unfenced && run.opening.is_claimed());
}

#[test]
fn a_set_of_this_node_alone_opens_on_the_own_log() {
    let own = log(3);
    let run = Run::claimed(&own, &[ME]);
    let opened = run.opened();
    assert_eq!(opened.open.base, own.tail());
    assert_eq!(opened.open.protection, Protection::Waiting);
    assert_eq!(opened.grants, [(ME, own.tail())]);
    assert_eq!(opened.former, epoch(2));
}

#[test]
fn a_former_directory_of_this_node_is_not_this_node() {
    let wiped = Member {
        incarnation: Incarnation::new(99),
        ..ME
    };
    let own = log(3);
    let mut run = Run::claimed(&own, &[wiped]);
    run.patience_ends();
    let missing = vec![wiped];
    assert_eq!(run.actions, [Action::Wait { missing }]);
    let mut run = Run::claimed(&own, &[wiped, FIRST]);
    run.grant(FIRST, &own).patience_ends();
    assert_eq!(run.asked_set(), [FIRST]);
}

#[test]
fn members_are_left_out_in_the_register_before_the_epoch_begins() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND, ME]);
    run.grant(FIRST, &own);
    assert_eq!(run.actions, []);
    run.patience_ends();
    assert_eq!(run.asked_set(), [FIRST, ME]);
    // It grants too late: the register has been asked.
    run.grant(SECOND, &own);
    assert_eq!(run.actions, []);
    run.step(Event::SetChanged);
    let opened = run.opened();
    assert_eq!(opened.open.members, [FIRST]);
    assert_eq!(opened.open.protection, Protection::Protected);
    assert_eq!(opened.grants, [(FIRST, own.tail()), (ME, own.tail())]);
}

#[test]
fn a_set_that_somebody_of_a_higher_epoch_holds_fences_this_opening() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    run.grant(FIRST, &own).patience_ends();
    let highest = epoch(7);
    run.step(Event::SetRefused { highest });
    assert_eq!(run.actions, [Action::Fenced { epoch: highest }]);
}

#[test]
fn late_and_repeated_answers_of_the_register_change_nothing() {
    let own = log(3);
    let mut run = Run::claimed(&own, &[FIRST, SECOND]);
    let (set, former) = (vec![FIRST], epoch(2));
    let highest = epoch(9);
    for late in [
        Event::Claimed { set, former },
        Event::ClaimRefused { highest },
        Event::ClaimUnknown,
        Event::ClaimLost { why: String::new() },
        Event::Promised { tail: own.tail() },
        Event::SetChanged,
        Event::SetRefused { highest },
        Event::SetUnknown,
        Event::Synced,
        Event::ChainAt { chain: None },
        Event::Cut { log: None },
        Event::Appended { tail: own.tail() },
    ] {
        run.step(late);
        assert_eq!(run.actions, []);
    }
    run.grant(FIRST, &own).grant(SECOND, &own);
    let chain = Some(own.tail().chain);
    run.step(Event::ChainAt { chain });
    assert_eq!(run.opened().open.members, [FIRST, SECOND]);
    run.step(Event::ChainAt { chain });
    run.patience_ends();
    assert_eq!(run.actions, []);
}
