//! What a node counts and times of itself. The hot thread records, the main thread reads and
//! renders: everything here is an atomic, so neither ever waits for the other, and recording
//! allocates nothing.

mod counts;
mod exposition;
mod families;
mod histogram;
mod lacking;
mod page;
mod process;
mod stamps;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kanjo_format::NodeId;
use kanjo_format::client::{FrameKind, Outcome};

use self::counts::{EventCounts, RequestCounts};
pub(crate) use self::exposition::{Exposition, Format};
pub(crate) use self::histogram::Histogram;
pub(crate) use self::lacking::Lacking;
pub(crate) use self::stamps::Stamps;

/// Most peers whose acks are timed one by one; others are not timed.
const PEERS_MAX: usize = 8;
/// Of a slot that no peer has, and of a count that nobody told.
const NONE: u64 = u64::MAX;

/// A part of the way of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request arrived -> its batch is begun.
    Queue,
    /// A batch is begun -> it is in the log.
    Execute,
    /// A batch is packed for the wire.
    Compress,
    /// A batch is in the log -> it is on the own disk.
    LocalSync,
    /// A heartbeat's way to a peer and back, which no sync delays.
    Wire,
    /// One sync of a replica.
    RemoteSync,
    /// A replica appended a batch -> its ledger has it.
    Apply,
}

impl Stage {
    /// All, in the order of a commit's way.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Queue, "queue"),
        (Self::Execute, "execute"),
        (Self::Compress, "compress"),
        (Self::LocalSync, "local_sync"),
        (Self::Wire, "wire"),
        (Self::RemoteSync, "remote_sync"),
        (Self::Apply, "apply"),
    ];
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    stages: [Histogram; Stage::ALL.len()],
    /// Writes, arrived -> answered.
    commit: Histogram,
    /// Reads, arrived -> answered.
    read: Histogram,
    requests: RequestCounts,
    events: EventCounts,
    acks: [PeerAcks; PEERS_MAX],
    elections: AtomicU64,
    nominations: AtomicU64,
}

#[derive(Debug)]
struct PeerAcks {
    node: AtomicU64,
    /// A batch was sent -> its ack came.
    ack: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let peer = |_| PeerAcks {
            node: AtomicU64::new(NONE),
            ack: Histogram::default(),
        };
        Self {
            stages: std::array::from_fn(|_| Histogram::default()),
            commit: Histogram::default(),
            read: Histogram::default(),
            requests: RequestCounts::default(),
            events: EventCounts::default(),
            acks: std::array::from_fn(peer),
            elections: AtomicU64::new(NONE),
            nominations: AtomicU64::new(NONE),
        }
    }
}

impl Metrics {
    /// Times of one stage.
    pub(crate) const fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Times from sending a batch to this peer until its ack, if so many peers can be told apart.
    pub(crate) fn acks_of(&self, node: NodeId) -> Option<&Histogram> {
        let number = u64::from(node.get());
        let is_its = |slot: &&PeerAcks| {
            // Only the hot thread takes slots.
            let taken = slot.node.load(Ordering::Relaxed);
            taken == number || taken == NONE
        };
        let slot = self.acks.iter().find(is_its)?;
        slot.node.store(number, Ordering::Relaxed);
        Some(&slot.ack)
    }

    /// A request that arrived then is answered so.
    pub(crate) fn answered(&self, kind: FrameKind, outcome: Outcome, arrived: Instant) {
        self.requests.count(kind, outcome);
        // A feed waits for news, which says nothing of the node.
        if outcome != Outcome::Done || kind == FrameKind::ReadFeed {
            return;
        }
        let took = arrived.elapsed();
        match kind.is_write() {
            true => self.commit.record(took),
            false => self.read.record(took),
        }
    }

    /// A request was refused where it arrived.
    pub(crate) fn refused(&self, kind: FrameKind, outcome: Outcome) {
        self.requests.count(kind, outcome);
    }

    /// So many events of a request of this kind got this result.
    pub(crate) fn executed(&self, kind: FrameKind, result: u32, events: u32) {
        self.events.count(kind, result, events);
    }

    /// How often the register of the own site got another leader, and its site another nominee,
    /// as this node saw it. A pair has neither; what nobody tells is not shown.
    pub(crate) fn note_group(&self, elections: u64, nominations: u64) {
        self.elections.store(elections, Ordering::Relaxed);
        self.nominations.store(nominations, Ordering::Relaxed);
    }
}
