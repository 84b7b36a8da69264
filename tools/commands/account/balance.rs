//! `kanjo account balance`: balances at a moment of the past.

use kanjo_client::{AccountBalanceBody, AccountId, Client};
use kanjo_format::Timestamp;
use serde::Serialize;

use crate::amounts::AmountArgs;
use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::moments::{Moment, parse_moment};
use crate::output::{Output, table};
use crate::quantities::parse_id;
use crate::times::show_time;

pub(super) const EXAMPLES: &str = "\
Examples:
  At the end of the business date 2026-01-31:
    kanjo account balance --connect 127.0.0.1:7401,127.0.0.1:7501 77 --at 2026-01-31
  At a moment, in UTC or in nanoseconds since 1970:
    kanjo account balance --connect 127.0.0.1:7401 77 78 --at 2026-01-31T12:00:00Z --decimals 2
  At a position of the log, as `kanjo trial-balance` and `kanjo tail` print them:
    kanjo account balance --connect 127.0.0.1:7401 77 --at lsn:1048576 --json

Everything up to that moment counts, the moment with it. An account that was not opened by then
has zeros. The latest balances are had with `kanjo account show`.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the accounts
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    /// A business date, a time in UTC, nanoseconds, or lsn:N
    #[arg(long, value_name = "DATE|TIME|lsn:N", value_parser = parse_moment)]
    at: Moment,
    #[command(flatten)]
    amounts: AmountArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Balances as JSON shows them.
#[derive(Serialize)]
struct Shown {
    id: String,
    debits_posted: String,
    credits_posted: String,
    debits_pending: String,
    credits_pending: String,
    /// Of the last movement up to then; 0 for none.
    timestamp: u64,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        must_exist(&client, &args.ids).await?;
        let asked: Vec<_> = args.ids.iter().map(|id| args.at.ask(*id)).collect();
        let balances = client.balances_as_of(&asked).await?;
        let rows = args.ids.iter().zip(&balances);
        let mut output = Output::new();
        match args.json {
            true => output.json(&rows.map(|(id, one)| shown(*id, one)).collect::<Vec<_>>())?,
            false => output.line(balances_table(rows, args.amounts))?,
        }
        output.finish()?;
        Ok(Exit::Done)
    })
}

/// Fails with the first account that does not exist.
async fn must_exist(client: &Client, ids: &[u128]) -> Result<(), Failure> {
    let asked: Vec<AccountId> = ids.iter().copied().map(AccountId::new).collect();
    let found = client.lookup_accounts(&asked).await?;
    let is_missing = |id: &&u128| !found.iter().any(|one| one.id.get() == **id);
    match ids.iter().find(is_missing) {
        None => Ok(()),
        Some(id) => Err(Failure::failed(format!("there is no account {id}"))),
    }
}

fn balances_table<'a>(
    rows: impl Iterator<Item = (&'a u128, &'a AccountBalanceBody)>,
    amounts: AmountArgs,
) -> comfy_table::Table {
    let header = [
        "account",
        "debits",
        "credits",
        "credits - debits",
        "pending debits",
        "pending credits",
        "last movement",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5]);
    for (id, one) in rows {
        let (debits, credits) = (one.debits_posted.get(), one.credits_posted.get());
        let last = match one.timestamp.get() {
            0 => "none".to_owned(),
            nanos => show_time(Timestamp::new(nanos)),
        };
        table.add_row([
            id.to_string(),
            amounts.show(debits),
            amounts.show(credits),
            amounts.difference(credits, debits),
            amounts.show(one.debits_pending.get()),
            amounts.show(one.credits_pending.get()),
            last,
        ]);
    }
    table
}

fn shown(id: u128, balance: &AccountBalanceBody) -> Shown {
    Shown {
        id: id.to_string(),
        debits_posted: balance.debits_posted.get().to_string(),
        credits_posted: balance.credits_posted.get().to_string(),
        debits_pending: balance.debits_pending.get().to_string(),
        credits_pending: balance.credits_pending.get().to_string(),
        timestamp: balance.timestamp.get(),
    }
}
