//! One process of the `kanjo` program: its files, its life, its log.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, kill_process, pidfd_open, prlimit,
};

use super::{LOOK_AGAIN, PATIENCE};

/// A name, a log, and a process while it runs. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    folder: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            child: None,
        }
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// What the process wrote, over all its starts.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs `kanjo` with these arguments; it may not listen yet when this returns.
    pub(crate) fn spawn<A: AsRef<OsStr>>(&mut self, arguments: &[A]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = || -> Stdio {
            let path = self.log_path();
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.expect("a log file opens").into()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn();
        self.child = Some(child.expect("kanjo starts"));
    }

    pub(crate) fn pid(&self) -> Pid {
        let child = self
            .child
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", self.name));
        Pid::from_child(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child can be signalled");
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// SIGTERM only.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM, waits for the end, which must be clean.
    pub(crate) fn shut_down(&mut self) {
        self.terminate();
        let status = self.wait();
        assert!(
            status.success(),
            "{} did not stop cleanly ({status})\n{}",
            self.name,
            self.last_words()
        );
    }

    /// SIGINT only.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGTERM, then SIGKILL to one that cannot end in time.
    pub(crate) fn shut_down_or_kill(&mut self) {
        self.terminate();
        match self.wait_within(Duration::from_secs(5)) {
            Some(status) => assert_eq!(
                status.signal(),
                None,
                "{} ({status})\n{}",
                self.name,
                self.last_words()
            ),
            None => self.kill(),
        }
    }

    /// SIGSTOP, and waits until the process stands still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let until = Instant::now() + PATIENCE;
        while !self.is_stopped() {
            assert!(Instant::now() < until, "{} ignores SIGSTOP", self.name);
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether it stands still after a SIGSTOP.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        text.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    /// SIGCONT.
    pub(crate) fn cont(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        match self
            .child
            .as_mut()
            .map(|child| child.try_wait().expect("a child can be waited for"))
        {
            Some(None) => true,
            Some(Some(_)) | None => false,
        }
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
            .unwrap_or_else(|| panic!("{} does not end\n{}", self.name, self.last_words()))
    }

    /// The same, up to a time.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let pid = self.pid();
        let child = self.child.as_mut().expect("just looked at");
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            self.child = None;
            return Some(status);
        }
        let ended = pidfd_open(pid, PidfdFlags::empty()).expect("a child has a pidfd");
        let limit = Timespec::try_from(limit).expect("a short time");
        let mut watched = [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        if poll(&mut watched, Some(&limit)).expect("a pidfd can be polled") == 0 {
            return None;
        }
        let status = child.wait().expect("a child can be waited for");
        self.child = None;
        Some(status)
    }

    /// The end of what the process wrote.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!(
            "--- {}: {}\n{}",
            self.name,
            self.log_path().display(),
            lines[from..].join("\n")
        )
    }

    /// Lets the process write no file beyond this size, or lifts that again.
    pub(crate) fn limit_file_size(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, limit).expect("a child's limit can be set");
    }

    /// Resident bytes of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let text = std::fs::read_to_string(path).expect("a running child has a status");
        let line = text
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("it names its memory");
        let kib = line
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("in KiB") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
