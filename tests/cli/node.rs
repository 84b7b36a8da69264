//! A node of a test: its configuration, its process, its ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::{done_json, text};

/// A process that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Client, replication and admin address.
pub(crate) struct Addresses {
    pub(crate) client: String,
    pub(crate) replication: String,
    pub(crate) admin: String,
}

impl Addresses {
    /// Ports on a loopback address that nobody else uses, so that they stay free.
    pub(crate) fn draw() -> Self {
        static DRAWN: AtomicU8 = AtomicU8::new(1);
        let pid = std::process::id().to_le_bytes();
        let host = Ipv4Addr::new(
            127,
            64 | (pid[1] & 63),
            pid[0],
            DRAWN.fetch_add(1, Ordering::Relaxed),
        );
        let held: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind((host, 0)).expect("a free port"))
            .collect();
        let address = |i: usize| held[i].local_addr().expect("it is bound").to_string();
        Self {
            client: address(0),
            replication: address(1),
            admin: address(2),
        }
    }
}

/// Writes a configuration for the directory `data`.
pub(crate) fn configure(file: &Path, data: &Path, mine: &Addresses, peer: &Addresses) {
    let config = format!(
        "data_dir = {:?}\nclient_listen = {:?}\nreplication_listen = {:?}\nadmin_listen = {:?}\n\
         peer_replication = {:?}\npeer_client = {:?}\n",
        text(data),
        mine.client,
        mine.replication,
        mine.admin,
        peer.replication,
        peer.client
    );
    std::fs::write(file, config).expect("a configuration is written");
}

/// A started node; killed when it goes out of scope.
pub(crate) struct Node {
    child: Option<Child>,
    pub(crate) admin: String,
    log: PathBuf,
}

impl Node {
    /// Starts it and waits until its admin port answers.
    pub(crate) fn start(config: &Path, addresses: &Addresses) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kanjo"));
        command.args(["start", "--config", text(config)]);
        let node = Self::spawn(command, config, addresses);
        node.wait_answer();
        node
    }

    /// Starts what `command` says.
    pub(crate) fn spawn(mut command: Command, config: &Path, addresses: &Addresses) -> Self {
        let log = config.with_extension("log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("kanjo starts");
        Self {
            child: Some(child),
            admin: addresses.admin.clone(),
            log,
        }
    }

    /// Waits for a condition of `status --wait`.
    pub(crate) fn wait_for(&self, condition: &str) {
        let wait = ["--wait", condition, "--timeout", "30s", "--json"];
        done_json(&[&["status", "--connect", &self.admin][..], &wait].concat());
    }

    /// Waits until it has written that to standard error.
    pub(crate) fn wait_log(&self, text: &str) {
        wait_until(
            || self.log().contains(text),
            || format!("no {text:?}: {}", self.log()),
        );
    }

    fn wait_answer(&self) {
        let status = ["status", "--connect", &self.admin];
        wait_until(
            || crate::kanjo(&status).status.success(),
            || format!("no answer: {}", self.log()),
        );
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut child = self.child.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    panic!("it does not end: {}", self.log());
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        (status, self.log())
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_until(holds: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `kanjo start` to its end, which comes at once.
pub(crate) fn start_refused(config: &Path) -> Output {
    crate::kanjo(&["start", "--config", text(config)])
}
