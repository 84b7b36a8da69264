//! Starts a node: ports, threads, shutdown. The main thread serves the admin port and the first
//! frame of every replication connection; the hot thread does the rest.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kanjo_format::limits::REPLICATION_FRAME_BYTES_MAX;
use kanjo_format::replication::{Body, Frame, Purpose};
use kanjo_format::{Epoch, Lsn};
use kanjo_group::{SetMember, Setup, Topology, Voter};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::admin::{Answer, COMMAND_BYTES_MAX};
use crate::config::{Config, resolve};
use crate::error::NodeError;
use crate::front::{Front, Identity};
use crate::group::{Group, GroupEvents};
use crate::hot::{AdminRequest, Hot, Ports};
use crate::http::{self, Site};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::published::Published;
use crate::store::Store;

/// A connection on the admin or heartbeat port that says nothing for this long is closed: it
/// must not keep the place of somebody who has something to say.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// A peer must say hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Most connections on the admin port, and on the replication port, at once.
const SIDE_CONNECTIONS_MAX: usize = 64;

/// A replication connection whose first frame has been read.
pub(crate) struct Inbound {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) hello: Vec<u8>,
}

/// What the main thread tells while the hot thread may be busy in a sync.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Watched, so that the heartbeats of a fenced writer end as soon as it is fenced.
    granted: watch::Sender<Epoch>,
    pub(crate) durable: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) published: Arc<Published>,
    pub(crate) metrics: Metrics,
}

impl Shared {
    pub(crate) fn granted(&self) -> Epoch {
        *self.granted.borrow()
    }

    pub(crate) fn set_granted(&self, epoch: Epoch) {
        self.granted.send_replace(epoch);
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Relaxed))
    }

    pub(crate) fn applied(&self) -> Lsn {
        Lsn::new(self.applied.load(Ordering::Relaxed))
    }
}

struct Listeners {
    client: std::net::TcpListener,
    replication: std::net::TcpListener,
    admin: std::net::TcpListener,
    http: Option<std::net::TcpListener>,
}

