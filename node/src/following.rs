//! Carries out what the receiver asks for: appends, syncs, acks, applies, cuts, files.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kanjo_format::control::Control;
use kanjo_format::replication::{Body, Frame};
use kanjo_format::{Digest, Epoch, Lsn, NodeId, Tail};
use kanjo_shipper::receiver::{Action, Event, SessionId};
use kanjo_shipper::{LocalLog, Packer};
use kanjo_wal::LogError;

use crate::error::NodeError;
use crate::hot::{ServiceGap, Standing};
use crate::metrics::{Stage, Stamps};
use crate::node::{Node, Part, steady_ns};
use crate::quarantine::CutRecord;
use crate::seed_files::Incoming;
use crate::status::FOLLOWS;

/// How long the last words on a connection may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Log bytes applied in one go, so that acks are not kept waiting.
const APPLY_SLICE_BYTES: u64 = 512 << 10;
/// Log bytes that are applied without waiting for a tick.
const APPLY_AT_ONCE_BYTES: u64 = 256 << 10;
/// Most bytes that may wait for a socket before more log is put behind them.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// What a replica knows beside its log.
pub(crate) struct Following {
    /// Committed and on this disk: to be applied.
    apply_to: Lsn,
    /// A tick came since something was applied: what is there, or comes next, is applied at once,
    /// however little it is.
    apply_due: bool,
    /// Bytes applied since the receiver was told.
    untold: u64,
    expected: VecDeque<(Lsn, Digest)>,
    pub(crate) file: Option<Incoming>,
    sent: Option<(SessionId, Lsn)>,
    writer: Option<Writer>,
    peer_client: Option<String>,
    /// After a planned switch: since when nobody could be answered, and where the own log ended.
    /// What is committed above that was answered by the next writer.
    pub(crate) unanswered_since: Option<(Instant, Lsn)>,
    /// When batches of the primary were last synced, as [`steady_ns`] counts.
    pub(crate) batches_heard_ns: u64,
    /// Why the last connection was closed.
    closed_for: String,
    packer: Packer,
    /// Ends of appended batches that are not applied yet.
    unapplied: Stamps,
    /// What was cut when this node rejoined, until it is in sync again.
    pub(crate) cut: Option<CutRecord>,
}

/// The primary that is followed, or was last.
struct Writer {
    node: NodeId,
    /// Where clients reach it; may be empty.
    client_address: String,
}

impl Following {
    pub(crate) fn new(confirmed: Lsn, peer_client: Option<String>) -> Self {
        Self {
            apply_to: confirmed,
            apply_due: false,
            untold: 0,
            expected: VecDeque::new(),
            file: None,
            sent: None,
            writer: None,
            peer_client,
            unanswered_since: None,
            batches_heard_ns: 0,
            closed_for: String::new(),
            packer: Packer::new(),
            unapplied: Stamps::new(),
            cut: None,
        }
    }

    /// Forgets what belonged to another history.
    pub(crate) fn restart(&mut self, confirmed: Lsn) {
        self.apply_to = confirmed;
        self.untold = 0;
        self.expected.clear();
        self.unapplied.clear();
        self.writer = None;
    }

    /// Whether there is so much to apply that it should not wait, or it has waited for a tick:
    /// small commits are applied some at a time, which costs each of them less.
    pub(crate) fn wants_to_apply(&self, applied: Lsn) -> bool {
        let behind = self.apply_to.get().saturating_sub(applied.get());
        behind >= APPLY_AT_ONCE_BYTES || (self.apply_due && behind > 0)
    }

    /// Time has passed: everything up to here is applied at once.
    pub(crate) const fn make_apply_due(&mut self) {
        self.apply_due = true;
    }

    /// Where clients should go instead.
    pub(crate) fn hint(&self) -> String {
        match &self.writer {
            Some(writer) if !writer.client_address.is_empty() => writer.client_address.clone(),
            _ => self.peer_client.clone().unwrap_or_default(),
        }
    }

    /// The primary that is followed, or was last.
    pub(crate) fn writer(&self) -> Option<NodeId> {
        self.writer.as_ref().map(|writer| writer.node)
    }

    /// How a replica stands; `connected` says whether its primary is there.
    pub(crate) fn standing(
        &self,
        base: Standing,
        awaits_operator: bool,
        connected: bool,
    ) -> Standing {
        let why = why_not_serving(awaits_operator, connected);
        let mut peers = base.peers;
        match &mut peers[..] {
            // In a pair it is nobody else.
            [peer] => peer.connected = Some(connected),
            peers => {
                let writer = self.writer().map(NodeId::get);
                let writer = peers.iter_mut().find(|peer| peer.node == writer);
                if let Some(peer) = writer.filter(|peer| peer.node.is_some()) {
                    peer.connected = Some(connected);
                }
            }
        }
        Standing {
            why_not_serving: why.to_owned(),
            committed: self.apply_to,
            peers,
            ..base
        }
    }
}

