//! One `kanjo start` process: its configuration file, its log file, its life.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use kanjo_node::Config;
use rustix::process::{Pid, Signal, kill_process};

/// Lines of a node's log that a report of a failure shows.
const LAST_WORDS: usize = 15;

/// A node that may be running. Dropping it kills it.
pub(super) struct NodeProcess {
    name: String,
    config: Config,
    config_path: PathBuf,
    log_path: PathBuf,
    /// Program and arguments that the node runs under.
    under: Vec<OsString>,
    child: Option<Child>,
}

impl NodeProcess {
    /// Writes the configuration; starts nothing.
    pub(super) fn new(name: &str, folder: &Path, config: Config) -> Result<Self> {
        let node = Self {
            name: name.to_owned(),
            config,
            config_path: folder.join(format!("{name}.toml")),
            log_path: folder.join(format!("{name}.log")),
            under: Vec::new(),
            child: None,
        };
        node.write_config()?;
        Ok(node)
    }

    fn write_config(&self) -> Result<()> {
        std::fs::write(&self.config_path, self.config.to_toml())
            .with_context(|| format!("writing {}", self.config_path.display()))
    }

    /// Changes the configuration for the next start.
    pub(super) fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) -> Result<()> {
        change(&mut self.config);
        self.write_config()
    }

    /// The next start is under this program with these arguments; under none if empty.
    pub(super) fn run_under(&mut self, program: Vec<OsString>) {
        self.under = program;
    }

    /// Whether another program stands between this process and the node.
    pub(super) fn is_under(&self) -> bool {
        !self.under.is_empty()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// Its client address.
    pub(super) fn client(&self) -> String {
        self.config.client_listen.clone()
    }

    /// Starts the process; it may not listen yet when this returns.
    pub(super) fn start(&mut self) -> Result<()> {
        if !self.has_ended()? {
            bail!("{} runs already", self.name);
        }
        let log = self.open_log()?;
        let parent = std::process::id().to_string();
        let child = Command::new(super::this_binary()?)
            .args(["leash", "--parent", &parent])
            .args(
                self.under
                    .iter()
                    .flat_map(|word| ["--under".as_ref(), word.as_os_str()]),
            )
            .args(["--", "start", "--config"])
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
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether there is no such process (any more).
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(true);
        };
        let ended = child.try_wait()?.is_some();
        if ended {
            self.child = None;
        }
        Ok(ended)
    }

    /// SIGKILL, and waits for the end.
    pub(super) fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("{} does not run", self.name);
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM only: to the process that was started, or to the node under it, of that number.
    pub(super) fn terminate(&self, node: Option<u32>) -> Result<()> {
        let node = node.and_then(|node| Pid::from_raw(node as i32));
        match (&self.child, node) {
            (Some(_), Some(node)) => Ok(kill_process(node, Signal::TERM)?),
            (Some(child), None) => Ok(kill_process(Pid::from_child(child), Signal::TERM)?),
            (None, _) => bail!("{} does not run", self.name),
        }
    }

    /// The end of what the process wrote, over all its starts.
    pub(super) fn last_words(&self) -> String {
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
