//! What the model says, held against examples that were worked out by hand.

use kanjo_format::client::{
    AccountBody, AccountChange, AccountChangeBody, CloseDayBody, Freeze, Span, TransferBody,
};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};

use super::filter::Filter;
use super::outcome::Fate;
use super::terms::is_date;
use super::{Asked, Balance, Model, account, transfer};

const SECOND_NS: u64 = 1_000_000_000;

fn account(id: u128, flags: u16) -> AccountBody {
    AccountBody {
        id: id.into(),
        ledger: 1.into(),
        code: 1.into(),
        flags: flags.into(),
        ..AccountBody::default()
    }
}

fn asked(id: u128, accounts: (u128, u128), amount: u128, flags: u16) -> Asked {
    Asked {
        body: TransferBody {
            id: id.into(),
            debit_account_id: accounts.0.into(),
            credit_account_id: accounts.1.into(),
            amount: amount.into(),
            ledger: 1.into(),
            code: 1.into(),
            flags: flags.into(),
            ..TransferBody::default()
        },
        ..Asked::default()
    }
}

fn resolving(id: u128, pending: u128, amount: u128, flags: u16) -> Asked {
    let mut asked = asked(id, (0, 0), amount, flags);
    asked.body.pending_id = pending.into();
    asked.body.ledger = 0.into();
    asked.body.code = 0.into();
    asked
}

/// A ledger with accounts 1 to 3; the third may not be overdrawn.
fn three_accounts() -> Model {
    let mut model = Model::default();
    model.begin_batch(0);
    let limited = account::DEBITS_MUST_NOT_EXCEED_CREDITS;
    model.create_accounts(&[
        account(1, account::HISTORY),
        account(2, 0),
        account(3, limited),
    ]);
    model
}

fn statuses(results: &[(CreateTransferResult, u64)]) -> Vec<CreateTransferResult> {
    results.iter().map(|(result, _)| *result).collect()
}

fn run(model: &mut Model, asked: Asked) -> CreateTransferResult {
    model.create_transfers(&[asked])[0].0
}

fn balance(model: &Model, id: u128) -> (u128, u128, u128, u128) {
    let b = model.account(id).expect("it exists").balance;
    (
        b.debits_pending,
        b.debits_posted,
        b.credits_pending,
        b.credits_posted,
    )
}

#[test]
fn the_first_record_is_made_at_one() {
    let mut model = Model::default();
    model.begin_batch(0);
    let results = model.create_accounts(&[account(1, 0), account(1, 0), account(2, 0)]);
    use CreateAccountResult as R;
    assert_eq!(results, [(R::Created, 1), (R::Exists, 1), (R::Created, 2)]);
}

#[test]
fn a_chain_that_fails_leaves_only_the_failed_id() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    let results = model.create_transfers(&[
        asked(1, (1, 2), 5, transfer::LINKED),
        asked(2, (3, 2), 5, transfer::LINKED),
        asked(3, (1, 2), 5, 0),
        asked(1, (1, 2), 7, 0),
    ]);
    let failed = R::LinkedEventFailed;
    assert_eq!(
        statuses(&results),
        [failed, R::ExceedsCredits, failed, R::Created]
    );
    assert_eq!(balance(&model, 2), (0, 0, 0, 7));
    assert_eq!(model.fate(2), Fate::Rejected(R::ExceedsCredits));
    assert_eq!(model.fate(3), Fate::Unknown);
    assert_eq!(run(&mut model, asked(2, (1, 2), 5, 0)), R::IdAlreadyFailed);
}

#[test]
fn the_last_event_of_a_request_cannot_be_linked() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    let results = model.create_transfers(&[
        asked(1, (1, 1), 5, transfer::LINKED),
        asked(2, (1, 2), 5, transfer::LINKED),
    ]);
    assert_eq!(
        statuses(&results),
        [R::AccountsMustBeDifferent, R::LinkedEventChainOpen]
    );
}

#[test]
fn a_pending_transfer_is_posted_voided_or_expires_and_only_once() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    for id in 1..=3 {
        let mut pending = asked(id, (1, 2), 10, transfer::PENDING);
        pending.body.timeout = 1.into();
        assert_eq!(run(&mut model, pending), R::Created);
    }
    assert_eq!(balance(&model, 1), (30, 0, 0, 0));
    let post = resolving(11, 1, 4, transfer::POST_PENDING);
    assert_eq!(run(&mut model, post), R::Created);
    let void = resolving(12, 2, 0, transfer::VOID_PENDING);
    assert_eq!(run(&mut model, void), R::Created);
    assert_eq!(balance(&model, 1), (10, 4, 0, 0));
    model.begin_batch(model.log_time() + SECOND_NS);
    assert_eq!(balance(&model, 1), (0, 4, 0, 0));
    for (id, pending, why) in [
        (21, 1, R::PendingTransferAlreadyPosted),
        (22, 2, R::PendingTransferAlreadyVoided),
        (23, 3, R::PendingTransferExpired),
    ] {
        let post = resolving(id, pending, u128::MAX, transfer::POST_PENDING);
        assert_eq!(run(&mut model, post), why);
    }
    assert_eq!(
        run(&mut model, resolving(11, 1, 4, transfer::POST_PENDING)),
        R::Exists
    );
}

