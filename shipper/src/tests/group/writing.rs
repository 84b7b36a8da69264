//! A reign: its batches, its sessions, what is committed.

use std::collections::VecDeque;

use kanjo_format::record::Protection;
use kanjo_format::replication::RefusalCode;
use kanjo_format::{Epoch, Lsn, Tail};

use super::super::log::{SET_CHANGE, START_ALONE, START_OTHER, WRITE};
use super::net::TO_LISTENER;
use super::node::{Mode, NODES, Reign, Session};
use super::sim::{PING_NS, SILENT_NS, Sim};
use crate::group_opening::OpenedGroup;
use crate::sender::{Action, CloseReason, Event, SenderStart};
use crate::{CommitGate, Member, Sender};

impl Sim {
    pub(super) fn opened(&mut self, i: usize, opened: OpenedGroup) {
        let open = opened.open;
        let (set, turn) = match &mut self.nodes[i].mode {
            Mode::Opening(run) => (std::mem::take(&mut run.set), run.turn),
            _ => unreachable!("an opening opened"),
        };
        self.check_opened(i, &open, &set);
        self.hang_up_all(i);
        let protection = self.protection_at_opening(i, &set, open.protection);
        if std::mem::take(&mut self.nodes[i].control.uncertain) {
            // A receiver keeps what it began with: it is told by being made anew.
            self.cut_off(i);
            self.nodes[i].recover();
        }
        let node = &mut self.nodes[i];
        node.lost = false;
        let confirmed = node.log.local(node.control.confirmed).confirmed;
        let mut gate = CommitGate::new(open.epoch, open.base, confirmed, Protection::Waiting);
        for member in &open.members {
            gate.add_member(*member, Lsn::ZERO);
        }
        gate.set_protection(protection);
        let alone = protection == Protection::Alone;
        self.tally.alone += u64::from(alone);
        let kind = if alone { START_ALONE } else { START_OTHER };
        let tail = node.log.write(open.epoch, confirmed, vec![kind]);
        gate.appended(tail);
        let synced = node.log.synced;
        let durable = node.log.durable().lsn;
        node.log.sync();
        let log = node.log.local(confirmed);
        node.log.synced = synced;
        let start = SenderStart {
            identity: node.identity(),
            epoch: open.epoch,
            opening: open.opening,
            log,
            durable,
            members: open.members,
            ping_every_ns: PING_NS,
            silent_after_ns: SILENT_NS,
        };
        let session = |peer| {
            (peer != i).then(|| Session {
                sender: Sender::new(start.clone()),
                acked: Lsn::ZERO,
                caught_up: false,
                through: None,
            })
        };
        node.mode = Mode::Primary(Box::new(Reign {
            opening: open.opening,
            gate,
            sessions: (0..NODES).map(session).collect(),
            set,
            turn,
            asked: None,
            superseded: false,
            goes_alone: false,
            reads: VecDeque::new(),
            counted: 0,
        }));
        for peer in (0..NODES).filter(|peer| *peer != i) {
            self.nodes[i].dialled[peer].wanted = true;
        }
    }

    pub(super) fn append(&mut self, i: usize, payload: Vec<u8>) {
        let node = &mut self.nodes[i];
        let Mode::Primary(reign) = &mut node.mode else {
            return;
        };
        let (epoch, confirmed) = (reign.gate.epoch(), reign.gate.committed());
        let tail = node.log.write(epoch, confirmed, payload);
        reign.gate.appended(tail);
        for peer in 0..NODES {
            self.sender(i, peer, Event::Appended { tail });
        }
    }

    pub(super) fn write(&mut self, i: usize) {
        let open = self.nodes[i].reign().is_some_and(|r| r.gate.is_open());
        if open {
            let value = self.below(256) as u8;
            self.append(i, vec![WRITE, value]);
        }
    }

    pub(super) fn sync_primary(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if let Mode::Primary(reign) = &mut node.mode {
            node.log.sync();
            let lsn = node.log.tail().lsn;
            let moved = reign.gate.synced(lsn);
            self.moved(i, moved);
            for peer in 0..NODES {
                self.sender(i, peer, Event::Synced { lsn });
            }
        }
    }

    pub(super) fn read(&mut self, i: usize) {
        let epoch = self.committed_epoch;
        if let Some(reign) = self.nodes[i].reign() {
            let token = reign.gate.read_arrived();
            reign.reads.push_back((token, epoch));
            for peer in 0..NODES {
                self.sender(i, peer, Event::ReadCheck { token });
            }
        }
        self.answer_reads(i);
    }

