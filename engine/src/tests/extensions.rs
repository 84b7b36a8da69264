//! What goes beyond the documented model: overdraft limits, freezes, reversals, dates, burned ids.

use kanjo_format::client::{
    AccountChange, AccountChangeBody, AccountFlags, CloseDayBody, Freeze, OutcomeState,
    TransferBody, TransferDetailBody, TransferFlags,
};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult as C, CloseDayResult as D, CreateTransferResult as T,
};
use kanjo_format::{AccountId, TransferId};

use super::desk::{
    Desk, Request, account, assert_same, balances, pending, post, transfer, void, with,
};

const MAX: u128 = u128::MAX;

fn furnished() -> Desk {
    let mut desk = Desk::new();
    let limited = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let accounts = (1..=4).map(|id| account(id, 1, if id == 4 { limited } else { 0 }));
    desk.run(&Request::Accounts(accounts.collect()));
    desk
}

fn change(desk: &mut Desk, event: AccountChangeBody) -> C {
    let results = desk.run(&Request::Changes(vec![event]));
    C::from_number(results[0].0).unwrap()
}

fn overdraft(id: u128, limit: Option<u128>) -> AccountChangeBody {
    AccountChangeBody {
        id: id.into(),
        overdraft_limit: limit.unwrap_or(0).into(),
        change: match limit {
            Some(_) => AccountChange::SET_OVERDRAFT_LIMIT,
            None => AccountChange::CLEAR_OVERDRAFT_LIMIT,
        }
        .into(),
        ..AccountChangeBody::default()
    }
}

fn freeze(id: u128, freeze: u32) -> AccountChangeBody {
    AccountChangeBody {
        id: id.into(),
        change: AccountChange::SET_FREEZE.into(),
        freeze: freeze.into(),
        ..AccountChangeBody::default()
    }
}

fn close_day(desk: &mut Desk, date: u32, next: u32) -> D {
    let event = CloseDayBody {
        date: date.into(),
        next: next.into(),
        ..CloseDayBody::default()
    };
    D::from_number(desk.run(&Request::Day(event))[0].0).unwrap()
}

fn reversal(id: u128, reverses: u128, amount: u128) -> TransferDetailBody {
    TransferDetailBody {
        transfer: TransferBody {
            id: id.into(),
            amount: amount.into(),
            ..TransferBody::default()
        },
        reverses: reverses.into(),
        ..TransferDetailBody::default()
    }
}

fn dated(event: TransferBody, value_date: u32, business_date: u32) -> TransferDetailBody {
    TransferDetailBody {
        transfer: event,
        value_date: value_date.into(),
        business_date: business_date.into(),
        ..TransferDetailBody::default()
    }
}

#[test]
fn an_overdraft_limit_counts_pending_debits_and_replaces_the_flag() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(9, 4, 1, 1)), T::ExceedsCredits);
    for id in [1, 4] {
        let base = id * 100;
        assert_eq!(change(&mut desk, overdraft(id, Some(10))), C::Changed);
        assert_eq!(desk.ends(pending(base, id, 2, 6, 0)), T::Created);
        assert_eq!(
            desk.ends(transfer(base + 1, id, 2, 5)),
            T::ExceedsOverdraftLimit
        );
        assert_eq!(desk.ends(transfer(base + 1, id, 2, 4)), T::IdAlreadyFailed);
        assert_eq!(desk.ends(transfer(base + 2, id, 2, 4)), T::Created);
        assert_eq!(
            desk.ends(pending(base + 3, id, 2, 1, 0)),
            T::ExceedsOverdraftLimit
        );
        assert_eq!(desk.ends(transfer(base + 4, 2, id, 3)), T::Created);
        assert_eq!(desk.ends(transfer(base + 5, id, 2, 3)), T::Created);
        // A limit below what is drawn already refuses only what comes.
        assert_eq!(change(&mut desk, overdraft(id, Some(0))), C::Changed);
        assert_eq!(
            desk.ends(transfer(base + 6, id, 2, 0)),
            T::ExceedsOverdraftLimit
        );
        assert_eq!(desk.ends(post(base + 7, base, 6)), T::Created);
        assert_eq!(change(&mut desk, overdraft(id, None)), C::Changed);
        desk.ledger.audit().unwrap();
    }
    assert_eq!(desk.ends(transfer(800, 1, 2, 1_000)), T::Created);
    assert_eq!(desk.ends(transfer(801, 4, 2, 1)), T::ExceedsCredits);
    assert_eq!(change(&mut desk, overdraft(1, Some(MAX))), C::Changed);
    assert_eq!(desk.ends(transfer(802, 1, 2, 1_000)), T::Created);
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
}

