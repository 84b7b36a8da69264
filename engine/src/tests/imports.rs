//! Imported accounts and transfers: times of the past, each once, and rising.

use kanjo_format::client::{AccountBody, AccountFlags, TransferBody, TransferFlags};
use kanjo_format::result::{CreateAccountResult as A, CreateTransferResult as T};

use super::desk::{
    Desk, Request, account, assert_same, lookup_account, lookup_transfer, pending, post, transfer,
    with,
};

const LATE: u64 = 1 << 40;

fn imported_account(id: u128, timestamp: u64) -> AccountBody {
    AccountBody {
        timestamp: timestamp.into(),
        ..account(id, 1, AccountFlags::IMPORTED)
    }
}

fn imported(event: TransferBody, timestamp: u64) -> TransferBody {
    TransferBody {
        timestamp: timestamp.into(),
        ..with(event, TransferFlags::IMPORTED)
    }
}

/// Accounts 1 and 2 are of 1,000 and 2,000.
fn furnished() -> Desk {
    let mut desk = Desk::new();
    desk.now = LATE;
    let accounts = vec![imported_account(1, 1_000), imported_account(2, 2_000)];
    assert!(desk.run(&Request::Accounts(accounts)) == [(u32::MAX, 1_000), (u32::MAX, 2_000)]);
    desk
}

fn ends(desk: &mut Desk, event: AccountBody) -> A {
    A::from_number(desk.account(event)).unwrap()
}

#[test]
fn the_first_event_decides_for_the_whole_request() {
    let mut desk = furnished();
    let events = vec![
        imported(transfer(10, 1, 2, 1), 3_000),
        transfer(11, 1, 2, 1),
    ];
    let expected = [T::Created, T::ImportedEventExpected];
    assert_eq!(desk.all_end(events), expected);
    let events = vec![transfer(11, 1, 2, 1), imported(transfer(12, 1, 2, 1), 0)];
    let expected = [T::Created, T::ImportedEventNotExpected];
    assert_eq!(desk.all_end(events), expected);
    let events = vec![account(20, 1, 0), imported_account(21, 5)];
    let results = desk.run(&Request::Accounts(events));
    let second = A::from_number(results[1].0).unwrap();
    assert_eq!(second, A::ImportedEventNotExpected);
    let events = vec![imported_account(22, 3_500), account(23, 1, 0)];
    let results = desk.run(&Request::Accounts(events));
    let of = |n: usize| A::from_number(results[n].0).unwrap();
    // The account 20 is of now, and no account may be opened before it.
    assert_eq!(of(0), A::ImportedEventTimestampMustNotRegress);
    assert_eq!(of(1), A::ImportedEventExpected);
}

#[test]
fn times_are_in_the_past_and_in_range() {
    let mut desk = furnished();
    for (timestamp, expected) in [
        (0, T::ImportedEventTimestampOutOfRange),
        (1 << 63, T::ImportedEventTimestampOutOfRange),
        (u64::MAX, T::ImportedEventTimestampOutOfRange),
        ((1 << 63) - 1, T::ImportedEventTimestampMustNotAdvance),
        (2 * LATE, T::ImportedEventTimestampMustNotAdvance),
    ] {
        desk.now = 2 * LATE;
        assert_eq!(
            desk.ends(imported(transfer(10, 1, 2, 1), timestamp)),
            expected
        );
        let account = A::from_number(desk.account(imported_account(9, timestamp))).unwrap();
        assert_eq!(account.name(), expected.name());
    }
    let last = imported(transfer(10, 1, 2, 1), 2 * LATE - 1);
    assert_eq!(desk.ends(last), T::Created);
}

