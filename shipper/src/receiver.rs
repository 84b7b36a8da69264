//! The listener's side: grants, the log that is followed, acks.
//!
//! One receiver serves all accepted connections of a node, whatever its role, because there is
//! one grant. At most one session is the writer: the last one that had the highest epoch
//! granted. Nothing of a lower epoch is accepted from the moment a higher one is asked for, and
//! nothing is answered before it is durable.
//!
//! ```text
//! Hello -> Welcome    Seal -> persist -> Granted    Follow -> [cut] -> Following
//! Batch* -> append -> one sync for all at hand -> one Ack
//! ```

use std::collections::{BTreeMap, VecDeque};

use kanjo_format::control::Role;
use kanjo_format::limits::APPLY_LAG_BYTES_MAX;
use kanjo_format::replication::{
    Body, EpochEntry, Follow, Frame, Granted, Hello, Mark, Purpose, REPLICATION_VERSION,
    REPLICATION_VERSION_MIN, RefusalCode, Refused, SeedFile, Welcome, WireBatch,
};
use kanjo_format::{BatchPlace, Digest, Epoch, Lsn, OpeningId, Site, Tail};

use crate::{Unpacker, find_fork, note_epoch};

mod events;
mod following;
mod granting;
mod seeding;
#[cfg(test)]
mod tests;

pub use events::{Action, Event, GrantRefused, ReceiverStart, SessionId};

/// What is known of one connection.
#[derive(Clone, Debug)]
struct Session {
    purpose: Purpose,
    node: kanjo_format::NodeId,
    incarnation: kanjo_format::Incarnation,
    site: Site,
    client_address: String,
}

/// The session that the highest epoch was granted to.
#[derive(Clone, Debug)]
struct Writer {
    session: SessionId,
    /// Its epochs, once it asked to be followed.
    history: Vec<EpochEntry>,
    stage: WriterStage,
    mark_turn: u64,
    /// Where the fetch that is being answered ends.
    fetch: Option<Tail>,
    /// What was committed when it asked to be followed.
    committed: Lsn,
    /// Where its log ended then: everything ever answered lies below.
    end: Lsn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterStage {
    Sealed,
    Cutting,
    Following,
}

/// A grant that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct PendingGrant {
    session: SessionId,
    persisted: bool,
}

/// A file that is arriving.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    file: SeedFile,
    total_bytes: u64,
    offset: u64,
}

/// A node's side of all accepted connections.
pub struct Receiver {
    state: ReceiverStart,
    sessions: BTreeMap<SessionId, Session>,
    writer: Option<Writer>,
    pending_grant: Option<PendingGrant>,
    pending_marks: VecDeque<(SessionId, Mark)>,
    /// Ends of batches that were appended and are not known to be on disk.
    unsynced: VecDeque<Tail>,
    /// What the disk has; `state.log.tail` is the end of what was appended.
    synced: Tail,
    syncing: bool,
    /// An `Append` is not answered yet.
    appending: bool,
    /// An ack waits for the ledger to apply more.
    ack_held: bool,
    apply_asked: Lsn,
    incoming: Option<Incoming>,
    /// A whole file is being installed; with it come epochs of the writer that sent it.
    installing: Option<(SeedFile, Vec<EpochEntry>)>,
    /// A cut is under way.
    cutting: bool,
    /// This node was primary and was granted away: its log has to come to rest.
    stepping_down: bool,
    unpacker: Unpacker,
}

impl Receiver {
    /// A receiver that nobody is connected to.
    pub fn new(start: ReceiverStart) -> Self {
        Self {
            synced: start.log.tail,
            apply_asked: start.applied,
            state: start,
            sessions: BTreeMap::new(),
            writer: None,
            pending_grant: None,
            pending_marks: VecDeque::new(),
            unsynced: VecDeque::new(),
            syncing: false,
            appending: false,
            ack_held: false,
            incoming: None,
            installing: None,
            cutting: false,
            stepping_down: false,
            unpacker: Unpacker::new(),
        }
    }

    /// The highest epoch granted here (perhaps not yet durably), and to which opening.
    pub fn granted(&self) -> (Epoch, OpeningId) {
        (self.state.granted_epoch, self.state.granted_opening)
    }

    /// What is known to be committed.
    pub fn committed(&self) -> Lsn {
        self.state.log.confirmed
    }

    /// What this disk has.
    pub fn durable(&self) -> Tail {
        self.synced
    }

    /// Whether the in-set mark is durably set.
    pub fn in_sync(&self) -> bool {
        self.state.in_sync
    }

    /// Whether a writer is being followed now.
    pub fn is_following(&self) -> bool {
        self.writer
            .as_ref()
            .is_some_and(|w| w.stage == WriterStage::Following)
    }

    /// Whether this disk has everything that the writer's log held when it began to be followed.
    pub fn is_caught_up(&self) -> bool {
        let end = self.writer.as_ref().map(|writer| writer.end);
        self.is_following() && end.is_some_and(|end| self.synced.lsn >= end)
    }

