//! Connections that are kept to other voters: made when something is to be said, used by many
//! callers at once, closed when the other side does not answer.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kanjo_format::limits::REGISTER_QUESTIONS_MAX;
use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::GroupError;
use crate::register::SetMember;
use crate::voter::contacts::Contacts;
use crate::voter::sight::Sight;
use crate::voter::wire::{
    Answer, Caller, Envelope, Frames, Greeting, Hello, Purpose, Request, send,
};

/// Connecting and greeting together take no longer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection on which nothing is said for so long is given back.
const IDLE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// It was sent, and may have been acted on.
    #[error("{0}")]
    Lost(String),
}

struct Call {
    request: Request,
    answer: oneshot::Sender<Result<Answer, CallError>>,
}

/// One kept connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    calls: mpsc::Sender<Call>,
}

impl Link {
    /// Asks and waits. A caller that gives up does not know whether the other side acted.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, CallError> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the connection is not kept any more".to_owned();
        let call = Call { request, answer };
        if self.calls.send(call).await.is_err() {
            return Err(CallError::NotSent(gone()));
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Lost(gone())),
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) site: Site,
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) purpose: Purpose,
    /// Only that directory will do.
    pub(crate) incarnation: Option<Incarnation>,
}

/// All connections that this voter has opened.
#[derive(Debug)]
pub(crate) struct Links {
    cluster: ClusterId,
    from: Caller,
    contacts: Arc<Contacts>,
    /// What is heard of the other site, and how long a gap may be.
    sight: Sight,
    gap_max: Duration,
    /// Told when another voter says that this one was replaced.
    ended: mpsc::Sender<GroupError>,
    open: Mutex<HashMap<Target, Link>>,
}

impl Links {
    pub(crate) fn new(
        cluster: ClusterId,
        from: Caller,
        contacts: Arc<Contacts>,
        gap_max: Duration,
        ended: mpsc::Sender<GroupError>,
    ) -> Self {
        Self {
            cluster,
            from,
            contacts,
            sight: Sight::default(),
            gap_max,
            ended,
            open: Mutex::default(),
        }
    }

    /// What is heard of the other site.
    pub(crate) const fn sight(&self) -> &Sight {
        &self.sight
    }

    /// The connection to that target, kept from the first call on.
    pub(crate) fn to(self: &Arc<Self>, target: Target) -> Link {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = open.get(&target) {
            return link.clone();
        }
        // A directory that is no more leaves its connection behind.
        open.retain(|old, _| (old.node, old.purpose) != (target.node, target.purpose));
        let (calls, waiting) = mpsc::channel(REGISTER_QUESTIONS_MAX);
        let link = Link { calls };
        open.insert(target.clone(), link.clone());
        let line = Line {
            links: Arc::clone(self),
            target,
        };
        tokio::spawn(line.keep(waiting));
        link
    }
}

/// The task behind a link.
struct Line {
    links: Arc<Links>,
    target: Target,
}

struct Connection {
    frames: Frames<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// Who answered.
    with: SetMember,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Answer, CallError>>>;

impl Line {
    async fn keep(self, mut calls: mpsc::Receiver<Call>) {
        while let Some(first) = calls.recv().await {
            match timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok(connection)) => {
                    let why = self.talk(connection, first, &mut calls).await;
                    tracing::debug!(target = ?self.target, why, "connection to a voter ended");
                }
                Ok(Err(error)) => self.unsent(first, &mut calls, &error.to_string()),
                Err(_) => self.unsent(first, &mut calls, "no connection in time"),
            }
        }
    }

    fn unsent(&self, first: Call, calls: &mut mpsc::Receiver<Call>, why: &str) {
        let (node, address) = (self.target.node, &self.target.address);
        let why = format!("voter {node} at {address}: {why}");
        let mut next = Some(first);
        while let Some(call) = next {
            let _ = call.answer.send(Err(CallError::NotSent(why.clone())));
            next = calls.try_recv().ok();
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(&self.target.address).await?;
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let (links, target) = (&self.links, &self.target);
        let mut hello = Hello::new(links.cluster, target.site, target.purpose, links.from);
        hello.to = target.incarnation;
        send(&mut write, &hello).await?;
        let mut frames = Frames::new(read);
        match frames.next::<Greeting>().await? {
            Some(Greeting::Welcome { member }) if member.node == target.node => {
                frames.greeted();
                Ok(Connection {
                    frames,
                    write,
                    with: member,
                })
            }
            Some(Greeting::Welcome {
                member: SetMember { node, .. },
            }) => Err(io::Error::other(format!(
                "voter {node} answers there, not {}: the addresses in the cluster file are mixed up",
                target.node
            ))),
            Some(Greeting::Refused { why, replaced }) => {
                if replaced {
                    let why = format!("voter {} says: {why}", target.node);
                    // If something has ended this voter already, that is what counts.
                    let _ = links.ended.try_send(GroupError::Replaced { why });
                }
                Err(io::Error::other(format!("refused: {why}")))
            }
            None => Err(io::Error::other("closed without a greeting")),
        }
    }

    /// Carries calls until the connection ends, and says why it did.
    async fn talk(
        &self,
        connection: Connection,
        first: Call,
        calls: &mut mpsc::Receiver<Call>,
    ) -> String {
        let Connection {
            mut frames,
            mut write,
            with,
        } = connection;
        let patience = self.target.purpose.patience();
        let (mut waiting, mut id) = (Waiting::new(), 0);
        let mut next = Some(first);
        // Since when an answer is due, its asker may have given up; and when something came last.
        let (mut due, mut heard) = (None, Instant::now());
        let why = loop {
            if let Some(Call { request, answer }) = next.take() {
                // Who waits no longer is not waited for.
                waiting.retain(|_, answer| !answer.is_closed());
                due = due.or_else(|| Some(Instant::now()));
                id += 1;
                waiting.insert(id, answer);
                let body = request;
                match timeout(patience, send(&mut write, &Envelope { id, body })).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break error.to_string(),
                    Err(_) => break "it does not read".to_owned(),
                }
            }
            let end = due.map_or(heard + IDLE, |due| due + patience);
            tokio::select! {
                frame = frames.next::<Envelope<Answer>>() => match frame {
                    Ok(Some(Envelope { id, body })) => {
                        heard = Instant::now();
                        self.links.contacts.hear(with);
                        if self.target.site != self.links.from.site {
                            self.links.sight.hear(self.links.gap_max);
                        }
                        if let Some(answer) = waiting.remove(&id) {
                            let _ = answer.send(Ok(body));
                        }
                        due = (!waiting.is_empty()).then_some(heard);
                    }
                    Ok(None) => break "it closed the connection".to_owned(),
                    Err(error) => break error.to_string(),
                },
                call = calls.recv() => match call {
                    Some(call) => next = Some(call),
                    None => break "nobody needs it any more".to_owned(),
                },
                () = sleep_until(end) => {
                    break format!("nothing came for {:?}", heard.elapsed());
                }
            }
        };
        let told = format!("voter {}: {why}", self.target.node);
        for (_, answer) in waiting {
            let _ = answer.send(Err(CallError::Lost(told.clone())));
        }
        why
    }
}

impl Purpose {
    /// A connection on which an answer is due for so long is taken for dead. Longer than any
    /// answer may take.
    const fn patience(self) -> Duration {
        match self {
            Self::Raft | Self::Beat | Self::Third => Duration::from_millis(1_000),
            Self::Ask => Duration::from_millis(3_000),
            Self::Join => Duration::from_millis(12_000),
        }
    }
}
