//! Opening an epoch in a pair: restart, going alone, promotion.
//!
//! The auxiliary's grant is the register, and its durable mark is the set. The order is fixed:
//! promise the epoch here, have it granted there, take base and set from what the grant said,
//! fetch what is lacking, open. An epoch belongs to one opening; a new attempt of this machine
//! goes on with the same one, a new machine takes a higher one.
//!
//! ```text
//! Dial -> Hello -> Welcome -> Promise -> Seal -> Granted -> [ClearMark | Cut | Fetch] -> Open
//! ```

use kanjo_format::control::{Control, Role};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::record::Protection;
use kanjo_format::replication::{
    Body, EpochEntry, Frame, Granted, Mark, RefusalCode, Refused, Welcome, WireBatch,
};
use kanjo_format::{Epoch, Lsn, OpeningId, Tail};

use crate::{Identity, LocalLog, Member, Unpacker, find_fork};

mod deciding;
mod events;
#[cfg(test)]
mod tests;

pub use events::{Action, Event, OpenEpoch, StopReason, Waiting, Want};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing stands; `Connected` begins anew.
    Dialing,
    Greeting,
    Promising,
    Sealing,
    ClearingMark,
    /// The own log must hold the member's tail.
    Checking,
    Cutting,
    Fetching,
    /// What was fetched goes to the disk before it is a base.
    Syncing,
    Ended,
}

/// One attempt of a node to open an epoch.
pub struct Opening {
    want: Want,
    control: Control,
    identity: Identity,
    log: LocalLog,
    random: u128,
    stage: Stage,
    promised: Option<(Epoch, OpeningId)>,
    welcome: Option<Welcome>,
    granted: Option<Granted>,
    unpacker: Unpacker,
    unsynced: bool,
    ready: Option<OpenEpoch>,
}

impl Opening {
    /// An opening by the node of this control file and log. `random` is drawn anew for each.
    pub fn new(
        want: Want,
        control: Control,
        log: LocalLog,
        client_address: String,
        random: u128,
    ) -> Self {
        let identity = Identity::new(&control, client_address);
        Self {
            want,
            control,
            identity,
            log,
            random,
            stage: Stage::Dialing,
            promised: None,
            welcome: None,
            granted: None,
            unpacker: Unpacker::new(),
            unsynced: false,
            ready: None,
        }
    }

    /// Begins: refuses at once what cannot be, else dials.
    pub fn start(&mut self, actions: &mut Vec<Action>) {
        let primary = self.control.role == Role::Primary;
        match self.want {
            Want::Promote { .. } if primary => {
                self.stop(
                    StopReason::AlreadyPrimary(self.control.granted_epoch),
                    actions,
                );
            }
            Want::Restart { .. } | Want::Alone { .. } if !primary => {
                self.stop(StopReason::NotPrimary, actions);
            }
            Want::Promote { .. } if self.control.awaiting_operator => {
                self.stop(StopReason::AwaitingOperator, actions);
            }
            Want::Promote { forced: false, .. } if !self.control.in_sync => {
                self.stop(StopReason::NotInSync, actions);
            }
            Want::Promote { forced: false, .. } if self.control.uncertain => {
                self.stop(StopReason::Uncertain, actions);
            }
            _ => actions.push(Action::Dial),
        }
    }

    /// Whether it opened, stopped or became a replica.
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// The promised epoch and its opening, once there is one.
    pub fn promised(&self) -> Option<(Epoch, OpeningId)> {
        self.promised
    }

