//! Why a voter does not start, or has ended.

use std::io;
use std::path::{Path, PathBuf};

/// Why a voter does not start, or has ended: what, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// The setup contradicts the cluster file.
    #[error("the voter cannot be started: {why}")]
    Setup {
        /// What does not fit, and what to do.
        why: String,
    },
    /// The operating system refused something.
    #[error("{}: cannot {doing}: {cause}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        cause: String,
    },
    /// Another process is this voter.
    #[error("{} is in use by {holder}: stop that process first", path.display())]
    InUse {
        /// The voter's directory.
        path: PathBuf,
        /// Who holds the lock, as far as it is known.
        holder: String,
    },
    /// The voter's file does not verify.
    #[error(
        "{}: damaged: {field}: {why}. Nothing was changed. What it has promised is lost \
         with it, so it must come back as a new one: move its whole data directory away and \
         begin with a new one. A voter joins by itself while a majority of the others lives; the \
         witness of a third site is told of the epoch by the primary",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Which part of it.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The voter's file was written by a newer program.
    #[error(
        "{}: version {version} is newer than this program: use a newer kanjo", file.display()
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file is somebody else's.
    #[error(
        "{}: {field} is {found} there, {expected} was expected: correct the configuration, or \
         take out what was put here by mistake; nothing was changed",
        file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Which part of it.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The address of the cluster file cannot be listened on.
    #[error("cannot listen on {address} for the register: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// Another directory has taken this voter's place.
    #[error(
        "this directory is no voter any more: {why}. It stays so for ever: move it away, and \
         begin with a new one if the node is to come back"
    )]
    Replaced {
        /// By whom, and who says so.
        why: String,
    },
    /// The voter cannot go on.
    #[error("the voter has stopped: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

impl GroupError {
    /// Turns an error of the system into one that names the file.
    pub(crate) fn io(file: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |error| Self::Io {
            file,
            doing,
            cause: error.to_string(),
        }
    }
}
