//! Timeouts: nothing is executed at or after one before its expiry is recorded.

use kanjo_format::client::{AccountFlags, FrameKind, TransferFlags};
use kanjo_format::limits::{BATCH_RECORDS_MAX, REQUEST_EVENTS_MAX};
use kanjo_format::result::CreateTransferResult as T;
use kanjo_format::{Timestamp, TransferId};

use super::desk::{
    Desk, Request, account, assert_same, balances, lookup_account, pending, post, transfer, void,
    with,
};

const SECOND_NS: u64 = 1_000_000_000;

fn furnished() -> Desk {
    let mut desk = Desk::new();
    let accounts = (1..=3).map(|id| account(id, 1, 0));
    desk.run(&Request::Accounts(accounts.collect()));
    desk
}

fn due(desk: &Desk) -> u64 {
    desk.ledger.next_expiry().unwrap().get()
}

#[test]
fn a_pending_transfer_can_be_posted_up_to_the_last_nanosecond() {
    for (early, expected) in [(1, T::Created), (0, T::PendingTransferExpired)] {
        let mut desk = furnished();
        assert_eq!(desk.ends(pending(10, 1, 2, 7, 2)), T::Created);
        assert_eq!(due(&desk), desk.ledger.log_time().get() + 2 * SECOND_NS);
        desk.now = due(&desk) - early;
        assert_eq!(desk.ends(post(11, 10, 7)), expected);
        assert_eq!(desk.ledger.next_expiry(), None);
        let posted = u128::from(early) * 7;
        assert_eq!(balances(&desk, 1), [0, posted, 0, 0]);
        assert_eq!(desk.replayed().digest(), desk.ledger.digest());
    }
}

#[test]
fn an_expired_transfer_stays_expired() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 1)), T::Created);
    desk.now = due(&desk);
    let mut open = desk.open();
    assert!(desk.ledger.expire_due(&mut open));
    assert_eq!(open.record_count(), 1);
    desk.finish(open);
    for id in [11, 12] {
        assert_eq!(desk.ends(void(id, 10)), T::PendingTransferExpired);
    }
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 1)), T::Exists);
    desk.ledger = desk.replayed();
    assert_eq!(desk.ends(post(13, 10, 7)), T::PendingTransferExpired);
    desk.ledger.audit().unwrap();
}

#[test]
fn an_expiry_opens_the_account_that_its_transfer_closed() {
    let mut desk = furnished();
    let closing = with(pending(10, 1, 2, 0, 1), TransferFlags::CLOSING_DEBIT);
    assert_eq!(desk.ends(closing), T::Created);
    let flags = |desk: &Desk| lookup_account(&desk.ledger, 1).unwrap().flags.get();
    assert_eq!(flags(&desk), AccountFlags::CLOSED);
    desk.now = due(&desk);
    assert_eq!(desk.ends(transfer(11, 1, 2, 1)), T::Created);
    assert_eq!(flags(&desk), 0);
}

#[test]
fn more_than_a_batch_expires_batch_by_batch() {
    let mut desk = furnished();
    for n in 0..3 {
        let ids = (0..8_000).map(|id| pending(1 + id + n * 8_000, 1, 2, 1, 1));
        desk.run(&Request::Transfers(ids.collect()));
    }
    desk.now += 2 * SECOND_NS;
    let mut open = desk.open();
    assert!(!desk.ledger.expire_due(&mut open));
    assert_eq!(open.record_count(), BATCH_RECORDS_MAX);
    let fits = desk
        .ledger
        .fits_request(&mut open, FrameKind::LookupAccounts, 1);
    assert!(!fits, "a read would see what is due");
    desk.finish(open);
    let mut open = desk.open_for(&Request::Burns(vec![TransferId::new(1)]));
    assert!(open.record_count() > 0);
    assert_eq!(desk.ledger.pending_count(), 0);
    assert!(
        desk.ledger
            .fits_request(&mut open, FrameKind::LookupAccounts, 1)
    );
    desk.finish(open);
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &[1, 2, 3]);
    assert_eq!(balances(&desk, 1), [0; 4]);
}

