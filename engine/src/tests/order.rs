//! The order of checks: an event breaks every rule, and is mended one rule at a time.

use kanjo_format::client::{AccountBody, AccountFlags, TransferBody};
use kanjo_format::result::{CreateAccountResult as A, CreateTransferResult as T};

use crate::account::Reserved;

use super::desk::{Desk, account, lookup_account, transfer};

const MAX: u128 = u128::MAX;
const DEBITS_LIMITED: u16 = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
const CREDITS_LIMITED: u16 = AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS;

#[test]
fn accounts_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = Desk::new();
    let there = AccountBody {
        user_data_128: 1.into(),
        user_data_64: 2.into(),
        user_data_32: 3.into(),
        ..account(50, 1, DEBITS_LIMITED)
    };
    assert_eq!(desk.account(there), A::Created.number());
    let mut event = AccountBody {
        id: 0.into(),
        debits_pending: 1.into(),
        debits_posted: 1.into(),
        credits_pending: 1.into(),
        credits_posted: 1.into(),
        user_data_128: 9.into(),
        user_data_64: 9.into(),
        user_data_32: 9.into(),
        reserved: 1.into(),
        ledger: 0.into(),
        code: 0.into(),
        // All but linked and imported, which come before.
        flags: (!0x11_u16).into(),
        timestamp: 1.into(),
    };
    type Mend = fn(&mut AccountBody);
    let steps: &[(A, Mend)] = &[
        (A::TimestampMustBeZero, |e| e.timestamp = 0.into()),
        (A::ReservedField, |e| e.reserved = 0.into()),
        (A::ReservedFlag, |e| e.flags = 6.into()),
        (A::IdMustNotBeZero, |e| e.id = MAX.into()),
        (A::IdMustNotBeIntMax, |e| e.id = 50.into()),
        (A::ExistsWithDifferentFlags, |e| {
            e.flags = DEBITS_LIMITED.into()
        }),
        (A::ExistsWithDifferentUserData128, |e| {
            e.user_data_128 = 1.into()
        }),
        (A::ExistsWithDifferentUserData64, |e| {
            e.user_data_64 = 2.into()
        }),
        (A::ExistsWithDifferentUserData32, |e| {
            e.user_data_32 = 3.into()
        }),
        (A::ExistsWithDifferentLedger, |e| e.ledger = 1.into()),
        (A::ExistsWithDifferentCode, |e| e.code = 1.into()),
        (A::Exists, |e| {
            *e = AccountBody {
                id: 51.into(),
                flags: 6.into(),
                ledger: 0.into(),
                code: 0.into(),
                ..*e
            }
        }),
        (A::FlagsAreMutuallyExclusive, |e| e.flags = 0.into()),
        (A::DebitsPendingMustBeZero, |e| e.debits_pending = 0.into()),
        (A::DebitsPostedMustBeZero, |e| e.debits_posted = 0.into()),
        (A::CreditsPendingMustBeZero, |e| {
            e.credits_pending = 0.into()
        }),
        (A::CreditsPostedMustBeZero, |e| e.credits_posted = 0.into()),
        (A::LedgerMustNotBeZero, |e| e.ledger = 1.into()),
        (A::CodeMustNotBeZero, |e| e.code = 1.into()),
        (A::Created, |_| {}),
        (A::Exists, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(A::from_number(desk.account(event)), Some(*expected));
        mend(&mut event);
    }
}

/// Accounts 1 to 9: 1 and 2 have given and got all they can, 3 and 4 have limits, 5 is of
/// another ledger, 6 and 7 are plain. Transfer 50 is posted, id 51 is burned.
fn furnished() -> Desk {
    let mut desk = Desk::new();
    for (id, ledger, flags) in [
        (1, 1, 0),
        (2, 1, 0),
        (3, 1, DEBITS_LIMITED),
        (4, 1, CREDITS_LIMITED),
        (5, 2, 0),
        (6, 1, 0),
        (7, 1, 0),
    ] {
        assert_eq!(desk.account(account(id, ledger, flags)), u32::MAX);
    }
    assert_eq!(desk.transfer(transfer(49, 1, 2, MAX)), u32::MAX);
    let there = TransferBody {
        user_data_128: 1.into(),
        user_data_64: 2.into(),
        user_data_32: 3.into(),
        ..transfer(50, 6, 7, 10)
    };
    assert_eq!(desk.transfer(there), u32::MAX);
    let burned = desk.transfer(transfer(51, 77, 78, 10));
    assert_eq!(burned, T::DebitAccountNotFound.number());
    desk
}

