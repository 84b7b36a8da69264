//! What the hot thread tells the other threads of itself: when it last turned, how it stands, its
//! figures. It never waits for who reads: a reader that holds the snapshot makes it come one turn
//! later.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use kanjo_engine::WideAmount;
use kanjo_format::record::Protection;
use kanjo_format::{Epoch, LedgerId, Lsn, NodeId, Site};

use crate::hot::Counters;
use crate::node::steady_ns;

/// To look at the clock at each step would take longer than many steps do.
const STEPS_A_BEAT: u64 = 64;

/// Which part a node plays, for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Recovers its log and builds its ledger.
    #[default]
    Starting,
    /// Was primary and has not opened its next epoch.
    Resolving,
    /// Follows, or waits for a primary.
    Replica,
    /// Opened the current epoch.
    Primary,
}

impl Role {
    /// All, with their names.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Starting, "starting"),
        (Self::Resolving, "resolving"),
        (Self::Replica, "replica"),
        (Self::Primary, "primary"),
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// How a node stands. Whatever changes here is told at once, not at the next tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) role: Role,
    pub(crate) epoch: Epoch,
    /// As primary: new transfers are answered.
    pub(crate) serving: bool,
    /// As primary, how commits are protected; as replica, what the log last said.
    pub(crate) protection: Option<Protection>,
    /// As primary: commits wait for servers of its own site only.
    pub(crate) one_site: bool,
    /// As primary that answers alone, or nobody: another server catches up.
    pub(crate) catching_up: bool,
    /// As primary: every commit waits for a server of another site, which takes batches.
    pub(crate) protected: bool,
    /// As replica: a primary is followed.
    pub(crate) following: bool,
    /// As replica: every commit waits for this node.
    pub(crate) in_set: bool,
    /// As replica: this disk has all that the primary's log held when it began to follow.
    pub(crate) caught_up: bool,
}

/// Another server, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerFigures {
    pub(crate) node: NodeId,
    /// As primary: batches flow to it. As replica: this node follows it.
    pub(crate) connected: bool,
    /// As primary: what went there.
    pub(crate) shipped: Option<ShippedFigures>,
}

/// How far a peer is with what a primary sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShippedFigures {
    pub(crate) acked: Lsn,
    pub(crate) lag_bytes: u64,
    /// How old the oldest thing is that it lacks.
    pub(crate) lag: Duration,
    pub(crate) round_trip_us: Option<u64>,
}

/// Sizes and positions of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) tail: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) committed: Lsn,
    pub(crate) applied: Lsn,
    pub(crate) checkpoint: Lsn,
    pub(crate) indexed: Lsn,
    pub(crate) counters: Counters,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) connections: u64,
    pub(crate) requests_outstanding: u64,
    pub(crate) requests_queued: u64,
    pub(crate) events_queued: u64,
    pub(crate) free_disk_bytes: u64,
    pub(crate) index_runs: u64,
    pub(crate) index_bytes: u64,
    pub(crate) young_ids: u64,
    pub(crate) accounts: u64,
    pub(crate) transfers: u64,
    pub(crate) pending: u64,
    pub(crate) unprotected: u64,
}

/// All that is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) health: Health,
    /// Why it does not do what its role is, in words.
    pub(crate) why: String,
    /// When the one that was silent for longest of those that commits wait for was last heard,
    /// as [`steady_ns`] counts; `None` if they wait for nobody.
    pub(crate) member_heard_ns: Option<u64>,
    pub(crate) figures: Figures,
    pub(crate) peers: Vec<PeerFigures>,
    /// Sums of transfers answered while nobody else had them.
    pub(crate) unprotected: Vec<(LedgerId, WideAmount)>,
}

/// Who a node is.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) site: Site,
    pub(crate) incarnation: String,
}

/// The place where the hot thread leaves it.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Known once the directory is open.
    pub(crate) info: OnceLock<Info>,
    snapshot: Mutex<Snapshot>,
    turned_ns: AtomicU64,
    writer_heard_ns: AtomicU64,
}

impl Published {
    /// The hot thread turns.
    pub(crate) fn turn(&self) {
        self.turned_ns.store(steady_ns(), Ordering::Relaxed);
    }

    /// The same, of every so many of the steps of something long.
    pub(crate) fn beat(&self, step: u64) {
        if step.is_multiple_of(STEPS_A_BEAT) {
            self.turn();
        }
    }

    /// A file that is read in large pieces, each of which is a turn.
    pub(crate) fn reading(self: &Arc<Self>, file: File) -> impl Read + use<> {
        Reading {
            file,
            pulse: Arc::clone(self),
        }
    }

    /// When the hot thread last turned.
    pub(crate) fn turned_ns(&self) -> u64 {
        self.turned_ns.load(Ordering::Relaxed)
    }

    /// The primary that this node follows was heard.
    pub(crate) fn hear_writer(&self) {
        self.writer_heard_ns.store(steady_ns(), Ordering::Relaxed);
    }

    /// When the writer was last heard that this node followed until it began to write itself.
    pub(crate) fn forget_writer(&self) -> Option<u64> {
        let heard_ns = self.writer_heard_ns.swap(0, Ordering::Relaxed);
        (heard_ns > 0).then_some(heard_ns)
    }

    /// When the primary was last heard.
    pub(crate) fn writer_heard_ns(&self) -> u64 {
        self.writer_heard_ns.load(Ordering::Relaxed)
    }

    /// Lets `change` write the snapshot, unless somebody reads it just now. Says whether it did.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Snapshot)) -> bool {
        match self.snapshot.try_lock() {
            Ok(mut snapshot) => change(&mut snapshot),
            Err(TryLockError::Poisoned(poisoned)) => change(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }

    /// What was told last.
    pub(crate) fn read(&self) -> Snapshot {
        // Whoever panicked elsewhere left values, each of which is whole.
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.clone()
    }
}

struct Reading {
    file: File,
    pulse: Arc<Published>,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.pulse.turn();
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_thread_never_waits_for_a_reader() {
        let published = Published::default();
        let held = published.snapshot.lock().unwrap();
        assert!(!published.update(|_| unreachable!("somebody reads")));
        drop(held);
        assert!(published.update(|told| told.health.serving = true));
        assert!(published.read().health.serving);
    }

    #[test]
    fn a_writer_that_was_heard_before_an_own_reign_is_not_heard_after_it() {
        let published = Published::default();
        assert_eq!(published.forget_writer(), None);
        steady_ns();
        published.hear_writer();
        assert!(published.forget_writer().is_some());
        assert_eq!(published.forget_writer(), None);
    }

    #[test]
    fn reading_a_long_file_counts_as_turning() {
        let published = Arc::new(Published::default());
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[7; 100]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        steady_ns();
        let mut bytes = Vec::new();
        published.reading(file).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 100]);
        assert!(published.turned_ns() > 0);
        let before = published.turned_ns();
        published.beat(STEPS_A_BEAT + 1);
        assert_eq!(published.turned_ns(), before);
        published.beat(2 * STEPS_A_BEAT);
        assert!(published.turned_ns() > before);
    }
}
