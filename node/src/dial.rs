//! The connection that a primary makes to a peer: dialled in the background, again after a
//! growing pause, with a second connection for heartbeats that no sync on the peer delays.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use kanjo_format::replication::REPLICATION_LENGTH_BYTES;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::link::{Link, Traffic};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What happened on the way to the peer.
pub(crate) enum DialEvent {
    /// The connection stands.
    Connected,
    /// It could not be made, or broke.
    Failed(String),
    /// The socket can be read or written.
    Ready,
    /// An answer on the heartbeat connection.
    Pong(Vec<u8>),
}

enum State {
    Idle,
    Pausing(Pin<Box<Sleep>>),
    Dialing(JoinHandle<io::Result<TcpStream>>),
    Connected(Link),
}

/// The dialled side of one peer.
pub(crate) struct Dialer {
    address: String,
    state: State,
    pause: Duration,
    heartbeat: Option<Heartbeat>,
    traffic: Rc<Traffic>,
}

struct Heartbeat {
    pings: mpsc::Sender<Vec<u8>>,
    pongs: mpsc::Receiver<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Dialer {
    pub(crate) const fn new(address: String, traffic: Rc<Traffic>) -> Self {
        Self {
            address,
            state: State::Idle,
            pause: FIRST_PAUSE,
            heartbeat: None,
            traffic,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Wants a connection: now the first time, after the pause when the last one failed.
    pub(crate) fn want(&mut self) {
        if matches!(self.state, State::Idle) {
            self.dial();
        }
    }

    /// Drops any connection and dials at once.
    pub(crate) fn redial(&mut self) {
        self.heartbeat = None;
        self.dial();
    }

    fn dial(&mut self) {
        let address = self.address.clone();
        self.state = State::Dialing(tokio::task::spawn_local(async move {
            let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
            connect
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }));
    }

    /// Ends the connection, if there is one, and waits a moment before the next.
    pub(crate) fn drop_link(&mut self) {
        self.heartbeat = None;
        let until = Instant::now() + self.pause;
        self.state = State::Pausing(Box::pin(tokio::time::sleep_until(until)));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Ends everything; no connection is wanted any more.
    pub(crate) fn stop(&mut self) {
        self.heartbeat = None;
        self.state = State::Idle;
        self.pause = FIRST_PAUSE;
    }

    /// The peer answered as it should: the next failure starts with the shortest pause.
    pub(crate) const fn reset_pause(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    pub(crate) const fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Connected(link) => Some(link),
            _ => None,
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// The next thing that happened; pending for ever if no connection is wanted.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<DialEvent> {
        loop {
            match &mut self.state {
                State::Idle => return Poll::Pending,
                State::Pausing(sleep) => {
                    ready!(sleep.as_mut().poll(context));
                    self.dial();
                }
                State::Dialing(task) => {
                    let outcome = ready!(Pin::new(task).poll(context));
                    return Poll::Ready(
                        self.dialed(outcome.unwrap_or_else(|error| Err(io::Error::other(error)))),
                    );
                }
                State::Connected(link) => {
                    // Pongs are few: a link that always has something cannot be kept waiting by them.
                    if let Poll::Ready(pong) = poll_pong(self.heartbeat.as_mut(), context) {
                        return Poll::Ready(DialEvent::Pong(pong));
                    }
                    return link.poll_ready(context).map(|ready| match ready {
                        Ok(()) => DialEvent::Ready,
                        Err(error) => DialEvent::Failed(error.to_string()),
                    });
                }
            }
        }
    }

    fn dialed(&mut self, outcome: io::Result<TcpStream>) -> DialEvent {
        let traffic = self.traffic.clone();
        match outcome.and_then(|stream| Link::new(stream, traffic)) {
            Ok(link) => {
                self.state = State::Connected(link);
                DialEvent::Connected
            }
            Err(error) => {
                self.drop_link();
                DialEvent::Failed(format!("cannot connect: {error}"))
            }
        }
    }

    /// Sends a ping on the heartbeat connection, which is made with `hello` if there is none.
    pub(crate) fn ping(&mut self, hello: impl FnOnce() -> Vec<u8>, ping: Vec<u8>) {
        if self.heartbeat.as_ref().is_none_or(|h| h.task.is_finished()) {
            self.heartbeat = {
                let (address, traffic) = (self.address.clone(), self.traffic.clone());
                Some(Heartbeat::start(address, hello(), traffic))
            };
        }
        if let Some(heartbeat) = &self.heartbeat {
            // A full queue means that earlier pings are unanswered; one more says nothing new.
            let _ = heartbeat.pings.try_send(ping);
        }
    }
}

impl Heartbeat {
    fn start(address: String, hello: Vec<u8>, traffic: Rc<Traffic>) -> Self {
        let (pings, asked) = mpsc::channel(4);
        let (tell, pongs) = mpsc::channel(4);
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = beat(&address, &hello, asked, tell, &traffic).await {
                tracing::debug!(%address, %error, "heartbeat connection ended");
            }
        });
        Self { pings, pongs, task }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat(
    address: &str,
    hello: &[u8],
    mut pings: mpsc::Receiver<Vec<u8>>,
    pongs: mpsc::Sender<Vec<u8>>,
    traffic: &Traffic,
) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let mut stream = connect
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    stream.write_all(hello).await?;
    traffic.note_sent(hello.len());
    while let Some(ping) = pings.recv().await {
        stream.write_all(&ping).await?;
        traffic.note_sent(ping.len());
        let pong = crate::server::read_frame(&mut stream).await?;
        traffic.note_received(REPLICATION_LENGTH_BYTES + pong.len());
        if pongs.send(pong).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn poll_pong(heartbeat: Option<&mut Heartbeat>, context: &mut Context<'_>) -> Poll<Vec<u8>> {
    match heartbeat {
        // Without its task nothing comes any more; the next ping starts another.
        Some(heartbeat) => match ready!(heartbeat.pongs.poll_recv(context)) {
            Some(pong) => Poll::Ready(pong),
            None => Poll::Pending,
        },
        None => Poll::Pending,
    }
}

/// Frames of a link, until no more is at hand.
pub(crate) fn next_frame(link: Option<&mut Link>) -> io::Result<Option<BytesMut>> {
    link.map_or(Ok(None), Link::next_frame)
}