#[test]
fn transfers_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = furnished();
    let wrong = TransferBody {
        id: 0.into(),
        debit_account_id: 0.into(),
        credit_account_id: 0.into(),
        amount: MAX.into(),
        pending_id: 5.into(),
        user_data_128: 9.into(),
        user_data_64: 9.into(),
        user_data_32: 9.into(),
        timeout: 1.into(),
        ledger: 0.into(),
        code: 0.into(),
        // All but linked and imported, which come before.
        flags: (!0x101_u16).into(),
        timestamp: 1.into(),
    };
    let mut event = wrong;
    type Mend = fn(&mut TransferBody);
    let steps: &[(T, Mend)] = &[
        (T::TimestampMustBeZero, |e| e.timestamp = 0.into()),
        (T::ReservedFlag, |e| e.flags = 0.into()),
        (T::IdMustNotBeZero, |e| e.id = MAX.into()),
        (T::IdMustNotBeIntMax, |e| e.id = 50.into()),
        (T::ExistsWithDifferentPendingId, |e| e.pending_id = 0.into()),
        (T::ExistsWithDifferentTimeout, |e| e.timeout = 0.into()),
        (T::ExistsWithDifferentDebitAccountId, |e| {
            e.debit_account_id = 6.into()
        }),
        (T::ExistsWithDifferentCreditAccountId, |e| {
            e.credit_account_id = 7.into()
        }),
        (T::ExistsWithDifferentAmount, |e| e.amount = 10.into()),
        (T::ExistsWithDifferentUserData128, |e| {
            e.user_data_128 = 1.into()
        }),
        (T::ExistsWithDifferentUserData64, |e| {
            e.user_data_64 = 2.into()
        }),
        (T::ExistsWithDifferentUserData32, |e| {
            e.user_data_32 = 3.into()
        }),
        (T::ExistsWithDifferentLedger, |e| e.ledger = 1.into()),
        (T::ExistsWithDifferentCode, |e| e.code = 1.into()),
        (T::Exists, |e| {
            *e = TransferBody {
                id: 51.into(),
                debit_account_id: 0.into(),
                credit_account_id: 0.into(),
                pending_id: 5.into(),
                timeout: 1.into(),
                ledger: 0.into(),
                code: 0.into(),
                ..*e
            }
        }),
        (T::IdAlreadyFailed, |e| e.id = 52.into()),
        (T::DebitAccountIdMustNotBeZero, |e| {
            e.debit_account_id = MAX.into()
        }),
        (T::DebitAccountIdMustNotBeIntMax, |e| {
            e.debit_account_id = 77.into()
        }),
        (T::CreditAccountIdMustNotBeZero, |e| {
            e.credit_account_id = MAX.into()
        }),
        (T::CreditAccountIdMustNotBeIntMax, |e| {
            e.credit_account_id = 77.into()
        }),
        (T::AccountsMustBeDifferent, |e| {
            e.credit_account_id = 78.into()
        }),
        (T::PendingIdMustBeZero, |e| e.pending_id = 0.into()),
        (T::TimeoutReservedForPendingTransfer, |e| {
            e.timeout = 0.into()
        }),
        (T::LedgerMustNotBeZero, |e| e.ledger = 3.into()),
        (T::CodeMustNotBeZero, |e| e.code = 1.into()),
        (T::DebitAccountNotFound, |e| e.debit_account_id = 1.into()),
        (T::IdAlreadyFailed, |e| e.id = 53.into()),
        (T::CreditAccountNotFound, |e| e.credit_account_id = 5.into()),
        (T::IdAlreadyFailed, |e| e.id = 54.into()),
        (T::AccountsMustHaveTheSameLedger, |e| {
            e.credit_account_id = 2.into()
        }),
        (T::TransferMustHaveTheSameLedgerAsAccounts, |e| {
            e.ledger = 1.into()
        }),
        (T::OverflowsDebitsPosted, |e| e.debit_account_id = 3.into()),
        (T::OverflowsCreditsPosted, |e| {
            e.credit_account_id = 4.into()
        }),
        (T::ExceedsCredits, |e| e.debit_account_id = 6.into()),
        (T::IdAlreadyFailed, |e| {
            e.id = 55.into();
            e.amount = 1.into();
        }),
        (T::ExceedsDebits, |e| e.credit_account_id = 7.into()),
        (T::IdAlreadyFailed, |e| e.id = 56.into()),
        (T::Created, |_| {}),
        (T::Exists, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(T::from_number(desk.transfer(event)), Some(*expected));
        mend(&mut event);
    }
}

