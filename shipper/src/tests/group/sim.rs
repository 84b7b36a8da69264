//! Four servers, the register, what befalls them, and what is done about it.

use std::collections::{BTreeMap, VecDeque};

use kanjo_format::{Chain, Epoch, Lsn};

use super::checks::Opened;
use super::net::Connection;
use super::node::{Mode, NODES, Node, site_of};
use super::register::{Asker, Register, Reply};
use super::tally::Tally;
use crate::group_opening::{self, Mistake};
use crate::{Member, Packer};

const STEP_NS: u64 = 10_000_000;
pub(super) const PATIENCE_NS: u64 = 100 * STEP_NS;
pub(super) const PING_NS: u64 = 100 * STEP_NS;
pub(super) const SILENT_NS: u64 = 600 * STEP_NS;
const STEPS: u64 = 6_000;
/// Without faults, commits go on within so many steps.
const HEAL_STEPS: u64 = 20_000;

/// A mistake that a test makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// In the opening.
    Opening(Mistake),
    /// A member is dropped from the gate before the register has dropped it.
    GateBeforeRegister,
    /// Set changes are told apart by what they expect, not by a number.
    UnnumberedChanges,
}

pub(super) struct Sim {
    random: u64,
    pub(super) step: u64,
    pub(super) now_ns: u64,
    pub(super) nodes: [Node; NODES],
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) next_connection: u64,
    /// Ways on which nothing arrives for now: from, to.
    pub(super) blocked: [[bool; NODES]; NODES],
    pub(super) old_frames: VecDeque<(usize, usize, usize, Vec<u8>)>,
    pub(super) packer: Packer,
    pub(super) register: Register,
    /// Whom each site's majority lets process.
    pub(super) nominee: [usize; 2],
    pub(super) runs: u64,
    /// Every batch end that was ever committed, and the epoch of the writer that did so first.
    pub(super) committed: BTreeMap<Lsn, (Chain, Epoch)>,
    pub(super) committed_epoch: Epoch,
    pub(super) opened: Vec<Opened>,
    pub(super) tally: Tally,
    pub(super) faults: bool,
    pub(super) planted: Option<Fault>,
    /// Members that a writer found to be older than they were, or whose end nobody vouches for:
    /// they are formatted anew.
    pub(super) older: Vec<Member>,
    /// A refusal that no retry mends.
    pub(super) refused: Option<String>,
}

