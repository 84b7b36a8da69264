//! Connections between the servers: frames that wait, ways that are cut, ends that one side only
//! hears of.

use std::collections::VecDeque;

use kanjo_format::replication::{Body, Frame, REPLICATION_LENGTH_BYTES};

use super::node::{Mode, NODES};
use super::sim::Sim;
use crate::group_opening;
use crate::receiver::{self, SessionId};
use crate::sender;

pub(super) const TO_LISTENER: usize = 0;
pub(super) const TO_DIALER: usize = 1;
/// Frames of former connections that may come again.
const OLD_FRAMES: usize = 8;

pub(super) struct Connection {
    pub(super) dialer: usize,
    pub(super) listener: usize,
    /// Frames on their way to the listener, and to the dialer.
    pub(super) to: [VecDeque<Vec<u8>>; 2],
    /// The listener ends it behind what it has said.
    pub(super) closing: bool,
    /// It lost a frame. That can only be the beginning of its end: no frame is behind a lost one.
    pub(super) broken: bool,
}

impl Sim {
    pub(super) fn random_connection(&mut self) -> Option<u64> {
        let count = self.connections.len() as u64;
        let nth = self.below(count.max(1)) as usize;
        self.connections.keys().nth(nth).copied()
    }

    pub(super) fn deliver(&mut self) {
        let Some(id) = self.random_connection() else {
            return;
        };
        let way = self.below(2) as usize;
        let fault = if self.faults { self.below(200) } else { 99 };
        let connection = self.connections.get_mut(&id).unwrap();
        let (dialer, listener) = (connection.dialer, connection.listener);
        let (from, to) = match way {
            TO_LISTENER => (dialer, listener),
            _ => (listener, dialer),
        };
        if self.blocked[from][to] || self.nodes[to].paused {
            return;
        }
        let queue = &mut connection.to[way];
        if fault == 0 && queue.len() > 1 {
            queue.swap(0, 1);
        }
        let Some(bytes) = queue.pop_front() else {
            if connection.closing && way == TO_DIALER {
                self.cut(id, [false, true]);
            }
            return;
        };
        if connection.closing && way == TO_LISTENER {
            return;
        }
        match fault {
            1 => return connection.broken = true,
            2 => queue.push_front(bytes.clone()),
            3 => self.keep_old((from, to, way, bytes.clone())),
            4 => self.repeat_old(id, from, to, way),
            _ => {}
        }
        self.take(id, way, dialer, listener, &bytes);
    }

    /// Keeps a frame that may come again. Not a Follow: it tells where the writer's log ends in its
    /// own connection, and one of an earlier connection would have the log cut there.
    fn keep_old(&mut self, old: (usize, usize, usize, Vec<u8>)) {
        let frame = Frame::decode(&old.3[REPLICATION_LENGTH_BYTES..]).expect("frames stay whole");
        if !matches!(frame.body, Body::Follow(_)) {
            self.old_frames.push_back(old);
        }
        if self.old_frames.len() > OLD_FRAMES {
            self.old_frames.pop_front();
        }
    }