    /// Whether an operator has to decide about the end of this log.
    pub fn awaits_operator(&self) -> bool {
        self.state.awaiting_operator
    }

    /// The log as followed so far, with its epochs.
    pub fn log(&self) -> &crate::LocalLog {
        &self.state.log
    }

    /// This node's own opening is about to be promised: every other sender is cut off now,
    /// before the promise is stored and the tail is read. If it is refused nothing changed, and
    /// the opening has to be begun anew. A promotion `needs_mark` at this very moment: a primary
    /// may have had the mark cleared, and served alone, since the opening began.
    pub fn grant_here(
        &mut self,
        epoch: Epoch,
        opening: OpeningId,
        needs_mark: bool,
        actions: &mut Vec<Action>,
    ) -> Result<(), GrantRefused> {
        let (granted, former) = self.granted();
        if epoch < granted || (epoch == granted && opening != former) {
            return Err(GrantRefused::Higher(granted));
        }
        let marked = self.state.in_sync && self.pending_marks.is_empty();
        if needs_mark && (!marked || self.state.uncertain) {
            return Err(GrantRefused::MarkGone);
        }
        self.state.granted_epoch = epoch;
        self.state.granted_opening = opening;
        self.state.role = Role::Primary;
        self.state.in_sync = false;
        let others = [
            self.writer.take().map(|w| w.session),
            self.pending_grant.take().map(|p| p.session),
        ];
        for session in others.into_iter().flatten() {
            let text = format!("epoch {epoch} was opened here");
            self.refuse(session, RefusalCode::LowerEpoch, &text, actions);
        }
        Ok(())
    }

    /// This node has opened the epoch that it granted itself: what its log holds is what the epoch
    /// stands on, so that its end is certain whatever it was before.
    pub const fn opened(&mut self) {
        self.state.uncertain = false;
    }

