//! `kanjo leash`: runs `kanjo` or another program so that it dies with the process that started
//! it, however that one ends. The kernel keeps the order over the `exec`; no code of the program
//! is involved.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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
    /// Program to run, if not kanjo
    #[arg(long)]
    program: Option<PathBuf>,
    /// End it with SIGQUIT instead of SIGKILL
    #[arg(long)]
    quit: bool,
    /// A word of a program to run the command under; the program is on a leash too
    #[arg(long, allow_hyphen_values = true)]
    under: Vec<OsString>,
    /// Arguments of the command to run
    #[arg(last = true)]
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
        // The program that this is run under may have become it (`valgrind` does); the order that
        // was given before that still holds.
        if self.parent != std::process::id() as i32 {
            self.tie()?;
        }
        let program = match self.program {
            Some(program) => program,
            None => super::this_binary()?,
        };
        let Some((over, words)) = self.under.split_first() else {
            let error = Command::new(&program).args(self.command).exec();
            return Err(error).with_context(|| format!("running {}", program.display()));
        };
        // The program keeps this process's number; it becomes the parent of the command, or the
        // command itself.
        let own = std::process::id().to_string();
        let error = Command::new(over)
            .args(words)
            .arg(&program)
            .args(["leash", "--parent", &own, "--"])
            .args(self.command)
            .exec();
        Err(error).with_context(|| format!("running {}", over.display()))
    }

    fn tie(&self) -> Result<()> {
        let signal = match self.quit {
            true => Signal::QUIT,
            false => Signal::KILL,
        };
        set_parent_process_death_signal(Some(signal)).context("tying to the parent")?;
        // ORDER: looked at after the order was given; a parent that died before is noticed here,
        // one that dies later takes this process along.
        if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.parent) {
            bail!("process {} has ended", self.parent);
        }
        Ok(())
    }
}

/// How another program dies with this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// At once.
    Kill,
    /// By SIGQUIT, which tells it to end its own processes first.
    Quit,
}

/// A command that runs another program on the leash of this process; its arguments follow. Run
/// it from the main thread only: what it runs dies with the thread that started it.
pub(crate) fn leashed(program: &Path, death: Death) -> Result<Command> {
    let mut command = Command::new(super::this_binary()?);
    let parent = std::process::id().to_string();
    command.args(["leash", "--parent", &parent]);
    if death == Death::Quit {
        command.arg("--quit");
    }
    command.arg("--program").arg(program).arg("--");
    Ok(command)
}
