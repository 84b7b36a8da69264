use kanjo_format::{ClusterId, Incarnation, NodeId};
use kanjo_group::register::Reign;

use super::*;

const fn server(node: u32) -> SetMember {
    SetMember {
        node: NodeId::new(node),
        incarnation: Incarnation::new(node as u128),
    }
}

const ME: SetMember = server(1);
const STANDBY: SetMember = server(2);
const FIRST: SetMember = server(3);
const SECOND: SetMember = server(4);

fn opening() -> OpeningId {
    OpeningId {
        node: ME.node,
        incarnation: ME.incarnation,
        random: 7,
    }
}

const fn epoch() -> Epoch {
    Epoch::from_terms(1, 1)
}

/// Both registers, of which site 2's holds the authority and knows this writer.
fn registers(set: &[SetMember]) -> [Register; 2] {
    let mut both = [Site::One, Site::Two].map(|site| Register::new(ClusterId::new(7), site));
    let reign = Reign {
        epoch: epoch(),
        opening: opening(),
        address: "here".into(),
        third: None,
    };
    let claim = Command::Claim {
        expected: Epoch::NONE,
        reign,
    };
    assert!(matches!(both[1].apply(&claim), Outcome::Done(_)));
    both[1].set = set.to_vec();
    both
}

fn membership(authority: Site, set: &[SetMember]) -> Membership {
    Membership::new(
        (epoch(), opening()),
        (ME, Site::One),
        (authority, set.to_vec(), 0),
        1,
    )
}

fn present(member: SetMember) -> PeerNow {
    PeerNow {
        member,
        site: match member.node.get() {
            1 | 2 => Site::One,
            _ => Site::Two,
        },
        in_gate: true,
        marked: true,
        away: None,
        has_all: true,
    }
}

fn away(member: SetMember) -> PeerNow {
    PeerNow {
        away: Some(Duration::from_secs(1)),
        ..present(member)
    }
}

/// Carries questions to the registers until nothing is asked any more; gives all acts.
fn settle(
    membership: &mut Membership,
    registers: &mut [Register; 2],
    act: Option<Act>,
) -> Vec<Act> {
    let mut done = Vec::new();
    let mut todo: Vec<Act> = act.into_iter().collect();
    while !todo.is_empty() {
        let act = todo.remove(0);
        if let Act::Ask(site, command) = &act {
            let register = &mut registers[usize::from(site.number()) - 1];
            let outcome = register.apply(command);
            todo.extend(membership.reply(Reply::Outcome { outcome }));
        }
        done.push(act);
    }
    done
}

#[test]
fn a_server_of_the_other_site_is_taken_in_and_the_standby_is_not() {
    let mut both = registers(&[]);
    let mut membership = membership(Site::Two, &[]);
    assert!(membership.takes_in(Site::Two) && !membership.takes_in(Site::One));
    let peers = [present(STANDBY), present(FIRST), present(SECOND)];
    let act = membership.step(&peers, true);
    let acts = settle(&mut membership, &mut both, act);
    assert!(acts.contains(&Act::Joined(FIRST)) && acts.contains(&Act::Joined(SECOND)));
    assert_eq!(both[1].set, [FIRST, SECOND]);
    assert_eq!(both[1].protection, Protection::Protected);
    assert_eq!(membership.step(&peers, true), None, "nothing is left to do");
}

#[test]
fn a_member_that_is_away_is_dropped_from_the_register_before_from_the_gate() {
    let mut both = registers(&[FIRST, SECOND]);
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let peers = [present(FIRST), away(SECOND)];
    let act = membership.step(&peers, true);
    assert!(matches!(act, Some(Act::Ask(Site::Two, _))), "{act:?}");
    let acts = settle(&mut membership, &mut both, act);
    assert_eq!(acts.last(), Some(&Act::Drop(SECOND)));
    assert_eq!(both[1].set, [FIRST]);
}

#[test]
fn the_last_member_is_never_dropped() {
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let act = membership.step(&[away(FIRST), away(SECOND)], true);
    assert!(
        !matches!(&act, Some(Act::Ask(_, Command::ChangeSet { set, .. })) if set.len() < 2),
        "{act:?}"
    );
}

#[test]
fn an_unknown_answer_is_asked_again_and_nothing_else_is() {
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let peers = [present(FIRST), away(SECOND)];
    let Some(Act::Ask(site, command)) = membership.step(&peers, true) else {
        panic!("asks");
    };
    let why = "the answer was lost".to_owned();
    assert_eq!(membership.reply(Reply::Unknown { why }), []);
    assert_eq!(membership.ask_again(), Some((site, command)));
    assert_eq!(membership.step(&peers, true), None);
}

