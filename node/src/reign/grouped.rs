//! A reign in a group: its set stands in a register.

use std::time::{Duration, Instant};

use kanjo_format::record::Protection;
use kanjo_format::{Epoch, OpeningId, Site};
use kanjo_group::register::Degraded;
use kanjo_group::{Reply, SetMember};
use kanjo_shipper::Member;

use super::switching::Switching;
use super::{Primary, Reign};
use crate::error::NodeError;
use crate::group::{Act, Asker, Cleared, Membership, PeerNow, set_member};
use crate::hot::ServiceGap;
use crate::node::steady_ns;
use crate::peers::PeerIndex;

/// What a reign in a group knows beside its sessions.
pub(crate) struct Grouped {
    began: Instant,
    pub(crate) membership: Membership,
    pub(super) switching: Option<Switching>,
    /// The next epoch is to be opened here, to answer alone in it.
    pub(crate) reopens: bool,
    /// Since when nothing new is executed, because the next epoch is to be opened here.
    renewing: Option<Instant>,
    /// Why this reign, which answered alone, does so no longer.
    pub(super) ended: Option<&'static str>,
}

impl Grouped {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            began: Instant::now(),
            membership,
            switching: None,
            reopens: false,
            renewing: None,
            ended: None,
        }
    }

    /// Whether new requests are executed: not during a planned switch, nor with a set that is too
    /// small.
    pub(super) fn may_serve(&self) -> bool {
        !self.is_draining()
            && (self.membership.is_large_enough() || self.membership.degraded().is_some())
    }

    /// Whether a server of that site is taken in. During a planned switch nothing is appended: a
    /// record behind what is committed would cost the former writer its memory.
    pub(super) fn takes_in(&self, site: Site) -> bool {
        !self.is_draining() && self.membership.takes_in(site)
    }

    fn is_draining(&self) -> bool {
        let switching = self.switching.as_ref();
        self.renewing.is_some() || switching.is_some_and(|s| s.draining.is_some())
    }

    /// Why nothing is answered although every member is there.
    pub(super) fn why_not(&self) -> Option<&'static str> {
        if self.renewing.is_some() {
            return Some("the next epoch is about to be opened here");
        }
        if self.is_draining() {
            return Some("a planned switch to the other site is under way");
        }
        match self.may_serve() {
            true => None,
            false => Some(
                "the in-sync set has fewer members than set_size_min: nothing is answered until one has caught up",
            ),
        }
    }
}

impl Reign {
    /// This reign's epoch.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.gate.epoch()
    }

    /// Its epoch and opening.
    pub(crate) const fn writer(&self) -> (Epoch, OpeningId) {
        (self.gate.epoch(), self.opening)
    }

    /// Whether a higher epoch was claimed, so that this reign cannot change its set any more.
    pub(crate) fn is_passed(&self) -> bool {
        let grouped = self.grouped.as_ref();
        grouped.is_some_and(|grouped| grouped.membership.is_passed())
    }

    /// Whether the set stands in the other site's register.
    pub(crate) fn is_attached(&self) -> bool {
        let grouped = self.grouped.as_ref();
        grouped.is_some_and(|grouped| grouped.membership.is_attached())
    }

    /// Whether the authority is in the other site's register, or on its way there.
    pub(crate) fn is_away(&self) -> bool {
        let grouped = self.grouped.as_ref();
        grouped.is_some_and(|grouped| grouped.membership.is_away())
    }

    /// What it was opened under, where there is a third witness.
    pub(crate) fn cleared(&self) -> Option<Cleared> {
        self.grouped.as_ref()?.membership.cleared()
    }

    /// For how long it has been writing in a group.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.grouped.as_ref().map(|grouped| grouped.began.elapsed())
    }

    /// Nothing new is executed from here on: gives since when. The next epoch is to be opened here.
    pub(crate) fn renews_since(&mut self, now: Instant) -> Instant {
        let grouped = self.grouped.as_mut();
        grouped.map_or(now, |grouped| *grouped.renewing.get_or_insert(now))
    }

    /// Whether it waits for that.
    pub(crate) fn is_renewing(&self) -> bool {
        let grouped = self.grouped.as_ref();
        grouped.is_some_and(|grouped| grouped.renewing.is_some())
    }

    /// It goes on instead.
    pub(crate) fn renew_not(&mut self) {
        if let Some(grouped) = &mut self.grouped {
            grouped.renewing = None;
        }
    }

    /// Whether the next epoch is to be opened here, to answer alone in it.
    pub(crate) fn reopens(&self) -> bool {
        self.grouped.as_ref().is_some_and(|grouped| grouped.reopens)
    }
}

