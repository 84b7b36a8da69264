//! A primary and an auxiliary on loopback, formatted, configured and started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use kanjo_node::Config;
use kanjo_node::admin::{Condition, PromoteOptions};
use kanjo_node::status::Status;
use tempfile::TempDir;

use super::program::{kanjo, said};
use super::{Link, Node};

/// The smallest segments there are, so that tests cross their borders often.
pub(crate) const SEGMENT_BYTES: u64 = kanjo_format::limits::SEGMENT_BYTES_MIN;

/// What a test wants other than usual.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairOptions {
    /// A link between the nodes that can be held and cut.
    pub(crate) linked: bool,
    /// Changes the configuration of node 1 or 2 before its first start.
    pub(crate) configure: Option<fn(usize, &mut Config)>,
    /// A data directory of node 1 elsewhere, on a small file system.
    pub(crate) first_dir: Option<PathBuf>,
    /// The same of node 2.
    pub(crate) second_dir: Option<PathBuf>,
}

/// Two nodes. Index 0 is of site 1 and formatted to be primary, index 1 of site 2.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    /// Which one is meant to be primary now.
    pub(crate) primary: usize,
    /// `links[i]` lies in front of node i's replication port.
    pub(crate) links: Option<[Link; 2]>,
    cluster: u128,
    // Dropped after the processes: fields go in order.
    folder: TempDir,
}

impl Pair {
    /// A formatted pair that runs and serves, protected.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, PairOptions::default())
    }

    pub(crate) fn start_with(name: &str, options: PairOptions) -> Self {
        let mut pair = Self::format(name, options);
        pair.start_both();
        pair
    }

    /// A formatted pair that does not run yet.
    pub(crate) fn format(name: &str, options: PairOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made under target/tmp");
        let addresses = Addresses::draw();
        let linked = options
            .linked
            .then(|| [0, 1].map(|i| Link::start(own_loopback(), &addresses.replication[i])));
        let dirs = [options.first_dir, options.second_dir];
        let mut dirs = dirs.into_iter().enumerate();
        let nodes = [0, 1].map(|i| {
            let (_, elsewhere) = dirs.next().expect("two of them");
            let data = elsewhere.unwrap_or_else(|| folder.path().join(format!("node-{}", i + 1)));
            let peer = match &linked {
                Some(links) => links[1 - i].address().to_owned(),
                None => addresses.replication[1 - i].clone(),
            };
            let (client, replication) = (&addresses.client[i], &addresses.replication[i]);
            let mut config = Config::new(data, client, replication, &addresses.admin[i], &peer);
            config.peer_client = Some(addresses.client[1 - i].clone());
            config.http_listen = Some(addresses.http[i].clone());
            // Tests run on what is left of a disk; those that mean the floor set it.
            config.free_disk_floor_bytes = 1 << 20;
            config.checkpoint_every_bytes = 4 << 20;
            if let Some(configure) = options.configure {
                configure(i + 1, &mut config);
            }
            Node::new(&format!("node-{}", i + 1), folder.path(), config)
        });
        let cluster = u128::from(getrandom::u64().expect("random bytes")) << 64 | 0x7e57;
        let pair = Self {
            nodes,
            primary: 0,
            links: linked,
            cluster,
            folder,
        };
        for i in 0..2 {
            pair.format_node(i);
        }
        pair
    }

    /// Makes node `i`'s data directory, with a new incarnation.
    pub(crate) fn format_node(&self, i: usize) {
        self.format_node_of(i, if i == 0 { "primary" } else { "auxiliary" });
    }

    /// The same, to follow whatever it was before.
    pub(crate) fn format_node_as_replica(&self, i: usize) {
        self.format_node_of(i, "auxiliary");
    }

    fn format_node_of(&self, i: usize, role: &str) {
        format_directory(self.nodes[i].data_dir(), self.cluster, i + 1, role);
    }

    /// Starts both and waits until every commit is protected.
    pub(crate) fn start_both(&mut self) {
        for node in &mut self.nodes {
            node.spawn();
        }
        self.expect_protected();
    }

    /// Waits until the primary serves with its auxiliary, and that one knows that it counts.
    pub(crate) fn expect_protected(&mut self) -> Status {
        let (primary, replica) = (self.primary, 1 - self.primary);
        self.nodes[primary].expect(Condition::Protected);
        self.nodes[replica].expect(Condition::InSync);
        self.nodes[primary].expect(Condition::Serving)
    }

    pub(crate) fn primary(&mut self) -> &mut Node {
        &mut self.nodes[self.primary]
    }

    pub(crate) fn replica(&mut self) -> &mut Node {
        &mut self.nodes[1 - self.primary]
    }

    /// Promotes the replica, to serve alone until the other one is back.
    pub(crate) fn promote_alone(&mut self) {
        let epoch = self.replica().status().epoch;
        let promotion = self.replica().promote(alone("the test lost the primary"));
        assert!(promotion.changed && promotion.alone, "{promotion:?}");
        assert_ne!(promotion.epoch, epoch, "a promotion opens a new epoch");
        assert!(promotion.may_be_missing.is_empty(), "{promotion:?}");
        self.primary = 1 - self.primary;
        self.primary().expect(Condition::Serving);
    }

    /// Client ports of both.
    pub(crate) fn client_addresses(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.config.client_listen.clone())
            .collect()
    }

    /// Waits until both nodes have applied the same log, and compares their digests there.
    pub(crate) fn expect_equal_digests(&mut self) -> Status {
        self.expect_protected();
        let until = std::time::Instant::now() + super::PATIENCE;
        loop {
            let mine = self.primary().expect(Condition::Idle);
            let theirs = self.replica().expect(Condition::Idle);
            let settled =
                mine.tail_lsn == theirs.tail_lsn && mine.applied_lsn == theirs.applied_lsn;
            if settled {
                assert_eq!(
                    mine.tail_chain, theirs.tail_chain,
                    "histories differ at lsn {}",
                    mine.tail_lsn
                );
                assert_eq!(
                    mine.digest, theirs.digest,
                    "ledgers differ at lsn {}",
                    mine.applied_lsn
                );
                assert_eq!(mine.transfers, theirs.transfers);
                for ledger in mine.trial_balance.iter().chain(&theirs.trial_balance) {
                    assert_eq!(ledger.difference, "0", "{ledger:?}");
                }
                return mine;
            }
            assert!(
                std::time::Instant::now() < until,
                "never at one lsn: {mine:#?} and {theirs:#?}"
            );
        }
    }

    /// Stops both and checks every byte that they left.
    pub(crate) fn shut_down_and_verify(&mut self) {
        for i in [self.primary, 1 - self.primary] {
            self.nodes[i].shut_down();
        }
        for node in &self.nodes {
            expect_verified(node.data_dir());
        }
    }

    /// Where files of the test's own go.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// `promote --alone --reason`.
