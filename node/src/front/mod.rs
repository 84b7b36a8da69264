//! The client port on the hot thread: connections, frames, the bounded queue of requests.
//!
//! It knows no ledger. A request goes into the queue, or is answered at once when nothing may
//! be queued; whoever plays the primary takes requests out and gives replies back.

mod connection;
#[cfg(test)]
mod tests;
mod welcome;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kanjo_format::client::{FRAME_HEADER_BYTES, Frame, FrameKind, Outcome};
use kanjo_format::limits::{CONNECTION_REQUESTS_MAX, QUEUED_REQUEST_BYTES_MAX};
use kanjo_format::{ClusterId, Epoch, NodeId};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::codec::Decoder;

use self::connection::{Connection, codec, is_orderly};
use crate::server::Shared;

/// A connection must say hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of replies that a connection may leave unread before it is closed.
const UNREAD_REPLY_BYTES_MAX: usize = 64 << 20;
/// With so many requests in the queue others are likely to be on their way.
const CROWD_REQUESTS: usize = 8;
/// Rows up to this size are copied out of the buffer that they came in.
const COPIED_BYTES_MAX: usize = 1 << 10;

/// A request as it waits for execution.
pub(crate) struct Request {
    /// Whom to answer.
    pub(crate) ticket: Ticket,
    /// What is asked.
    pub(crate) kind: FrameKind,
    /// Its rows.
    pub(crate) rows: Bytes,
    /// How many.
    pub(crate) count: u32,
}

/// Whom to answer, and until when it makes sense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    connection: u64,
    request: u64,
    kind: FrameKind,
    bytes: usize,
    /// When it came.
    pub(crate) arrived: Instant,
    /// When the request is answered `Indeterminate`, or `Overloaded` if not executed by then.
    pub(crate) deadline: Instant,
}

/// Whether requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Into the queue.
    Open,
    /// Reads and writes are refused with this outcome and text.
    Closed(Outcome, String),
    /// Lookups go into the queue, writes are refused.
    ReadsOnly(String),
}

/// What the server says of itself in the handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The node.
    pub(crate) node: NodeId,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Whether it takes writes.
    pub(crate) primary: bool,
}

/// All client connections of the node.
pub(crate) struct Front {
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    next_connection: Cell<u64>,
    queue: RefCell<VecDeque<Request>>,
    outstanding_bytes: Cell<usize>,
    outstanding: Cell<u64>,
    queued_events: Cell<usize>,
    /// With replies that are not written yet.
    dirty: RefCell<Vec<Rc<Connection>>>,
    door: RefCell<Door>,
    identity: Cell<Identity>,
    connections_max: usize,
    default_deadline: Duration,
    arrived: Notify,
    shared: Arc<Shared>,
}

impl Front {
    pub(crate) fn new(
        identity: Identity,
        connections_max: usize,
        default_deadline: Duration,
        shared: Arc<Shared>,
    ) -> Rc<Self> {
        Rc::new(Self {
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            queue: RefCell::default(),
            outstanding_bytes: Cell::new(0),
            outstanding: Cell::new(0),
            queued_events: Cell::new(0),
            dirty: RefCell::default(),
            door: RefCell::new(Door::Closed(Outcome::NotPrimary, String::new())),
            identity: Cell::new(identity),
            connections_max,
            default_deadline,
            arrived: Notify::new(),
            shared,
        })
    }

