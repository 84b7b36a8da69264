//! Syncing: the one place where bytes become durable, and where the first failure is final.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use kanjo_format::Lsn;

use crate::error::LogError;
use crate::log::{Entry, Shared};

/// Syncs what was appended; cloned to whatever thread does so.
#[derive(Clone, Debug)]
pub struct Syncer {
    pub(crate) shared: Arc<Shared>,
}

impl Syncer {
    /// Syncs everything that was appended, at least up to `lsn`, and returns how far. Calls of
    /// several threads follow one another; one that finds its lsn synced returns at once.
    ///
    /// The first failure is final: every later append and sync of this log fails too.
    pub fn sync_to(&self, lsn: Lsn) -> Result<Lsn, LogError> {
        let shared = &self.shared;
        shared.check_open()?;
        let synced = self.synced();
        if synced >= lsn {
            return Ok(synced);
        }
        let _one = shared
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Whoever was before may have failed, or done the work.
        shared.check_open()?;
        let synced = self.synced();
        if synced >= lsn {
            return Ok(synced);
        }
        let end = shared.tail().lsn;
        if lsn > end {
            return Err(LogError::Refused {
                doing: "sync",
                lsn,
                why: format!("the log ends at {end}"),
            });
        }
        shared.sync_range(synced, end)?;
        // Release: who sees the new position may promise the bytes below it.
        shared.synced.store(end.get(), Ordering::Release);
        Ok(end)
    }

    /// How far the log is synced.
    pub fn synced(&self) -> Lsn {
        Lsn::new(self.shared.synced.load(Ordering::Acquire))
    }

    /// Whether a write or sync has failed.
    pub fn poisoned(&self) -> bool {
        self.shared.poison.get().is_some()
    }
}

impl Shared {
    fn sync_range(&self, from: Lsn, to: Lsn) -> Result<(), LogError> {
        let geometry = &self.geometry;
        let mut at = from;
        while at < to {
            let number = geometry.number_of(at);
            let end = to.min(geometry.first_lsn(number + 1));
            let Some(Entry::Raw(segment)) = self.entry(number) else {
                unreachable!("only synced segments are sealed or removed");
            };
            let offset = geometry.offset_of(at);
            let synced = segment.device.sync(offset, end.since(at));
            self.poison_on_error(synced, &segment.path, offset, "sync the log")?;
            at = end;
        }
        Ok(())
    }
}
