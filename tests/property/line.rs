//! Requests as lines that can be given to `kanjo repl --embedded`: how a failing case is shown.

use kanjo_format::client::{
    AccountBody, AccountChange, AccountChangeBody, AccountFilterBody, BalanceAsOfBody,
    QueryFilterBody, StatementBody, TransferBody, TransferDetailBody,
};

use crate::repl::request::Request;
use crate::repl::shown::Shown;

type Fields = Vec<(&'static str, Shown)>;

pub(crate) fn line_of(request: &Request) -> String {
    let (name, body) = match request {
        Request::CreateAccounts(rows) => ("create_accounts", list(rows, account)),
        Request::CreateTransfers(rows) => ("create_transfers", list(rows, transfer)),
        Request::CreateTransfersDetailed(rows) => ("create_transfers", list(rows, detail)),
        Request::LookupAccounts(ids) => ("lookup_accounts", numbers(ids)),
        Request::LookupTransfers(ids) => ("lookup_transfers", numbers(ids)),
        Request::LookupAccountTerms(ids) => ("lookup_account_terms", numbers(ids)),
        Request::LookupTransferDetails(ids) => ("lookup_transfer_details", numbers(ids)),
        Request::GetAccountTransfers(body) => ("get_account_transfers", account_filter(body)),
        Request::GetAccountBalances(body) => ("get_account_balances", account_filter(body)),
        Request::QueryAccounts(body) => ("query_accounts", query_filter(body)),
        Request::QueryTransfers(body) => ("query_transfers", query_filter(body)),
        Request::ChangeAccounts(rows) => ("change_accounts", list(rows, change)),
        Request::CloseDay(body) => (
            "close_day",
            object(vec![
                ("date", body.date.get().into()),
                ("next", body.next.get().into()),
                ("reserved", body.reserved.get().into()),
            ]),
        ),
        Request::Burn(ids) => ("burn", numbers(ids)),
        Request::LookupOutcome(ids) => ("lookup_outcome", numbers(ids)),
        Request::Statement(body) => ("statement", statement(body)),
        Request::BalancesAsOf(rows) => ("balances_as_of", list(rows, as_of)),
        Request::TrialBalance => ("trial_balance", Shown::Null),
        Request::TickNs(passed) => ("tick_ns", (*passed).into()),
        Request::Help(_) => ("help", Shown::Null),
    };
    Shown::Object(vec![(name, body)]).line()
}

fn numbers(ids: &[u128]) -> Shown {
    Shown::List(ids.iter().map(|id| (*id).into()).collect())
}

fn list<T>(rows: &[T], fields: impl Fn(&T) -> Fields) -> Shown {
    Shown::List(rows.iter().map(|row| object(fields(row))).collect())
}

/// Without what is zero.
fn object(fields: Fields) -> Shown {
    let is_set = |(_, value): &(&str, Shown)| *value != Shown::Number(0);
    Shown::Object(fields.into_iter().filter(is_set).collect())
}

fn account(row: &AccountBody) -> Fields {
    vec![
        ("id", row.id.get().into()),
        ("debits_pending", row.debits_pending.get().into()),
        ("debits_posted", row.debits_posted.get().into()),
        ("credits_pending", row.credits_pending.get().into()),
        ("credits_posted", row.credits_posted.get().into()),
        ("user_data_128", row.user_data_128.get().into()),
        ("user_data_64", row.user_data_64.get().into()),
        ("user_data_32", row.user_data_32.get().into()),
        ("reserved", row.reserved.get().into()),
        ("ledger", row.ledger.get().into()),
        ("code", row.code.get().into()),
        ("flags", row.flags.get().into()),
        ("timestamp", row.timestamp.get().into()),
    ]
}

fn transfer(row: &TransferBody) -> Fields {
    vec![
        ("id", row.id.get().into()),
        ("debit_account_id", row.debit_account_id.get().into()),
        ("credit_account_id", row.credit_account_id.get().into()),
        ("amount", row.amount.get().into()),
        ("pending_id", row.pending_id.get().into()),
        ("user_data_128", row.user_data_128.get().into()),
        ("user_data_64", row.user_data_64.get().into()),
        ("user_data_32", row.user_data_32.get().into()),
        ("timeout", row.timeout.get().into()),
        ("ledger", row.ledger.get().into()),
        ("code", row.code.get().into()),
        ("flags", row.flags.get().into()),
        ("timestamp", row.timestamp.get().into()),
    ]
}

fn detail(row: &TransferDetailBody) -> Fields {
    let mut fields = transfer(&row.transfer);
    fields.extend([
        ("reverses", row.reverses.get().into()),
        ("value_date", row.value_date.get().into()),
        ("business_date", row.business_date.get().into()),
    ]);
    fields
}

/// As far as a line can say it: a line never names both a limit and none.
fn change(row: &AccountChangeBody) -> Fields {
    let change = row.change.get();
    let mut fields = vec![
        ("id", row.id.get().into()),
        ("reserved", row.reserved.get().into()),
    ];
    if change & AccountChange::CLEAR_OVERDRAFT_LIMIT != 0 {
        fields.push(("overdraft_limit", Shown::Null));
    } else if change & AccountChange::SET_OVERDRAFT_LIMIT != 0 {
        // As text, so that a zero is not left out.
        fields.push((
            "overdraft_limit",
            Shown::text(row.overdraft_limit.get().to_string()),
        ));
    }
    if change & AccountChange::SET_FREEZE != 0 {
        fields.push(("freeze", Shown::text(row.freeze.get().to_string())));
    }
    fields
}

fn account_filter(row: &AccountFilterBody) -> Shown {
    object(vec![
        ("account_id", row.account_id.get().into()),
        ("user_data_128", row.user_data_128.get().into()),
        ("user_data_64", row.user_data_64.get().into()),
        ("user_data_32", row.user_data_32.get().into()),
        ("code", row.code.get().into()),
        ("reserved", u128::from(row.reserved != [0; 58]).into()),
        ("timestamp_min", row.timestamp_min.get().into()),
        ("timestamp_max", row.timestamp_max.get().into()),
        ("limit", row.limit.get().into()),
        ("flags", row.flags.get().into()),
    ])
}

fn query_filter(row: &QueryFilterBody) -> Shown {
    object(vec![
        ("user_data_128", row.user_data_128.get().into()),
        ("user_data_64", row.user_data_64.get().into()),
        ("user_data_32", row.user_data_32.get().into()),
        ("ledger", row.ledger.get().into()),
        ("code", row.code.get().into()),
        ("reserved", u128::from(row.reserved != [0; 6]).into()),
        ("timestamp_min", row.timestamp_min.get().into()),
        ("timestamp_max", row.timestamp_max.get().into()),
        ("limit", row.limit.get().into()),
        ("flags", row.flags.get().into()),
    ])
}

fn statement(row: &StatementBody) -> Shown {
    object(vec![
        ("account_id", row.account_id.get().into()),
        ("unit", row.unit.get().into()),
        ("from", row.from.get().into()),
        ("to", row.to.get().into()),
        ("limit", row.limit.get().into()),
    ])
}

fn as_of(row: &BalanceAsOfBody) -> Fields {
    vec![
        ("account_id", row.account_id.get().into()),
        ("at", row.at.get().into()),
        ("unit", row.unit.get().into()),
    ]
}
