//! `kanjo account show`.

use std::collections::BTreeMap;

use kanjo_client::{AccountBody, AccountId, AccountTermsBody, ClientError};
use kanjo_format::Timestamp;

use super::shown::{overdraft_limit, shown_with_terms};
use crate::amounts::AmountArgs;
use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::flags::{account_flag_names, freeze_names};
use crate::output::{Output, facts};
use crate::quantities::parse_id;
use crate::times::show_time;

pub(super) const EXAMPLES: &str = "\
Examples:
  kanjo account show --connect 127.0.0.1:7401,127.0.0.1:7501 77 1
  kanjo account show --connect 127.0.0.1:7401 77 --decimals 2
  kanjo account show --connect 127.0.0.1:7401 77 --json | jq -r .[0].credits_posted

Amounts are minor units (cents, hellers) unless --decimals says otherwise. What is shown is
committed, and the latest at the time of asking. Pending is what two-phase transfers reserved. In
JSON numbers of 128 bits are strings and amounts always minor units.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the accounts
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    #[command(flatten)]
    amounts: AmountArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let ids: Vec<AccountId> = args.ids.iter().copied().map(AccountId::new).collect();
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let found = client.lookup_accounts(&ids).await?;
        let terms = match client.lookup_account_terms(&ids).await {
            Ok(terms) => terms,
            // A node of version 1 has accounts without terms.
            Err(ClientError::Unsupported { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let terms: BTreeMap<u128, AccountTermsBody> =
            terms.iter().map(|one| (one.id.get(), *one)).collect();
        let with_terms = found.iter().map(|one| (one, terms.get(&one.id.get())));
        let mut output = Output::new();
        if args.json {
            let shown = with_terms.map(|(one, terms)| shown_with_terms(one, terms));
            output.json(&shown.collect::<Vec<_>>())?;
        } else {
            let shown = with_terms.map(|(one, terms)| describe(one, terms, args.amounts));
            let shown: Vec<String> = shown.collect();
            if !shown.is_empty() {
                output.line(shown.join("\n\n"))?;
            }
        }
        output.finish()?;
        let is_missing = |id: &&u128| !found.iter().any(|one| one.id.get() == **id);
        match args.ids.iter().find(is_missing) {
            None => Ok(Exit::Done),
            Some(id) => Err(Failure::failed(format!("there is no account {id}"))),
        }
    })
}

/// An account, one fact a line.
fn describe(
    account: &AccountBody,
    terms: Option<&AccountTermsBody>,
    amounts: AmountArgs,
) -> String {
    let (debits, credits) = (account.debits_posted.get(), account.credits_posted.get());
    let data = (
        account.user_data_128,
        account.user_data_64,
        account.user_data_32,
    );
    let or_none = |names: Vec<&str>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(" "),
    };
    let mut shown = vec![
        ("account", account.id.get().to_string()),
        (
            "ledger, code",
            format!("{}, {}", account.ledger, account.code),
        ),
        ("debits posted", amounts.show(debits)),
        ("credits posted", amounts.show(credits)),
        ("credits - debits", amounts.difference(credits, debits)),
        ("debits pending", amounts.show(account.debits_pending.get())),
        (
            "credits pending",
            amounts.show(account.credits_pending.get()),
        ),
        ("flags", or_none(account_flag_names(account.flags.get()))),
    ];
    if let Some(terms) = terms {
        let limit = overdraft_limit(terms);
        let limit = limit.map_or("none".to_owned(), |limit| amounts.show(limit));
        shown.push(("overdraft limit", limit));
        shown.push(("frozen", or_none(freeze_names(terms.freeze.get()))));
    }
    shown.push((
        "user data 128/64/32",
        format!("{}/{}/{}", data.0, data.1, data.2),
    ));
    let opened = Timestamp::new(account.timestamp.get());
    shown.push(("opened", show_time(opened)));
    facts(&shown)
}
