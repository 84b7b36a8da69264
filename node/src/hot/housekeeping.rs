//! What is done off the commit path: marks, segments ahead, sealing, checkpoints, free disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kanjo_disk::Pace;
use kanjo_format::control::Control;
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::{Lsn, Tail};
use kanjo_wal::LogError;

use super::Hot;
use crate::error::NodeError;
use crate::front::Door;
use crate::threads::{ControlChange, Job, JobDone};

/// With so many more full segments than the one that is next, sealing no longer yields.
const UNSEALED_MAX: usize = 3;
/// A large segment is made ahead with rests of so many times each piece while the log does not need
/// it sooner.
const RESTS_AHEAD: u32 = 15;
/// Bytes from which a segment is large: smaller ones take the disk for a short time. Measured with
/// 64 MiB; the border was chosen (decision 0098).
const RESTS_AHEAD_FROM_BYTES: u64 = 16 << 20;
/// The durable mark is written this often while the log grows.
const MARK_WHILE_APPENDING: Duration = Duration::from_secs(1);
/// And this soon after it stopped growing.
const MARK_WHEN_IDLE: Duration = Duration::from_millis(80);
/// A disk that refused a new file is not asked again, nor complained about, for this long.
const REST_AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// Free disk and sealing are looked at this often.
pub(super) const EVERY: Duration = Duration::from_millis(100);

impl Hot {
    /// Looks at everything that is done off the commit path. `committed` bounds what is derived.
    pub(crate) fn housekeep(&mut self, committed: Lsn) -> Result<(), NodeError> {
        let now = Instant::now();
        let durable = self.durable;
        self.shared
            .durable
            .store(durable.lsn.get(), Ordering::Relaxed);
        self.shared
            .applied
            .store(self.store.applied().lsn.get(), Ordering::Relaxed);
        if self.store.log.tail().lsn != self.seen_tail {
            self.seen_tail = self.store.log.tail().lsn;
            self.last_growth = now;
        }
        self.mark_if_due(now, committed, durable);
        self.prepare_ahead();
        if now.duration_since(self.last_housekeeping) < EVERY {
            return Ok(());
        }
        self.last_housekeeping = now;
        self.free_disk_bytes = self.store.dir.free_bytes()?;
        self.disk_low = self.free_disk_bytes < self.config.free_disk_floor_bytes;
        self.seal_next(committed);
        self.index_next();
        self.checkpoint_if_due(committed);
        Ok(())
    }

    /// Free bytes with which this node can process: beside the floor there is room for a segment
    /// made ahead.
    pub(crate) fn needed_disk_bytes(&self) -> u64 {
        let floor = self.config.free_disk_floor_bytes;
        floor.saturating_add(self.store.segment_bytes())
    }

    /// Which requests a primary takes: below the floor of free disk only reads.
    pub(crate) fn door_of_primary(&self) -> Door {
        if !self.disk_low {
            return Door::Open;
        }
        let floor = self.config.free_disk_floor_bytes;
        Door::ReadsOnly(format!(
            "less than {floor} bytes of disk are free: no new transfers until there is room"
        ))
    }

    fn mark_if_due(&mut self, now: Instant, committed: Lsn, durable: Tail) {
        let behind = durable.lsn > self.marked || committed > self.marked_committed;
        let idle = now.duration_since(self.last_growth) >= MARK_WHEN_IDLE;
        let due = now.duration_since(self.last_mark) >= MARK_WHILE_APPENDING || idle;
        if behind && due && !self.marking {
            self.marking = true;
            self.last_mark = now;
            self.marked = durable.lsn;
            self.marked_committed = committed;
            let log_time = self.store.ledger.log_time();
            let (histories, history) = (Arc::clone(&self.histories), self.history());
            self.mark(Box::new(move |control: &mut Control| {
                if histories.load(Ordering::SeqCst) != history {
                    // The log was cut meanwhile: what was durable then is no part of it now.
                    return;
                }
                control.durable = durable;
                control.confirmed = control.confirmed.max(committed);
                control.log_time = control.log_time.max(log_time);
            }));
        }
    }

    /// Writes a change into the control file, beside the hot path.
    pub(crate) fn mark(&self, change: ControlChange) {
        self.jobs
            .submit(Job::Mark(Arc::clone(&self.store.dir), change));
    }

    fn disk_rests(&self) -> bool {
        self.disk_refused
            .is_some_and(|since| since.elapsed() < REST_AFTER_REFUSAL)
    }

    fn prepare_ahead(&mut self) {
        if self.disk_rests() {
            return;
        }
        let enough = self.store.log.prepared_ahead() > 0;
        let room = self.free_disk_bytes > self.store.segment_bytes();
        if !enough && !self.preparing && room {
            self.preparing = true;
            let pace = match self.store.segment_bytes() {
                RESTS_AHEAD_FROM_BYTES.. => self.jobs.pace(Pace::resting(RESTS_AHEAD)),
                _ => Pace::at_once(),
            };
            let preparer = self.store.log.preparer().at_pace(pace);
            self.jobs.submit(Job::Prepare(preparer));
        }
    }

