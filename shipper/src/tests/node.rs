//! One simulated node: its disk, and the machines that run on it.

use std::collections::VecDeque;

use kanjo_format::control::{Control, Role};
use kanjo_format::{Epoch, Incarnation, Lsn, NodeId, Site};

use super::log::{CLUSTER, MemoryLog, SEGMENT_BYTES};
use crate::gate::ReadToken;
use crate::receiver::ReceiverStart;
use crate::{CommitGate, Identity, Opening, Receiver, Sender};

pub(super) enum Mode {
    Down,
    Resolving(Box<Opening>),
    Primary(Box<Reign>),
    Replica,
}

pub(super) struct Reign {
    pub(super) gate: CommitGate,
    pub(super) sender: Sender,
    /// Reads that wait, with the highest epoch that had committed when they arrived.
    pub(super) reads: VecDeque<(ReadToken, Epoch)>,
}

pub(super) struct Node {
    pub(super) control: Control,
    pub(super) log: MemoryLog,
    pub(super) mode: Mode,
    pub(super) receiver: Receiver,
    /// The dialed connection.
    pub(super) dialed: Option<u64>,
    pub(super) wants_dial: bool,
    pub(super) sync_asked: Option<usize>,
    pub(super) file: Vec<u8>,
    pub(super) applied: Lsn,
}

impl Node {
    pub(super) fn new(number: u32) -> Self {
        let site = if number == 1 { Site::One } else { Site::Two };
        let control = Control {
            sequence: 0,
            ..Control::fresh(
                CLUSTER,
                (
                    NodeId::new(number),
                    Incarnation::new(u128::from(number) * 0x1111),
                ),
                site,
                if number == 1 {
                    Role::Primary
                } else {
                    Role::Replica
                },
                SEGMENT_BYTES,
            )
        };
        let log = MemoryLog::default();
        Self {
            receiver: Receiver::new(receiver_start(&control, &log)),
            control,
            log,
            mode: Mode::Down,
            dialed: None,
            wants_dial: false,
            sync_asked: None,
            file: Vec::new(),
            applied: Lsn::ZERO,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        identity(&self.control)
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.mode, Mode::Down)
    }

    pub(super) fn reign(&mut self) -> Option<&mut Reign> {
        match &mut self.mode {
            Mode::Primary(reign) => Some(reign),
            _ => None,
        }
    }

    /// What a process finds when it starts on this disk.
    pub(super) fn recover(&mut self) {
        self.control.start_count += 1;
        self.dialed = None;
        self.wants_dial = false;
        self.sync_asked = None;
        self.file.clear();
        self.applied = Lsn::ZERO;
        self.receiver = Receiver::new(receiver_start(&self.control, &self.log));
    }
}

fn identity(control: &Control) -> Identity {
    Identity {
        cluster: control.cluster,
        node: control.node,
        incarnation: control.incarnation,
        site: control.site,
        segment_bytes: control.segment_bytes,
        start_count: control.start_count,
        client_address: String::new(),
    }
}

fn receiver_start(control: &Control, log: &MemoryLog) -> ReceiverStart {
    ReceiverStart {
        identity: identity(control),
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
