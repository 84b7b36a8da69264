//! A running voter: its thread, its end, and the port by which the server of this process asks.

use std::net::{TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::GroupError;
use crate::port::{Asked, RegisterPort, Told, View};
use crate::voter::contacts::Contacts;
use crate::voter::hearing::Hearing;
use crate::voter::link::Links;
use crate::voter::network::Network;
use crate::voter::pace::Pulse;
use crate::voter::setup::{Raft, Setup};
use crate::voter::store::Store;
use crate::voter::wire::Caller;
use crate::voter::{
    Core, Shared, asking, beats, bootstrap, governor, join, pace, report, server, sight,
};

/// What is under way when a voter stops is given so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Threads for writes and for names of hosts; a slow name must not hold up a write.
const BLOCKING_THREADS_MAX: usize = 4;

/// A voter of a site's register, on a thread of its own. Ends when it is stopped or dropped.
#[derive(Debug)]
pub struct Voter {
    port: RegisterPort,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<GroupError>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread owns.
struct Ends {
    asked: mpsc::UnboundedReceiver<Asked>,
    view: watch::Sender<View>,
    beats: watch::Receiver<Option<Told>>,
    stop: watch::Receiver<bool>,
}

impl Voter {
    /// Starts the voter. When this returns it listens; the register may still be looked for,
    /// which its view tells.
    pub fn start(setup: Setup) -> Result<Self, GroupError> {
        setup.check()?;
        let store = Store::open(&setup)?;
        let listener = listen(&setup.info().address)?;
        let (asked, asked_end) = mpsc::unbounded_channel();
        let (view_end, view) = watch::channel(View::default());
        let (beat, beats) = watch::channel(None);
        let (stop, stop_end) = watch::channel(false);
        let (ended_end, ended) = watch::channel(None);
        let ends = Ends {
            asked: asked_end,
            view: view_end,
            beats,
            stop: stop_end,
        };
        let thread = std::thread::Builder::new()
            .name("kanjo-group".to_owned())
            .spawn(move || {
                if let Err(error) = run(setup, store, listener, ends) {
                    tracing::error!(%error, "the voter has ended");
                    ended_end.send_replace(Some(error));
                }
            })
            .map_err(|error| GroupError::Stopped {
                why: format!("its thread cannot be started: {error}"),
            })?;
        Ok(Self {
            port: RegisterPort { asked, view, beat },
            stop,
            ended,
            thread: Some(thread),
        })
    }

    /// The port by which a server asks and tells.
    pub fn port(&self) -> RegisterPort {
        self.port.clone()
    }

    /// Why the voter ended by itself. The sender is gone once it has ended, whyever.
    pub fn ended(&self) -> watch::Receiver<Option<GroupError>> {
        self.ended.clone()
    }

    /// Ends the voter and waits until its thread has ended.
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

impl Drop for Voter {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn listen(address: &str) -> Result<TcpListener, GroupError> {
    let failed = |error: std::io::Error| GroupError::Listen {
        address: address.to_owned(),
        cause: error.to_string(),
    };
    let mut named = address.to_socket_addrs().map_err(failed)?;
    let first = named.next().ok_or_else(|| GroupError::Listen {
        address: address.to_owned(),
        cause: "it names no address".to_owned(),
    })?;
    let listener = TcpListener::bind(first).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn run(setup: Setup, store: Store, listener: TcpListener, ends: Ends) -> Result<(), GroupError> {
    let failed = |error: std::io::Error| GroupError::Stopped {
        why: format!("its runtime cannot be started: {error}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("kanjo-group")
        .build()
        .map_err(failed)?;
    let outcome = runtime.block_on(vote(setup, store, listener, ends));
    // A write that is under way is finished before the lock of the directory goes.
    runtime.shutdown_timeout(STOP_TIMEOUT);
    outcome
}

async fn vote(
    setup: Setup,
    store: Store,
    listener: TcpListener,
    ends: Ends,
) -> Result<(), GroupError> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(GroupError::io(&setup.dir, "watch the register's port"))?;
    let (told, mut replaced) = mpsc::channel(1);
    let info = setup.info();
    tracing::info!(
        cluster = %setup.cluster, site = %setup.site, node = %setup.node, incarnation = %setup.incarnation,
        voter = %info.id(), address = info.address, witness = setup.witness, "voter started"
    );
    let Ends {
        asked,
        view,
        beats,
        mut stop,
    } = ends;
    let core = assemble(setup, store, view, told).await?;
    tokio::spawn(server::accept(core.clone(), listener));
    tokio::spawn(report::publish(core.clone()));
    tokio::spawn(pace::elect(core.clone()));
    tokio::spawn(pace::beat(core.clone()));
    tokio::spawn(governor::govern(core.clone()));
    tokio::spawn(join::finish_changes(core.clone()));
    tokio::spawn(bootstrap::find_register(core.clone()));
    tokio::spawn(asking::serve(core.clone(), asked));
    if !core.setup.witness {
        // A witness asks nobody and speaks for no server.
        tokio::spawn(asking::look_over(core.clone()));
        tokio::spawn(sight::look_out(core.clone()));
        if core.setup.topology.third_witness.is_some() {
            tokio::spawn(asking::look_at_third(core.clone()));
        }
        beats::tell_all(&core, &beats);
    }
    let mut metrics = core.raft.metrics();
    let end = tokio::select! {
        // An error is the dropped handle, which ends the voter as well.
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        Some(error) = replaced.recv() => Err(error),
        why = failed(&mut metrics) => Err(GroupError::Stopped { why }),
    };
    let end = match (end, core.store.failure().await) {
        (Err(GroupError::Stopped { .. }), Some(failure)) => Err(failure),
        (end, _) => end,
    };
    let _ = timeout(STOP_TIMEOUT, core.raft.shutdown()).await;
    end
}

async fn assemble(
    setup: Setup,
    store: Store,
    view: watch::Sender<View>,
    told: mpsc::Sender<GroupError>,
) -> Result<Core, GroupError> {
    let info = setup.info();
    let from = Caller {
        site: setup.site,
        node: setup.node,
        incarnation: setup.incarnation,
    };
    let contacts = Arc::new(Contacts::default());
    let gap_max = governor::gap_max(&setup.topology.timing);
    let links = Links::new(setup.cluster, from, Arc::clone(&contacts), gap_max, told);
    let links = Arc::new(links);
    let network = Network {
        site: setup.site,
        topology: Arc::new(setup.topology.clone()),
        links: Arc::clone(&links),
    };
    let stopped = |why: String| GroupError::Stopped { why };
    let config = setup.raft_config().validate();
    let config = Arc::new(config.map_err(|error| stopped(error.to_string()))?);
    let raft = Raft::new(info.id(), config, network, store.clone(), store.clone());
    let raft = raft.await.map_err(|error| stopped(error.to_string()))?;
    Ok(Arc::new(Shared {
        setup,
        info,
        raft,
        store,
        links,
        contacts,
        hearing: Hearing::default(),
        pulse: Pulse::new(),
        view,
        elections: AtomicU64::new(0),
        joining: tokio::sync::Mutex::new(()),
        look_over: tokio::sync::Notify::new(),
    }))
}

/// Waits until Raft cannot go on, and says why.
async fn failed(
    metrics: &mut watch::Receiver<
        openraft::RaftMetrics<super::setup::VoterId, super::setup::VoterInfo>,
    >,
) -> String {
    loop {
        if let Err(fatal) = &metrics.borrow_and_update().running_state {
            return fatal.to_string();
        }
        if metrics.changed().await.is_err() {
            return "raft has ended".to_owned();
        }
    }
}