#[test]
fn a_freeze_stops_one_side_or_both_but_no_void() {
    let mut desk = furnished();
    for id in 10..=13 {
        assert_eq!(desk.ends(pending(id, 1, 2, 1, 0)), T::Created);
    }
    assert_eq!(change(&mut desk, freeze(1, Freeze::DEBITS)), C::Changed);
    assert_eq!(desk.ends(transfer(20, 1, 2, 1)), T::DebitAccountFrozen);
    assert_eq!(desk.ends(pending(21, 1, 2, 1, 0)), T::DebitAccountFrozen);
    assert_eq!(desk.ends(post(22, 10, 1)), T::DebitAccountFrozen);
    assert_eq!(desk.ends(void(23, 10)), T::Created);
    assert_eq!(desk.ends(transfer(24, 2, 1, 1)), T::Created);
    assert_eq!(change(&mut desk, freeze(1, 0)), C::Changed);
    assert_eq!(change(&mut desk, freeze(2, Freeze::CREDITS)), C::Changed);
    assert_eq!(desk.ends(transfer(25, 1, 2, 1)), T::CreditAccountFrozen);
    assert_eq!(desk.ends(post(26, 11, 1)), T::CreditAccountFrozen);
    assert_eq!(desk.ends(transfer(27, 2, 1, 1)), T::Created);
    // Closed comes first.
    let closing = with(pending(28, 2, 1, 0, 0), TransferFlags::CLOSING_DEBIT);
    assert_eq!(desk.ends(closing), T::Created);
    assert_eq!(
        desk.ends(transfer(29, 1, 2, 1)),
        T::CreditAccountAlreadyClosed
    );
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &[1, 2, 20, 28]);
}

#[test]
fn changes_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = furnished();
    let mut event = AccountChangeBody {
        id: 99.into(),
        overdraft_limit: 5.into(),
        change: 0.into(),
        freeze: 8.into(),
        reserved: 1.into(),
    };
    type Mend = fn(&mut AccountChangeBody);
    let steps: &[(C, Mend)] = &[
        (C::ReservedField, |e| e.reserved = 0.into()),
        (C::ReservedField, |e| {
            e.change = AccountChange::SET_OVERDRAFT_LIMIT.into()
        }),
        (C::ReservedField, |e| e.change = 15.into()),
        (C::ReservedFlag, |e| e.change = 7.into()),
        (C::ReservedFlag, |e| e.freeze = 3.into()),
        (C::ReservedFlag, |e| e.change = 5.into()),
        (C::AccountNotFound, |e| e.id = 1.into()),
        (C::Changed, |_| {}),
        (C::Unchanged, |e| {
            *e = AccountChangeBody {
                id: 1.into(),
                ..AccountChangeBody::default()
            }
        }),
        (C::NothingToChange, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(change(&mut desk, event), *expected);
        mend(&mut event);
    }
    let mut terms = Vec::new();
    let ids = [1, 2].map(AccountId::new);
    desk.ledger.lookup_terms(ids, &mut terms);
    assert_eq!(
        (terms[0].overdraft_limit.get(), terms[0].freeze.get()),
        (5, 3)
    );
    assert_eq!(terms[0].timestamp.get(), desk.ledger.log_time().get());
    assert_eq!(
        (terms[1].has_overdraft_limit.get(), terms[1].timestamp.get()),
        (0, 0)
    );
}