#[test]
fn an_account_is_closed_until_the_transfer_that_closed_it_is_voided() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    let closing = asked(1, (1, 2), 0, transfer::PENDING | transfer::CLOSING_DEBIT);
    assert_eq!(run(&mut model, closing), R::Created);
    assert!(model.account(1).expect("it exists").is_closed());
    assert_eq!(
        run(&mut model, asked(2, (1, 2), 1, 0)),
        R::DebitAccountAlreadyClosed
    );
    assert_eq!(
        run(&mut model, asked(3, (2, 1), 1, 0)),
        R::CreditAccountAlreadyClosed
    );
    assert_eq!(
        run(&mut model, resolving(4, 1, 0, transfer::VOID_PENDING)),
        R::Created
    );
    assert_eq!(run(&mut model, asked(5, (1, 2), 1, 0)), R::Created);
}

#[test]
fn an_import_is_not_mixed_and_its_time_only_rises() {
    use CreateTransferResult as R;
    let mut model = Model::default();
    model.begin_batch(100);
    let at = |id, time: u64| {
        let mut body = account(id, account::IMPORTED);
        body.timestamp = time.into();
        body
    };
    model.create_accounts(&[at(1, 10), at(2, 20)]);
    let imported = |id, time: u64| {
        let mut asked = asked(id, (1, 2), 5, transfer::IMPORTED);
        asked.body.timestamp = time.into();
        asked
    };
    let results = model.create_transfers(&[
        imported(1, 21),
        asked(2, (1, 2), 5, 0),
        imported(3, 21),
        imported(4, 10),
        imported(5, 1_000),
        imported(6, 0),
        imported(7, 22),
    ]);
    assert_eq!(
        statuses(&results),
        [
            R::Created,
            R::ImportedEventExpected,
            R::ImportedEventTimestampMustNotRegress,
            R::ImportedEventTimestampMustNotRegress,
            R::ImportedEventTimestampMustNotAdvance,
            R::ImportedEventTimestampOutOfRange,
            R::Created,
        ]
    );
    assert_eq!((results[0].1, results[6].1), (21, 22));
}

#[test]
fn an_overdraft_limit_counts_reserved_debits() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    let change = AccountChangeBody {
        id: 3.into(),
        overdraft_limit: 100.into(),
        change: AccountChange::SET_OVERDRAFT_LIMIT.into(),
        ..AccountChangeBody::default()
    };
    let change = &change;
    assert_eq!(model.change_account(change).0, ChangeAccountResult::Changed);
    assert_eq!(
        model.change_account(change).0,
        ChangeAccountResult::Unchanged
    );
    assert_eq!(
        run(&mut model, asked(1, (3, 1), 60, transfer::PENDING)),
        R::Created
    );
    assert_eq!(
        run(&mut model, asked(2, (3, 1), 41, 0)),
        R::ExceedsOverdraftLimit
    );
    assert_eq!(run(&mut model, asked(3, (3, 1), 40, 0)), R::Created);
}

#[test]
fn a_freeze_stops_new_money_and_no_void() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    assert_eq!(
        run(&mut model, asked(1, (1, 2), 5, transfer::PENDING)),
        R::Created
    );
    model.change_account(&AccountChangeBody {
        id: 1.into(),
        change: AccountChange::SET_FREEZE.into(),
        freeze: Freeze::DEBITS.into(),
        ..AccountChangeBody::default()
    });
    assert_eq!(
        run(&mut model, asked(2, (1, 2), 5, 0)),
        R::DebitAccountFrozen
    );
    assert_eq!(run(&mut model, asked(3, (2, 1), 5, 0)), R::Created);
    let post = resolving(4, 1, 5, transfer::POST_PENDING);
    assert_eq!(run(&mut model, post), R::DebitAccountFrozen);
    assert_eq!(
        run(&mut model, resolving(5, 1, 0, transfer::VOID_PENDING)),
        R::Created
    );
}

#[test]
fn a_transfer_is_reversed_once_and_not_beyond_itself() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    assert_eq!(run(&mut model, asked(1, (1, 2), 50, 0)), R::Created);
    let reversal = |id, amount| Asked {
        reverses: 1,
        ..resolving(id, 0, amount, 0)
    };
    assert_eq!(
        run(&mut model, reversal(2, 51)),
        R::ExceedsReversedTransferAmount
    );
    assert_eq!(run(&mut model, reversal(3, u128::MAX)), R::Created);
    assert_eq!(run(&mut model, reversal(3, 50)), R::Exists);
    assert_eq!(run(&mut model, reversal(4, 1)), R::TransferAlreadyReversed);
    assert_eq!(balance(&model, 1), (0, 50, 0, 50));
}

