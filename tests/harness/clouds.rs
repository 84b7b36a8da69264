//! Two sites of two servers and a witness, each in a network namespace of its own.
//!
//! ```text
//!  site 1: s1 s2 w11      site 2: s3 s4 w12      client: the test's own thread and its load
//! ```
//!
//! Every status is asked for from inside the part's own namespace, so that no cut hides it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kanjo_format::{NodeId, Site};
use kanjo_group::Topology;
use kanjo_group::topology::{Server, ThirdWitness, Timing, Witness};
use kanjo_node::AutoFailover;
use kanjo_node::admin::{self, Answer, Command, Condition, OperatorWord};
use kanjo_node::status::Status;
use tempfile::TempDir;

use super::brief::brief;
use super::netns::{Inside, Net};
use super::part::{CLIENT, PARTS, Part, REPLICATION_PORT, S1, SERVERS, T21, WITNESSES};
use super::process::Process;
use super::program::{kanjo, said};
use super::sockets::connections;
use super::{PATIENCE, pair::SEGMENT_BYTES};

/// A part that lives answers its admin port within this.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at a server, which has other things to do as well.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What a scene wants other than usual.
#[derive(Clone, Debug, Default)]
pub(crate) struct CloudOptions {
    /// What happens without an operator when a site is lost.
    pub(crate) auto_failover: AutoFailover,
    /// A third site has a witness.
    pub(crate) third_witness: bool,
    /// Other than usual: nothing is answered while fewer replicas than this have everything.
    pub(crate) set_size_min: Option<usize>,
    /// While a server answers alone, larger transfers are held back.
    pub(crate) degraded_transfer_max: Option<u64>,
    /// The data directory of the first server elsewhere, on a small file system.
    pub(crate) first_dir: Option<PathBuf>,
    /// The disks of this site's servers count as full. As replicas they follow all the same.
    pub(crate) full: Option<Site>,
}

/// Both sites.
#[derive(Debug)]
pub(crate) struct Cloud {
    // Fields are dropped in this order: processes, the way out of the namespace, the network.
    processes: BTreeMap<Part, Process>,
    _inside: Inside,
    net: Net,
    options: CloudOptions,
    cluster: u128,
    folder: Option<TempDir>,
}

impl Cloud {
    /// Formatted, started, with a writer in site 1 and both servers of site 2 in its set. The
    /// thread is the client's from now on.
    pub(crate) fn start(name: &str, options: CloudOptions) -> Self {
        let mut cloud = Self::format(name, options);
        for part in cloud.parts() {
            cloud.spawn(part);
        }
        let primary = cloud.expect_protected();
        assert_eq!(
            primary.site(),
            Site::One,
            "a fresh cluster begins in site 1"
        );
        cloud
    }

    /// Formatted, nothing runs.
    pub(crate) fn format(name: &str, options: CloudOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("clouds-{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made under target/tmp");
        let mut net = Net::new();
        let parts = parts(&options);
        for part in parts.iter().copied().chain([CLIENT]) {
            net.add(&part.name(), part.address());
        }
        let process = |part: Part| (part, Process::new(&part.name(), folder.path()));
        let processes = parts.iter().copied().map(process);
        let cloud = Self {
            processes: processes.collect(),
            _inside: net.enter(&CLIENT.name()),
            net,
            options,
            cluster: u128::from(getrandom::u64().expect("random bytes")) << 64 | 0xc10d,
            folder: Some(folder),
        };
        let file = cloud.topology().to_toml();
        std::fs::write(cloud.cluster_file(), file).expect("a cluster file is written");
        for server in SERVERS {
            cloud.format_server(server);
        }
        cloud
    }

    /// Every process, in the order in which they are started.
    pub(crate) fn parts(&self) -> Vec<Part> {
        parts(&self.options)
    }

    /// The cluster file; default times.
    fn topology(&self) -> Topology {
        let server = |part: Part| Server {
            node: NodeId::new(part.node()),
            site: part.site(),
            client: part.client(),
            replication: part.replication(),
            admin: part.admin(),
            register: part.register(),
            http: Some(part.http()),
        };
        let witness = |part: Part| Witness {
            node: NodeId::new(part.node()),
            site: part.site(),
            register: part.register(),
        };
        let third = ThirdWitness {
            node: NodeId::new(T21.node()),
            register: T21.register(),
        };
        Topology {
            servers: SERVERS.map(server).to_vec(),
            witnesses: WITNESSES.map(witness).to_vec(),
            third_witness: self.options.third_witness.then_some(third),
            timing: Timing::default(),
        }
    }

