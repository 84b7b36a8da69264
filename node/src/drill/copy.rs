//! The work of a drill: a recovery as a start would do it, into a ledger of its own.
//!
//! ```text
//! newest usable checkpoint ─▶ ids below it ─▶ log up to the position ─▶ digest, chain, sums
//! ```
//!
//! It reads what everybody may read and writes nothing: a checkpoint that cannot be used is told
//! of and stays where it is.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_engine::Ledger;
use kanjo_format::{BatchPlace, Digest, Lsn, Tail};

use super::memory;
use super::progress::{Phase, Progress, Watched};
use crate::error::NodeError;
use crate::hot::trial_balance;
use crate::replay::each_batch;
use crate::restore::{self, Source, Unusable, start_of_log, table_seed};
use crate::status::DrillReport;

/// A checkpoint, open: another one may be written meanwhile and this one removed.
pub(super) struct Candidate {
    pub(super) lsn: Lsn,
    pub(super) path: PathBuf,
    pub(super) file: io::Result<File>,
}

/// Everything that a drill needs.
pub(super) struct Work {
    pub(super) source: Source,
    /// Newest first, none behind the position.
    pub(super) checkpoints: Vec<Candidate>,
    /// The position: committed and applied when the drill began.
    pub(super) position: Tail,
    /// Digest of the live ledger there.
    pub(super) live: Digest,
    pub(super) progress: Arc<Progress>,
}

impl Work {
    /// Does it. `None` if it was given up.
    pub(super) fn carry_out(mut self) -> Option<DrillReport> {
        let (began, memory_before) = (Instant::now(), memory::own_bytes());
        let mut report = DrillReport {
            lsn: self.position.lsn.get(),
            epoch: self.position.epoch.to_string(),
            chain: self.position.chain.to_string(),
            live_digest: self.live.to_string(),
            ..DrillReport::default()
        };
        let recovered = self.recover(&mut report);
        report.recovery_us = micros(began.elapsed());
        match recovered {
            Ok((ledger, place)) => {
                self.judge(&ledger, place, &mut report);
                report.process_memory_bytes = memory::own_bytes();
                let grew = report.process_memory_bytes.zip(memory_before);
                report.memory_bytes = grew.map(|(now, before)| now.saturating_sub(before));
            }
            Err(error) => report.problems.push(error.to_string()),
        }
        report.took_us = micros(began.elapsed());
        report.good = report.problems.is_empty();
        // Whatever came of it then is no finding.
        (!self.progress.is_stopped()).then_some(report)
    }

    /// Builds the copy.
    fn recover(&mut self, report: &mut DrillReport) -> Result<(Ledger, BatchPlace), NodeError> {
        let (mut ledger, mut place) = match self.restore(report)? {
            Some(restored) => restored,
            None => (Ledger::new(table_seed()), start_of_log(self.source.cluster)),
        };
        let (from, through) = (place, self.position.lsn);
        report.checkpoint_lsn = from.lsn.get();
        let began = Instant::now();
        let (progress, source) = (&*self.progress, &self.source);
        progress.enter(Phase::Replay, through.since(from.lsn));
        each_batch(&source.reader, from, through, |batch, behind| {
            progress.check()?;
            restore::apply(&mut ledger, batch, behind.lsn, source.segment_bytes)?;
            if behind.lsn.get().is_multiple_of(source.segment_bytes) {
                ledger.drop_index_below(source.old.end.min(behind.lsn));
            }
            place = behind;
            report.batches += 1;
            report.records += u64::from(batch.header.record_count());
            report.payload_bytes += batch.header.payload_bytes() as u64;
            progress.reach(behind.lsn.since(from.lsn));
            progress.count_records(report.records);
            Ok::<_, NodeError>(())
        })?;
        let time = began.elapsed();
        report.log_bytes = place.lsn.since(from.lsn);
        report.replay_us = micros(time);
        report.records_per_s = per_second(report.records, time);
        report.replay_mb_per_s = per_second(report.payload_bytes, time) / 1e6;
        Ok((ledger, place))
    }

