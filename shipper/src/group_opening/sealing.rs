//! The dialogues with the members: who they are, and their grants.

use kanjo_format::Lsn;
use kanjo_format::replication::{EpochEntry, Granted, RefusalCode, Refused, Welcome};

use super::*;

/// A member that is asked something and silent for so many patiences is dialled anew.
const SILENT_PATIENCES: u64 = 4;
/// But not within a second: a grant may take a slow disk that long.
const SILENT_NS_MIN: u64 = 1_000_000_000;

/// How far the dialogue on the present connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none, or nothing that comes from it counts.
    Away,
    Greeting,
    Sealing,
    /// It granted on this connection: its log can be fetched.
    Sealed,
}

/// What a member had when it granted. Nothing of a lower epoch can change it any more.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) tail: Tail,
    pub(super) history: Vec<EpochEntry>,
    pub(super) confirmed: Lsn,
    pub(super) uncertain: bool,
}

/// One member of the set, as far as it was heard.
pub(super) struct Sealing {
    pub(super) member: Member,
    pub(super) link: Link,
    welcome: Option<Box<Welcome>>,
    /// Its grant of the claimed epoch, while it is counted on.
    pub(super) sealed: Option<Sealed>,
    /// The tail of its first grant of that epoch.
    had: Option<Tail>,
    /// When something was last asked of it.
    asked_at_ns: u64,
}

impl Sealing {
    pub(super) const fn new(member: Member, now_ns: u64) -> Self {
        Self {
            member,
            link: Link::Away,
            welcome: None,
            sealed: None,
            had: None,
            asked_at_ns: now_ns,
        }
    }
}

impl GroupOpening {
    pub(super) fn member(&self, node: NodeId) -> Option<&Sealing> {
        self.members.iter().find(|m| m.member.node == node)
    }

    pub(super) fn member_mut(&mut self, node: NodeId) -> Option<&mut Sealing> {
        self.members.iter_mut().find(|m| m.member.node == node)
    }

    /// Every connection is greeted, whatever the stage: a member that granted may be fetched from
    /// later, and one that grants late refuses the former writer all the same.
    pub(super) fn connected(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        let Some(member) = self.member_mut(node) else {
            return;
        };
        member.link = Link::Greeting;
        member.asked_at_ns = now_ns;
        let (epoch, opening) = self.promised();
        let role = self.control.role;
        let hello = self.identity.hello(role, epoch, Some(opening), &self.log);
        self.send(node, hello, actions);
    }

    pub(super) fn unreachable(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let Some(member) = self.member_mut(node) else {
            return;
        };
        member.link = Link::Away;
        if member.sealed.is_none() || self.base_of == Some(node) {
            self.redial(node, actions);
        }
    }

    /// Nothing that comes from the present connection counts. The node paces its dialling.
    pub(super) fn redial(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        if let Some(member) = self.member_mut(node) {
            member.link = Link::Away;
            member.asked_at_ns = now_ns;
            actions.push(Action::Dial { node });
        }
    }

    /// How long nothing may come from a connection before it is taken for dead.
    pub(super) fn silence_ns(&self) -> u64 {
        let patience_ns = self.patience_ns.saturating_mul(SILENT_PATIENCES);
        patience_ns.max(SILENT_NS_MIN)
    }

    /// A connection over which nothing comes may be dead without saying so.
    pub(super) fn redial_silent(&mut self, actions: &mut Vec<Action>) {
        let silence_ns = self.silence_ns();
        let now_ns = self.now_ns;
        let silent = self
            .members
            .iter()
            .filter(|m| m.sealed.is_none() && now_ns.saturating_sub(m.asked_at_ns) >= silence_ns);
        let silent: Vec<NodeId> = silent.map(|m| m.member.node).collect();
        for node in silent {
            self.redial(node, actions);
        }
    }

    pub(super) fn frame(&mut self, node: NodeId, frame: &Frame<'_>, actions: &mut Vec<Action>) {
        let Some(member) = self.member(node) else {
            return;
        };
        let (link, (epoch, opening)) = (member.link, self.promised());
        let ours = frame.epoch == epoch;
        let feeds = ours && self.stage == Stage::Fetching && self.base_of == Some(node);
        match (link, &frame.body) {
            (Link::Away, _) => {}
            (_, Body::Refused(refused)) => self.refused(node, refused, actions),
            (Link::Greeting, Body::Welcome(welcome)) => self.welcomed(node, welcome, actions),
            (Link::Sealing, Body::Granted(granted)) if ours && granted.opening == opening => {
                self.granted(node, *granted, actions);
            }
            (Link::Sealed, Body::Batch(batch)) if feeds => self.fetched(node, batch, actions),
            (Link::Sealed, Body::FetchEnd { tail }) if feeds => {
                self.fetch_ended(node, *tail, actions);
            }
            _ => {}
        }
    }

    fn welcomed(&mut self, node: NodeId, welcome: &Welcome, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let fits = self.identity.check_peer(welcome).is_ok();
        let now_ns = self.now_ns;
        let Some(member) = self.member_mut(node) else {
            return;
        };
        let who = Member {
            node: welcome.node,
            incarnation: welcome.incarnation,
        };
        if !fits || who != member.member {
            // A stranger, or a wiped directory, never answers for the member. It is asked again
            // after a while: the right one may have taken its place.
            member.link = Link::Away;
            return;
        }
        if welcome.granted_epoch > epoch {
            return self.fenced(welcome.granted_epoch, actions);
        }
        member.link = Link::Sealing;
        member.asked_at_ns = now_ns;
        member.welcome = Some(Box::new(welcome.clone()));
        self.send(node, Body::Seal { opening }, actions);
    }

    fn refused(&mut self, node: NodeId, refused: &Refused, actions: &mut Vec<Action>) {
        let (epoch, _) = self.promised();
        if refused.granted_epoch > epoch {
            return self.fenced(refused.granted_epoch, actions);
        }
        if refused.code == RefusalCode::OtherOpening {
            // One epoch, two openings: the other one was granted it.
            return self.fenced(epoch, actions);
        }
        self.redial(node, actions);
    }

    fn granted(&mut self, node: NodeId, granted: Granted, actions: &mut Vec<Action>) {
        // Not while the register is asked to leave it out.
        let takes_it = matches!(self.stage, Stage::Sealing | Stage::Pausing);
        let Some(member) = self.member_mut(node) else {
            return;
        };
        let history = member.welcome.take().map_or_else(Vec::new, |w| w.history);
        let seen = history.last().map_or(Epoch::NONE, |entry| entry.epoch);
        if granted.tail.epoch != seen {
            // The log moved on between Welcome and the grant; nothing moves it now.
            return self.redial(node, actions);
        }
        let had = *member.had.get_or_insert(granted.tail);
        if had != granted.tail {
            let member = member.member;
            let (had, has) = (had.lsn, granted.tail.lsn);
            return self.stop(StopReason::TailGone { member, had, has }, actions);
        }
        member.link = Link::Sealed;
        if takes_it || member.sealed.is_some() {
            member.sealed = Some(Sealed {
                tail: granted.tail,
                history,
                confirmed: granted.confirmed,
                uncertain: granted.uncertain,
            });
        }
        match self.stage {
            Stage::Sealing => self.look_for_enough(actions),
            Stage::Fetching if self.base_of == Some(node) => self.ask_fetch(node, actions),
            _ => {}
        }
    }
}
