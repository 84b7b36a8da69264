//! What can go wrong on the disk: what happened, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use kanjo_format::control::ControlError;
use kanjo_format::{BatchError, ClusterId, Lsn};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The operating system refused something.
    #[error("{}: cannot {doing}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error(
        "{} is in use by {holder}: stop that process first, or use another directory", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who holds the lock, as far as it is known.
        holder: String,
    },
    /// No control file.
    #[error(
        "{} is not a kanjo data directory (no control file): format it first; but if log files are in it, keep them, format another directory and seed that", path.display()
    )]
    NotFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// The directory to be formatted holds something.
    #[error(
        "{} already holds {found:?}: format only an empty directory; nothing was changed", path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The first name that was found there.
        found: String,
    },
    /// The control file was written by a newer program.
    #[error(
        "{}: control file version {version} is newer than this program: use a newer kanjo", file.display()
    )]
    Version {
        /// The control file.
        file: PathBuf,
        /// Its version.
        version: u16,
    },
    /// Neither slot of the control file can be read.
    #[error(
        "{}: both control slots are bad (slot 0: {first}; slot 1: {second}): what this node has \
         promised is lost, so it must come back as a new incarnation: move the directory away, \
         format a new one and seed it", file.display()
    )]
    BothSlotsBad {
        /// The control file.
        file: PathBuf,
        /// What is wrong with slot 0.
        first: ControlError,
        /// What is wrong with slot 1.
        second: ControlError,
    },
    /// An earlier write of the control file failed.
    #[error(
        "{}: an earlier write failed ({first}), and a repeated sync proves nothing: \
         restart this process", file.display()
    )]
    Poisoned {
        /// The control file.
        file: PathBuf,
        /// The first failure.
        first: String,
    },
}

/// Why the log refuses.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused something.
    #[error("{}: cannot {doing} at offset {offset}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were durable, or are all there, do not verify. Never cut by itself.
    #[error(
        "{}: corrupt at offset {offset} (lsn {lsn}): {what}. Nothing was changed. Repair this \
         file from a node that has a good copy, or move the directory away and seed a new one",
        file.display()
    )]
    Corruption {
        /// Which file.
        file: PathBuf,
        /// Start of the bad unit in it.
        offset: u64,
        /// The same place in the log.
        lsn: Lsn,
        /// What is wrong.
        what: String,
    },
    /// A segment file is missing below data that is there or was durable.
    #[error(
        "{}, or the same with .sealed: missing, but the log was durable through lsn {durable} (the \
         file holds lsn {lsn} onwards). Put it back, or move the directory away and seed a new one", file.display()
    )]
    MissingSegment {
        /// The file.
        file: PathBuf,
        /// Its first lsn.
        lsn: Lsn,
        /// How far the log was known to be durable.
        durable: Lsn,
    },
    /// Written by a newer program.
    #[error("{}: at offset {offset} (lsn {lsn}): {what}", file.display())]
    Version {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// The same place in the log.
        lsn: Lsn,
        /// Which version, and what to do.
        what: String,
    },
    /// A file of another cluster.
    #[error(
        "{}: belongs to cluster {found}, this directory to {expected}: it was put here by \
         mistake; take it out", file.display()
    )]
    OtherCluster {
        /// Which file.
        file: PathBuf,
        /// The file's cluster.
        found: ClusterId,
        /// The directory's.
        expected: ClusterId,
    },
    /// A batch was given that does not belong at the tail.
    #[error("this batch cannot be appended at lsn {at}: {source}")]
    Misplaced {
        /// The tail.
        at: Lsn,
        /// Why not.
        source: BatchError,
    },
    /// A batch was given that does not fit into the current segment.
    #[error(
        "a batch of {batch_bytes} bytes does not fit into the {room} bytes left at lsn {at}: \
         end the segment first"
    )]
    NoRoom {
        /// The tail.
        at: Lsn,
        /// Bytes that the batch takes, padding included.
        batch_bytes: u64,
        /// Bytes left.
        room: u64,
    },
    /// No batch starts at this lsn.
    #[error("no batch starts at lsn {lsn} of this log")]
    NoBatch {
        /// The lsn that was asked for.
        lsn: Lsn,
    },
    /// An earlier write or sync failed; the log stays closed.
    #[error(
        "the log is closed since an earlier failure ({first}); a repeated sync proves nothing: \
         restart this process"
    )]
    Poisoned {
        /// The first failure.
        first: String,
    },
    /// The request does not fit the state of the log.
    #[error("cannot {doing} at lsn {lsn}: {why}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Where.
        lsn: Lsn,
        /// Why not.
        why: String,
    },
    /// The data directory refused.
    #[error(transparent)]
    Dir(#[from] DirError),
}

impl DirError {
    pub(crate) fn io(file: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io {
            file,
            doing,
            source,
        }
    }
}

impl LogError {
    pub(crate) fn io(
        file: &Path,
        offset: u64,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io {
            file,
            offset,
            doing,
            source,
        }
    }

    pub(crate) fn corruption(file: &Path, offset: u64, lsn: Lsn, what: impl ToString) -> Self {
        Self::Corruption {
            file: file.to_path_buf(),
            offset,
            lsn,
            what: what.to_string(),
        }
    }

    /// A bad batch, sorted into what a person has to do about it.
    pub(crate) fn bad_batch(file: &Path, offset: u64, lsn: Lsn, source: BatchError) -> Self {
        match source {
            BatchError::Version(_) => Self::Version {
                file: file.to_path_buf(),
                offset,
                lsn,
                what: source.to_string(),
            },
            BatchError::Cluster { found, expected } => Self::OtherCluster {
                file: file.to_path_buf(),
                found,
                expected,
            },
            other => Self::corruption(file, offset, lsn, other),
        }
    }
}
