//! Carries out what an opening asks for.

use kanjo_format::control::Role;
use kanjo_format::record::Protection;
use kanjo_format::{Epoch, NodeId, OpeningId};

use super::net::TO_LISTENER;
use super::node::{Mode, Run, site_of};
use super::register::{Asker, Command, Reply};
use super::sim::{Fault, PATIENCE_NS, Sim};
use crate::group_opening::{Action, Event, GroupOpening, GroupOpeningStart, StopReason};
use crate::receiver;

/// After an attempt that ended without an epoch.
const REST_STEPS: u64 = 40;

pub(super) fn index(node: NodeId) -> usize {
    node.get() as usize - 1
}

impl Sim {
    /// Whether it is this server's turn to process; sometimes it only believes so.
    pub(super) fn consider_opening(&mut self, i: usize) {
        let node = &self.nodes[i];
        let idle = match &node.mode {
            Mode::Replica => true,
            // Whoever claimed a higher epoch went no further: this one's set is frozen.
            Mode::Primary(reign) => reign.superseded,
            Mode::Down | Mode::Opening(_) => false,
        };
        if !idle || self.step < node.rests_until {
            return;
        }
        let chosen = self.nominee[usize::from(site_of(i).number()) - 1] == i;
        let active = self.register.record.active == site_of(i);
        let believes = self.faults && self.below(60) == 0;
        if (chosen && active) || believes {
            self.open(i);
        }
    }

    /// An operator says that the active site is lost.
    pub(super) fn fail_over(&mut self, i: usize) {
        let other_active = self.register.record.active != site_of(i);
        let chosen = self.nominee.contains(&i) && other_active;
        if chosen && matches!(self.nodes[i].mode, Mode::Replica) {
            self.tally.failovers += 1;
            self.open(i);
        }
    }

    pub(super) fn open(&mut self, i: usize) {
        self.hang_up_all(i);
        let mut read = (self.register.record.epoch, self.register.record.active);
        if self.faults && self.below(10) == 0 {
            let at = self.below(self.register.past.len() as u64) as usize;
            read = self.register.past[at];
        }
        let random = u128::from(self.below(u64::MAX));
        self.runs += 1;
        let node = &mut self.nodes[i];
        node.log.sync();
        let takes_over = !read.0.may_be_opened_by(site_of(i)) && read.0 != Epoch::NONE;
        let mut opening = GroupOpening::new(GroupOpeningStart {
            control: node.control,
            log: node.log.local(node.control.confirmed),
            client_address: String::new(),
            random,
            register_epoch: read.0,
            takes_over,
            seal_patience_ns: PATIENCE_NS,
            now_ns: self.now_ns,
        });
        if let Some(Fault::Opening(mistake)) = self.planted {
            opening.plant(mistake);
        }
        let mut actions = Vec::new();
        opening.start(&mut actions);
        node.mode = Mode::Opening(Box::new(Run {
            opening,
            number: self.runs,
            read: read.0,
            active: read.1,
            set: Vec::new(),
            asked: Vec::new(),
            turn: 0,
        }));
        self.opening_actions(i, actions);
    }

    pub(super) fn opening(&mut self, i: usize, event: Event<'_>) {
        let Mode::Opening(run) = &mut self.nodes[i].mode else {
            return;
        };
        let mut actions = Vec::new();
        run.opening.step(event, &mut actions);
        self.opening_actions(i, actions);
    }

    fn opening_actions(&mut self, i: usize, actions: Vec<Action>) {
        for action in actions {
            self.opening_action(i, action);
        }
    }

    fn opening_action(&mut self, i: usize, action: Action) {
        let node = &mut self.nodes[i];
        let Mode::Opening(run) = &mut node.mode else {
            return;
        };
        match action {
            Action::Promise { epoch, opening } => self.promise(i, epoch, opening),
            Action::Claim { epoch, opening } => {
                let expected = run.read;
                let asker = Asker::Opening(run.number);
                let command = Command::Claim {
                    expected,
                    epoch,
                    opening,
                };
                self.ask(i, asker, command);
            }
            Action::ChangeSet {
                epoch,
                opening,
                set,
            } => {
                // The same question again is the same turn.
                run.turn += u64::from(run.asked != set);
                run.asked.clone_from(&set);
                let asker = Asker::Opening(run.number);
                let (expected, turn) = (run.set.clone(), run.turn);
                let command = Command::ChangeSet {
                    epoch,
                    opening,
                    turn,
                    expected,
                    set,
                };
                self.ask(i, asker, command);
            }
            Action::Wait { .. } => self.tally.waits += 1,
            Action::Open(opened) => self.opened(i, opened),
            Action::Fenced { epoch } => {
                let known = &mut node.control.peer_granted_epoch;
                *known = (*known).max(epoch);
                self.leave_opening(i);
            }
            Action::Stop(why) => {
                use StopReason as Why;
                let expected = matches!(
                    why,
                    Why::NotChosen(_) | Why::Outrun(_) | Why::Uncertain | Why::MemberOlder { .. }
                );
                assert!(expected || self.has_lost(), "node {i}: {why}");
                self.tally.stops += u64::from(!matches!(why, Why::NotChosen(_)));
                self.leave_opening(i);
            }
            local => self.opening_work(i, local),
        }
    }