/// Why a replica answers nobody.
pub(crate) const fn why_not_serving(awaits_operator: bool, connected: bool) -> &'static str {
    match (awaits_operator, connected) {
        (true, _) => {
            "stopped for a decision: its log ends differently from the primary's and it may have answered for what would be cut"
        }
        (false, true) => FOLLOWS,
        (false, false) => "it is a replica and no primary is connected",
    }
}

impl Node {
    pub(crate) fn session_frame(
        &mut self,
        session: SessionId,
        bytes: &[u8],
    ) -> Result<(), NodeError> {
        match Frame::decode(bytes) {
            Ok(frame) => self.receive(Event::Frame {
                session,
                frame: &frame,
            }),
            Err(error) => {
                tracing::warn!(session = session.0, %error, "replication connection cut: not a frame");
                self.sessions.retain(|s| s.id != session);
                self.receive(Event::Closed { session })
            }
        }
    }

    /// Tells the receiver, and does what it asks for.
    pub(crate) fn receive(&mut self, event: Event<'_>) -> Result<(), NodeError> {
        let mut actions = Vec::new();
        self.receiver.step(event, &mut actions);
        self.perform_received(actions)
    }

    pub(crate) fn perform_received(&mut self, actions: Vec<Action>) -> Result<(), NodeError> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            self.perform_for_receiver(action, &mut more)?;
            queue.extend(more);
        }
        Ok(())
    }

    fn perform_for_receiver(
        &mut self,
        action: Action,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        let store = &mut self.hot.store;
        match action {
            Action::Send { session, frame } => {
                if let Some(session) = self.sessions.iter_mut().find(|s| s.id == session) {
                    frame.encode(session.link.output());
                }
            }
            Action::PersistGrant { epoch, opening } => {
                store.dir.promise(|control: &mut Control| {
                    control.granted_epoch = epoch;
                    control.granted_opening = opening;
                    control.role = kanjo_format::control::Role::Replica;
                })?;
                self.hot.shared.set_granted(epoch);
                self.receiver.step(Event::GrantPersisted { epoch }, more);
            }
            Action::StepDown { epoch } => return self.step_down(epoch),
            Action::Append { header, payload } => {
                let tail = store.log.append(&header, &payload)?;
                self.hot.counters.payload_bytes += (payload.len() + size_of_val(&*header)) as u64;
                self.hot.counters.appended_bytes += tail.lsn.since(header.lsn());
                self.following.unapplied.push(tail.lsn, Instant::now());
                self.receiver.step(Event::Appended { tail }, more);
            }
            Action::Sync => {
                // ORDER: sync before ack; an ack promises bytes that survive power loss.
                let tail = store.log.tail();
                let (behind, begun) = (store.syncer.synced() < tail.lsn, Instant::now());
                let lsn = store.syncer.sync_to(tail.lsn)?;
                let took = begun.elapsed();
                let metrics = &self.hot.shared.metrics;
                metrics.stage(Stage::RemoteSync).record(took);
                if behind {
                    self.hot.disk_times.sync = Some(took);
                }
                self.hot.note_durable(tail);
                self.following.batches_heard_ns = steady_ns();
                self.receiver.step(Event::Synced { lsn }, more);
            }
            Action::PersistMark { in_sync, lsn } => {
                store.dir.promise(|control: &mut Control| {
                    control.in_sync = in_sync;
                    control.in_sync_lsn = lsn;
                })?;
                self.receiver.step(Event::MarkPersisted, more);
                if in_sync {
                    self.finish_cut_report()?;
                }
            }
            Action::Cut { to } => {
                let log = self.cut_divergent(to)?;
                self.receiver.step(Event::Cut { log: log.as_ref() }, more);
            }
            Action::AwaitOperator { fork } => {
                if !store.dir.control().awaiting_operator {
                    tracing::error!(%fork, "this log parts from the primary's here and this node may have answered for what is above; an operator decides");
                    store
                        .dir
                        .promise(|control: &mut Control| control.awaiting_operator = true)?;
                }
            }
            Action::SendLog {
                session,
                from,
                to,
                epoch,
            } => self.send_log(session, from, to, epoch)?,
            Action::WriteChunk {
                file,
                offset,
                bytes,
            } => self.write_chunk(file, offset, &bytes)?,
            Action::InstallFile { file } => match self.install_file(file) {
                Ok(tail) => self.receiver.step(Event::FileStored { tail }, more),
                Err(error @ (NodeError::System { .. } | NodeError::Log(LogError::Io { .. }))) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(%error, "a file that the primary sent is refused; nothing of it is kept");
                    let cut_off: Vec<_> = self.sessions.drain(..).map(|s| s.id).collect();
                    for session in cut_off {
                        self.receiver.step(Event::Closed { session }, more);
                    }
                }
            },
            Action::ApplyTo { lsn } => {
                self.hot.note_committed(lsn);
                self.following.apply_to = self.following.apply_to.max(lsn);
                self.note_gap(lsn);
            }
            Action::CompareDigest { lsn, digest } => {
                self.following.expected.push_back((lsn, digest));
                self.compare_digest()?;
            }
            Action::Vouched => {
                store
                    .dir
                    .update(|control: &mut Control| control.uncertain = false)?;
                tracing::info!("the primary vouched for the end of this log");
            }
            Action::Following {
                epoch,
                opening,
                client_address,
            } => self.follows(epoch, opening.node, client_address)?,
            Action::Close { session, why } => {
                // A reason that stays is said once, however often the peer tries.
                if self.following.closed_for != why {
                    tracing::info!(session = session.0, %why, "replication connection closed");
                    self.following.closed_for = why;
                }
                if let Some(session) = self.sessions.iter_mut().find(|s| s.id == session) {
                    session.closing = Some(Instant::now() + LAST_WORDS);
                }
            }
        }
        Ok(())
    }

    /// The first commit of the next writer ends the time in which nobody could be answered.
    fn note_gap(&mut self, committed: Lsn) {
        let ended = |(_, tail): &mut (Instant, Lsn)| committed > *tail;
        if let Some((since, _)) = self.following.unanswered_since.take_if(ended) {
            self.hot.last_gap = Some(ServiceGap {
                epoch: self.hot.shared.granted(),
                took: since.elapsed(),
            });
        }
    }

    fn follows(
        &mut self,
        epoch: Epoch,
        node: NodeId,
        client_address: String,
    ) -> Result<(), NodeError> {
        tracing::info!(%epoch, primary = %client_address, "following");
        self.following.writer = Some(Writer {
            node,
            client_address,
        });
        self.hot.shared.published.hear_writer();
        if self.hot.store.dir.control().awaiting_operator {
            // Its log is that of the writer again: there is nothing left to decide.
            let put_right = |control: &mut Control| control.awaiting_operator = false;
            self.hot.store.dir.promise(put_right)?;
        }
        if matches!(self.part, Part::Replica) {
            let hint = self.following.hint();
            self.close_door(kanjo_format::client::Outcome::NotPrimary, hint);
        }
        Ok(())
    }

    /// Applies some of what is committed.
    pub(crate) fn apply_some(&mut self) -> Result<(), NodeError> {
        let applied = self.hot.store.applied().lsn;
        let slice = applied
            .advance(APPLY_SLICE_BYTES)
            .min(self.following.apply_to);
        let mut through = slice;
        if let Some((lsn, _)) = self.following.expected.front()
            && *lsn > applied
        {
            through = through.min(*lsn);
        }
        let replayed = self.hot.store.replay(through)?;
        if replayed.batches == 0 {
            // One batch is larger than the slice, or a digest is of a place inside a batch.
            self.following.expected.retain(|(lsn, _)| *lsn != through);
            let target = self.following.apply_to;
            if self.hot.store.replay_one(target)? == 0 {
                self.following.apply_to = self.hot.store.applied().lsn;
                return Ok(());
            }
        }
        self.compare_digest()?;
        let waited = self.hot.shared.metrics.stage(Stage::Apply);
        let applied_to = self.hot.store.applied().lsn;
        self.following.unapplied.reached(applied_to, waited);
        if applied_to >= self.following.apply_to {
            self.following.apply_due = false;
        }
        self.following.untold += self.hot.store.applied().lsn.since(applied);
        if self.following.untold >= APPLY_SLICE_BYTES / 2 {
            self.tell_applied()?;
        }
        Ok(())
    }

    /// Tells how far the ledger is: while it catches up at once, else by time, so that not
    /// every commit costs the primary one more frame.
    pub(crate) fn tell_applied(&mut self) -> Result<(), NodeError> {
        if self.following.untold == 0 {
            return Ok(());
        }
        self.following.untold = 0;
        let lsn = self.hot.store.applied().lsn;
        let digest = self.hot.store.ledger.digest();
        let alone_to = self.hot.store.alone_to();
        if alone_to > Lsn::ZERO {
            self.receive(Event::AloneTo { lsn: alone_to })?;
        }
        self.receive(Event::Applied { lsn, digest })
    }

    /// Tells how far the ledger is, whatever it was told before.
    pub(crate) fn say_applied(&mut self) -> Result<(), NodeError> {
        self.following.untold = 0;
        let lsn = self.hot.store.applied().lsn;
        let digest = self.hot.store.ledger.digest();
        self.receive(Event::Applied { lsn, digest })
    }

    fn compare_digest(&mut self) -> Result<(), NodeError> {
        let applied = self.hot.store.applied().lsn;
        while let Some((lsn, theirs)) = self.following.expected.front().copied() {
            if lsn > applied {
                break;
            }
            self.following.expected.pop_front();
            let mine = self.hot.store.ledger.digest();
            if lsn == applied && mine != theirs {
                // A ledger that may be wrong must not be promoted without a word.
                let doubt = |control: &mut Control| control.uncertain = true;
                self.hot.store.dir.promise(doubt)?;
                return Err(NodeError::DigestDiffers { lsn, mine, theirs });
            }
        }
        Ok(())
    }

    /// Packs log for an opener that fetches what it lacks.
    fn send_log(
        &mut self,
        id: SessionId,
        from: Lsn,
        to: Lsn,
        epoch: Epoch,
    ) -> Result<(), NodeError> {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return Ok(());
        };
        let mut at = from;
        while at < to && session.link.output_bytes() < OUTPUT_BYTES_MAX {
            let Some(batch) = self.hot.store.reader.read(at)? else {
                break;
            };
            self.following
                .packer
                .pack(epoch, &batch.header, &batch.payload, session.link.output());
            at = batch.header.end(self.hot.store.segment_bytes());
        }
        self.following.sent = Some((id, at));
        Ok(())
    }

    /// Says that log was sent once the socket took most of it.
    pub(crate) fn continue_sending_log(&mut self) -> Result<(), NodeError> {
        let Some((id, lsn)) = self.following.sent else {
            return Ok(());
        };
        let session = self.sessions.iter().find(|s| s.id == id);
        if session.is_some_and(|s| s.link.output_bytes() >= OUTPUT_BYTES_MAX / 2) {
            return Ok(());
        }
        self.following.sent = None;
        if session.is_none() {
            return Ok(());
        }
        self.receive(Event::LogSent { session: id, lsn })?;
        if let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) {
            // A broken socket shows when it is read.
            let _ = session.link.flush();
        }
        Ok(())
    }

    /// Cuts the log to `to` if it holds exactly that, keeping what is cut with a readable
    /// report. `None` if it does not, and nothing was cut.
    pub(crate) fn cut_divergent(&mut self, to: Tail) -> Result<Option<LocalLog>, NodeError> {
        let store = &mut self.hot.store;
        if store.reader.chain_at(to.lsn)? != Some(to.chain) {
            return Ok(None);
        }
        store
            .dir
            .promise(|control: &mut Control| control.in_sync = false)?;
        let record = CutRecord::write(store, to)?;
        self.hot.end_history();
        let report = self.hot.store.cut(to.lsn, "rejoin")?;
        tracing::warn!(
            from = %to, bytes = report.bytes, transfers = record.transfers(), kept_in = %report.path.display(),
            report = %record.path().display(), "a tail that no other node has was cut and kept"
        );
        self.following.cut = Some(record);
        self.following.unapplied.clear();
        self.hot.forget_derived();
        self.hot.note_durable(self.hot.store.log.tail());
        self.hot.cut_committed(to.lsn);
        self.hot.store.local_log(self.hot.committed()).map(Some)
    }

    /// Completes the report of what was cut, once all that was posted since is known here.
    fn finish_cut_report(&mut self) -> Result<(), NodeError> {
        let Some(record) = self.following.cut.take() else {
            return Ok(());
        };
        // What was posted again may be in what waits to be applied.
        self.hot.store.replay(self.following.apply_to)?;
        self.compare_digest()?;
        record.finish(&mut self.hot.store)?;
        Ok(())
    }
}

/// The pong of a heartbeat, from what the hot thread last published.
pub(crate) fn pong(nonce: u64, shared: &crate::server::Shared) -> Frame<'static> {
    Frame {
        epoch: shared.granted(),
        body: Body::Pong {
            nonce,
            durable: shared.durable(),
            applied: shared.applied(),
            syncing: false,
        },
    }
}