impl Primary<'_> {
    /// Looks after the set in the register, and after a switch that is under way.
    pub(super) fn tick_group(&mut self) -> Result<(), NodeError> {
        self.note_presence();
        if self.reign.grouped.is_none() {
            return Ok(());
        }
        self.note_gap();
        self.take_in_late()?;
        self.drain_on()?;
        self.tell_doubt();
        self.end_degraded_in_time();
        let peers = self.peers_now();
        if let Some(replaced) = self.replaced_in_gate(&peers) {
            return self.drop_member(replaced);
        }
        let other_can_hold = self.group.as_ref().is_some_and(|g| g.other_has_majority());
        let Some(grouped) = &mut self.reign.grouped else {
            return Ok(());
        };
        let switching = grouped.switching.as_ref();
        let waits_for_drain = switching.is_some_and(|s| s.draining.is_some() && !s.moving);
        if waits_for_drain {
            return Ok(());
        }
        match grouped.membership.step(&peers, other_can_hold) {
            Some(act) => self.carry_out(vec![act]),
            None => Ok(()),
        }
    }

    /// A register answered what this reign asked.
    pub(crate) fn membership_replied(
        &mut self,
        epoch: Epoch,
        reply: Reply,
    ) -> Result<(), NodeError> {
        if epoch != self.reign.gate.epoch() {
            return Ok(());
        }
        let Some(grouped) = &mut self.reign.grouped else {
            return Ok(());
        };
        let acts = grouped.membership.reply(reply);
        let undecided = acts.is_empty();
        if let (true, Some((site, command)), Some(group)) =
            (undecided, grouped.membership.ask_again(), &self.group)
        {
            group.ask_again(Asker::Membership(epoch), site, command);
        }
        self.carry_out(acts)
    }

    pub(super) fn carry_out(&mut self, acts: Vec<Act>) -> Result<(), NodeError> {
        let epoch = self.reign.gate.epoch();
        for act in acts {
            match act {
                Act::Ask(site, command) => {
                    tracing::debug!(%site, ?command, "asks a register");
                    if let Some(group) = &self.group {
                        group.ask(Asker::Membership(epoch), site, command);
                    }
                }
                Act::Joined(member) => {
                    tracing::info!(node = %member.node, "the register names it: it is in the in-sync set");
                    self.protect();
                }
                Act::Drop(member) => {
                    tracing::warn!(node = %member.node, "out of the in-sync set: commits no longer wait for it");
                    self.drop_member(shipper_member(member))?;
                }
                Act::SwitchedAway => {
                    tracing::info!(
                        "the authority was handed over: the other site opens the next epoch"
                    );
                }
                Act::GoAlone => {
                    // Not once more where the register only tells how it is by now.
                    let alone = self.reign.gate.protection() == Protection::Alone;
                    if let Some(grouped) = self.reign.grouped.as_mut().filter(|_| !alone) {
                        grouped.reopens = true;
                    }
                }
                Act::NotSwitched(why) => self.switch_failed(&why),
            }
        }
        Ok(())
    }

    /// The set has a member besides this node: what it acks is committed.
    fn protect(&mut self) {
        if self.reign.gate.protection() != Protection::Protected
            && self
                .reign
                .gate
                .set_protection(Protection::Protected)
                .is_some()
        {
            self.commit_moved();
        }
    }

    /// An operator makes it the only member of a set that stands in its own site's register.
    pub(crate) fn leave_set_behind(&mut self, degraded: Degraded) -> Result<(), String> {
        let Some(grouped) = &mut self.reign.grouped else {
            return Err("this node is no server of a group".to_owned());
        };
        let act = grouped.membership.leave_behind(degraded)?;
        self.carry_out(vec![act]).map_err(|error| error.to_string())
    }

    /// Whether members of the set have been away for so long that nothing is answered meanwhile,
    /// and none of them can be dropped: all are away, or their register has no majority.
    pub(crate) fn is_kept_waiting(&self, patience: Duration) -> bool {
        let (Some(grouped), Some(group)) = (&self.reign.grouped, &self.group) else {
            return false;
        };
        let peers = self.peers_now().into_iter();
        // Whom the gate waits for need not be named yet, while the authority is on its way to it.
        let waited_for = |peer: &PeerNow| peer.in_gate || grouped.membership.names(peer.member);
        let members = peers.filter(waited_for);
        let away = |peer: &PeerNow| peer.away.is_some_and(|away| away >= patience);
        let (away, here): (Vec<_>, Vec<_>) = members.partition(away);
        let stuck = here.is_empty() || !group.other_has_majority();
        grouped.switching.is_none() && !self.can_serve() && !away.is_empty() && stuck
    }

    /// An operator wants nothing answered alone any more.
    pub(crate) fn end_degraded(&mut self) {
        self.end_alone(
            "an operator ended answering alone: nothing is answered until another server has caught up",
        );
    }

    fn end_alone(&mut self, why: &'static str) {
        let was_alone = self.reign.gate.protection() == Protection::Alone;
        if let Some(grouped) = &mut self.reign.grouped {
            grouped.membership.set_degraded(None);
            grouped.ended = was_alone.then_some(why).or(grouped.ended);
        }
        if was_alone {
            self.reign.gate.set_protection(Protection::Waiting);
        }
    }

    fn end_degraded_in_time(&mut self) {
        let now_ms = crate::clock::now().get() / 1_000_000;
        let grouped = self.reign.grouped.as_ref();
        let degraded = grouped.and_then(|grouped| grouped.membership.degraded());
        if degraded.is_some_and(|degraded| degraded.until_ms <= now_ms) {
            let why = "the time for answering alone is over: nothing is answered until another server has caught up";
            tracing::warn!("{why}");
            self.end_alone(why);
        }
    }

    /// The first moment in which this reign can answer ends the time in which nobody could.
    fn note_gap(&mut self) {
        if self.reign.former_heard_ns.is_none() || !self.can_serve() {
            return;
        }
        if let Some(heard_ns) = self.reign.former_heard_ns.take() {
            self.hot.last_gap = Some(ServiceGap {
                epoch: self.reign.gate.epoch(),
                took: Duration::from_nanos(steady_ns().saturating_sub(heard_ns)),
            });
        }
    }

    fn note_presence(&mut self) {
        for peer in self.peers.indices() {
            let live =
                self.reign.sessions[peer.get()].sender.is_live() && self.peers[peer].is_connected();
            if live {
                self.reign.session(peer).present = Instant::now();
            }
        }
    }

    /// Every peer that is known by its directory.
    pub(super) fn peers_now(&self) -> Vec<PeerNow> {
        self.peers
            .indices()
            .filter_map(|peer| self.peer_now(peer))
            .collect()
    }

    /// A directory that commits wait for, that no register names, and in whose place another one
    /// answers: it was wiped before it counted.
    fn replaced_in_gate(&self, peers: &[PeerNow]) -> Option<Member> {
        let membership = &self.reign.grouped.as_ref()?.membership;
        let mut waited_for = self.reign.gate.members();
        waited_for.find(|member| {
            let known = set_member(*member);
            let another = |p: &PeerNow| p.member.node == known.node && p.member != known;
            membership.is_settled() && !membership.names(known) && peers.iter().any(another)
        })
    }

    fn peer_now(&self, peer: PeerIndex) -> Option<PeerNow> {
        let grouped = self.reign.grouped.as_ref()?;
        let node = self.peers.node(peer)?;
        let session = &self.reign.sessions[peer.get()];
        let named = || grouped.membership.others().find(|m| m.node == node);
        let member = session
            .sender
            .peer()
            .map(|(member, _)| set_member(member))
            .or_else(named)?;
        let in_gate = self.is_member(shipper_member(member));
        let live = session.sender.is_live() && self.peers[peer].is_connected();
        let tail = self.hot.store.log.tail().lsn.get();
        Some(PeerNow {
            member,
            site: self.peers.site(peer)?,
            in_gate,
            // Whom the register names has everything that was answered, whoever took it in.
            marked: in_gate
                && (grouped.membership.names(member)
                    || session
                        .through
                        .is_some_and(|through| session.status.acked_lsn >= through.get())),
            away: (!live).then(|| session.present.elapsed()),
            has_all: session.status.acked_lsn >= tail,
        })
    }

    pub(super) fn site(&self) -> kanjo_format::Site {
        self.hot.store.dir.control().site
    }
}

const fn shipper_member(member: SetMember) -> Member {
    Member {
        node: member.node,
        incarnation: member.incarnation,
    }
}
