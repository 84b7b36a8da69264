//! The two nodes, the connections between them, the faults and the checks.

use std::collections::{BTreeMap, VecDeque};

use kanjo_format::control::Role;
use kanjo_format::record::Protection;
use kanjo_format::replication::{Body, Frame, REPLICATION_LENGTH_BYTES, RefusalCode, SeedFile};
use kanjo_format::{Chain, Digest, Epoch, Lsn};

use super::log::{SEGMENT_BYTES, SET_CHANGE, START_ALONE, START_OTHER, WRITE};
use super::node::{Mode, Node, Reign};
use crate::opening::{self, OpenEpoch, Want};
use crate::receiver::{self, SessionId};
use crate::sender::{self, SenderStart};
use crate::{CommitGate, Opening, Packer, Sender};

const STEPS: u32 = 1_500;
const CHUNK_BYTES: usize = 500;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) commits: u64,
    pub(super) promotions: u64,
    pub(super) restarts: u64,
    pub(super) alone: u64,
    pub(super) segments: u64,
    pub(super) cuts: u64,
    pub(super) reads: u64,
    last: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.promotions += other.promotions;
        self.restarts += other.restarts;
        self.alone += other.alone;
        self.segments += other.segments;
        self.cuts += other.cuts;
        self.reads += other.reads;
    }
}

struct Connection {
    dialer: usize,
    /// Frames on their way to the listener, and to the dialer.
    to: [VecDeque<Vec<u8>>; 2],
}

const TO_LISTENER: usize = 0;
const TO_DIALER: usize = 1;

pub(super) struct Sim {
    random: u64,
    nodes: [Node; 2],
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    packer: Packer,
    /// Every batch end that was ever committed.
    committed: BTreeMap<Lsn, Chain>,
    committed_epoch: Epoch,
    tally: Tally,
    faults: bool,
    /// A refusal that no retry mends.
    refused: Option<String>,
}

