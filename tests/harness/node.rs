//! One `kanjo start` process: its configuration, its data directory, its admin port.

use std::ops::{Deref, DerefMut};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

use kanjo_node::Config;
use kanjo_node::admin::{self, Answer, Command as Ask, Condition, PromoteOptions};
use kanjo_node::status::{Promotion, Status};

use super::process::Process;
use super::{LOOK_AGAIN, PATIENCE, http};

/// A node: a configuration, a data directory, and its process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    process: Process,
}

impl Node {
    pub(crate) fn new(name: &str, folder: &Path, config: Config) -> Self {
        Self {
            config,
            process: Process::new(name, folder),
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// Starts the process; it may not listen yet when this returns.
    pub(crate) fn spawn(&mut self) {
        let path = self.config_path();
        std::fs::write(&path, self.config.to_toml()).expect("a configuration is written");
        let path = path.as_os_str();
        self.process
            .spawn(&["start".as_ref(), "--config".as_ref(), path]);
    }

    /// Starts the process and waits until its admin port answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.status();
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

    pub(crate) fn look<T>(&self, what: &str, mut see: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = see() {
                return seen;
            }
            assert!(
                Instant::now() < until,
                "{} did not {what}\n{}",
                self.name,
                self.last_words()
            );
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
}

impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
