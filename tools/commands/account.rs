//! `kanjo account`: opens and shows accounts by hand.

use clap::Subcommand;
use kanjo_client::{AccountBody, AccountFlags, AccountId};
use kanjo_format::Timestamp;
use kanjo_format::result::CreateAccountResult;
use serde::Serialize;
use serde_json::json;

use super::cluster::{ClusterArgs, create_accounts};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, table};
use crate::quantities::{parse_id, parse_u128, show_count};
use crate::times::show_time;

const FLAGS: [(u16, &str); 2] = [
    (
        AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
        "debits_must_not_exceed_credits",
    ),
    (
        AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
        "credits_must_not_exceed_debits",
    ),
];

const CREATE_EXAMPLES: &str = "\
Examples:
  A customer's account that may not be overdrawn, and the bank's cash:
    kanjo account create --connect 127.0.0.1:7401,127.0.0.1:7501 --id 77 --ledger 203 --code 10 \\
        --debits-must-not-exceed-credits
    kanjo account create --connect 127.0.0.1:7401,127.0.0.1:7501 --id 1 --ledger 203 --code 1

Opening the same account again changes nothing and is no failure; with other fields it is refused
by the name of the field that differs. Accounts are never closed or changed.";

const SHOW_EXAMPLES: &str = "\
Examples:
  kanjo account show --connect 127.0.0.1:7401,127.0.0.1:7501 77 1
  kanjo account show --connect 127.0.0.1:7401 77 --json | jq -r .[0].credits_posted

Amounts are minor units (cents, hellers). What is shown is committed, and the latest at the time
of asking. In JSON numbers of 128 bits are strings.";

/// Open or show accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Open an account
    #[command(after_long_help = format!("{CREATE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Create(Box<CreateArgs>),
    /// Show accounts with their balances
    #[command(after_long_help = format!("{SHOW_EXAMPLES}\n\n{EXIT_CODES}"))]
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The account's id: decimal, or hexadecimal after 0x; up to 128 bits
    #[arg(long, value_parser = parse_id)]
    id: u128,
    /// Its ledger (currency), for instance the number of ISO 4217
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    ledger: u32,
    /// What kind of account it is, in your own numbering
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    code: u16,
    /// Refuse transfers that would make its debits exceed its credits
    #[arg(long, conflicts_with = "credits_must_not_exceed_debits")]
    debits_must_not_exceed_credits: bool,
    /// Refuse transfers that would make its credits exceed its debits
    #[arg(long)]
    credits_must_not_exceed_debits: bool,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", value_parser = parse_u128, default_value = "0")]
    user_data_128: u128,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    user_data_64: u64,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    user_data_32: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the accounts
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An account as JSON shows it.
#[derive(Serialize)]
struct ShownAccount {
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
}

pub(crate) fn run(command: AccountCommand) -> Result<Exit, Failure> {
    match command {
        AccountCommand::Create(args) => create(*args),
        AccountCommand::Show(args) => show(args),
    }
}

fn create(args: CreateArgs) -> Result<Exit, Failure> {
    let mut flags = 0;
    if args.debits_must_not_exceed_credits {
        flags |= AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    }
    if args.credits_must_not_exceed_debits {
        flags |= AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS;
    }
    let account = AccountBody {
        id: args.id.into(),
        user_data_128: args.user_data_128.into(),
        user_data_64: args.user_data_64.into(),
        user_data_32: args.user_data_32.into(),
        ledger: args.ledger.into(),
        code: args.code.into(),
        flags: flags.into(),
        ..AccountBody::default()
    };
    args.cluster.with_client(async |client| {
        let results = create_accounts(&client, &[account], args.cluster.timeout).await?;
        let result = results.first().map_or(0, |one| one.result);
        let time = results.first().map_or(0, |one| one.timestamp);
        let name = result_name(result);
        let done = results
            .first()
            .is_some_and(|one| one.created() || one.account_exists());
        let mut output = Output::new();
        if args.json {
            let id = args.id.to_string();
            output.json(&json!({ "id": id, "result": name, "timestamp": time }))?;
        } else if done {
            let time = show_time(Timestamp::new(time));
            output.line(format!("account {}: {name} {time}", args.id))?;
        }
        output.finish()?;
        match done {
            true => Ok(Exit::Done),
            false => Err(Failure::failed(format!("account {}: {name}", args.id))),
        }
    })
}

fn show(args: ShowArgs) -> Result<Exit, Failure> {
    let ids: Vec<AccountId> = args.ids.iter().copied().map(AccountId::new).collect();
    args.cluster.with_client(async |client| {
        let timeout = args.cluster.timeout;
        let found = client.lookup_accounts_within(&ids, timeout).await?;
        let mut output = Output::new();
        if args.json {
            output.json(&found.iter().map(shown).collect::<Vec<_>>())?;
        } else if !found.is_empty() {
            output.line(accounts_table(&found))?;
        }
        output.finish()?;
        let is_missing = |id: &&u128| !found.iter().any(|one| one.id.get() == **id);
        match args.ids.iter().find(is_missing) {
            None => Ok(Exit::Done),
            Some(id) => Err(Failure::failed(format!("there is no account {id}"))),
        }
    })
}

/// The documented name of a result of opening an account.
pub(super) fn result_name(number: u32) -> String {
    match CreateAccountResult::from_number(number) {
        Some(result) => result.name().to_owned(),
        None => format!("result {number}, which this program does not know"),
    }
}

fn accounts_table(accounts: &[AccountBody]) -> comfy_table::Table {
    let header = [
        "account",
        "ledger",
        "code",
        "debits",
        "credits",
        "credits - debits",
        "limit",
        "opened",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5]);
    for one in accounts {
        let (debits, credits) = (one.debits_posted.get(), one.credits_posted.get());
        table.add_row([
            one.id.get().to_string(),
            one.ledger.get().to_string(),
            one.code.get().to_string(),
            show_count(debits),
            show_count(credits),
            difference(credits, debits),
            flag_names(one.flags.get()).join(" "),
            show_time(Timestamp::new(one.timestamp.get())),
        ]);
    }
    table
}

/// `plus - minus`, which as a signed number may need more than 128 bits.
fn difference(plus: u128, minus: u128) -> String {
    let size = show_count(plus.abs_diff(minus));
    match plus < minus {
        true => format!("-{size}"),
        false => size,
    }
}

fn flag_names(flags: u16) -> Vec<&'static str> {
    let set = FLAGS.iter().filter(|(flag, _)| flags & flag != 0);
    set.map(|(_, name)| *name).collect()
}

fn shown(account: &AccountBody) -> ShownAccount {
    ShownAccount {
        id: account.id.get().to_string(),
        ledger: account.ledger.get(),
        code: account.code.get(),
        flags: flag_names(account.flags.get()),
        debits_posted: account.debits_posted.get().to_string(),
        credits_posted: account.credits_posted.get().to_string(),
        debits_pending: account.debits_pending.get().to_string(),
        credits_pending: account.credits_pending.get().to_string(),
        user_data_128: account.user_data_128.get().to_string(),
        user_data_64: account.user_data_64.get(),
        user_data_32: account.user_data_32.get(),
        timestamp: account.timestamp.get(),
        opened: show_time(Timestamp::new(account.timestamp.get())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_beyond_128_signed_bits_is_shown_whole() {
        assert_eq!(difference(5, 1_005), "-1,000");
        let most = "340,282,366,920,938,463,463,374,607,431,768,211,455";
        assert_eq!(difference(u128::MAX, 0), most);
        assert_eq!(difference(0, u128::MAX), format!("-{most}"));
    }
}