/// Runs a node until `shutdown` becomes true or it cannot go on. Returns once all that was
/// answered is synced and the threads have ended.
pub fn run(config: Config, shutdown: watch::Receiver<bool>) -> Result<(), NodeError> {
    config.check()?;
    if config.insecure_listen {
        tracing::warn!(
            "insecure_listen is set: ports may be reachable from other machines, and nothing is encrypted or authenticated"
        );
    }
    let listeners = Listeners {
        client: bind("client_listen", &config.client_listen)?,
        replication: bind("replication_listen", &config.replication_listen)?,
        admin: bind("admin_listen", &config.admin_listen)?,
        http: match &config.http_listen {
            Some(address) => Some(bind("http_listen", address)?),
            None => None,
        },
    };
    let (to_hot, inbound) = mpsc::channel(8);
    let (commands, admin) = mpsc::channel(64);
    let shared = Arc::new(Shared::default());
    let (ended, mut hot_end) = oneshot::channel();
    let ports = Ports {
        inbound,
        admin,
        shutdown: shutdown.clone(),
        shared: Arc::clone(&shared),
    };
    let client = listeners.client;
    let site = Arc::new(Site::new(Arc::clone(&shared), config.heartbeat_ms));
    let hot = std::thread::Builder::new()
        .name("kanjo-hot".into())
        .spawn(move || {
            let outcome = hot_thread(config, client, ports);
            // The main thread waits for this end, or has ended itself.
            let _ = ended.send(());
            outcome
        })
        .map_err(|source| NodeError::System {
            what: "start the hot thread",
            source,
        })?;
    runtime()?.block_on(async {
        let admin = accept_admin(tokio_listener(listeners.admin)?, commands);
        let replication =
            accept_replication(tokio_listener(listeners.replication)?, to_hot, shared);
        if let Some(listener) = listeners.http {
            tokio::spawn(http::accept(tokio_listener(listener)?, site));
        }
        tokio::select! {
            () = admin => {}
            () = replication => {}
            _ = &mut hot_end => {}
        }
        Ok::<(), NodeError>(())
    })?;
    hot.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn hot_thread(
    config: Config,
    client: std::net::TcpListener,
    ports: Ports,
) -> Result<(), NodeError> {
    ports.shared.published.turn();
    let pulse = Arc::clone(&ports.shared.published);
    let (store, recovery) = Store::open(&config, pulse)?;
    let control = store.dir.control();
    tracing::info!(
        cluster = %control.cluster, node = %control.node, site = %control.site, incarnation = %control.incarnation,
        tail = %recovery.tail, confirmed = %recovery.confirmed, uncertain = recovery.uncertain, "log recovered"
    );
    if let Some(cut) = &recovery.cut {
        tracing::warn!(from = %cut.from, bytes = cut.bytes, kept_in = %cut.path.display(), "an unsynced end of the log was cut after a crash");
    }
    ports.shared.set_granted(control.granted_epoch);
    let identity = Identity {
        cluster: control.cluster,
        node: control.node,
        epoch: control.granted_epoch,
        primary: false,
    };
    let deadline = Duration::from_millis(config.default_deadline_ms.into());
    let shared = Arc::clone(&ports.shared);
    let front = Front::new(identity, config.client_connections, deadline, shared);
    let local = tokio::task::LocalSet::new();
    let runtime = runtime()?;
    // A task among those that serve the connections: what one of them reads wakes it in the same
    // turn. As the future that is blocked on, it would only be looked at after the next wait.
    let playing = local.spawn_local(async move {
        let listener = tokio_listener(client)?;
        tokio::task::spawn_local(Rc::clone(&front).accept(listener));
        let group = start_group(&config, &store)?;
        let (hot, sources) = Hot::new(config, store, front, ports)?;
        let peers = Peers::new(hot.config.peer_addresses(), &hot.traffic);
        crate::node::play(hot, sources, peers, recovery.confirmed, group).await
    });
    let outcome = match runtime.block_on(local.run_until(playing)) {
        Ok(outcome) => outcome,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    };
    drop(local);
    outcome
}

/// Starts this server's voter, where the configuration names a cluster file.
fn start_group(config: &Config, store: &Store) -> Result<Option<(Group, GroupEvents)>, NodeError> {
    let control = store.dir.control();
    let folder = config.data_dir.join("register");
    let Some(topology) = &config.topology else {
        if folder.exists() {
            return Err(NodeError::Refused(
                "this directory belongs to a server of a group: name its cluster_file in the configuration".to_owned(),
            ));
        }
        return Ok(None);
    };
    let listed = topology.server(control.node);
    if config.node != Some(control.node) || listed.is_none_or(|s| s.site != control.site) {
        return Err(NodeError::Refused(format!(
            "the directory was formatted for node {} in site {}, which is not what configuration and cluster file say",
            control.node, control.site
        )));
    }
    let me = SetMember {
        node: control.node,
        incarnation: control.incarnation,
    };
    let voter = Voter::start(Setup {
        topology: Topology::clone(topology),
        cluster: control.cluster,
        site: control.site,
        node: control.node,
        incarnation: control.incarnation,
        witness: false,
        dir: folder,
    })?;
    Ok(Some(Group::new(
        voter,
        Arc::clone(topology),
        me,
        control.site,
    )))
}

fn runtime() -> Result<tokio::runtime::Runtime, NodeError> {
    // Without the drivers for signals and child processes, which are asked before every wait.
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| NodeError::System {
            what: "start the runtime",
            source,
        })
}

