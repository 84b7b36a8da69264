//! Large files, written and removed so that a commit on the same disk never waits for all of one.
//!
//! A disk answers a sync behind everything that was handed to it before. A checkpoint that is
//! written whole and synced at its end, or a segment that is removed at once from a file system
//! that tells its disk of freed blocks (`discard`), holds up every commit for as long as the whole
//! file takes. Here both are done a piece at a time, with a rest after each.
//!
//! ```text
//! Writer   write a piece > sync > rest > write a piece > sync > rest > … > sync whole
//! remove   name goes > free a piece > rest > free a piece > rest > …
//! ```
//!
//! Synchronous, starts no thread, and knows nothing of what is in the files.
#![forbid(unsafe_code)]

mod pace;
mod remove;
mod writer;

use std::fs::File;
use std::io;
use std::path::Path;

pub use pace::Pace;
pub use remove::{hold, open, open_with, remove};
pub use writer::Writer;

/// Bytes of a file that are synced, or freed, at a time: a millisecond or two of a slow disk.
const PIECE_BYTES: u64 = 256 << 10;

/// Syncs a directory, so that names made, renamed or removed in it stay so.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
