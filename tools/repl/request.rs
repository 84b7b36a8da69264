//! What a line asks for.

use kanjo_format::client::{
    AccountBody, AccountChange, AccountChangeBody, AccountFilterBody, AccountFilterFlags,
    AccountFlags, BalanceAsOfBody, CloseDayBody, DETAILED_EVENTS_MAX, Freeze, QueryFilterBody,
    QueryFilterFlags, Span, StatementBody, TransferBody, TransferDetailBody, TransferFlags,
};
use kanjo_format::limits::REQUEST_EVENTS_MAX;

use super::json::{Fields, Misread, Node};
use super::operations::{OPERATIONS, Operation};

/// A request as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    CreateAccounts(Vec<AccountBody>),
    CreateTransfers(Vec<TransferBody>),
    CreateTransfersDetailed(Vec<TransferDetailBody>),
    LookupAccounts(Vec<u128>),
    LookupTransfers(Vec<u128>),
    LookupAccountTerms(Vec<u128>),
    LookupTransferDetails(Vec<u128>),
    GetAccountTransfers(AccountFilterBody),
    GetAccountBalances(AccountFilterBody),
    QueryAccounts(QueryFilterBody),
    QueryTransfers(QueryFilterBody),
    ChangeAccounts(Vec<AccountChangeBody>),
    CloseDay(CloseDayBody),
    Burn(Vec<u128>),
    LookupOutcome(Vec<u128>),
    Statement(StatementBody),
    BalancesAsOf(Vec<BalanceAsOfBody>),
    TrialBalance,
    TickNs(u64),
    Help(Option<&'static Operation>),
}

impl Request {
    /// Reads a line: the operation's name and what it asks.
    pub(crate) fn read(line: &str) -> Result<(&'static str, Self), Misread> {
        let (name, node) = Node::of_line(line)?.fields()?.only()?;
        let Some(operation) = OPERATIONS.iter().find(|known| known.name == name) else {
            let known: Vec<&str> = OPERATIONS.iter().map(|known| known.name).collect();
            let known = known.join(", ");
            return Err(node.misread(format!("there is no such request; known are: {known}")));
        };
        Ok((operation.name, Self::of(operation.name, &node)?))
    }

    fn of(name: &str, node: &Node<'_>) -> Result<Self, Misread> {
        Ok(match name {
            "create_accounts" => Self::CreateAccounts(rows(node, REQUEST_EVENTS_MAX, account)?),
            "create_transfers" => create_transfers(node)?,
            "lookup_accounts" => Self::LookupAccounts(ids(node)?),
            "lookup_transfers" => Self::LookupTransfers(ids(node)?),
            "lookup_account_terms" => Self::LookupAccountTerms(ids(node)?),
            "lookup_transfer_details" => Self::LookupTransferDetails(ids(node)?),
            "get_account_transfers" => Self::GetAccountTransfers(account_filter(node)?),
            "get_account_balances" => Self::GetAccountBalances(account_filter(node)?),
            "query_accounts" => Self::QueryAccounts(query_filter(node)?),
            "query_transfers" => Self::QueryTransfers(query_filter(node)?),
            "change_accounts" => Self::ChangeAccounts(rows(node, REQUEST_EVENTS_MAX, change)?),
            "close_day" => Self::CloseDay(close_day(node)?),
            "burn" => Self::Burn(ids(node)?),
            "lookup_outcome" => Self::LookupOutcome(ids(node)?),
            "statement" => Self::Statement(statement(node)?),
            "balances_as_of" => Self::BalancesAsOf(rows(node, REQUEST_EVENTS_MAX, as_of)?),
            "trial_balance" => {
                if !node.is_null() {
                    node.fields()?.finish()?;
                }
                Self::TrialBalance
            }
            "tick_ns" => Self::TickNs(node.number(64)? as u64),
            _ => Self::Help(about(node)?),
        })
    }
}