    fn answer_reads(&mut self, i: usize) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        let mut answered = 0;
        while let Some((token, epoch)) = reign.reads.front().copied() {
            if token > reign.gate.readable() {
                break;
            }
            assert!(
                reign.gate.epoch() >= epoch,
                "a read was answered by a primary that had been replaced before it arrived"
            );
            reign.reads.pop_front();
            answered += 1;
        }
        self.tally.reads += answered;
    }

    pub(super) fn moved(&mut self, i: usize, moved: Option<Lsn>) {
        let Some(lsn) = moved else {
            return;
        };
        self.check_committed(i, lsn);
        if self.below(3) == 0 {
            self.nodes[i].control.confirmed = lsn;
        }
        let digest = None;
        for peer in 0..NODES {
            self.sender(i, peer, Event::Committed { lsn, digest });
        }
        self.answer_reads(i);
    }

    pub(super) fn tick_sessions(&mut self, i: usize) {
        let now_ns = self.now_ns;
        for peer in 0..NODES {
            self.sender(i, peer, Event::Tick { now_ns });
        }
    }

    pub(super) fn sender(&mut self, i: usize, peer: usize, event: Event<'_>) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        let Some(session) = &mut reign.sessions[peer] else {
            return;
        };
        if matches!(event, Event::Connected { .. } | Event::Closed) {
            session.caught_up = false;
        }
        let mut actions = Vec::new();
        session.sender.step(event, &mut actions);
        let epoch = reign.gate.epoch();
        for action in actions {
            // What came before may have ended the reign.
            if self.nodes[i]
                .reign()
                .is_some_and(|r| r.gate.epoch() == epoch)
            {
                self.sender_action(i, peer, epoch, action);
            }
        }
    }

    fn sender_action(&mut self, i: usize, peer: usize, epoch: Epoch, action: Action) {
        let node = &mut self.nodes[i];
        let Mode::Primary(reign) = &mut node.mode else {
            return;
        };
        let Some(session) = &mut reign.sessions[peer] else {
            return;
        };
        match action {
            Action::Send(frame) => {
                let id = node.dialled[peer].connection;
                self.push(id, TO_LISTENER, &frame);
            }
            Action::CheckPlace { tail } => {
                let holds = node.log.holds(tail);
                self.sender(i, peer, Event::PlaceChecked { holds });
            }
            Action::SendBatches { from, bytes_max } => {
                let (id, count) = (node.dialled[peer].connection, 1 + self.below(4) as usize);
                let sent = self.send_log(i, id, TO_LISTENER, epoch, (from, bytes_max), count);
                for tail in sent {
                    self.sender(i, peer, Event::Sent { tail });
                }
                self.sender(i, peer, Event::SendDone);
            }
            Action::Acked { member, tail } => {
                session.acked = tail.lsn;
                let moved = reign.gate.acked(member, epoch, tail).expect("checked acks");
                self.check_acked(peer, member, tail);
                self.moved(i, moved);
            }
            Action::CaughtUp { .. } => session.caught_up = true,
            Action::ReadOk { member, token } => {
                reign.gate.read_ok(member, epoch, token);
                self.answer_reads(i);
            }
            Action::Fenced { epoch } => self.step_down(i, epoch),
            Action::Close(why) => self.closed_for(i, peer, why),
            Action::SendChunk { .. } => panic!("no file was offered"),
            Action::InSync { .. }
            | Action::MarkCleared { .. }
            | Action::PeerApplied { .. }
            | Action::PeerStatus { .. } => {}
        }
    }

    fn closed_for(&mut self, i: usize, peer: usize, why: CloseReason) {
        let diverged = matches!(why, CloseReason::Diverged { .. });
        assert!(!diverged || self.has_lost(), "{why}");
        if let CloseReason::Refused { code, .. } = &why
            && *code == RefusalCode::History
        {
            self.refused = Some(why.to_string());
        }
        if let CloseReason::OlderThanItWas { member, .. } = &why {
            // As its words say: it counts as wiped, and an operator formats it anew.
            self.older.push(*member);
        }
        self.redial(i, peer);
    }

    /// From a replica or a primary: lets every commit wait for it, and says so in the log.
    pub(super) fn take_in(&mut self, i: usize, peer: usize) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        let Some(session) = &reign.sessions[peer] else {
            return;
        };
        let Some((member, _)) = session.sender.peer() else {
            return;
        };
        if !session.caught_up || reign.gate.members().any(|m| m == member) {
            return;
        }
        reign.gate.add_member(member, session.acked);
        self.append(i, vec![SET_CHANGE]);
        let through = self.nodes[i].log.tail().lsn;
        let session = self.nodes[i]
            .reign()
            .and_then(|r| r.sessions[peer].as_mut());
        if let Some(session) = session {
            session.through = Some((member, through));
        }
        self.sender(i, peer, Event::Joined { through });
    }

    /// No register names it: commits no longer wait for it.
    pub(super) fn drop_from_gate(&mut self, i: usize, member: Member) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        for session in reign.sessions.iter_mut().flatten() {
            session.through = session.through.filter(|(m, _)| *m != member);
        }
        let moved = reign.gate.remove_member(member);
        self.moved(i, moved);
        for peer in 0..NODES {
            self.sender(i, peer, Event::Dropped { member });
        }
        self.append(i, vec![SET_CHANGE]);
    }

    /// Fenced: drops its memory and is a replica.
    pub(super) fn step_down(&mut self, i: usize, epoch: Epoch) {
        self.hang_up_all(i);
        let node = &mut self.nodes[i];
        let known = &mut node.control.peer_granted_epoch;
        *known = (*known).max(epoch);
        node.control.role = kanjo_format::control::Role::Replica;
        node.control.in_sync = false;
        node.log.sync();
        node.mode = Mode::Replica;
        self.cut_off(i);
        self.nodes[i].recover();
    }

    pub(super) fn send_log(
        &mut self,
        i: usize,
        id: Option<u64>,
        way: usize,
        epoch: Epoch,
        (from, bytes_max): (Lsn, u64),
        count: usize,
    ) -> Vec<Tail> {
        let log = &self.nodes[i].log;
        let wanted = log.batches.iter().filter(|b| {
            let at = b.header.lsn();
            at >= from && at.since(from) < bytes_max
        });
        let wanted: Vec<_> = wanted.take(count).cloned().collect();
        for batch in &wanted {
            let mut bytes = Vec::new();
            self.packer
                .pack(epoch, &batch.header, &batch.payload, &mut bytes);
            if let Some(connection) = id.and_then(|id| self.connections.get_mut(&id)) {
                connection.to[way].push_back(bytes);
            }
        }
        wanted.iter().map(|b| b.tail).collect()
    }
}
