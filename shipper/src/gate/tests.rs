use super::*;
use kanjo_format::{Chain, ClusterId, Incarnation, NodeId};

const EPOCH: Epoch = Epoch::from_terms(1, 2);

fn member(n: u32) -> Member {
    Member {
        node: NodeId::new(n),
        incarnation: Incarnation::new(u128::from(n)),
    }
}

fn tail(page: u64) -> Tail {
    Tail {
        epoch: EPOCH,
        lsn: Lsn::new(page * 4096),
        chain: Chain::new([page as u8; 32]),
    }
}

/// A protected reign with one member and its `EpochStart` at page 1.
fn gate() -> CommitGate {
    let base = Tail::empty(ClusterId::new(7));
    let mut gate = CommitGate::new(EPOCH, base, Lsn::ZERO, Protection::Waiting);
    gate.add_member(member(2), Lsn::ZERO);
    assert_eq!(gate.set_protection(Protection::Protected), None);
    gate.appended(tail(1));
    gate
}

#[test]
fn nothing_commits_before_both_disks_have_it() {
    let mut gate = gate();
    gate.appended(tail(2));
    assert_eq!(gate.synced(tail(2).lsn), None);
    assert_eq!(gate.acked(member(2), EPOCH, tail(1)), Ok(Some(tail(1).lsn)));
    assert!(gate.is_open());
    assert_eq!(gate.acked(member(2), EPOCH, tail(1)), Ok(None));
    assert_eq!(gate.acked(member(2), EPOCH, tail(2)), Ok(Some(tail(2).lsn)));
    gate.appended(tail(3));
    assert_eq!(gate.acked(member(2), EPOCH, tail(3)), Ok(None));
    assert_eq!(gate.synced(tail(3).lsn), Some(tail(3).lsn));
}

#[test]
fn committed_does_not_move_within_the_base_before_the_epoch_start() {
    let base = tail(5);
    let mut gate = CommitGate::new(EPOCH, base, Lsn::ZERO, Protection::Waiting);
    gate.add_member(member(2), base.lsn);
    gate.set_protection(Protection::Protected);
    assert_eq!(gate.synced(base.lsn), None);
    gate.appended(tail(6));
    assert_eq!(gate.acked(member(2), EPOCH, base), Ok(None));
    assert_eq!(gate.synced(tail(6).lsn), None);
    assert_eq!(gate.acked(member(2), EPOCH, tail(6)), Ok(Some(tail(6).lsn)));
}

#[test]
fn an_ack_with_another_content_never_counts() {
    let mut gate = gate();
    gate.synced(tail(1).lsn);
    let other = Tail {
        chain: Chain::new([9; 32]),
        ..tail(1)
    };
    assert!(gate.acked(member(2), EPOCH, other).is_err());
    assert!(gate.acked(member(2), EPOCH, tail(2)).is_err());
    let lower = Epoch::from_terms(1, 1);
    assert!(gate.acked(member(2), lower, tail(1)).is_err());
    assert_eq!(gate.acked(member(3), EPOCH, tail(1)), Ok(None));
    let wiped = Member {
        incarnation: Incarnation::new(99),
        ..member(2)
    };
    assert_eq!(gate.acked(wiped, EPOCH, tail(1)), Ok(None));
    assert_eq!(gate.committed(), Lsn::ZERO);
}

#[test]
fn a_new_member_is_waited_for_at_once_and_marked_when_it_has_all_that_is_committed() {
    let base = Tail::empty(ClusterId::new(7));
    let mut gate = CommitGate::new(EPOCH, base, Lsn::ZERO, Protection::Alone);
    for page in 1..=3 {
        gate.appended(tail(page));
        gate.synced(tail(page).lsn);
    }
    assert_eq!(gate.committed(), tail(3).lsn);
    gate.add_member(member(2), tail(2).lsn);
    assert!(!gate.covers(member(2)));
    gate.appended(tail(4));
    assert_eq!(gate.synced(tail(4).lsn), None);
    assert_eq!(gate.acked(member(2), EPOCH, tail(3)), Ok(None));
    assert!(gate.covers(member(2)));
    assert_eq!(gate.set_protection(Protection::Protected), None);
    assert_eq!(gate.acked(member(2), EPOCH, tail(4)), Ok(Some(tail(4).lsn)));
}

#[test]
fn a_read_waits_for_an_exchange_that_began_after_it_arrived() {
    let mut gate = gate();
    gate.synced(tail(1).lsn);
    let early = gate.read_arrived();
    assert!(gate.readable() < early);
    gate.acked(member(2), EPOCH, tail(1)).unwrap();
    let late = gate.read_arrived();
    gate.read_ok(member(2), EPOCH, early);
    assert_eq!(gate.readable(), early);
    gate.read_ok(member(2), Epoch::from_terms(1, 1), late);
    gate.read_ok(member(3), EPOCH, late);
    assert_eq!(gate.readable(), early);
    gate.read_ok(member(2), EPOCH, late);
    assert_eq!(gate.readable(), late);
}

#[test]
fn a_reign_without_a_set_commits_and_answers_nothing_unless_it_is_alone() {
    let base = Tail::empty(ClusterId::new(7));
    let mut gate = CommitGate::new(EPOCH, base, Lsn::ZERO, Protection::Waiting);
    gate.appended(tail(1));
    assert_eq!(gate.synced(tail(1).lsn), None);
    let read = gate.read_arrived();
    assert!(gate.readable() < read);
    assert_eq!(gate.set_protection(Protection::Alone), Some(tail(1).lsn));
    assert_eq!(gate.readable(), read);
}
