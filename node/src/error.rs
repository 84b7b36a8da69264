//! Why a node does not start, or stops.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kanjo_format::Lsn;

/// Everything that can end a node, or refuse a command, in one line each.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    ConfigRead {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is not what it should be.
    #[error("the configuration {} is wrong: {message}", path.display())]
    ConfigSyntax {
        /// Which file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A key has a value that it cannot have.
    #[error("configuration key {key}: {why}")]
    ConfigValue {
        /// Which key.
        key: &'static str,
        /// Why.
        why: String,
    },
    /// A port cannot be bound.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// Which key.
        key: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A thread, a signal handler or the runtime cannot be had.
    #[error("cannot {what}: {source}")]
    System {
        /// What for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    Dir(#[from] kanjo_wal::DirError),
    /// The log.
    #[error(transparent)]
    Log(#[from] kanjo_wal::LogError),
    /// The runs of the index.
    #[error(transparent)]
    Index(#[from] kanjo_index::RunError),
    /// A batch of the log does not fit the ledger.
    #[error(
        "the batch at lsn {lsn} does not fit the ledger: {source}; the log is damaged or was written by a faulty program: stop using this directory and promote or copy the other node's"
    )]
    Apply {
        /// Which batch.
        lsn: Lsn,
        /// Why.
        source: kanjo_engine::ApplyError,
    },
    /// A record of the log that execution needs cannot be read.
    #[error(transparent)]
    History(#[from] kanjo_engine::HistoryError),
    /// A query met a part of the log or of its index that cannot be read.
    #[error(transparent)]
    Past(#[from] kanjo_engine::query::PastError),
    /// Two nodes hold different ledgers at the same position.
    #[error(
        "the ledgers differ at lsn {lsn}: digest {mine} here, {theirs} on the primary; keep both directories and compare them with `kanjo log dump`"
    )]
    DigestDiffers {
        /// Where.
        lsn: Lsn,
        /// This node's.
        mine: kanjo_format::Digest,
        /// The primary's.
        theirs: kanjo_format::Digest,
    },
    /// The register of its site.
    #[error(transparent)]
    Group(#[from] kanjo_group::GroupError),
    /// The node needs an operator's decision before it goes on.
    #[error("stopped for a decision: {0}")]
    NeedsOperator(String),
    /// A promotion or another command is refused; nothing was changed.
    #[error("refused: {0}")]
    Refused(String),
    /// The admin port cannot be talked to.
    #[error("cannot {what} the admin port {address}: {source}")]
    Admin {
        /// Where.
        address: String,
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The admin port did not answer in time.
    #[error("the admin port {address} gave no answer within {} ms", waited.as_millis())]
    AdminSilent {
        /// Where.
        address: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The admin port answered something else.
    #[error(
        "the admin port {address} gave no answer that can be read: {message}; is it an admin_listen address?"
    )]
    AdminAnswer {
        /// Where.
        address: String,
        /// What is wrong.
        message: String,
    },
}