    fn seal_next(&mut self, committed: Lsn) {
        if self.sealing || self.disk_rests() {
            return;
        }
        let applied = self.store.applied().lsn;
        let bound = committed.min(applied).get() / self.store.segment_bytes();
        if let Some((number, count)) = self.store.reader.raw_below(bound) {
            self.sealing = true;
            // Others wait for their turn.
            let pace = match count {
                1 => self.jobs.pace(Pace::gentle()),
                _ => Pace::at_once(),
            };
            let sealer = self.store.log.sealer().at_pace(pace);
            let level = self.config.seal_level;
            let job = Job::Seal(sealer, number, level);
            // A seal yields to everything else; too many must not wait for that.
            match count <= UNSEALED_MAX {
                true => self.jobs.submit(job),
                false => self.jobs.submit_beside(job),
            }
        }
    }

    /// Only committed segments are sealed, and only what is applied may leave the young part.
    fn index_next(&mut self) {
        if self.disk_rests() {
            return;
        }
        let pace = self.jobs.pace(Pace::gentle());
        let store = &mut self.store;
        match store.indexing.next(&store.reader, pace) {
            Some((job, false)) => self.jobs.submit(Job::Index(job)),
            Some((job, true)) => self.jobs.submit_beside(Job::Index(job)),
            None => {}
        }
    }

    fn checkpoint_if_due(&mut self, committed: Lsn) {
        let applied = self.store.applied();
        let due = applied.lsn.since(self.last_checkpoint) >= self.config.checkpoint_every_bytes;
        if due && self.checkpoint.is_none() && !self.checkpointing {
            self.checkpoint = Some((Box::new(self.store.snapshot()), applied.lsn));
        }
        // The state may hold what is not committed yet: it is written only once it is.
        if let Some((snapshot, lsn)) = self.checkpoint.take_if(|(_, lsn)| *lsn <= committed) {
            self.checkpointing = true;
            self.last_checkpoint = lsn;
            let (dir, pace) = (Arc::clone(&self.store.dir), self.jobs.pace(Pace::gentle()));
            self.jobs.submit(Job::Checkpoint(snapshot, lsn, dir, pace));
        }
    }

    /// From here on nothing that was known of the log's end holds: it is about to be cut.
    pub(crate) fn end_history(&self) {
        self.histories.fetch_add(1, Ordering::SeqCst);
    }

    /// Number of the present history.
    pub(crate) fn history(&self) -> u64 {
        self.histories.load(Ordering::SeqCst)
    }

    /// Forgets what was derived from a history that this node gave up.
    pub(crate) fn forget_derived(&mut self) {
        self.checkpoint = None;
        self.seen_tail = self.store.log.tail().lsn;
        self.marked = self.marked.min(self.seen_tail);
    }

    /// Takes the outcome of a job.
    pub(crate) fn on_job(&mut self, done: JobDone) -> Result<(), NodeError> {
        match done {
            JobDone::Prepared(outcome) => {
                self.preparing = false;
                match outcome {
                    Ok(prepared) => {
                        self.counters.prepared_bytes += PAGE_BYTES + self.store.segment_bytes();
                        self.store.log.add_prepared(prepared);
                    }
                    Err(error) => {
                        self.disk_refused = Some(Instant::now());
                        tracing::warn!(%error, "cannot prepare the next segment");
                    }
                }
            }
            JobDone::Sealed(number, outcome) => {
                self.sealing = false;
                match outcome {
                    Ok(info) => {
                        self.counters.sealed_segments += 1;
                        self.counters.sealed_bytes += info.sealed_bytes;
                    }
                    Err(error @ LogError::Io { .. }) => {
                        self.disk_refused = Some(Instant::now());
                        tracing::warn!(number, %error, "cannot seal a segment");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            JobDone::Checkpointed(lsn, outcome) => {
                self.checkpointing = false;
                match outcome {
                    Ok(bytes) => {
                        self.counters.checkpoint_bytes += bytes;
                        tracing::debug!(%lsn, bytes, "checkpoint written");
                    }
                    Err(error) => tracing::warn!(%lsn, %error, "cannot write a checkpoint"),
                }
            }
            JobDone::Indexed(outcome) => {
                if self.store.indexing.done(outcome) {
                    self.store.take_runs();
                }
            }
            JobDone::Drilled(report) => self.on_drilled(report),
            JobDone::Marked(outcome, time) => {
                self.marking = false;
                outcome?;
                self.disk_times.mark = Some(time);
            }
        }
        Ok(())
    }
}