    /// Takes an event, gives what is to be done. Events that do not belong to the present stage
    /// are late answers to an earlier one, and ignored.
    pub fn step(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        match (self.stage, event) {
            (Stage::Ended, _) => {}
            (Stage::Promising, Event::Promised { tail }) => self.promised_here(tail, actions),
            // A promise is being stored: it is waited for, and the connection is renewed behind it.
            (Stage::Promising, Event::Unreachable) => self.welcome = None,
            (Stage::Syncing, Event::Synced) => self.opened(actions),
            // Decided; the connection is needed no more.
            (Stage::Promising | Stage::Syncing, _) => {}
            (_, Event::Connected) => self.greet(actions),
            (_, Event::Unreachable) => self.unreachable(actions),
            (_, Event::Frame(frame)) => self.frame(frame, actions),
            (Stage::Checking, Event::ChainAt { chain }) => {
                let expected = self.granted.map(|g| g.tail.chain);
                if chain.is_some() && chain == expected {
                    self.open_with_member(actions);
                } else {
                    let text = "the in-sync replica's tail is not in this log".to_owned();
                    self.stop(StopReason::Logs(text), actions);
                }
            }
            (Stage::Cutting, Event::Cut { log }) => match log {
                Some(log) => {
                    self.log = log.clone();
                    self.fetch(actions);
                }
                None => {
                    let text = "this log does not hold the common end".to_owned();
                    self.stop(StopReason::Logs(text), actions);
                }
            },
            (Stage::Fetching, Event::Appended { tail }) => self.appended(tail),
            _ => {}
        }
    }

    fn greet(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Greeting;
        self.welcome = None;
        self.granted = None;
        let opening = self.promised.map(|(_, opening)| opening);
        let highest = self.highest_here();
        let hello = self
            .identity
            .hello(self.control.role, highest, opening, &self.log);
        self.send(hello, actions);
    }

