use kanjo_format::{ClusterId, Incarnation, NodeId, OpeningId};
use kanjo_group::register::{Authority, Move, Reign, Third};

use super::*;

const CLUSTER: ClusterId = ClusterId::new(7);
const ME: SetMember = SetMember {
    node: NodeId::new(3),
    incarnation: Incarnation::new(3),
};
const OTHER: SetMember = SetMember {
    node: NodeId::new(4),
    incarnation: Incarnation::new(4),
};

fn third() -> Third {
    Third::new(CLUSTER, Incarnation::new(20))
}

fn nominate(register: &mut Register, who: SetMember) -> Reply {
    let command = Command::Nominate {
        replaces: register.nominee.map_or(0, |nominee| nominee.number),
        node: who.node,
        incarnation: who.incarnation,
    };
    let outcome = register.apply(&command);
    Reply::Outcome { outcome }
}

/// Site 1 is active; this server is of site 2, whose register holds the authority.
fn taking_over(third: &Third) -> (Register, Clearing) {
    let mut register = Register::new(CLUSTER, Site::Two);
    register.reign.third = Some(third.mark);
    nominate(&mut register, ME);
    let clearing = Clearing::new((ME, Site::Two), (WasRead::of(&register), true), None, 1);
    (register, clearing)
}

fn carried_out(register: &mut Register, clearing: &Clearing) -> Reply {
    let (Next::Nominate(command) | Next::Insist(command)) = clearing.next() else {
        panic!("{clearing:?}");
    };
    let outcome = register.apply(&command);
    Reply::Outcome { outcome }
}

#[test]
fn who_takes_over_is_nominated_anew_and_needs_the_word() {
    let mut third = third();
    let follows = third.mark;
    let (mut register, mut clearing) = taking_over(&third);
    let reply = carried_out(&mut register, &clearing);
    let site = Site::Two;
    assert_eq!(
        clearing.register_said(&reply),
        Next::AskThird(ThirdQuestion::Decide { follows, site })
    );
    let other = ThirdReply::Stands {
        third: third.clone(),
    };
    assert!(
        matches!(clearing.third_said(other), Next::AskThird(_)),
        "how it stands is no word"
    );
    third.decide(follows, site).unwrap();
    let cleared = Cleared {
        nomination: 2,
        mark: Some(third.mark),
    };
    assert_eq!(
        clearing.third_said(ThirdReply::Stands { third }),
        Next::Claim(cleared)
    );
    assert_eq!(clearing.next(), Next::Claim(cleared), "asked again");
}

#[test]
fn without_the_word_nobody_takes_over() {
    let (mut register, mut clearing) = taking_over(&third());
    let reply = carried_out(&mut register, &clearing);
    clearing.register_said(&reply);
    let why = String::new();
    let silent = clearing.third_said(ThirdReply::Silent { why });
    assert!(matches!(silent, Next::Lost(_)));
    let mut other = third();
    other.decide(third().mark, Site::One).unwrap();
    let why = other.decide(third().mark, Site::Two).unwrap_err();
    let refused = clearing.third_said(ThirdReply::Refused { why });
    assert!(matches!(refused, Next::Lost(why) if why.contains("site 1")));
}

#[test]
fn a_server_whose_cluster_file_lacks_the_third_witness_takes_over_from_no_epoch_that_noted_it() {
    let (mut register, _) = taking_over(&third());
    let read = WasRead::of(&register);
    let mut clearing = Clearing::new((ME, Site::Two), (read, false), None, 1);
    let reply = carried_out(&mut register, &clearing);
    let next = clearing.register_said(&reply);
    assert!(matches!(next, Next::Lost(why) if why.contains("cluster file")));
}

#[test]
fn an_operator_may_take_over_without_the_word_and_against_it_only_if_he_says_so() {
    let (mut register, _) = taking_over(&third());
    let read = WasRead::of(&register);
    let mut said_no = third();
    said_no.decide(third().mark, Site::One).unwrap();
    let silent = ThirdReply::Silent { why: String::new() };
    let no = ThirdReply::Stands { third: said_no };
    for (against_word, reply, may) in [
        (false, silent, true),
        (false, no.clone(), false),
        (true, no, true),
    ] {
        let insistence = Insistence {
            evidence: Evidence::Operator {
                operator: "a test".into(),
                reason: "burnt down".into(),
            },
            against_word,
        };
        let number = register.nominee.map_or(0, |nominee| nominee.number);
        let mut clearing = Clearing::new((ME, Site::Two), (read, true), Some(insistence), number);
        let nominated = carried_out(&mut register, &clearing);
        assert_eq!(
            clearing.register_said(&nominated),
            Next::AskThird(ThirdQuestion::Read)
        );
        let next = clearing.third_said(reply);
        if !may {
            assert!(matches!(next, Next::Lost(why) if why.contains("heard")));
            continue;
        }
        assert!(matches!(next, Next::Insist(_)), "{next:?}");
        let before = register.holding();
        let insisted = carried_out(&mut register, &clearing);
        assert!(matches!(clearing.register_said(&insisted), Next::Claim(_)));
        assert_eq!(register.holding(), before + 2, "more than a seizure's");
    }
}

