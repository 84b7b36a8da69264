//! What an operator tells a node: one TOML file, unknown keys refused.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_format::limits::SET_MEMBERS_MAX;
use kanjo_format::{NodeId, Site};
use kanjo_group::Topology;
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::peers::PeerAddress;

/// Which device the log writes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The memory-mapped log.
    #[default]
    Mapped,
    /// `pwrite` and `fdatasync`, for comparison.
    Pwrite,
}

/// What a group does without an operator when a site is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AutoFailoverText", into = "AutoFailoverText")]
pub enum AutoFailover {
    /// `false`: nothing.
    #[default]
    Never,
    /// `true`: the auxiliary site takes over when the active one is lost.
    TakeOver,
    /// `"both"`: also the active site goes on without the auxiliary one. Which of the two may, a
    /// third site's witness decides.
    Both,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "it is true, false or \"both\"")]
enum AutoFailoverText {
    Flag(bool),
    Word(String),
}

impl From<AutoFailover> for AutoFailoverText {
    fn from(auto: AutoFailover) -> Self {
        match auto {
            AutoFailover::Never => Self::Flag(false),
            AutoFailover::TakeOver => Self::Flag(true),
            AutoFailover::Both => Self::Word("both".to_owned()),
        }
    }
}

impl TryFrom<AutoFailoverText> for AutoFailover {
    type Error = String;

    fn try_from(text: AutoFailoverText) -> Result<Self, String> {
        match text {
            AutoFailoverText::Flag(false) => Ok(Self::Never),
            AutoFailoverText::Flag(true) => Ok(Self::TakeOver),
            AutoFailoverText::Word(word) if word == "both" => Ok(Self::Both),
            AutoFailoverText::Word(word) => Err(format!(
                "auto_failover is false, true or \"both\", not {word:?}"
            )),
        }
    }
}

/// A node's configuration. Every key is documented in `docs/operating.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The formatted data directory.
    pub data_dir: PathBuf,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_listen: String,
    /// Where the peer connects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub replication_listen: String,
    /// Where `kanjo status` and `kanjo promote` connect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub admin_listen: String,
    /// Where load balancers and Prometheus ask; nothing listens if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_listen: Option<String>,
    /// The other node's `replication_listen`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_replication: String,
    /// The other node's `client_listen`, told to clients that come to the wrong node.
    #[serde(default)]
    pub peer_client: Option<String>,
    /// In a group of servers: the cluster file. All addresses come from there, none from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_file: Option<PathBuf>,
    /// In a group of servers: which one of the cluster file this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// In a group of servers: what happens without an operator when a site is lost.
    #[serde(default)]
    pub auto_failover: AutoFailover,
    /// In a group of servers: nothing is answered while fewer replicas than this have everything.
    #[serde(default = "default_set_size_min")]
    pub set_size_min: usize,
    /// While this server answers alone, transfers of more minor units than this are held back;
    /// none are if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_transfer_max: Option<u64>,
    /// The cluster file's content, read with the configuration.
    #[serde(skip)]
    pub(crate) topology: Option<Arc<Topology>>,
    /// Allows addresses other than loopback, although nothing is encrypted yet.
    #[serde(default)]
    pub insecure_listen: bool,
    /// How the log writes.
    #[serde(default)]
    pub device: Device,
    /// Below this many free bytes new transfers are answered `Overloaded`.
    #[serde(default = "default_free_disk_floor_bytes")]
    pub free_disk_floor_bytes: u64,
    /// A checkpoint is written after this many bytes of log.
    #[serde(default = "default_checkpoint_every_bytes")]
    pub checkpoint_every_bytes: u64,
    /// Milliseconds between heartbeats to the peer.
    #[serde(default = "default_heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// Milliseconds without an answered heartbeat after which the peer's connection is cut.
    #[serde(default = "default_peer_timeout_ms")]
    pub peer_timeout_ms: u64,
    /// Milliseconds after which a request without a deadline of its own is `Indeterminate`.
    #[serde(default = "default_deadline_ms")]
    pub default_deadline_ms: u32,
    /// Most client connections at once.
    #[serde(default = "default_client_connections")]
    pub client_connections: usize,
    /// `zstd` level at which sealed segments are recompressed.
    #[serde(default = "default_seal_level")]
    pub seal_level: i32,
    /// Milliseconds that the clock may be away from log time before the node refuses to write.
    #[serde(default = "default_clock_bound_ms")]
    pub clock_bound_ms: u64,
}

