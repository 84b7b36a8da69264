//! The requests that a line can hold, as `help` tells them and as completion offers them.

use kanjo_format::client::{
    AccountFilterFlags, AccountFlags, Freeze, QueryFilterFlags, Span, TransferFlags,
};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// What it is for, in a line.
    pub(crate) about: &'static str,
    /// Fields of one row, or of the object.
    pub(crate) fields: &'static [&'static str],
    /// A line to try.
    pub(crate) example: &'static str,
    /// What else is to be known.
    pub(crate) notes: &'static str,
}

const ACCOUNT_FIELDS: &[&str] = &[
    "id",
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "reserved",
    "ledger",
    "code",
    "flags",
    "timestamp",
];

const TRANSFER_FIELDS: &[&str] = &[
    "id",
    "debit_account_id",
    "credit_account_id",
    "amount",
    "pending_id",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "timeout",
    "ledger",
    "code",
    "flags",
    "timestamp",
    "reverses",
    "value_date",
    "business_date",
];

const ACCOUNT_FILTER_FIELDS: &[&str] = &[
    "account_id",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "code",
    "reserved",
    "timestamp_min",
    "timestamp_max",
    "limit",
    "flags",
];

const QUERY_FILTER_FIELDS: &[&str] = &[
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "ledger",
    "code",
    "reserved",
    "timestamp_min",
    "timestamp_max",
    "limit",
    "flags",
];

/// All of them, in the order in which somebody new would try them.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "create_accounts",
        about: "open accounts; their balances start at zero",
        fields: ACCOUNT_FIELDS,
        example: r#"{"create_accounts":[{"id":1,"ledger":203,"code":10},{"id":2,"ledger":203,"code":10,"flags":["debits_must_not_exceed_credits"]}]}"#,
        notes: "A row needs id, ledger and code; balances, reserved and (without `imported`) timestamp stay zero.",
    },
    Operation {
        name: "create_transfers",
        about: "move money, reserve it, post or void what is reserved, take a transfer back",
        fields: TRANSFER_FIELDS,
        example: r#"{"create_transfers":[{"id":100,"debit_account_id":1,"credit_account_id":2,"amount":500,"ledger":203,"code":1}]}"#,
        notes: "timeout is in seconds. A reversal without an amount takes all back. reverses, value_date and business_date (YYYYMMDD) go beyond the documented model.",
    },
    Operation {
        name: "lookup_accounts",
        about: "show accounts of these ids, as far as they exist",
        fields: &[],
        example: r#"{"lookup_accounts":[1,"2"]}"#,
        notes: "",
    },
    Operation {
        name: "lookup_transfers",
        about: "show transfers of these ids, as far as they exist",
        fields: &[],
        example: r#"{"lookup_transfers":[100]}"#,
        notes: "",
    },
    Operation {
        name: "get_account_transfers",
        about: "transfers of an account that match all of the filter",
        fields: ACCOUNT_FILTER_FIELDS,
        example: r#"{"get_account_transfers":{"account_id":1,"limit":10,"flags":["debits","credits"]}}"#,
        notes: "A filter that breaks a rule (limit of zero, neither debits nor credits …) finds nothing.",
    },
    Operation {
        name: "get_account_balances",
        about: "balances of an account with the flag `history` behind each of its transfers",
        fields: ACCOUNT_FILTER_FIELDS,
        example: r#"{"get_account_balances":{"account_id":1,"limit":10,"flags":["debits","credits","reversed"]}}"#,
        notes: "",
    },
    Operation {
        name: "query_accounts",
        about: "accounts that match all of the filter",
        fields: QUERY_FILTER_FIELDS,
        example: r#"{"query_accounts":{"ledger":203,"code":10,"limit":10}}"#,
        notes: "",
    },
    Operation {
        name: "query_transfers",
        about: "transfers that match all of the filter",
        fields: QUERY_FILTER_FIELDS,
        example: r#"{"query_transfers":{"user_data_64":7,"limit":10,"flags":["reversed"]}}"#,
        notes: "",
    },
    Operation {
        name: "change_accounts",
        about: "set or lift overdraft limits and freezes",
        fields: &["id", "overdraft_limit", "freeze", "reserved"],
        example: r#"{"change_accounts":[{"id":2,"overdraft_limit":10000,"freeze":["debits"]}]}"#,
        notes: "An overdraft_limit of null takes the limit away, a freeze of [] lifts it; what is not named stays.",
    },
    Operation {
        name: "lookup_account_terms",
        about: "show overdraft limits and freezes of these accounts",
        fields: &[],
        example: r#"{"lookup_account_terms":[2]}"#,
        notes: "",
    },
    Operation {
        name: "lookup_transfer_details",
        about: "show transfers with their dates and what they reverse",
        fields: &[],
        example: r#"{"lookup_transfer_details":[100]}"#,
        notes: "",
    },
    Operation {
        name: "close_day",
        about: "close the current business date and make the next one current",
        fields: &["date", "next", "reserved"],
        example: r#"{"close_day":{"date":0,"next":20260105}}"#,
        notes: "A date of zero begins with business dates.",
    },
    Operation {
        name: "lookup_outcome",
        about: "what became of transfer ids: committed, rejected or unknown",
        fields: &[],
        example: r#"{"lookup_outcome":[100,101]}"#,
        notes: "",
    },
    Operation {
        name: "burn",
        about: "make sure that no transfer ever gets these ids",
        fields: &[],
        example: r#"{"burn":[101]}"#,
        notes: "",
    },
    Operation {
        name: "statement",
        about: "an account between two moments: opening, every movement, closing",
        fields: &["account_id", "unit", "limit", "from", "to"],
        example: r#"{"statement":{"account_id":1,"unit":"business_date","from":20260101,"to":20260131,"limit":100}}"#,
        notes: "unit: timestamp (unless said otherwise), business_date or lsn. A `to` of zero is the end; limit is needed.",
    },
    Operation {
        name: "balances_as_of",
        about: "balances of accounts at a moment of the past",
        fields: &["account_id", "at", "unit"],
        example: r#"{"balances_as_of":[{"account_id":1,"at":20260131,"unit":"business_date"}]}"#,
        notes: "unit: timestamp (unless said otherwise), business_date or lsn.",
    },
    Operation {
        name: "trial_balance",
        about: "debits and credits of the whole book, by ledger and by code",
        fields: &[],
        example: r#"{"trial_balance":{}}"#,
        notes: "Rows of code zero are a ledger's totals.",
    },
    Operation {
        name: "tick_ns",
        about: "let time pass (only with --embedded)",
        fields: &[],
        example: r#"{"tick_ns":1000000000}"#,
        notes: "The clock moves to so many nanoseconds behind itself or behind the last record, whichever is later; what is due expires.",
    },
    Operation {
        name: "help",
        about: "this list, or one request in full",
        fields: &[],
        example: r#"{"help":"create_transfers"}"#,
        notes: "",
    },
];

