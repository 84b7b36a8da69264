//! One `kanjo start` or `kanjo witness` process: its configuration file, its log file, its life.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kanjo_node::admin::{self, Answer};
use rustix::process::{Pid, Signal, kill_process};

use super::LOOK_AGAIN;

/// Lines of a node's log that a report of a failure shows.
const LAST_WORDS: usize = 15;

/// What a process does, which is the command that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// `kanjo start`: keeps accounts.
    Serve,
    /// `kanjo witness`: votes.
    Vote,
}

/// A process that may be running. Dropping it kills it.
pub(crate) struct NodeProcess {
    name: String,
    does: Does,
    config_path: PathBuf,
    log_path: PathBuf,
    /// Program and arguments that the node runs under.
    under: Vec<OsString>,
    child: Option<Child>,
}

impl NodeProcess {
    /// Writes the configuration; starts nothing.
    pub(crate) fn new(name: &str, folder: &Path, does: Does, config: &str) -> Result<Self> {
        let node = Self {
            name: name.to_owned(),
            does,
            config_path: folder.join(format!("{name}.toml")),
            log_path: folder.join(format!("{name}.log")),
            under: Vec::new(),
            child: None,
        };
        node.configure(config)?;
        Ok(node)
    }

    /// Writes the configuration for the next start.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        std::fs::write(&self.config_path, config)
            .with_context(|| format!("writing {}", self.config_path.display()))
    }

    /// The next start is under this program with these arguments; under none if empty.
    pub(crate) fn run_under(&mut self, program: Vec<OsString>) {
        self.under = program;
    }

    /// Whether another program stands between this process and the node.
    pub(crate) fn is_under(&self) -> bool {
        !self.under.is_empty()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process; it may not listen yet when this returns.
    pub(crate) fn start(&mut self) -> Result<()> {
        if !self.has_ended()? {
            bail!("{} runs already", self.name);
        }
        let log = self.open_log()?;
        let parent = std::process::id().to_string();
        let command = match self.does {
            Does::Serve => "start",
            Does::Vote => "witness",
        };
        let child = Command::new(super::this_binary()?)
            .args(["leash", "--parent", &parent])
            .args(
                self.under
                    .iter()
                    .flat_map(|word| ["--under".as_ref(), word.as_os_str()]),
            )
            .args(["--", command, "--config"])
            .arg(&self.config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env("NO_COLOR", "1")
            // Ctrl-C on the terminal is for this process, which ends its nodes itself.
            .process_group(0)
            .spawn();
        self.child = Some(child.with_context(|| format!("starting {}", self.name))?);
        Ok(())
    }

    fn open_log(&self) -> Result<File> {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log_path);
        opened.with_context(|| format!("opening {}", self.log_path.display()))
    }

    /// Process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether there is no such process (any more).
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(true);
        };
        let ended = child.try_wait()?.is_some();
        if ended {
            self.child = None;
        }
        Ok(ended)
    }

    /// An error if it was started, was not told to end, and has ended even so.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if self.child.is_some() && self.has_ended()? {
            bail!("{} ended: {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Asks its admin port; waits for the port while the process lives.
    pub(crate) async fn ask(
        &mut self,
        address: &str,
        command: &admin::Command,
        patience: Duration,
    ) -> Result<Answer> {
        let until = Instant::now() + patience;
        loop {
            let (to, what) = (address.to_owned(), command.clone());
            let asked = tokio::task::spawn_blocking(move || admin::ask(&to, &what, patience));
            let error = match asked.await.context("asking the admin port")? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if self.has_ended()? {
                bail!("{} ended: {}", self.name, self.last_words());
            }
            if Instant::now() > until {
                return Err(error).with_context(|| format!("{} does not answer", self.name));
            }
            // Nothing tells when a port begins to listen.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends a signal and waits for nothing.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match &self.child {
            Some(child) => Ok(kill_process(Pid::from_child(child), signal)?),
            None => bail!("{} does not run", self.name),
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("{} does not run", self.name);
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM only: to the process that was started, or to the node under it, of that number.
    pub(crate) fn terminate(&self, node: Option<u32>) -> Result<()> {
        let node = node.and_then(|node| Pid::from_raw(node as i32));
        match (&self.child, node) {
            (Some(_), Some(node)) => Ok(kill_process(node, Signal::TERM)?),
            _ => self.signal(Signal::TERM),
        }
    }

    /// The end of what the process wrote, over all its starts.
    pub(crate) fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        format!("--- log of {}\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if self.child.is_some() {
            // It may have ended by itself meanwhile.
            let _ = self.kill();
        }
    }
}
