//! The admin port: one JSON command a line, one JSON answer a line.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::status::{DrillReport, DrillStatus, Promotion, Status};

/// Most bytes of one command line.
pub(crate) const COMMAND_BYTES_MAX: usize = 64 << 10;

/// What an operator may ask of a running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Say how it is.
    Status,
    /// Say so once a condition holds, or at the time-out how it is then.
    Await {
        /// What to wait for.
        condition: Condition,
        /// How long at most.
        timeout_ms: u64,
    },
    /// Open the next site term here.
    Promote(PromoteOptions),
    /// As primary: go on without the auxiliary.
    Alone {
        /// Why; it is written into the log.
        reason: String,
        /// Even if the auxiliary's mark cannot be cleared.
        unfenced: bool,
    },
    /// In a group, at the server that processes for the auxiliary site: the active site is lost,
    /// take over.
    Failover(FailoverOptions),
    /// In a group, at the primary: hand over to the other site, which loses nothing.
    Switchover(OperatorWord),
    /// In a group, at the primary: how it shall go on without what it waits for.
    Protect(ProtectOptions),
    /// As replica: recover a copy of the ledger, compare it, and say what that took.
    Drill {
        /// Without a checkpoint: the whole log from lsn 0 on.
        #[serde(default)]
        full: bool,
    },
    /// Say how far the drill is, and what the last one found.
    DrillStatus,
}

/// How commits shall be protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectMode {
    /// Nothing is answered without the in-sync set.
    #[default]
    Maximum,
    /// The primary answers alone for a while.
    Degraded,
}

/// An operator's word on how commits shall be protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectOptions {
    /// How.
    pub mode: ProtectMode,
    /// Who decides.
    pub operator: String,
    /// Why; it is written into the log.
    pub reason: String,
    /// After so many milliseconds `degraded` ends by itself.
    pub expires_ms: u64,
    /// The other site is off, says the operator.
    pub other_site_is_off: bool,
    /// And says it again.
    pub certainly_off: bool,
}

/// Who decided, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorWord {
    /// Who.
    pub operator: String,
    /// Why; it is written into the log.
    pub reason: String,
}

/// Who decides that the auxiliary site takes over, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverOptions {
    /// Who.
    pub operator: String,
    /// Why; it is written into the log.
    pub reason: String,
    /// Also without the word of the third site's witness, if there is one: what the other site
    /// answered after it went on without this one is lost.
    #[serde(default)]
    pub accept_missing_answered_transfers: bool,
    /// The other site is off, says the operator, although that witness has let it go on alone.
    #[serde(default)]
    pub other_site_is_off: bool,
    /// And says it again.
    #[serde(default)]
    pub certainly_off: bool,
}

impl From<OperatorWord> for FailoverOptions {
    fn from(word: OperatorWord) -> Self {
        Self {
            operator: word.operator,
            reason: word.reason,
            ..Self::default()
        }
    }
}

/// States that scripts wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// New transfers are answered.
    Serving,
    /// Every commit waits for an auxiliary.
    Protected,
    /// This replica carries the in-set mark.
    InSync,
    /// All that is committed is in the ledger and acked.
    Idle,
    /// The node is a replica.
    Replica,
    /// New transfers are not answered.
    NotServing,
}

/// How to promote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteOptions {
    /// Also serve without an auxiliary.
    pub alone: bool,
    /// Why; it is written into the log.
    pub reason: String,
    /// Promote without the in-set mark: answered transfers may be missing.
    pub accept_missing_transfers: bool,
    /// Promote although the log was cut at an uncertain end.
    pub accept_uncertain_tail: bool,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// How it is.
    Status(Box<Status>),
    /// The condition did not hold in time; how it is.
    TimedOut(Box<Status>),
    /// Promoted, or already was.
    Promotion(Box<Promotion>),
    /// A drill came to its end; whether all is well stands in it.
    Drill(Box<DrillReport>),
    /// How far the drill is.
    DrillStatus(Box<DrillStatus>),
    /// Done as asked.
    Done {
        /// What was done.
        message: String,
    },
    /// Not done, nothing changed.
    Refused {
        /// Why, and what to do.
        message: String,
    },
}

impl Condition {
    /// Whether it holds.
    pub fn holds(self, status: &Status) -> bool {
        match self {
            Self::Serving => status.serving,
            Self::NotServing => !status.serving,
            Self::Protected => {
                let connected = match &status.peers[..] {
                    [] | [_] => status.peer.connected == Some(true),
                    peers => {
                        let mut members = peers.iter().filter(|peer| peer.member).peekable();
                        members.peek().is_some() && members.all(|peer| peer.connected == Some(true))
                    }
                };
                status.role == "primary" && status.protection == "PROTECTED" && connected
            }
            Self::InSync => status.role == "replica" && status.in_sync,
            Self::Replica => status.role == "replica",
            Self::Idle => {
                let flushed = status.tail_lsn == status.committed_lsn
                    && status.applied_lsn == status.tail_lsn;
                flushed && status.requests_outstanding == 0
            }
        }
    }
}

/// Asks a node's admin port one thing and waits for the answer.
pub fn ask(address: &str, command: &Command, timeout: Duration) -> Result<Answer, NodeError> {
    let failed = |what: &'static str| {
        let address = address.to_owned();
        move |source| NodeError::Admin {
            address,
            what,
            source,
        }
    };
    let target = crate::config::resolve("admin address", address)?;
    let mut stream = TcpStream::connect_timeout(&target, timeout).map_err(failed("connect to"))?;
    stream
        .set_read_timeout(Some(timeout))
        .map_err(failed("set a time-out for"))?;
    let mut line = serde_json::to_string(command).expect("a command is plain data");
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .map_err(failed("write to"))?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NodeError::AdminSilent {
                address: address.to_owned(),
                waited: timeout,
            },
            _ => failed("read from")(error),
        })?;
    serde_json::from_str(&answer).map_err(|error| NodeError::AdminAnswer {
        address: address.to_owned(),
        message: if answer.is_empty() {
            "the connection was closed".to_owned()
        } else {
            error.to_string()
        },
    })
}
