//! The `kanjo` command line.
#![forbid(unsafe_code)]

// Their callers, the commands `bench`, are not here yet.
#[allow(dead_code)]
mod floor;
#[allow(dead_code)]
mod plot;

use clap::Parser;

/// Double-entry accounts that answer only what two clouds have on disk.
#[derive(Debug, Parser)]
#[command(name = "kanjo", version)]
struct CommandLine {}

fn main() {
    let CommandLine {} = CommandLine::parse();
}
