//! `kanjo log`: looks into a data directory, beside a running node too, and changes nothing.

mod dump;
mod ls;
mod verify;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// Look into a data directory: list, print, verify. Changes nothing; the node may run.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Ls(ls::Args),
    Dump(dump::Args),
    Verify(verify::Args),
}

pub(crate) fn run(command: LogCommand) -> Result<Exit, Failure> {
    match command {
        LogCommand::Ls(args) => ls::run(args),
        LogCommand::Dump(args) => dump::run(args),
        LogCommand::Verify(args) => verify::run(args),
    }
}
