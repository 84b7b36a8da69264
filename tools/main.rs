//! The `kanjo` command line.
#![forbid(unsafe_code)]

// Their callers, the commands `import`, `demo` and `bench`, are not here yet.
#[allow(dead_code)]
mod berka;
#[allow(dead_code)]
mod floor;
#[allow(dead_code)]
mod plot;
#[allow(dead_code)]
mod transfer_csv;

use clap::Parser;

/// Double-entry accounts that answer only what two clouds have on disk.
#[derive(Debug, Parser)]
#[command(name = "kanjo", version)]
struct CommandLine {}

fn main() {
    let CommandLine {} = CommandLine::parse();
}
