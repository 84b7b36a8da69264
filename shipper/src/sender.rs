//! A serving primary's session to one replica.
//!
//! Dials again after every cut and goes through the whole dialogue anew; the replica's durable
//! tail says where to go on. Bytes that are sent and not acked are bounded by the window.
//!
//! ```text
//! Hello -> Welcome -> Seal -> Granted -> [stale mark cleared] -> Follow -> Following
//!   -> place checked in the own log -> { files | batches } -> CaughtUp -> Joined -> Mark
//! ```

use std::collections::VecDeque;

use kanjo_format::control::Role;
use kanjo_format::limits::SEND_WINDOW_BYTES_MAX;
use kanjo_format::replication::{
    Body, Follow, Frame, Granted, Hello, Mark, Purpose, REPLICATION_VERSION,
    REPLICATION_VERSION_MIN, RefusalCode, Refused, SeedFile, Welcome,
};
use kanjo_format::{Digest, Epoch, Lsn, Site, Tail};

use crate::gate::ReadToken;
use crate::{Member, note_epoch};

mod events;
mod marking;
mod shipping;
#[cfg(test)]
mod tests;

pub use events::{Action, CloseReason, Event, SenderStart};

/// Most bytes of log under way to a replica that counts as caught up.
const CAUGHT_UP_UNACKED_BYTES_MAX: u64 = SEND_WINDOW_BYTES_MAX / 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Closed,
    Greeting,
    Sealing,
    ClearingStaleMark,
    /// The replica lacks what it acked: its mark is cleared before it is left.
    ClearingOlder,
    Following,
    CheckingPlace,
    Live,
    /// A file is under way; `end` is known once all of it was sent.
    File {
        file: SeedFile,
        end: Option<Tail>,
    },
    /// A higher epoch exists; this session never speaks again.
    Fenced,
}

/// What is known of the replica's durable mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarkState {
    Clear,
    /// To be set once everything up to here is acked.
    Wanted(Lsn),
    Asked(Mark),
    /// Set at this lsn.
    Set(Lsn),
}

/// A primary's session to one replica.
pub struct Sender {
    start: SenderStart,
    stage: Stage,
    peer: Option<Member>,
    peer_site: Option<Site>,
    committed: Lsn,
    /// What was sent.
    cursor: Tail,
    acked: Tail,
    in_flight: VecDeque<Tail>,
    /// The most that a replica ever acked in this reign.
    most_acked: Option<(Member, Lsn)>,
    /// Who granted this reign's epoch.
    granted_by: Option<Member>,
    /// Who came back with less than it had; for this reign that directory counts as wiped.
    older: Option<Member>,
    sending: bool,
    /// End of the own log when this session began to ship: what the replica acks before it counts
    /// as caught up.
    catch_up_to: Lsn,
    told_caught_up: bool,
    mark: MarkState,
    /// What the replica has before it is marked.
    mark_through: Lsn,
    clear_wanted: bool,
    turn: u64,
    read: ReadToken,
    sealed_to: Lsn,
    checkpoint: Option<Lsn>,
    /// A file could not be sent: batches only, for the rest of the session.
    batches_only: bool,
    heard_at_ns: u64,
    pinged_at_ns: u64,
}

impl Sender {
    /// A session that waits for `Connected`.
    pub fn new(start: SenderStart) -> Self {
        let tail = start.log.tail;
        assert!(
            start
                .log
                .history
                .last()
                .is_some_and(|e| e.epoch == start.epoch),
            "a sender starts when its epoch stands in the log"
        );
        Self {
            committed: start.log.confirmed,
            start,
            stage: Stage::Closed,
            peer: None,
            peer_site: None,
            cursor: tail,
            acked: tail,
            in_flight: VecDeque::new(),
            most_acked: None,
            granted_by: None,
            older: None,
            sending: false,
            catch_up_to: tail.lsn,
            told_caught_up: false,
            mark: MarkState::Clear,
            mark_through: Lsn::ZERO,
            clear_wanted: false,
            turn: 0,
            read: ReadToken::default(),
            sealed_to: Lsn::ZERO,
            checkpoint: None,
            batches_only: false,
            heard_at_ns: 0,
            pinged_at_ns: 0,
        }
    }

    /// Who greeted last, and its site.
    pub fn peer(&self) -> Option<(Member, Site)> {
        self.peer.zip(self.peer_site)
    }