impl Sim {
    pub(super) fn new(seed: u64, planted: Option<Fault>) -> Self {
        let mut register = Register::new();
        register.forgets_turns = planted == Some(Fault::UnnumberedChanges);
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            step: 0,
            now_ns: 0,
            nodes: std::array::from_fn(Node::new),
            connections: BTreeMap::new(),
            next_connection: 1,
            blocked: [[false; NODES]; NODES],
            old_frames: VecDeque::new(),
            packer: Packer::new(),
            register,
            nominee: [0, 2],
            runs: 0,
            committed: BTreeMap::new(),
            committed_epoch: Epoch::NONE,
            opened: Vec::new(),
            tally: Tally::default(),
            faults: true,
            planted,
            older: Vec::new(),
            refused: None,
        }
    }

    pub(super) fn run(mut self) -> Tally {
        for i in 0..NODES {
            self.start(i);
        }
        for _ in 0..STEPS {
            self.random_step();
        }
        self.heal();
        self.tally.last = self.random;
        self.tally
    }

    /// Without faults, commits go on within a bound.
    fn heal(&mut self) {
        self.faults = false;
        self.blocked = [[false; NODES]; NODES];
        self.nominee = [0, 2];
        for i in 0..NODES {
            self.nodes[i].paused = false;
        }
        let broken = self.connections.iter().filter(|(_, c)| c.broken);
        for id in broken.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.cut(id, [true, true]);
        }
        let (before, began) = (self.tally.commits, self.step);
        while self.step < began + HEAL_STEPS {
            self.random_step();
            if self.step.is_multiple_of(50) {
                (0..NODES).for_each(|i| self.mend(i));
            }
            assert!(self.refused.is_none(), "{:?}", self.refused);
            let serves = |n: &mut Node| n.reign().is_some_and(|r| r.gate.is_open());
            let serving = self
                .nodes
                .iter_mut()
                .filter_map(|n| serves(n).then_some(()));
            if serving.count() == 1 && self.tally.commits > before + 5 {
                self.tally.heal_steps = self.step - began;
                return;
            }
        }
        self.describe();
        panic!("commits do not go on after the faults were healed");
    }

    /// What an operator does: starts what is down, vouches for an end that he knows to be whole,
    /// formats anew what lost what it had.
    fn mend(&mut self, i: usize) {
        let member = self.nodes[i].member();
        let is_lost = self.nodes[i].lost || self.older.contains(&member);
        let others = self.holders().into_iter().filter(|other| *other != i);
        if is_lost && others.count() > 0 {
            self.stop(i);
            self.wipe(i);
        } else if self.may_vouch(i) && !matches!(self.nodes[i].mode, Mode::Primary(_)) {
            self.stop(i);
            self.nodes[i].log.sync();
            self.nodes[i].control.uncertain = false;
        }
        if !self.nodes[i].is_up() {
            self.start(i);
        }
    }

    fn describe(&self) {
        eprintln!("{:?} nominees {:?}", self.register.record, self.nominee);
        for node in &self.nodes {
            let mode = match &node.mode {
                Mode::Down => "down".to_owned(),
                Mode::Replica => "replica".to_owned(),
                Mode::Opening(_) => "opening".to_owned(),
                Mode::Primary(reign) => format!(
                    "primary {} {:?} members {:?} set {:?} asked {:?} superseded {}",
                    reign.gate.epoch(),
                    reign.gate.protection(),
                    reign.gate.members().collect::<Vec<_>>(),
                    reign.set,
                    reign.asked,
                    reign.superseded
                ),
            };
            eprintln!(
                "node {} {mode}: granted {} uncertain {} lost {} {}",
                node.control.node,
                node.control.granted_epoch,
                node.control.uncertain,
                node.lost,
                node.log.tail()
            );
        }
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn random_step(&mut self) {
        self.step += 1;
        self.now_ns += STEP_NS;
        let i = self.below(NODES as u64) as usize;
        let what = self.below(1000);
        match what {
            0..450 => return self.deliver(),
            450..530 => return self.ask_register(),
            _ => {}
        }
        if self.nodes[i].is_awake() {
            match what {
                530..620 => self.write(i),
                620..690 => self.sync_primary(i),
                690..760 => self.sync_replica(i),
                760..860 => self.dial(i),
                860..900 => self.tick(i),
                900..940 => self.consider_opening(i),
                940..970 => self.tend_set(i),
                970..990 => self.read(i),
                _ if self.faults => self.befall(i),
                _ => {}
            }
        } else if self.nodes[i].paused {
            self.nodes[i].paused = self.below(40) != 0;
        } else if self.below(15) == 0 {
            self.start(i);
        }
    }

    /// Something bad.
    fn befall(&mut self, i: usize) {
        match self.below(30) {
            0..10 => {
                let tell = [self.below(4) != 0, self.below(4) != 0];
                let id = self.random_connection();
                id.into_iter().for_each(|id| self.cut(id, tell));
            }
            10..15 => {
                let to = self.below(NODES as u64) as usize;
                self.blocked[i][to] = !self.blocked[i][to];
            }
            15..19 => self.blocked = [[false; NODES]; NODES],
            19..22 => self.crash(i),
            22 => self.nodes[i].paused = true,
            23..25 => self.nominee[usize::from(site_of(i).number()) - 1] = i,
            25 | 29 => self.fail_over(i),
            26 => self.degrade(i),
            27 if self.below(3) == 0 => self.isolate(i),
            28 if self.below(2) == 0 => self.lose_directory(i),
            _ => {}
        }
    }

    /// A whole site, or one server, is cut off from all others.
    fn isolate(&mut self, i: usize) {
        let whole_site = self.below(2) == 0;
        let inside = |n: usize| n == i || (whole_site && site_of(n) == site_of(i));
        for from in 0..NODES {
            for to in 0..NODES {
                self.blocked[from][to] |= inside(from) != inside(to);
            }
        }
    }

    fn tick(&mut self, i: usize) {
        let now_ns = self.now_ns;
        match self.nodes[i].mode {
            Mode::Opening(_) => self.opening(i, group_opening::Event::Tick { now_ns }),
            Mode::Primary(_) => self.tick_sessions(i),
            _ => {}
        }
    }

    /// Asks a question, or hears an answer.
    fn ask_register(&mut self) {
        if self.below(2) == 0 && !self.register.replies.is_empty() {
            let at = self.below(self.register.replies.len() as u64) as usize;
            if self.nodes[self.register.replies[at].0].is_awake() {
                let (node, asker, reply) = self.register.replies.swap_remove(at);
                match asker {
                    Asker::Opening(number) => self.opening_replied(node, number, reply),
                    Asker::Reign(epoch) => self.reign_replied(node, epoch, reply),
                }
            }
            return;
        }
        if self.register.questions.is_empty() {
            return;
        }
        let at = self.below(self.register.questions.len() as u64) as usize;
        let fault = if self.faults { self.below(10) } else { 9 };
        let question = &mut self.register.questions[at];
        if question.stray {
            if fault == 9 {
                let question = self.register.questions.swap_remove(at);
                self.register.apply(&question.command);
                self.check_set();
            }
            return;
        }
        if fault == 0 {
            // It gets there, but much later.
            question.stray = true;
            let to = (question.node, question.asker, Reply::Unknown);
            return self.register.replies.push(to);
        }
        let question = self.register.questions.swap_remove(at);
        let reply = match fault {
            1 => Reply::Unknown,
            2 => {
                self.register.apply(&question.command);
                Reply::Unknown
            }
            _ => self.register.apply(&question.command),
        };
        let to = (question.node, question.asker, reply);
        self.register.replies.push(to);
        self.check_set();
    }

    /// The process ends; its connections break.
    fn stop(&mut self, i: usize) {
        self.nodes[i].mode = Mode::Down;
        self.nodes[i].paused = false;
        self.cut_off(i);
    }

    /// Power is lost: of what was not synced, some of the beginning may be there all the same.
    fn crash(&mut self, i: usize) {
        self.tally.crashes += 1;
        self.stop(i);
        let loses = self.below(6) == 0 && self.may_lose(i);
        let unsynced = self.nodes[i].log.batches.len() - self.nodes[i].log.synced;
        let extra = self.below(unsynced as u64 + 1) as usize;
        let torn = extra < unsynced && self.below(2) == 0;
        let lost = self.below(4) as usize;
        if loses && lost > 0 {
            self.forget_connections_to(i);
        }
        let node = &mut self.nodes[i];
        node.log.crash(extra);
        node.control.uncertain |= torn;
        if loses && lost > 0 {
            self.tally.lost += 1;
            let keep = node.log.batches.len().saturating_sub(lost);
            node.log.batches.truncate(keep);
            node.log.sync();
            node.control.uncertain = true;
            node.lost = true;
        }
    }

    /// Whether everything that was answered is elsewhere in the set, whatever is under way.
    fn may_lose(&self, i: usize) -> bool {
        let quiet = self.register.questions.is_empty() && self.register.replies.is_empty();
        let opening = self
            .nodes
            .iter()
            .any(|n| matches!(n.mode, Mode::Opening(_)));
        let whole = self.nodes.iter().all(|n| !n.lost && !n.control.uncertain);
        let elsewhere = self.holders().into_iter().any(|holder| holder != i);
        quiet && !opening && whole && elsewhere
    }

    fn lose_directory(&mut self, i: usize) {
        if self.may_lose(i) {
            self.stop(i);
            self.wipe(i);
        }
    }

    fn wipe(&mut self, i: usize) {
        self.tally.wiped += 1;
        // Whoever still took it for alive might drop the last one that has everything.
        self.forget_connections_to(i);
        let incarnation = u128::from(self.below(u64::MAX)) + 0x1_0000;
        self.nodes[i].wipe(incarnation);
        self.nominee = self.nominee.map(|n| if n == i { i ^ 1 } else { n });
    }

    fn start(&mut self, i: usize) {
        self.nodes[i].recover();
        self.nodes[i].mode = Mode::Replica;
        // Whoever wrote before it ended is a replica until it is chosen again.
        self.nodes[i].control.role = kanjo_format::control::Role::Replica;
    }
}
