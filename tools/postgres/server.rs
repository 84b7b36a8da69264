//! One PostgreSQL server process: its data directory, its log file, its life.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::programs::Programs;
use crate::pair::{Death, leashed};

/// Lines of a server's log that a report of a failure shows.
const LAST_WORDS: usize = 15;

/// A server that may be running. Dropping it ends it at once.
pub(super) struct Server {
    name: &'static str,
    data: PathBuf,
    log_path: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// Makes an empty data directory in `folder`, the user's own.
    pub(super) fn new(
        programs: &Programs,
        folder: &Path,
        name: &'static str,
        address: SocketAddr,
    ) -> Result<Self> {
        let data = folder.join(name);
        std::fs::create_dir(&data).with_context(|| format!("making {}", data.display()))?;
        give(programs, &data, 0o700)?;
        Ok(Self {
            name,
            data,
            log_path: folder.join(format!("{name}.log")),
            address,
            child: None,
        })
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the process with these settings; it may not listen yet when this returns.
    pub(super) fn start(&mut self, programs: &Programs, settings: &[(&str, &str)]) -> Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name);
        let log = File::create(&self.log_path)
            .with_context(|| format!("making {}", self.log_path.display()))?;
        let mut command = leashed(&programs.path("postgres"), Death::Quit)?;
        command.arg("-D").arg(&self.data);
        let (host, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        let own = [("listen_addresses", &*host), ("port", &*port)];
        for (name, value) in own.iter().chain(settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        programs.tame(&mut command);
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn();
        let reach = || format!("starting {}{}", self.name, reach(programs, &self.data));
        self.child = Some(child.with_context(reach)?);
        Ok(())
    }

    /// Whether there is no such process (any more).
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The end of what the process wrote.
    pub(super) fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        format!("--- log of {}\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // QUIT is its order to end at once with all its processes; it kills what does not
            // hear within seconds, so the wait is bounded. It may have ended by itself.
            let _ = kill_process(Pid::from_child(&child), Signal::QUIT);
            let _ = child.wait();
        }
    }
}

/// Runs one of the programs to its end, which comes early if this future is dropped.
pub(super) async fn run(
    programs: &Programs,
    name: &str,
    data: &Path,
    arrange: impl FnOnce(&mut Command),
) -> Result<()> {
    let mut command = leashed(&programs.path(name), Death::Kill)?;
    programs.tame(&mut command);
    arrange(&mut command);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {name}{}", reach(programs, data)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}{}", said.trim(), reach(programs, data));
    }
    Ok(())
}

/// What has to be possible, for messages of what was not.
fn reach(programs: &Programs, data: &Path) -> String {
    match programs.user() {
        Some(user) => format!(
            " (it runs as user {}, who must be able to reach {} and this program: name another \
             directory with --dir)",
            user.name,
            data.display()
        ),
        None => String::new(),
    }
}

/// Hands a file or directory to the user that PostgreSQL runs as.
pub(super) fn give(programs: &Programs, path: &Path, mode: u32) -> Result<()> {
    let given = || -> std::io::Result<()> {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        match programs.user() {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    };
    given().with_context(|| format!("handing {} to PostgreSQL", path.display()))
}