/// Names of flags and of choices that a request of that name may hold.
pub(crate) fn flag_names(operation: &str) -> Vec<&'static str> {
    fn names<T>(of: &'static [(&'static str, T)]) -> Vec<&'static str> {
        of.iter().map(|(name, _)| *name).collect()
    }
    match operation {
        "create_accounts" => names(AccountFlags::NAMES),
        "create_transfers" => names(TransferFlags::NAMES),
        "get_account_transfers" | "get_account_balances" => names(AccountFilterFlags::NAMES),
        "query_accounts" | "query_transfers" => names(QueryFilterFlags::NAMES),
        "change_accounts" => names(Freeze::NAMES),
        "statement" | "balances_as_of" => Span::ALL.iter().map(|span| span.name()).collect(),
        _ => Vec::new(),
    }
}

/// Names of results that a request of that name may give.
pub(crate) fn result_names(operation: &str) -> Vec<&'static str> {
    match operation {
        "create_accounts" => CreateAccountResult::ALL.iter().map(|r| r.name()).collect(),
        "create_transfers" | "lookup_outcome" => {
            CreateTransferResult::ALL.iter().map(|r| r.name()).collect()
        }
        "change_accounts" => ChangeAccountResult::ALL.iter().map(|r| r.name()).collect(),
        "close_day" => CloseDayResult::ALL.iter().map(|r| r.name()).collect(),
        "burn" => BurnResult::ALL.iter().map(|r| r.name()).collect(),
        _ => Vec::new(),
    }
}

/// The list of all requests, or one of them in full.
pub(crate) fn help(about: Option<&Operation>) -> String {
    let Some(operation) = about else {
        let widest = OPERATIONS.iter().map(|o| o.name.len()).max().unwrap_or(0);
        let mut text = String::from("One JSON object a line, its key the request:\n\n");
        for operation in OPERATIONS {
            text += &format!("  {:widest$}  {}\n", operation.name, operation.about);
        }
        text += "\nMissing fields are zero. Numbers may be strings of digits; those above 2^53 are printed so.\n\
                 Flags are a number, a list of names, or names joined by |.\n\
                 More of one: {\"help\":\"create_transfers\"}\n\nTry:\n\n";
        for operation in &OPERATIONS[..3] {
            text += &format!("  {}\n", operation.example);
        }
        return text;
    };
    let mut text = format!("{}: {}\n", operation.name, operation.about);
    let lists = [
        ("fields", operation.fields.to_vec()),
        ("names for flags", flag_names(operation.name)),
        ("results", result_names(operation.name)),
    ];
    for (title, names) in lists {
        if !names.is_empty() {
            text += &format!("\n{title}:\n{}", in_lines(&names));
        }
    }
    if !operation.notes.is_empty() {
        text += &format!("\n{}\n", operation.notes);
    }
    text + &format!("\nFor instance:\n  {}\n", operation.example)
}

/// Names in lines of a readable length.
fn in_lines(names: &[&str]) -> String {
    const WIDTH: usize = 96;
    let mut text = String::new();
    let mut line = String::from(" ");
    for name in names {
        if line.len() + name.len() + 2 > WIDTH {
            text += &format!("{line}\n");
            line = String::from(" ");
        }
        line += &format!(" {name}");
    }
    text + &format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::*;

    #[test]
    fn every_example_is_understood() {
        for operation in OPERATIONS {
            let read = Request::read(operation.example);
            let (name, _) = read.unwrap_or_else(|wrong| panic!("{}: {wrong:?}", operation.name));
            assert_eq!(name, operation.name);
        }
    }

    #[test]
    fn every_field_that_help_names_is_known() {
        for operation in OPERATIONS.iter().filter(|o| !o.fields.is_empty()) {
            for field in operation.fields {
                let value = if *field == "unit" { "\"lsn\"" } else { "0" };
                let row = format!("{{\"{field}\":{value}}}");
                let of_rows = operation.example.contains(":[{");
                let rows = if of_rows { format!("[{row}]") } else { row };
                let line = format!("{{\"{}\":{rows}}}", operation.name);
                // Known, though another one may be missing.
                let known = match Request::read(&line) {
                    Ok(_) => true,
                    Err(wrong) => wrong.message == "a statement needs a limit",
                };
                assert!(known, "{line}");
            }
        }
    }
}