    /// Accepts connections for ever; each is served by a task of this thread.
    pub(crate) async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if self.connections.borrow().len() >= self.connections_max {
                        tracing::warn!(%peer, limit = self.connections_max, "client refused: too many connections");
                        continue;
                    }
                    let front = Rc::clone(&self);
                    tokio::task::spawn_local(async move {
                        match front.serve(stream).await {
                            // Clients come and go, in a fail-over all of them at once.
                            Err(end) if is_orderly(&end) => {
                                tracing::debug!(%peer, %end, "client connection closed");
                            }
                            Err(error) => {
                                tracing::info!(%peer, %error, "client connection closed");
                            }
                            Ok(()) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Opens or closes the queue. Closing answers what waits in it.
    pub(crate) fn set_door(&self, door: Door) {
        let refused: Vec<Request> = match &door {
            Door::Open => Vec::new(),
            Door::Closed(..) => self.queue.borrow_mut().drain(..).collect(),
            Door::ReadsOnly(_) => {
                let all: Vec<Request> = self.queue.borrow_mut().drain(..).collect();
                let (writes, reads): (Vec<_>, Vec<_>) =
                    all.into_iter().partition(|r| r.kind.is_write());
                *self.queue.borrow_mut() = reads.into();
                writes
            }
        };
        self.count_queue(&self.queue.borrow());
        let (outcome, text) = match &door {
            Door::Closed(outcome, text) => (*outcome, text.clone()),
            Door::Open | Door::ReadsOnly(_) => (Outcome::Overloaded, String::new()),
        };
        *self.door.borrow_mut() = door;
        for request in refused {
            self.answer(request.ticket, outcome, 0, text.as_bytes());
        }
        self.flush();
    }

    /// The same, if it is not so already.
    pub(crate) fn set_door_if_changed(&self, door: Door) {
        if *self.door.borrow() != door {
            self.set_door(door);
        }
    }

    pub(crate) fn set_identity(&self, epoch: Epoch, primary: bool) {
        self.identity.set(Identity {
            epoch,
            primary,
            ..self.identity.get()
        });
    }

    /// Waits until a request has come since the last call.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn queue_is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Requests in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Whether another look at the sockets is likely to find requests: many are in the queue, and
    /// clients are connected that wait for nothing.
    pub(crate) fn may_bring_more(&self) -> bool {
        self.queued() >= CROWD_REQUESTS && self.connection_count() > self.outstanding()
    }

    /// Events of all requests in the queue.
    pub(crate) const fn queued_events(&self) -> usize {
        self.queued_events.get()
    }

    /// Takes the first request if `fits` accepts it.
    pub(crate) fn take(&self, fits: impl FnOnce(&Request) -> bool) -> Option<Request> {
        let mut queue = self.queue.borrow_mut();
        if !fits(queue.front()?) {
            return None;
        }
        let taken = queue.pop_front();
        if let Some(request) = &taken {
            self.queued_events
                .set(self.queued_events.get() - request.count as usize);
        }
        taken
    }

    /// Answers `Overloaded` to requests that were not executed by their deadline: nothing was
    /// done for them and nothing will be.
    pub(crate) fn expire_queued(&self, now: Instant) {
        let mut late = Vec::new();
        self.queue.borrow_mut().retain(|request| {
            let expired = request.ticket.deadline <= now;
            if expired {
                late.push(request.ticket);
            }
            !expired
        });
        self.count_queue(&self.queue.borrow());
        for ticket in late {
            self.answer(
                ticket,
                Outcome::Overloaded,
                0,
                b"not executed before its deadline; nothing was done",
            );
        }
    }

    /// Puts a reply into its connection's buffer; [`Self::flush`] sends it.
    pub(crate) fn answer(&self, ticket: Ticket, outcome: Outcome, count: u32, body: &[u8]) {
        self.outstanding_bytes
            .set(self.outstanding_bytes.get() - ticket.bytes);
        self.outstanding.set(self.outstanding.get() - 1);
        let arrived = ticket.arrived.into_std();
        let metrics = &self.shared.metrics;
        metrics.answered(ticket.kind, outcome, arrived);
        let Some(connection) = self.connections.borrow().get(&ticket.connection).cloned() else {
            return;
        };
        connection.outstanding.set(connection.outstanding.get() - 1);
        let (request, kind) = (ticket.request, ticket.kind);
        self.put(&connection, request, kind, outcome, count, body);
    }

    /// Writes all buffered replies as far as the sockets take them.
    pub(crate) fn flush(&self) {
        for connection in self.dirty.borrow_mut().drain(..) {
            connection.write_out();
        }
    }

    pub(crate) fn connection_count(&self) -> u64 {
        self.connections.borrow().len() as u64
    }

    /// Requests that were accepted and not yet answered.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding.get()
    }

    fn put(
        &self,
        connection: &Rc<Connection>,
        request: u64,
        kind: FrameKind,
        outcome: Outcome,
        count: u32,
        body: &[u8],
    ) {
        let mut out = connection.out.borrow_mut();
        let frame = Frame {
            kind,
            outcome,
            request,
            deadline_ms: 0,
            count,
            body,
        };
        if out.is_empty() {
            self.dirty.borrow_mut().push(Rc::clone(connection));
        }
        out.extend_from_slice(&frame.encode_head());
        out.extend_from_slice(body);
        if out.len() > UNREAD_REPLY_BYTES_MAX {
            connection.close();
        }
    }

    fn count_queue(&self, queue: &VecDeque<Request>) {
        self.queued_events
            .set(queue.iter().map(|r| r.count as usize).sum());
    }

    async fn serve(self: Rc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        let (mut reader, writer) = stream.into_split();
        let connection = Rc::new(Connection::new(writer));
        self.connections
            .borrow_mut()
            .insert(id, Rc::clone(&connection));
        let outcome = self.converse(id, &mut reader, &connection).await;
        self.connections.borrow_mut().remove(&id);
        outcome
    }

    async fn converse(
        &self,
        id: u64,
        reader: &mut OwnedReadHalf,
        connection: &Rc<Connection>,
    ) -> io::Result<()> {
        let mut codec = codec();
        let mut buffer = BytesMut::new();
        let mut poked = pin!(connection.poked());
        let hello = tokio::time::timeout(HELLO_TIMEOUT, async {
            loop {
                connection.turn(reader, &mut buffer, poked.as_mut()).await?;
                if let Some(frame) = codec.decode(&mut buffer)? {
                    return io::Result::Ok(frame);
                }
            }
        });
        let hello = hello
            .await
            .map_err(|_| io::Error::other("no hello within five seconds"))??;
        self.welcome(connection, &hello)?;
        loop {
            while let Some(frame) = codec.decode(&mut buffer)? {
                self.receive(id, connection, frame)?;
            }
            self.flush();
            connection.turn(reader, &mut buffer, poked.as_mut()).await?;
        }
    }

    fn receive(&self, id: u64, connection: &Rc<Connection>, bytes: BytesMut) -> io::Result<()> {
        let frame = match Frame::decode(&bytes) {
            Ok(frame) => frame,
            Err(error) => {
                self.put(
                    connection,
                    0,
                    FrameKind::Welcome,
                    Outcome::Malformed,
                    0,
                    error.to_string().as_bytes(),
                );
                self.flush();
                return Err(io::Error::other(error));
            }
        };
        if let Err((outcome, text)) = self.admit(&frame, connection, bytes.len()) {
            let (request, kind) = (frame.request, frame.kind);
            self.shared.metrics.refused(kind, outcome);
            self.put(connection, request, kind, outcome, 0, text.as_bytes());
            return Ok(());
        }
        let patience = match frame.deadline_ms {
            0 => self.default_deadline,
            ms => Duration::from_millis(ms.into()),
        };
        let arrived = Instant::now();
        let ticket = Ticket {
            connection: id,
            request: frame.request,
            kind: frame.kind,
            bytes: bytes.len(),
            arrived,
            deadline: arrived + patience,
        };
        let (kind, count) = (frame.kind, frame.count);
        self.outstanding_bytes
            .set(self.outstanding_bytes.get() + bytes.len());
        self.outstanding.set(self.outstanding.get() + 1);
        connection.outstanding.set(connection.outstanding.get() + 1);
        let rows = rows_of(bytes);
        self.queued_events
            .set(self.queued_events.get() + count as usize);
        self.queue.borrow_mut().push_back(Request {
            ticket,
            kind,
            rows,
            count,
        });
        self.arrived.notify_one();
        Ok(())
    }

    /// Whether a request may go into the queue; if not, how it is answered at once.
    fn admit(
        &self,
        frame: &Frame<'_>,
        connection: &Connection,
        bytes: usize,
    ) -> Result<(), (Outcome, String)> {
        if matches!(frame.kind, FrameKind::Hello | FrameKind::Welcome) {
            let text = "a handshake frame after the handshake";
            return Err((Outcome::Malformed, text.to_owned()));
        }
        frame
            .check_request()
            .map_err(|error| (Outcome::Malformed, error.to_string()))?;
        if frame.count == 0 && frame.kind.request_rows_max() == 1 {
            let text = format!("a request of kind {:?} has one row", frame.kind);
            return Err((Outcome::Malformed, text));
        }
        match &*self.door.borrow() {
            Door::Closed(outcome, text) => return Err((*outcome, text.clone())),
            Door::ReadsOnly(text) if frame.kind.is_write() => {
                return Err((Outcome::Overloaded, text.clone()));
            }
            Door::Open | Door::ReadsOnly(_) => {}
        }
        let full = if connection.outstanding.get() >= CONNECTION_REQUESTS_MAX {
            "too many requests outstanding on this connection"
        } else if self.outstanding_bytes.get() + bytes > QUEUED_REQUEST_BYTES_MAX {
            "too many bytes of requests outstanding on this node"
        } else {
            return Ok(());
        };
        Err((Outcome::Overloaded, full.to_owned()))
    }
}

/// The rows of a frame by themselves. Few are copied, so that the buffer that they came in is used
/// again instead of being replaced for each request.
fn rows_of(mut frame: BytesMut) -> Bytes {
    match frame.len() <= FRAME_HEADER_BYTES + COPIED_BYTES_MAX {
        true => Bytes::copy_from_slice(&frame[FRAME_HEADER_BYTES..]),
        false => frame.split_off(FRAME_HEADER_BYTES).freeze(),
    }
}