impl Sim {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            nodes: [Node::new(1), Node::new(2)],
            connections: BTreeMap::new(),
            next_connection: 1,
            packer: Packer::new(),
            committed: BTreeMap::new(),
            committed_epoch: Epoch::NONE,
            tally: Tally::default(),
            faults: true,
            refused: None,
        }
    }

    pub(super) fn run(mut self) -> Tally {
        self.start(0);
        self.start(1);
        for _ in 0..STEPS {
            self.random_step();
        }
        self.heal();
        self.tally.last = self.random;
        self.tally
    }

    /// Without faults, commits go on within a bound and both logs end the same.
    fn heal(&mut self) {
        self.faults = false;
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.cut(id);
        }
        for i in 0..2 {
            if !self.nodes[i].is_up() {
                self.start(i);
            }
        }
        let before = self.tally.commits;
        for step in 0..4_000 {
            self.random_step();
            assert!(self.refused.is_none(), "{:?}", self.refused);
            let protected = self.nodes.iter_mut().any(|n| {
                n.reign()
                    .is_some_and(|r| r.gate.protection() == Protection::Protected)
            });
            if protected && self.tally.commits > before + 3 && step > 50 {
                return;
            }
        }
        for node in &self.nodes {
            let mode = match node.mode {
                Mode::Down => "down",
                Mode::Resolving(_) => "resolving",
                Mode::Primary(_) => "primary",
                Mode::Replica => "replica",
            };
            eprintln!("{mode} {:?} {}", node.control, node.log.tail());
        }
        panic!("commits do not go on after the faults were healed");
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn random_step(&mut self) {
        let i = self.below(2) as usize;
        match self.below(100) {
            0..50 => self.deliver(),
            50..62 => self.write(i),
            62..72 => self.sync_primary(i),
            72..80 => self.sync_replica(i),
            80..90 => self.dial(i),
            90..94 => self.read(i),
            94 | 95 if self.faults => {
                let id = self.random_connection();
                id.into_iter().for_each(|id| self.cut(id));
            }
            96 if self.faults => self.crash(i),
            97 if self.faults => self.promote(),
            98 if self.faults && self.below(3) == 0 => self.go_alone(i),
            _ if !self.nodes[i].is_up() => self.start(i),
            _ => {}
        }
    }

    fn random_connection(&mut self) -> Option<u64> {
        let count = self.connections.len() as u64;
        let nth = self.below(count.max(1)) as usize;
        self.connections.keys().nth(nth).copied()
    }

    fn deliver(&mut self) {
        let Some(id) = self.random_connection() else {
            return;
        };
        let way = self.below(2) as usize;
        let fault = if self.faults { self.below(60) } else { 9 };
        let connection = self.connections.get_mut(&id).unwrap();
        let dialer = connection.dialer;
        let queue = &mut connection.to[way];
        if fault == 0 && queue.len() > 1 {
            queue.swap(0, 1);
        }
        let Some(bytes) = queue.pop_front() else {
            return;
        };
        match fault {
            1 => return,
            2 => queue.push_front(bytes.clone()),
            _ => {}
        }
        let frame = Frame::decode(&bytes[REPLICATION_LENGTH_BYTES..]).expect("frames stay whole");
        if way == TO_LISTENER {
            let listener = 1 - dialer;
            self.listen(listener, SessionId(id), &frame);
        } else if self.nodes[dialer].dialed == Some(id) {
            self.hear(dialer, &frame);
        }
    }

    fn listen(&mut self, i: usize, session: SessionId, frame: &Frame<'_>) {
        if !self.nodes[i].is_up() {
            return;
        }
        if !matches!(self.nodes[i].mode, Mode::Replica) {
            let log = self.nodes[i].log.local(self.nodes[i].control.confirmed);
            self.receiver(i, receiver::Event::LogMoved { log: &log });
        }
        self.receiver(i, receiver::Event::Frame { session, frame });
        if self.below(2) == 0 {
            self.receiver(i, receiver::Event::ReadDone);
        }
    }

    fn hear(&mut self, i: usize, frame: &Frame<'_>) {
        let now_ns = 0;
        match &self.nodes[i].mode {
            Mode::Resolving(_) => self.opening(i, opening::Event::Frame(frame)),
            Mode::Primary(_) => self.sender(i, sender::Event::Frame { now_ns, frame }),
            _ => {}
        }
    }

    fn push(&mut self, id: Option<u64>, way: usize, frame: &Frame<'_>) {
        if let Some(connection) = id.and_then(|id| self.connections.get_mut(&id)) {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            connection.to[way].push_back(bytes);
        }
    }

    fn cut(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let (dialer, listener) = (connection.dialer, 1 - connection.dialer);
        if self.nodes[listener].is_up() {
            let session = SessionId(id);
            self.receiver(listener, receiver::Event::Closed { session });
        }
        if self.nodes[dialer].dialed == Some(id) {
            self.nodes[dialer].dialed = None;
            self.nodes[dialer].wants_dial = true;
            match self.nodes[dialer].mode {
                Mode::Primary(_) => self.sender(dialer, sender::Event::Closed),
                Mode::Resolving(_) => self.opening(dialer, opening::Event::Unreachable),
                _ => {}
            }
        }
    }

    fn hang_up(&mut self, i: usize) {
        if let Some(id) = self.nodes[i].dialed.take() {
            self.cut(id);
        }
    }

    fn dial(&mut self, i: usize) {
        let dials = matches!(self.nodes[i].mode, Mode::Primary(_) | Mode::Resolving(_));
        if !self.nodes[i].wants_dial || !dials {
            return;
        }
        self.hang_up(i);
        self.nodes[i].wants_dial = false;
        if !self.nodes[1 - i].is_up() {
            self.nodes[i].wants_dial = true;
            if matches!(self.nodes[i].mode, Mode::Resolving(_)) {
                self.opening(i, opening::Event::Unreachable);
            }
            return;
        }
        let id = self.next_connection;
        self.next_connection += 1;
        let to = Default::default();
        self.connections.insert(id, Connection { dialer: i, to });
        self.nodes[i].dialed = Some(id);
        match self.nodes[i].mode {
            Mode::Resolving(_) => self.opening(i, opening::Event::Connected),
            _ => self.sender(i, sender::Event::Connected { now_ns: 0 }),
        }
    }

    fn crash(&mut self, i: usize) {
        if !self.nodes[i].is_up() {
            return;
        }
        self.nodes[i].mode = Mode::Down;
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.cut(id);
        }
        let unsynced = self.nodes[i].log.batches.len() - self.nodes[i].log.synced;
        let extra = self.below(unsynced as u64 + 1) as usize;
        self.nodes[i].log.crash(extra);
    }

    fn start(&mut self, i: usize) {
        self.tally.restarts += 1;
        self.nodes[i].recover();
        if self.nodes[i].control.role == Role::Replica {
            self.nodes[i].mode = Mode::Replica;
            return;
        }
        self.open(i, Want::Restart { member_gone: false });
    }

    fn open(&mut self, i: usize, want: Want) {
        let random = u128::from(self.below(u64::MAX));
        let node = &mut self.nodes[i];
        let log = node.log.local(node.control.confirmed);
        let mut opening = Opening::new(want, node.control, log, String::new(), random);
        let mut actions = Vec::new();
        opening.start(&mut actions);
        node.mode = Mode::Resolving(Box::new(opening));
        self.opening_actions(i, actions);
    }

    fn promote(&mut self) {
        let i = usize::from(!matches!(self.nodes[0].mode, Mode::Replica));
        if matches!(self.nodes[i].mode, Mode::Replica) && self.nodes[i].control.in_sync {
            self.tally.promotions += 1;
            let alone = false;
            let forced = false;
            self.open(i, Want::Promote { alone, forced });
        }
    }

    fn go_alone(&mut self, i: usize) {
        if matches!(self.nodes[i].mode, Mode::Primary(_)) {
            self.hang_up(i);
            self.nodes[i].log.sync();
            self.open(i, Want::Alone { unfenced: false });
        }
    }

    fn opening(&mut self, i: usize, event: opening::Event<'_>) {
        let Mode::Resolving(opening) = &mut self.nodes[i].mode else {
            return;
        };
        let mut actions = Vec::new();
        opening.step(event, &mut actions);
        self.opening_actions(i, actions);
    }

    fn opening_actions(&mut self, i: usize, actions: Vec<opening::Action>) {
        for action in actions {
            self.opening_action(i, action);
        }
    }

    fn opening_action(&mut self, i: usize, action: opening::Action) {
        use opening::{Action, Event};
        let node = &mut self.nodes[i];
        match action {
            Action::Dial | Action::Wait(_) => node.wants_dial = true,
            Action::Send(frame) => {
                let id = node.dialed;
                self.push(id, TO_LISTENER, &frame);
            }
            Action::Promise {
                epoch,
                opening,
                needs_mark,
            } => {
                let mut actions = Vec::new();
                let granted = node
                    .receiver
                    .grant_here(epoch, opening, needs_mark, &mut actions);
                if granted.is_err() {
                    self.hang_up(i);
                    self.nodes[i].mode = Mode::Replica;
                    return;
                }
                node.control.granted_epoch = epoch;
                node.control.granted_opening = opening;
                if node.control.role == Role::Replica {
                    node.control.protection = Protection::Waiting;
                    node.control.member = None;
                }
                node.control.role = Role::Primary;
                node.control.in_sync = false;
                node.log.sync();
                let tail = node.log.tail();
                self.receiver_actions(i, actions);
                self.opening(i, Event::Promised { tail });
            }
            Action::CheckChain { lsn } => {
                let chain = node.log.chain_at(lsn);
                self.opening(i, Event::ChainAt { chain });
            }
            Action::Cut { to } => {
                self.tally.cuts += 1;
                let done = node.log.cut(to);
                let log = node.log.local(node.control.confirmed);
                let log = done.then_some(&log);
                self.opening(i, Event::Cut { log });
            }
            Action::Append { header, payload } => {
                let tail = node.log.append(*header, payload);
                self.opening(i, Event::Appended { tail });
            }
            Action::Sync => {
                node.log.sync();
                self.opening(i, Event::Synced);
            }
            Action::Open(open) => self.reign(i, open),
            Action::BecomeReplica { .. } => self.be_replica(i),
            Action::Stop(why) => {
                // Without unfenced or forced words, only these can be: the peer was promoted, or
                // the auxiliary did not answer.
                use opening::StopReason as Why;
                assert!(
                    matches!(
                        why,
                        Why::AuxiliaryUnreachable | Why::PeerIsAhead(_) | Why::NotInSync
                    ),
                    "{why}"
                );
                self.hang_up(i);
                match self.nodes[i].control.role {
                    Role::Replica => self.nodes[i].mode = Mode::Replica,
                    Role::Primary => self.crash(i),
                }
            }
        }
    }

    fn be_replica(&mut self, i: usize) {
        self.hang_up(i);
        let node = &mut self.nodes[i];
        node.control.role = Role::Replica;
        node.control.in_sync = false;
        node.log.sync();
        node.recover();
        node.mode = Mode::Replica;
        for (id, _) in self.sessions_of(i) {
            self.cut(id);
        }
    }

    fn sessions_of(&self, listener: usize) -> Vec<(u64, usize)> {
        let all = self.connections.iter();
        all.filter(|(_, c)| c.dialer != listener)
            .map(|(id, c)| (*id, c.dialer))
            .collect()
    }

    fn reign(&mut self, i: usize, open: OpenEpoch) {
        let node = &mut self.nodes[i];
        assert_eq!(open.base, node.log.durable());
        node.control.protection = open.protection;
        node.control.member = open.members.first().map(|m| (m.node, m.incarnation));
        let confirmed = node.log.local(node.control.confirmed).confirmed;
        let mut gate = CommitGate::new(open.epoch, open.base, confirmed, Protection::Waiting);
        for member in &open.members {
            gate.add_member(*member, Lsn::ZERO);
        }
        gate.set_protection(open.protection);
        let kind = if open.protection == Protection::Alone {
            self.tally.alone += 1;
            START_ALONE
        } else {
            START_OTHER
        };
        let tail = node.log.write(open.epoch, confirmed, vec![kind]);
        gate.appended(tail);
        let synced = node.log.synced;
        let durable = node.log.durable().lsn;
        node.log.sync();
        let log = node.log.local(confirmed);
        node.log.synced = synced;
        let sender = Sender::new(SenderStart {
            identity: node.identity(),
            epoch: open.epoch,
            opening: open.opening,
            log,
            durable,
            members: open.members.clone(),
            ping_every_ns: 1,
            silent_after_ns: 2,
        });
        let reads = VecDeque::new();
        node.mode = Mode::Primary(Box::new(Reign {
            gate,
            sender,
            reads,
        }));
        self.hang_up(i);
        self.nodes[i].wants_dial = true;
    }

    fn append(&mut self, i: usize, payload: Vec<u8>) {
        let node = &mut self.nodes[i];
        let Mode::Primary(reign) = &mut node.mode else {
            return;
        };
        let (epoch, confirmed) = (reign.gate.epoch(), reign.gate.committed());
        let tail = node.log.write(epoch, confirmed, payload);
        reign.gate.appended(tail);
        self.sender(i, sender::Event::Appended { tail });
    }

    fn write(&mut self, i: usize) {
        let open = self.nodes[i].reign().is_some_and(|r| r.gate.is_open());
        if open {
            let value = self.below(256) as u8;
            self.append(i, vec![WRITE, value]);
        }
    }

    fn read(&mut self, i: usize) {
        let epoch = self.committed_epoch;
        if let Some(reign) = self.nodes[i].reign() {
            let token = reign.gate.read_arrived();
            reign.reads.push_back((token, epoch));
            self.sender(i, sender::Event::ReadCheck { token });
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

    fn sync_primary(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if let Mode::Primary(reign) = &mut node.mode {
            node.log.sync();
            let lsn = node.log.tail().lsn;
            let moved = reign.gate.synced(lsn);
            self.moved(i, moved);
            self.sender(i, sender::Event::Synced { lsn });
        }
    }

    fn sync_replica(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if !node.is_up() {
            return;
        }
        // A sync covers what was appended when it began, and no more.
        if let Some(count) = node.sync_asked.take() {
            node.log.synced = node.log.synced.max(count.min(node.log.batches.len()));
            let lsn = node.log.durable().lsn;
            self.receiver(i, receiver::Event::Synced { lsn });
        }
    }

    /// Committed moved: the history of commits is checked, and the replica told.
    fn moved(&mut self, i: usize, moved: Option<Lsn>) {
        let Some(lsn) = moved else {
            return;
        };
        let epoch = self.nodes[i].reign().unwrap().gate.epoch();
        assert!(epoch >= self.committed_epoch, "a fenced primary committed");
        self.committed_epoch = epoch;
        let members = self.nodes[i].reign().unwrap().gate.members().count();
        for (at, chain) in &self.committed {
            let here = self.nodes[i].log.chain_at(*at);
            assert_eq!(here, Some(*chain), "a committed batch is missing at {at}");
        }
        let own = self.nodes[i].log.batches.clone();
        for batch in own.iter().filter(|b| b.tail.lsn <= lsn) {
            let (at, chain) = (batch.tail.lsn, batch.tail.chain);
            let before = self.committed.insert(at, chain);
            assert!(before.is_none_or(|c| c == chain), "two histories at {at}");
            self.tally.commits += u64::from(before.is_none());
        }
        assert!(self.nodes[i].log.durable().lsn >= lsn);
        if members > 0 {
            let peer = self.nodes[1 - i].log.durable().lsn;
            assert!(
                peer >= lsn,
                "committed at {lsn}, the member's disk has {peer}"
            );
        }
        if self.below(3) == 0 {
            self.nodes[i].control.confirmed = lsn;
        }
        let sealed = Lsn::new(lsn.get() / SEGMENT_BYTES * SEGMENT_BYTES);
        self.sender(i, sender::Event::SealedTo { lsn: sealed });
        let digest = None;
        self.sender(i, sender::Event::Committed { lsn, digest });
        self.answer_reads(i);
    }

    fn sender(&mut self, i: usize, event: sender::Event<'_>) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        let mut actions = Vec::new();
        reign.sender.step(event, &mut actions);
        for action in actions {
            self.sender_action(i, action);
        }
    }

    fn sender_action(&mut self, i: usize, action: sender::Action) {
        use sender::{Action, Event};
        let node = &mut self.nodes[i];
        let Mode::Primary(reign) = &mut node.mode else {
            return;
        };
        let epoch = reign.gate.epoch();
        match action {
            Action::Send(frame) => {
                let id = node.dialed;
                self.push(id, TO_LISTENER, &frame);
            }
            Action::CheckPlace { tail } => {
                let holds = node.log.holds(tail);
                self.sender(i, Event::PlaceChecked { holds });
            }
            Action::SendBatches { from, bytes_max } => {
                let (id, count) = (node.dialed, 1 + self.below(4) as usize);
                let sent = self.send_log(i, id, TO_LISTENER, epoch, from, bytes_max, count);
                for tail in sent {
                    self.sender(i, Event::Sent { tail });
                }
                self.sender(i, Event::SendDone);
            }
            Action::SendChunk { file, offset } => self.send_chunk(i, epoch, file, offset),
            Action::Acked { member, tail } => {
                let moved = reign.gate.acked(member, epoch, tail).expect("checked acks");
                let peer = &self.nodes[1 - i].log;
                assert!(peer.durable().lsn >= tail.lsn, "acked beyond the disk");
                self.moved(i, moved);
            }
            Action::CaughtUp { member, acked } => {
                reign.gate.add_member(member, acked);
                node.control.protection = Protection::Protected;
                node.control.member = Some((member.node, member.incarnation));
                self.append(i, vec![SET_CHANGE]);
                let through = self.nodes[i].log.tail().lsn;
                self.sender(i, Event::Joined { through });
            }
            Action::InSync { .. } => {
                if reign.gate.protection() != Protection::Protected {
                    let moved = reign.gate.set_protection(Protection::Protected);
                    self.moved(i, moved);
                }
            }
            Action::ReadOk { member, token } => {
                reign.gate.read_ok(member, epoch, token);
                self.answer_reads(i);
            }
            Action::Fenced { .. } => self.be_replica(i),
            Action::Close(why) => {
                use sender::CloseReason as Why;
                assert!(!matches!(why, Why::Diverged { .. }), "{why}");
                if matches!(&why, Why::Refused { code, .. } if *code == RefusalCode::History) {
                    self.refused = Some(why.to_string());
                }
                self.hang_up(i);
                self.nodes[i].wants_dial = true;
            }
            Action::MarkCleared { .. } | Action::PeerApplied { .. } | Action::PeerStatus { .. } => {
            }
        }
    }

    #[expect(clippy::too_many_arguments)]
    fn send_log(
        &mut self,
        i: usize,
        id: Option<u64>,
        way: usize,
        epoch: Epoch,
        from: Lsn,
        bytes_max: u64,
        count: usize,
    ) -> Vec<kanjo_format::Tail> {
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

    /// A sealed segment, here: the packed frames of its batches.
    fn send_chunk(&mut self, i: usize, epoch: Epoch, file: SeedFile, offset: u64) {
        let SeedFile::Segment(number) = file else {
            panic!("no checkpoint was offered");
        };
        let (first, end) = (number * SEGMENT_BYTES, (number + 1) * SEGMENT_BYTES);
        let mut whole = Vec::new();
        let mut tail = self.nodes[i].log.tail();
        for batch in &self.nodes[i].log.batches {
            if (first..end).contains(&batch.header.lsn().get()) {
                self.packer
                    .pack(epoch, &batch.header, &batch.payload, &mut whole);
                tail = batch.tail;
            }
        }
        let rest = &whole[offset as usize..];
        let bytes = &rest[..rest.len().min(CHUNK_BYTES)];
        let total_bytes = whole.len() as u64;
        let body = Body::Chunk {
            file,
            total_bytes,
            offset,
            bytes,
        };
        let id = self.nodes[i].dialed;
        self.push(id, TO_LISTENER, &Frame { epoch, body });
        let event = sender::Event::ChunkSent {
            next_offset: offset + bytes.len() as u64,
            total_bytes,
            end: tail,
        };
        self.sender(i, event);
    }

    fn receiver(&mut self, i: usize, event: receiver::Event<'_>) {
        let mut actions = Vec::new();
        self.nodes[i].receiver.step(event, &mut actions);
        self.receiver_actions(i, actions);
    }

    fn receiver_actions(&mut self, i: usize, actions: Vec<receiver::Action>) {
        for action in actions {
            self.receiver_action(i, action);
        }
    }

    fn receiver_action(&mut self, i: usize, action: receiver::Action) {
        use receiver::{Action, Event};
        let node = &mut self.nodes[i];
        match action {
            Action::Send { session, frame } => {
                if let Body::Ack { tail, .. } = &frame.body {
                    assert!(node.log.durable().lsn >= tail.lsn, "acked beyond the disk");
                    assert!(
                        frame.epoch == node.control.granted_epoch,
                        "acked for an epoch that is not the granted one"
                    );
                }
                self.push(Some(session.0), TO_DIALER, &frame);
            }
            Action::PersistGrant { epoch, opening } => {
                node.control.granted_epoch = epoch;
                node.control.granted_opening = opening;
                node.control.role = Role::Replica;
                self.receiver(i, Event::GrantPersisted { epoch });
            }
            Action::StepDown { .. } => {
                self.hang_up(i);
                let node = &mut self.nodes[i];
                node.mode = Mode::Replica;
                node.control.role = Role::Replica;
                node.log.sync();
                let log = node.log.local(node.control.confirmed);
                self.receiver(i, Event::LogMoved { log: &log });
            }
            Action::Append { header, payload } => {
                let tail = node.log.append(*header, payload);
                self.receiver(i, Event::Appended { tail });
            }
            Action::Sync => node.sync_asked = Some(node.log.batches.len()),
            Action::PersistMark { in_sync, lsn } => {
                assert!(!in_sync || node.log.durable().lsn >= lsn);
                node.control.in_sync = in_sync;
                node.control.in_sync_lsn = lsn;
                self.receiver(i, Event::MarkPersisted);
            }
            Action::Cut { to } => {
                self.tally.cuts += 1;
                node.control.in_sync = false;
                for (at, chain) in self.committed.iter().filter(|(at, _)| **at > to.lsn) {
                    assert_ne!(node.log.chain_at(*at), Some(*chain), "cut committed {at}");
                }
                let done = node.log.cut(to);
                let log = node.log.local(node.control.confirmed);
                let log = done.then_some(&log);
                self.receiver(i, Event::Cut { log });
            }
            Action::SendLog {
                session,
                from,
                to,
                epoch,
            } => {
                let id = Some(session.0);
                let bytes_max = to.since(from);
                let sent = self.send_log(i, id, TO_DIALER, epoch, from, bytes_max, 3);
                let lsn = sent.last().map_or(to, |t| t.lsn);
                self.receiver(i, Event::LogSent { session, lsn });
            }
            Action::WriteChunk { offset, bytes, .. } => {
                node.file.truncate(offset as usize);
                assert_eq!(node.file.len() as u64, offset);
                node.file.extend(bytes);
            }
            Action::InstallFile { .. } => {
                self.tally.segments += 1;
                self.install(i);
            }
            Action::ApplyTo { lsn } => {
                let chain = node.log.chain_at(lsn);
                assert!(
                    chain.is_some() && self.committed.get(&lsn).copied() == chain,
                    "applied {lsn}, which was never committed"
                );
                node.applied = lsn;
                let digest = Digest::new(u128::from(lsn.get()));
                self.receiver(i, Event::Applied { lsn, digest });
            }
            Action::AwaitOperator { fork } => panic!("an answered tail has to be cut at {fork}"),
            Action::Close { session, .. } => self.cut(session.0),
            Action::CompareDigest { .. } | Action::Vouched | Action::Following { .. } => {}
        }
    }

    fn install(&mut self, i: usize) {
        let file = std::mem::take(&mut self.nodes[i].file);
        let mut rest = &file[..];
        let mut unpacker = crate::Unpacker::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            let frame = Frame::decode(&rest[4..4 + length]).unwrap();
            rest = &rest[4 + length..];
            let Body::Batch(batch) = frame.body else {
                panic!("a segment holds batches");
            };
            let log = &mut self.nodes[i].log;
            let end = log.tail();
            let place = kanjo_format::BatchPlace {
                cluster: super::log::CLUSTER,
                lsn: end.lsn,
                epoch: end.epoch,
                chain: end.chain,
            };
            let mut payload = Vec::new();
            let header = unpacker.unpack(&batch, &place, &mut payload).unwrap();
            log.append(header, payload);
        }
        self.nodes[i].log.sync();
        let tail = self.nodes[i].log.tail();
        self.receiver(i, receiver::Event::FileStored { tail });
    }
}
