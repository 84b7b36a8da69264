//! The primary's part: one reign, from its `EpochStart` until it is fenced or stopped.
//!
//! ```text
//! requests → execute → append ┬→ sync ─────────────┐
//!                             └→ pack → send → ack ─┴→ gate → replies
//! ```

mod execute;
mod queries;
mod replies;
mod shipping;

use std::collections::VecDeque;
use std::fs::File;
use std::time::Duration;

use kanjo_format::control::Control;
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::replication::SeedFile;
use kanjo_format::{BatchHeader, Digest, Epoch, Lsn, OpeningId, Tail, Timestamp};
use kanjo_shipper::opening::OpenEpoch;
use kanjo_shipper::sender::{Event, SenderStart};
use kanjo_shipper::{CommitGate, Member, Packer, Sender};
use tokio::time::Instant;

use self::queries::Queries;
use self::replies::Replies;
use crate::clock::ClockCheck;
use crate::dial::Dialer;
use crate::error::NodeError;
use crate::hot::{Hot, Standing, TICK};
use crate::node::{Node, Part, steady_ns};
use crate::promotion;
use crate::query::AccountLedgers;
use crate::status::PeerStatus;

/// Most bytes that the hot thread syncs itself when it has nothing else to do.
const SYNC_HERE_BYTES_MAX: u64 = 16 << 10;
/// A sync that took longer is left to the other thread next time.
const SYNC_HERE_MAX: Duration = Duration::from_millis(2);

/// What a primary knows beside its log.
pub(crate) struct Reign {
    opening: OpeningId,
    gate: CommitGate,
    sender: Sender,
    pub(crate) replies: Replies,
    pub(crate) queries: Queries,
    clock: ClockCheck,
    packer: Packer,
    /// Payload of the last batch, so that it is packed without being read back.
    payload: Vec<u8>,
    last: Option<(BatchHeader, Tail)>,
    /// Digests behind batches that are not committed yet.
    digests: VecDeque<(Lsn, Digest)>,
    committed_digest: Option<(Lsn, Digest)>,
    told_committed: Lsn,
    /// The replica that everything waits for, once its session runs.
    live_member: Option<Member>,
    peer: PeerStatus,
    sending: Option<shipping::Sending>,
    file: Option<(SeedFile, File, u64, Tail)>,
    chunk_sent: Option<(u64, u64, Tail)>,
    synced_to_target: Lsn,
    /// How long the last sync took.
    pub(crate) last_sync: Duration,
    /// The time of a batch that held nothing but expiries while a request waited.
    waits_since: Option<Timestamp>,
    fenced: Option<Epoch>,
}

/// A reign with what it works on.
pub(crate) struct Primary<'a> {
    pub(crate) hot: &'a mut Hot,
    pub(crate) dialer: &'a mut Dialer,
    pub(crate) reign: &'a mut Reign,
}

impl Reign {
    pub(crate) const fn committed(&self) -> Lsn {
        self.gate.committed()
    }

    /// Whether it serves alone and no replica is being taken in.
    pub(crate) fn waits_for_nobody(&self) -> bool {
        self.gate.protection() == Protection::Alone && self.gate.members().next().is_none()
    }

    /// The higher epoch that ended this reign.
    pub(crate) const fn fenced_by(&self) -> Option<Epoch> {
        self.fenced
    }
}

