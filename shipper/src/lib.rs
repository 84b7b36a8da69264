//! Replication sessions as pure state machines.
//!
//! Values in, actions out: the node carries frames, persists what an action asks for, and says
//! so with an event. No socket, clock, disk or thread is touched here, so a whole cluster runs
//! in one thread under a seed.
//!
//! ```text
//! opening   dialer     restart, promotion, going alone: who opens which epoch on what base
//! group_opening        the same in a group, over several members and a register
//! sender    dialer     a serving primary's session to one replica
//! receiver  listener   grants, the log that is followed, acks; one for all sessions of a node
//! gate      primary    what is committed, and which reads may be answered
//! fork      both       where two logs part
//! packing   both       batches to frames and back
//! ```
#![forbid(unsafe_code)]

pub mod fork;
pub mod gate;
mod greeting;
pub mod group_opening;
pub mod opening;
pub mod packing;
pub mod receiver;
pub mod sender;
#[cfg(test)]
mod tests;

pub use fork::{Fork, ForkError, find_fork};
pub use gate::{CommitGate, GateError};
pub use group_opening::GroupOpening;
pub use opening::Opening;
pub use packing::{Packer, UnpackError, Unpacker};
pub use receiver::Receiver;
pub use sender::Sender;

use kanjo_format::replication::EpochEntry;
use kanjo_format::{BatchPlace, ClusterId, Incarnation, Lsn, NodeId, Site, Tail};

/// One replica of an in-sync set: a node and its data directory. A wiped disk is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// Who a node is, in every handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its cloud.
    pub site: Site,
    /// Segment size of its log.
    pub segment_bytes: u64,
    /// How often its directory was opened.
    pub start_count: u64,
    /// Where clients reach it; may be empty.
    pub client_address: String,
}

/// What a node's durable log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLog {
    /// Where it ends, on disk.
    pub tail: Tail,
    /// What is known to be committed.
    pub confirmed: Lsn,
    /// Its epochs, oldest first, all of them.
    pub history: Vec<EpochEntry>,
    /// End of the last reign in this log that served alone; zero if there was none, the tail
    /// while there is one. Below it, answers were given that nobody else may have.
    pub alone_to: Lsn,
}

impl LocalLog {
    /// Whether this node, or one that it followed, may have answered for something above `lsn`
    /// that a log ending there lacks. Such a tail is never cut without an operator.
    pub fn may_have_answered_above(&self, lsn: Lsn) -> bool {
        self.confirmed > lsn || self.alone_to > lsn
    }

    /// Where the next batch stands.
    const fn next_place(&self, cluster: ClusterId) -> BatchPlace {
        BatchPlace {
            cluster,
            lsn: self.tail.lsn,
            epoch: self.tail.epoch,
            chain: self.tail.chain,
        }
    }
}

/// The log grew to `tail`: a batch of a higher epoch than the one before began that epoch.
fn note_epoch(log: &mut LocalLog, tail: Tail) {
    assert!(tail.lsn > log.tail.lsn, "a log grows at its end");
    if tail.epoch != log.tail.epoch {
        let epoch = tail.epoch;
        let base = log.tail;
        log.history.push(EpochEntry { epoch, base });
    }
    log.tail = tail;
}
