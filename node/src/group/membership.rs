//! The writer's set in the register: who is taken in, who is dropped, and how the authority moves
//! to a site that came back or takes over. Values in, at most one question out at a time.
//!
//! ```text
//! take in   gate waits, log and mark say so -> register -> counts
//! drop      register -> gate stops waiting
//! move      Prepare (destination) -> HandOver (source) -> Activate (destination)
//! ```
//!
//! An answer that is unknown is asked for again, and until it is known the gate goes on waiting
//! for everybody that either set names.

use std::time::Duration;

use kanjo_format::limits::SET_MEMBERS_MAX;
use kanjo_format::{Epoch, OpeningId, Site};
use kanjo_group::register::{Authority, Degraded, HandOver, Move, Protection};
use kanjo_group::{Command, Outcome, Register, Reply, SetMember};

use super::Cleared;

/// A peer that has been away for so long is dropped, if another member remains.
const LOST_FOR: Duration = Duration::from_millis(150);

/// A destination that does not say whether it is prepared is asked so often again.
const PREPARE_AGAIN_MAX: u32 = 3;

/// One peer, as its session tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerNow {
    /// Who it was when it last greeted.
    pub(crate) member: SetMember,
    /// Its cloud.
    pub(crate) site: Site,
    /// Whether every commit waits for it.
    pub(crate) in_gate: bool,
    /// Whether its durable mark says that it has everything.
    pub(crate) marked: bool,
    /// How long its session has not been live; `None` while it is.
    pub(crate) away: Option<Duration>,
    /// Whether it has acked everything that this log holds.
    pub(crate) has_all: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Ask that site's register; give the reply to [`Membership::reply`].
    Ask(Site, Command),
    /// The register names it: it counts as a member.
    Joined(SetMember),
    /// No register names it: commits need not wait for it.
    Drop(SetMember),
    /// The authority has moved; the other site's nominee opens the next epoch.
    SwitchedAway,
    /// This writer is the only member of the set, by an operator's word: it opens an epoch in which
    /// it answers alone.
    GoAlone,
    /// A planned switch came to nothing before the point of no return.
    NotSwitched(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Prepare,
    HandOver,
    Activate(Box<HandOver>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Moving {
    plan: Move,
    to: Site,
    stage: Stage,
    /// How often it was not decided whether the destination is prepared.
    undecided: u32,
}

/// The set of one reign.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    epoch: Epoch,
    opening: OpeningId,
    me: SetMember,
    site: Site,
    set_size_min: usize,
    /// Whose register holds the authority.
    authority: Site,
    /// What that register is known to say.
    set: Vec<SetMember>,
    /// So many sets came before it.
    changes: u64,
    protection: Protection,
    /// A question that is not answered yet.
    asked: Option<(Site, Command)>,
    moving: Option<Moving>,
    moves: u64,
    /// Somebody else claimed a higher epoch: nothing here changes the set any more.
    superseded: bool,
    /// An operator's word to answer alone, as long as nobody else is in the set.
    degraded: Option<Degraded>,
    /// What the reign was opened under, where there is a third witness.
    cleared: Option<Cleared>,
}

impl Membership {
    /// The set of a reign that was just opened, as the register with the authority holds it.
    pub(crate) fn new(
        (epoch, opening): (Epoch, OpeningId),
        (me, site): (SetMember, Site),
        (authority, set, changes): (Site, Vec<SetMember>, u64),
        set_size_min: usize,
    ) -> Self {
        Self {
            epoch,
            opening,
            me,
            site,
            set_size_min,
            authority,
            set,
            changes,
            protection: Protection::Waiting,
            asked: None,
            moving: None,
            moves: 0,
            superseded: false,
            degraded: None,
            cleared: None,
        }
    }

    /// Notes what the reign was opened under.
    pub(crate) const fn set_cleared(&mut self, cleared: Option<Cleared>) {
        self.cleared = cleared;
    }

    /// What the reign was opened under, where there is a third witness.
    pub(crate) const fn cleared(&self) -> Option<Cleared> {
        self.cleared
    }

    /// Lets the writer answer alone while nobody else is in the set, or no longer.
    pub(crate) fn set_degraded(&mut self, degraded: Option<Degraded>) {
        self.degraded = degraded;
    }

    /// The word by which the writer answers alone now.
    pub(crate) fn degraded(&self) -> Option<&Degraded> {
        let alone = self.others().next().is_none();
        self.degraded.as_ref().filter(|_| alone)
    }

    /// The writer's register holds the authority: gives the question that makes it the only
    /// member, which it can be, because it has everything that was answered.
    pub(crate) fn leave_behind(&mut self, degraded: Degraded) -> Result<Act, String> {
        if !self.is_settled() {
            return Err("the set is being changed; try again".to_owned());
        }
        let command = Command::ChangeSet {
            epoch: self.epoch,
            opening: self.opening,
            follows: self.changes,
            expected: self.set.clone(),
            set: vec![self.me],
            protection: Protection::Degraded(degraded.clone()),
        };
        self.degraded = Some(degraded);
        Ok(self.ask(self.authority, command))
    }

    /// Whether a server of that site is taken in: the other site's always; this one's while no
    /// auxiliary site is attached; nobody any more once the reign is over.
    pub(crate) fn takes_in(&self, site: Site) -> bool {
        !self.superseded && (site != self.site || self.authority == self.site)
    }

    /// Whether the auxiliary site has the authority, as it should.
    pub(crate) fn is_attached(&self) -> bool {
        self.authority != self.site
    }

    /// Whether the authority is in the other site's register, or may be: it was handed over.
    pub(crate) fn is_away(&self) -> bool {
        let moving = self.moving.as_ref();
        let given = moving.is_some_and(|moving| matches!(moving.stage, Stage::Activate(_)));
        self.is_attached() || given
    }

    /// How commits are protected, as the register says.
    pub(crate) const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Members of the set other than the writer.
    pub(crate) fn others(&self) -> impl Iterator<Item = SetMember> + '_ {
        self.set.iter().copied().filter(|member| *member != self.me)
    }

    /// Whether the set is large enough for anything to be answered.
    pub(crate) fn is_large_enough(&self) -> bool {
        self.others().count() >= self.set_size_min
    }

    /// Whether a higher epoch was claimed in the register, so that this writer cannot change the
    /// set any more.
    pub(crate) const fn is_passed(&self) -> bool {
        self.superseded
    }

    /// Whether the register names this directory.
    pub(crate) fn names(&self, member: SetMember) -> bool {
        self.set.contains(&member)
    }

    /// Whether the next question may be asked: none is under way, no move and no higher epoch.
    pub(crate) const fn is_settled(&self) -> bool {
        self.moving.is_none() && self.asked.is_none() && !self.superseded
    }

    /// Begins a planned switch: everything that was answered is on all of `set`, and nothing new
    /// is answered from here on.
    pub(crate) fn switch_away(&mut self, set: Vec<SetMember>) -> Result<Act, String> {
        if !self.is_settled() {
            return Err("the set is being changed; try again".to_owned());
        }
        if !self.is_attached() {
            return Err("no auxiliary site is attached".to_owned());
        }
        Ok(self.begin_move(self.site, set, self.site.other()))
    }

    /// The next question, or what need not be asked.
    pub(crate) fn step(&mut self, peers: &[PeerNow], other_can_hold: bool) -> Option<Act> {
        if !self.is_settled() {
            return None;
        }
        if !self.is_attached() && other_can_hold {
            let away = self.site.other();
            let set = members(peers, |p| p.site == away && self.counts(p));
            if !set.is_empty() {
                return Some(self.begin_move(away, set, self.site));
            }
        }
        let target = self.target(peers);
        let protection = self.protection_of(&target);
        if target != self.set || protection != self.protection {
            let command = Command::ChangeSet {
                epoch: self.epoch,
                opening: self.opening,
                follows: self.changes,
                expected: self.set.clone(),
                set: target,
                protection,
            };
            return Some(self.ask(self.authority, command));
        }
        // In the gate, but in no register, and gone: nobody was promised that it has anything.
        let stray = |p: &&PeerNow| {
            p.in_gate
                && !self.set.contains(&p.member)
                && p.away.is_some_and(|away| away >= LOST_FOR)
        };
        peers.iter().find(stray).map(|p| Act::Drop(p.member))
    }

    /// Takes the answer to the question; an undecided one is asked again by [`Self::ask_again`].
    pub(crate) fn reply(&mut self, reply: Reply) -> Vec<Act> {
        let Some((site, command)) = self.asked.take() else {
            return Vec::new();
        };
        let outcome = match reply {
            Reply::Outcome { outcome } => outcome,
            Reply::Unknown { .. } if self.may_ask_prepare_again() => {
                self.asked = Some((site, command));
                return Vec::new();
            }
            Reply::Report { .. } | Reply::Unreachable { .. } | Reply::Unknown { .. } => {
                return self.undecided(site, command);
            }
        };
        match (self.moving.take(), outcome) {
            (None, Outcome::Done(register)) => self.set_changed(&register),
            (None, Outcome::Refused { register, .. }) => {
                self.refused(site, &register);
                Vec::new()
            }
            (Some(moving), Outcome::Done(register)) => self.moved_on(moving, &register),
            (Some(moving), Outcome::Refused { why, register }) => {
                self.refused(site, &register);
                match moving.stage {
                    // Nothing was given away yet.
                    Stage::Prepare if moving.plan.active != self.site => {
                        vec![Act::NotSwitched(why.to_string())]
                    }
                    Stage::HandOver if moving.plan.active != self.site && !self.superseded => {
                        vec![Act::NotSwitched(why.to_string())]
                    }
                    _ => Vec::new(),
                }
            }
        }
    }

    /// The question that is not answered, once more.
    pub(crate) fn ask_again(&self) -> Option<(Site, Command)> {
        self.asked.clone()
    }

    /// A register that changes its leader at this moment decides the next time.
    fn may_ask_prepare_again(&mut self) -> bool {
        let moving = self.moving.as_mut();
        let Some(moving) = moving.filter(|moving| moving.stage == Stage::Prepare) else {
            return false;
        };
        moving.undecided += 1;
        moving.undecided <= PREPARE_AGAIN_MAX
    }

    /// A question that may be given up was certainly not carried out, or is asked again.
    fn undecided(&mut self, site: Site, command: Command) -> Vec<Act> {
        if let (Some(moving), Command::Prepare { .. }) = (&self.moving, &command) {
            // A destination that cannot be asked: a plan binds nobody.
            let planned = moving.plan.active != self.site;
            self.moving = None;
            return match planned {
                true => vec![Act::NotSwitched(format!(
                    "the register of site {site}, which is to take the authority, does not decide"
                ))],
                false => Vec::new(),
            };
        }
        self.asked = Some((site, command));
        Vec::new()
    }

    fn begin_move(&mut self, to: Site, set: Vec<SetMember>, active: Site) -> Act {
        self.moves += 1;
        let plan = Move {
            epoch: self.epoch,
            number: self.moves,
            opening: self.opening,
            set,
            active,
        };
        self.moving = Some(Moving {
            plan: plan.clone(),
            to,
            stage: Stage::Prepare,
            undecided: 0,
        });
        self.ask(to, Command::Prepare { plan })
    }

    fn ask(&mut self, site: Site, command: Command) -> Act {
        self.asked = Some((site, command.clone()));
        Act::Ask(site, command)
    }

    fn moved_on(&mut self, mut moving: Moving, register: &Register) -> Vec<Act> {
        match moving.stage {
            Stage::Prepare => {
                moving.stage = Stage::HandOver;
                let plan = moving.plan.clone();
                let act = self.ask(self.authority, Command::HandOver { plan });
                self.moving = Some(moving);
                vec![act]
            }
            Stage::HandOver => {
                let Authority::HandedOver(certificate) = &register.authority else {
                    // It went on from there already: somebody else carried the certificate.
                    self.superseded = true;
                    return Vec::new();
                };
                moving.stage = Stage::Activate(certificate.clone());
                let act = self.ask(moving.to, Command::Activate(certificate.clone()));
                self.moving = Some(moving);
                vec![act]
            }
            Stage::Activate(_) => {
                self.authority = moving.to;
                if moving.plan.active != self.site {
                    self.superseded = true;
                    return vec![Act::SwitchedAway];
                }
                self.set_changed(register)
            }
        }
    }

    fn set_changed(&mut self, register: &Register) -> Vec<Act> {
        let before = std::mem::replace(&mut self.set, register.set.clone());
        self.changes = register.changes;
        self.protection = register.protection.clone();
        let joined = self
            .others()
            .filter(|m| !before.contains(m))
            .map(Act::Joined);
        let gone = before.iter().copied();
        let gone = gone.filter(|m| *m != self.me && !self.set.contains(m));
        let mut acts: Vec<Act> = joined.chain(gone.map(Act::Drop)).collect();
        if self.others().next().is_some() {
            // Somebody else has everything again; the next time takes a new word.
            self.degraded = None;
        } else if self.degraded.is_some() {
            acts.push(Act::GoAlone);
        }
        acts
    }

    fn refused(&mut self, site: Site, register: &Register) {
        if site != self.authority {
            return;
        }
        if !register.reign.is(self.epoch, self.opening) || !register.holds_authority() {
            // A later epoch was claimed there, or the authority is somewhere else: whoever is to
            // process opens the next epoch where it is.
            self.superseded = true;
        } else {
            self.set = register.set.clone();
            self.changes = register.changes;
            self.protection = register.protection.clone();
        }
    }

    /// Whether a peer has everything and commits wait for it.
    fn counts(&self, peer: &PeerNow) -> bool {
        peer.in_gate && peer.marked && peer.away.is_none()
    }

    fn target(&self, peers: &[PeerNow]) -> Vec<SetMember> {
        let known = |member: &SetMember| peers.iter().find(|p| p.member == *member);
        let lost = |member: &SetMember| match known(member) {
            Some(peer) => peer.away.is_some_and(|away| away >= LOST_FOR),
            // Another directory stands where it was: a wiped one never answers for it.
            None => peers.iter().any(|peer| peer.member.node == member.node),
        };
        let mut target = self.set.clone();
        for peer in peers {
            let new = self.takes_in(peer.site) && self.counts(peer);
            if new && !target.contains(&peer.member) && target.len() < SET_MEMBERS_MAX {
                target.push(peer.member);
            }
        }
        let live = |m: &SetMember| known(m).is_some_and(|p| p.away.is_none() && p.in_gate);
        let remaining: Vec<SetMember> = target
            .iter()
            .copied()
            .filter(|m| *m != self.me && !lost(m))
            .collect();
        if remaining.iter().any(live) && remaining.len() >= self.set_size_min {
            return remaining;
        }
        target
    }

    fn protection_of(&self, set: &[SetMember]) -> Protection {
        match (set.iter().any(|m| *m != self.me), self.is_attached()) {
            (true, true) => Protection::Protected,
            (true, false) => Protection::OneSite,
            (false, _) => match &self.degraded {
                Some(degraded) if set.contains(&self.me) => Protection::Degraded(degraded.clone()),
                _ => Protection::Waiting,
            },
        }
    }
}

fn members(peers: &[PeerNow], choose: impl Fn(&PeerNow) -> bool) -> Vec<SetMember> {
    peers
        .iter()
        .filter(|p| choose(p))
        .map(|p| p.member)
        .collect()
}

#[cfg(test)]
mod tests;
