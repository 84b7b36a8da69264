use super::*;

fn member(node: u32) -> SetMember {
    SetMember {
        node: NodeId::new(node),
        incarnation: Incarnation::new(u128::from(node) << 64 | 1),
    }
}

fn reign(site_term: u32, local_term: u32, node: u32) -> Reign {
    Reign {
        epoch: Epoch::from_terms(site_term, local_term),
        opening: OpeningId {
            node: NodeId::new(node),
            incarnation: member(node).incarnation,
            random: u128::from(local_term),
        },
        address: format!("host-{node}:7000"),
        third: None,
    }
}

fn both() -> (Register, Register) {
    let cluster = ClusterId::new(7);
    (
        Register::new(cluster, Site::One),
        Register::new(cluster, Site::Two),
    )
}

fn claim(expected: Epoch, reign: &Reign) -> Command {
    let reign = reign.clone();
    Command::Claim { expected, reign }
}

fn change(reign: &Reign, (follows, expected): (u64, &[SetMember]), set: &[SetMember]) -> Command {
    Command::ChangeSet {
        epoch: reign.epoch,
        opening: reign.opening,
        follows,
        expected: expected.to_vec(),
        set: set.to_vec(),
        protection: Protection::Protected,
    }
}

fn done(register: &mut Register, command: &Command) {
    let outcome = register.apply(command);
    assert!(
        matches!(outcome, Outcome::Done(_)),
        "{command:?}: {outcome:?}"
    );
    let version = register.version;
    let again = register.apply(command);
    assert!(matches!(again, Outcome::Done(_)), "{command:?}: {again:?}");
    assert_eq!(register.version, version, "the same twice changes nothing");
}

fn refused(register: &mut Register, command: &Command) -> Refusal {
    let before = register.clone();
    match register.apply(command) {
        Outcome::Refused { why, .. } => {
            assert_eq!(*register, before, "a refusal changes nothing");
            why
        }
        Outcome::Done(_) => panic!("{command:?} was done"),
    }
}

#[test]
fn an_epoch_belongs_to_one_opening() {
    let (mut one, mut two) = both();
    let (first, other) = (reign(1, 1, 1), reign(1, 1, 2));
    assert!(matches!(
        refused(&mut one, &claim(Epoch::NONE, &first)),
        Refusal::NotHeld { .. }
    ));
    done(&mut two, &claim(Epoch::NONE, &first));
    refused(&mut two, &claim(Epoch::NONE, &other));
    refused(&mut two, &claim(first.epoch, &other));
    done(&mut two, &claim(first.epoch, &reign(1, 2, 2)));
    refused(&mut two, &claim(first.epoch, &reign(1, 3, 1)));
}

#[test]
fn a_lower_epoch_changes_no_set() {
    let (_, mut two) = both();
    let (old, new) = (reign(1, 1, 1), reign(1, 2, 2));
    done(&mut two, &claim(Epoch::NONE, &old));
    done(&mut two, &change(&old, (0, &[]), &[member(3), member(4)]));
    done(&mut two, &claim(old.epoch, &new));
    assert_eq!(
        two.set,
        [member(3), member(4)],
        "the set outlives the reign"
    );
    refused(
        &mut two,
        &change(&old, (1, &[member(3), member(4)]), &[member(3)]),
    );
    done(
        &mut two,
        &change(&new, (1, &[member(3), member(4)]), &[member(4)]),
    );
}

#[test]
fn a_set_is_changed_from_the_one_that_was_expected_and_is_never_empty() {
    let (_, mut two) = both();
    let writer = reign(1, 1, 1);
    done(&mut two, &claim(Epoch::NONE, &writer));
    done(&mut two, &change(&writer, (0, &[]), &[member(3)]));
    assert_eq!(
        refused(
            &mut two,
            &change(&writer, (1, &[member(4)]), &[member(3), member(4)])
        ),
        Refusal::Set
    );
    assert_eq!(
        refused(&mut two, &change(&writer, (1, &[member(3)]), &[])),
        Refusal::SetSize
    );
    assert_eq!(
        refused(
            &mut two,
            &change(&writer, (1, &[member(3)]), &[member(3), member(3)])
        ),
        Refusal::SetSize
    );
}

