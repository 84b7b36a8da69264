//! The cluster file: who there is and where, the same file on every machine.

use std::path::{Path, PathBuf};

use kanjo_format::{NodeId, Site};
use serde::{Deserialize, Serialize};

/// Most servers of one site.
pub const SITE_SERVERS_MAX: usize = 4;

/// The cluster file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Servers of both sites.
    #[serde(rename = "server")]
    pub servers: Vec<Server>,
    /// One quorum device a site.
    #[serde(rename = "witness", default)]
    pub witnesses: Vec<Witness>,
    /// The witness of a third site, if there is one: every site that goes on without the other one
    /// needs its word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub third_witness: Option<ThirdWitness>,
    /// Times, where they shall differ from the defaults.
    #[serde(default)]
    pub timing: Timing,
}

/// One server's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its number, as it was formatted.
    pub node: NodeId,
    /// Its cloud.
    pub site: Site,
    /// Where clients connect.
    pub client: String,
    /// Where other servers connect for the log.
    pub replication: String,
    /// Where `kanjo status` and other commands connect.
    pub admin: String,
    /// Where voters and servers connect for the register.
    pub register: String,
    /// Where load balancers and Prometheus ask; nothing listens if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
}

/// A quorum device's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its number, different from every other node's.
    pub node: NodeId,
    /// Its cloud.
    pub site: Site,
    /// Where voters and servers connect for the register.
    pub register: String,
}

/// The third site's witness and its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThirdWitness {
    /// Its number, different from every other node's.
    pub node: NodeId,
    /// Where servers of both sites connect.
    pub register: String,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Between two heartbeats, of voters and of servers.
    pub heartbeat_ms: u64,
    /// So long after the last heartbeat of a leader whose connection is closed another voter asks
    /// to lead; two to four times as long if the leader is only silent.
    pub election_ms: u64,
    /// A server that is silent for so long counts as dead. A closed connection counts at once.
    pub silent_ms: u64,
    /// Between two nominations of a site, at least.
    pub nomination_pause_ms: u64,
    /// A member that has not granted an opening for so long is left out of the set.
    pub seal_patience_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 40,
            election_ms: 120,
            silent_ms: 1_000,
            nomination_pause_ms: 1_000,
            seal_patience_ms: 300,
        }
    }
}

/// Why a cluster file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It cannot be read.
    #[error("cannot read the cluster file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no cluster file.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// It says what cannot be.
    #[error("{}: {message}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What, and what to do.
        message: String,
    },
}

