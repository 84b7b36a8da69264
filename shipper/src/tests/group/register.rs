//! A small model of the register that holds the authority, and of the way to it: questions and
//! answers are lost, and a question that got no answer may be carried out much later.

use kanjo_format::{Epoch, OpeningId, Site};

use super::node::site_of;
use crate::Member;

/// The record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) epoch: Epoch,
    pub(super) opening: OpeningId,
    pub(super) set: Vec<Member>,
    /// The turn of the last set change of this reign.
    pub(super) turn: u64,
    pub(super) active: Site,
}

/// What a register is asked.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Claim {
        expected: Epoch,
        epoch: Epoch,
        opening: OpeningId,
    },
    ChangeSet {
        epoch: Epoch,
        opening: OpeningId,
        turn: u64,
        expected: Vec<Member>,
        set: Vec<Member>,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Opening(u64),
    Reign(Epoch),
}

pub(super) enum Reply {
    Done(Record),
    Refused(Record),
    Unknown,
}

pub(super) struct Question {
    pub(super) node: usize,
    pub(super) asker: Asker,
    pub(super) command: Command,
    /// Nobody waits for the answer any more.
    pub(super) stray: bool,
}

pub(super) struct Register {
    pub(super) record: Record,
    pub(super) questions: Vec<Question>,
    pub(super) replies: Vec<(usize, Asker, Reply)>,
    /// What was read at some time: epoch, active site.
    pub(super) past: Vec<(Epoch, Site)>,
    /// Set changes are not numbered, so one that comes late may fit again.
    pub(super) forgets_turns: bool,
}

impl Register {
    pub(super) fn new() -> Self {
        Self {
            record: Record {
                epoch: Epoch::NONE,
                opening: OpeningId::default(),
                set: Vec::new(),
                turn: 0,
                active: Site::One,
            },
            questions: Vec::new(),
            replies: Vec::new(),
            past: vec![(Epoch::NONE, Site::One)],
            forgets_turns: false,
        }
    }

    /// Applies a command; the same one twice changes nothing the second time.
    pub(super) fn apply(&mut self, command: &Command) -> Reply {
        let done = match command {
            Command::Claim {
                expected,
                epoch,
                opening,
            } => self.claim(*expected, *epoch, *opening),
            Command::ChangeSet {
                epoch,
                opening,
                turn,
                expected,
                set,
            } => self.change((*epoch, *opening), *turn, expected, set),
        };
        match done {
            true => Reply::Done(self.record.clone()),
            false => Reply::Refused(self.record.clone()),
        }
    }

    fn claim(&mut self, expected: Epoch, epoch: Epoch, opening: OpeningId) -> bool {
        let record = &mut self.record;
        if (record.epoch, record.opening) == (epoch, opening) {
            return true;
        }
        if record.epoch != expected || epoch <= record.epoch {
            return false;
        }
        record.epoch = epoch;
        record.opening = opening;
        record.turn = 0;
        let site_one = epoch.may_be_opened_by(Site::One);
        record.active = if site_one { Site::One } else { Site::Two };
        assert_eq!(record.active, site_of(opening.node.get() as usize - 1));
        self.past.push((record.epoch, record.active));
        true
    }

    fn change(
        &mut self,
        writer: (Epoch, OpeningId),
        turn: u64,
        expected: &[Member],
        set: &[Member],
    ) -> bool {
        let record = &mut self.record;
        if writer != (record.epoch, record.opening) || set.is_empty() {
            return false;
        }
        if record.set == set && (self.forgets_turns || turn == record.turn) {
            return true;
        }
        if record.set != expected || (!self.forgets_turns && turn <= record.turn) {
            return false;
        }
        record.set = set.to_vec();
        record.turn = turn;
        true
    }
}
