//! `kanjo alone`: lets a primary go on without its auxiliary.

use std::time::Duration;

use kanjo_node::admin::{Answer, Command};
use serde_json::json;

use super::admin;
use super::promote::parse_reason;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::Output;
use crate::quantities::parse_some_time;

const EXAMPLES: &str = "\
Examples:
  The auxiliary will be away for a while but can still be reached:
    kanjo alone --connect 127.0.0.1:7403 --reason 'disk exchange in site 2'
  It cannot be reached, and you have made sure that nobody promotes it:
    kanjo alone --connect 127.0.0.1:7403 --unfenced --reason 'site 2 is sealed off, ticket 4711'

It ends by itself once an auxiliary has caught up. Until then the node shows DEGRADED and counts
the transfers that only it has. While the auxiliary keeps its in-sync mark it can be promoted;
then two nodes would have answered. --unfenced is your word that this does not happen.";

/// Let a primary go on without its auxiliary.
///
/// Without its auxiliary a primary answers nothing; it never goes on alone by itself. The
/// auxiliary's in-sync mark is cleared first, so that it is not promoted meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The primary's admin_listen address, HOST:PORT
    #[arg(long, value_name = "ADDR", visible_alias = "admin")]
    connect: String,
    /// Why; it is written into the log (at most 128 bytes)
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// Even if the auxiliary cannot be reached to clear its mark
    #[arg(long)]
    unfenced: bool,
    /// How long to wait for the node's answer
    #[arg(long, value_parser = parse_some_time, default_value = "1m")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let command = Command::Alone {
        reason: args.reason,
        unfenced: args.unfenced,
    };
    let message = match admin::have_done(&args.connect, &command, args.timeout)? {
        Answer::Done { message } => message,
        other => return Err(admin::refused(&args.connect, other)),
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&json!({ "message": message }))?,
        false => output.line(message)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}
