//! `kanjo transfer outcome` and `kanjo transfer burn`: the truth about ids after a lost answer.

use kanjo_client::{Fate, TransferId};
use kanjo_format::Timestamp;
use serde_json::{Value, json};

use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::quantities::parse_id;
use crate::times::show_time;

pub(super) const OUTCOME_EXAMPLES: &str = "\
Examples:
  kanjo transfer outcome --connect 127.0.0.1:7401,127.0.0.1:7501 695247 695248
  kanjo transfer outcome --connect 127.0.0.1:7401 695247 --json | jq -r .[0].outcome

committed: it is a transfer. rejected: it can never become one; the reason is named. unknown: no
transfer yet, but a delayed request may still bring it; the exit code is then 3, and `kanjo
transfer burn` makes it final.";

pub(super) const BURN_EXAMPLES: &str = "\
Examples:
  After a command that ended with exit code 3 and shall not be repeated:
    kanjo transfer burn --connect 127.0.0.1:7401,127.0.0.1:7501 695247

What is a transfer by now stays one, and is shown as committed. Every other id is taken for ever: a
delayed duplicate of its request finds it so. Each outcome that is printed is final.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the transfers
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    fn transfer_ids(&self) -> Vec<TransferId> {
        self.ids.iter().copied().map(TransferId::new).collect()
    }

    fn print(&self, fates: &[Fate]) -> Result<(), Failure> {
        let rows = self.ids.iter().zip(fates);
        let mut output = Output::new();
        if self.json {
            output.json(&rows.map(|(id, fate)| shown(*id, *fate)).collect::<Vec<_>>())?;
        } else {
            for (id, fate) in rows {
                output.line(format!("transfer {id}: {}", told(*fate)))?;
            }
        }
        output.finish()
    }
}

pub(super) fn outcome(args: Args) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let fates = client.lookup_outcomes(&args.transfer_ids()).await?;
        args.print(&fates)?;
        match fates.iter().position(|fate| !fate.is_final()) {
            None => Ok(Exit::Done),
            Some(open) => Err(Failure::new(
                Exit::Unknown,
                format!("the outcome of transfer {} is not final", args.ids[open]),
            )),
        }
    })
}

pub(super) fn burn(args: Args) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let timeout = args.cluster.timeout;
        let fates = client.settle(&args.transfer_ids(), timeout).await?;
        args.print(&fates)?;
        Ok(Exit::Done)
    })
}

fn told(fate: Fate) -> String {
    match fate {
        Fate::Unknown => "unknown".to_owned(),
        Fate::Committed { timestamp } => {
            format!("committed {}", show_time(Timestamp::new(timestamp)))
        }
        Fate::Rejected { why } => format!("rejected {why}"),
    }
}

fn shown(id: u128, fate: Fate) -> Value {
    let id = id.to_string();
    match fate {
        Fate::Unknown => json!({ "id": id, "outcome": "unknown" }),
        Fate::Committed { timestamp } => {
            json!({ "id": id, "outcome": "committed", "timestamp": timestamp })
        }
        Fate::Rejected { why } => {
            json!({ "id": id, "outcome": "rejected", "result": why.name() })
        }
    }
}