impl Topology {
    /// Reads and checks a cluster file.
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let text = std::fs::read_to_string(path).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        let topology: Self = toml::from_str(&text).map_err(|error| TopologyError::Syntax {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        topology.check().map_err(|message| TopologyError::Content {
            path: path.to_owned(),
            message,
        })?;
        Ok(topology)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a topology is plain data")
    }

    /// Checks what the types alone do not.
    pub fn check(&self) -> Result<(), String> {
        let servers = self.servers.iter().map(|server| server.node);
        let witnesses = self.witnesses.iter().map(|witness| witness.node);
        let third = self.third_witness.iter().map(|third| third.node);
        let mut nodes: Vec<NodeId> = servers.chain(witnesses).chain(third).collect();
        nodes.sort_unstable();
        if nodes.first() == Some(&NodeId::new(0)) {
            return Err("node 0 stands there: numbers begin with 1".to_owned());
        }
        if let Some(twice) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("node {} stands there twice", twice[0]));
        }
        self.check_addresses()?;
        for site in [Site::One, Site::Two] {
            let count = self.servers_of(site).count();
            if !(1..=SITE_SERVERS_MAX).contains(&count) {
                return Err(format!(
                    "site {site} has {count} servers; it needs 1 to {SITE_SERVERS_MAX}"
                ));
            }
            let witnesses = self.witnesses.iter().filter(|w| w.site == site).count();
            if witnesses > 1 {
                return Err(format!("site {site} has {witnesses} witnesses; it has one"));
            }
            if (count + witnesses).is_multiple_of(2) {
                return Err(format!(
                    "site {site} has {} voters; an even number survives no more losses than one less: add or take away a witness",
                    count + witnesses
                ));
            }
        }
        let timing = &self.timing;
        if timing.heartbeat_ms == 0 || timing.election_ms < 2 * timing.heartbeat_ms {
            return Err(format!(
                "timing.election_ms ({}) must be at least two heartbeats of {} ms",
                timing.election_ms, timing.heartbeat_ms
            ));
        }
        if timing.silent_ms < 2 * timing.heartbeat_ms || timing.silent_ms > 60_000 {
            return Err(format!(
                "timing.silent_ms ({}) must be two heartbeats to a minute",
                timing.silent_ms
            ));
        }
        Ok(())
    }

    /// Every address is HOST:PORT, and stands for one port of one part.
    fn check_addresses(&self) -> Result<(), String> {
        let servers = self.servers.iter().flat_map(|server| {
            let http = server.http.iter().map(|http| ("http", http));
            let all = [
                ("client", &server.client),
                ("replication", &server.replication),
                ("admin", &server.admin),
                ("register", &server.register),
            ];
            let all = all.into_iter().chain(http);
            all.map(|(key, address)| (server.node, key, address))
        });
        let witnesses = self.witnesses.iter();
        let witnesses = witnesses.map(|w| (w.node, "register", &w.register));
        let third = self.third_witness.iter();
        let third = third.map(|t| (t.node, "register", &t.register));
        let mut known: Vec<(NodeId, &str, &String)> = Vec::new();
        for (node, key, address) in servers.chain(witnesses).chain(third) {
            let parts = address.rsplit_once(':');
            let port = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            if port.is_none_or(|(host, port)| host.is_empty() || port == 0) {
                return Err(format!(
                    "node {node}: {key} = {address:?} is not HOST:PORT with a port from 1 to 65535"
                ));
            }
            if let Some((other, its, _)) = known.iter().find(|(.., known)| *known == address) {
                return Err(format!(
                    "node {node}: {key} = {address:?} is the address of node {other}'s {its}, too"
                ));
            }
            known.push((node, key, address));
        }
        Ok(())
    }

    /// Servers of one site.
    pub fn servers_of(&self, site: Site) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(move |server| server.site == site)
    }

    /// The server of that number.
    pub fn server(&self, node: NodeId) -> Option<&Server> {
        self.servers.iter().find(|server| server.node == node)
    }

    /// Voters of one site's register: node, address, whether it is a witness.
    pub fn voters_of(&self, site: Site) -> impl Iterator<Item = (NodeId, &str, bool)> {
        let servers = self.servers_of(site);
        let witnesses = self.witnesses.iter().filter(move |w| w.site == site);
        servers
            .map(|server| (server.node, server.register.as_str(), false))
            .chain(witnesses.map(|witness| (witness.node, witness.register.as_str(), true)))
    }

    /// Client addresses of all servers: the one list with which a client finds the writer.
    pub fn client_addresses(&self) -> Vec<String> {
        self.servers
            .iter()
            .map(|server| server.client.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[server]]
        node = 1
        site = 1
        client = "a:1"
        replication = "a:2"
        admin = "a:3"
        register = "a:4"
        [[server]]
        node = 2
        site = 2
        client = "b:1"
        replication = "b:2"
        admin = "b:3"
        register = "b:4"
    "#;

    #[test]
    fn a_cluster_file_is_read_and_written_alike() {
        let topology: Topology = toml::from_str(FILE).unwrap();
        topology.check().unwrap();
        assert_eq!(
            toml::from_str::<Topology>(&topology.to_toml()).unwrap(),
            topology
        );
    }

    #[test]
    fn a_third_witness_is_a_node_of_neither_site() {
        let third = "[third_witness]\nnode = 21\nregister = \"d:4\"\n";
        let mut topology: Topology = toml::from_str(&format!("{FILE}{third}")).unwrap();
        topology.check().unwrap();
        assert_eq!(
            toml::from_str::<Topology>(&topology.to_toml()).unwrap(),
            topology
        );
        topology.third_witness.as_mut().unwrap().node = NodeId::new(2);
        assert!(topology.check().unwrap_err().contains("twice"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let mut topology: Topology = toml::from_str(FILE).unwrap();
        topology.servers[1].node = NodeId::new(1);
        assert!(topology.check().unwrap_err().contains("twice"));
        let mut topology: Topology = toml::from_str(FILE).unwrap();
        topology.witnesses.push(Witness {
            node: NodeId::new(9),
            site: Site::One,
            register: "c:4".into(),
        });
        assert!(topology.check().unwrap_err().contains("even number"));
        assert!(toml::from_str::<Topology>(&format!("{FILE}\nnonsense = 1")).is_err());
    }
}
