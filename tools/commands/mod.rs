//! The commands: one file each. A command reads its arguments, does one thing, prints it, and
//! says by its exit code how it went.

mod account;
mod admin;
mod alone;
mod cluster;
mod completions;
mod day;
mod drill;
mod format;
mod group;
mod import;
mod index;
mod listing;
mod log;
mod promote;
mod quorum;
mod rejoin;
mod spells;
mod start;
mod status;
mod tail;
mod transfer;
mod trial_balance;
mod witness;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub(crate) use cluster::unconnected;
pub(crate) use format::{parse_cluster, parse_segment_size};

use crate::exit::{EXIT_CODES, Exit, Failure};

const FIRST_STEPS: &str = "\
See it work, with a kill and a promotion in the middle, in less than two minutes:
  kanjo demo

First steps (two directories, two processes; see docs/operating.md for the configuration):
  kanjo format --dir a --new-cluster --node 1 --site 1
  kanjo format --dir b --cluster HEX --node 2 --site 2
  kanjo start --config a.toml &  kanjo start --config b.toml &
  kanjo status --connect 127.0.0.1:7403 --wait protected --timeout 30s
  kanjo account create --connect 127.0.0.1:7401 --id 1 --ledger 203 --code 1

When the primary's site is lost, on the other one:
  kanjo promote --connect 127.0.0.1:7503 --alone --reason 'site 1 burns'";

/// Double-entry accounts that answer only what two clouds have on disk.
///
/// One node is the primary and takes transfers; the other one, the auxiliary, has every one of
/// them on its disk before the client gets its answer. Ports: clients talk to `client_listen`,
/// the commands `status`, `promote`, `alone` and `drill` to `admin_listen`.
#[derive(Debug, Parser)]
#[command(name = "kanjo", version, max_term_width = 100, after_help = EXIT_CODES,
    after_long_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"))]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Format(format::Args),
    Start(start::Args),
    Witness(witness::Args),
    Status(status::Args),
    Promote(promote::Args),
    Alone(alone::Args),
    Switchover(group::switchover::Args),
    Failover(group::failover::Args),
    #[command(subcommand)]
    Protection(group::protection::ProtectionCommand),
    #[command(subcommand)]
    Fence(group::fence::FenceCommand),
    Drill(drill::Args),
    Rejoin(rejoin::Args),
    #[command(subcommand)]
    Quorum(quorum::QuorumCommand),
    #[command(subcommand)]
    Account(account::AccountCommand),
    #[command(subcommand)]
    Transfer(transfer::TransferCommand),
    TrialBalance(trial_balance::Args),
    #[command(subcommand)]
    Day(day::DayCommand),
    Tail(tail::Args),
    Import(import::Args),
    #[command(subcommand)]
    Log(log::LogCommand),
    #[command(subcommand)]
    Index(index::IndexCommand),
    Completions(completions::Args),
    Demo(crate::demo::DemoArgs),
    Repl(crate::repl::ReplArgs),
    /// Measure commits, load, promotion, growth and peers against this machine's floor
    #[command(subcommand)]
    Bench(crate::bench::BenchCommand),
    #[command(hide = true)]
    Leash(crate::pair::LeashArgs),
}

/// Runs what the command line says.
pub(crate) fn run() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Format(args) => format::run(args),
        Command::Start(args) => start::run(args),
        Command::Witness(args) => witness::run(args),
        Command::Status(args) => status::run(args),
        Command::Promote(args) => promote::run(args),
        Command::Alone(args) => alone::run(args),
        Command::Switchover(args) => group::switchover::run(args),
        Command::Failover(args) => group::failover::run(args),
        Command::Protection(command) => group::protection::run(command),
        Command::Fence(command) => group::fence::run(command),
        Command::Drill(args) => drill::run(args),
        Command::Rejoin(args) => rejoin::run(&args),
        Command::Quorum(command) => quorum::run(command),
        Command::Account(command) => account::run(command),
        Command::Transfer(command) => transfer::run(command),
        Command::TrialBalance(args) => trial_balance::run(args),
        Command::Day(command) => day::run(command),
        Command::Tail(args) => tail::run(args),
        Command::Import(args) => import::run(args),
        Command::Log(command) => log::run(command),
        Command::Index(command) => index::run(command),
        Command::Completions(args) => completions::run(args),
        Command::Demo(args) => args.run(),
        Command::Repl(args) => args.run(),
        Command::Bench(command) => command.run(),
        Command::Leash(args) => args.run(),
    };
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            report(&failure);
            failure.exit().code()
        }
    }
}

fn report(failure: &Failure) {
    if failure.exit() != Exit::Done {
        // Not `eprintln`, which panics where standard error is closed or full.
        let _ = writeln!(std::io::stderr(), "kanjo: {}", failure.line());
    }
}
