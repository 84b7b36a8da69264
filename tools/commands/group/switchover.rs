//! `kanjo switchover`: a planned switch to the other site.

use kanjo_node::admin::Command;
use serde_json::json;

use super::{DecisionArgs, EXIT_CODES, ask_all};
use crate::exit::{Exit, Failure};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  Site 1 will be without power at the weekend:
    kanjo switchover --cluster-file cluster.toml --reason 'maintenance in site 1'

What happens: checks (the other site is in sync, its server is in the set, both registers have a
majority); nothing new is executed until what is under way has committed; the authority is handed
over; the other site's server opens the next epoch. Up to the hand-over anything that goes wrong
ends in the old state, and the command says so. Nothing that was answered is lost, and clients
that repeat their requests find the new primary by themselves.";

/// Let the other site process, as planned, without losing anything.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    decision: DecisionArgs,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let topology = args.decision.topology()?;
    let heard = ask_all(&topology);
    let primary = heard.iter().find(|one| {
        let status = one.status.as_ref().ok();
        status.is_some_and(|status| status.role == "primary" && status.serving)
    });
    let Some(primary) = primary else {
        return Err(Failure::new(
            Exit::Unreached,
            "no server answers that it is the primary and serves",
        )
        .with("a planned switch needs one; if the active site is lost, use `kanjo failover`"));
    };
    let command = Command::Switchover(args.decision.word());
    let message = args.decision.have_done(&primary.server, &command)?;
    let mut output = Output::new();
    match args.decision.json {
        true => output.json(&json!({ "message": message, "node": primary.server.node }))?,
        false => output.line(message)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}
