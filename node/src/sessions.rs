//! Connections that other nodes made: frames in, last words out.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use kanjo_shipper::receiver::{Event, SessionId};

use crate::error::NodeError;
use crate::link::Link;
use crate::node::Node;
use crate::server::Inbound;

/// Most connections of other nodes at once.
const SESSIONS_MAX: usize = 16;

/// A connection that the other node made.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) link: Link,
    /// Set once nothing more is read from it: until when its last words may take.
    pub(crate) closing: Option<Instant>,
}

impl Node {
    pub(crate) fn on_inbound(&mut self, inbound: Inbound) -> Result<(), NodeError> {
        let link = tokio::net::TcpStream::from_std(inbound.stream)
            .and_then(|stream| Link::new(stream, self.hot.traffic.clone()));
        let Ok(link) = link else { return Ok(()) };
        if self.sessions.len() >= SESSIONS_MAX {
            // The oldest gives way: the present writer dials again if it was its own.
            let oldest = self.sessions.remove(0).id;
            self.receive(Event::Closed { session: oldest })?;
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.push(Session {
            id,
            link,
            closing: None,
        });
        self.tell_log_moved()?;
        self.session_frame(id, &inbound.hello)
    }

    pub(crate) fn on_session(&mut self, index: usize) -> Result<(), NodeError> {
        let Some(session) = self.sessions.get_mut(index) else {
            return Ok(());
        };
        let id = session.id;
        loop {
            let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
                return Ok(());
            };
            if session.closing.is_some() {
                break;
            }
            match session.link.next_frame() {
                Ok(Some(frame)) => self.session_frame(id, &frame)?,
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(session = id.0, %error, "replication connection ended");
                    self.sessions.retain(|s| s.id != id);
                    self.receive(Event::Closed { session: id })?;
                    // What it brought is synced all the same.
                    break;
                }
            }
        }
        self.receive(Event::ReadDone)
    }

    pub(crate) fn flush_sessions(&mut self) -> Result<(), NodeError> {
        let mut ended = Vec::new();
        for session in &mut self.sessions {
            let broken = session.link.flush().is_err();
            let closing = session.closing;
            let done = closing
                .is_some_and(|until| session.link.output_bytes() == 0 || until <= Instant::now());
            if broken || done {
                ended.push((session.id, closing.is_some()));
            }
        }
        for (id, closing) in ended {
            self.sessions.retain(|s| s.id != id);
            if !closing {
                self.receive(Event::Closed { session: id })?;
            }
        }
        self.continue_sending_log()
    }
}

/// Waits until one of the sessions can be read, or written if something waits to be.
pub(crate) async fn ready_session(sessions: &mut [Session]) -> usize {
    poll_fn(|context| {
        for (index, session) in sessions.iter_mut().enumerate() {
            let ready = match session.closing {
                Some(_) => session.link.poll_writable(context),
                None => session.link.poll_ready(context),
            };
            if ready.is_ready() {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
    .await
}
