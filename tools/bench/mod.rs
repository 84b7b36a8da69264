//! `kanjo bench`: figures with their commands.

use std::process::ExitCode;

use anyhow::Result;

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {}

impl BenchCommand {
    /// Measures.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {}
    }
}
