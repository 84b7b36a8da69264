//! The witness of a third site: one small file, and servers of both sites that ask.
//!
//! ```text
//! third = "KNJT 1 crc=… bytes=…\n" and {node, record}
//! ```
//!
//! It is one process with one record, not a register: while it is away nothing is lost but that a
//! site can go on without the other one. What a word means stands in [`crate::register::Third`].

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kanjo_format::limits::{REGISTER_CONNECTIONS_MAX, REGISTER_FRAME_BYTES_MAX};
use kanjo_format::{ClusterId, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::GroupError;
use crate::disk::{Form, lock, replace};
use crate::identity::draw;
use crate::port::{ThirdQuestion, ThirdReply};
use crate::register::{SetMember, Third};
use crate::topology::Topology;
use crate::voter::handle::listen;
use crate::voter::wire::{
    Answer, Caller, Envelope, Frames, Greeting, Hello, Purpose, Request, send,
};

const FORM: Form = Form {
    magic: "KNJT",
    version: 1,
    bytes_max: REGISTER_FRAME_BYTES_MAX,
};
const NAME: &str = "third";
const TEMPORARY: &str = "third.tmp";

/// Who connects says hello, and reads an answer, within this time.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that says nothing for this long is closed: it must not keep somebody's place.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What a third witness needs.
#[derive(Clone, Debug)]
pub struct ThirdSetup {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its number in the cluster file.
    pub node: NodeId,
    /// Its directory's identity.
    pub incarnation: Incarnation,
    /// Where its file is.
    pub dir: PathBuf,
    /// The cluster file.
    pub topology: Topology,
}

/// What the file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    node: NodeId,
    record: Third,
}

/// The record and its file.
#[derive(Debug)]
struct Keeper {
    kept: Kept,
    dir: PathBuf,
    /// The first failure is final: a repeated sync proves nothing.
    failed: watch::Sender<Option<GroupError>>,
    // Held, not read: the lock goes with it.
    _lock: std::fs::File,
}