#[test]
fn pending_balances_count_against_overflow_and_limits() {
    let mut desk = furnished();
    let number = |id| {
        desk.ledger
            .books
            .accounts
            .find(kanjo_format::AccountId::new(id))
    };
    let (three, four) = (number(3).unwrap(), number(4).unwrap());
    let (six, seven) = (number(6).unwrap(), number(7).unwrap());
    let accounts = &mut desk.ledger.books.accounts;
    let pending = |debits, credits| Reserved { debits, credits };
    accounts.set_pending(six, pending(MAX - 10, 0));
    accounts.set_pending(seven, pending(0, MAX - 10));
    let mut id = 200;
    let mut post = |desk: &mut Desk, debit, credit, amount| {
        id += 1;
        T::from_number(desk.transfer(transfer(id, debit, credit, amount))).unwrap()
    };
    assert_eq!(post(&mut desk, 6, 7, 1), T::OverflowsDebits);
    assert_eq!(post(&mut desk, 1, 7, 0), T::Created);
    assert_eq!(post(&mut desk, 4, 7, 1), T::OverflowsCredits);
    assert_eq!(post(&mut desk, 2, 3, 100), T::Created);
    assert_eq!(post(&mut desk, 4, 2, 0), T::Created);
    let accounts = &mut desk.ledger.books.accounts;
    accounts.set_pending(three, pending(60, 0));
    accounts.set_pending(four, pending(0, 60));
    accounts.at_mut(four).debits_posted = 100;
    assert_eq!(post(&mut desk, 3, 5, 40), T::AccountsMustHaveTheSameLedger);
    assert_eq!(post(&mut desk, 3, 4, 41), T::ExceedsCredits);
    assert_eq!(post(&mut desk, 3, 4, 40), T::Created);
    assert_eq!(post(&mut desk, 2, 4, 1), T::ExceedsDebits);
}

#[test]
fn limits_hold_to_the_last_unit() {
    let mut desk = Desk::new();
    desk.account(account(1, 1, 0));
    desk.account(account(2, 1, DEBITS_LIMITED));
    desk.account(account(3, 1, CREDITS_LIMITED));
    assert_eq!(desk.transfer(transfer(10, 1, 2, 100)), u32::MAX);
    let result = |n| T::from_number(n).unwrap();
    assert_eq!(
        result(desk.transfer(transfer(11, 2, 1, 101))),
        T::ExceedsCredits
    );
    assert_eq!(result(desk.transfer(transfer(12, 2, 1, 100))), T::Created);
    assert_eq!(result(desk.transfer(transfer(13, 2, 1, 0))), T::Created);
    assert_eq!(
        result(desk.transfer(transfer(14, 2, 1, 1))),
        T::ExceedsCredits
    );
    assert_eq!(
        result(desk.transfer(transfer(15, 1, 3, 1))),
        T::ExceedsDebits
    );
    assert_eq!(result(desk.transfer(transfer(16, 3, 1, 7))), T::Created);
    assert_eq!(
        result(desk.transfer(transfer(17, 1, 3, 8))),
        T::ExceedsDebits
    );
    assert_eq!(result(desk.transfer(transfer(18, 1, 3, 7))), T::Created);
    desk.ledger.audit().unwrap();
}

#[test]
fn balances_reach_the_largest_integer_and_not_beyond() {
    let mut desk = Desk::new();
    for id in 1..=4 {
        desk.account(account(id, 1, 0));
    }
    assert_eq!(desk.transfer(transfer(10, 1, 2, MAX)), u32::MAX);
    assert_eq!(desk.transfer(transfer(11, 3, 4, MAX)), u32::MAX);
    assert_eq!(desk.transfer(transfer(12, 2, 1, MAX)), u32::MAX);
    let over = desk.transfer(transfer(13, 1, 2, 1));
    assert_eq!(over, T::OverflowsDebitsPosted.number());
    let over = desk.transfer(transfer(13, 4, 2, 1));
    assert_eq!(over, T::OverflowsCreditsPosted.number());
    // An overflow does not burn the id: it leaves no trace.
    assert_eq!(desk.transfer(transfer(13, 4, 3, 1)), u32::MAX);
    let totals = desk.ledger.trial_balance();
    assert_eq!(totals[0].debits.narrow(), None);
    assert!(totals[0].is_balanced());
    desk.ledger.audit().unwrap();
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
    let one = lookup_account(&desk.ledger, 1).unwrap();
    assert_eq!(one.debits_posted.get(), MAX);
}
