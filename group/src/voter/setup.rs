//! Who a voter is, and the numbers that Raft runs with.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use openraft::SnapshotPolicy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::GroupError;
use crate::register::{Command, Outcome, SetMember};
use crate::topology::Topology;
use crate::voter::machine::Machine;

/// Log entries that are kept at most beside the record itself.
const LOG_ENTRIES: u64 = 64;
/// Of them, so many are kept for a voter that was away for a moment.
const LOG_ENTRIES_KEPT: u64 = 16;

/// What a voter is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster file's content.
    pub topology: Topology,
    /// The cluster.
    pub cluster: ClusterId,
    /// The site whose register it keeps.
    pub site: Site,
    /// Its node.
    pub node: NodeId,
    /// Its data directory. A wiped one is another voter.
    pub incarnation: Incarnation,
    /// Whether it is the site's witness; if not, it speaks for a server as well.
    pub witness: bool,
    /// A folder of its own; made if it is not there.
    pub dir: PathBuf,
}

/// A voter, as Raft numbers it: taken from the incarnation of its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VoterId(u64);

impl From<Incarnation> for VoterId {
    fn from(incarnation: Incarnation) -> Self {
        let all = incarnation.get();
        // Zero is what Raft calls a voter that was never voted for.
        Self(((all >> 64) as u64 ^ all as u64).max(1))
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for VoterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VoterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16);
        number.map(Self).map_err(|_| {
            let found = serde::de::Unexpected::Str(&text);
            serde::de::Error::invalid_value(found, &"16 hexadecimal digits")
        })
    }
}

/// What the register's members know of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoterInfo {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: String,
    pub(crate) witness: bool,
}

impl VoterInfo {
    pub(crate) fn id(&self) -> VoterId {
        self.incarnation.into()
    }

    pub(crate) const fn member(&self) -> SetMember {
        SetMember {
            node: self.node,
            incarnation: self.incarnation,
        }
    }
}

openraft::declare_raft_types!(
    /// What Raft is told about the register.
    pub(crate) Types:
        D = Command,
        R = Option<Outcome>,
        NodeId = VoterId,
        Node = VoterInfo,
        SnapshotData = Machine,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type LogId = openraft::LogId<VoterId>;
pub(crate) type Vote = openraft::Vote<VoterId>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type Membership = openraft::StoredMembership<VoterId, VoterInfo>;

impl Setup {
    /// Checks that the cluster file knows this voter.
    pub(crate) fn check(&self) -> Result<(), GroupError> {
        let refuse = |why: String| Err(GroupError::Setup { why });
        if let Err(why) = self.topology.check() {
            return refuse(format!("the cluster file is wrong: {why}"));
        }
        if self.incarnation == Incarnation::default() {
            return refuse("its directory has no incarnation: format it first".to_owned());
        }
        let Some((_, _, witness)) = self.place() else {
            return refuse(format!(
                "the cluster file has no node {} in site {}: correct the file or the node's number",
                self.node, self.site
            ));
        };
        if witness != self.witness {
            let (is, should) = match witness {
                true => ("a witness", "start it with `kanjo witness`"),
                false => ("a server", "start it with `kanjo start`"),
            };
            return refuse(format!(
                "node {} is {is} in the cluster file: {should}",
                self.node
            ));
        }
        Ok(())
    }

    fn place(&self) -> Option<(NodeId, &str, bool)> {
        let mut voters = self.topology.voters_of(self.site);
        voters.find(|(node, _, _)| *node == self.node)
    }

    /// What others know of this voter.
    pub(crate) fn info(&self) -> VoterInfo {
        VoterInfo {
            node: self.node,
            incarnation: self.incarnation,
            address: self
                .place()
                .map_or_else(String::new, |(_, at, _)| at.to_owned()),
            witness: self.witness,
        }
    }

    /// After so long without a majority or a leader the view names no leader.
    pub(crate) const fn lost(&self) -> Duration {
        Duration::from_millis(2 * self.topology.timing.election_ms)
    }

    /// Raft's own timers do not decide when to elect or to send a heartbeat: `pace.rs` does, which
    /// knows of closed connections. Here they say how long a vote is denied after a leader's word
    /// (`election_timeout_max`), and how long a vote (`…_min`) or append (`heartbeat_interval`) may take.
    pub(crate) fn raft_config(&self) -> openraft::Config {
        let lease_ms = self.topology.timing.election_ms;
        openraft::Config {
            cluster_name: format!("{} site {}", self.cluster, self.site),
            election_timeout_max: lease_ms,
            election_timeout_min: lease_ms - 1,
            heartbeat_interval: lease_ms - 2,
            install_snapshot_timeout: 2_000,
            max_payload_entries: LOG_ENTRIES,
            replication_lag_threshold: 2 * LOG_ENTRIES,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(LOG_ENTRIES),
            max_in_snapshot_log_to_keep: LOG_ENTRIES_KEPT,
            enable_elect: false,
            enable_heartbeat: false,
            ..openraft::Config::default()
        }
    }
}
