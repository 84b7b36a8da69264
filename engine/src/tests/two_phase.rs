//! Two-phase, balancing and closing transfers.

use kanjo_format::client::{AccountFlags, TransferBody, TransferFlags};
use kanjo_format::result::CreateTransferResult as T;

use super::desk::{
    Desk, Request, account, balances, lookup_account, lookup_transfer, pending, post, transfer,
    void, with,
};

const MAX: u128 = u128::MAX;

/// Accounts 1 to 3 of one ledger; 4 is of another one.
fn furnished() -> Desk {
    let mut desk = Desk::new();
    let accounts = (1..=4).map(|id| account(id, 1 + u32::from(id == 4), 0));
    desk.run(&Request::Accounts(accounts.collect()));
    desk
}

#[test]
fn a_pending_transfer_reserves_and_is_posted_once() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 100, 0)), T::Created);
    assert_eq!(balances(&desk, 1), [100, 0, 0, 0]);
    assert_eq!(balances(&desk, 2), [0, 0, 100, 0]);
    assert_eq!(desk.ends(post(11, 10, 60)), T::Created);
    assert_eq!(balances(&desk, 1), [0, 60, 0, 0]);
    assert_eq!(balances(&desk, 2), [0, 0, 0, 60]);
    assert_eq!(desk.ends(post(12, 10, 60)), T::PendingTransferAlreadyPosted);
    assert_eq!(desk.ends(void(13, 10)), T::PendingTransferAlreadyPosted);
    assert_eq!(desk.ends(post(11, 10, 60)), T::Exists);
    assert_eq!(desk.ends(post(11, 10, MAX)), T::ExistsWithDifferentAmount);
    assert_eq!(desk.ends(post(11, 10, 61)), T::ExistsWithDifferentAmount);
    let posted = lookup_transfer(&desk.ledger, &mut desk.log, 11).unwrap();
    assert_eq!((posted.pending_id.get(), posted.amount.get()), (10, 60));
    assert_eq!((posted.ledger.get(), posted.code.get()), (1, 1));
}

#[test]
fn the_largest_amount_posts_all_and_zero_posts_nothing() {
    let mut desk = furnished();
    for id in [10, 20] {
        assert_eq!(desk.ends(pending(id, 1, 2, 100, 0)), T::Created);
    }
    assert_eq!(desk.ends(post(11, 10, MAX)), T::Created);
    assert_eq!(balances(&desk, 1), [100, 100, 0, 0]);
    assert_eq!(desk.ends(post(21, 20, 0)), T::Created);
    assert_eq!(balances(&desk, 1), [0, 100, 0, 0]);
    assert_eq!(desk.ends(post(11, 10, MAX)), T::Exists);
    assert_eq!(desk.ends(post(11, 10, 100)), T::Exists);
    assert_eq!(desk.ends(post(21, 20, MAX)), T::ExistsWithDifferentAmount);
}

#[test]
fn a_void_releases_all_and_only_all() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, 100, 0)), T::Created);
    let of = |amount: u128| TransferBody {
        amount: amount.into(),
        ..void(11, 10)
    };
    assert_eq!(desk.ends(of(99)), T::PendingTransferHasDifferentAmount);
    assert_eq!(desk.ends(of(101)), T::ExceedsPendingTransferAmount);
    assert_eq!(desk.ends(of(100)), T::Created);
    assert_eq!(balances(&desk, 1), [0; 4]);
    assert_eq!(desk.ends(of(0)), T::Exists);
    assert_eq!(desk.ends(of(99)), T::ExistsWithDifferentAmount);
    assert_eq!(desk.ends(void(12, 10)), T::PendingTransferAlreadyVoided);
}

#[test]
fn a_post_takes_over_what_it_leaves_out() {
    let mut desk = furnished();
    let first = TransferBody {
        user_data_128: 1.into(),
        user_data_64: 2.into(),
        user_data_32: 3.into(),
        code: 7.into(),
        ..pending(10, 1, 2, 5, 0)
    };
    assert_eq!(desk.ends(first), T::Created);
    let event = TransferBody {
        user_data_64: 9.into(),
        ..post(11, 10, MAX)
    };
    assert_eq!(desk.ends(event), T::Created);
    let posted = lookup_transfer(&desk.ledger, &mut desk.log, 11).unwrap();
    assert_eq!(posted.user_data_128.get(), 1);
    assert_eq!(posted.user_data_64.get(), 9);
    assert_eq!(posted.user_data_32.get(), 3);
    assert_eq!((posted.code.get(), posted.debit_account_id.get()), (7, 1));
    assert_eq!(desk.ends(event), T::Exists);
    let left_out = post(11, 10, MAX);
    assert_eq!(desk.ends(left_out), T::ExistsWithDifferentUserData64);
}

