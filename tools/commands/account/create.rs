//! `kanjo account create`.

use kanjo_client::{AccountBody, AccountFlags, AccountId, Client};
use kanjo_format::Timestamp;
use serde_json::json;

use super::result_name;
use super::set::{Change, change};
use crate::commands::cluster::{ClusterArgs, create_accounts};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::quantities::{parse_id, parse_u128};
use crate::times::{parse_time, show_time};

pub(super) const EXAMPLES: &str = "\
Examples:
  A customer's account that may not be overdrawn, and the bank's cash:
    kanjo account create --connect 127.0.0.1:7401,127.0.0.1:7501 --id 77 --ledger 203 --code 10 \\
        --debits-must-not-exceed-credits
    kanjo account create --connect 127.0.0.1:7401,127.0.0.1:7501 --id 1 --ledger 203 --code 1
  One that may be overdrawn by 500.00, with a balance after each transfer:
    kanjo account create --connect 127.0.0.1:7401 --id 78 --ledger 203 --code 10 \\
        --overdraft-limit 50000 --history
  One that was opened elsewhere in the past:
    kanjo account create --connect 127.0.0.1:7401 --id 79 --ledger 203 --code 10 \\
        --imported --timestamp 2019-03-01T09:30:00Z

Opening the same account again changes nothing and is no failure; with other fields it is refused
by the name of the field that differs. The overdraft limit is set by a change behind the opening:
if that fails, the account is open without it, and `kanjo account set` does it.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    /// Let debits exceed credits by at most so much, in minor units; reserved debits count
    #[arg(long, value_name = "AMOUNT", value_parser = parse_u128)]
    overdraft_limit: Option<u128>,
    /// Give its balances after each transfer to `kanjo account balances`
    #[arg(long)]
    history: bool,
    /// Open it closed: it takes no transfers
    #[arg(long)]
    closed: bool,
    /// It was opened in the past, at --timestamp
    #[arg(long, requires = "timestamp")]
    imported: bool,
    /// When it was opened, in UTC (2019-03-01T09:30:00Z) or nanoseconds
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "imported")]
    timestamp: Option<Timestamp>,
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

impl Args {
    fn flags(&self) -> u16 {
        let flags = [
            (
                self.debits_must_not_exceed_credits,
                AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            ),
            (
                self.credits_must_not_exceed_debits,
                AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
            ),
            (self.history, AccountFlags::HISTORY),
            (self.imported, AccountFlags::IMPORTED),
            (self.closed, AccountFlags::CLOSED),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        set.fold(0, |flags, (_, flag)| flags | flag)
    }

    fn account(&self) -> AccountBody {
        AccountBody {
            id: self.id.into(),
            user_data_128: self.user_data_128.into(),
            user_data_64: self.user_data_64.into(),
            user_data_32: self.user_data_32.into(),
            ledger: self.ledger.into(),
            code: self.code.into(),
            flags: self.flags().into(),
            timestamp: self.timestamp.map_or(0, Timestamp::get).into(),
            ..AccountBody::default()
        }
    }
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let account = args.account();
    args.cluster.with_client(async |client| {
        let results = create_accounts(&client, &[account], args.cluster.timeout).await?;
        let result = results.first().map_or(0, |one| one.result);
        let time = results.first().map_or(0, |one| one.timestamp);
        let name = result_name(result);
        let done = results
            .first()
            .is_some_and(|one| one.created() || one.account_exists());
        if done {
            let opened = results.first().is_some_and(|one| one.created());
            limit(&client, &args, opened).await?;
        }
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

/// Sets the limit of an account that was just opened, or whose opening was interrupted before that.
/// One whose terms were changed since keeps them.
async fn limit(client: &Client, args: &Args, opened: bool) -> Result<(), Failure> {
    let Some(limit) = args.overdraft_limit else {
        return Ok(());
    };
    if !opened {
        let terms = client
            .with_deadline(args.cluster.timeout)
            .lookup_account_terms(&[AccountId::new(args.id)])
            .await?;
        if let Some(terms) = terms.first().filter(|terms| terms.timestamp.get() != 0) {
            let is_so =
                terms.has_overdraft_limit.get() == 1 && terms.overdraft_limit.get() == limit;
            return match is_so {
                true => Ok(()),
                false => Err(Failure::failed(format!(
                    "account {} exists, and its terms were changed since: they stay (see `kanjo account set`)",
                    args.id
                ))),
            };
        }
    }
    let wish = Change {
        overdraft_limit: Some(Some(limit)),
        freeze: None,
    };
    let timeout = args.cluster.timeout;
    match change(client, &[args.id], wish, timeout).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.with("the account is open, its overdraft limit is not set")),
    }
}
