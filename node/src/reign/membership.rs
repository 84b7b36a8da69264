//! The in-sync set: who is taken in, whom every commit waits for, whether all of them are there.

use kanjo_format::Lsn;
use kanjo_format::control::Control;
use kanjo_format::limits::SET_MEMBERS_MAX;
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_shipper::Member;
use kanjo_shipper::sender::{Action, Event};

use super::{Grouped, Primary, Reign};
use crate::error::NodeError;
use crate::peers::PeerIndex;
use crate::promotion;

impl Primary<'_> {
    /// Whether every commit waits for it.
    pub(super) fn is_member(&self, member: Member) -> bool {
        self.reign.gate.members().any(|m| m == member)
    }

    pub(super) fn caught_up(
        &mut self,
        peer: PeerIndex,
        member: Member,
        acked: Lsn,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        // Kept also of a member: it may be dropped while this session goes on, by an answer of the
        // register that was long on its way.
        self.reign.session(peer).caught_up = self.reign.grouped.is_some();
        if self.is_member(member) {
            return Ok(());
        }
        let has_room = self.reign.gate.members().count() < SET_MEMBERS_MAX;
        if self.reign.grouped.is_some() && !(has_room && self.takes_in(peer, member)) {
            // The standby of this site follows, and nobody waits for it as long as there is an
            // auxiliary site.
            return Ok(());
        }
        if !has_room || !self.takes_in(peer, member) {
            tracing::warn!(
                node = %member.node,
                "another directory follows than the one that commits wait for; to take it in its place, let this primary go on alone first"
            );
            return Ok(());
        }
        let through = self.take_in(member, acked)?;
        let session = self.reign.session(peer);
        session.through = Some(through);
        session.sender.step(Event::Joined { through }, more);
        Ok(())
    }

    /// In a group: takes in who caught up earlier, when there was no room for it or no need, or
    /// when it was a member still.
    pub(super) fn take_in_late(&mut self) -> Result<(), NodeError> {
        for peer in self.peers.indices() {
            let session = &self.reign.sessions[peer.get()];
            // ORDER: a mark that is being cleared is gone before it is asked for anew.
            let sender = &session.sender;
            let waits = session.caught_up && sender.is_live() && !sender.is_clearing();
            let Some((member, _)) = session.sender.peer().filter(|_| waits) else {
                continue;
            };
            let has_room = self.reign.gate.members().count() < SET_MEMBERS_MAX;
            if self.is_member(member) || !has_room || !self.takes_in(peer, member) {
                continue;
            }
            let acked = Lsn::new(session.status.acked_lsn);
            let through = self.take_in(member, acked)?;
            self.reign.session(peer).through = Some(through);
            self.send_event(peer, Event::Joined { through })?;
        }
        Ok(())
    }

    /// Whether a peer that has caught up becomes a member of the set: in a pair there is one.
    fn takes_in(&self, peer: PeerIndex, _member: Member) -> bool {
        match (&self.reign.grouped, self.peers.site(peer)) {
            (Some(grouped), Some(site)) => grouped.takes_in(site),
            _ => self.reign.gate.members().next().is_none(),
        }
    }

    /// From now on every commit waits for this replica, which has everything: the log and the
    /// control file say so before its durable mark is asked for. Gives the end of that record.
    pub(super) fn take_in(&mut self, member: Member, acked: Lsn) -> Result<Lsn, NodeError> {
        self.reign.gate.add_member(member, acked);
        self.write_set(Protection::Protected)
    }

    /// No commit waits for this member any more. Whoever calls this has had the register that holds
    /// the set drop it first: without that, an answered transfer may be missing in the next epoch.
    pub(crate) fn drop_member(&mut self, member: Member) -> Result<(), NodeError> {
        if !self.is_member(member) {
            return Ok(());
        }
        if self.reign.gate.remove_member(member).is_some() {
            self.commit_moved();
        }
        for session in &mut self.reign.sessions {
            session.live.take_if(|live| *live == member);
        }
        self.write_set(self.reign.gate.protection())?;
        self.send_event_to_all(Event::Dropped { member })
    }

    /// Writes the set as the gate has it: into the log, then into the control file. Gives the end
    /// of the record.
    fn write_set(&mut self, protection: Protection) -> Result<Lsn, NodeError> {
        let store = &mut self.hot.store;
        let mut row = ReignRow::new(self.reign.opening, store.log.tail(), protection);
        for member in self.reign.gate.members() {
            row = row.with_member(member.node, member.incarnation);
        }
        let (epoch, committed) = (self.reign.gate.epoch(), self.reign.gate.committed());
        let now = self.reign.clock.next()?;
        let header =
            promotion::write_reign(store, epoch, committed, RecordKind::SetChange, row, now)?;
        self.reign.last.payload.clear();
        self.note_appended(&header)?;
        self.hot.note_spell(None);
        let first = self.reign.gate.members().next();
        let store = &self.hot.store;
        store.dir.promise(|control: &mut Control| {
            control.protection = protection;
            control.member = first.map(|m| (m.node, m.incarnation));
        })?;
        Ok(store.log.tail().lsn)
    }

    /// The replica carries the durable mark: it belongs to the in-sync set.
    pub(super) fn joined(&mut self, peer: PeerIndex, member: Member) {
        if !self.is_member(member) {
            // Dropped while its answer was on the way.
            return;
        }
        self.reign.session(peer).live = Some(member);
        let was = self.reign.gate.protection();
        if was == Protection::Protected || self.reign.grouped.is_some() {
            // In a group the register says who counts.
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

    /// Whether a transfer that comes now can be answered.
    pub(crate) fn can_serve(&self) -> bool {
        let gate = &self.reign.gate;
        let grouped = self.reign.grouped.as_ref();
        gate.is_open()
            && grouped.is_none_or(Grouped::may_serve)
            && match gate.protection() {
                Protection::Waiting => false,
                // A replica that is being taken in is waited for already.
                Protection::Alone => self.reign.waits_for_nobody() || self.streams_to_members(),
                Protection::Protected => self.streams_to_members(),
            }
    }

    /// Whether every member of the set is connected and takes batches, and there is one.
    fn streams_to_members(&self) -> bool {
        let mut members = self.reign.gate.members().peekable();
        members.peek().is_some() && members.all(|member| self.streams_to(member))
    }

    pub(super) fn streams_to(&self, member: Member) -> bool {
        self.peers.indices().any(|peer| {
            let session = &self.reign.sessions[peer.get()];
            session.live == Some(member)
                && session.sender.is_live()
                && self.peers[peer].is_connected()
        })
    }
}

impl Reign {
    /// Whether it serves alone and no replica is being taken in.
    pub(crate) fn waits_for_nobody(&self) -> bool {
        self.gate.protection() == Protection::Alone && self.gate.members().next().is_none()
    }
}