#[test]
fn posts_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(9, 1, 2, 5)), T::Created);
    assert_eq!(desk.ends(pending(10, 1, 2, 5, 0)), T::Created);
    const POST: u16 = TransferFlags::POST_PENDING_TRANSFER;
    let mut event = TransferBody {
        id: 50.into(),
        debit_account_id: 3.into(),
        credit_account_id: 3.into(),
        amount: 6.into(),
        timeout: 1.into(),
        ledger: 9.into(),
        code: 9.into(),
        flags: (POST | TransferFlags::CLOSING_CREDIT).into(),
        ..TransferBody::default()
    };
    type Mend = fn(&mut TransferBody);
    let steps: &[(T, Mend)] = &[
        (T::FlagsAreMutuallyExclusive, |e| {
            e.flags = (POST | TransferFlags::VOID_PENDING_TRANSFER).into()
        }),
        (T::FlagsAreMutuallyExclusive, |e| {
            e.flags = (POST | TransferFlags::BALANCING_DEBIT).into()
        }),
        (T::FlagsAreMutuallyExclusive, |e| {
            e.flags = (POST | TransferFlags::PENDING).into()
        }),
        (T::FlagsAreMutuallyExclusive, |e| e.flags = POST.into()),
        (T::PendingIdMustNotBeZero, |e| e.pending_id = MAX.into()),
        (T::PendingIdMustNotBeIntMax, |e| e.pending_id = 50.into()),
        (T::PendingIdMustBeDifferent, |e| e.pending_id = 77.into()),
        (T::TimeoutReservedForPendingTransfer, |e| {
            e.timeout = 0.into()
        }),
        (T::PendingTransferNotFound, |e| e.id = 51.into()),
        (T::IdAlreadyFailed, |_| {}),
    ];
    // The id of the one that was not found is burned: go on with another.
    for (expected, mend) in &steps[..9] {
        assert_eq!(desk.ends(event), *expected);
        mend(&mut event);
    }
    event.id = 50.into();
    assert_eq!(desk.ends(event), T::IdAlreadyFailed);
    (event.id, event.pending_id) = (52.into(), 9.into());
    let steps: &[(T, Mend)] = &[
        (T::PendingTransferNotPending, |e| e.pending_id = 10.into()),
        (T::PendingTransferHasDifferentDebitAccountId, |e| {
            e.debit_account_id = 1.into()
        }),
        (T::PendingTransferHasDifferentCreditAccountId, |e| {
            e.credit_account_id = 2.into()
        }),
        (T::PendingTransferHasDifferentLedger, |e| {
            e.ledger = 1.into()
        }),
        (T::PendingTransferHasDifferentCode, |e| e.code = 1.into()),
        (T::ExceedsPendingTransferAmount, |e| e.amount = 5.into()),
        (T::Created, |_| {}),
        (T::Exists, |e| e.id = 53.into()),
        (T::PendingTransferAlreadyPosted, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(desk.ends(event), *expected);
        mend(&mut event);
    }
}

#[test]
fn a_balancing_transfer_moves_what_is_left_with_what_is_pending() {
    let mut desk = furnished();
    const DEBIT: u16 = TransferFlags::BALANCING_DEBIT;
    const CREDIT: u16 = TransferFlags::BALANCING_CREDIT;
    assert_eq!(desk.ends(transfer(10, 2, 1, 100)), T::Created);
    assert_eq!(desk.ends(pending(11, 1, 3, 30, 0)), T::Created);
    let balanced = with(transfer(12, 1, 3, MAX), DEBIT);
    assert_eq!(desk.ends(balanced), T::Created);
    assert_eq!(balances(&desk, 1), [30, 70, 0, 100]);
    let amount = |desk: &mut Desk, id| {
        let found = lookup_transfer(&desk.ledger, &mut desk.log, id);
        found.unwrap().amount.get()
    };
    assert_eq!(amount(&mut desk, 12), 70);
    // Whatever would have sufficed is the same transfer.
    for (wished, expected) in [
        (MAX, T::Exists),
        (70, T::Exists),
        (69, T::ExistsWithDifferentAmount),
    ] {
        let again = with(transfer(12, 1, 3, wished), DEBIT);
        assert_eq!(desk.ends(again), expected);
    }
    // Nothing is left: it moves zero, and is there.
    assert_eq!(desk.ends(with(transfer(13, 1, 3, 5), DEBIT)), T::Created);
    assert_eq!(amount(&mut desk, 13), 0);
    assert_eq!(desk.ends(with(transfer(14, 3, 2, 40), CREDIT)), T::Created);
    assert_eq!(amount(&mut desk, 14), 40);
    let both = with(transfer(15, 3, 2, MAX), DEBIT | CREDIT);
    assert_eq!(desk.ends(both), T::Created);
    // Account 3 has got 70 and given 40; 2 has given 100 and got 40.
    assert_eq!(amount(&mut desk, 15), 30);
    let reserved = with(pending(16, 3, 2, MAX, 0), CREDIT);
    assert_eq!(desk.ends(reserved), T::Created);
    assert_eq!(amount(&mut desk, 16), 30);
}

