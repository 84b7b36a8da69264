//! The session to one peer: what is known of it, what comes from it, and what is told to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kanjo_format::replication::Frame;
use kanjo_format::{Lsn, Tail};
use kanjo_shipper::gate::ReadToken;
use kanjo_shipper::sender::{Action, Event};
use kanjo_shipper::{Member, Sender};

use super::shipping::{OpenFile, Sending, SentChunk};
use super::{Primary, Reign};
use crate::dial::{DialEvent, next_frame};
use crate::error::NodeError;
use crate::metrics::{Lacking, Stage, Stamps};
use crate::node::steady_ns;
use crate::peers::PeerIndex;
use crate::status::PeerStatus;

/// What a reign knows of one peer.
pub(super) struct PeerSession {
    pub(super) sender: Sender,
    /// The member of the set that it is, once its session runs.
    pub(super) live: Option<Member>,
    pub(super) status: PeerStatus,
    /// When it was last seen to take batches.
    pub(super) present: Instant,
    /// In a group: it has caught up, and was not taken in at that moment.
    pub(super) caught_up: bool,
    /// In a group: end of the record by which it was taken in. It has everything before.
    pub(super) through: Option<Lsn>,
    told_committed: Lsn,
    /// When it was last heard, as [`steady_ns`] counts.
    pub(super) heard_ns: u64,
    /// Ends of batches that were sent and are not acked.
    pub(super) unacked: Stamps,
    /// What it has not acked, whether it was sent or not.
    pub(super) lacking: Lacking,
    pub(super) sending: Option<Sending>,
    pub(super) file: Option<OpenFile>,
    pub(super) chunk_sent: Option<SentChunk>,
}

impl PeerSession {
    /// A session that waits for its first connection, while the log ends at `tail`.
    pub(super) fn new(sender: Sender, tail: Lsn) -> Self {
        Self {
            sender,
            live: None,
            status: PeerStatus::default(),
            present: Instant::now(),
            caught_up: false,
            through: None,
            told_committed: Lsn::ZERO,
            heard_ns: 0,
            unacked: Stamps::new(),
            lacking: Lacking::new(tail, Instant::now()),
            sending: None,
            file: None,
            chunk_sent: None,
        }
    }

    /// What was known of the connection that ended.
    fn forget_connection(&mut self) {
        self.sending = None;
        self.file = None;
        self.chunk_sent = None;
        self.live = None;
        self.caught_up = false;
        self.told_committed = Lsn::ZERO;
        self.unacked.clear();
    }
}

impl Reign {
    pub(super) fn session(&mut self, peer: PeerIndex) -> &mut PeerSession {
        &mut self.sessions[peer.get()]
    }
}