fn about(node: &Node<'_>) -> Result<Option<&'static Operation>, Misread> {
    if node.is_null() {
        return Ok(None);
    }
    let name = node.text()?;
    let found = OPERATIONS.iter().find(|known| known.name == name);
    match found {
        Some(operation) => Ok(Some(operation)),
        None => Err(node.misread("there is no such request")),
    }
}

/// Rows of one kind, at most so many.
fn rows<T>(
    node: &Node<'_>,
    most: usize,
    row: impl Fn(Fields<'_>) -> Result<T, Misread>,
) -> Result<Vec<T>, Misread> {
    let items = bounded(node, most)?;
    items.iter().map(|item| row(item.fields()?)).collect()
}

fn bounded<'a>(node: &Node<'a>, most: usize) -> Result<Vec<Node<'a>>, Misread> {
    let items = node.list()?;
    if items.len() > most {
        let found = items.len();
        return Err(node.misread(format!(
            "{found} rows are over the limit of {most} a request"
        )));
    }
    Ok(items)
}

fn ids(node: &Node<'_>) -> Result<Vec<u128>, Misread> {
    let items = bounded(node, REQUEST_EVENTS_MAX)?;
    items.iter().map(|item| item.number(128)).collect()
}

fn account(mut fields: Fields<'_>) -> Result<AccountBody, Misread> {
    let body = AccountBody {
        id: fields.u128("id")?.into(),
        debits_pending: fields.u128("debits_pending")?.into(),
        debits_posted: fields.u128("debits_posted")?.into(),
        credits_pending: fields.u128("credits_pending")?.into(),
        credits_posted: fields.u128("credits_posted")?.into(),
        user_data_128: fields.u128("user_data_128")?.into(),
        user_data_64: fields.u64("user_data_64")?.into(),
        user_data_32: fields.u32("user_data_32")?.into(),
        reserved: fields.u32("reserved")?.into(),
        ledger: fields.u32("ledger")?.into(),
        code: fields.u16("code")?.into(),
        flags: (fields.flags("flags", AccountFlags::NAMES)? as u16).into(),
        timestamp: fields.u64("timestamp")?.into(),
    };
    fields.finish()?;
    Ok(body)
}

fn create_transfers(node: &Node<'_>) -> Result<Request, Misread> {
    let read = rows(node, REQUEST_EVENTS_MAX, transfer)?;
    if read.iter().all(|(_, is_detailed)| !is_detailed) {
        let plain = read.iter().map(|(detail, _)| detail.transfer).collect();
        return Ok(Request::CreateTransfers(plain));
    }
    if read.len() > DETAILED_EVENTS_MAX {
        return Err(node.misread(format!(
            "{} rows with dates or reversals are over the limit of {DETAILED_EVENTS_MAX} a request",
            read.len()
        )));
    }
    let detailed = read.into_iter().map(|(detail, _)| detail).collect();
    Ok(Request::CreateTransfersDetailed(detailed))
}

/// A transfer, and whether it names what only a detailed request can carry.
fn transfer(mut fields: Fields<'_>) -> Result<(TransferDetailBody, bool), Misread> {
    let has_amount = fields.has("amount");
    let transfer = TransferBody {
        id: fields.u128("id")?.into(),
        debit_account_id: fields.u128("debit_account_id")?.into(),
        credit_account_id: fields.u128("credit_account_id")?.into(),
        amount: fields.u128("amount")?.into(),
        pending_id: fields.u128("pending_id")?.into(),
        user_data_128: fields.u128("user_data_128")?.into(),
        user_data_64: fields.u64("user_data_64")?.into(),
        user_data_32: fields.u32("user_data_32")?.into(),
        timeout: fields.u32("timeout")?.into(),
        ledger: fields.u32("ledger")?.into(),
        code: fields.u16("code")?.into(),
        flags: (fields.flags("flags", TransferFlags::NAMES)? as u16).into(),
        timestamp: fields.u64("timestamp")?.into(),
    };
    let mut is_detailed = false;
    let mut detail = |name: &'static str, bits: u32| -> Result<u128, Misread> {
        let node = fields.take(name);
        is_detailed |= node.is_some();
        node.map_or(Ok(0), |node| node.number(bits))
    };
    let body = TransferDetailBody {
        transfer,
        reverses: detail("reverses", 128)?.into(),
        value_date: (detail("value_date", 32)? as u32).into(),
        business_date: (detail("business_date", 32)? as u32).into(),
        reserved: 0.into(),
    };
    let mut body = body;
    if !has_amount && body.reverses.get() != 0 {
        // All of it: a reversal of nothing would use up the only one there can be.
        body.transfer.amount = u128::MAX.into();
    }
    fields.finish()?;
    Ok((body, is_detailed))
}

