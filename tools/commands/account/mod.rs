//! `kanjo account`: opens, changes and shows accounts by hand.

mod balance;
mod create;
mod history;
mod list;
mod set;
mod show;
mod shown;
mod statement;

use clap::Subcommand;
use kanjo_format::result::CreateAccountResult;

use crate::exit::{EXIT_CODES, Exit, Failure};

/// Open, change or show accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Open an account
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", create::EXAMPLES))]
    Create(Box<create::Args>),
    /// Change an account's overdraft limit, or freeze it
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", set::EXAMPLES))]
    Set(set::Args),
    /// Show accounts with their balances and terms
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", show::EXAMPLES))]
    Show(show::Args),
    /// List accounts by ledger, code, or your own data
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", list::EXAMPLES))]
    List(Box<list::Args>),
    /// List the transfers of an account
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", history::TRANSFERS_EXAMPLES))]
    Transfers(Box<history::Args>),
    /// List the balances of an account after each of its transfers
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", history::BALANCES_EXAMPLES))]
    Balances(Box<history::Args>),
    /// Show balances at a moment of the past
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", balance::EXAMPLES))]
    Balance(balance::Args),
    /// Print an account's statement between two dates
    #[command(after_long_help = format!("{}\n\n{EXIT_CODES}", statement::EXAMPLES))]
    Statement(statement::Args),
}

pub(crate) fn run(command: AccountCommand) -> Result<Exit, Failure> {
    match command {
        AccountCommand::Create(args) => create::run(*args),
        AccountCommand::Set(args) => set::run(args),
        AccountCommand::Show(args) => show::run(args),
        AccountCommand::List(args) => list::run(*args),
        AccountCommand::Transfers(args) => history::transfers(*args),
        AccountCommand::Balances(args) => history::balances(*args),
        AccountCommand::Balance(args) => balance::run(args),
        AccountCommand::Statement(args) => statement::run(args),
    }
}

/// The documented name of a result of opening an account.
pub(super) fn result_name(number: u32) -> String {
    match CreateAccountResult::from_number(number) {
        Some(result) => result.name().to_owned(),
        None => format!("result {number}, which this program does not know"),
    }
}
