//! A witness as its operator meets it, with the voters of two servers beside it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use kanjo_group::topology::{Server, ThirdWitness, Timing, Witness};
use kanjo_group::{Setup, Topology, Voter};
use rustix::process::{Pid, Signal, kill_process};

use crate::{done, refused, text};

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(30);

fn topology() -> Topology {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").to_string()
    };
    let server = |node: u32, site| Server {
        node: NodeId::new(node),
        site,
        client: format!("127.0.{node}.1:1"),
        replication: format!("127.0.{node}.1:2"),
        admin: format!("127.0.{node}.1:3"),
        register: free(),
        http: None,
    };
    let topology = Topology {
        servers: vec![
            server(1, Site::One),
            server(2, Site::One),
            server(3, Site::Two),
        ],
        witnesses: vec![Witness {
            node: NodeId::new(9),
            site: Site::One,
            register: free(),
        }],
        third_witness: None,
        timing: Timing::default(),
    };
    topology.check().expect("a sound topology");
    topology
}

/// Writes a configuration and the cluster file, and gives the configuration's path.
fn configure(dir: &Path, topology: &Topology, node: u32, more: &str) -> std::path::PathBuf {
    std::fs::write(dir.join("cluster.toml"), topology.to_toml()).expect("a file");
    let config = dir.join(format!("witness-{node}.toml"));
    let lines = format!(
        "data_dir = \"w\"\ncluster = \"{CLUSTER}\"\nnode = {node}\ncluster_file = \"cluster.toml\"\n{more}\n"
    );
    std::fs::write(&config, lines).expect("a file");
    config
}

struct Running(Child);

impl Running {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kanjo"));
        command.args(["witness", "--config", text(config)]);
        Self(command.stderr(Stdio::null()).spawn().expect("kanjo runs"))
    }

    /// SIGTERM, and its exit code.
    fn terminate(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).expect("a child can be signalled");
        self.0.wait().expect("it ends").code()
    }

    fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(status).expect("a process has a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|n| n.parse().ok()).expect("a number")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn voter(topology: &Topology, node: u32, dir: &Path) -> Voter {
    Voter::start(Setup {
        topology: topology.clone(),
        cluster: CLUSTER.parse::<ClusterId>().expect("a cluster"),
        site: Site::One,
        node: NodeId::new(node),
        incarnation: Incarnation::new(u128::from(node) << 70),
        witness: false,
        dir: dir.join(node.to_string()),
    })
    .expect("a voter")
}

/// Waits until this voter follows the witness.
fn follows_witness(voter: &Voter) {
    let view = voter.port().view();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let own = view.borrow().own.clone();
        if own.is_some_and(|own| own.leader == Some(NodeId::new(9))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the witness does not lead: {:?}", *view.borrow());
}

#[test]
fn a_witness_votes_leads_and_stops_cleanly_and_keeps_its_identity() {
    let dir = tempfile::tempdir().expect("a directory");
    let topology = topology();
    let config = configure(dir.path(), &topology, 9, "");
    let witness = Running::start(&config);
    let servers = [1, 2].map(|node| voter(&topology, node, dir.path()));
    follows_witness(&servers[0]);
    let identity = dir.path().join("w/identity");
    let before = std::fs::read(&identity).expect("an identity");
    let kept = std::fs::metadata(dir.path().join("w/register/register")).expect("a register");
    println!(
        "note: a witness that leads has {} KiB of memory and {} bytes of register",
        witness.resident_kib(),
        kept.len()
    );
    assert!(witness.resident_kib() < 64 << 10 && kept.len() < 300 << 10);
    assert_eq!(witness.terminate(), Some(0));
    let witness = Running::start(&config);
    let begun = Instant::now();
    while std::net::TcpStream::connect(&topology.witnesses[0].register).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not listen again");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(std::fs::read(&identity).expect("an identity"), before);
    assert_eq!(witness.terminate(), Some(0));
}

#[test]
fn a_witness_refuses_what_it_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut topology = topology();
    let start = |node, topology: &Topology, more: &str| {
        let config = configure(dir.path(), topology, node, more);
        let (code, line) = refused(&["witness", "--config", text(&config)]);
        assert_eq!(code, 1, "{line}");
        line
    };
    assert!(start(1, &topology, "").contains("is a server in the cluster file"));
    assert!(start(8, &topology, "").contains("not in the cluster file"));
    assert!(start(9, &topology, "nonsense = 1").contains("nonsense"));
    topology.witnesses[0].register = "0.0.0.0:1".to_owned();
    assert!(start(9, &topology, "").contains("insecure_listen"));
    assert!(
        !dir.path().join("w").exists(),
        "nothing was made before all was checked"
    );
    let help = done(&["witness", "--help"]);
    for word in ["cluster_file", "insecure_listen", "SIGTERM"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn a_third_witness_is_started_like_any_and_keeps_its_directory() {
    let temp = tempfile::tempdir().expect("a directory");
    let mut topology = topology();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    topology.third_witness = Some(ThirdWitness {
        node: NodeId::new(21),
        register: address.clone(),
    });
    let config = configure(temp.path(), &topology, 21, "");
    let third = Running::start(&config);
    let begun = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (_, second) = refused(&["witness", "--config", text(&config)]);
    assert!(second.contains("in use"), "{second}");
    assert_eq!(third.terminate(), Some(0));
    // As a site's witness the directory is refused.
    topology.third_witness = None;
    topology.witnesses[0].node = NodeId::new(21);
    let config = configure(temp.path(), &topology, 21, "");
    let (_, foreign) = refused(&["witness", "--config", text(&config)]);
    assert!(foreign.contains("site is a third one there"), "{foreign}");
}

#[test]
fn both_sites_going_on_by_themselves_is_refused_without_a_third_witness() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::write(temp.path().join("cluster.toml"), topology().to_toml()).expect("a file");
    let config = temp.path().join("n1.toml");
    let lines =
        "data_dir = \"n1\"\ncluster_file = \"cluster.toml\"\nnode = 1\nauto_failover = \"both\"\n";
    std::fs::write(&config, lines).expect("a file");
    let (_, why) = refused(&["start", "--config", text(&config)]);
    assert!(
        why.contains("auto_failover") && why.contains("third site"),
        "{why}"
    );
}