    fn promise(&mut self, i: usize, epoch: Epoch, opening: OpeningId) {
        let node = &mut self.nodes[i];
        let mut actions = Vec::new();
        let granted = node
            .receiver
            .grant_here(epoch, opening, false, &mut actions);
        if granted.is_err() {
            return self.leave_opening(i);
        }
        node.control.granted_epoch = epoch;
        node.control.granted_opening = opening;
        node.control.role = Role::Primary;
        node.control.in_sync = false;
        node.log.sync();
        let tail = node.log.tail();
        self.receiver_actions(i, actions);
        self.opening(i, Event::Promised { tail });
    }

    /// What concerns connections and the own log.
    fn opening_work(&mut self, i: usize, action: Action) {
        let node = &mut self.nodes[i];
        match action {
            Action::Dial { node } => self.redial(i, index(node)),
            Action::Send { node: to, frame } => {
                let id = node.dialled[index(to)].connection;
                self.push(id, TO_LISTENER, &frame);
            }
            Action::CheckChain { lsn } => {
                let chain = node.log.chain_at(lsn);
                self.opening(i, Event::ChainAt { chain });
            }
            Action::Cut { to } => {
                self.check_cut(i, to);
                let node = &mut self.nodes[i];
                assert_eq!(
                    node.log.synced,
                    node.log.batches.len(),
                    "cut in what is not synced"
                );
                let done = node.log.cut(to);
                let log = node.log.local(node.control.confirmed);
                let log = done.then_some(&log);
                self.opening(i, Event::Cut { log });
            }
            Action::Append { header, payload } => {
                self.tally.fetched += 1;
                let tail = node.log.append(*header, payload);
                self.opening(i, Event::Appended { tail });
            }
            Action::Sync => {
                node.log.sync();
                self.opening(i, Event::Synced);
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Back to a replica that may be granted away.
    fn leave_opening(&mut self, i: usize) {
        self.hang_up_all(i);
        let rests_until = self.step + REST_STEPS;
        let node = &mut self.nodes[i];
        node.rests_until = rests_until;
        node.mode = Mode::Replica;
        node.control.role = Role::Replica;
        node.log.sync();
        let log = node.log.local(node.control.confirmed);
        self.receiver(i, receiver::Event::LogMoved { log: &log });
    }

    pub(super) fn ask(&mut self, node: usize, asker: Asker, command: Command) {
        self.register.questions.push(super::register::Question {
            node,
            asker,
            command,
            stray: false,
        });
    }

    /// The register answered an opening.
    pub(super) fn opening_replied(&mut self, i: usize, number: u64, reply: Reply) {
        let Mode::Opening(run) = &mut self.nodes[i].mode else {
            return;
        };
        if run.number != number {
            return;
        }
        let claims = !run.opening.is_claimed();
        let event = match reply {
            Reply::Done(record) if claims => {
                run.set.clone_from(&record.set);
                let former = run.read;
                let set = record.set;
                Event::Claimed { set, former }
            }
            Reply::Done(record) => {
                run.set = record.set;
                Event::SetChanged
            }
            Reply::Refused(record) if claims && record.active == run.active => {
                run.read = record.epoch;
                let highest = record.epoch;
                Event::ClaimRefused { highest }
            }
            Reply::Refused(record) if claims => {
                let why = format!("site {} is active", record.active);
                Event::ClaimLost { why }
            }
            Reply::Refused(record) => {
                let highest = record.epoch;
                Event::SetRefused { highest }
            }
            Reply::Unknown if claims => Event::ClaimUnknown,
            Reply::Unknown => Event::SetUnknown,
        };
        self.opening(i, event);
    }

    /// Which protection a reign begins with: alone only by a word, and only in a set of its own.
    pub(super) fn protection_at_opening(
        &mut self,
        i: usize,
        set: &[crate::Member],
        otherwise: Protection,
    ) -> Protection {
        let alone = std::mem::take(&mut self.nodes[i].alone_word);
        match alone && set == [self.nodes[i].member()] {
            true => Protection::Alone,
            false => otherwise,
        }
    }
}