/// The writer asked to take 4 in, heard nothing, asked again and was answered; it dropped 4
/// later, answered without it, and then the first copy of its question arrives.
#[test]
fn a_late_copy_of_a_change_is_not_carried_out_after_a_later_one() {
    let (_, mut two) = both();
    let writer = reign(1, 1, 1);
    let (small, large) = ([member(3)], [member(3), member(4)]);
    done(&mut two, &claim(Epoch::NONE, &writer));
    done(&mut two, &change(&writer, (0, &[]), &small));
    let grow = change(&writer, (1, &small), &large);
    done(&mut two, &grow);
    done(&mut two, &change(&writer, (2, &large), &small));
    assert_eq!(refused(&mut two, &grow), Refusal::Set);
    assert_eq!(two.set, small);
}

fn plan(writer: &Reign, number: u64, set: &[SetMember]) -> Move {
    Move {
        epoch: writer.epoch,
        number,
        opening: writer.opening,
        set: set.to_vec(),
        active: Site::Two,
    }
}

#[test]
fn authority_moves_once_and_only_with_the_certificate() {
    let (mut one, mut two) = both();
    let writer = reign(1, 1, 1);
    done(&mut two, &claim(Epoch::NONE, &writer));
    done(
        &mut two,
        &change(&writer, (0, &[]), &[member(3), member(4)]),
    );
    let plan = plan(&writer, 1, &[member(1), member(2)]);
    done(&mut one, &Command::Prepare { plan: plan.clone() });
    assert!(!one.holds_authority());
    done(&mut two, &Command::HandOver { plan: plan.clone() });
    assert!(!two.holds_authority());
    let Authority::HandedOver(certificate) = two.authority.clone() else {
        panic!("handed over");
    };
    refused(&mut two, &claim(writer.epoch, &reign(2, 1, 3)));
    let set = two.set.clone();
    refused(&mut two, &change(&writer, (1, &set), &[member(3)]));
    refused(&mut two, &Command::Activate(certificate.clone()));
    done(&mut one, &Command::Activate(certificate.clone()));
    assert!(one.holds_authority());
    assert_eq!(one.set, [member(1), member(2)]);
    assert_eq!(one.reign, writer);
    // Back again; the first certificate is worth nothing any more.
    let next = reign(2, 1, 3);
    done(&mut one, &claim(writer.epoch, &next));
    let back = Move {
        active: Site::One,
        ..self::plan(&next, 1, &[member(3), member(4)])
    };
    done(&mut two, &Command::Prepare { plan: back.clone() });
    done(&mut one, &Command::HandOver { plan: back });
    refused(&mut one, &Command::Activate(certificate));
}

/// One writer has its authority moved to a site that came back, and away again in a planned switch.
#[test]
fn a_late_copy_of_a_hand_over_does_not_take_the_authority_away_again() {
    let (mut one, mut two) = both();
    let writer = reign(2, 1, 3);
    done(&mut two, &claim(Epoch::NONE, &writer));
    let there = plan(&writer, 1, &[member(1)]);
    let back = plan(&writer, 2, &[member(3)]);
    let first = Command::HandOver {
        plan: there.clone(),
    };
    carry(&there, &mut two, &mut one);
    carry(&back, &mut one, &mut two);
    assert_eq!(refused(&mut two, &first), Refusal::Move);
    assert!(two.holds_authority());
}

fn carry(plan: &Move, from: &mut Register, to: &mut Register) {
    done(to, &Command::Prepare { plan: plan.clone() });
    done(from, &Command::HandOver { plan: plan.clone() });
    let Authority::HandedOver(certificate) = from.authority.clone() else {
        panic!("handed over");
    };
    done(to, &Command::Activate(certificate));
}

