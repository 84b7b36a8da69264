//! One opening, its questions and the answers of members that are made up.

use kanjo_format::batch::BatchFields;
use kanjo_format::control::Role;
use kanjo_format::replication::{Granted, REPLICATION_LENGTH_BYTES, RefusalCode, Refused, Welcome};
use kanjo_format::{BatchHeader, ClusterId, Incarnation, Lsn, Site, Timestamp};

use super::*;
use crate::Packer;

mod asking;
mod basing;
mod sealing;

const CLUSTER: ClusterId = ClusterId::new(7);
const SEGMENT_BYTES: u64 = 1 << 21;
const ME: Member = member(1);
const STANDBY: Member = member(2);
const FIRST: Member = member(3);
const SECOND: Member = member(4);
const PATIENCE_NS: u64 = 300;

const fn member(node: u32) -> Member {
    Member {
        node: NodeId::new(node),
        incarnation: Incarnation::new(node as u128 * 0x11),
    }
}

const fn epoch(local_term: u32) -> Epoch {
    Epoch::from_terms(1, local_term)
}

/// A log, and its batches as they travel under the epoch that is opened in these tests.
#[derive(Clone)]
struct Log {
    local: LocalLog,
    frames: Vec<Vec<u8>>,
}

impl Log {
    fn empty() -> Self {
        Self {
            local: LocalLog {
                tail: Tail::empty(CLUSTER),
                confirmed: Lsn::ZERO,
                history: Vec::new(),
                alone_to: Lsn::ZERO,
            },
            frames: Vec::new(),
        }
    }

    /// So many batches of that epoch.
    fn and(mut self, of: Epoch, batches: u32) -> Self {
        for _ in 0..batches {
            let before = self.local.tail;
            let fields = BatchFields {
                cluster: CLUSTER,
                epoch: of,
                lsn: before.lsn,
                flags: 0,
                record_count: 0,
                timestamp: Timestamp::new(1),
                confirmed: Lsn::ZERO,
                prev_chain: before.chain,
            };
            let header = BatchHeader::build(&fields, b"payload");
            let mut bytes = Vec::new();
            Packer::new().pack(OPENED, &header, b"payload", &mut bytes);
            self.frames.push(bytes);
            let tail = Tail {
                epoch: of,
                lsn: header.end(SEGMENT_BYTES),
                chain: header.chain_after(b"payload"),
            };
            crate::note_epoch(&mut self.local, tail);
        }
        self
    }

    fn confirmed(mut self, batches: u64) -> Self {
        self.local.confirmed = Lsn::new(batches * 4096);
        self
    }

    fn tail(&self) -> Tail {
        self.local.tail
    }
}

/// What every run here opens, unless it says otherwise: three epochs are in the logs.
const OPENED: Epoch = epoch(4);

/// Epoch 1.1 with five batches, then 1.2 with so many.
fn log(batches: u32) -> Log {
    Log::empty().and(epoch(1), 5).and(epoch(2), batches)
}

fn control() -> Control {
    Control {
        start_count: 2,
        granted_epoch: epoch(3),
        ..Control::fresh(
            CLUSTER,
            (ME.node, ME.incarnation),
            Site::One,
            Role::Replica,
            SEGMENT_BYTES,
        )
    }
}

fn start(control: Control, own: &Log) -> GroupOpeningStart {
    GroupOpeningStart {
        control,
        log: own.local.clone(),
        client_address: String::new(),
        random: 9,
        register_epoch: epoch(2),
        takes_over: false,
        seal_patience_ns: PATIENCE_NS,
        now_ns: 0,
    }
}

struct Run {
    opening: GroupOpening,
    actions: Vec<Action>,
}

impl Run {
    fn new(start: GroupOpeningStart) -> Self {
        let mut opening = GroupOpening::new(start);
        let mut actions = Vec::new();
        opening.start(&mut actions);
        Self { opening, actions }
    }

    /// Claimed, with that set.
    fn claimed(own: &Log, set: &[Member]) -> Self {
        Self::claimed_by(start(control(), own), set)
    }

