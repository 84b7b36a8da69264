//! `kanjo leash`: runs `kanjo` so that it dies with the process that started it, however that
//! one ends. The kernel keeps the order over the `exec`; no code of the node is involved.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::exit::{Exit, Failure};
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Arguments of the hidden command `leash`.
#[derive(Debug, clap::Args)]
pub(crate) struct LeashArgs {
    /// Process id of the process that holds the leash
    #[arg(long)]
    pub(super) parent: i32,
    /// A word of a program to run the command under; the program is on a leash too
    #[arg(long, allow_hyphen_values = true)]
    under: Vec<OsString>,
    /// Arguments of the kanjo command to run
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl LeashArgs {
    /// Becomes the command; returns only what went wrong.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        Err(self
            .exec()
            .map_or_else(Failure::from, |never| match never {}))
    }

    fn exec(self) -> Result<Infallible> {
        set_parent_process_death_signal(Some(Signal::KILL)).context("tying to the parent")?;
        // ORDER: looked at after the order was given; a parent that died before is noticed here,
        // one that dies later takes this process along.
        if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.parent) {
            bail!("process {} has ended", self.parent);
        }
        let kanjo = super::this_binary()?;
        let Some((program, words)) = self.under.split_first() else {
            let error = Command::new(kanjo).args(self.command).exec();
            return Err(error).context("running kanjo");
        };
        // The program keeps this process's number and becomes the parent of the command.
        let own = std::process::id().to_string();
        let error = Command::new(program)
            .args(words)
            .arg(kanjo)
            .args(["leash", "--parent", &own, "--"])
            .args(self.command)
            .exec();
        Err(error).with_context(|| format!("running {}", program.display()))
    }
}