fn bind(key: &'static str, address: &str) -> Result<std::net::TcpListener, NodeError> {
    let failed = |source| NodeError::Listen {
        key,
        address: address.to_owned(),
        source,
    };
    let listener = std::net::TcpListener::bind(resolve(key, address)?).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn tokio_listener(listener: std::net::TcpListener) -> Result<TcpListener, NodeError> {
    TcpListener::from_std(listener).map_err(|source| NodeError::System {
        what: "watch a port",
        source,
    })
}

async fn accept_admin(listener: TcpListener, commands: mpsc::Sender<AdminRequest>) {
    let places = Arc::new(Semaphore::new(SIDE_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let commands = commands.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_admin(stream, commands).await {
                        tracing::debug!(%peer, %error, "admin connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => pause_after("admin", &error).await,
        }
    }
}

async fn serve_admin(
    stream: TcpStream,
    commands: mpsc::Sender<AdminRequest>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(COMMAND_BYTES_MAX as u64));
    loop {
        let mut line = String::new();
        lines.get_mut().set_limit(COMMAND_BYTES_MAX as u64);
        let read = tokio::time::timeout(SILENCE_MAX, lines.read_line(&mut line));
        if read
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??
            == 0
        {
            return Ok(());
        }
        if !line.ends_with('\n') {
            return Err(std::io::Error::other(
                "a command line that is too long, or cut off",
            ));
        }
        let answer = match serde_json::from_str(&line) {
            Ok(command) => {
                let (answer, answered) = oneshot::channel();
                if commands
                    .send(AdminRequest { command, answer })
                    .await
                    .is_err()
                {
                    return Ok(());
                }
                match answered.await {
                    Ok(answer) => answer,
                    Err(_) => Answer::Refused {
                        message: "the node stopped before it answered".to_owned(),
                    },
                }
            }
            Err(error) => Answer::Refused {
                message: format!("not a command: {error}"),
            },
        };
        let mut text = serde_json::to_string(&answer).map_err(std::io::Error::other)?;
        text.push('\n');
        write.write_all(text.as_bytes()).await?;
    }
}

pub(crate) async fn accept_replication(
    listener: TcpListener,
    to_hot: mpsc::Sender<Inbound>,
    shared: Arc<Shared>,
) {
    let places = Arc::new(Semaphore::new(SIDE_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (to_hot, shared) = (to_hot.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Err(error) = greet(stream, to_hot, &shared).await {
                        tracing::warn!(%peer, %error, "replication connection refused");
                    }
                    drop(place);
                });
            }
            Err(error) => pause_after("replication", &error).await,
        }
    }
}

/// Reads the first frame; a half-open or talkative stranger gets no further than here.
async fn greet(
    mut stream: TcpStream,
    to_hot: mpsc::Sender<Inbound>,
    shared: &Shared,
) -> std::io::Result<()> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, read_frame(&mut stream));
    let hello = hello
        .await
        .map_err(|_| std::io::Error::other("no hello within five seconds"))??;
    let (purpose, epoch) = match Frame::decode(&hello).map_err(std::io::Error::other)?.body {
        Body::Hello(hello) => (hello.purpose, hello.highest_epoch),
        _ => return Err(std::io::Error::other("the first frame must be a Hello")),
    };
    match purpose {
        Purpose::Heartbeat => {
            let mut granted = shared.granted.subscribe();
            tokio::select! {
                ended = answer_heartbeats(stream, shared) => ended,
                // A writer behind a cut does not hear that it is fenced: this end does not wait.
                _ = granted.wait_for(|granted| *granted > epoch) => Ok(()),
            }
        }
        Purpose::Replicate => {
            let stream = stream.into_std()?;
            to_hot
                .send(Inbound { stream, hello })
                .await
                .map_err(|_| std::io::Error::other("the node is stopping"))
        }
    }
}

async fn answer_heartbeats(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let frame = tokio::time::timeout(SILENCE_MAX, read_frame(&mut stream));
        let frame = frame
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        let frame = Frame::decode(&frame).map_err(std::io::Error::other)?;
        // A primary that was granted away goes on beating until it hears of it.
        if frame.epoch >= shared.granted() {
            shared.published.hear_writer();
        }
        let Body::Ping { nonce } = frame.body else {
            return Err(std::io::Error::other(
                "only pings belong on a heartbeat connection",
            ));
        };
        let mut out = Vec::new();
        crate::following::pong(nonce, shared).encode(&mut out);
        stream.write_all(&out).await?;
    }
}

pub(crate) async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await? as usize;
    if length > REPLICATION_FRAME_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "a frame of {length} bytes is over the limit of {REPLICATION_FRAME_BYTES_MAX}"
        )));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn pause_after(port: &str, error: &std::io::Error) {
    tracing::warn!(port, %error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