    fn claimed_by(start: GroupOpeningStart, set: &[Member]) -> Self {
        let tail = start.log.tail;
        let mut run = Self::new(start);
        run.step(Event::Promised { tail });
        let (set, former) = (set.to_vec(), epoch(2));
        run.step(Event::Claimed { set, former });
        run
    }

    fn step(&mut self, event: Event<'_>) -> &mut Self {
        self.actions.clear();
        self.opening.step(event, &mut self.actions);
        self
    }

    fn body(&mut self, node: NodeId, body: Body<'_>) -> &mut Self {
        let epoch = self.opening.promised().0;
        let frame = &Frame { epoch, body };
        self.step(Event::Frame { node, frame })
    }

    /// Connects and lets it greet.
    fn greet(&mut self, member: Member, has: &Log) -> &mut Self {
        let node = member.node;
        self.step(Event::Connected { node });
        let welcome = Body::Welcome(Box::new(welcome(member, has)));
        self.body(node, welcome)
    }

    /// The whole dialogue up to its grant.
    fn grant(&mut self, member: Member, has: &Log) -> &mut Self {
        self.greet(member, has);
        let granted = self.granted(has);
        self.body(member.node, Body::Granted(granted))
    }

    fn grant_uncertain(&mut self, member: Member, has: &Log) -> &mut Self {
        self.greet(member, has);
        let uncertain = true;
        let granted = Granted {
            uncertain,
            ..self.granted(has)
        };
        self.body(member.node, Body::Granted(granted))
    }

    fn granted(&self, has: &Log) -> Granted {
        Granted {
            opening: self.opening.promised().1,
            tail: has.tail(),
            confirmed: has.local.confirmed,
            in_sync: true,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
        }
    }

    fn refuse(&mut self, node: NodeId, code: RefusalCode, granted_epoch: Epoch) -> &mut Self {
        self.body(
            node,
            Body::Refused(Refused {
                code,
                granted_epoch,
                granted_opening: OpeningId::default(),
                text: String::new(),
            }),
        )
    }

    fn patience_ends(&mut self) -> &mut Self {
        let now_ns = self.opening.now_ns + PATIENCE_NS;
        self.step(Event::Tick { now_ns })
    }

    /// Sends a batch and appends it if it is taken.
    fn batch(&mut self, node: NodeId, from: &Log, number: usize) -> &mut Self {
        let bytes = &from.frames[number][REPLICATION_LENGTH_BYTES..];
        let frame = &Frame::decode(bytes).unwrap();
        self.step(Event::Frame { node, frame })
    }

    fn last(&self) -> &Action {
        self.actions.last().expect("it asked for something")
    }

    fn said(&self, node: NodeId) -> Option<&Body<'static>> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Send { node: to, frame } if *to == node => Some(&frame.body),
            _ => None,
        })
    }

    fn dials(&self) -> Vec<NodeId> {
        let dials = self.actions.iter().filter_map(|action| match action {
            Action::Dial { node } => Some(*node),
            _ => None,
        });
        dials.collect()
    }

    fn asked_set(&self) -> &[Member] {
        match self.last() {
            Action::ChangeSet { set, .. } => set,
            other => panic!("{other:?}"),
        }
    }

    fn opened(&self) -> &OpenedGroup {
        match self.last() {
            Action::Open(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    fn stopped(&self) -> &StopReason {
        match self.last() {
            Action::Stop(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn welcome(member: Member, has: &Log) -> Welcome {
    Welcome {
        version: 1,
        cluster: CLUSTER,
        node: member.node,
        incarnation: member.incarnation,
        site: Site::Two,
        role: Role::Replica,
        segment_bytes: SEGMENT_BYTES,
        start_count: 1,
        granted_epoch: epoch(2),
        granted_opening: OpeningId::default(),
        tail: has.tail(),
        confirmed: has.local.confirmed,
        in_sync: true,
        in_sync_lsn: Lsn::ZERO,
        uncertain: false,
        awaiting_operator: false,
        history: has.local.history.clone(),
        client_address: String::new(),
    }
}
