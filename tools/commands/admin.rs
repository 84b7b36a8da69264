//! Talking to a node's admin port.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use kanjo_node::NodeError;
use kanjo_node::admin::{Answer, Command, Condition, ask};

use crate::exit::{Exit, Failure};

/// A node that does not accept within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than the node's own time-out its answer is waited for.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Asks once and waits for the answer as long as `patience`.
pub(super) fn ask_once(
    address: &str,
    command: &Command,
    patience: Duration,
) -> Result<Answer, Failure> {
    probe(address)?;
    Ok(ask(address, command, patience)?)
}

/// Has a node at an address that somebody typed do something. What answers there is made sure of
/// first: at another port the outcome would be unknown.
pub(super) fn have_done(
    address: &str,
    command: &Command,
    patience: Duration,
) -> Result<Answer, Failure> {
    probe(address)?;
    probe_for_node(address)?;
    Ok(ask(address, command, patience)?)
}

/// Asks until the condition holds. A node that is not there yet, or goes away and comes back, is
/// waited for as well.
pub(super) fn wait_for(
    address: &str,
    condition: Condition,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let command = Command::Await {
            condition,
            timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        let failure = match ask_once(address, &command, left + ANSWER_MARGIN) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let passing = matches!(failure.exit(), Exit::Unreached | Exit::Unknown);
        if !passing || Instant::now() + RETRY_PAUSE >= deadline {
            return Err(failure);
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}

/// What a node that refuses says.
pub(super) fn refused(address: &str, answer: Answer) -> Failure {
    match answer {
        Answer::Refused { message } => Failure::failed(format!("{address} refused: {message}")),
        other => Failure::failed(format!(
            "{address} gave an answer to another question: {other:?}"
        )),
    }
}

/// Whether it is a node that accepts there. Asks what every version answers, in few words.
fn probe_for_node(address: &str) -> Result<(), Failure> {
    match ask(address, &Command::DrillStatus, CONNECT_TIMEOUT) {
        // One that stands still for a moment has its admin port there all the same.
        Ok(_) | Err(NodeError::AdminSilent { .. }) => Ok(()),
        Err(error) => Err(Failure::new(Exit::Unreached, error).with(
            "the command was not sent: give the node's admin_listen (not client_listen) address",
        )),
    }
}

/// Whether anybody accepts there, so that a long patience is not spent on a wrong address.
fn probe(address: &str) -> Result<(), Failure> {
    let unreached = |why: std::io::Error| {
        let text = format!("cannot connect to the admin port {address}: {why}");
        Failure::new(Exit::Unreached, text)
            .with("is the node running, and is this its admin_listen (not client_listen) address?")
    };
    let wrong = |why: std::io::Error| {
        Failure::usage(format!("--connect {address:?} is not HOST:PORT: {why}"))
    };
    let mut last = std::io::Error::other("the name has no address");
    for target in address.to_socket_addrs().map_err(wrong)? {
        match TcpStream::connect_timeout(&target, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(unreached(last))
}
