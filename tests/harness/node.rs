//! One `kanjo start` process: its files, its life, its admin port.

use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kanjo_node::Config;
use kanjo_node::admin::{self, Answer, Command as Ask, Condition, PromoteOptions};
use kanjo_node::status::{Promotion, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, kill_process, pidfd_open, prlimit,
};

use super::{PATIENCE, http};

/// Pause between two looks at something that tells nobody when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// A node: a configuration, a data directory, and a process while it runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) config: Config,
    folder: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub(crate) fn new(name: &str, folder: &Path, config: Config) -> Self {
        Self {
            name: name.to_owned(),
            config,
            folder: folder.to_owned(),
            child: None,
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.config.data_dir
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

    /// Starts the process; it may not listen yet when this returns.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        std::fs::write(self.config_path(), self.config.to_toml())
            .expect("a configuration is written");
        let log = || -> Stdio {
            let path = self.log_path();
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.expect("a log file opens").into()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .args(["start", "--config"])
            .arg(self.config_path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn();
        self.child = Some(child.expect("kanjo starts"));
    }

    /// Starts the process and waits until its admin port answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.status();
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
        let stat = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        self.look("stop on SIGSTOP", || {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            text.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('T'))
                .then_some(())
        });
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

    /// Starts a process that must refuse: gives its exit code and what it said. It must end by
    /// itself, not by a signal, and with a line that says why.
    pub(crate) fn start_refused(&mut self) -> (i32, String) {
        let before = self.log().len();
        self.spawn();
        let status = self.wait();
        let text = self.log().split_off(before);
        assert_eq!(
            status.signal(),
            None,
            "{} died of a signal: {text}",
            self.name
        );
        let code = status.code().expect("no signal, so a code");
        assert_ne!(code, 0, "{} should not start: {text}", self.name);
        assert!(!text.contains("panicked"), "{} panicked: {text}", self.name);
        (code, text)
    }

    /// Asks the admin port; the process must live.
    pub(crate) fn ask(&mut self, command: &Ask) -> Answer {
        let until = Instant::now() + PATIENCE;
        loop {
            match admin::ask(&self.config.admin_listen, command, PATIENCE) {
                Ok(answer) => return answer,
                // Nothing tells when a port begins to listen.
                Err(error) if self.is_running() && Instant::now() < until => {
                    let _ = error;
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(error) => panic!(
                    "{} cannot be asked {command:?}: {error}\n{}",
                    self.name,
                    self.last_words()
                ),
            }
        }
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(&Ask::Status) {
            Answer::Status(status) => *status,
            other => panic!("{} answers a status request with {other:?}", self.name),
        }
    }

    /// Waits for a condition; it must come.
    pub(crate) fn expect(&mut self, condition: Condition) -> Status {
        let timeout_ms = PATIENCE.as_millis() as u64 / 2;
        match self.ask(&Ask::Await {
            condition,
            timeout_ms,
        }) {
            Answer::Status(status) => *status,
            other => panic!(
                "{} never was {condition:?}: {other:#?}\n{}",
                self.name,
                self.last_words()
            ),
        }
    }

    /// Waits until the status satisfies `holds`, where no condition of the admin port says it.
    pub(crate) fn expect_that(&mut self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(
                Instant::now() < until,
                "{} never {what}: {status:#?}\n{}",
                self.name,
                self.last_words()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn look<T>(&self, what: &str, mut see: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = see() {
                return seen;
            }
            assert!(Instant::now() < until, "{} did not {what}", self.name);
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Asks the HTTP port.
    pub(crate) fn get(&self, path: &str) -> http::Answer {
        http::ask(self.http_address(), "GET", path, &[])
    }

    pub(crate) fn http_address(&self) -> &str {
        let address = self.config.http_listen.as_deref();
        address.expect("the harness gives each node one")
    }

    /// Waits until a probe is answered so.
    pub(crate) fn expect_probe(&self, path: &str, status: u16) -> http::Answer {
        self.look(&format!("answer {path} with {status}"), || {
            Some(self.get(path)).filter(|answer| answer.status == status)
        })
    }

    /// Promotes over the admin port.
    pub(crate) fn promote(&mut self, options: PromoteOptions) -> Promotion {
        match self.ask(&Ask::Promote(options)) {
            Answer::Promotion(promotion) => *promotion,
            other => panic!(
                "{} was not promoted: {other:#?}\n{}",
                self.name,
                self.last_words()
            ),
        }
    }

    /// Asks for a promotion that must be refused; gives the reason.
    pub(crate) fn promote_refused(&mut self, options: PromoteOptions) -> String {
        match self.ask(&Ask::Promote(options)) {
            Answer::Refused { message } => message,
            other => panic!("{} should refuse: {other:#?}", self.name),
        }
    }

    /// Goes on without the auxiliary.
    pub(crate) fn go_alone(&mut self, reason: &str, unfenced: bool) -> String {
        let reason = reason.to_owned();
        match self.ask(&Ask::Alone { reason, unfenced }) {
            Answer::Done { message } => message,
            other => panic!(
                "{} does not go alone: {other:#?}\n{}",
                self.name,
                self.last_words()
            ),
        }
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

impl Drop for Node {
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
