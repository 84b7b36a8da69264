//! The old part of the index, beside the commits: builds a run when a segment is sealed, merges
//! runs, and hands each new set to whoever looks things up.
//!
//! ```text
//! sealed segment ─▶ build ─┐
//! eight runs     ─▶ merge ─┴▶ new set ─▶ history, queries; generations below its end are dropped,
//!                             and files of merged runs removed
//! ```
//!
//! All of it is derived: a failure leaves the young part as it is, which takes more memory and gives
//! the same answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_disk::Pace;
use kanjo_engine::OldPart;
use kanjo_format::{BatchPlace, Epoch, Lsn, TransferId};
use kanjo_index::{Merge, RunBuilder, RunError, RunSet, SetParams};
use kanjo_wal::{DataDir, INDEX, LogError, LogReader};

use crate::error::NodeError;

/// Most bytes of filters in memory: 10 bits for each of some 200 million ids.
const FILTER_BYTES_MAX: usize = 256 << 20;
/// With so many more sealed segments than the one that is next, building no longer yields: their ids
/// are in memory until then.
const WAITING_MAX: u64 = 2;
/// After a failure the next try is so much later.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What is to be done, with all that it needs.
pub(crate) enum IndexJob {
    /// Build the run behind the set, of the log up to there, at this pace.
    Build(Arc<RunSet>, LogReader, Lsn, Pace<'static>),
    /// Merge runs of the set, at this pace.
    Merge(Arc<RunSet>, Merge, Pace<'static>),
    /// Remove the file of a run that is in no set any more, at this pace.
    Remove(PathBuf, Pace<'static>),
}

/// Why a run was not built. The log's own damage is found by whoever needs that part of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// The run's files.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The log that it is made of.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log does not go on where the set ends.
    #[error("the log has no batch at lsn {0}, where the index ends")]
    Gap(Lsn),
}

/// How a job ended.
pub(crate) enum Indexed {
    /// There is a new set, and these files are in none any more.
    Set(RunSet, Vec<PathBuf>),
    /// A file was removed, or is left to the next start.
    Removed,
}

/// The set in use, and whether another one is being made.
pub(crate) struct Indexing {
    set: Arc<RunSet>,
    /// Files of runs that were merged into another, which is in use now.
    replaced: Vec<PathBuf>,
    busy: bool,
    rests_until: Option<Instant>,
}

impl Indexing {
    /// Opens the runs of a data directory. What cannot be used is told and removed: it is built
    /// again from the log.
    pub(crate) fn open(dir: &DataDir, reader: &LogReader, seed: u64) -> Result<Self, NodeError> {
        let control = dir.control();
        let params = SetParams {
            dir: dir.path().join(INDEX),
            cluster: control.cluster,
            segment_bytes: control.segment_bytes,
            seed,
            filter_bytes_max: FILTER_BYTES_MAX,
        };
        let (mut set, dropped) = RunSet::open(params.clone())?;
        let mut unusable: Vec<PathBuf> = Vec::new();
        for dropped in dropped {
            if !dropped.is_leftover {
                tracing::warn!(file = %dropped.file.display(), reason = dropped.reason, "a run of the index cannot be used, it is built again");
            }
            unusable.push(dropped.file);
        }
        while !is_of_log(&set, reader)? {
            let kept = set.runs().len() - 1;
            let run = &set.runs()[kept];
            tracing::warn!(run = %run.path().display(), "a run of the index is of another log than is there, it is built again");
            unusable.push(run.path().to_path_buf());
            set = set.prefix(kept, params.dir.clone());
        }
        if !unusable.is_empty() {
            set.remove(unusable.iter().map(PathBuf::as_path))?;
        }
        Ok(Self {
            set: Arc::new(set),
            replaced: Vec::new(),
            busy: false,
            rests_until: None,
        })
    }

    /// The runs in use.
    pub(crate) const fn set(&self) -> &Arc<RunSet> {
        &self.set
    }

    /// What a ledger needs to know of the old part.
    pub(crate) fn old_part(&self) -> OldPart {
        let counts = self.set.counts();
        let highest = self.set.runs().iter().map(|run| run.footer().id_high);
        OldPart {
            end: self.set.end(),
            posted: counts.transfers,
            failed: counts.failed,
            highest_id: TransferId::new(highest.max().unwrap_or(0)),
        }
    }

    /// What is due, if anything and nothing is under way, and whether it must not yield to commits
    /// any more.
    pub(crate) fn next(
        &mut self,
        reader: &LogReader,
        gentle: Pace<'static>,
    ) -> Option<(IndexJob, bool)> {
        if self.busy {
            return None;
        }
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        let segment_bytes = self.set.params().segment_bytes;
        let begun = self.set.end().get() / segment_bytes;
        let sealed = reader.sealed_end().get() / segment_bytes;
        let waiting = sealed.saturating_sub(begun);
        let job = if waiting > 0 && !rests {
            // What is built leaves memory; what is merged is only found a little faster.
            let end = Lsn::new((begun + 1) * segment_bytes);
            let pace = match waiting {
                1 => gentle,
                _ => Pace::at_once(),
            };
            IndexJob::Build(Arc::clone(&self.set), reader.clone(), end, pace)
        } else if let Some(file) = self.replaced.pop() {
            // One at a time: a segment may wait for its run by now. A full disk gets room.
            IndexJob::Remove(file, gentle)
        } else if !rests {
            IndexJob::Merge(Arc::clone(&self.set), self.set.next_merge()?, gentle)
        } else {
            return None;
        };
        self.busy = true;
        Some((job, waiting > WAITING_MAX))
    }

    /// Takes the outcome of a job. Whether there is a new set.
    pub(crate) fn done(&mut self, outcome: Result<Indexed, IndexError>) -> bool {
        self.busy = false;
        let (set, replaced) = match outcome {
            Ok(Indexed::Set(set, replaced)) => (set, replaced),
            Ok(Indexed::Removed) => return false,
            Err(error) => {
                if let IndexError::Run(error) = &error {
                    set_aside(error);
                }
                self.rests_until = Some(Instant::now() + REST_AFTER_FAILURE);
                tracing::warn!(%error, "cannot build the index; what is not in it stays in memory");
                return false;
            }
        };
        // Removed by later jobs: who looks things up has taken the new set by then.
        self.replaced.extend(replaced);
        tracing::debug!(end = %set.end(), runs = set.runs().len(), bytes = set.bytes(), "index extended");
        self.set = Arc::new(set);
        true
    }
}

/// Whether the log holds, sealed, exactly what the set's last run was built from. An empty set is of
/// every log.
fn is_of_log(set: &RunSet, reader: &LogReader) -> Result<bool, LogError> {
    let Some(chain) = set.end_chain() else {
        return Ok(true);
    };
    let sealed = set.end() <= reader.sealed_end();
    Ok(sealed && reader.chain_at(set.end())? == Some(chain))
}

/// Removes a run whose bytes do not verify, so that the next start builds it again. Whoever has it
/// open still meets the damage.
pub(crate) fn set_aside(error: &RunError) {
    let RunError::Bad { file, .. } = error else {
        return;
    };
    match std::fs::remove_file(file) {
        Ok(()) => {
            tracing::error!(%error, "a run of the index is damaged and was removed: start the node again, it is built anew");
        }
        // Removed before.
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => {
            tracing::error!(%error, %source, "a run of the index is damaged and cannot be removed");
        }
    }
}

/// Does a job; long, so on a thread that yields.
pub(crate) fn perform(job: IndexJob) -> Result<Indexed, IndexError> {
    match job {
        IndexJob::Build(set, reader, end, pace) => build(set, &reader, end, pace),
        IndexJob::Merge(set, merge, pace) => {
            let run = kanjo_index::merge(&merge, pace)?;
            let replaced = merge.runs.iter().map(|run| run.path().to_path_buf());
            Ok(Indexed::Set(set.with_merged(&run)?, replaced.collect()))
        }
        IndexJob::Remove(file, pace) => {
            remove(&file, pace);
            Ok(Indexed::Removed)
        }
    }
}

/// Removes the file of a merged run. Whoever reads it has it open, and goes on.
fn remove(file: &Path, pace: Pace<'_>) {
    // ORDER: what replaces it was named, and the folder synced, before.
    match kanjo_disk::remove(file, pace) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %file.display(), "a merged run stays until the next start");
        }
        _ => {}
    }
}