    /// Whether batches flow: the replica follows and nothing else is under way.
    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Whether the replica's mark is to be cleared and the replica has not said that it is.
    pub fn is_clearing(&self) -> bool {
        self.clear_wanted || matches!(self.mark, MarkState::Asked(mark) if !mark.in_sync)
    }

    /// Log bytes that the replica has not acked, once it follows.
    pub fn lag_bytes(&self) -> Option<u64> {
        let following = matches!(self.stage, Stage::Live | Stage::File { .. });
        following.then(|| self.start.log.tail.lsn.since(self.acked.lsn))
    }

    /// Takes an event, gives what is to be done.
    pub fn step(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Connected { now_ns } => self.connected(now_ns, actions),
            Event::Frame { now_ns, frame } => {
                self.heard_at_ns = now_ns;
                self.frame(now_ns, frame, actions);
            }
            Event::Closed => self.closed(),
            Event::Appended { tail } => {
                note_epoch(&mut self.start.log, tail);
                self.pump(actions);
            }
            Event::Synced { lsn } => {
                self.start.durable = self.start.durable.max(lsn);
                self.pump(actions);
            }
            Event::PlaceChecked { holds } => self.place_checked(holds, actions),
            Event::Sent { tail } => self.sent(tail),
            Event::SendDone => {
                self.sending = false;
                self.pump(actions);
            }
            Event::ChunkSent {
                next_offset,
                total_bytes,
                end,
            } => self.chunk_sent(next_offset, total_bytes, end, actions),
            Event::FileGone => self.file_gone(actions),
            Event::SealedTo { lsn } => self.sealed_to = self.sealed_to.max(lsn),
            Event::CheckpointAt { lsn } => self.checkpoint = Some(lsn),
            Event::Committed { lsn, digest } => self.say_committed(lsn, digest, actions),
            Event::ReadCheck { token } => {
                self.read = self.read.max(token);
                self.ask_read(actions);
            }
            Event::Joined { through } => self.joined(through, actions),
            Event::ClearMark => {
                self.clear_wanted = true;
                self.ask_clear(actions);
            }
            Event::Dropped { member } => self.dropped(member, actions),
            Event::Tick { now_ns } => self.tick(now_ns, actions),
        }
    }

    fn connected(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        if self.stage == Stage::Fenced {
            return;
        }
        self.closed();
        self.heard_at_ns = now_ns;
        self.pinged_at_ns = now_ns;
        self.stage = Stage::Greeting;
        let own = &self.start.identity;
        let hello = Hello {
            version_min: REPLICATION_VERSION_MIN,
            version_max: REPLICATION_VERSION,
            purpose: Purpose::Replicate,
            cluster: own.cluster,
            node: own.node,
            incarnation: own.incarnation,
            site: own.site,
            role: Role::Primary,
            segment_bytes: own.segment_bytes,
            start_count: own.start_count,
            highest_epoch: self.start.epoch,
            opening: Some(self.start.opening),
            tail: self.start.log.tail,
            history: self.start.log.history.clone(),
            client_address: own.client_address.clone(),
        };
        self.send(Body::Hello(Box::new(hello)), actions);
    }

    fn closed(&mut self) {
        if self.stage != Stage::Fenced {
            self.stage = Stage::Closed;
        }
        self.in_flight.clear();
        self.sending = false;
        self.told_caught_up = false;
        self.batches_only = false;
        self.turn = 0;
        self.mark = MarkState::Clear;
    }

    fn frame(&mut self, now_ns: u64, frame: &Frame<'_>, actions: &mut Vec<Action>) {
        match (self.stage, &frame.body) {
            (Stage::Closed | Stage::Fenced, _) => {}
            (_, Body::Refused(refused)) => self.refused(refused, actions),
            (Stage::Greeting, Body::Welcome(welcome)) => self.welcomed(welcome, actions),
            (
                _,
                Body::Pong {
                    nonce,
                    durable,
                    applied,
                    syncing,
                },
            ) => {
                actions.push(Action::PeerStatus {
                    round_trip_ns: now_ns.saturating_sub(*nonce),
                    durable: *durable,
                    applied: *applied,
                    syncing: *syncing,
                });
            }
            // Everything else answers this epoch or is a stray.
            _ if frame.epoch != self.start.epoch => self.close(CloseReason::Dialogue, actions),
            (Stage::Sealing, Body::Granted(granted)) => self.granted(granted, actions),
            (Stage::ClearingStaleMark, Body::Marked(mark))
                if mark.turn == self.turn && !mark.in_sync =>
            {
                // Answered: when the replica has caught up, its mark is asked for anew.
                self.mark = MarkState::Clear;
                self.follow(actions);
            }
            (Stage::ClearingOlder, Body::Marked(mark))
                if mark.turn == self.turn && !mark.in_sync =>
            {
                self.leave_older(actions);
            }
            (Stage::Following, Body::Following { tail }) => {
                self.stage = Stage::CheckingPlace;
                self.cursor = *tail;
                actions.push(Action::CheckPlace { tail: *tail });
            }
            (Stage::Live | Stage::File { .. }, _) => self.session_frame(&frame.body, actions),
            // A repeated answer of an earlier stage says nothing new.
            _ => {}
        }
    }

    fn session_frame(&mut self, body: &Body<'_>, actions: &mut Vec<Action>) {
        let Some(peer) = self.peer else {
            return;
        };
        match body {
            Body::Ack {
                tail,
                node,
                incarnation,
            } => {
                let from = Member {
                    node: *node,
                    incarnation: *incarnation,
                };
                if from == peer {
                    self.acked(peer, *tail, actions);
                } else {
                    self.close(CloseReason::Dialogue, actions);
                }
            }
            Body::Marked(mark) => self.marked(peer, *mark, actions),
            Body::ReadOk { token } => actions.push(Action::ReadOk {
                member: peer,
                token: ReadToken(*token),
            }),
            Body::Applied { lsn, digest } => actions.push(Action::PeerApplied {
                lsn: *lsn,
                digest: *digest,
            }),
            Body::Stored { file, tail } => self.stored(peer, *file, *tail, actions),
            _ => {}
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, actions: &mut Vec<Action>) {
        let own = &self.start.identity;
        let trouble = if welcome.cluster != own.cluster {
            Some(format!("it is of cluster {}", welcome.cluster))
        } else if welcome.incarnation == own.incarnation || welcome.node == own.node {
            Some("it is this node itself".to_owned())
        } else if welcome.segment_bytes != own.segment_bytes {
            Some(format!("its segments have {} bytes", welcome.segment_bytes))
        } else {
            None
        };
        if let Some(text) = trouble {
            return self.close(CloseReason::Peer(text), actions);
        }
        if welcome.granted_epoch > self.start.epoch {
            return self.fenced(welcome.granted_epoch, actions);
        }
        self.peer = Some(Member {
            node: welcome.node,
            incarnation: welcome.incarnation,
        });
        self.peer_site = Some(welcome.site);
        if self.granted_by == self.peer && welcome.granted_epoch < self.start.epoch {
            self.older = self.peer;
        }
        self.stage = Stage::Sealing;
        let opening = self.start.opening;
        self.send(Body::Seal { opening }, actions);
    }

    fn granted(&mut self, granted: &Granted, actions: &mut Vec<Action>) {
        let is_member = self.peer.is_some_and(|peer| self.is_member(peer));
        self.granted_by = self.peer;
        if self.is_older(granted.tail.lsn) {
            // A restored disk image: it is as good as wiped, and must not be promoted.
            self.stage = Stage::ClearingOlder;
            if granted.in_sync {
                return self.ask_mark(false, Lsn::ZERO, actions);
            }
            return self.leave_older(actions);
        }
        match (granted.in_sync, is_member) {
            // A mark that no commit waits for would let a stale replica be promoted.
            (true, false) => {
                self.stage = Stage::ClearingStaleMark;
                self.ask_mark(false, Lsn::ZERO, actions);
            }
            (true, true) => {
                self.mark = MarkState::Set(granted.in_sync_lsn);
                self.follow(actions);
            }
            (false, is_member) => {
                if is_member {
                    self.mark = MarkState::Wanted(self.mark_through.max(self.committed));
                }
                self.follow(actions);
            }
        }
    }

    /// Whether the peer came back with less than it had: a grant forgotten, or a tail below what
    /// it acked.
    fn is_older(&mut self, has: Lsn) -> bool {
        let lacks = |(member, acked): (Member, Lsn)| Some(member) == self.peer && has < acked;
        if self.most_acked.is_some_and(lacks) {
            self.older = self.peer;
        }
        self.older.is_some() && self.older == self.peer
    }

    fn leave_older(&mut self, actions: &mut Vec<Action>) {
        if let Some(member) = self.peer {
            let acked = self.most_acked.map_or(Lsn::ZERO, |(_, lsn)| lsn);
            self.close(CloseReason::OlderThanItWas { member, acked }, actions);
        }
    }

    fn note_acked(&mut self, member: Member, tail: Tail, actions: &mut Vec<Action>) {
        self.acked = tail;
        let before = self.most_acked.filter(|(known, _)| *known == member);
        let most = before.map_or(tail.lsn, |(_, lsn)| lsn.max(tail.lsn));
        self.most_acked = Some((member, most));
        actions.push(Action::Acked { member, tail });
    }

    fn follow(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Following;
        let follow = Follow {
            opening: self.start.opening,
            tail: self.start.log.tail,
            committed: self.committed,
            history: self.start.log.history.clone(),
        };
        self.send(Body::Follow(follow), actions);
    }

    fn place_checked(&mut self, holds: bool, actions: &mut Vec<Action>) {
        let (Stage::CheckingPlace, Some(member)) = (self.stage, self.peer) else {
            return;
        };
        let tail = self.cursor;
        if !holds || tail.lsn > self.start.log.tail.lsn {
            return self.diverged(member, tail, actions);
        }
        self.stage = Stage::Live;
        self.catch_up_to = self.start.log.tail.lsn;
        self.note_acked(member, tail, actions);
        if let MarkState::Set(lsn) = self.mark {
            // The answer to an earlier session's wish may have been lost.
            actions.push(Action::InSync { member, lsn });
        }
        self.maybe_mark(actions);
        let (lsn, digest) = (self.committed, None);
        self.send(Body::Committed { lsn, digest }, actions);
        self.ask_clear(actions);
        self.ask_read(actions);
        self.pump(actions);
    }

    fn ask_read(&self, actions: &mut Vec<Action>) {
        let following = matches!(self.stage, Stage::Live | Stage::File { .. });
        if following && self.read > ReadToken::default() {
            let token = self.read.0;
            self.send(Body::ReadCheck { token }, actions);
        }
    }

    fn say_committed(&mut self, lsn: Lsn, digest: Option<Digest>, actions: &mut Vec<Action>) {
        self.committed = self.committed.max(lsn);
        if matches!(self.stage, Stage::Live | Stage::File { .. }) {
            self.send(Body::Committed { lsn, digest }, actions);
        }
    }

    fn tick(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Closed | Stage::Fenced) {
            return;
        }
        let silent_ns = now_ns.saturating_sub(self.heard_at_ns);
        if silent_ns >= self.start.silent_after_ns {
            return self.close(CloseReason::Silent(silent_ns), actions);
        }
        if now_ns.saturating_sub(self.pinged_at_ns) >= self.start.ping_every_ns {
            self.pinged_at_ns = now_ns;
            self.send(Body::Ping { nonce: now_ns }, actions);
        }
    }

    fn refused(&mut self, refused: &Refused, actions: &mut Vec<Action>) {
        if refused.granted_epoch > self.start.epoch {
            return self.fenced(refused.granted_epoch, actions);
        }
        if refused.code == RefusalCode::OtherOpening {
            // One epoch, two openings: the other one was granted, so this one never commits.
            return self.fenced(self.start.epoch, actions);
        }
        let (code, text) = (refused.code, refused.text.clone());
        self.close(CloseReason::Refused { code, text }, actions);
    }

    fn fenced(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        self.closed();
        self.stage = Stage::Fenced;
        actions.push(Action::Fenced { epoch });
    }

    fn diverged(&mut self, member: Member, found: Tail, actions: &mut Vec<Action>) {
        let Member { node, incarnation } = member;
        let why = CloseReason::Diverged {
            node,
            incarnation,
            found,
        };
        self.close(why, actions);
    }

    fn close(&mut self, why: CloseReason, actions: &mut Vec<Action>) {
        self.closed();
        actions.push(Action::Close(why));
    }

    fn send(&self, body: Body<'static>, actions: &mut Vec<Action>) {
        let epoch = self.start.epoch;
        actions.push(Action::Send(Frame { epoch, body }));
    }
}
