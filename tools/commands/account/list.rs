//! `kanjo account list`.

use super::shown::{accounts_table, shown};
use crate::commands::cluster::ClusterArgs;
use crate::commands::listing::{FilterArgs, Printer};
use crate::exit::{Exit, Failure};

pub(super) const EXAMPLES: &str = "\
Examples:
  All accounts of code 10 in ledger 203, in the order in which they were opened:
    kanjo account list --connect 127.0.0.1:7401,127.0.0.1:7501 --ledger 203 --code 10
  The ten that were opened last:
    kanjo account list --connect 127.0.0.1:7401 --reversed --limit 10
  The ids of those that were opened in January, one a line:
    kanjo account list --connect 127.0.0.1:7401 --from 2026-01-01 --to 2026-01-31 --json | jq -r .id

Conditions are combined: an account must fulfil all of them. Without --limit all are listed, page
by page, however many there are. --json prints one object a line.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Only of this ledger
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    ledger: Option<u32>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let printer = Printer {
        json: args.json,
        table: accounts_table,
        shown,
    };
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let asked = args.filter.of_all(args.ledger);
        let client = &client;
        let fetch = |asked| async move { client.query_accounts_page(&asked).await };
        printer.print_all(asked, args.filter.limit(), fetch).await?;
        Ok(Exit::Done)
    })
}