fn close_day(model: &mut Model, date: u32, next: u32) -> CloseDayResult {
    let close = CloseDayBody {
        date: date.into(),
        next: next.into(),
        ..CloseDayBody::default()
    };
    model.close_day(&close).0
}

#[test]
fn nothing_is_posted_to_a_closed_business_date() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    assert_eq!(close_day(&mut model, 0, 20_260_105), CloseDayResult::Closed);
    assert_eq!(
        close_day(&mut model, 20_260_105, 20_260_106),
        CloseDayResult::Closed
    );
    assert_eq!(
        close_day(&mut model, 20_260_105, 20_260_106),
        CloseDayResult::AlreadyClosed
    );
    assert_eq!(
        close_day(&mut model, 20_260_105, 20_260_107),
        CloseDayResult::DateIsNotCurrent
    );
    let dated = |id, business_date| Asked {
        business_date,
        ..asked(id, (1, 2), 1, 0)
    };
    assert_eq!(run(&mut model, dated(1, 20_260_105)), R::BusinessDateClosed);
    assert_eq!(run(&mut model, dated(2, 20_260_106)), R::Created);
    assert_eq!(
        run(&mut model, dated(3, 20_260_230)),
        R::BusinessDateMustBeValid
    );
    assert!(is_date(20_240_229) && !is_date(20_230_229) && !is_date(21_000_229));
}

#[test]
fn a_burned_id_never_becomes_a_transfer() {
    use CreateTransferResult as R;
    let mut model = three_accounts();
    assert_eq!(model.burn(1).0, BurnResult::Burned);
    assert_eq!(model.burn(1).0, BurnResult::AlreadyFailed);
    assert_eq!(run(&mut model, asked(1, (1, 2), 1, 0)), R::IdAlreadyFailed);
    assert_eq!(run(&mut model, asked(2, (1, 2), 1, 0)), R::Created);
    assert_eq!(model.burn(2), (BurnResult::Exists, model.log_time()));
    assert_eq!(model.fate(1), Fate::Rejected(R::Burned));
}

#[test]
fn filters_are_combined_and_pages_go_both_ways() {
    let mut model = three_accounts();
    for id in 1..=4 {
        let accounts = if id % 2 == 0 { (1, 2) } else { (2, 1) };
        let mut asked = asked(id, accounts, 1, 0);
        asked.body.user_data_64 = u64::from(id > 2).into();
        run(&mut model, asked);
    }
    let ids = |found: Vec<TransferBody>| found.iter().map(|t| t.id.get()).collect::<Vec<_>>();
    let mut filter = Filter {
        account_id: 1,
        limit: 10,
        debits: true,
        ..Filter::default()
    };
    assert_eq!(ids(model.get_account_transfers(&filter)), [2, 4]);
    filter.credits = true;
    filter.reversed = true;
    assert_eq!(ids(model.get_account_transfers(&filter)), [4, 3, 2, 1]);
    filter.user_data_64 = 1;
    filter.limit = 1;
    assert_eq!(ids(model.get_account_transfers(&filter)), [4]);
    let balances = model.get_account_balances(&filter);
    let expected = Balance {
        debits_posted: 2,
        credits_posted: 2,
        ..Balance::default()
    };
    assert_eq!(balances[0].balance, expected);
    filter.limit = 0;
    assert!(model.get_account_transfers(&filter).is_empty());
}

#[test]
fn the_past_is_what_it_was() {
    let mut model = three_accounts();
    run(&mut model, asked(1, (1, 2), 5, 0));
    let then = model.log_time();
    run(&mut model, asked(2, (1, 2), 6, 0));
    let before = model.balance_as_of(1, Span::Timestamp, then);
    assert_eq!((before.balance.debits_posted, before.timestamp), (5, then));
    let totals = model.trial_balance();
    let all = totals[&(1, 0)];
    assert_eq!((all.accounts, all.debits_posted), (3, (11, 0)));
    assert_eq!(all.debits_posted, all.credits_posted);
}

#[test]
fn lookups_and_queries_show_what_was_created() {
    let mut model = three_accounts();
    run(&mut model, asked(1, (1, 2), 5, 0));
    let filter = Filter {
        ledger: 1,
        limit: 2,
        ..Filter::default()
    };
    assert_eq!(
        model.query_accounts(&filter),
        model.lookup_accounts(&[1, 9, 2])
    );
    assert_eq!(model.query_transfers(&filter), model.lookup_transfers(&[1]));
    let elsewhere = Filter {
        ledger: 2,
        ..filter
    };
    assert!(model.query_accounts(&elsewhere).is_empty());
    assert!(model.query_transfers(&elsewhere).is_empty());
}
