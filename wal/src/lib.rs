//! The write-ahead log on disk: data directory, segments, append, sync, recovery, retention.
//!
//! Synchronous, and starts no thread: whoever uses it calls prepare, sync and seal from
//! threads of its own. It knows what a batch is, and nothing of what its records mean.
//!
//! ```text
//! append (one copy into the mapping) > sync (one msync) > ... > seal (recompressed, read only)
//!    one writer: Log       Syncer          LogReader, any number         Sealer
//! ```
//!
//! It never cuts anything because a checksum failed alone (see `recovery`), never syncs again
//! after a sync has failed, and never writes again where it has written.
#![deny(unsafe_code)]

mod browse;
mod control;
mod cut;
mod device;
mod dir;
mod error;
mod judge;
mod lock;
mod log;
mod map;
mod prepare;
mod raw;
mod reader;
mod recovery;
mod scan;
mod seal;
mod sealed;
mod stretch;
mod sync;
mod verify;

pub use browse::{LogFiles, Visit};
pub use cut::CutReport;
pub use device::{DeviceKind, DeviceWrap, LogDevice};
pub use dir::{DataDir, DirLock, INDEX};
pub use error::{DirError, LogError};
pub use log::Log;
pub use prepare::{Prepared, Preparer};
pub use reader::{LogReader, SegmentInfo};
pub use recovery::Recovery;
pub use scan::Scan;
pub use seal::{SealInfo, Sealer};
pub use stretch::Stretch;
pub use sync::Syncer;
pub use verify::{
    CheckpointCheck, Problem, VerifiedFile, VerifyProgress, VerifyReport, verify, verify_with,
};

#[cfg(test)]
mod tests;