    /// Where files of the test's own go.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().expect("kept until the end").path()
    }

    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.folder().join("cluster.toml")
    }

    pub(crate) fn data_dir(&self, part: Part) -> PathBuf {
        match &self.options.first_dir {
            Some(dir) if part == S1 => dir.clone(),
            _ => self.folder().join(format!("{}-data", part.name())),
        }
    }

    fn format_server(&self, server: Part) {
        let dir = self.data_dir(server);
        let (cluster, node) = (format!("{:032x}", self.cluster), server.node().to_string());
        let (site, segment) = (
            server.site().number().to_string(),
            SEGMENT_BYTES.to_string(),
        );
        let dir = dir.to_str().expect("a plain path");
        let identity = ["format", "--dir", dir, "--cluster", &cluster];
        let place = ["--node", &node, "--site", &site, "--segment-size", &segment];
        let output = kanjo(&[&identity[..], &place[..]].concat());
        assert!(output.status.success(), "format failed: {}", said(&output));
    }

    fn configuration(&self, part: Part) -> String {
        let common = format!(
            "data_dir = {:?}\ncluster_file = {:?}\nnode = {}\ninsecure_listen = true\n",
            self.data_dir(part),
            self.cluster_file(),
            part.node(),
        );
        match part.is_witness() {
            true => format!("cluster = \"{:032x}\"\n{common}", self.cluster),
            // Tests run on what is left of a disk, and write small logs.
            false => format!(
                "{common}{}free_disk_floor_bytes = {}\ncheckpoint_every_bytes = {}\nset_size_min = {}\nauto_failover = {}\n",
                self.options
                    .degraded_transfer_max
                    .map_or_else(String::new, |cap| format!(
                        "degraded_transfer_max = {cap}\n"
                    )),
                match self.options.full == Some(part.site()) {
                    true => 1_u64 << 60,
                    false => 1 << 20,
                },
                4 << 20,
                self.options.set_size_min.unwrap_or(1),
                match self.options.auto_failover {
                    AutoFailover::Never => "false",
                    AutoFailover::TakeOver => "true",
                    AutoFailover::Both => "\"both\"",
                }
            ),
        }
    }

    pub(crate) fn process(&mut self, part: Part) -> &mut Process {
        let process = self.processes.get_mut(&part);
        process.unwrap_or_else(|| panic!("{part} is no process"))
    }

    /// Starts a part's process; it may not listen yet when this returns.
    pub(crate) fn spawn(&mut self, part: Part) {
        let text = self.configuration(part);
        let inside = self.net.enter(&part.name());
        let process = self.process(part);
        let path = process.config_path();
        std::fs::write(&path, text).expect("a configuration is written");
        let verb = if part.is_witness() {
            "witness"
        } else {
            "start"
        };
        process.spawn(&[verb.as_ref(), "--config".as_ref(), path.as_os_str()]);
        drop(inside);
    }

    /// The network, to cut.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// The one list with which a client finds the writer wherever it is.
    pub(crate) fn client_addresses(&self) -> Vec<String> {
        self.topology().client_addresses()
    }

    /// Asks a server's admin port from inside its namespace.
    pub(crate) fn ask(
        &self,
        server: Part,
        command: &Command,
        patience: Duration,
    ) -> Result<Answer, String> {
        let _inside = self.net.enter(&server.name());
        admin::ask(&server.admin(), command, patience).map_err(|error| error.to_string())
    }

    /// Gives an order after a moment and does not wait for its end: the thread gives what was
    /// answered.
    pub(crate) fn begin(
        &self,
        server: Part,
        command: &Command,
        moment: Duration,
    ) -> JoinHandle<Result<Answer, String>> {
        // A thread is in the namespace of the one that starts it.
        let _inside = self.net.enter(&server.name());
        let (address, command) = (server.admin(), command.clone());
        std::thread::spawn(move || {
            std::thread::sleep(moment);
            admin::ask(&address, &command, PATIENCE).map_err(|error| error.to_string())
        })
    }

    /// How a server is; `None` while it does not run, stands still, or does not listen yet.
    pub(crate) fn status(&mut self, server: Part) -> Option<Status> {
        let process = self.process(server);
        if !process.is_running() || process.is_stopped() {
            return None;
        }
        match self.ask(server, &Command::Status, STATUS_PATIENCE) {
            Ok(Answer::Status(status)) => Some(*status),
            Ok(other) => panic!("{server} answers a status request with {other:?}"),
            Err(_) => None,
        }
    }

    /// Every server that answers.
    pub(crate) fn statuses(&mut self) -> BTreeMap<Part, Status> {
        let all = SERVERS.map(|server| (server, self.status(server)));
        let answered = all.into_iter();
        answered
            .filter_map(|(server, status)| Some((server, status?)))
            .collect()
    }

    /// Looks again and again until something is seen; fails with the state of everything.
    pub(crate) fn look<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut see: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let until = Instant::now() + limit;
        loop {
            if let Some(seen) = see(self) {
                return seen;
            }
            if Instant::now() >= until {
                panic!("it never came that {what}\n{}", self.describe());
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// Waits until a server's status satisfies `holds`.
    pub(crate) fn expect(
        &mut self,
        server: Part,
        what: &str,
        holds: impl Fn(&Status) -> bool,
    ) -> Status {
        let text = format!("{server} {what}");
        self.look(&text, PATIENCE, |cloud| {
            cloud.status(server).filter(|status| holds(status))
        })
    }

    /// Waits for a condition of the admin port, which tells when it comes.
    pub(crate) fn expect_condition(&mut self, server: Part, condition: Condition) -> Status {
        let timeout_ms = PATIENCE.as_millis() as u64 / 2;
        let command = Command::Await {
            condition,
            timeout_ms,
        };
        match self.ask(server, &command, PATIENCE) {
            Ok(Answer::Status(status)) => *status,
            other => panic!(
                "{server} never was {condition:?}: {other:#?}\n{}",
                self.describe()
            ),
        }
    }

    /// The site takes over by an operator's word; gives what the server said.
    pub(crate) fn fail_over(&mut self, to: Site, reason: &str) -> String {
        let server = self.nominee(to);
        let word = word(reason);
        self.command(server, &Command::Failover(word.into()))
    }

    /// The writer hands over to the other site; gives what it said.
    pub(crate) fn switch_over(&mut self, reason: &str) -> String {
        let server = self.expect_primary();
        let word = word(reason);
        self.command(server, &Command::Switchover(word))
    }

    fn command(&mut self, server: Part, command: &Command) -> String {
        match self.ask(server, command, PATIENCE) {
            Ok(Answer::Done { message }) => message,
            other => panic!("{server}, {command:?}: {other:#?}\n{}", self.describe()),
        }
    }

    /// Asks for what must be refused; gives the reason.
    pub(crate) fn refused(&mut self, server: Part, command: &Command) -> String {
        match self.ask(server, command, PATIENCE) {
            Ok(Answer::Refused { message }) => message,
            other => panic!("{server} should refuse {command:?}: {other:#?}"),
        }
    }

    /// What everybody says, for a person who looks for the reason of a failure. The ends of the
    /// logs follow when the processes are dropped.
    pub(crate) fn describe(&mut self) -> String {
        let mut text = format!("files of all parts: {}\n", self.folder().display());
        for part in self.parts() {
            let process = self.process(part);
            let life = match process.is_running() {
                false => "does not run",
                true if process.is_stopped() => "stands still",
                true => "runs",
            };
            text += &format!("== {part} {life}\n");
            if !part.is_witness() {
                text += &match self.status(part) {
                    Some(status) => brief(&status),
                    None => "no status\n".to_owned(),
                };
                text += &self.connections_of(part);
            }
        }
        text
    }

    fn connections_of(&mut self, part: Part) -> String {
        if !self.process(part).is_running() {
            return String::new();
        }
        let pid = self.process(part).pid();
        let others = SERVERS.into_iter().filter(|&server| server != part);
        let standing = others.map(|server| {
            let ends = connections(pid, server.address(), REPLICATION_PORT);
            format!("  log connections with {server}: {ends:?}\n")
        });
        standing.collect()
    }

    /// Stops everything that runs, cleanly.
    pub(crate) fn shut_down(&mut self) {
        let witnesses = self.parts().into_iter().filter(|part| part.is_witness());
        for part in SERVERS.into_iter().chain(witnesses) {
            if self.process(part).is_running() {
                self.process(part).shut_down_or_kill();
            }
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

fn word(reason: &str) -> OperatorWord {
    OperatorWord {
        operator: "a test".to_owned(),
        reason: reason.to_owned(),
    }
}

/// Every process of a scene, in the order in which they are started.
fn parts(options: &CloudOptions) -> Vec<Part> {
    let third = options.third_witness.then_some(T21);
    third.into_iter().chain(PARTS).collect()
}