    /// Takes an event, gives what is to be done.
    pub fn step(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Frame { session, frame } => self.frame(session, frame, actions),
            Event::Closed { session } => self.forget(session),
            Event::ReadDone => self.sync(actions),
            Event::Appended { tail } => {
                assert!(self.appending, "an append was asked for");
                self.appending = false;
                note_epoch(&mut self.state.log, tail);
                self.unsynced.push_back(tail);
            }
            Event::Synced { lsn } => self.synced(lsn, actions),
            Event::GrantPersisted { epoch } => self.grant_persisted(epoch, actions),
            Event::MarkPersisted => self.mark_persisted(actions),
            Event::Cut { log } => self.cut_done(log, actions),
            Event::LogSent { session, lsn } => self.log_sent(session, lsn, actions),
            Event::FileStored { tail } => self.file_stored(tail, actions),
            Event::Applied { lsn, digest } => self.applied(lsn, digest, actions),
            Event::AloneTo { lsn } => {
                self.state.log.alone_to = self.state.log.alone_to.max(lsn);
            }
            Event::LogMoved { log } => self.log_moved(log, actions),
        }
    }

    /// A replica's log moves by this machine's own actions only; there the event says nothing.
    fn log_moved(&mut self, log: &crate::LocalLog, actions: &mut Vec<Action>) {
        if self.state.role == Role::Replica && !self.stepping_down {
            return;
        }
        self.state.log = log.clone();
        self.synced = log.tail;
        self.unsynced.clear();
        self.syncing = false;
        self.stepping_down = false;
        self.answer_grant(actions);
    }

    fn frame(&mut self, session: SessionId, frame: &Frame<'_>, actions: &mut Vec<Action>) {
        assert!(
            !self.appending,
            "an append is answered before the next frame"
        );
        match &frame.body {
            Body::Hello(hello) => return self.hello(session, hello, actions),
            Body::Ping { nonce } => return self.ping(session, *nonce, actions),
            _ => {}
        }
        let replicates = self
            .sessions
            .get(&session)
            .is_some_and(|s| s.purpose == Purpose::Replicate);
        if !replicates {
            let text = "this connection was not greeted for replication";
            return self.refuse(session, RefusalCode::Dialogue, text, actions);
        }
        if let Body::Seal { opening } = &frame.body {
            return self.seal(session, frame.epoch, *opening, actions);
        }
        if !self.is_writer(session) || frame.epoch != self.state.granted_epoch {
            return self.refuse_stranger(session, frame.epoch, actions);
        }
        self.writer_frame(session, &frame.body, actions);
    }

    fn writer_frame(&mut self, session: SessionId, body: &Body<'_>, actions: &mut Vec<Action>) {
        let following = self.is_following();
        match body {
            Body::Fetch { from } => self.fetch(session, *from, actions),
            Body::Mark(mark) => self.mark(session, *mark, actions),
            Body::Follow(follow) => self.follow(session, follow, actions),
            Body::Batch(batch) if following => self.batch(session, batch, actions),
            Body::Committed { lsn, digest } if following => {
                self.note_committed(*lsn, actions);
                if let (lsn, Some(digest)) = (*lsn, *digest) {
                    actions.push(Action::CompareDigest { lsn, digest });
                }
            }
            Body::ReadCheck { token } if following => {
                let token = *token;
                self.send(session, Body::ReadOk { token }, actions);
            }
            Body::Chunk {
                file,
                total_bytes,
                offset,
                bytes,
            } if following => {
                let piece = (*file, *total_bytes, *offset, *bytes);
                self.chunk(session, piece, actions);
            }
            _ => {
                let text = "that frame has no place at this point";
                self.refuse(session, RefusalCode::Dialogue, text, actions);
            }
        }
    }

    fn fetch(&mut self, session: SessionId, from: Lsn, actions: &mut Vec<Action>) {
        let (to, epoch) = (self.synced, self.state.granted_epoch);
        let Some(writer) = &mut self.writer else {
            return;
        };
        if from > to.lsn || writer.stage != WriterStage::Sealed {
            let text = format!("nothing to fetch at lsn {from}: the log ends at {to}");
            return self.refuse(session, RefusalCode::Dialogue, &text, actions);
        }
        writer.fetch = Some(to);
        if from == to.lsn {
            return self.log_sent(session, from, actions);
        }
        actions.push(Action::SendLog {
            session,
            from,
            to: to.lsn,
            epoch,
        });
    }

    fn log_sent(&mut self, session: SessionId, lsn: Lsn, actions: &mut Vec<Action>) {
        let epoch = self.state.granted_epoch;
        let writer = self.writer.as_mut().filter(|w| w.session == session);
        let Some(writer) = writer else {
            return;
        };
        let Some(tail) = writer.fetch else {
            return;
        };
        if lsn < tail.lsn {
            return actions.push(Action::SendLog {
                session,
                from: lsn,
                to: tail.lsn,
                epoch,
            });
        }
        writer.fetch = None;
        self.send(session, Body::FetchEnd { tail }, actions);
    }

    fn mark(&mut self, session: SessionId, mark: Mark, actions: &mut Vec<Action>) {
        let following = self.is_following();
        let Some(writer) = &mut self.writer else {
            return;
        };
        if mark.turn <= writer.mark_turn {
            return;
        }
        if mark.in_sync && (!following || mark.lsn > self.synced.lsn) {
            let text = format!("this log ends at {}, before the mark", self.synced);
            return self.refuse(session, RefusalCode::Dialogue, &text, actions);
        }
        writer.mark_turn = mark.turn;
        self.pending_marks.push_back((session, mark));
        actions.push(Action::PersistMark {
            in_sync: mark.in_sync,
            lsn: mark.lsn,
        });
    }

    fn mark_persisted(&mut self, actions: &mut Vec<Action>) {
        let Some((session, mark)) = self.pending_marks.pop_front() else {
            return;
        };
        self.state.in_sync = mark.in_sync;
        self.state.in_sync_lsn = mark.lsn;
        if self.is_writer(session) {
            self.send(session, Body::Marked(mark), actions);
        }
        self.answer_grant(actions);
    }

    fn is_writer(&self, session: SessionId) -> bool {
        self.pending_grant.is_none() && self.writer.as_ref().is_some_and(|w| w.session == session)
    }

    /// A sender that is not the writer: of a lower epoch it is fenced, else out of turn.
    fn refuse_stranger(&mut self, session: SessionId, epoch: Epoch, actions: &mut Vec<Action>) {
        let granted = self.state.granted_epoch;
        let (code, text) = if epoch < granted {
            let text = format!("epoch {granted} was granted here; epoch {epoch} is fenced");
            (RefusalCode::LowerEpoch, text)
        } else {
            let text = format!("epoch {epoch} has no standing in this session");
            (RefusalCode::NotGranted, text)
        };
        self.refuse(session, code, &text, actions);
    }

    fn refuse(
        &mut self,
        session: SessionId,
        code: RefusalCode,
        text: &str,
        actions: &mut Vec<Action>,
    ) {
        let refused = Refused {
            code,
            granted_epoch: self.state.granted_epoch,
            granted_opening: self.state.granted_opening,
            text: text.to_owned(),
        };
        self.send(session, Body::Refused(refused), actions);
        self.forget(session);
        let why = text.to_owned();
        actions.push(Action::Close { session, why });
    }

    /// The connection is gone or of no use: it is not heard again.
    fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        if self.writer.as_ref().is_some_and(|w| w.session == session) {
            self.writer = None;
            self.incoming = None;
        }
    }

    fn send(&self, session: SessionId, body: Body<'static>, actions: &mut Vec<Action>) {
        let epoch = self.state.granted_epoch;
        let frame = Frame { epoch, body };
        actions.push(Action::Send { session, frame });
    }
}
