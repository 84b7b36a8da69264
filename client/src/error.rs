//! How a call can end without a result.

use kanjo_format::client::FrameKind;

use crate::CreateResult;

/// Why a call has no result. Repeating it with the same ids is safe after any of these.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The request was sent, and whether it was or will be executed is not known: neither
    /// success nor failure. Ask again with the same ids, or look the ids up.
    #[error("outcome unknown: {cause}; repeat it with the same ids to find out")]
    Indeterminate {
        /// What got in between.
        cause: String,
    },
    /// No node that could be reached takes writes. Nothing was done.
    #[error(
        "no primary: {text}{}",
        hint.as_ref().map(|h| format!("; one node names {h} as the primary")).unwrap_or_default()
    )]
    NotPrimary {
        /// The address that a node named last, if one did.
        hint: Option<String>,
        /// What each node said.
        text: String,
    },
    /// The node was cut off by a higher epoch while it had the request: outcome unknown.
    #[error(
        "outcome unknown: a higher epoch cut the node off; repeat it with the same ids{}{text}",
        if text.is_empty() { "" } else { ": " }
    )]
    Fenced {
        /// What the node said.
        text: String,
    },
    /// The node refused the request because its queues are full or its disk nearly is. Nothing
    /// was done; try again later.
    #[error("the node is overloaded: {text}")]
    Overloaded {
        /// What the node said.
        text: String,
    },
    /// A transfer is above what the node takes on while it answers alone. Nothing of the request
    /// was done; repeat it with the same ids once commits are protected again.
    #[error("held back by the node: {text}")]
    HeldBack {
        /// What the node said.
        text: String,
    },
    /// The request cannot be executed as it is. Nothing was done; repeating it does not help.
    #[error("the node refused the request as malformed: {text}")]
    Malformed {
        /// What the node said.
        text: String,
    },
    /// The deadline passed and nothing was done: the request was never sent, or only read.
    #[error("deadline passed: {text}")]
    Deadline {
        /// What it waited for.
        text: String,
    },
    /// The client was shut down (its runtime ended). Nothing was done.
    #[error("the client is closed")]
    Closed,
    /// No address can ever serve this client: another cluster, version or protocol.
    #[error("no node of the given addresses can serve this client: {0}")]
    Refused(String),
    /// The node is of a version that does not know this kind of request. Nothing was sent.
    #[error(
        "the node speaks protocol version {version}, {kind:?} needs version {}; \
         nothing was sent: bring the nodes to a newer kanjo first",
        kind.version_min()
    )]
    Unsupported {
        /// What was asked.
        kind: FrameKind,
        /// The highest version that the node and this client both speak.
        version: u16,
    },
    /// The events are more than one request holds and cannot be split as they are. Nothing was
    /// sent.
    #[error("{text}; nothing was sent")]
    Unsplittable {
        /// What is in the way.
        text: String,
    },
    /// A node sent an answer to a read that cannot be understood.
    #[error("a node broke the protocol: {0}")]
    Protocol(String),
    /// The configuration cannot be used.
    #[error("client configuration: {0}")]
    Config(String),
    /// Of a call that was split into several requests the first ones were answered.
    #[error("the first {} events were answered; then: {error}", answered.len())]
    Partial {
        /// Results of the events answered, from the first one on.
        answered: Vec<CreateResult>,
        /// What happened to the next ones. Those behind them were not sent.
        error: Box<ClientError>,
    },
}

impl ClientError {
    /// Whether (a part of) what was asked may have been done without this client knowing.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Indeterminate { .. } | Self::Fenced { .. } => true,
            Self::Partial { error, .. } => error.outcome_unknown(),
            _ => false,
        }
    }

    /// Whether repeating the call, with the same ids, can bring a result.
    pub fn worth_repeating(&self) -> bool {
        match self {
            Self::Indeterminate { .. }
            | Self::NotPrimary { .. }
            | Self::Fenced { .. }
            | Self::Overloaded { .. }
            | Self::HeldBack { .. }
            | Self::Deadline { .. } => true,
            Self::Partial { error, .. } => error.worth_repeating(),
            Self::Malformed { .. }
            | Self::Closed
            | Self::Refused(_)
            | Self::Unsupported { .. }
            | Self::Unsplittable { .. }
            | Self::Protocol(_)
            | Self::Config(_) => false,
        }
    }
}
