//! Linked events: all or none, and what is left of those that fail.

use kanjo_format::client::{AccountFlags, TransferBody, TransferFlags};
use kanjo_format::result::{CreateAccountResult as A, CreateTransferResult as T};

use super::desk::{Desk, Request, account, assert_same, pending, post, transfer, void, with};
use crate::Entry;
use kanjo_format::TransferId;

const LINKED: u16 = TransferFlags::LINKED;

fn furnished() -> Desk {
    let mut desk = Desk::new();
    let accounts = (1..=4).map(|id| account(id, 1, if id == 4 { 2 } else { 0 }));
    desk.run(&Request::Accounts(accounts.collect()));
    desk.run(&Request::Transfers(vec![
        pending(1, 1, 2, 50, 0),
        pending(2, 2, 3, 50, 9),
    ]));
    desk
}

/// One event of each kind that changes something.
fn chain() -> Vec<TransferBody> {
    let closing = TransferFlags::CLOSING_CREDIT;
    vec![
        transfer(20, 1, 2, 5),
        pending(21, 1, 2, 6, 3),
        post(22, 1, 20),
        void(23, 2),
        post(24, 21, u128::MAX),
        with(pending(25, 1, 3, 1, 0), closing),
        void(26, 25),
        with(
            transfer(27, 2, 1, u128::MAX),
            TransferFlags::BALANCING_CREDIT,
        ),
    ]
}

#[test]
fn a_chain_that_holds_is_as_its_events_alone() {
    let (mut one, mut other) = (furnished(), furnished());
    let mut linked = chain();
    let last = linked.len() - 1;
    for event in &mut linked[..last] {
        *event = with(*event, LINKED);
    }
    assert!(
        one.all_end(linked)
            .iter()
            .all(|result| *result == T::Created)
    );
    assert!(
        other
            .all_end(chain())
            .iter()
            .all(|result| *result == T::Created)
    );
    assert_eq!(one.ledger.trial_balance(), other.ledger.trial_balance());
    assert_eq!(one.ledger.digest(), other.ledger.digest());
    assert_eq!(one.replayed().digest(), one.ledger.digest());
}

#[test]
fn a_chain_that_fails_at_any_place_leaves_only_the_burned_id() {
    let ids: Vec<u128> = (0..60).collect();
    for place in 0..=chain().len() {
        // For a reason that may pass, and for one that will not.
        for (bad, reason) in [
            (transfer(50, 1, 99, 1), T::CreditAccountNotFound),
            (transfer(50, 1, 1, 1), T::AccountsMustBeDifferent),
            (transfer(50, 4, 1, 1), T::ExceedsCredits),
            (pending(1, 1, 2, 50, 0), T::ExistsWithDifferentFlags),
        ] {
            let mut desk = furnished();
            let (before, mut log) = (desk.replayed(), desk.log.clone());
            let mut events = chain();
            events.insert(place, bad);
            let last = events.len() - 1;
            for event in &mut events[..last] {
                *event = with(*event, LINKED);
            }
            // With the flag it is the same transfer no more.
            let results = desk.all_end(events);
            for (n, result) in results.iter().enumerate() {
                let expected = if n == place {
                    reason
                } else {
                    T::LinkedEventFailed
                };
                let differs = reason == T::ExistsWithDifferentFlags && place == last;
                let expected = match differs && n == place {
                    true => T::Exists,
                    false => expected,
                };
                assert_eq!(*result, expected, "event {n} where {place} fails");
            }
            let burned = reason.is_transient();
            assert_eq!(desk.ledger.failed_count(), u64::from(burned));
            let entry = burned.then_some(Entry::Failed(reason));
            assert_eq!(desk.ledger.index().find(TransferId::new(50)), entry);
            if !burned {
                assert_same(&before, &desk.ledger, &mut log, &ids);
            }
            let mut log = desk.log.clone();
            assert_same(&desk.replayed(), &desk.ledger, &mut log, &ids);
            // All of it can be had afterwards, under the same ids.
            assert!(
                desk.all_end(chain())
                    .iter()
                    .all(|result| *result == T::Created)
            );
        }
    }
}

#[test]
fn a_chain_that_is_open_at_the_end_fails() {
    let mut desk = furnished();
    let events = vec![
        transfer(20, 1, 2, 1),
        with(transfer(21, 1, 2, 1), LINKED),
        with(transfer(22, 1, 2, 1), LINKED),
    ];
    let expected = [T::Created, T::LinkedEventFailed, T::LinkedEventChainOpen];
    assert_eq!(desk.all_end(events), expected);
    let events = vec![
        with(transfer(23, 1, 99, 1), LINKED),
        with(transfer(24, 1, 2, 1), LINKED),
    ];
    // The chain failed before, and its last event says all the same that it is open.
    let expected = [T::CreditAccountNotFound, T::LinkedEventChainOpen];
    assert_eq!(desk.all_end(events), expected);
    let alone = desk.all_end(vec![with(transfer(25, 1, 2, 1), LINKED)]);
    assert_eq!(alone, [T::LinkedEventChainOpen]);
    assert_eq!(desk.ends(transfer(25, 1, 2, 1)), T::Created);
}

#[test]
fn chains_of_one_request_stand_for_themselves() {
    let mut desk = furnished();
    let first = desk.ledger.log_time().get() + 1;
    let events = vec![
        transfer(20, 1, 2, 1),
        with(transfer(21, 1, 2, 1), LINKED),
        transfer(22, 1, 1, 1),
        with(transfer(23, 1, 2, 1), LINKED),
        transfer(24, 1, 2, 1),
        with(transfer(25, 1, 2, 1), LINKED),
        with(transfer(26, 1, 77, 1), LINKED),
        transfer(27, 1, 2, 1),
        transfer(28, 1, 2, 1),
    ];
    let created = |n: u64| (u32::MAX, first + n);
    let failed = |n: u64| (T::LinkedEventFailed.number(), first + n);
    let expected = vec![
        created(0),
        // What is undone gives its time back: all of its chain are of then.
        failed(1),
        (T::AccountsMustBeDifferent.number(), first + 1),
        created(1),
        created(2),
        failed(3),
        (T::CreditAccountNotFound.number(), first + 3),
        // The burned id is a record, and takes a nanosecond.
        failed(4),
        created(4),
    ];
    assert_eq!(desk.run(&Request::Transfers(events)), expected);
}

#[test]
fn accounts_are_opened_together_or_not_at_all() {
    let mut desk = furnished();
    let ids: Vec<u128> = (0..30).collect();
    let linked = |id, ledger| account(id, ledger, AccountFlags::LINKED);
    for place in 0..4 {
        let (before, mut log) = (desk.replayed(), desk.log.clone());
        // The second and third would be the first of their ledgers.
        let mut events = vec![
            linked(20, 1),
            linked(21, 7),
            linked(22, 8),
            account(23, 7, 0),
        ];
        events[place].code = 0.into();
        let results = desk.run(&Request::Accounts(events));
        for (n, (result, _)) in results.iter().enumerate() {
            let expected = match n == place {
                true => A::CodeMustNotBeZero,
                false => A::LinkedEventFailed,
            };
            assert_eq!(A::from_number(*result), Some(expected));
        }
        assert_same(&before, &desk.ledger, &mut log, &ids);
    }
    let events = vec![
        linked(20, 1),
        linked(21, 7),
        linked(22, 8),
        account(23, 7, 0),
    ];
    let results = desk.run(&Request::Accounts(events));
    assert!(results.iter().all(|(result, _)| *result == u32::MAX));
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &ids);
}
