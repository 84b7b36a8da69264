//! `kanjo transfer list`.

use super::shown::{shown_plain, transfers_table};
use crate::commands::cluster::ClusterArgs;
use crate::commands::listing::{FilterArgs, Printer};
use crate::exit::{Exit, Failure};

pub(super) const EXAMPLES: &str = "\
Examples:
  All transfers of code 9 in ledger 203, in order of time:
    kanjo transfer list --connect 127.0.0.1:7401,127.0.0.1:7501 --ledger 203 --code 9
  The ten latest:
    kanjo transfer list --connect 127.0.0.1:7401 --reversed --limit 10
  Those that carry an order number of yours, for a script:
    kanjo transfer list --connect 127.0.0.1:7401 --user-data-64 4711 --json | jq -r .id

Conditions are combined: a transfer must fulfil all of them. Without --limit all are listed, page
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
        table: transfers_table,
        shown: shown_plain,
    };
    args.cluster.with_client(async |client| {
        let client = &client.with_deadline(args.cluster.timeout);
        let asked = args.filter.of_all(args.ledger);
        let fetch = |asked| async move { client.query_transfers_page(&asked).await };
        printer.print_all(asked, args.filter.limit(), fetch).await?;
        Ok(Exit::Done)
    })
}
