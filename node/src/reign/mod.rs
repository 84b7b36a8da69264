//! The primary's part: one reign, from its `EpochStart` until it is fenced or stopped.
//!
//! ```text
//! requests → execute → append ┬→ sync ─────────────┐
//!                             └→ pack → send → ack ─┴→ gate → replies
//! ```

mod execute;
mod grouped;
mod holding;
mod last_batch;
mod membership;
mod queries;
mod replies;
mod session;
mod shipping;
mod standing;
mod switching;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::{Digest, Epoch, Lsn, OpeningId, Timestamp};
use kanjo_shipper::opening::OpenEpoch;
use kanjo_shipper::sender::{Event, SenderStart};
use kanjo_shipper::{CommitGate, Sender};
use tokio::time::Instant;

pub(crate) use self::grouped::Grouped;
use self::last_batch::LastBatch;
use self::queries::Queries;
use self::replies::Replies;
use self::session::PeerSession;
use crate::clock::ClockCheck;
use crate::error::NodeError;
use crate::group::{Group, Membership};
use crate::hot::{Hot, TICK};
use crate::metrics::{Stage, Stamps};
use crate::node::{Node, Part};
use crate::peers::Peers;
use crate::query::AccountLedgers;

/// Most bytes that the hot thread syncs itself when it has nothing else to do.
const SYNC_HERE_BYTES_MAX: u64 = 16 << 10;
/// A sync that took longer is left to the other thread next time.
const SYNC_HERE_MAX: Duration = Duration::from_millis(2);

/// What a primary knows beside its log.
pub(crate) struct Reign {
    opening: OpeningId,
    gate: CommitGate,
    /// One for each peer, in their order.
    sessions: Vec<PeerSession>,
    /// In a group: the set as its register has it.
    grouped: Option<Grouped>,
    pub(crate) replies: Replies,
    pub(crate) queries: Queries,
    clock: ClockCheck,
    last: LastBatch,
    /// Digests behind batches that are not committed yet.
    digests: VecDeque<(Lsn, Digest)>,
    /// Ends of batches that are not on the own disk yet.
    unsynced: Stamps,
    committed_digest: Option<(Lsn, Digest)>,
    synced_to_target: Lsn,
    /// How long the last sync took.
    pub(crate) last_sync: Duration,
    /// Ends of batches that are not committed yet.
    uncommitted: Stamps,
    /// How long the oldest batch of the last commit took.
    commit_took: Duration,
    /// The time of a batch that held nothing but expiries while a request waited.
    waits_since: Option<Timestamp>,
    /// When this node last heard the writer before this reign, until this reign can answer.
    former_heard_ns: Option<u64>,
    fenced: Option<Epoch>,
}

/// A reign with what it works on.
pub(crate) struct Primary<'a> {
    pub(crate) hot: &'a mut Hot,
    pub(crate) peers: &'a mut Peers,
    pub(crate) reign: &'a mut Reign,
    pub(crate) group: &'a mut Option<Group>,
}

impl Reign {
    pub(crate) const fn committed(&self) -> Lsn {
        self.gate.committed()
    }

    /// The higher epoch that ended this reign.
    pub(crate) const fn fenced_by(&self) -> Option<Epoch> {
        self.fenced
    }
}

impl Node {
    /// Starts to reign in an epoch whose `EpochStart` was just appended.
    pub(crate) fn begin_reign(
        &mut self,
        open: OpenEpoch,
        membership: Option<Membership>,
    ) -> Result<(), NodeError> {
        self.receiver.opened();
        let hot = &mut self.hot;
        let word = membership.as_ref().and_then(Membership::degraded);
        // Before anything is answered in it.
        hot.note_spell(word.map(|word| word.operator.as_str()));
        let known = hot.committed().min(open.base.lsn);
        let mut gate = CommitGate::new(open.epoch, open.base, known, open.protection);
        for member in &open.members {
            gate.add_member(*member, Lsn::ZERO);
        }
        let tail = hot.store.log.tail();
        gate.appended(tail);
        let synced = hot.store.syncer.synced();
        if synced > open.base.lsn {
            gate.synced(synced);
        }
        hot.shared.set_granted(open.epoch);
        // Accounts of a tail that was cut since may have stood in it.
        hot.account_ledgers = AccountLedgers::default();
        let start = SenderStart {
            identity: hot.identity(),
            epoch: open.epoch,
            opening: open.opening,
            log: hot.store.local_log(gate.committed())?,
            durable: synced,
            members: open.members.clone(),
            ping_every_ns: hot.config.heartbeat_ms * 1_000_000,
            silent_after_ns: hot.config.silent_after_ms() * 1_000_000,
        };
        let session = |_| PeerSession::new(Sender::new(start.clone()), tail.lsn);
        let sessions = self.peers.indices().map(session).collect();
        let digest = hot.store.ledger.digest();
        self.following.unanswered_since = None;
        let heard_ns = hot.shared.published.forget_writer();
        self.part = Part::Primary(Box::new(Reign {
            opening: open.opening,
            gate,
            sessions,
            grouped: membership.map(Grouped::new),
            replies: Replies::default(),
            queries: Queries::default(),
            clock: ClockCheck::new(hot.config.clock_bound_ms),
            last: LastBatch::new(Arc::clone(&hot.shared)),
            unsynced: Stamps::new(),
            digests: VecDeque::from([(tail.lsn, digest)]),
            committed_digest: None,
            synced_to_target: Lsn::ZERO,
            last_sync: Duration::ZERO,
            uncommitted: Stamps::new(),
            commit_took: Duration::ZERO,
            waits_since: None,
            former_heard_ns: heard_ns.map(|heard_ns| heard_ns.max(self.following.batches_heard_ns)),
            fenced: None,
        }));
        hot.front.set_identity(open.epoch, true);
        let door = hot.door_of_primary();
        hot.front.set_door(door);
        tracing::info!(epoch = %open.epoch, base = %open.base, protection = open.protection.name(), "reign began");
        self.peers.redial();
        Ok(())
    }
}