#[test]
fn imported_transfers_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = furnished();
    let there = imported(transfer(10, 1, 2, 5), 3_000);
    assert_eq!(desk.ends(there), T::Created);
    assert_eq!(ends(&mut desk, imported_account(3, 5_000)), A::Created);
    assert_eq!(ends(&mut desk, imported_account(4, 6_000)), A::Created);
    let mut event = imported(pending(20, 3, 4, 5, 1), 3_000);
    type Mend = fn(&mut TransferBody);
    let steps: &[(T, Mend)] = &[
        (T::ImportedEventTimestampMustNotRegress, |e| {
            e.timestamp = 5_000.into()
        }),
        (T::ImportedEventTimestampMustNotRegress, |e| {
            e.timestamp = 4_999.into()
        }),
        (T::ImportedEventTimestampMustPostdateDebitAccount, |e| {
            e.timestamp = 5_001.into()
        }),
        (T::ImportedEventTimestampMustPostdateCreditAccount, |e| {
            e.timestamp = 6_001.into()
        }),
        (T::ImportedEventTimeoutMustBeZero, |e| e.timeout = 0.into()),
        (T::Created, |_| {}),
        // The time of a transfer that is there is not compared.
        (T::Exists, |e| e.timestamp = 7.into()),
        (T::Exists, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(desk.ends(event), *expected);
        mend(&mut event);
    }
    assert_eq!(
        desk.ends(transfer(10, 1, 2, 5)),
        T::ExistsWithDifferentFlags
    );
    let found = lookup_transfer(&desk.ledger, &mut desk.log, 20).unwrap();
    assert_eq!(found.timestamp.get(), 6_001);
}

#[test]
fn no_two_things_are_of_one_time() {
    let mut desk = furnished();
    assert_eq!(
        desk.ends(imported(transfer(10, 1, 2, 1), 3_000)),
        T::Created
    );
    let regress = A::ImportedEventTimestampMustNotRegress;
    assert_eq!(ends(&mut desk, imported_account(5, 2_000)), regress);
    assert_eq!(ends(&mut desk, imported_account(5, 3_000)), regress);
    assert_eq!(ends(&mut desk, imported_account(5, 2_999)), A::Created);
    // Also against what of the index is old.
    desk.end_segment();
    desk.ledger.drop_index_below(desk.tail.lsn);
    assert_eq!(ends(&mut desk, imported_account(6, 3_000)), A::Created);
    let mut desk = furnished();
    assert_eq!(
        desk.ends(imported(transfer(10, 1, 2, 1), 3_000)),
        T::Created
    );
    desk.end_segment();
    desk.ledger.drop_index_below(desk.tail.lsn);
    desk.log.set_old(desk.tail.lsn);
    assert_eq!(ends(&mut desk, imported_account(6, 3_000)), regress);
    assert_eq!(ends(&mut desk, imported_account(6, 3_001)), A::Created);
    let transfer = imported(transfer(11, 1, 2, 1), 3_001);
    assert_eq!(desk.ends(transfer), T::ImportedEventTimestampMustNotRegress);
}

#[test]
fn nothing_can_be_imported_before_what_happened_since() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(10, 1, 2, 1)), T::Created);
    let late = imported(transfer(11, 1, 2, 1), LATE - 1);
    assert_eq!(desk.ends(late), T::ImportedEventTimestampMustNotRegress);
    // A chain that is undone gives the times back.
    desk.now = LATE + 100;
    let linked = |id, at| imported(with(transfer(id, 1, 2, 1), TransferFlags::LINKED), at);
    let events = vec![
        linked(12, LATE + 50),
        linked(13, LATE + 60),
        imported(transfer(14, 1, 1, 1), LATE + 70),
    ];
    assert_eq!(desk.all_end(events)[2], T::AccountsMustBeDifferent);
    assert_eq!(
        desk.ends(imported(transfer(15, 1, 2, 1), LATE + 40)),
        T::Created
    );
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &[10, 12, 15]);
}

#[test]
fn two_phases_can_be_imported_one_after_the_other() {
    let mut desk = furnished();
    let events = vec![
        imported(pending(10, 1, 2, 5, 0), 3_000),
        imported(post(11, 10, 5), 3_001),
    ];
    assert_eq!(desk.all_end(events), [T::Created, T::Created]);
    assert_eq!(desk.ends(imported(post(11, 10, 5), 9)), T::Exists);
    let one = lookup_account(&desk.ledger, 1).unwrap();
    assert_eq!((one.debits_posted.get(), one.timestamp.get()), (5, 1_000));
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &[1, 10, 11]);
}
