//! The `kanjo` command line.
#![forbid(unsafe_code)]

mod amounts;
mod bank;
mod bench;
mod berka;
mod clouds;
mod commands;
mod dates;
mod demo;
mod exit;
mod flags;
mod floor;
mod machine;
mod moments;
mod output;
mod pair;
mod plot;
mod postgres;
mod processes;
mod quantities;
mod random;
mod relay;
mod repl;
mod timer;
mod times;
mod transfer_csv;

fn main() -> std::process::ExitCode {
    commands::run()
}
