//! Carries out what the session to the replica asks for.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;

use kanjo_format::limits::FILE_CHUNK_BYTES;
use kanjo_format::replication::{Body, Frame, Hello, Purpose, SeedFile};
use kanjo_format::segment::SegmentForm;
use kanjo_format::{BatchHeader, Lsn, Tail};
use kanjo_shipper::Member;
use kanjo_shipper::gate::ReadToken;
use kanjo_shipper::sender::{Action, Event};

use super::Primary;
use crate::dial::{DialEvent, next_frame};
use crate::error::NodeError;
use crate::node::steady_ns;

/// Most bytes that may wait for the socket before more log is put behind them.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Batches that the session still wants sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    next: Lsn,
    until: Lsn,
}

impl Primary<'_> {
    /// Something happened on the dialled connection.
    pub(crate) fn on_dial(&mut self, event: DialEvent) -> Result<(), NodeError> {
        match event {
            DialEvent::Connected => {
                self.forget_session();
                self.tell_what_can_be_seeded()?;
                self.send_event(Event::Connected {
                    now_ns: steady_ns(),
                })
            }
            DialEvent::Failed(why) => self.lose_peer(why),
            DialEvent::Pong(bytes) => self.peer_frame(&bytes),
            DialEvent::Ready => loop {
                if self.reign.fenced.is_some() {
                    return Ok(());
                }
                match next_frame(self.dialer.link()) {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) => self.peer_frame(&bytes)?,
                    Err(error) => return self.lose_peer(error.to_string()),
                }
            },
        }
    }

    fn peer_frame(&mut self, bytes: &[u8]) -> Result<(), NodeError> {
        match Frame::decode(bytes) {
            Ok(frame) => self.send_event(Event::Frame {
                now_ns: steady_ns(),
                frame: &frame,
            }),
            Err(error) => self.lose_peer(error.to_string()),
        }
    }

    fn lose_peer(&mut self, why: String) -> Result<(), NodeError> {
        // A trouble that stays is said once.
        if self.reign.peer.last_error.as_ref() != Some(&why) {
            tracing::warn!(peer = self.dialer.address(), %why, "connection to the auxiliary lost");
        }
        self.reign.peer.last_error = Some(why);
        self.dialer.drop_link();
        self.forget_session();
        self.send_event(Event::Closed)
    }

    fn forget_session(&mut self) {
        self.reign.sending = None;
        self.reign.file = None;
        self.reign.chunk_sent = None;
        self.reign.live_member = None;
        self.reign.told_committed = Lsn::ZERO;
    }

    fn tell_what_can_be_seeded(&mut self) -> Result<(), NodeError> {
        let mut sealed_to = Lsn::ZERO;
        for segment in self.hot.store.reader.segments() {
            if segment.form != SegmentForm::Sealed {
                break;
            }
            sealed_to = segment.end_lsn;
        }
        self.send_event(Event::SealedTo { lsn: sealed_to })?;
        match self
            .hot
            .store
            .dir
            .checkpoints()?
            .iter()
            .map(|(lsn, _)| *lsn)
            .max()
        {
            Some(lsn) => self.send_event(Event::CheckpointAt { lsn }),
            None => Ok(()),
        }
    }

    /// Tells the session, and does what it asks for.
    pub(super) fn send_event(&mut self, event: Event<'_>) -> Result<(), NodeError> {
        let mut actions = Vec::new();
        self.reign.sender.step(event, &mut actions);
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            self.perform(action, &mut more)?;
            queue.extend(more);
        }
        Ok(())
    }

    /// A batch was appended: the session may want it sent at once.
    pub(super) fn offer_batch(&mut self, tail: Tail) -> Result<(), NodeError> {
        self.send_event(Event::Appended { tail })
    }

    /// A read waits for an exchange with every member.
    pub(super) fn want_exchange(&mut self, token: ReadToken) -> Result<(), NodeError> {
        if self.reign.gate.readable() >= token {
            return Ok(());
        }
        self.send_event(Event::ReadCheck { token })
    }

    fn perform(&mut self, action: Action, more: &mut Vec<Action>) -> Result<(), NodeError> {
        match action {
            Action::Send(frame) => self.send_frame(&frame),
            Action::CheckPlace { tail } => {
                let holds = self.hot.store.reader.chain_at(tail.lsn)? == Some(tail.chain);
                self.reign.sender.step(Event::PlaceChecked { holds }, more);
            }
            Action::SendBatches { from, bytes_max } => {
                self.reign.sending = Some(Sending {
                    next: from,
                    until: from.advance(bytes_max),
                });
                self.continue_sending()?;
            }
            Action::SendChunk { file, offset } => self.send_chunk(file, offset, more)?,
            Action::Acked { member, tail } => {
                self.reign.peer.acked_lsn = tail.lsn.get();
                self.reign.peer.node = Some(member.node.get());
                self.dialer.reset_pause();
                if self.reign.gate.members().any(|m| m == member) {
                    self.reign.live_member = Some(member);
                }
                let epoch = self.reign.gate.epoch();
                match self.reign.gate.acked(member, epoch, tail) {
                    Ok(Some(_)) => self.commit_moved(),
                    Ok(None) => {}
                    Err(error) => return self.lose_peer(error.to_string()),
                }
            }
            Action::CaughtUp { member, acked } => self.caught_up(member, acked, more)?,
            Action::InSync { member, .. } => self.joined(member),
            Action::MarkCleared { member } => {
                tracing::info!(node = %member.node, "the mark of a replica that is no member was cleared");
            }
            Action::ReadOk { member, token } => {
                let epoch = self.reign.gate.epoch();
                self.reign.gate.read_ok(member, epoch, token);
            }
            Action::PeerApplied { .. } => {}
            Action::PeerStatus { round_trip_ns, .. } => self.note_round_trip(round_trip_ns),
            Action::Fenced { epoch } => self.reign.fenced = Some(epoch),
            Action::Close(why) => self.lose_peer(why.to_string())?,
        }
        Ok(())
    }

    fn caught_up(
        &mut self,
        member: Member,
        acked: Lsn,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        if self.reign.gate.members().any(|m| m == member) {
            return Ok(());
        }
        if self.reign.gate.members().next().is_some() {
            tracing::warn!(
                node = %member.node,
                "another directory follows than the one that commits wait for; to take it in its place, let this primary go on alone first"
            );
            return Ok(());
        }
        let through = self.take_in(member, acked)?;
        self.reign.sender.step(Event::Joined { through }, more);
        Ok(())
    }

    fn send_frame(&mut self, frame: &Frame<'static>) {
        if let Body::Ping { .. } = frame.body {
            let mut ping = Vec::new();
            frame.encode(&mut ping);
            let hello = self.heartbeat_hello(frame.epoch);
            self.dialer.ping(|| hello, ping);
            return;
        }
        if let Some(link) = self.dialer.link() {
            frame.encode(link.output());
        }
    }

    fn heartbeat_hello(&self, epoch: kanjo_format::Epoch) -> Vec<u8> {
        let own = self.hot.identity();
        let hello = Hello {
            version_min: kanjo_format::replication::REPLICATION_VERSION_MIN,
            version_max: kanjo_format::replication::REPLICATION_VERSION,
            purpose: Purpose::Heartbeat,
            cluster: own.cluster,
            node: own.node,
            incarnation: own.incarnation,
            site: own.site,
            role: kanjo_format::control::Role::Primary,
            segment_bytes: own.segment_bytes,
            start_count: own.start_count,
            highest_epoch: epoch,
            opening: Some(self.reign.opening),
            tail: Tail::empty(own.cluster),
            history: Vec::new(),
            client_address: own.client_address,
        };
        let mut out = Vec::new();
        Frame {
            epoch,
            body: Body::Hello(Box::new(hello)),
        }
        .encode(&mut out);
        out
    }

    /// Packs what the session wants sent, as long as the socket takes it.
    pub(super) fn continue_sending(&mut self) -> Result<(), NodeError> {
        let Some(mut sending) = self.reign.sending else {
            return Ok(());
        };
        let end = self.hot.store.log.tail().lsn;
        let epoch = self.reign.gate.epoch();
        let mut sent = Vec::new();
        loop {
            let Some(link) = self.dialer.link() else {
                return Ok(());
            };
            if link.output_bytes() >= OUTPUT_BYTES_MAX {
                break;
            }
            if sending.next >= end || sending.next >= sending.until {
                self.reign.sending = None;
                break;
            }
            let out = link.output();
            let before = out.len();
            let tail = match &self.reign.last {
                Some((header, tail)) if header.lsn() == sending.next => {
                    self.reign
                        .packer
                        .pack(epoch, header, &self.reign.payload, out);
                    *tail
                }
                _ => {
                    let Some(batch) = self.hot.store.reader.read(sending.next)? else {
                        break;
                    };
                    self.reign
                        .packer
                        .pack(epoch, &batch.header, &batch.payload, out);
                    let lsn = batch.header.end(self.hot.store.segment_bytes());
                    Tail {
                        epoch: batch.header.epoch(),
                        lsn,
                        chain: batch.chain_after(),
                    }
                }
            };
            self.hot.counters.shipped_bytes += (out.len() - before) as u64;
            sending.next = tail.lsn;
            sent.push(tail);
            self.reign.sending = Some(sending);
        }
        for tail in sent {
            self.send_event(Event::Sent { tail })?;
        }
        if self.reign.sending.is_none() {
            self.send_event(Event::SendDone)?;
        }
        Ok(())
    }

    /// Keeps a batch that was just appended, so that it is packed without being read back.
    pub(super) fn keep_last(&mut self, header: &BatchHeader, tail: Tail) {
        let kept = header.payload_bytes() == self.reign.payload.len();
        self.reign.last = kept.then_some((*header, tail));
    }

    fn send_chunk(
        &mut self,
        which: SeedFile,
        offset: u64,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        if self
            .reign
            .file
            .as_ref()
            .is_none_or(|(open, ..)| *open != which)
        {
            self.reign.file = self.open_seed_file(which)?;
        }
        let Some((_, file, total_bytes, end)) = &self.reign.file else {
            self.reign.sender.step(Event::FileGone, more);
            return Ok(());
        };
        let (total_bytes, end) = (*total_bytes, *end);
        let length = usize::try_from(total_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(FILE_CHUNK_BYTES)];
        if file.read_exact_at(&mut bytes, offset).is_err() {
            self.reign.file = None;
            self.reign.sender.step(Event::FileGone, more);
            return Ok(());
        }
        let body = Body::Chunk {
            file: which,
            total_bytes,
            offset,
            bytes: &bytes,
        };
        if let Some(link) = self.dialer.link() {
            Frame {
                epoch: self.reign.gate.epoch(),
                body,
            }
            .encode(link.output());
            self.hot.counters.shipped_bytes += bytes.len() as u64;
        }
        let next_offset = offset + bytes.len() as u64;
        self.reign.chunk_sent = Some((next_offset, total_bytes, end));
        Ok(())
    }

    /// Says that a piece of a file was sent once the socket took most of it.
    pub(super) fn continue_file(&mut self) -> Result<(), NodeError> {
        let Some((next_offset, total_bytes, end)) = self.reign.chunk_sent else {
            return Ok(());
        };
        let waiting = self.dialer.link().map_or(0, |link| link.output_bytes());
        if waiting >= OUTPUT_BYTES_MAX / 2 {
            return Ok(());
        }
        self.reign.chunk_sent = None;
        self.send_event(Event::ChunkSent {
            next_offset,
            total_bytes,
            end,
        })?;
        // On until the socket has enough: a piece a wake-up would leave it idle.
        self.continue_file()
    }

    fn open_seed_file(
        &self,
        which: SeedFile,
    ) -> Result<Option<(SeedFile, std::fs::File, u64, Tail)>, NodeError> {
        let store = &self.hot.store;
        match which {
            SeedFile::Segment(number) => {
                let Some((file, bytes)) = store.reader.sealed_file(number)? else {
                    return Ok(None);
                };
                let end = Lsn::new((number + 1) * store.segment_bytes());
                Ok(store.tail_at(end)?.map(|tail| (which, file, bytes, tail)))
            }
            SeedFile::Checkpoint(lsn) => {
                let found = store
                    .dir
                    .checkpoints()?
                    .into_iter()
                    .find(|(at, _)| *at == lsn);
                let Some(file) = found.and_then(|(_, path)| std::fs::File::open(path).ok()) else {
                    return Ok(None);
                };
                let Ok(metadata) = file.metadata() else {
                    return Ok(None);
                };
                Ok(store
                    .tail_at(lsn)?
                    .map(|tail| (which, file, metadata.len(), tail)))
            }
        }
    }
}