#[test]
fn a_reversal_moves_back_at_most_what_was_moved_and_once() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(10, 1, 2, 100)), T::Created);
    assert_eq!(
        desk.detail_ends(reversal(20, 10, 101)),
        T::ExceedsReversedTransferAmount
    );
    assert_eq!(desk.detail_ends(reversal(20, 10, 40)), T::Created);
    assert_eq!(balances(&desk, 1), [0, 100, 0, 40]);
    assert_eq!(balances(&desk, 2), [0, 40, 0, 100]);
    assert_eq!(
        desk.detail_ends(reversal(21, 10, 1)),
        T::TransferAlreadyReversed
    );
    assert_eq!(desk.detail_ends(reversal(20, 10, 40)), T::Exists);
    assert_eq!(
        desk.detail_ends(reversal(20, 10, MAX)),
        T::ExistsWithDifferentAmount
    );
    assert_eq!(
        desk.detail_ends(reversal(20, 9, 40)),
        T::ExistsWithDifferentReverses
    );
    let plain = TransferBody {
        amount: 40.into(),
        ..transfer(20, 2, 1, 40)
    };
    assert_eq!(desk.ends(plain), T::ExistsWithDifferentReverses);
    // A reversal moved money, too.
    assert_eq!(desk.detail_ends(reversal(22, 20, MAX)), T::Created);
    assert_eq!(balances(&desk, 1), [0, 140, 0, 40]);
    assert_eq!(
        desk.detail_ends(reversal(23, 77, 1)),
        T::ReversedTransferNotFound
    );
    assert_eq!(desk.detail_ends(reversal(23, 10, 1)), T::IdAlreadyFailed);
    desk.end_segment();
    desk.ledger.drop_index_below(desk.tail.lsn);
    desk.log.set_old(desk.tail.lsn);
    assert_eq!(
        desk.detail_ends(reversal(24, 10, 1)),
        T::TransferAlreadyReversed
    );
    let mut found = Vec::new();
    let ids = [20, 22].map(TransferId::new);
    let looked = desk
        .ledger
        .lookup_transfer_details(ids, None, &mut desk.log, &mut found);
    looked.unwrap();
    assert_eq!(
        (found[0].reverses.get(), found[0].transfer.code.get()),
        (10, 1)
    );
    assert_eq!(
        (found[1].reverses.get(), found[1].transfer.amount.get()),
        (20, 40)
    );
}

#[test]
fn reversals_are_refused_for_the_first_rule_that_they_break() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(10, 1, 2, 5)), T::Created);
    assert_eq!(desk.ends(pending(11, 1, 2, 5, 0)), T::Created);
    let mut event = TransferDetailBody {
        transfer: TransferBody {
            debit_account_id: MAX.into(),
            credit_account_id: MAX.into(),
            pending_id: 5.into(),
            timeout: 1.into(),
            ledger: 2.into(),
            flags: TransferFlags::PENDING.into(),
            ..transfer(30, 0, 0, 6)
        },
        reverses: MAX.into(),
        value_date: 20_260_230.into(),
        business_date: 20_261_301.into(),
        reserved: 1.into(),
    };
    type Mend = fn(&mut TransferDetailBody);
    let steps: &[(T, Mend)] = &[
        (T::ReservedFlag, |e| e.reserved = 0.into()),
        (T::FlagsAreMutuallyExclusive, |e| {
            e.transfer.flags = 0.into()
        }),
        (T::ValueDateMustBeValid, |e| {
            e.value_date = 20_260_228.into()
        }),
        (T::BusinessDateMustBeValid, |e| {
            e.business_date = 20_260_101.into()
        }),
        (T::ReversesMustNotBeIntMax, |e| e.reverses = 30.into()),
        (T::ReversesMustBeDifferent, |e| e.reverses = 11.into()),
        (T::DebitAccountIdMustNotBeIntMax, |e| {
            e.transfer.debit_account_id = 1.into()
        }),
        (T::CreditAccountIdMustNotBeIntMax, |e| {
            e.transfer.credit_account_id = 1.into()
        }),
        (T::AccountsMustBeDifferent, |e| {
            e.transfer.credit_account_id = 2.into()
        }),
        (T::PendingIdMustBeZero, |e| e.transfer.pending_id = 0.into()),
        (T::TimeoutReservedForPendingTransfer, |e| {
            e.transfer.timeout = 0.into()
        }),
        (T::ReversedTransferNotPosted, |e| e.reverses = 10.into()),
        (T::ReversedTransferHasDifferentDebitAccountId, |e| {
            e.transfer.debit_account_id = 2.into();
            e.transfer.credit_account_id = 3.into();
        }),
        (T::ReversedTransferHasDifferentCreditAccountId, |e| {
            e.transfer.credit_account_id = 1.into()
        }),
        (T::ReversedTransferHasDifferentLedger, |e| {
            e.transfer.ledger = 1.into()
        }),
        (T::ExceedsReversedTransferAmount, |e| {
            e.transfer.amount = 5.into()
        }),
        (T::Created, |_| {}),
        (T::Exists, |e| e.transfer.id = 31.into()),
        (T::TransferAlreadyReversed, |_| {}),
    ];
    for (expected, mend) in steps {
        assert_eq!(desk.detail_ends(event), *expected);
        mend(&mut event);
    }
}