    fn unreachable(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Dialing;
        self.welcome = None;
        match self.want {
            Want::Promote { .. } | Want::Alone { unfenced: true } => self.promise(actions),
            Want::Alone { unfenced: false } => {
                self.stop(StopReason::AuxiliaryUnreachable, actions);
            }
            Want::Restart { .. } if self.opened_alone_and_wrote_nothing() => self.promise(actions),
            // Also one that served alone: its directory may be an old copy, and only the peer,
            // or an operator's new word, can tell.
            Want::Restart { .. } => actions.push(Action::Wait(Waiting::Peer)),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, actions: &mut Vec<Action>) {
        match (self.stage, &frame.body) {
            (Stage::Greeting, Body::Welcome(welcome)) => self.welcomed(welcome, actions),
            (_, Body::Refused(refused)) => self.refused(refused, actions),
            (Stage::Sealing, Body::Granted(granted))
                if self.answers_promise(frame)
                    && Some(granted.opening) == self.promised.map(|(_, opening)| opening) =>
            {
                self.granted_there(*granted, actions);
            }
            (Stage::ClearingMark, Body::Marked(mark))
                if self.answers_promise(frame) && !mark.in_sync =>
            {
                self.mark_cleared(actions);
            }
            (Stage::Fetching, Body::Batch(batch)) if self.answers_promise(frame) => {
                self.fetched(batch, actions);
            }
            (Stage::Fetching, Body::FetchEnd { tail }) if self.answers_promise(frame) => {
                if *tail == self.log.tail {
                    self.open_with_member(actions);
                } else {
                    self.redial(actions);
                }
            }
            _ => {}
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, actions: &mut Vec<Action>) {
        if let Err(text) = self.identity.check_peer(welcome) {
            return self.stop(StopReason::Peer(text), actions);
        }
        let (here, there) = (self.known_here(), welcome.granted_epoch);
        let opening = welcome.granted_opening;
        self.welcome = Some(welcome.clone());
        if let Want::Promote { forced, .. } = self.want {
            if there > here && !forced {
                return self.stop(StopReason::PeerIsAhead(there), actions);
            }
            return self.promise(actions);
        }
        if there > here && opening.incarnation == self.identity.incarnation {
            // Promises are stored here before they are asked for there.
            let peer = there;
            return self.stop(StopReason::OlderThanItWas { peer, here }, actions);
        }
        if there > here && opening.node != self.identity.node {
            self.stage = Stage::Ended;
            let epoch = there;
            return actions.push(Action::BecomeReplica { epoch, opening });
        }
        if welcome.awaiting_operator {
            self.stage = Stage::Dialing;
            return actions.push(Action::Wait(Waiting::PeerOperator));
        }
        self.promise(actions);
    }

    /// Promises an epoch above everything seen, or goes on with the one that was promised.
    fn promise(&mut self, actions: &mut Vec<Action>) {
        let there = self.welcome.as_ref().map(|w| w.granted_epoch);
        let highest = self.highest_here().max(there.unwrap_or_default());
        if let Some((epoch, opening)) = self.promised {
            let ours = self.welcome.as_ref().map(|w| w.granted_opening) == Some(opening);
            if there.is_none_or(|there| epoch > there || (epoch == there && ours)) {
                return self.promised_here(self.log.tail, actions);
            }
        }
        let next = match self.want {
            Want::Promote { .. } => highest.next_site_term(self.identity.site),
            Want::Restart { .. } | Want::Alone { .. } => highest.next_for(self.identity.site),
        };
        let Some(epoch) = next else {
            return self.stop(StopReason::EpochsUsedUp, actions);
        };
        let opening = OpeningId {
            node: self.identity.node,
            incarnation: self.identity.incarnation,
            random: self.random,
        };
        self.promised = Some((epoch, opening));
        self.stage = Stage::Promising;
        let needs_mark = matches!(self.want, Want::Promote { forced: false, .. });
        actions.push(Action::Promise {
            epoch,
            opening,
            needs_mark,
        });
    }

    fn promised_here(&mut self, tail: Tail, actions: &mut Vec<Action>) {
        let Some((_, opening)) = self.promised else {
            return;
        };
        self.log.tail = tail;
        match (self.want, self.welcome.is_some()) {
            // The promoted node is its own register: its grant is what it has just stored.
            (Want::Promote { forced, alone }, _) => {
                let protection = if alone {
                    Protection::Alone
                } else {
                    Protection::Waiting
                };
                let unfenced = forced && (!self.control.in_sync || self.control.uncertain);
                self.open(protection, Vec::new(), unfenced, actions);
            }
            (_, true) => {
                self.stage = Stage::Sealing;
                self.send(Body::Seal { opening }, actions);
            }
            (Want::Alone { unfenced: true }, false) => {
                self.open(Protection::Alone, Vec::new(), true, actions);
            }
            (Want::Restart { .. }, false) if self.opened_alone_and_wrote_nothing() => {
                self.open(Protection::Alone, Vec::new(), true, actions);
            }
            (_, false) => self.redial(actions),
        }
    }

    /// Whether the last epoch was opened to serve alone and holds only its `EpochStart`, as after
    /// the promotion of a stopped directory: the operator's word is still unused.
    fn opened_alone_and_wrote_nothing(&self) -> bool {
        let last = self.log.history.last();
        self.control.protection == Protection::Alone
            && last.is_some_and(|entry| {
                entry.epoch == self.control.granted_epoch
                    && self.log.tail.lsn.since(entry.base.lsn) == PAGE_BYTES
            })
    }

    fn refused(&mut self, refused: &Refused, actions: &mut Vec<Action>) {
        match refused.code {
            // Somebody was faster: look again, and decide by what the peer says then.
            RefusalCode::LowerEpoch | RefusalCode::OtherOpening | RefusalCode::Unable => {
                self.redial(actions);
            }
            _ => self.stop(StopReason::Refused(refused.text.clone()), actions),
        }
    }

    fn redial(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Dialing;
        self.welcome = None;
        actions.push(Action::Dial);
    }

    fn stop(&mut self, why: StopReason, actions: &mut Vec<Action>) {
        self.stage = Stage::Ended;
        actions.push(Action::Stop(why));
    }

    fn send(&self, body: Body<'static>, actions: &mut Vec<Action>) {
        let epoch = self.known_here();
        actions.push(Action::Send(Frame { epoch, body }));
    }

    fn answers_promise(&self, frame: &Frame<'_>) -> bool {
        self.promised.map(|(epoch, _)| epoch) == Some(frame.epoch)
    }

    /// What was granted or promised here; a peer above it has seen another writer.
    fn known_here(&self) -> Epoch {
        let promised = self.promised.map_or(Epoch::NONE, |(epoch, _)| epoch);
        self.control.granted_epoch.max(promised)
    }

    fn highest_here(&self) -> Epoch {
        self.known_here()
            .max(self.control.peer_granted_epoch)
            .max(self.log.tail.epoch)
    }

    fn alone_protection(&self) -> Protection {
        match (self.want, self.control.protection) {
            (Want::Alone { .. }, _) | (_, Protection::Alone) => Protection::Alone,
            _ => Protection::Waiting,
        }
    }
}