impl Node {
    /// Starts to reign in an epoch whose `EpochStart` was just appended.
    pub(crate) fn begin_reign(&mut self, open: OpenEpoch) -> Result<(), NodeError> {
        let hot = &mut self.hot;
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
        let sender = Sender::new(SenderStart {
            identity: hot.identity(),
            epoch: open.epoch,
            opening: open.opening,
            log: hot.store.local_log(gate.committed())?,
            member: open.members.first().copied(),
            ping_every_ns: hot.config.heartbeat_ms * 1_000_000,
            silent_after_ns: hot.config.peer_timeout_ms * 1_000_000,
        });
        let digest = hot.store.ledger.digest();
        self.part = Part::Primary(Box::new(Reign {
            opening: open.opening,
            gate,
            sender,
            replies: Replies::default(),
            queries: Queries::default(),
            clock: ClockCheck::new(hot.config.clock_bound_ms),
            packer: Packer::new(),
            payload: Vec::new(),
            last: None,
            digests: VecDeque::from([(tail.lsn, digest)]),
            committed_digest: None,
            told_committed: Lsn::ZERO,
            live_member: None,
            peer: PeerStatus::default(),
            sending: None,
            file: None,
            chunk_sent: None,
            synced_to_target: Lsn::ZERO,
            last_sync: Duration::ZERO,
            waits_since: None,
            fenced: None,
        }));
        hot.front.set_identity(open.epoch, true);
        let door = hot.door_of_primary();
        hot.front.set_door(door);
        tracing::info!(epoch = %open.epoch, base = %open.base, protection = open.protection.name(), "reign began");
        self.dialer.redial();
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
        self.continue_sending()?;
        self.continue_file()?;
        if let Some(link) = self.dialer.link() {
            // What goes wrong here shows when the link is read.
            let _ = link.flush();
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
        let end = self.hot.store.log.tail().lsn;
        if lsn <= end && self.reign.gate.synced(lsn).is_some() {
            self.commit_moved();
        }
        Ok(())
    }

    fn commit_moved(&mut self) {
        let committed = self.reign.gate.committed();
        self.hot.note_committed(committed);
        while let Some(first) = self.reign.digests.front().copied() {
            if first.0 > committed {
                break;
            }
            self.reign.committed_digest = Some(first);
            self.reign.digests.pop_front();
        }
    }

    /// Tells the replica what is committed, also when nothing else is sent.
    fn tell_committed(&mut self) -> Result<(), NodeError> {
        let committed = self.reign.gate.committed();
        if committed <= self.reign.told_committed {
            return Ok(());
        }
        self.reign.told_committed = committed;
        let exact = self
            .reign
            .committed_digest
            .filter(|(lsn, _)| *lsn == committed);
        let digest = exact.map(|(_, digest)| digest);
        self.send_event(Event::Committed {
            lsn: committed,
            digest,
        })
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
        self.dialer.want();
        self.tell_committed()?;
        self.send_event(Event::Tick {
            now_ns: steady_ns(),
        })
    }

    /// From now on every commit waits for this replica, which has everything: the log and the
    /// control file say so before its durable mark is asked for. Gives the end of that record.
    fn take_in(&mut self, member: Member, acked: Lsn) -> Result<Lsn, NodeError> {
        self.reign.gate.add_member(member, acked);
        let store = &mut self.hot.store;
        let row = ReignRow::new(self.reign.opening, store.log.tail(), Protection::Protected)
            .with_member(member.node, member.incarnation);
        let (epoch, committed) = (self.reign.gate.epoch(), self.reign.gate.committed());
        let now = self.reign.clock.next()?;
        let header =
            promotion::write_reign(store, epoch, committed, RecordKind::SetChange, row, now)?;
        self.reign.payload.clear();
        self.note_appended(&header)?;
        let store = &self.hot.store;
        store.dir.promise(|control: &mut Control| {
            control.protection = Protection::Protected;
            control.member = Some((member.node, member.incarnation));
        })?;
        Ok(store.log.tail().lsn)
    }

    /// The replica carries the durable mark: it is the in-sync set.
    fn joined(&mut self, member: Member) {
        self.reign.live_member = Some(member);
        let was = self.reign.gate.protection();
        if was == Protection::Protected {
            return;
        }
        if self
            .reign
            .gate
            .set_protection(Protection::Protected)
            .is_some()
        {
            self.commit_moved();
        }
        tracing::info!(node = %member.node, was = was.name(), "an auxiliary is in sync: commits are protected");
    }

    pub(crate) fn standing(&self, base: Standing) -> Standing {
        let reign = &self.reign;
        let serving = self.can_serve();
        let why = match reign.gate.protection() {
            _ if serving => "",
            Protection::Waiting => "no auxiliary follows yet; writes are held until one does",
            _ if !reign.gate.is_open() => "the epoch is not committed yet",
            _ => "the auxiliary cannot be reached; nothing is answered without it",
        };
        let tail = self.hot.store.log.tail();
        let peer = PeerStatus {
            address: self.dialer.address().to_owned(),
            connected: self.dialer.is_connected() && reign.sender.lag_bytes().is_some(),
            lag_bytes: reign
                .sender
                .lag_bytes()
                .unwrap_or_else(|| tail.lsn.since(Lsn::new(reign.peer.acked_lsn))),
            ..reign.peer.clone()
        };
        Standing {
            role: "primary",
            serving,
            why_not_serving: why.to_owned(),
            committed: reign.gate.committed(),
            protection: reign.gate.protection().name(),
            peer,
            ..base
        }
    }

    /// Whether a transfer that comes now can be answered.
    fn can_serve(&self) -> bool {
        let gate = &self.reign.gate;
        gate.is_open()
            && match gate.protection() {
                Protection::Waiting => false,
                // A replica that is being taken in is waited for already.
                Protection::Alone => self.reign.waits_for_nobody() || self.streams_to_member(),
                Protection::Protected => self.streams_to_member(),
            }
    }

    /// Whether the member of the set is connected and takes batches.
    fn streams_to_member(&self) -> bool {
        let member = self.reign.live_member;
        self.dialer.is_connected()
            && self.reign.sender.is_live()
            && member.is_some_and(|member| self.reign.gate.members().any(|m| m == member))
    }

    /// Round trip in microseconds, from nanoseconds.
    fn note_round_trip(&mut self, round_trip_ns: u64) {
        let round_trip = Duration::from_nanos(round_trip_ns);
        self.reign.peer.round_trip_us = u64::try_from(round_trip.as_micros()).ok();
    }
}