    /// The ledger of the newest checkpoint that can be used, and where it stands.
    fn restore(
        &mut self,
        report: &mut DrillReport,
    ) -> Result<Option<(Ledger, BatchPlace)>, NodeError> {
        for candidate in std::mem::take(&mut self.checkpoints) {
            let path = candidate.path.display().to_string();
            match self.restore_one(candidate, report) {
                Ok(restored) => return Ok(Some(restored)),
                Err(Unusable::Checkpoint(why)) => {
                    // Reading that was stopped looks like a bad checkpoint.
                    self.progress.check()?;
                    tracing::warn!(checkpoint = path, %why, "a drill found a checkpoint that cannot be used: a start would replay from before it");
                    report.unusable_checkpoints.push(format!("{path}: {why}"));
                }
                Err(Unusable::Other(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    fn restore_one(
        &self,
        candidate: Candidate,
        report: &mut DrillReport,
    ) -> Result<(Ledger, BatchPlace), Unusable> {
        let damaged = |error: io::Error| Unusable::Checkpoint(error.to_string());
        let began = Instant::now();
        let file = candidate.file.map_err(damaged)?;
        let bytes = file.metadata().map_err(damaged)?.len();
        self.progress.enter(Phase::Restore, bytes);
        let watched = Watched {
            input: file,
            progress: &self.progress,
        };
        let mut input = BufReader::with_capacity(1 << 20, watched);
        let restored = self.source.read_checkpoint(&mut input, candidate.lsn);
        report.restore_us += micros(began.elapsed());
        let restored = restored?;
        let began = Instant::now();
        let begin = self.source.old.end.min(candidate.lsn);
        self.progress
            .enter(Phase::Index, candidate.lsn.since(begin));
        let indexed = self.source.index_below(restored, |behind| {
            self.progress.check()?;
            self.progress.reach(behind.lsn.since(begin));
            Ok(())
        });
        report.index_us += micros(began.elapsed());
        indexed
    }

    /// Compares the copy with the log and with the live ledger, and its sums with each other.
    fn judge(&self, ledger: &Ledger, place: BatchPlace, report: &mut DrillReport) {
        let (position, problems) = (&self.position, &mut report.problems);
        if place.lsn != position.lsn {
            problems.push(format!(
                "the log ends at lsn {} for a reader, before the position at lsn {}: it was cut, or the rest cannot be read; look at `kanjo log verify`",
                place.lsn, position.lsn
            ));
        } else if (place.epoch, place.chain) != (position.epoch, position.chain) {
            problems.push(format!(
                "the log at lsn {} is of epoch {} with chain {}, the live ledger took it as of epoch {} with chain {}",
                place.lsn, place.epoch, place.chain, position.epoch, position.chain
            ));
        }
        let digest = ledger.digest();
        report.digest = digest.to_string();
        report.digest_equal = place.lsn == position.lsn && digest == self.live;
        if place.lsn == position.lsn && digest != self.live {
            problems.push(format!(
                "THE DIGESTS DIFFER at lsn {}: {digest} replayed from this disk, {} in the live ledger: one of them is wrong; do not promote this node, keep its directory, and look at `kanjo log verify` here and the digest of the primary",
                position.lsn, self.live
            ));
        }
        self.progress.enter(Phase::Audit, 0);
        let began = Instant::now();
        if let Err(error) = ledger.audit() {
            problems.push(format!("the copy does not add up: {error}"));
        }
        report.audit_us = micros(began.elapsed());
        report.trial_balance = trial_balance(ledger);
        report.accounts = ledger.account_count().into();
        report.transfers = ledger.posted_count();
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    match time.as_secs_f64() {
        seconds if seconds > 0.0 => count as f64 / seconds,
        _ => 0.0,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
