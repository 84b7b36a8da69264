//! The task that owns the connection: it finds the primary when somebody needs one, serves
//! callers over it, and looks around when the primary gives reason for doubt.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use kanjo_format::Epoch;
use kanjo_format::limits::CONNECTION_REQUESTS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ClientError;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::client::{Primary, Shared};
use crate::config::ClientConfig;
use crate::dial::{Connection, Known, SearchFailure, find_primary};
use crate::outbox::Outbox;
use crate::session::{Session, Signs};

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 16 << 10;
/// How long a deposed node may take to answer what it still has.
const DRAIN: Duration = Duration::from_millis(500);

type Search = Pin<Box<dyn Future<Output = Result<Connection, SearchFailure>> + Send>>;

/// State of the task.
pub(crate) struct Driver {
    config: Arc<ClientConfig>,
    shared: Arc<Shared>,
    calls: mpsc::Receiver<Call>,
    /// Taken from the callers and not sent.
    queue: VecDeque<Call>,
    known: Known,
    backoff: Backoff,
}

/// How service over one connection ended.
enum Ended {
    /// All clients are gone.
    Closed,
    /// The connection is no longer of use.
    Lost(String),
    /// Another node is the primary.
    Superseded(Box<Connection>),
}

/// Service over one connection.
struct Service {
    session: Session,
    peer: Primary,
    /// Set once the node said that it is not the primary: nothing new is sent to it.
    drain_until: Option<Instant>,
    /// Looks for a better primary while this one is in doubt.
    probe: Option<Probe>,
    last_probe: Option<Instant>,
}

struct Probe {
    search: Search,
    /// Nothing came from the node since the probe began.
    silent: bool,
}

impl Driver {
    pub(crate) fn new(
        config: Arc<ClientConfig>,
        shared: Arc<Shared>,
        calls: mpsc::Receiver<Call>,
    ) -> Self {
        let backoff = Backoff::new(config.backoff_min, config.backoff_max);
        let known = Known {
            cluster: config.cluster,
            ..Known::default()
        };
        Self {
            config,
            shared,
            calls,
            queue: VecDeque::new(),
            known,
            backoff,
        }
    }

    /// Runs until the last client is dropped.
    pub(crate) async fn run(mut self, first: Connection) {
        let mut next = Some(first);
        loop {
            let connection = match next.take() {
                Some(connection) => connection,
                None => match self.find().await {
                    Some(connection) => connection,
                    None => return,
                },
            };
            match self.serve(connection).await {
                Ended::Closed => return,
                Ended::Lost(cause) => tracing::debug!(cause, "looking for the primary"),
                Ended::Superseded(connection) => next = Some(*connection),
            }
        }
    }

    /// Searches, round after round, for as long as a caller waits. `None` when all are gone.
    async fn find(&mut self) -> Option<Connection> {
        loop {
            self.queue.retain(Call::is_wanted);
            if self.queue.is_empty() {
                let call = self.calls.recv().await?;
                self.queue.push_back(call);
                continue;
            }
            let pause = self.backoff.pause();
            if !pause.is_zero() {
                self.gather_during(sleep(pause)).await;
            }
            let search = find_primary(self.config.clone(), self.known.clone());
            let failure = match self.gather_during(search).await {
                Ok(connection) => return Some(connection),
                Err(failure) => failure,
            };
            let tried = std::mem::replace(&mut self.known.hint, failure.hint.clone());
            if failure.permanent {
                for call in self.queue.drain(..) {
                    call.finish(Err(ClientError::Refused(failure.text.clone())));
                }
            }
            self.shared.set_problem(failure, tried);
        }
    }

    /// Waits for something and takes calls meanwhile.
    async fn gather_during<F: Future>(&mut self, wait: F) -> F::Output {
        let mut wait = pin!(wait);
        loop {
            let room = self.queue.len() < CONNECTION_REQUESTS_MAX;
            tokio::select! {
                output = &mut wait => return output,
                Some(call) = self.calls.recv(), if room => self.queue.push_back(call),
            }
        }
    }

    async fn serve(&mut self, connection: Connection) -> Ended {
        let Connection {
            mut stream,
            inbox,
            codec,
            peer,
        } = connection;
        tracing::debug!(address = peer.address, epoch = %peer.epoch, "connected to the primary");
        self.known.cluster = Some(peer.cluster);
        self.known.epoch = self.known.epoch.max(peer.epoch);
        self.known.hint = Some(peer.address.clone());
        self.shared.set_primary(peer.clone());
        let mut service = Service {
            session: Session::new(codec, inbox, peer.version),
            peer,
            drain_until: None,
            probe: None,
            last_probe: None,
        };
        let ended = {
            let (mut reader, mut writer) = stream.split();
            self.exchange(&mut service, &mut reader, &mut writer).await
        };
        let cause = match &ended {
            Ended::Closed => "the client was closed".to_owned(),
            Ended::Lost(cause) => cause.clone(),
            Ended::Superseded(by) => format!("{} took over", by.peer.address),
        };
        for call in service.session.end(&cause).rev() {
            self.queue.push_front(call);
        }
        ended
    }