pub(crate) fn alone(reason: &str) -> PromoteOptions {
    PromoteOptions {
        alone: true,
        reason: reason.to_owned(),
        ..PromoteOptions::default()
    }
}

/// `kanjo format`: node 1 is site 1's and begins as primary, node 2 site 2's.
pub(crate) fn format_directory(dir: &Path, cluster: u128, node: usize, role: &str) {
    let cluster = format!("{cluster:032x}");
    let node = node.to_string();
    let dir = dir.to_str().expect("a plain path");
    let output = kanjo(&[
        "format",
        "--dir",
        dir,
        "--cluster",
        &cluster,
        "--node",
        &node,
        "--site",
        &node,
        "--role",
        role,
        "--segment-size",
        &SEGMENT_BYTES.to_string(),
    ]);
    assert!(output.status.success(), "format failed: {}", said(&output));
}

/// `kanjo log verify` finds nothing.
pub(crate) fn expect_verified(dir: &Path) {
    let output = kanjo(&[
        "log",
        "verify",
        "--dir",
        dir.to_str().expect("a plain path"),
    ]);
    assert!(
        output.status.success(),
        "{}: {}",
        dir.display(),
        said(&output)
    );
}

/// The ports of one pair, all on a loopback address that none of many others has: a port that was free
/// there a moment ago still is, since the kernel takes ports for outgoing connections on
/// 127.0.0.1 and each link listens on an address of its own.
struct Addresses {
    client: [String; 2],
    replication: [String; 2],
    admin: [String; 2],
    http: [String; 2],
}

impl Addresses {
    fn draw() -> Self {
        let host = own_loopback();
        let mut held = Vec::new();
        let mut port = || {
            let listener = TcpListener::bind((host, 0)).expect("a loopback port is free");
            let address = listener.local_addr().expect("it is bound").to_string();
            // All are held until all are drawn, so that they differ.
            held.push(listener);
            address
        };
        let client = [port(), port()];
        let replication = [port(), port()];
        let admin = [port(), port()];
        let http = [port(), port()];
        Self {
            client,
            replication,
            admin,
            http,
        }
    }
}

/// 127.x.y.z by process and call.
fn own_loopback() -> Ipv4Addr {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let number = std::process::id()
        .wrapping_mul(256)
        .wrapping_add(call % 256);
    let (d, c, b) = (
        1 + number % 250,
        number / 250 % 256,
        1 + number / 64_000 % 250,
    );
    let host = Ipv4Addr::new(127, b as u8, c as u8, d as u8);
    match TcpListener::bind((host, 0)) {
        Ok(_) => host,
        // Elsewhere than on Linux only this one may be there.
        Err(_) => Ipv4Addr::LOCALHOST,
    }
}