impl Primary<'_> {
    /// Everything that can be done now: execute, ship, sync, answer.
    pub(crate) fn settle(&mut self) -> Result<(), NodeError> {
        if self.reign.fenced.is_some() {
            return Ok(());
        }
        self.execute_queue()?;
        self.wake_feeds()?;
        for peer in self.peers.indices() {
            self.continue_sending(peer)?;
            self.continue_file(peer)?;
            if let Some(link) = self.peers[peer].link() {
                // What goes wrong here shows when the link is read.
                let _ = link.flush();
            }
        }
        self.sync_if_needed()?;
        let Self { hot, reign, .. } = self;
        reign.replies.release(&reign.gate, &hot.front);
        Ok(())
    }

    fn sync_if_needed(&mut self) -> Result<(), NodeError> {
        let tail = self.hot.store.log.tail();
        if self.hot.sync.in_flight() || tail.lsn <= self.reign.synced_to_target {
            return Ok(());
        }
        self.reign.synced_to_target = tail.lsn;
        if !self.has_nothing_else_to_do(tail.lsn) {
            let history = self.hot.history();
            self.hot.sync.request(tail, history);
            return Ok(());
        }
        let begun = Instant::now();
        let lsn = self.hot.store.syncer.sync_to(tail.lsn)?;
        self.reign.last_sync = begun.elapsed();
        self.hot.stood_still = self.reign.last_sync >= TICK;
        self.hot.note_durable(tail);
        self.synced(lsn)
    }

    /// Whether this thread may as well sync itself: little is to be synced, every connected
    /// client waits for it, and the disk answers fast. That spares a commit the way to another
    /// thread and back.
    fn has_nothing_else_to_do(&self, tail: Lsn) -> bool {
        let synced = self.hot.store.syncer.synced();
        tail.since(synced) <= SYNC_HERE_BYTES_MAX
            && self.reign.gate.committed() >= synced
            && self.hot.front.connection_count() <= self.waiting()
            && self.reign.last_sync <= SYNC_HERE_MAX
    }

    /// How many requests wait for their answer.
    fn waiting(&self) -> u64 {
        self.reign.replies.len() + self.reign.queries.len() as u64
    }

    /// The local disk has everything below `lsn`.
    pub(crate) fn synced(&mut self, lsn: Lsn) -> Result<(), NodeError> {
        let waited = self.hot.shared.metrics.stage(Stage::LocalSync);
        self.reign.unsynced.reached(lsn, waited);
        let end = self.hot.store.log.tail().lsn;
        if lsn > end {
            // Of a tail that was cut since.
            return Ok(());
        }
        if self.reign.gate.synced(lsn).is_some() {
            self.commit_moved();
        }
        self.send_event_to_all(Event::Synced { lsn })
    }

    fn commit_moved(&mut self) {
        let committed = self.reign.gate.committed();
        self.hot.note_committed(committed);
        if let Some(since) = self.reign.uncommitted.take(committed) {
            self.reign.commit_took = since.elapsed();
        }
        while let Some(first) = self.reign.digests.front().copied() {
            if first.0 > committed {
                break;
            }
            self.reign.committed_digest = Some(first);
            self.reign.digests.pop_front();
        }
    }

    /// Looks at everything that goes by time.
    pub(crate) fn on_tick(&mut self, now: Instant, stopping: bool) -> Result<(), NodeError> {
        self.reign.replies.expire(now, &self.hot.front);
        self.tick_queries(now)?;
        if !stopping {
            self.expire_if_due()?;
        }
        if !stopping {
            let door = self.hot.door_of_primary();
            self.hot.front.set_door_if_changed(door);
        }
        self.peers.want();
        self.tick_sessions()?;
        self.tick_group()
    }
}