/// Little-endian, as far as it fits.
fn reserved<const N: usize>(fields: &mut Fields<'_>) -> Result<[u8; N], Misread> {
    let number = fields.number("reserved", 128.min(8 * N as u32))?;
    let mut bytes = [0; N];
    for (byte, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = from;
    }
    Ok(bytes)
}

fn account_filter(node: &Node<'_>) -> Result<AccountFilterBody, Misread> {
    let mut fields = node.fields()?;
    let body = AccountFilterBody {
        account_id: fields.u128("account_id")?.into(),
        user_data_128: fields.u128("user_data_128")?.into(),
        user_data_64: fields.u64("user_data_64")?.into(),
        user_data_32: fields.u32("user_data_32")?.into(),
        code: fields.u16("code")?.into(),
        reserved: reserved(&mut fields)?,
        timestamp_min: fields.u64("timestamp_min")?.into(),
        timestamp_max: fields.u64("timestamp_max")?.into(),
        limit: fields.u32("limit")?.into(),
        flags: (fields.flags("flags", AccountFilterFlags::NAMES)? as u32).into(),
    };
    fields.finish()?;
    Ok(body)
}

fn query_filter(node: &Node<'_>) -> Result<QueryFilterBody, Misread> {
    let mut fields = node.fields()?;
    let body = QueryFilterBody {
        user_data_128: fields.u128("user_data_128")?.into(),
        user_data_64: fields.u64("user_data_64")?.into(),
        user_data_32: fields.u32("user_data_32")?.into(),
        ledger: fields.u32("ledger")?.into(),
        code: fields.u16("code")?.into(),
        reserved: reserved(&mut fields)?,
        timestamp_min: fields.u64("timestamp_min")?.into(),
        timestamp_max: fields.u64("timestamp_max")?.into(),
        limit: fields.u32("limit")?.into(),
        flags: (fields.flags("flags", QueryFilterFlags::NAMES)? as u32).into(),
    };
    fields.finish()?;
    Ok(body)
}

fn change(mut fields: Fields<'_>) -> Result<AccountChangeBody, Misread> {
    let mut body = AccountChangeBody {
        id: fields.u128("id")?.into(),
        reserved: fields.u64("reserved")?.into(),
        ..AccountChangeBody::default()
    };
    let mut change = 0;
    if let Some(node) = fields.take("overdraft_limit") {
        if node.is_null() {
            change |= AccountChange::CLEAR_OVERDRAFT_LIMIT;
        } else {
            change |= AccountChange::SET_OVERDRAFT_LIMIT;
            body.overdraft_limit = node.number(128)?.into();
        }
    }
    if let Some(node) = fields.take("freeze") {
        change |= AccountChange::SET_FREEZE;
        let names: Vec<(&str, u128)> = Freeze::NAMES
            .iter()
            .map(|(name, bit)| (*name, u128::from(*bit)))
            .collect();
        body.freeze = (node.flags(&names, 32)? as u32).into();
    }
    body.change = change.into();
    fields.finish()?;
    Ok(body)
}

fn close_day(node: &Node<'_>) -> Result<CloseDayBody, Misread> {
    let mut fields = node.fields()?;
    let body = CloseDayBody {
        date: fields.u32("date")?.into(),
        next: fields.u32("next")?.into(),
        reserved: fields.u64("reserved")?.into(),
    };
    fields.finish()?;
    Ok(body)
}

fn unit(fields: &mut Fields<'_>) -> Result<u32, Misread> {
    let names: Vec<(&str, u128)> = Span::ALL
        .iter()
        .map(|span| (span.name(), u128::from(*span as u32)))
        .collect();
    let node = fields.take("unit");
    Ok(node.map_or(Ok(0), |node| node.choice(&names))? as u32)
}

fn statement(node: &Node<'_>) -> Result<StatementBody, Misread> {
    let mut fields = node.fields()?;
    let body = StatementBody {
        account_id: fields.u128("account_id")?.into(),
        unit: unit(&mut fields)?.into(),
        limit: fields.u32("limit")?.into(),
        from: fields.u64("from")?.into(),
        to: fields.u64("to")?.into(),
        ..StatementBody::default()
    };
    fields.finish()?;
    if body.limit.get() == 0 {
        // Nothing would be found, and nothing is no closing balance.
        return Err(Misread::new("statement.limit", "a statement needs a limit"));
    }
    Ok(body)
}