#[test]
fn a_silent_witness_keeps_nobody_of_the_active_site_from_opening() {
    let mut own = Register::new(CLUSTER, Site::One);
    let mut other = Register::new(CLUSTER, Site::Two);
    other.reign.third = Some(third().mark);
    nominate(&mut own, ME);
    let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), None, 1);
    let reply = carried_out(&mut own, &clearing);
    assert_eq!(
        clearing.register_said(&reply),
        Next::AskThird(ThirdQuestion::Read)
    );
    let why = String::new();
    let next = clearing.third_said(ThirdReply::Silent { why });
    assert!(matches!(next, Next::Claim(Cleared { mark: None, .. })));
}

#[test]
fn a_site_whose_register_seized_opens_nothing_at_the_other_one() {
    let mut own = Register::new(CLUSTER, Site::One);
    nominate(&mut own, ME);
    let other = Register::new(CLUSTER, Site::Two);
    let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), None, 1);
    let seize = Command::Seize {
        follows: 1,
        nomination: Some(1),
        reign: Reign {
            epoch: Epoch::from_terms(1, 1),
            ..own.reign.clone()
        },
        set: vec![OTHER],
        evidence: Evidence::ThirdWitness { mark: third().mark },
    };
    own.apply(&seize);
    let reply = carried_out(&mut own, &clearing);
    assert!(matches!(clearing.register_said(&reply), Next::Lost(_)));
}

#[test]
fn a_server_that_is_nominee_no_more_opens_nothing() {
    let (mut register, mut clearing) = taking_over(&third());
    nominate(&mut register, OTHER);
    let reply = carried_out(&mut register, &clearing);
    assert!(matches!(clearing.register_said(&reply), Next::Lost(_)));
}

#[test]
fn without_a_third_witness_the_nomination_is_enough() {
    let mut own = Register::new(CLUSTER, Site::One);
    nominate(&mut own, ME);
    let read = WasRead::of(&Register::new(CLUSTER, Site::Two));
    let mut clearing = Clearing::new((ME, Site::One), (read, false), None, 1);
    let reply = carried_out(&mut own, &clearing);
    let next = clearing.register_said(&reply);
    assert!(matches!(next, Next::Claim(Cleared { mark: None, .. })));
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again() {
    let (mut register, mut clearing) = taking_over(&third());
    let lost = || Reply::Unknown { why: String::new() };
    let asked = clearing.next();
    assert!(matches!(
        asked,
        Next::Nominate(Command::Nominate { replaces: 1, .. })
    ));
    assert_eq!(clearing.register_said(&lost()), asked);
    // The first copy arrived, and so did another nomination of this server.
    carried_out(&mut register, &clearing);
    nominate(&mut register, ME);
    let reply = carried_out(&mut register, &clearing);
    assert!(matches!(
        clearing.register_said(&reply),
        Next::Nominate(Command::Nominate { replaces: 3, .. })
    ));
}

fn claimed(register: &mut Register, epoch: Epoch, opening: OpeningId) {
    let claim = Command::Claim {
        expected: register.reign.epoch,
        reign: Reign {
            epoch,
            opening,
            address: String::new(),
            third: None,
        },
    };
    assert!(matches!(register.apply(&claim), Outcome::Done(_)));
}

#[test]
fn a_change_of_the_writer_is_planned_only_if_the_authority_came_for_it() {
    let [mut first, mut second] = [Site::One, Site::Two].map(|site| Register::new(CLUSTER, site));
    let opening = OpeningId::default();
    let fresh = WasRead::of(&second);
    assert!(!fresh.is_taken_over_by(Site::One) && !fresh.is_planned_for(Site::One));
    let epoch = Epoch::from_terms(1, 1);
    claimed(&mut second, epoch, opening);
    let lost = WasRead::of(&second);
    assert!(lost.is_taken_over_by(Site::Two) && !lost.is_planned_for(Site::Two));
    let plan = Move {
        epoch,
        number: 1,
        opening,
        set: vec![ME],
        active: Site::Two,
    };
    let prepare = Command::Prepare { plan: plan.clone() };
    assert!(matches!(first.apply(&prepare), Outcome::Done(_)));
    let hand_over = Command::HandOver { plan };
    let Outcome::Done(source) = second.apply(&hand_over) else {
        panic!("it is handed over");
    };
    let Authority::HandedOver(certificate) = source.authority else {
        panic!("{source:?}");
    };
    let activate = Command::Activate(certificate);
    assert!(matches!(first.apply(&activate), Outcome::Done(_)));
    let came = WasRead::of(&first);
    assert!(came.is_planned_for(Site::Two));
    assert!(!came.is_planned_for(Site::One), "within the site");
    // From then on only a further plan makes a change a planned one.
    claimed(&mut first, Epoch::from_terms(2, 1), opening);
    let reads = WasRead::of(&first);
    assert!(reads.is_taken_over_by(Site::One) && !reads.is_planned_for(Site::One));
    assert!(!reads.is_planned_for(Site::Two));
}
