//! `kanjo account set`: changes an account's terms.

use std::time::Duration;

use kanjo_client::{AccountChange, AccountChangeBody, ChangeAccountResult, Client, EventResult};
use kanjo_format::Timestamp;
use serde_json::json;

use crate::amounts::parse_amount_or_none;
use crate::commands::cluster::{ClusterArgs, until_answered};
use crate::exit::{Exit, Failure};
use crate::flags::parse_freeze;
use crate::output::Output;
use crate::quantities::parse_id;
use crate::times::show_time;

pub(super) const EXAMPLES: &str = "\
Examples:
  Let account 77 be overdrawn by 500.00, and take that back:
    kanjo account set --connect 127.0.0.1:7401,127.0.0.1:7501 77 --overdraft-limit 50000
    kanjo account set --connect 127.0.0.1:7401,127.0.0.1:7501 77 --overdraft-limit none
  Refuse everything that would debit two accounts; then lift every freeze of one:
    kanjo account set --connect 127.0.0.1:7401 77 78 --freeze debits
    kanjo account set --connect 127.0.0.1:7401 77 --freeze none

What is not named stays as it is. A freeze stops what would newly move or reserve money on that
side; voids and expiries give money back and go on. With a limit set, debits, reserved ones
included, may exceed credits by at most that much, whatever the flags of the account say. Every
change is a record of the log. Terms that are so already are no failure.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the accounts
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    /// Most that debits may exceed credits by, in minor units, or `none`
    #[arg(long, value_name = "AMOUNT|none", value_parser = parse_limit,
        required_unless_present = "freeze")]
    overdraft_limit: Option<Limit>,
    /// What is refused from now on: debits, credits, debits,credits, or none
    #[arg(long, value_name = "SIDES|none", value_parser = parse_freeze)]
    freeze: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An overdraft limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u128>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    parse_amount_or_none(text).map(Limit)
}

/// Which terms are to be as they say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The inner one: a limit, or none.
    pub(super) overdraft_limit: Option<Option<u128>>,
    pub(super) freeze: Option<u32>,
}

impl Change {
    fn of(self, account: u128) -> AccountChangeBody {
        let mut change = 0;
        match self.overdraft_limit {
            Some(Some(_)) => change |= AccountChange::SET_OVERDRAFT_LIMIT,
            Some(None) => change |= AccountChange::CLEAR_OVERDRAFT_LIMIT,
            None => {}
        }
        if self.freeze.is_some() {
            change |= AccountChange::SET_FREEZE;
        }
        AccountChangeBody {
            id: account.into(),
            overdraft_limit: self.overdraft_limit.flatten().unwrap_or(0).into(),
            change: change.into(),
            freeze: self.freeze.unwrap_or(0).into(),
            ..AccountChangeBody::default()
        }
    }
}

/// Changes the terms of accounts for certain. Fails with the first that is refused.
pub(super) async fn change(
    client: &Client,
    accounts: &[u128],
    wish: Change,
    timeout: Duration,
) -> Result<Vec<EventResult<ChangeAccountResult>>, Failure> {
    let changes: Vec<_> = accounts.iter().map(|id| wish.of(*id)).collect();
    let results = until_answered(timeout, || client.change_accounts(&changes)).await?;
    let is_refused = |one: &EventResult<_>| !is_done(one.result);
    match results.iter().position(is_refused) {
        None => Ok(results),
        Some(at) => {
            let (id, result) = (accounts[at], results[at].result);
            Err(Failure::failed(format!("account {id}: {result}")))
        }
    }
}

fn is_done(result: ChangeAccountResult) -> bool {
    use ChangeAccountResult::{Changed, Unchanged};
    matches!(result, Changed | Unchanged)
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let wish = Change {
        overdraft_limit: args.overdraft_limit.map(|limit| limit.0),
        freeze: args.freeze,
    };
    args.cluster.with_client(async |client| {
        let results = change(&client, &args.ids, wish, args.cluster.timeout).await?;
        let mut output = Output::new();
        for (id, one) in args.ids.iter().zip(results) {
            let (result, time) = (one.result.name(), one.timestamp);
            if args.json {
                let id = id.to_string();
                output.json_line(&json!({ "id": id, "result": result, "timestamp": time }))?;
            } else {
                let time = show_time(Timestamp::new(time));
                output.line(format!("account {id}: {result} {time}"))?;
            }
        }
        output.finish()?;
        Ok(Exit::Done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_changed() {
        let limit = |limit| Change {
            overdraft_limit: Some(limit),
            freeze: None,
        };
        let set = limit(Some(5)).of(77);
        assert_eq!(set.change.get(), AccountChange::SET_OVERDRAFT_LIMIT);
        assert_eq!((set.overdraft_limit.get(), set.freeze.get()), (5, 0));
        let cleared = limit(None).of(77);
        assert_eq!(cleared.change.get(), AccountChange::CLEAR_OVERDRAFT_LIMIT);
        assert_eq!(cleared.overdraft_limit.get(), 0);
        let lifted = Change {
            overdraft_limit: None,
            freeze: Some(0),
        };
        assert_eq!(lifted.of(77).change.get(), AccountChange::SET_FREEZE);
    }
}