fn as_of(mut fields: Fields<'_>) -> Result<BalanceAsOfBody, Misread> {
    let body = BalanceAsOfBody {
        account_id: fields.u128("account_id")?.into(),
        at: fields.u64("at")?.into(),
        unit: unit(&mut fields)?.into(),
        reserved: 0.into(),
    };
    fields.finish()?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> Misread {
        Request::read(line).expect_err("refused")
    }

    #[test]
    fn a_missing_field_is_zero() {
        let line = r#"{"create_accounts":[{"id":"7"}]}"#;
        let Ok((_, Request::CreateAccounts(accounts))) = Request::read(line) else {
            panic!("accounts were asked for");
        };
        let expected = AccountBody {
            id: 7.into(),
            ..AccountBody::default()
        };
        assert_eq!(accounts, [expected]);
    }

    #[test]
    fn a_bad_field_is_named_with_its_place() {
        let cases = [
            (
                r#"{"create_transfers":[{},{"code":65536}]}"#,
                "create_transfers[1].code",
            ),
            (
                r#"{"create_transfers":[{"cod":1}]}"#,
                "create_transfers[0].cod",
            ),
            (r#"{"create_transfers":{}}"#, "create_transfers"),
            (r#"{"create_transfers":[7]}"#, "create_transfers[0]"),
            (r#"{"lookup_accounts":[1,-1]}"#, "lookup_accounts[1]"),
            (
                r#"{"create_accounts":[{"flags":["linked","no"]}]}"#,
                "create_accounts[0].flags[1]",
            ),
            (
                r#"{"query_accounts":{"flags":"debits"}}"#,
                "query_accounts.flags",
            ),
            (r#"{"statement":{"unit":"week"}}"#, "statement.unit"),
            (r#"{"no_such":[]}"#, "no_such"),
            (r#"{"tick_ns":1,"burn":[]}"#, "burn"),
            (r#"{"tick_ns":1.5}"#, "tick_ns"),
            ("{", ""),
            ("[]", ""),
            ("{}", ""),
        ];
        for (line, field) in cases {
            assert_eq!(wrong(line).field, field, "{line}");
        }
    }

    #[test]
    fn only_a_request_that_names_dates_or_a_reversal_is_a_detailed_one() {
        let plain = Request::read(r#"{"create_transfers":[{"id":1}]}"#);
        assert!(matches!(plain, Ok((_, Request::CreateTransfers(_)))));
        let dated = Request::read(r#"{"create_transfers":[{"id":1,"value_date":20260131}]}"#);
        assert!(matches!(
            dated,
            Ok((_, Request::CreateTransfersDetailed(_)))
        ));
    }

    #[test]
    fn a_number_for_flags_may_hold_any_bit() {
        let line = r#"{"create_transfers":[{"flags":65535}]}"#;
        let Ok((_, Request::CreateTransfers(transfers))) = Request::read(line) else {
            panic!("transfers were asked for");
        };
        assert_eq!(transfers[0].flags.get(), 65_535);
    }

    #[test]
    fn null_takes_an_overdraft_limit_away() {
        let line = r#"{"change_accounts":[{"id":1,"overdraft_limit":null,"freeze":["debits"]}]}"#;
        let Ok((_, Request::ChangeAccounts(changes))) = Request::read(line) else {
            panic!("changes were asked for");
        };
        let expected = AccountChange::CLEAR_OVERDRAFT_LIMIT | AccountChange::SET_FREEZE;
        assert_eq!(changes[0].change.get(), expected);
        assert_eq!(changes[0].freeze.get(), Freeze::DEBITS);
    }

    #[test]
    fn more_rows_than_a_request_may_have_are_refused() {
        let ids = vec!["1"; REQUEST_EVENTS_MAX + 1].join(",");
        let refused = wrong(&format!(r#"{{"lookup_accounts":[{ids}]}}"#));
        assert_eq!(refused.field, "lookup_accounts");
    }
}
