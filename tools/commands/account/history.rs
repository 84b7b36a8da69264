//! `kanjo account transfers` and `kanjo account balances`: what happened to an account.

use kanjo_client::{AccountBalanceBody, AccountFilterFlags, AccountFlags, AccountId, Client};
use kanjo_format::Timestamp;
use serde::Serialize;

use crate::amounts::AmountArgs;
use crate::commands::cluster::ClusterArgs;
use crate::commands::listing::{FilterArgs, Printer};
use crate::commands::transfer::{shown_plain, transfers_table};
use crate::exit::{Exit, Failure};
use crate::output::table;
use crate::quantities::parse_id;
use crate::times::show_time;

pub(super) const TRANSFERS_EXAMPLES: &str = "\
Examples:
  The last twenty of account 77, the latest first:
    kanjo account transfers --connect 127.0.0.1:7401,127.0.0.1:7501 77 --reversed --limit 20
  What was taken from it in January:
    kanjo account transfers --connect 127.0.0.1:7401 77 --debits --from 2026-01-01 --to 2026-01-31
  The amounts of all of code 9, for a script:
    kanjo account transfers --connect 127.0.0.1:7401 77 --code 9 --json | jq -r .amount

Conditions are combined: a transfer must fulfil all of them. Without --limit all are listed, page
by page, however many there are. --json prints one object a line.";

pub(super) const BALANCES_EXAMPLES: &str = "\
Examples:
  kanjo account balances --connect 127.0.0.1:7401,127.0.0.1:7501 77 --reversed --limit 20
  kanjo account balances --connect 127.0.0.1:7401 77 --from 2026-01-01 --json | jq -r .credits_posted

Only an account that was opened with --history has them. Each balance is that after the transfer of
the same timestamp; an expiry is no transfer. The balance of any account at any moment is had with
`kanjo account balance --at`, all movements with balances with `kanjo account statement`.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The account
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u128,
    /// Only transfers that debit it
    #[arg(long, conflicts_with = "credits")]
    debits: bool,
    /// Only transfers that credit it
    #[arg(long)]
    credits: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Args {
    fn flags(&self) -> u32 {
        let sides = match (self.debits, self.credits) {
            (true, _) => AccountFilterFlags::DEBITS,
            (_, true) => AccountFilterFlags::CREDITS,
            _ => AccountFilterFlags::DEBITS | AccountFilterFlags::CREDITS,
        };
        match self.filter.reversed {
            true => sides | AccountFilterFlags::REVERSED,
            false => sides,
        }
    }
}

/// Balances as JSON shows them.
#[derive(Serialize)]
struct ShownBalance {
    debits_pending: String,
    debits_posted: String,
    credits_pending: String,
    credits_posted: String,
    timestamp: u64,
    time: String,
}

pub(super) fn transfers(args: Args) -> Result<Exit, Failure> {
    let printer = Printer {
        json: args.json,
        table: transfers_table,
        shown: shown_plain,
    };
    args.cluster.with_client(async |client| {
        let client = &client.with_deadline(args.cluster.timeout);
        let asked = args.filter.of_account(args.id, args.flags());
        let fetch = |asked| async move { client.get_account_transfers_page(&asked).await };
        let limit = args.filter.limit();
        match printer.print_all(asked, limit, fetch).await? {
            0 => look_at(client, args.id, false).await,
            _ => Ok(Exit::Done),
        }
    })
}

pub(super) fn balances(args: Args) -> Result<Exit, Failure> {
    let printer = Printer {
        json: args.json,
        table: balances_table,
        shown,
    };
    args.cluster.with_client(async |client| {
        let client = &client.with_deadline(args.cluster.timeout);
        let asked = args.filter.of_account(args.id, args.flags());
        let fetch = |asked| async move { client.get_account_balances_page(&asked).await };
        let limit = args.filter.limit();
        match printer.print_all(asked, limit, fetch).await? {
            0 => look_at(client, args.id, true).await,
            _ => Ok(Exit::Done),
        }
    })
}

/// Nothing was found: is there such an account, and could it have any?
async fn look_at(client: &Client, id: u128, with_history: bool) -> Result<Exit, Failure> {
    let found = client.lookup_accounts(&[AccountId::new(id)]).await?;
    let Some(account) = found.first() else {
        return Err(Failure::failed(format!("there is no account {id}")));
    };
    if with_history && account.flags.get() & AccountFlags::HISTORY == 0 {
        let text = format!("account {id} was opened without --history");
        return Err(Failure::failed(text).with(
            "its balances are in `kanjo account statement` and `kanjo account balance --at`",
        ));
    }
    Ok(Exit::Done)
}

fn balances_table(balances: &[AccountBalanceBody]) -> comfy_table::Table {
    let header = [
        "time",
        "debits",
        "credits",
        "credits - debits",
        "pending debits",
        "pending credits",
    ];
    let mut table = table(&header, &[1, 2, 3, 4, 5]);
    let amounts = AmountArgs::default();
    for one in balances {
        let (debits, credits) = (one.debits_posted.get(), one.credits_posted.get());
        table.add_row([
            show_time(Timestamp::new(one.timestamp.get())),
            amounts.show(debits),
            amounts.show(credits),
            amounts.difference(credits, debits),
            amounts.show(one.debits_pending.get()),
            amounts.show(one.credits_pending.get()),
        ]);
    }
    table
}

fn shown(balance: &AccountBalanceBody) -> ShownBalance {
    ShownBalance {
        debits_pending: balance.debits_pending.get().to_string(),
        debits_posted: balance.debits_posted.get().to_string(),
        credits_pending: balance.credits_pending.get().to_string(),
        credits_posted: balance.credits_posted.get().to_string(),
        timestamp: balance.timestamp.get(),
        time: show_time(Timestamp::new(balance.timestamp.get())),
    }
}
