//! One simulated server: its disk, and the machines that run on it.

use std::collections::VecDeque;

use kanjo_format::control::{Control, Role};
use kanjo_format::{Epoch, Incarnation, Lsn, NodeId, OpeningId, Site};

use super::super::log::{CLUSTER, MemoryLog, SEGMENT_BYTES};
use crate::gate::ReadToken;
use crate::receiver::ReceiverStart;
use crate::{CommitGate, GroupOpening, Identity, Member, Receiver, Sender};

/// Servers: two of each site.
pub(super) const NODES: usize = 4;

pub(super) const fn site_of(i: usize) -> Site {
    if i < 2 { Site::One } else { Site::Two }
}

pub(super) enum Mode {
    Down,
    Replica,
    Opening(Box<Run>),
    Primary(Box<Reign>),
}

/// An opening under way.
pub(super) struct Run {
    pub(super) opening: GroupOpening,
    /// Tells the register's answers to this run from those to an earlier one.
    pub(super) number: u64,
    pub(super) read: Epoch,
    pub(super) active: Site,
    /// The set as the register last said.
    pub(super) set: Vec<Member>,
    /// The set change that was asked for last, and how many there were.
    pub(super) asked: Vec<Member>,
    pub(super) turn: u64,
}

/// A reign: its gate, a session to every other server, its set.
pub(super) struct Reign {
    pub(super) opening: OpeningId,
    pub(super) gate: CommitGate,
    pub(super) sessions: Vec<Option<Session>>,
    /// The set as the register last said.
    pub(super) set: Vec<Member>,
    pub(super) turn: u64,
    /// A set change that is not answered yet.
    pub(super) asked: Option<Vec<Member>>,
    pub(super) superseded: bool,
    /// The next change of the set leaves only this node in it.
    pub(super) goes_alone: bool,
    /// Reads that wait, with the highest epoch that had committed when they arrived.
    pub(super) reads: VecDeque<(ReadToken, Epoch)>,
    /// Batches of the log that were counted as committed.
    pub(super) counted: usize,
}

pub(super) struct Session {
    pub(super) sender: Sender,
    pub(super) acked: Lsn,
    pub(super) caught_up: bool,
    /// Once it has acked this it has everything, and the register may name it.
    pub(super) through: Option<(Member, Lsn)>,
}

/// The dialled side of one peer.
#[derive(Clone, Copy, Default)]
pub(super) struct Dialled {
    pub(super) connection: Option<u64>,
    pub(super) wanted: bool,
}

pub(super) struct Node {
    pub(super) control: Control,
    pub(super) log: MemoryLog,
    pub(super) mode: Mode,
    pub(super) receiver: Receiver,
    pub(super) dialled: [Dialled; NODES],
    pub(super) sync_asked: Option<usize>,
    /// Stopped by a signal: it does nothing, and does not know.
    pub(super) paused: bool,
    /// Its disk lost what it had synced, and no writer has brought it up since.
    pub(super) lost: bool,
    /// An operator let it answer alone.
    pub(super) alone_word: bool,
    /// It opens nothing before this step.
    pub(super) rests_until: u64,
}

impl Node {
    pub(super) fn new(i: usize) -> Self {
        let number = i as u32 + 1;
        let control = fresh_control(number, u128::from(number) * 0x1111);
        let log = MemoryLog::default();
        Self {
            receiver: Receiver::new(receiver_start(&control, &log)),
            control,
            log,
            mode: Mode::Down,
            dialled: [Dialled::default(); NODES],
            sync_asked: None,
            paused: false,
            lost: false,
            alone_word: false,
            rests_until: 0,
        }
    }

    pub(super) fn member(&self) -> Member {
        Member {
            node: self.control.node,
            incarnation: self.control.incarnation,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::new(&self.control, String::new())
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.mode, Mode::Down)
    }

    pub(super) fn is_awake(&self) -> bool {
        self.is_up() && !self.paused
    }

    pub(super) fn reign(&mut self) -> Option<&mut Reign> {
        match &mut self.mode {
            Mode::Primary(reign) => Some(reign),
            _ => None,
        }
    }

    /// Another, empty directory in this one's place.
    pub(super) fn wipe(&mut self, incarnation: u128) {
        self.control = fresh_control(self.control.node.get(), incarnation);
        self.log = MemoryLog::default();
        self.lost = false;
        self.alone_word = false;
    }

    /// What a process finds when it starts on this disk.
    pub(super) fn recover(&mut self) {
        self.control.start_count += 1;
        self.dialled = [Dialled::default(); NODES];
        self.sync_asked = None;
        self.paused = false;
        self.receiver = Receiver::new(receiver_start(&self.control, &self.log));
    }
}

fn fresh_control(number: u32, incarnation: u128) -> Control {
    Control {
        sequence: 0,
        ..Control::fresh(
            CLUSTER,
            (NodeId::new(number), Incarnation::new(incarnation)),
            site_of(number as usize - 1),
            Role::Replica,
            SEGMENT_BYTES,
        )
    }
}

fn receiver_start(control: &Control, log: &MemoryLog) -> ReceiverStart {
    ReceiverStart {
        identity: Identity::new(control, String::new()),
        role: control.role,
        granted_epoch: control.granted_epoch,
        granted_opening: control.granted_opening,
        in_sync: control.in_sync,
        in_sync_lsn: control.in_sync_lsn,
        uncertain: control.uncertain,
        awaiting_operator: control.awaiting_operator,
        log: log.local(control.confirmed),
        applied: Lsn::ZERO,
    }
}