#[test]
fn a_closed_account_takes_voids_only_until_its_closing_is_undone() {
    let mut desk = furnished();
    const CLOSES: u16 = TransferFlags::CLOSING_DEBIT;
    let closed = |desk: &Desk, id| {
        let account = lookup_account(&desk.ledger, id).unwrap();
        account.flags.get() & AccountFlags::CLOSED != 0
    };
    assert_eq!(desk.ends(pending(10, 2, 1, 7, 0)), T::Created);
    let single = with(transfer(11, 1, 2, 0), CLOSES);
    assert_eq!(desk.ends(single), T::ClosingTransferMustBePending);
    assert_eq!(desk.ends(with(pending(11, 1, 2, 0, 0), CLOSES)), T::Created);
    assert!(closed(&desk, 1) && !closed(&desk, 2));
    assert_eq!(
        desk.ends(transfer(12, 1, 2, 1)),
        T::DebitAccountAlreadyClosed
    );
    assert_eq!(
        desk.ends(transfer(13, 2, 1, 1)),
        T::CreditAccountAlreadyClosed
    );
    assert_eq!(desk.ends(transfer(13, 2, 1, 1)), T::IdAlreadyFailed);
    assert_eq!(desk.ends(post(14, 10, 7)), T::CreditAccountAlreadyClosed);
    assert_eq!(desk.ends(post(15, 11, 0)), T::DebitAccountAlreadyClosed);
    // A void of another pending transfer goes through and opens nothing.
    assert_eq!(desk.ends(void(16, 10)), T::Created);
    assert!(closed(&desk, 1));
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
    assert_eq!(desk.ends(void(17, 11)), T::Created);
    assert!(!closed(&desk, 1));
    assert_eq!(desk.ends(transfer(18, 1, 2, 1)), T::Created);
    let both = with(
        pending(19, 1, 2, 3, 0),
        CLOSES | TransferFlags::CLOSING_CREDIT,
    );
    assert_eq!(desk.ends(both), T::Created);
    assert!(closed(&desk, 1) && closed(&desk, 2));
    desk.ledger.audit().unwrap();
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
}

#[test]
fn an_account_can_be_closed_from_the_start() {
    let mut desk = furnished();
    assert_eq!(desk.account(account(9, 1, AccountFlags::CLOSED)), u32::MAX);
    assert_eq!(
        desk.ends(transfer(10, 9, 1, 0)),
        T::DebitAccountAlreadyClosed
    );
}

#[test]
fn pending_sums_overflow_in_the_documented_order() {
    let mut desk = furnished();
    assert_eq!(desk.ends(pending(10, 1, 2, MAX - 5, 0)), T::Created);
    assert_eq!(
        desk.ends(pending(11, 1, 3, 6, 0)),
        T::OverflowsDebitsPending
    );
    assert_eq!(
        desk.ends(pending(12, 3, 2, 6, 0)),
        T::OverflowsCreditsPending
    );
    assert_eq!(desk.ends(transfer(13, 1, 3, 6)), T::OverflowsDebits);
    assert_eq!(desk.ends(transfer(14, 3, 2, 6)), T::OverflowsCredits);
    assert_eq!(desk.ends(transfer(15, 1, 2, 5)), T::Created);
    assert_eq!(desk.ends(post(16, 10, MAX)), T::Created);
    assert_eq!(balances(&desk, 1), [0, MAX, 0, 0]);
    assert_eq!(desk.ends(pending(17, 1, 2, 1, 0)), T::OverflowsDebitsPosted);
    desk.ledger.audit().unwrap();
}