    async fn exchange(
        &mut self,
        service: &mut Service,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
    ) -> Ended {
        let shared = self.shared.clone();
        // Waits in line once, not anew at each turn.
        let mut doubted = pin!(shared.doubt.notified());
        loop {
            let draining = service.drain_until.is_some();
            if draining && service.session.is_idle() {
                return Ended::Lost(format!("{} is not the primary", service.peer.address));
            }
            while !draining && service.session.has_room() {
                match self.queue.pop_front() {
                    Some(call) => service.session.send(call),
                    None => break,
                }
            }
            let open = !draining && service.session.has_room();
            let address = &service.peer.address;
            // With room to spare one read tells that there is no more.
            service.session.inbox.reserve(READ_BYTES);
            tokio::select! {
                biased;
                written = write_some(writer, &mut service.session.outbox),
                    if !service.session.outbox.is_empty() =>
                {
                    if let Err(error) = written {
                        return Ended::Lost(format!("writing to {address}: {error}"));
                    }
                }
                read = reader.read_buf(&mut service.session.inbox) => match read {
                    Ok(0) => return Ended::Lost(format!("{address} closed the connection")),
                    Ok(_) => {
                        if let Some(ended) = self.take_replies(service) {
                            return ended;
                        }
                    }
                    Err(error) => return Ended::Lost(format!("reading from {address}: {error}")),
                },
                call = self.calls.recv(), if open => match call {
                    Some(call) => {
                        service.session.send(call);
                        // Whatever else is ready goes into the same write.
                        while service.session.has_room()
                            && let Ok(call) = self.calls.try_recv()
                        {
                            service.session.send(call);
                        }
                    }
                    None => return Ended::Closed,
                },
                () = doubted.as_mut() => {
                    doubted.set(shared.doubt.notified());
                    self.probe(service);
                }
                found = probed(&mut service.probe) => {
                    if let Some(better) = service.weigh(found) {
                        return Ended::Superseded(Box::new(better));
                    }
                }
                () = passed(service.drain_until) => {
                    return Ended::Lost(format!("{address} is not the primary"));
                }
            }
        }
    }

    /// Hands out replies; ends the service if they cannot be understood.
    fn take_replies(&mut self, service: &mut Service) -> Option<Ended> {
        if let Some(probe) = &mut service.probe {
            probe.silent = false;
        }
        let signs = match service.session.receive() {
            Ok(signs) => signs,
            Err(text) => {
                let cause = format!("{} broke the protocol: {text}", service.peer.address);
                return Some(Ended::Lost(cause));
            }
        };
        self.heed(service, signs);
        None
    }

    fn heed(&mut self, service: &mut Service, signs: Signs) {
        if signs.served {
            self.backoff.reset();
        }
        if signs.deposed {
            // Another primary may not be there yet: the next search is not hurried by an old
            // one that still calls itself primary.
            self.known.hint = signs.hint.or(self.known.hint.take());
            let until = Instant::now() + DRAIN;
            service.drain_until.get_or_insert(until);
            self.shared
                .set_deposed(&service.peer.address, &self.known.hint);
        } else if signs.doubtful {
            self.probe(service);
        }
    }

    /// Looks for a primary of a higher epoch, unless that is under way or was just done.
    fn probe(&self, service: &mut Service) {
        if service.probe.is_some() || service.drain_until.is_some() {
            return;
        }
        let now = Instant::now();
        let pause = service
            .last_probe
            .map(|last| (last + self.config.backoff_max).saturating_duration_since(now))
            .unwrap_or_default();
        let (config, mut known) = (self.config.clone(), self.known.clone());
        // The node in doubt may still greet as primary: only a higher epoch ends the round.
        known.epoch = Epoch::new(service.peer.epoch.get().saturating_add(1));
        let search = async move {
            sleep(pause).await;
            find_primary(config, known).await
        };
        service.probe = Some(Probe {
            search: Box::pin(search),
            silent: true,
        });
    }
}

impl Service {
    /// Decides on what a probe found. A new connection to the same epoch is only better if the
    /// old one has gone silent.
    fn weigh(&mut self, found: Result<Connection, SearchFailure>) -> Option<Connection> {
        let silent = self.probe.take().is_some_and(|probe| probe.silent);
        self.last_probe = Some(Instant::now());
        let better = found.ok()?;
        let (new, old) = (better.peer.epoch, self.peer.epoch);
        (new > old || (silent && new == old)).then_some(better)
    }
}

/// Writes what the socket takes. A single piece, which most requests are, goes the shorter way.
async fn write_some(writer: &mut WriteHalf<'_>, outbox: &mut Outbox) -> io::Result<usize> {
    if !outbox.is_one_piece() {
        return writer.write_buf(outbox).await;
    }
    let written = writer.write(outbox.chunk()).await?;
    outbox.advance(written);
    Ok(written)
}

/// Waits until then, for ever if there is no such time.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Waits for the probe, for ever if there is none.
async fn probed(probe: &mut Option<Probe>) -> Result<Connection, SearchFailure> {
    match probe {
        Some(probe) => probe.search.as_mut().await,
        None => std::future::pending().await,
    }
}
