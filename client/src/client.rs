//! The handle that callers hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kanjo_format::client::FrameKind;
use kanjo_format::limits::CONNECTION_REQUESTS_MAX;
use kanjo_format::{ClusterId, Epoch, NodeId, TransferId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::ClientError;
use crate::backoff::Backoff;
use crate::call::{Answer, Call, SendState, only_reads};
use crate::config::ClientConfig;
use crate::dial::{Connection, Known, SearchFailure, find_primary};
use crate::driver::Driver;

/// Longest deadline that is kept; a longer one is cut to it.
const DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A node that greeted as the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// The address that was dialled.
    pub address: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its number.
    pub node: NodeId,
    /// The epoch that it was in when it greeted.
    pub epoch: Epoch,
    /// The version of the protocol that it and this client both speak.
    pub version: u16,
}

/// A handle to a cluster. Clones share one connection and its pipeline: start any number of
/// calls at once. They are sent in the order in which they were started, over one connection.
///
/// Dropping a call's future gives the request up; like at a deadline, it may still be executed.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) config: Arc<ClientConfig>,
    /// How long one request may take.
    pub(crate) deadline: Duration,
    shared: Arc<Shared>,
    calls: mpsc::Sender<Call>,
}

impl Client {
    /// Finds the primary and connects to it, within [`ClientConfig::connect_deadline`]. Needs a
    /// tokio runtime with I/O and time; a task of the client runs on it.
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        config.check()?;
        let config = Arc::new(config);
        let shared = Arc::new(Shared::default());
        let deadline = after(config.connect_deadline);
        let search = first_primary(&config, &shared);
        let first = match timeout_at(deadline, search).await {
            Ok(first) => first?,
            Err(_) => return Err(shared.not_sent()),
        };
        let (calls, receiver) = mpsc::channel(CONNECTION_REQUESTS_MAX);
        shared.set_primary(first.peer.clone());
        let driver = Driver::new(config.clone(), shared.clone(), receiver);
        tokio::spawn(driver.run(first));
        Ok(Self {
            deadline: config.deadline,
            config,
            shared,
            calls,
        })
    }

    /// The primary that the client is, or was last, connected to.
    pub fn primary(&self) -> Option<Primary> {
        self.shared.state().primary.clone()
    }

    /// The same client, whose calls take at most `deadline` each instead of
    /// [`ClientConfig::deadline`]: `client.with_deadline(d).lookup_accounts(&ids)`.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// When a call that starts now ends at the latest.
    pub(crate) fn due(&self) -> Instant {
        after(self.deadline)
    }

    pub(crate) async fn call(
        &self,
        kind: FrameKind,
        count: usize,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let (answer, answered) = oneshot::channel();
        let state = Arc::new(SendState::default());
        let call = Call {
            kind,
            count: u32::try_from(count).map_err(|error| ClientError::Config(error.to_string()))?,
            body,
            deadline,
            state: state.clone(),
            answer,
        };
        match self.calls.try_send(call) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(ClientError::Closed),
            Err(TrySendError::Full(call)) => {
                match timeout_at(deadline, self.calls.send(call)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(ClientError::Closed),
                    Err(_) => return Err(self.shared.not_sent()),
                }
            }
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) if state.is_sent() && !only_reads(kind) => Err(ClientError::Indeterminate {
                cause: "the client was closed".into(),
            }),
            Ok(Err(_)) => Err(ClientError::Closed),
            Err(_) if state.abandon() => Err(self.shared.not_sent()),
            Err(_) => {
                self.shared.doubt.notify_one();
                let text = "no answer came before the deadline".to_owned();
                Err(match only_reads(kind) {
                    true => ClientError::Deadline { text },
                    false => ClientError::Indeterminate { cause: text },
                })
            }
        }
    }
}

/// An id for a new transfer: milliseconds of the clock, then 80 random bits. Ids made so are
/// unique without coordination and grow with time, which keeps the index over them compact.
///
/// Draw it once and keep it: it is the same id that makes a retry safe.
pub fn new_transfer_id() -> TransferId {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis()) & ((1 << 48) - 1);
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system gives no random bytes");
    let random = u128::from_le_bytes(random) >> 48;
    // Neither zero nor all ones, which are not valid ids.
    TransferId::new((millis << 80 | random).clamp(1, u128::MAX - 1))
}

/// Searches until there is a primary, or an answer that no search can change.
async fn first_primary(
    config: &Arc<ClientConfig>,
    shared: &Shared,
) -> Result<Connection, ClientError> {
    let mut backoff = Backoff::new(config.backoff_min, config.backoff_max);
    let mut known = Known {
        cluster: config.cluster,
        ..Known::default()
    };
    loop {
        sleep(backoff.pause()).await;
        match find_primary(config.clone(), known.clone()).await {
            Ok(first) => return Ok(first),
            Err(failure) if failure.permanent => return Err(ClientError::Refused(failure.text)),
            Err(failure) => {
                known.hint.clone_from(&failure.hint);
                shared.set_problem(failure, None);
            }
        }
    }
}

pub(crate) fn after(deadline: Duration) -> Instant {
    Instant::now() + deadline.min(DEADLINE_MAX)
}

/// What the driver lets the handles know.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// A caller heard nothing in time: is that node still the primary?
    pub(crate) doubt: Notify,
}

#[derive(Debug, Default)]
struct State {
    primary: Option<Primary>,
    problem: Option<Problem>,
}

#[derive(Clone, Debug)]
struct Problem {
    text: String,
    reached: bool,
    hint: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_primary(&self, primary: Primary) {
        let mut state = self.state();
        state.primary = Some(primary);
        state.problem = None;
    }

    pub(crate) fn set_deposed(&self, address: &str, hint: &Option<String>) {
        self.state().problem = Some(Problem {
            text: format!("{address} is not the primary any more"),
            reached: true,
            hint: hint.clone(),
        });
    }

    /// A search failed, also at the address that was named before it.
    pub(crate) fn set_problem(&self, failure: SearchFailure, tried: Option<String>) {
        self.state().problem = Some(Problem {
            text: failure.text,
            reached: failure.reached,
            hint: failure.hint.or(tried),
        });
    }

    /// Why a request could not be sent up to its deadline.
    fn not_sent(&self) -> ClientError {
        match self.state().problem.clone() {
            Some(Problem {
                text,
                reached: true,
                hint,
            }) => ClientError::NotPrimary { hint, text },
            Some(Problem { text, .. }) => ClientError::Deadline { text },
            None => ClientError::Deadline {
                text: "the request could not be sent in time".into(),
            },
        }
    }
}
