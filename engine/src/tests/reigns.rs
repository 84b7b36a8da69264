//! What the log says of its own writers.

use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::{Epoch, Incarnation, LedgerId, NodeId, OpeningId};

use super::desk::{Desk, Request, account, chain, transfer};
use crate::{ReignError, ReignState};

fn opening(random: u128) -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: Incarnation::new(2),
        random,
    }
}

fn start(desk: &mut Desk, protection: Protection) {
    if !desk.ledger.reign().epochs.is_empty() {
        let next = desk.epoch.local_term() + 1;
        desk.epoch = Epoch::from_terms(1, next);
    }
    let row = ReignRow::new(opening(9), desk.tail, protection).with_reason("because");
    desk.reign(RecordKind::EpochStart, row);
}

fn change(desk: &mut Desk, protection: Protection) {
    let row = ReignRow::new(opening(9), desk.tail, protection)
        .with_member(NodeId::new(3), Incarnation::new(4));
    desk.reign(RecordKind::SetChange, row);
}

fn post(desk: &mut Desk, id: u128, amount: u128) {
    assert_eq!(desk.transfer(transfer(id, 1, 2, amount)), u32::MAX);
}

fn unprotected(desk: &Desk) -> (u64, Option<u128>) {
    let unprotected = &desk.ledger.reign().unprotected;
    let amount = unprotected.amounts.get(&LedgerId::new(1));
    (unprotected.count, amount.and_then(|a| a.narrow()))
}

#[test]
fn transfers_posted_alone_are_counted_until_the_next_time_alone() {
    let mut desk = Desk::new();
    start(&mut desk, Protection::Protected);
    desk.run(&Request::Accounts(vec![account(1, 1, 0), account(2, 1, 0)]));
    post(&mut desk, 10, 100);
    assert_eq!(unprotected(&desk), (0, None));
    start(&mut desk, Protection::Alone);
    let alone_since = desk.ledger.reign().since;
    post(&mut desk, 11, 7);
    post(&mut desk, 12, 8);
    assert_eq!(unprotected(&desk), (2, Some(15)));
    // A restart while alone goes on counting.
    start(&mut desk, Protection::Waiting);
    start(&mut desk, Protection::Alone);
    post(&mut desk, 13, 1);
    assert_eq!(unprotected(&desk), (3, Some(16)));
    assert_eq!(desk.ledger.reign().unprotected.since, alone_since);
    change(&mut desk, Protection::Protected);
    post(&mut desk, 14, 1);
    assert_eq!(unprotected(&desk), (3, Some(16)));
    let reign = desk.ledger.reign();
    assert_eq!(reign.epochs.len(), 4);
    assert_eq!(reign.epoch(), desk.epoch);
    assert_eq!(reign.members, [(NodeId::new(3), Incarnation::new(4))]);
    change(&mut desk, Protection::Alone);
    assert_eq!(unprotected(&desk), (0, None));
    assert_eq!(desk.replayed().reign(), desk.ledger.reign());
}

#[test]
fn a_reign_that_does_not_follow_is_refused_and_changes_nothing() {
    let mut desk = Desk::new();
    start(&mut desk, Protection::Waiting);
    let state: ReignState = desk.ledger.reign().clone();
    let (tail, epoch) = (desk.tail, desk.epoch);
    let next = Epoch::from_terms(1, 9);
    let good = ReignRow::new(opening(1), tail, Protection::Protected);
    let later = kanjo_format::Tail {
        lsn: tail.lsn.advance(4096),
        epoch,
        chain: chain(0),
    };
    let broken = |change: fn(&mut ReignRow)| {
        let mut row = good;
        change(&mut row);
        row
    };
    type Fits = fn(&ReignError) -> bool;
    let cases: [(RecordKind, Epoch, ReignRow, Fits); 8] = [
        (RecordKind::EpochStart, epoch, good, |e| {
            matches!(e, ReignError::Epoch { .. })
        }),
        (RecordKind::SetChange, next, good, |e| {
            matches!(e, ReignError::Epoch { .. })
        }),
        (
            RecordKind::EpochStart,
            next,
            ReignRow::new(opening(1), later, Protection::Alone),
            |e| matches!(e, ReignError::Base { .. }),
        ),
        (
            RecordKind::EpochStart,
            next,
            broken(|r| r.base_epoch = u64::MAX.into()),
            |e| matches!(e, ReignError::Base { .. }),
        ),
        (
            RecordKind::EpochStart,
            next,
            broken(|r| r.protection = 3),
            |e| matches!(e, ReignError::Protection(3)),
        ),
        (
            RecordKind::EpochStart,
            next,
            broken(|r| r.member_count = 5),
            |e| matches!(e, ReignError::Lengths { .. }),
        ),
        (
            RecordKind::EpochStart,
            next,
            broken(|r| r.reason_bytes = 129),
            |e| matches!(e, ReignError::Lengths { .. }),
        ),
        (
            RecordKind::EpochStart,
            next,
            broken(|r| {
                r.reason_bytes = 1;
                r.reason[0] = 0xff;
            }),
            |e| matches!(e, ReignError::Reason),
        ),
    ];
    for (kind, epoch, row, fits) in cases {
        let mut reign = state.clone();
        let error = reign.apply(kind, epoch, tail.lsn, &row).unwrap_err();
        assert!(fits(&error), "{error}");
        assert_eq!(reign, state);
    }
}
