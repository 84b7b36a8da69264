//! `kanjo transfer`: posts, resolves and shows transfers by hand.

mod create;
mod fate;
mod list;
mod post;
mod resolve;
mod show;
mod shown;

use clap::Subcommand;
use kanjo_format::result::CreateTransferResult;

pub(super) use self::shown::{ShownDetail, shown_detail, shown_plain, transfers_table};
use crate::exit::{EXIT_CODES, Exit, Failure};

/// Post, resolve, reverse or show transfers.
#[derive(Debug, Subcommand)]
pub(crate) enum TransferCommand {
    /// Post a transfer, or reserve money with a pending one
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", create::EXAMPLES))]
    Create(Box<create::Args>),
    /// Post a pending transfer: all that it reserved, or part of it
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", resolve::POST_EXAMPLES))]
    Post(resolve::AmountOf),
    /// Void a pending transfer: release all that it reserved
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", resolve::VOID_EXAMPLES))]
    Void(resolve::Resolution),
    /// Move back what a transfer moved, once
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", resolve::REVERSE_EXAMPLES))]
    Reverse(resolve::AmountOf),
    /// Show transfers
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", show::EXAMPLES))]
    Show(show::Args),
    /// List transfers by ledger, code, or your own data
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", list::EXAMPLES))]
    List(Box<list::Args>),
    /// Tell what became of transfer ids
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", fate::OUTCOME_EXAMPLES))]
    Outcome(fate::Args),
    /// Make sure that ids that are no transfers never become any
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", fate::BURN_EXAMPLES))]
    Burn(fate::Args),
}

pub(crate) fn run(command: TransferCommand) -> Result<Exit, Failure> {
    match command {
        TransferCommand::Create(args) => create::run(*args),
        TransferCommand::Post(args) => resolve::post_pending(args),
        TransferCommand::Void(args) => resolve::void_pending(args),
        TransferCommand::Reverse(args) => resolve::reverse(args),
        TransferCommand::Show(args) => show::run(args),
        TransferCommand::List(args) => list::run(*args),
        TransferCommand::Outcome(args) => fate::outcome(args),
        TransferCommand::Burn(args) => fate::burn(args),
    }
}

/// The documented name of a result of posting a transfer.
pub(super) fn result_name(number: u32) -> String {
    match CreateTransferResult::from_number(number) {
        Some(result) => result.name().to_owned(),
        None => format!("result {number}, which this program does not know"),
    }
}
