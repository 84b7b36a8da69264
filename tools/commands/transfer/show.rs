//! `kanjo transfer show`.

use kanjo_client::{ClientError, TransferDetailBody, TransferId};

use super::shown::{describe, shown_detail};
use crate::amounts::AmountArgs;
use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::quantities::parse_id;

pub(super) const EXAMPLES: &str = "\
Examples:
  kanjo transfer show --connect 127.0.0.1:7401,127.0.0.1:7501 695247
  kanjo transfer show --connect 127.0.0.1:7401 695247 --json | jq -r .[0].amount

An id that has no transfer may have been refused, or may not have come yet: `kanjo transfer
outcome` tells.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the transfers
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    #[command(flatten)]
    amounts: AmountArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let ids: Vec<TransferId> = args.ids.iter().copied().map(TransferId::new).collect();
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let found = match client.lookup_transfer_details(&ids).await {
            Ok(found) => found,
            // A node of version 1 has transfers without details.
            Err(ClientError::Unsupported { .. }) => {
                let found = client.lookup_transfers(&ids).await?.into_iter();
                let plain = |transfer| TransferDetailBody {
                    transfer,
                    ..TransferDetailBody::default()
                };
                found.map(plain).collect()
            }
            Err(error) => return Err(error.into()),
        };
        let mut output = Output::new();
        if args.json {
            output.json(&found.iter().map(shown_detail).collect::<Vec<_>>())?;
        } else if !found.is_empty() {
            let shown: Vec<String> = found
                .iter()
                .map(|one| describe(one, args.amounts))
                .collect();
            output.line(shown.join("\n\n"))?;
        }
        output.finish()?;
        let is_missing = |id: &&u128| !found.iter().any(|one| one.transfer.id.get() == **id);
        match args.ids.iter().find(is_missing) {
            None => Ok(Exit::Done),
            Some(id) => Err(Failure::failed(format!("there is no transfer {id}"))),
        }
    })
}
