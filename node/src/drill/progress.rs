//! How far a drill is, told by its thread, read by the hot one; and the way to end it early.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::error::NodeError;

/// What a drill does one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Reads a checkpoint.
    Restore,
    /// Reads ids between the index and the checkpoint.
    Index,
    /// Applies the log.
    Replay,
    /// Adds up all accounts.
    Audit,
}

/// Counts of the phase under way. Nothing hangs on them being of one instant.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stopped: AtomicBool,
    phase: AtomicU8,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    records: AtomicU64,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Restore, Self::Index, Self::Replay, Self::Audit];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Index => "index",
            Self::Replay => "replay",
            Self::Audit => "audit",
        }
    }
}

impl Progress {
    /// Ends the drill before long, without a report.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The error with which work ends that was stopped.
    pub(super) fn check(&self) -> Result<(), NodeError> {
        match self.is_stopped() {
            true => Err(NodeError::Refused("the drill was given up".to_owned())),
            false => Ok(()),
        }
    }

    pub(super) fn enter(&self, phase: Phase, total_bytes: u64) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    pub(super) fn reach(&self, done_bytes: u64) {
        self.done_bytes.store(done_bytes, Ordering::Relaxed);
    }

    pub(super) fn count_records(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        let number = usize::from(self.phase.load(Ordering::Relaxed));
        Phase::ALL[number]
    }

    pub(super) fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// A file whose reading is told, and ends when the drill does.
pub(super) struct Watched<'a, R> {
    pub(super) input: R,
    pub(super) progress: &'a Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.progress.check().map_err(io::Error::other)?;
        let read = self.input.read(buffer)?;
        self.progress
            .reach(self.progress.done_bytes() + read as u64);
        Ok(read)
    }
}