#[test]
fn nothing_posts_to_a_business_date_that_is_closed() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(10, 1, 2, 1)), T::Created);
    assert_eq!(
        close_day(&mut desk, 20_260_101, 20_260_102),
        D::DateIsNotCurrent
    );
    assert_eq!(close_day(&mut desk, 0, 20_260_132), D::NextDateMustBeValid);
    assert_eq!(close_day(&mut desk, 0, 20_260_101), D::Closed);
    assert_eq!(desk.ends(transfer(11, 1, 2, 1)), T::Created);
    assert_eq!(
        close_day(&mut desk, 20_260_101, 20_260_101),
        D::NextDateMustBeLater
    );
    assert_eq!(close_day(&mut desk, 20_260_101, 20_260_105), D::Closed);
    assert_eq!(
        close_day(&mut desk, 20_260_101, 20_260_105),
        D::AlreadyClosed
    );
    assert_eq!(
        close_day(&mut desk, 20_260_101, 20_260_106),
        D::DateIsNotCurrent
    );
    assert_eq!(close_day(&mut desk, 0, 20_260_101), D::AlreadyClosed);
    assert_eq!(
        close_day(&mut desk, 20_260_131, 20_260_201),
        D::DateIsNotCurrent
    );
    let on = |id, date| dated(transfer(id, 1, 2, 1), 20_251_231, date);
    assert_eq!(desk.detail_ends(on(12, 20_260_101)), T::BusinessDateClosed);
    // One between the closed date and the current one is open still, and so is a later one.
    assert_eq!(desk.detail_ends(on(12, 20_260_103)), T::Created);
    assert_eq!(desk.detail_ends(on(13, 20_260_201)), T::Created);
    assert_eq!(desk.detail_ends(on(14, 0)), T::Created);
    assert_eq!(
        desk.detail_ends(on(14, 20_260_105)),
        T::ExistsWithDifferentBusinessDate
    );
    assert_eq!(
        desk.ends(transfer(14, 1, 2, 1)),
        T::ExistsWithDifferentValueDate
    );
    let mut found = Vec::new();
    let ids = (10..=14).map(TransferId::new);
    let looked = desk
        .ledger
        .lookup_transfer_details(ids, None, &mut desk.log, &mut found);
    looked.unwrap();
    let dates: Vec<u32> = found.iter().map(|t| t.business_date.get()).collect();
    assert_eq!(dates, [0, 20_260_101, 20_260_103, 20_260_201, 20_260_105]);
    let mut log = desk.log.clone();
    assert_same(&desk.replayed(), &desk.ledger, &mut log, &[10, 11, 12]);
}

#[test]
fn a_burned_id_is_rejected_for_ever_and_outcomes_tell() {
    let mut desk = furnished();
    assert_eq!(desk.ends(transfer(10, 1, 2, 1)), T::Created);
    assert_eq!(desk.ends(transfer(11, 1, 77, 1)), T::CreditAccountNotFound);
    let ids = [0, MAX, 10, 11, 12, 12].map(TransferId::new).to_vec();
    let results = desk.run(&Request::Burns(ids));
    let results: Vec<BurnResult> = results
        .iter()
        .map(|(result, _)| BurnResult::from_number(*result).unwrap())
        .collect();
    let expected = [
        BurnResult::IdMustNotBeZero,
        BurnResult::IdMustNotBeIntMax,
        BurnResult::Exists,
        BurnResult::AlreadyFailed,
        BurnResult::Burned,
        BurnResult::AlreadyFailed,
    ];
    assert_eq!(results, expected);
    assert_eq!(desk.ends(transfer(12, 1, 2, 1)), T::IdAlreadyFailed);
    desk.ledger = desk.replayed();
    assert_eq!(desk.ends(transfer(12, 1, 2, 1)), T::IdAlreadyFailed);
    let mut outcomes = Vec::new();
    let ids = [10, 11, 12, 13].map(TransferId::new);
    let looked = desk
        .ledger
        .lookup_outcomes(ids, None, &mut desk.log, &mut outcomes);
    looked.unwrap();
    let seen: Vec<(u32, u32)> = outcomes
        .iter()
        .map(|o| (o.state.get(), o.result.get()))
        .collect();
    let expected = [
        (OutcomeState::Committed as u32, 0),
        (
            OutcomeState::Rejected as u32,
            T::CreditAccountNotFound.number(),
        ),
        (OutcomeState::Rejected as u32, T::Burned.number()),
        (OutcomeState::Unknown as u32, 0),
    ];
    assert_eq!(seen, expected);
}
