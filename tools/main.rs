//! The `kanjo` command line.
#![forbid(unsafe_code)]

// Some of what these modules offer is for the demonstration and the benchmark, which are not here.
#[allow(dead_code)]
mod berka;
#[allow(dead_code)]
mod berka_book;
mod commands;
mod exit;
#[allow(dead_code)]
mod floor;
mod output;
#[allow(dead_code)]
mod plot;
mod quantities;
mod times;
mod transfer_csv;

fn main() -> std::process::ExitCode {
    commands::run()
}