const fn default_free_disk_floor_bytes() -> u64 {
    256 << 20
}
const fn default_checkpoint_every_bytes() -> u64 {
    256 << 20
}
const fn default_heartbeat_ms() -> u64 {
    100
}
const fn default_peer_timeout_ms() -> u64 {
    5_000
}
const fn default_deadline_ms() -> u32 {
    10_000
}
const fn default_client_connections() -> usize {
    kanjo_format::limits::CLIENT_CONNECTIONS_MAX
}
const fn default_seal_level() -> i32 {
    3
}
const fn default_set_size_min() -> usize {
    1
}
const fn default_clock_bound_ms() -> u64 {
    60_000
}

impl Config {
    /// A configuration with every optional key at its default.
    pub fn new(
        data_dir: PathBuf,
        client: &str,
        replication: &str,
        admin: &str,
        peer: &str,
    ) -> Self {
        Self {
            data_dir,
            client_listen: client.to_owned(),
            replication_listen: replication.to_owned(),
            admin_listen: admin.to_owned(),
            http_listen: None,
            peer_replication: peer.to_owned(),
            peer_client: None,
            cluster_file: None,
            node: None,
            auto_failover: AutoFailover::Never,
            set_size_min: default_set_size_min(),
            degraded_transfer_max: None,
            topology: None,
            insecure_listen: false,
            device: Device::default(),
            free_disk_floor_bytes: default_free_disk_floor_bytes(),
            checkpoint_every_bytes: default_checkpoint_every_bytes(),
            heartbeat_ms: default_heartbeat_ms(),
            peer_timeout_ms: default_peer_timeout_ms(),
            default_deadline_ms: default_deadline_ms(),
            client_connections: default_client_connections(),
            seal_level: default_seal_level(),
            clock_bound_ms: default_clock_bound_ms(),
        }
    }

    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, NodeError> {
        let text = std::fs::read_to_string(path).map_err(|source| NodeError::ConfigRead {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|source| NodeError::ConfigSyntax {
            path: path.to_owned(),
            message: source.to_string().trim_end().to_owned(),
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        if config.data_dir.is_relative() {
            config.data_dir = base.join(&config.data_dir);
        }
        if let Some(file) = &config.cluster_file {
            let file = base.join(file);
            config.take_topology(&file)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Reads the cluster file and takes this node's addresses from it.
    fn take_topology(&mut self, file: &Path) -> Result<(), NodeError> {
        let refuse = |key: &'static str, why: String| NodeError::ConfigValue { key, why };
        let topology =
            Topology::load(file).map_err(|error| refuse("cluster_file", error.to_string()))?;
        for (key, address) in self.listen_addresses() {
            if !address.is_empty() {
                let why = "it comes from the cluster file; leave it out here".to_owned();
                return Err(refuse(key, why));
            }
        }
        if !self.peer_replication.is_empty() || self.peer_client.is_some() {
            let why = "peers come from the cluster file; leave them out here".to_owned();
            return Err(refuse("peer_replication", why));
        }
        let Some(node) = self.node else {
            let why = "which server of the cluster file this is must be said".to_owned();
            return Err(refuse("node", why));
        };
        let Some(server) = topology.server(node) else {
            let why = format!("{} has no server {node}", file.display());
            return Err(refuse("node", why));
        };
        self.client_listen.clone_from(&server.client);
        self.replication_listen.clone_from(&server.replication);
        self.admin_listen.clone_from(&server.admin);
        self.http_listen.clone_from(&server.http);
        self.topology = Some(Arc::new(topology));
        Ok(())
    }

    /// Checks what the types alone do not: ranges, and that ports stay on loopback.
    pub fn check(&self) -> Result<(), NodeError> {
        let refuse = |key: &'static str, why: String| Err(NodeError::ConfigValue { key, why });
        if self.cluster_file.is_none()
            && (self.node.is_some() || self.auto_failover != AutoFailover::Never)
        {
            return refuse("cluster_file", "node and auto_failover need one".to_owned());
        }
        for (key, address) in self.listen_addresses() {
            let resolved = resolve(key, address)?;
            if !resolved.ip().is_loopback() && !self.insecure_listen {
                return refuse(
                    key,
                    format!(
                        "{address} is not a loopback address and nothing is encrypted yet; set insecure_listen = true to accept that"
                    ),
                );
            }
        }
        let third = self.topology.as_ref().map(|t| t.third_witness.is_some());
        if self.auto_failover == AutoFailover::Both && third != Some(true) {
            return refuse(
                "auto_failover",
                "\"both\" needs a witness in a third site ([third_witness] in the cluster file). Two sites alone cannot tell a lost site from a cut link: each would go on without the other one, both would answer, and one of two answers would be lost. With true only the auxiliary site takes over by itself, which is safe: the active one commits nothing without it".to_owned(),
            );
        }
        if self.cluster_file.is_none() && self.peer_replication.is_empty() {
            return refuse("peer_replication", "it is missing".to_owned());
        }
        if !(1..=SET_MEMBERS_MAX).contains(&self.set_size_min) {
            return refuse(
                "set_size_min",
                format!("{} is not within 1 to {SET_MEMBERS_MAX}", self.set_size_min),
            );
        }
        let sites = [Site::One, Site::Two];
        let fewest = self.topology.as_ref().and_then(|topology| {
            let count = |site| topology.servers_of(site).count();
            sites.map(|site| (count(site), site)).into_iter().min()
        });
        if let Some((count, site)) = fewest.filter(|(count, _)| self.set_size_min > *count) {
            return refuse(
                "set_size_min",
                format!(
                    "{} is more than the {count} servers of site {site}: nothing would be answered while that one is the auxiliary",
                    self.set_size_min
                ),
            );
        }
        // TOML knows no larger number.
        let cap_max = i64::MAX as u64;
        if let Some(cap) = self.degraded_transfer_max.filter(|cap| *cap > cap_max) {
            return refuse(
                "degraded_transfer_max",
                format!("{cap} is more than {cap_max}; to hold nothing back, leave it out"),
            );
        }
        if !(10..=60_000).contains(&self.heartbeat_ms) {
            return refuse(
                "heartbeat_ms",
                format!("{} is not within 10 to 60000", self.heartbeat_ms),
            );
        }
        if self.peer_timeout_ms < 2 * self.heartbeat_ms {
            return refuse(
                "peer_timeout_ms",
                format!(
                    "{} is less than two heartbeats of {}",
                    self.peer_timeout_ms, self.heartbeat_ms
                ),
            );
        }
        const HOUR_MS: u64 = 3_600_000;
        for (key, value) in [
            ("peer_timeout_ms", self.peer_timeout_ms),
            ("clock_bound_ms", self.clock_bound_ms),
        ] {
            if value > HOUR_MS {
                return refuse(key, format!("{value} is more than an hour ({HOUR_MS})"));
            }
        }
        if !(1..=22).contains(&self.seal_level) {
            return refuse(
                "seal_level",
                format!("{} is not within 1 to 22", self.seal_level),
            );
        }
        let most = kanjo_format::limits::CLIENT_CONNECTIONS_MAX;
        if self.client_connections == 0 || self.client_connections > most {
            return refuse(
                "client_connections",
                format!("{} is not within 1 to {most}", self.client_connections),
            );
        }
        if self.default_deadline_ms == 0 {
            return refuse(
                "default_deadline_ms",
                "0 would hold requests for ever".to_owned(),
            );
        }
        if self.checkpoint_every_bytes < 1 << 20 {
            return refuse(
                "checkpoint_every_bytes",
                format!("{} is less than 1 MiB", self.checkpoint_every_bytes),
            );
        }
        Ok(())
    }

    /// Where the other nodes of the cluster listen for replication, in their fixed order: in a pair
    /// the one peer.
    pub fn peer_addresses(&self) -> Vec<PeerAddress> {
        let Some(topology) = &self.topology else {
            return vec![PeerAddress {
                replication: self.peer_replication.clone(),
                who: None,
            }];
        };
        let others = topology.servers.iter();
        let others = others.filter(|server| Some(server.node) != self.node);
        others
            .map(|server| PeerAddress {
                replication: server.replication.clone(),
                who: Some((server.node, server.site)),
            })
            .collect()
    }

    /// Milliseconds of silence after which a connection to a replica is given up.
    pub(crate) fn silent_after_ms(&self) -> u64 {
        match &self.topology {
            Some(topology) => topology.timing.silent_ms,
            None => self.peer_timeout_ms,
        }
    }

    /// The addresses that this node binds, with their keys.
    pub fn listen_addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("client_listen", Some(&self.client_listen)),
            ("replication_listen", Some(&self.replication_listen)),
            ("admin_listen", Some(&self.admin_listen)),
            ("http_listen", self.http_listen.as_ref()),
        ]
        .into_iter()
        .filter_map(|(key, address)| Some((key, address?.as_str())))
    }

    /// The configuration as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration has only plain values")
    }
}

/// The first socket address that `address` names.
pub(crate) fn resolve(key: &'static str, address: &str) -> Result<SocketAddr, NodeError> {
    let none = |why: String| NodeError::ConfigValue { key, why };
    address
        .to_socket_addrs()
        .map_err(|error| none(format!("{address:?} is not HOST:PORT: {error}")))?
        .next()
        .ok_or_else(|| none(format!("{address:?} names no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        Config::new(
            "d".into(),
            "127.0.0.1:1",
            "127.0.0.1:2",
            "127.0.0.1:3",
            "127.0.0.1:4",
        )
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sample().to_toml() + "\nsync_mode = \"off\"\n").unwrap();
        let error = Config::load(file.path()).unwrap_err().to_string();
        assert!(error.contains("sync_mode"), "{error}");
    }

    #[test]
    fn a_port_beyond_loopback_needs_the_insecure_word() {
        let mut config = sample();
        config.client_listen = "0.0.0.0:7000".into();
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("insecure_listen")
        );
        config.insecure_listen = true;
        config.check().unwrap();
        config.insecure_listen = false;
        config.client_listen = "127.0.0.1:7000".into();
        config.check().unwrap();
        config.http_listen = Some("0.0.0.0:7004".into());
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("http_listen"), "{refused}");
    }

    #[test]
    fn both_sites_go_on_by_themselves_only_with_a_third_witness() {
        let text = sample().to_toml();
        let with = |word: &str| {
            let text = text.replace("auto_failover = false", &format!("auto_failover = {word}"));
            toml::from_str::<Config>(&text)
        };
        assert_eq!(with("true").unwrap().auto_failover, AutoFailover::TakeOver);
        let wrong = with("\"sometimes\"").unwrap_err().to_string();
        assert!(wrong.contains("sometimes"), "{wrong}");
        let mut both = with("\"both\"").unwrap();
        assert_eq!(
            toml::from_str::<Config>(&both.to_toml()).unwrap(),
            both,
            "read as it was written"
        );
        both.cluster_file = Some("cluster.toml".into());
        let refused = both.check().unwrap_err().to_string();
        assert!(refused.contains("third site"), "{refused}");
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let mut config = sample();
        for http_listen in [None, Some("127.0.0.1:5".to_owned())] {
            config.http_listen = http_listen;
            let read: Config = toml::from_str(&config.to_toml()).unwrap();
            assert_eq!(read, config);
        }
    }
}
