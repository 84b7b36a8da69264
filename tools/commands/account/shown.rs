//! Accounts as they are printed.

use kanjo_client::{AccountBody, AccountTermsBody};
use kanjo_format::Timestamp;
use serde::Serialize;

use crate::amounts::AmountArgs;
use crate::flags::{account_flag_names, freeze_names};
use crate::output::table;
use crate::times::show_time;

/// An account as JSON shows it.
#[derive(Serialize)]
pub(super) struct ShownAccount {
    id: String,
    ledger: u32,
    code: u16,
    flags: Vec<&'static str>,
    debits_posted: String,
    credits_posted: String,
    debits_pending: String,
    credits_pending: String,
    user_data_128: String,
    user_data_64: u64,
    user_data_32: u32,
    timestamp: u64,
    opened: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<ShownTerms>,
}

/// An account's terms as JSON shows them.
#[derive(Serialize)]
struct ShownTerms {
    overdraft_limit: Option<String>,
    freeze: Vec<&'static str>,
    /// When they last changed; 0 where they never did.
    timestamp: u64,
}

pub(super) fn shown(account: &AccountBody) -> ShownAccount {
    ShownAccount {
        id: account.id.get().to_string(),
        ledger: account.ledger.get(),
        code: account.code.get(),
        flags: account_flag_names(account.flags.get()),
        debits_posted: account.debits_posted.get().to_string(),
        credits_posted: account.credits_posted.get().to_string(),
        debits_pending: account.debits_pending.get().to_string(),
        credits_pending: account.credits_pending.get().to_string(),
        user_data_128: account.user_data_128.get().to_string(),
        user_data_64: account.user_data_64.get(),
        user_data_32: account.user_data_32.get(),
        timestamp: account.timestamp.get(),
        opened: show_time(Timestamp::new(account.timestamp.get())),
        terms: None,
    }
}

pub(super) fn shown_with_terms(
    account: &AccountBody,
    terms: Option<&AccountTermsBody>,
) -> ShownAccount {
    ShownAccount {
        terms: terms.map(|terms| ShownTerms {
            overdraft_limit: overdraft_limit(terms).map(|limit| limit.to_string()),
            freeze: freeze_names(terms.freeze.get()),
            timestamp: terms.timestamp.get(),
        }),
        ..shown(account)
    }
}

pub(super) fn overdraft_limit(terms: &AccountTermsBody) -> Option<u128> {
    match terms.has_overdraft_limit.get() {
        0 => None,
        _ => Some(terms.overdraft_limit.get()),
    }
}

/// Accounts without their terms, one a line.
pub(super) fn accounts_table(accounts: &[AccountBody]) -> comfy_table::Table {
    let header = [
        "account",
        "ledger",
        "code",
        "debits",
        "credits",
        "credits - debits",
        "pending debits",
        "pending credits",
        "flags",
        "opened",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let amounts = AmountArgs::default();
    for one in accounts {
        let (debits, credits) = (one.debits_posted.get(), one.credits_posted.get());
        table.add_row([
            one.id.get().to_string(),
            one.ledger.get().to_string(),
            one.code.get().to_string(),
            amounts.show(debits),
            amounts.show(credits),
            amounts.difference(credits, debits),
            amounts.show(one.debits_pending.get()),
            amounts.show(one.credits_pending.get()),
            account_flag_names(one.flags.get()).join(" "),
            show_time(Timestamp::new(one.timestamp.get())),
        ]);
    }
    table
}