#[test]
fn an_old_plan_does_not_replace_a_newer_one() {
    let (mut one, _) = both();
    let writer = reign(1, 1, 1);
    let (first, second) = (
        plan(&writer, 1, &[member(1)]),
        plan(&writer, 2, &[member(1), member(2)]),
    );
    done(&mut one, &Command::Prepare { plan: second });
    assert_eq!(
        refused(&mut one, &Command::Prepare { plan: first }),
        Refusal::Move
    );
}

#[test]
fn a_seized_authority_ends_the_holding_that_it_follows() {
    let (mut one, mut two) = both();
    let writer = reign(1, 1, 1);
    done(&mut two, &claim(Epoch::NONE, &writer));
    let seize = Command::Seize {
        follows: two.holding(),
        nomination: None,
        reign: writer.clone(),
        set: vec![member(1)],
        evidence: Evidence::Operator {
            operator: "ops".into(),
            reason: "site 2 burnt down".into(),
        },
    };
    done(&mut one, &seize);
    assert!(one.holds_authority());
    done(
        &mut two,
        &Command::Concede {
            holding: one.holding(),
        },
    );
    assert!(!two.holds_authority());
    let holding = one.holding();
    refused(&mut one, &Command::Concede { holding });
}

/// Between the third witness's word and the seizure another server of the site is nominated: it
/// may have read that the authority is elsewhere, and opens an epoch there.
#[test]
fn only_who_was_nominated_last_seizes_by_the_third_witness() {
    let (mut one, mut two) = both();
    let writer = reign(1, 1, 1);
    done(&mut two, &claim(Epoch::NONE, &writer));
    let nominate = |replaces, node| Command::Nominate {
        replaces,
        node: NodeId::new(node),
        incarnation: member(node).incarnation,
    };
    let third = Third::new(ClusterId::new(7), Incarnation::new(1));
    let seize = |nomination| Command::Seize {
        follows: 1,
        nomination: Some(nomination),
        reign: writer.clone(),
        set: vec![member(1)],
        evidence: Evidence::ThirdWitness { mark: third.mark },
    };
    done(&mut one, &nominate(0, 1));
    done(&mut one, &nominate(1, 2));
    assert!(matches!(
        refused(&mut one, &seize(1)),
        Refusal::Nomination { .. }
    ));
    done(&mut one, &nominate(2, 1));
    done(&mut one, &seize(3));
    done(&mut one, &nominate(3, 2));
    done(&mut one, &seize(3));
    assert!(one.holds_authority());
}

#[test]
fn a_nomination_replaces_the_one_that_was_seen() {
    let (mut one, _) = both();
    let nominate = |replaces, node| Command::Nominate {
        replaces,
        node: NodeId::new(node),
        incarnation: member(node).incarnation,
    };
    done(&mut one, &nominate(0, 1));
    refused(&mut one, &nominate(0, 2));
    done(&mut one, &nominate(1, 2));
    assert_eq!(one.nominee.unwrap().number, 2);
}

#[test]
fn a_record_stands_in_json_and_comes_back_the_same() {
    let (_, mut two) = both();
    let writer = reign(1, 1, 1);
    done(&mut two, &claim(Epoch::NONE, &writer));
    done(&mut two, &change(&writer, (0, &[]), &[member(3)]));
    let text = serde_json::to_string(&two).unwrap();
    assert_eq!(serde_json::from_str::<Register>(&text).unwrap(), two);
}

#[test]
fn a_certificate_of_before_it_told_of_plans_is_read_and_written_as_it_was() {
    let opening = serde_json::to_value(reign(2, 1, 3).opening).unwrap();
    let base = serde_json::to_value(Tail::empty(ClusterId::new(7))).unwrap();
    let written = serde_json::json!({
        "cluster": ClusterId::new(7), "fenced": Epoch::from_terms(1, 1), "opened": Epoch::from_terms(2, 1),
        "opening": opening, "base": base, "grants": [], "at_ms": 5,
    });
    let read: FenceCertificate = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(read.planned, None);
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
    let told = FenceCertificate {
        planned: Some(false),
        ..read
    };
    assert_eq!(serde_json::to_value(&told).unwrap()["planned"], false);
}