#[test]
fn a_request_does_not_reach_over_a_due_time() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 1)), T::Created);
    let due = due(&desk);
    desk.now = due - 3;
    let events = |from: u128, count| {
        Request::Transfers(
            (from..from + count)
                .map(|id| transfer(id, 1, 2, 1))
                .collect(),
        )
    };
    // Three fit before it.
    let results = desk.run(&events(20, 3));
    assert_eq!(results[2], (u32::MAX, due - 1));
    assert_eq!(desk.ledger.pending_count(), 1);
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 1)), T::Created);
    desk.now = due - 3;
    // Four do not: the batch begins with the expiry, at its time.
    let results = desk.run(&events(20, 4));
    assert_eq!(results[0], (u32::MAX, due + 1));
    assert_eq!(desk.ledger.pending_count(), 0);
    let mut open = desk.open();
    let fits = desk
        .ledger
        .fits_request(&mut open, FrameKind::CreateTransfers, 8_189);
    assert!(fits);
    desk.finish(open);
}

/// A full request is first in line, and what expires on its way leaves it too little room: it waits
/// for the next batch, and the primary does not stop.
#[test]
fn a_full_request_gives_way_to_what_expires_on_its_way() {
    let mut desk = furnished();
    let pendings = (10..15).map(|id| pending(id, 1, 2, 7, 1)).collect();
    desk.run(&Request::Transfers(pendings));
    desk.now = due(&desk) - 1;
    let (kind, events) = (FrameKind::CreateTransfers, REQUEST_EVENTS_MAX);
    let mut open = desk.open();
    assert!(!desk.ledger.fits_request(&mut open, kind, events));
    assert_eq!(open.record_count(), 5);
    desk.finish(open);
    let mut open = desk.open();
    assert!(desk.ledger.fits_request(&mut open, kind, events));
    desk.finish(open);
    let full = (100..100 + events as u128).map(|id| transfer(id, 1, 2, 1));
    let results = desk.run(&Request::Transfers(full.collect()));
    assert!(results.iter().all(|(result, _)| *result == u32::MAX));
}

#[test]
fn a_timeout_ends_where_log_time_ends() {
    let mut desk = furnished();
    let end: u64 = (1 << 63) - 1;
    desk.now = end - 5 * SECOND_NS;
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 5)), T::Created);
    desk.now += 1;
    assert_eq!(desk.ends(pending(11, 1, 2, 7, 5)), T::OverflowsTimeout);
    assert_eq!(
        desk.ends(pending(12, 1, 2, 7, u32::MAX)),
        T::OverflowsTimeout
    );
    assert_eq!(desk.ledger.next_expiry(), Some(Timestamp::new(end)));
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
}

#[test]
fn an_open_batch_moves_with_what_it_reserved_and_resolved() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 7, 1)), T::Created);
    desk.now = due(&desk);
    let events = Request::Transfers(vec![
        pending(20, 1, 2, 1, 0),
        pending(21, 1, 2, 2, 9),
        post(22, 20, u128::MAX),
        transfer(23, 1, 88, 1),
    ]);
    let mut open = desk.open_for(&events);
    desk.execute(&mut open, &events);
    desk.end_segment();
    desk.ledger.move_batch(&mut open, desk.tail.lsn);
    desk.finish(open);
    let ids: Vec<u128> = (0..30).collect();
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &ids);
    assert_eq!(desk.ends(post(24, 21, 2)), T::Created);
    assert_eq!(desk.ends(post(25, 20, 2)), T::ExceedsPendingTransferAmount);
    assert_eq!(desk.ends(post(25, 20, 1)), T::PendingTransferAlreadyPosted);
    assert_eq!(desk.ends(post(26, 10, 1)), T::PendingTransferExpired);
}
