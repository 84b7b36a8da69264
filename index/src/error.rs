//! What can go wrong with runs: what happened, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use kanjo_format::columns::PayloadError;
use kanjo_format::run::RunFormatError;
use kanjo_format::{Lsn, RecordAt};

/// Why a run cannot be built, read or merged.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
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
    /// Bytes of a run that do not verify.
    #[error(
        "{}: at offset {offset}: {source}. The index is derived from the log: stop the node and \
         run `kanjo index rebuild`, or delete the folder, and it is built anew", file.display()
    )]
    Bad {
        /// Which file.
        file: PathBuf,
        /// Start of the bad part in it.
        offset: u64,
        /// What is wrong.
        source: RunFormatError,
    },
    /// A batch that cannot be read.
    #[error("the batch at lsn {lsn} cannot be indexed: {source}")]
    Payload {
        /// Where it stands.
        lsn: Lsn,
        /// What is wrong.
        source: PayloadError,
    },
    /// A record that does not fit what came before it.
    #[error("{at}: {what}; verify the log (`kanjo log verify`), then run `kanjo index rebuild`")]
    Record {
        /// Which record.
        at: RecordAt,
        /// What is wrong.
        what: String,
    },
    /// A batch that is not the next one.
    #[error("the index ends at lsn {expected}, the batch that was given stands at {found}")]
    Place {
        /// Where the next batch must stand.
        expected: Lsn,
        /// Where it stands.
        found: Lsn,
    },
    /// Something was asked that cannot be done.
    #[error("cannot {doing}: {why}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Why not.
        why: String,
    },
}

impl RunError {
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

    pub(crate) fn bad(file: &Path, offset: u64) -> impl FnOnce(RunFormatError) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Bad {
            file,
            offset,
            source,
        }
    }
}
