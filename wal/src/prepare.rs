//! Segments made ahead of the tail, off the commit path; at a pace, unless the log would need them
//! sooner.
//!
//! A prepared segment is a zeroed file under its final name; it survives restarts. A cut deletes
//! all of them, and those that were on their way to the log are then out of date and dropped.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use kanjo_disk::Pace;
use kanjo_format::Lsn;
use kanjo_format::limits::PAGE_BYTES;

use crate::device::LogDevice;
use crate::error::LogError;
use crate::log::Shared;
use crate::raw::{
    PIECE_BYTES, Window, all_zero, check_raw_header, create_zeroed, forget_cached, open_file,
    publish, raw_path,
};

/// Makes segments ahead; cloned to whatever thread does so.
#[derive(Clone, Debug)]
pub struct Preparer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pace: Pace<'static>,
}

/// A segment that is ready to be written; hand it to [`crate::Log::add_prepared`].
#[derive(Debug)]
pub struct Prepared {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) device: Arc<dyn LogDevice>,
    pub(crate) generation: u64,
}

impl Preparer {
    /// The same, but it makes a segment at this pace while the log does not need it sooner.
    #[must_use]
    pub fn at_pace(mut self, pace: Pace<'static>) -> Self {
        self.pace = pace;
        self
    }

    /// Makes, syncs, maps and populates the next segment that does not exist yet.
    pub fn prepare(&self) -> Result<Prepared, LogError> {
        self.shared.check_open()?;
        let mut next = self
            .shared
            .preparing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = *next;
        let begun = self.shared.tail().lsn;
        let hurry = |pieces| self.shared.hurries(number, begun, pieces);
        let mut pace = self.pace.clone().unless(&hurry);
        let prepared = self.shared.prepare(number, &mut pace)?;
        *next += 1;
        Ok(prepared)
    }
}

impl Prepared {
    /// The segment's number.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Shared {
    /// Whether segment `number`, of which so many pieces are made since the log ended at `begun`, is
    /// wanted soon: somebody waits for it, less than half of a segment was left before it, or
    /// at this rate it would not be ready by the time that half of what was left is used up.
    pub(crate) fn hurries(&self, number: u64, begun: Lsn, pieces: u64) -> bool {
        if self.is_waited_for() {
            return true;
        }
        let first = self.geometry.first_lsn(number).get();
        let room = first.saturating_sub(begun.get());
        let used = self.tail().lsn.get().saturating_sub(begun.get());
        if room < self.geometry.segment_bytes / 2 {
            return true;
        }
        // Each piece is written, and read.
        let made = pieces * PIECE_BYTES / 2;
        let whole = self.geometry.segment_bytes;
        u128::from(made) * u128::from(room) < 2 * u128::from(used) * u128::from(whole)
    }

    /// Prepares segment `number`, or takes it as it is if it exists and is empty. The caller
    /// holds `preparing`.
    pub(crate) fn prepare(&self, number: u64, pace: &mut Pace<'_>) -> Result<Prepared, LogError> {
        let path = raw_path(&self.log_path, number);
        let exists = fs::exists(&path).map_err(LogError::io(&path, 0, "look for the file"))?;
        if !exists {
            let temporary = path.with_extension("seg.tmp");
            create_zeroed(&temporary, &self.geometry, number, pace)?;
            publish(&temporary, &path)?;
        }
        let file = open_file(&path)?;
        // Zeros that went through the page cache are there in large folios.
        forget_cached(&file);
        check_raw_header(&path, &file, &self.geometry, number)?;
        if exists {
            let file_bytes = self.geometry.raw_file_bytes();
            let mut window = Window::new(&path, &file, file_bytes);
            let mut at = PAGE_BYTES;
            while at < file_bytes {
                let len = (file_bytes - at).min(1 << 20);
                if !all_zero(window.get(at, len as usize)?) {
                    let lsn = self.geometry.first_lsn(number).advance(at - PAGE_BYTES);
                    let what = "a segment that is not in use yet holds data";
                    return Err(LogError::corruption(&path, at, lsn, what));
                }
                at += len;
            }
        }
        let device = self
            .devices
            .open(
                number,
                file,
                self.geometry.raw_file_bytes(),
                PAGE_BYTES,
                Some(pace),
            )
            .map_err(LogError::io(&path, 0, "map the file"))?;
        Ok(Prepared {
            number,
            path,
            device,
            generation: self.generation.load(Ordering::Acquire),
        })
    }
}