    /// A frame of an earlier connection of the same two comes once more.
    fn repeat_old(&mut self, id: u64, from: usize, to: usize, way: usize) {
        let same = |old: &(usize, usize, usize, Vec<u8>)| (old.0, old.1, old.2) == (from, to, way);
        if let Some(at) = self.old_frames.iter().position(same)
            && let Some((.., bytes)) = self.old_frames.remove(at)
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.to[way].push_front(bytes);
        }
    }

    fn take(&mut self, id: u64, way: usize, dialer: usize, listener: usize, bytes: &[u8]) {
        let frame = Frame::decode(&bytes[REPLICATION_LENGTH_BYTES..]).expect("frames stay whole");
        if way == TO_LISTENER {
            self.listen(listener, SessionId(id), &frame);
        } else if self.nodes[dialer].dialled[listener].connection == Some(id) {
            self.hear(dialer, listener, &frame);
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

    fn hear(&mut self, i: usize, peer: usize, frame: &Frame<'_>) {
        let now_ns = self.now_ns;
        let node = self.nodes[peer].control.node;
        match &self.nodes[i].mode {
            Mode::Opening(_) => self.opening(i, group_opening::Event::Frame { node, frame }),
            Mode::Primary(_) => self.sender(i, peer, sender::Event::Frame { now_ns, frame }),
            _ => {}
        }
    }

    pub(super) fn push(&mut self, id: Option<u64>, way: usize, frame: &Frame<'_>) {
        if let Some(connection) = id.and_then(|id| self.connections.get_mut(&id)) {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            connection.to[way].push_back(bytes);
        }
    }

    /// The connection ends, and those sides hear of it; what was on its way is gone.
    pub(super) fn cut(&mut self, id: u64, tell: [bool; 2]) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let (dialer, listener) = (connection.dialer, connection.listener);
        if tell[TO_LISTENER] && self.nodes[listener].is_up() {
            let session = SessionId(id);
            self.receiver(listener, receiver::Event::Closed { session });
        }
        let dialled = &mut self.nodes[dialer].dialled[listener];
        if tell[TO_DIALER] && dialled.connection == Some(id) {
            dialled.connection = None;
            dialled.wanted = true;
            self.unreachable(dialer, listener);
        }
    }

    fn unreachable(&mut self, i: usize, peer: usize) {
        let node = self.nodes[peer].control.node;
        match self.nodes[i].mode {
            Mode::Primary(_) => self.sender(i, peer, sender::Event::Closed),
            Mode::Opening(_) => self.opening(i, group_opening::Event::Unreachable { node }),
            _ => {}
        }
    }

    /// The listener ends it, behind what it has said.
    pub(super) fn close(&mut self, id: u64) {
        if self.below(2) == 0 {
            return self.cut(id, [false, true]);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closing = true;
        }
    }

    /// The dialer ends its own connection.
    pub(super) fn hang_up(&mut self, i: usize, peer: usize) {
        if let Some(id) = self.nodes[i].dialled[peer].connection.take() {
            self.cut(id, [true, false]);
        }
    }

    pub(super) fn hang_up_all(&mut self, i: usize) {
        for peer in 0..NODES {
            self.hang_up(i, peer);
            self.nodes[i].dialled[peer].wanted = false;
        }
    }

    pub(super) fn redial(&mut self, i: usize, peer: usize) {
        self.hang_up(i, peer);
        self.nodes[i].dialled[peer].wanted = true;
    }

    pub(super) fn dial(&mut self, i: usize) {
        let peer = self.below(NODES as u64) as usize;
        let dials = matches!(self.nodes[i].mode, Mode::Primary(_) | Mode::Opening(_));
        if !dials || !self.nodes[i].dialled[peer].wanted {
            return;
        }
        if self.blocked[i][peer] || self.blocked[peer][i] || !self.nodes[peer].is_up() {
            if self.below(2) == 0 {
                self.unreachable(i, peer);
            }
            return;
        }
        self.hang_up(i, peer);
        let id = self.next_connection;
        self.next_connection += 1;
        let connection = Connection {
            dialer: i,
            listener: peer,
            to: Default::default(),
            closing: false,
            broken: false,
        };
        self.connections.insert(id, connection);
        self.nodes[i].dialled[peer].connection = Some(id);
        self.nodes[i].dialled[peer].wanted = false;
        let now_ns = self.now_ns;
        let node = self.nodes[peer].control.node;
        match self.nodes[i].mode {
            Mode::Opening(_) => self.opening(i, group_opening::Event::Connected { node }),
            _ => self.sender(i, peer, sender::Event::Connected { now_ns }),
        }
    }

    /// Connections of which only the other side heard that they ended.
    pub(super) fn forget_connections_to(&mut self, peer: usize) {
        for i in 0..NODES {
            if self.nodes[i].dialled[peer].connection.take().is_some() {
                self.nodes[i].dialled[peer].wanted = true;
                self.unreachable(i, peer);
            }
        }
    }

    /// All connections of a node end.
    pub(super) fn cut_off(&mut self, i: usize) {
        let its = |c: &Connection| c.dialer == i || c.listener == i;
        let all = self.connections.iter().filter(|(_, c)| its(c));
        let ids: Vec<u64> = all.map(|(id, _)| *id).collect();
        for id in ids {
            self.cut(id, [true, true]);
        }
    }
}