impl Keeper {
    fn open(
        setup: &ThirdSetup,
        failed: watch::Sender<Option<GroupError>>,
    ) -> Result<Self, GroupError> {
        let lock = lock(&setup.dir)?;
        let file = setup.dir.join(NAME);
        let kept = match FORM.read(&file)? {
            Some(bytes) => FORM.decode(&file, &bytes)?,
            None => {
                // Not the directory's: a file that was lost alone must not seem to know its words.
                let kept = Kept {
                    node: setup.node,
                    record: Third::new(setup.cluster, draw()?),
                };
                replace(&setup.dir.join(TEMPORARY), &file, &FORM.encode(&kept))?;
                kept
            }
        };
        let record = &kept.record;
        let pairs = [
            (
                "cluster",
                record.cluster.to_string(),
                setup.cluster.to_string(),
            ),
            ("node", kept.node.to_string(), setup.node.to_string()),
        ];
        for (field, found, expected) in pairs {
            if found != expected {
                return Err(GroupError::Foreign {
                    file,
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(Self {
            kept,
            dir: setup.dir.clone(),
            failed,
            _lock: lock,
        })
    }

    /// Answers; a word that was given is on the disk first.
    fn answer(&mut self, question: ThirdQuestion) -> ThirdReply {
        if let Some(error) = &*self.failed.borrow() {
            let why = error.to_string();
            return ThirdReply::Silent { why };
        }
        let ThirdQuestion::Decide { follows, site } = question else {
            let third = self.kept.record.clone();
            return ThirdReply::Stands { third };
        };
        let mut kept = self.kept.clone();
        match kept.record.decide(follows, site) {
            Err(why) => {
                tracing::warn!(%site, %why, "a word was refused");
                return ThirdReply::Refused { why };
            }
            Ok(false) => {}
            Ok(true) => {
                let (temporary, file) = (self.dir.join(TEMPORARY), self.dir.join(NAME));
                if let Err(error) = replace(&temporary, &file, &FORM.encode(&kept)) {
                    let why = error.to_string();
                    self.failed.send_replace(Some(error));
                    return ThirdReply::Silent { why };
                }
                tracing::warn!(%site, number = kept.record.mark.number, "this site may decide alone: the other one may not");
                self.kept = kept;
            }
        }
        let third = self.kept.record.clone();
        ThirdReply::Stands { third }
    }
}

/// A running third witness, on a thread of its own. Ends when it is stopped or dropped.
#[derive(Debug)]
pub struct ThirdWitness {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<GroupError>>,
    thread: Option<JoinHandle<()>>,
}

impl ThirdWitness {
    /// Starts it. When this returns it listens.
    pub fn start(setup: ThirdSetup) -> Result<Self, GroupError> {
        let third = setup.topology.third_witness.as_ref();
        let Some(third) = third.filter(|third| third.node == setup.node) else {
            return Err(GroupError::Setup {
                why: format!(
                    "node {} is no third witness in the cluster file",
                    setup.node
                ),
            });
        };
        let (failed, ended) = watch::channel(None);
        let keeper = Keeper::open(&setup, failed.clone())?;
        let listener = listen(&third.register)?;
        let (stop, stopped) = watch::channel(false);
        tracing::info!(
            cluster = %setup.cluster, node = %setup.node, incarnation = %setup.incarnation,
            number = keeper.kept.record.mark.number, address = third.register, "third witness started"
        );
        let thread = std::thread::Builder::new()
            .name("kanjo-third".to_owned())
            .spawn(move || {
                if let Err(error) = run(setup, keeper, listener, stopped) {
                    tracing::error!(%error, "the third witness has ended");
                    failed.send_replace(Some(error));
                }
            })
            .map_err(|error| GroupError::Stopped {
                why: format!("its thread cannot be started: {error}"),
            })?;
        Ok(Self {
            stop,
            ended,
            thread: Some(thread),
        })
    }

    /// Why it ended by itself, or cannot keep what it says any more.
    pub fn ended(&self) -> watch::Receiver<Option<GroupError>> {
        self.ended.clone()
    }

    /// Ends it and waits until its thread has ended.
    pub fn stop(mut self) -> Result<(), GroupError> {
        self.end();
        let ended = self.ended.borrow().clone();
        ended.map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for ThirdWitness {
    fn drop(&mut self) {
        self.end();
    }
}

/// What its connections share.
struct Shared {
    setup: ThirdSetup,
    keeper: Mutex<Keeper>,
}

fn run(
    setup: ThirdSetup,
    keeper: Keeper,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), GroupError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| GroupError::Stopped {
            why: format!("its runtime cannot be started: {error}"),
        })?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(GroupError::io(&setup.dir, "watch the port"))?;
        let keeper = Mutex::new(keeper);
        let shared = Arc::new(Shared { setup, keeper });
        tokio::select! {
            // An error is the dropped handle, which ends it as well.
            _ = stopped.wait_for(|stop| *stop) => {}
            () = accept(shared, listener) => {}
        }
        Ok(())
    })
}

async fn accept(shared: Arc<Shared>, listener: tokio::net::TcpListener) {
    let places = Arc::new(Semaphore::new(REGISTER_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = serve(&shared, stream).await {
                        tracing::debug!(%peer, %error, "connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (read, mut write) = stream.into_split();
    let mut frames = Frames::new(read);
    let hello = timeout(PEER_TIMEOUT, frames.next()).await.map_err(late)??;
    let hello = hello.ok_or_else(|| io::Error::other("closed before a hello"))?;
    let from = match Hello::read(hello).and_then(|hello| check(&shared.setup, &hello)) {
        Ok(from) => from,
        Err(why) => {
            tracing::warn!(why, "a connection was refused");
            let replaced = false;
            return send(&mut write, &Greeting::Refused { why, replaced }).await;
        }
    };
    let member = SetMember {
        node: shared.setup.node,
        incarnation: shared.setup.incarnation,
    };
    send(&mut write, &Greeting::Welcome { member }).await?;
    frames.greeted();
    loop {
        let frame = timeout(SILENCE_MAX, frames.next::<Envelope<Request>>()).await;
        let Some(Envelope { id, body }) = frame.map_err(late)?? else {
            return Ok(());
        };
        let Request::Third { question } = body else {
            return Err(io::Error::other(
                "only questions to a third witness belong here",
            ));
        };
        if let ThirdQuestion::Decide { site, .. } = question
            && site != from.site
        {
            return Err(io::Error::other("a server speaks for its own site"));
        }
        let reply = {
            let mut keeper = shared.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            // Its sync holds up everybody else here, who has to wait for it anyway.
            keeper.answer(question)
        };
        let body = Answer::Third { reply };
        let sent = timeout(PEER_TIMEOUT, send(&mut write, &Envelope { id, body })).await;
        sent.map_err(late)??;
    }
}

/// A caller must be a server of the cluster file, and ask what a third witness answers.
fn check(setup: &ThirdSetup, hello: &Hello) -> Result<Caller, String> {
    hello.check_cluster(setup.cluster)?;
    let from = hello.from;
    if hello.purpose != Purpose::Third {
        return Err(
            "this is a third site's witness, which keeps no register: the addresses in the cluster file are mixed up"
                .to_owned(),
        );
    }
    match setup.topology.server(from.node) {
        Some(server) if server.site == from.site => Ok(from),
        _ => Err(format!(
            "the cluster file here has no server {} in site {}",
            from.node, from.site
        )),
    }
}
