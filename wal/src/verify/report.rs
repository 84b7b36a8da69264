//! What a verification tells while it runs, and what it has found.

use std::path::PathBuf;

use kanjo_format::control::Control;
use kanjo_format::{Lsn, Tail};

/// How far a verification is.
#[derive(Clone, Debug)]
pub struct VerifyProgress {
    /// The file that is being read.
    pub file: PathBuf,
    /// Bytes read of all files.
    pub bytes_done: u64,
    /// Bytes of all files when it began.
    pub bytes_total: u64,
}

/// One file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFile {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Good batches in it.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
    /// Problems in it.
    pub problems: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which file.
    pub file: PathBuf,
    /// The first bad byte; for a checksum that fails, the start of what it covers.
    pub offset: u64,
    /// The same place in the log, where it is part of that.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The control file's content.
    pub control: Control,
    /// Where the log ends.
    pub tail: Tail,
    /// Every file that was read, in order.
    pub files: Vec<VerifiedFile>,
    /// Good batches.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
    /// Everything that is wrong; empty is what one hopes for.
    pub problems: Vec<Problem>,
    /// A server had the directory open meanwhile.
    pub in_use: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: offset {}", self.file.display(), self.offset)?;
        if let Some(lsn) = self.lsn {
            write!(f, " (lsn {lsn})")?;
        }
        write!(f, ": {}", self.what)
    }
}