fn build(
    set: Arc<RunSet>,
    reader: &LogReader,
    end: Lsn,
    pace: Pace<'static>,
) -> Result<Indexed, IndexError> {
    let from = place_at(reader, set.params().cluster, set.end())?;
    let mut builder = RunBuilder::new(Arc::clone(&set)).at_pace(pace);
    let mut scan = reader.scan(from);
    while scan.place().lsn < end && !builder.is_complete() {
        let batch = scan.next().ok_or(IndexError::Gap(scan.place().lsn))??;
        builder.add_batch(&batch.header, &batch.payload)?;
    }
    let run = builder.finish()?;
    Ok(Indexed::Set(set.with(&run)?, Vec::new()))
}

/// The place of the log at `lsn`, as far as a reader needs it to go on from there.
pub(crate) fn place_at(
    reader: &LogReader,
    cluster: kanjo_format::ClusterId,
    lsn: Lsn,
) -> Result<BatchPlace, IndexError> {
    let chain = reader.chain_at(lsn)?.ok_or(IndexError::Gap(lsn))?;
    Ok(BatchPlace {
        cluster,
        lsn,
        // Any epoch may follow: only that epochs do not fall is checked from here on.
        epoch: Epoch::NONE,
        chain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_merged_run_goes_and_whoever_reads_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        let reader = kanjo_disk::open(&file).unwrap();
        for _ in 0..2 {
            let job = IndexJob::Remove(file.clone(), Pace::at_once());
            assert!(matches!(perform(job), Ok(Indexed::Removed)));
            assert!(!file.exists());
        }
        assert_eq!(reader.metadata().unwrap().len(), 1 << 20);
    }
}