impl Primary<'_> {
    /// Something happened on the connection to a peer.
    pub(crate) fn on_dial(&mut self, peer: PeerIndex, event: DialEvent) -> Result<(), NodeError> {
        match event {
            DialEvent::Connected => {
                self.reign.session(peer).forget_connection();
                self.tell_what_can_be_seeded(peer)?;
                let now_ns = steady_ns();
                self.send_event(peer, Event::Connected { now_ns })
            }
            DialEvent::Failed(why) => self.lose_peer(peer, why),
            DialEvent::Pong(bytes) => self.peer_frame(peer, &bytes),
            DialEvent::Ready => loop {
                if self.reign.fenced.is_some() {
                    return Ok(());
                }
                match next_frame(self.peers[peer].link()) {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) => self.peer_frame(peer, &bytes)?,
                    Err(error) => return self.lose_peer(peer, error.to_string()),
                }
            },
        }
    }

    fn peer_frame(&mut self, peer: PeerIndex, bytes: &[u8]) -> Result<(), NodeError> {
        match Frame::decode(bytes) {
            Ok(frame) => {
                let (now_ns, frame) = (steady_ns(), &frame);
                self.reign.session(peer).heard_ns = now_ns;
                self.send_event(peer, Event::Frame { now_ns, frame })
            }
            Err(error) => self.lose_peer(peer, error.to_string()),
        }
    }

    fn lose_peer(&mut self, peer: PeerIndex, why: String) -> Result<(), NodeError> {
        let (dialer, session) = (&mut self.peers[peer], self.reign.session(peer));
        // A trouble that stays is said once.
        if session.status.last_error.as_ref() != Some(&why) {
            tracing::warn!(peer = dialer.address(), %why, "connection to the auxiliary lost");
        }
        session.status.last_error = Some(why);
        dialer.drop_link();
        session.forget_connection();
        self.send_event(peer, Event::Closed)
    }

    fn tell_what_can_be_seeded(&mut self, peer: PeerIndex) -> Result<(), NodeError> {
        let lsn = self.hot.store.reader.sealed_end();
        self.send_event(peer, Event::SealedTo { lsn })?;
        match self
            .hot
            .store
            .dir
            .checkpoints()?
            .iter()
            .map(|(lsn, _)| *lsn)
            .max()
        {
            Some(lsn) => self.send_event(peer, Event::CheckpointAt { lsn }),
            None => Ok(()),
        }
    }

    /// Tells every session.
    pub(super) fn send_event_to_all(&mut self, event: Event<'_>) -> Result<(), NodeError> {
        for peer in self.peers.indices() {
            self.send_event(peer, event)?;
        }
        Ok(())
    }

    /// Tells one session, and does what it asks for.
    pub(super) fn send_event(
        &mut self,
        peer: PeerIndex,
        event: Event<'_>,
    ) -> Result<(), NodeError> {
        let mut actions = Vec::new();
        self.reign.session(peer).sender.step(event, &mut actions);
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            self.perform(peer, action, &mut more)?;
            queue.extend(more);
        }
        Ok(())
    }

    /// A batch was appended: the sessions may want it sent at once.
    pub(super) fn offer_batch(&mut self, tail: Tail) -> Result<(), NodeError> {
        self.send_event_to_all(Event::Appended { tail })
    }

    /// A read waits for an exchange with every member.
    pub(super) fn want_exchange(&mut self, token: ReadToken) -> Result<(), NodeError> {
        if self.reign.gate.readable() >= token {
            return Ok(());
        }
        self.send_event_to_all(Event::ReadCheck { token })
    }

    /// Tells every peer what is committed, also when nothing else is sent, and that time passed.
    pub(super) fn tick_sessions(&mut self) -> Result<(), NodeError> {
        for peer in self.peers.indices() {
            self.tell_committed(peer)?;
            let now_ns = steady_ns();
            self.send_event(peer, Event::Tick { now_ns })?;
        }
        Ok(())
    }

    fn tell_committed(&mut self, peer: PeerIndex) -> Result<(), NodeError> {
        let lsn = self.reign.gate.committed();
        let exact = self.reign.committed_digest.filter(|(at, _)| *at == lsn);
        let session = self.reign.session(peer);
        if lsn <= session.told_committed {
            return Ok(());
        }
        session.told_committed = lsn;
        let digest = exact.map(|(_, digest)| digest);
        self.send_event(peer, Event::Committed { lsn, digest })
    }

    fn perform(
        &mut self,
        peer: PeerIndex,
        action: Action,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        match action {
            Action::Send(frame) => self.send_frame(peer, &frame),
            Action::CheckPlace { tail } => {
                let holds = self.hot.store.reader.chain_at(tail.lsn)? == Some(tail.chain);
                let session = self.reign.session(peer);
                session.sender.step(Event::PlaceChecked { holds }, more);
            }
            Action::SendBatches { from, bytes_max } => {
                self.reign.session(peer).sending = Some(Sending::new(from, bytes_max));
                self.continue_sending(peer)?;
            }
            Action::SendChunk { file, offset } => self.send_chunk(peer, file, offset, more)?,
            Action::Acked { member, tail } => return self.acked(peer, member, tail),
            Action::CaughtUp { member, acked } => self.caught_up(peer, member, acked, more)?,
            Action::InSync { member, .. } => self.joined(peer, member),
            Action::MarkCleared { member } => {
                tracing::info!(node = %member.node, "the mark of a replica that is no member was cleared");
            }
            Action::ReadOk { member, token } => {
                let epoch = self.reign.gate.epoch();
                self.reign.gate.read_ok(member, epoch, token);
            }
            Action::PeerApplied { .. } => {}
            Action::PeerStatus { round_trip_ns, .. } => {
                let metrics = &self.hot.shared.metrics;
                let took = Duration::from_nanos(round_trip_ns);
                metrics.stage(Stage::Wire).record(took);
                self.reign.session(peer).status.round_trip_us = Some(round_trip_ns / 1_000);
            }
            Action::Fenced { epoch } => self.reign.fenced = Some(epoch),
            Action::Close(why) => self.lose_peer(peer, why.to_string())?,
        }
        Ok(())
    }

    fn acked(&mut self, peer: PeerIndex, member: Member, tail: Tail) -> Result<(), NodeError> {
        self.peers[peer].reset_pause();
        let is_member = self.is_member(member);
        let session = &mut self.reign.sessions[peer.get()];
        session.status.acked_lsn = tail.lsn.get();
        session.lacking.acked(tail.lsn);
        if let Some(waited) = self.hot.shared.metrics.acks_of(member.node) {
            session.unacked.reached(tail.lsn, waited);
        }
        session.status.node = Some(member.node.get());
        if is_member {
            session.live = Some(member);
        }
        let epoch = self.reign.gate.epoch();
        match self.reign.gate.acked(member, epoch, tail) {
            Ok(Some(_)) => self.commit_moved(),
            Ok(None) => {}
            Err(error) => return self.lose_peer(peer, error.to_string()),
        }
        Ok(())
    }
}