#[test]
fn a_site_that_came_back_gets_the_authority_and_the_own_site_leaves_the_set() {
    let mut both = registers(&[STANDBY]);
    // One site only: this site's register holds the authority.
    let mut own = both[1].clone();
    own.site = Site::One;
    let mut away_register = Register::new(ClusterId::new(7), Site::Two);
    away_register.authority = Authority::Inactive { holding: 1 };
    both = [own, away_register];
    let mut membership = membership(Site::One, &[STANDBY]);
    assert!(membership.takes_in(Site::One) && membership.takes_in(Site::Two));
    let peers = [present(STANDBY), present(FIRST), present(SECOND)];
    assert!(
        !matches!(
            membership.step(&peers, false),
            Some(Act::Ask(_, Command::Prepare { .. }))
        ),
        "not while that register has no majority"
    );
    membership.asked = None;
    let act = membership.step(&peers, true);
    let acts = settle(&mut membership, &mut both, act);
    assert!(membership.is_attached());
    assert!(acts.contains(&Act::Drop(STANDBY)) && acts.contains(&Act::Joined(FIRST)));
    assert!(!both[0].holds_authority() && both[1].holds_authority());
    let act = membership.step(&peers, true);
    settle(&mut membership, &mut both, act);
    assert_eq!(both[1].protection, Protection::Protected);
}

#[test]
fn a_planned_switch_leaves_the_authority_where_the_next_writer_looks_for_it() {
    let mut both = registers(&[FIRST, SECOND]);
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let act = membership.switch_away(vec![ME, STANDBY]).unwrap();
    let acts = settle(&mut membership, &mut both, Some(act));
    assert_eq!(acts.last(), Some(&Act::SwitchedAway));
    assert!(both[0].holds_authority());
    assert_eq!(
        (both[0].active, &both[0].set[..]),
        (Site::Two, &[ME, STANDBY][..])
    );
    assert!(
        !membership.takes_in(Site::One) && !membership.takes_in(Site::Two),
        "a record behind the last answer would cost the former writer its memory"
    );
    assert_eq!(
        membership.step(&[present(FIRST)], true),
        None,
        "the reign is over"
    );
}

#[test]
fn a_switch_that_cannot_be_prepared_changes_nothing() {
    let mut membership = membership(Site::Two, &[FIRST]);
    membership.switch_away(vec![ME]).unwrap();
    let why = "no majority".to_owned();
    let acts = membership.reply(Reply::Unreachable { why });
    assert!(matches!(acts[..], [Act::NotSwitched(_)]), "{acts:?}");
    assert!(membership.is_settled());
}

#[test]
fn a_destination_that_changes_its_leader_is_asked_again_and_not_for_ever() {
    let mut membership = membership(Site::Two, &[FIRST]);
    let act = membership.switch_away(vec![ME]).unwrap();
    let unknown = || Reply::Unknown {
        why: "it is being elected".to_owned(),
    };
    for _ in 0..3 {
        assert_eq!(membership.reply(unknown()), []);
        let (site, command) = membership.ask_again().unwrap();
        assert_eq!(Act::Ask(site, command), act);
    }
    let acts = membership.reply(unknown());
    assert!(matches!(acts[..], [Act::NotSwitched(_)]), "{acts:?}");
    assert!(membership.is_settled());
}

/// What an operator says to a writer that is the only member already: after a take-over with one
/// server left, after a restart, or after the time of the word before.
#[test]
fn the_only_member_of_a_set_goes_on_alone_by_a_word() {
    let mut both = registers(&[]);
    both[0].authority = both[1].authority.clone();
    both[0].reign = both[1].reign.clone();
    both[0].set = vec![ME];
    let mut membership = membership(Site::One, &[ME]);
    assert_eq!(membership.step(&[], false), None, "waits");
    let degraded = Degraded {
        reason: "site 2 burnt down".into(),
        operator: "a test".into(),
        since_ms: 1,
        until_ms: 2,
    };
    let act = membership.leave_behind(degraded).unwrap();
    let acts = settle(&mut membership, &mut both, Some(act));
    assert_eq!(acts.last(), Some(&Act::GoAlone));
    assert!(matches!(both[0].protection, Protection::Degraded(_)));
}

/// A seizure that was taken for lost, and came about: the other register has conceded.
#[test]
fn a_writer_whose_register_has_given_the_authority_up_is_passed() {
    let mut both = registers(&[FIRST, SECOND]);
    both[1].authority = Authority::Inactive { holding: 2 };
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let peers = [present(FIRST), away(SECOND)];
    let act = membership.step(&peers, true);
    settle(&mut membership, &mut both, act);
    assert!(membership.is_passed());
    assert_eq!(membership.step(&peers, true), None);
}

#[test]
fn a_writer_that_was_superseded_changes_no_set() {
    let mut both = registers(&[FIRST, SECOND]);
    let next = Reign {
        epoch: Epoch::from_terms(1, 2),
        opening: OpeningId {
            random: 8,
            ..opening()
        },
        address: "there".into(),
        third: None,
    };
    both[1].apply(&Command::Claim {
        expected: epoch(),
        reign: next,
    });
    let mut membership = membership(Site::Two, &[FIRST, SECOND]);
    let peers = [present(FIRST), away(SECOND)];
    let act = membership.step(&peers, true);
    let acts = settle(&mut membership, &mut both, act);
    assert!(
        !acts.iter().any(|act| matches!(act, Act::Drop(_))),
        "{acts:?}"
    );
    assert_eq!(both[1].set, [FIRST, SECOND]);
    assert_eq!(membership.step(&peers, true), None);
}
