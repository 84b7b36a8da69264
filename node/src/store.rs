//! A node's own durable state: directory, log, and the ledger that is rebuilt from them.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kanjo_disk::Pace;
use kanjo_engine::{Ledger, Snapshot};
use kanjo_format::columns::Groups;
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::replication::EpochEntry;
use kanjo_format::{Batch, BatchHeader, BatchPlace, Lsn, Tail};
use kanjo_shipper::LocalLog;
use kanjo_wal::{CutReport, DataDir, DeviceKind, Log, LogReader, Recovery, Syncer};

use crate::config::{Config, Device};
use crate::error::NodeError;
use crate::history::LogHistory;
use crate::indexing::Indexing;
use crate::published::Published;
use crate::replay::each_batch;
use crate::restore::{self, Source, Unusable, start_of_log, table_seed};

/// Directory, log and ledger of one node. Lives on the hot thread.
pub(crate) struct Store {
    pub(crate) dir: Arc<DataDir>,
    pub(crate) log: Log,
    pub(crate) reader: LogReader,
    pub(crate) syncer: Syncer,
    pub(crate) ledger: Ledger,
    pub(crate) history: LogHistory,
    pub(crate) indexing: Indexing,
    /// Where the next batch to apply stands.
    applied: BatchPlace,
    /// End of what was applied of reigns that served alone.
    alone_to: Lsn,
    segment_bytes: u64,
    /// Told that the thread goes on while a replay takes long.
    pulse: Arc<Published>,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl std::ops::Add for Replayed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            batches: self.batches + other.batches,
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            time: self.time + other.time,
        }
    }
}

impl Store {
    /// Takes the directory's lock and recovers its log. The ledger is empty until
    /// [`Self::rebuild`].
    pub(crate) fn open(
        config: &Config,
        pulse: Arc<Published>,
    ) -> Result<(Self, Recovery), NodeError> {
        let dir = Arc::new(DataDir::open(&config.data_dir)?);
        let device = match config.device {
            Device::Mapped => DeviceKind::Mapped,
            Device::Pwrite => DeviceKind::Pwrite,
        };
        let (log, recovery) = Log::open(Arc::clone(&dir), device)?;
        if recovery.uncertain && !dir.control().uncertain {
            // ORDER: known before anybody can ask; a promotion must not take this end for whole.
            dir.promise(|control| control.uncertain = true)?;
        }
        let (reader, syncer) = (log.reader(), log.syncer());
        let control = dir.control();
        let indexing = Indexing::open(&dir, &reader, table_seed())?;
        let store = Self {
            applied: start_of_log(dir.control().cluster),
            segment_bytes: control.segment_bytes,
            alone_to: Lsn::ZERO,
            ledger: Ledger::new(table_seed()),
            history: LogHistory::new(reader.clone(), Arc::clone(indexing.set())),
            indexing,
            dir,
            log,
            reader,
            syncer,
            pulse,
        };
        Ok((store, recovery))
    }

    /// Drops the ledger and builds it anew from the newest usable checkpoint and the log, up to
    /// the last batch that ends at or below `through`.
    pub(crate) fn rebuild(&mut self, through: Lsn) -> Result<Replayed, NodeError> {
        self.history.forget();
        // Before another one is built: two take twice the memory.
        self.ledger = Ledger::new(table_seed());
        self.alone_to = Lsn::ZERO;
        self.applied = start_of_log(self.dir.control().cluster);
        let mut checkpoints = self.dir.checkpoints()?;
        checkpoints.sort();
        while let Some((lsn, path)) = checkpoints.pop() {
            if lsn > through {
                continue;
            }
            match self.rebuild_from_checkpoint(&path, lsn, through) {
                Ok(replayed) => return Ok(replayed),
                Err(Unusable::Checkpoint(why)) => {
                    tracing::warn!(checkpoint = %path.display(), %why, "checkpoint not usable, it is set aside and the log replayed from before it");
                    self.set_aside(lsn, &path)?;
                }
                Err(Unusable::Other(error)) => return Err(error),
            }
        }
        self.replay(through)
    }

    fn rebuild_from_checkpoint(
        &mut self,
        path: &Path,
        lsn: Lsn,
        through: Lsn,
    ) -> Result<Replayed, Unusable> {
        let started = Instant::now();
        let file =
            kanjo_disk::open(path).map_err(|error| Unusable::Checkpoint(error.to_string()))?;
        let file = self.pulse.reading(file);
        let mut input = BufReader::with_capacity(1 << 20, file);
        let source = self.source();
        let restored = source.read_checkpoint(&mut input, lsn)?;
        let mut batches = 0;
        let (ledger, place) = source.index_below(restored, |_| {
            self.pulse.beat(batches);
            batches += 1;
            Ok(())
        })?;
        self.ledger = ledger;
        self.applied = place;
        let reign = self.ledger.reign();
        let ever_alone = reign.unprotected.since > Lsn::ZERO || reign.unprotected.count > 0;
        self.alone_to = match reign.protection {
            Protection::Alone => place.lsn,
            _ if ever_alone => reign.since,
            _ => Lsn::ZERO,
        };
        let mut replayed = self.replay(through)?;
        replayed.time = started.elapsed();
        Ok(replayed)
    }

    /// What a ledger is built from here.
    pub(crate) fn source(&self) -> Source {
        Source {
            reader: self.reader.clone(),
            cluster: self.dir.control().cluster,
            segment_bytes: self.segment_bytes,
            old: self.indexing.old_part(),
        }
    }

    /// Copies a checkpoint that cannot be used into quarantine and removes it.
    fn set_aside(&self, lsn: Lsn, path: &Path) -> Result<(), NodeError> {
        let failed = |source| NodeError::System {
            what: "set a checkpoint aside",
            source,
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (mut copy, _) = self.dir.quarantine_file(&name)?;
        std::io::copy(&mut kanjo_disk::open(path).map_err(failed)?, &mut copy).map_err(failed)?;
        copy.sync_all().map_err(failed)?;
        self.dir.remove_checkpoint(lsn, Pace::at_once())?;
        Ok(())
    }

    /// Applies the log from where the ledger is up to `through`.
    pub(crate) fn replay(&mut self, through: Lsn) -> Result<Replayed, NodeError> {
        let started = Instant::now();
        let mut replayed = Replayed::default();
        if self.applied.lsn >= through {
            return Ok(replayed);
        }
        let from = self.applied;
        each_batch(&self.reader.clone(), from, through, |batch, behind| {
            self.pulse.beat(replayed.batches);
            replayed.batches += 1;
            replayed.records += u64::from(batch.header.record_count());
            replayed.bytes += batch.header.payload_bytes() as u64;
            self.apply(batch, behind)
        })?;
        replayed.time = started.elapsed();
        Ok(replayed)
    }

    /// Applies the one batch that is next, if it ends at or below `through`. Says how many.
    pub(crate) fn replay_one(&mut self, through: Lsn) -> Result<u64, NodeError> {
        let Some(batch) = self.reader.read(self.applied.lsn)? else {
            return Ok(0);
        };
        batch.header.check_chain(&self.applied).map_err(|error| {
            NodeError::NeedsOperator(format!("the log at lsn {}: {error}", self.applied.lsn))
        })?;
        let behind = batch.header.next_place(&batch.payload, self.segment_bytes);
        if behind.lsn > through {
            return Ok(0);
        }
        self.apply(&batch, behind)?;
        Ok(1)
    }

    /// Applies one batch that follows what was applied so far.
    fn apply(&mut self, batch: &Batch<Bytes>, behind: BatchPlace) -> Result<(), NodeError> {
        let was_alone = self.is_alone();
        restore::apply(&mut self.ledger, batch, behind.lsn, self.segment_bytes)?;
        self.applied = behind;
        self.note_alone(was_alone);
        if behind.lsn.get().is_multiple_of(self.segment_bytes) {
            self.drop_young();
        }
        Ok(())
    }

    /// What of the young part of the index is in the old one too is dropped.
    fn drop_young(&mut self) {
        let end = self.indexing.set().end().min(self.applied.lsn);
        self.ledger.drop_index_below(end);
    }

    /// Looks up in the newest runs from now on.
    pub(crate) fn take_runs(&mut self) {
        self.history.set_runs(Arc::clone(self.indexing.set()));
        self.drop_young();
    }

    /// Notes that the batch just appended was executed on this ledger.
    pub(crate) fn executed(&mut self, header: &BatchHeader, tail: Tail) {
        let was_alone = self.is_alone();
        self.ledger.batch_placed(header, tail.lsn);
        self.applied = BatchPlace {
            lsn: tail.lsn,
            epoch: tail.epoch,
            chain: tail.chain,
            ..self.applied
        };
        self.note_alone(was_alone);
        restore::begin_generation(&mut self.ledger, header, tail.lsn, self.segment_bytes);
    }

    fn is_alone(&self) -> bool {
        self.ledger.reign().protection == Protection::Alone
    }

    fn note_alone(&mut self, was_alone: bool) {
        if was_alone || self.is_alone() {
            self.alone_to = self.applied.lsn;
        }
    }

    /// End of what was applied of reigns that served alone; zero if there was none.
    pub(crate) const fn alone_to(&self) -> Lsn {
        self.alone_to
    }

    /// What the whole log holds, the part that is not applied yet included. All of it must be
    /// synced.
    pub(crate) fn local_log(&self, confirmed: Lsn) -> Result<LocalLog, NodeError> {
        let reign = self.ledger.reign();
        let mut history: Vec<EpochEntry> = reign
            .epochs
            .iter()
            .map(|e| EpochEntry {
                epoch: e.epoch,
                base: e.base,
            })
            .collect();
        let mut alone = self.is_alone();
        let mut alone_to = self.alone_to;
        let mut before = self.applied();
        let mut scan = self.reader.scan(self.applied);
        while let Some(batch) = scan.next() {
            let batch = batch?;
            let was_alone = alone;
            if batch.header.epoch() != before.epoch {
                history.push(EpochEntry {
                    epoch: batch.header.epoch(),
                    base: before,
                });
            }
            for group in Groups::new(&batch.payload, batch.header.record_count()).flatten() {
                if matches!(group.kind, RecordKind::EpochStart | RecordKind::SetChange) {
                    let mut rows: Vec<ReignRow> = Vec::new();
                    group.read_rows(&mut rows);
                    let last = rows.last().and_then(ReignRow::protection);
                    alone = last == Some(Protection::Alone);
                }
            }
            let place = scan.place();
            before = Tail {
                epoch: place.epoch,
                lsn: place.lsn,
                chain: place.chain,
            };
            if was_alone || alone {
                alone_to = before.lsn;
            }
        }
        let confirmed = confirmed.min(before.lsn);
        Ok(LocalLog {
            tail: before,
            confirmed,
            history,
            alone_to,
        })
    }

    /// The log's tail as it was at `lsn`, which lies in what was applied.
    pub(crate) fn tail_at(&self, lsn: Lsn) -> Result<Option<Tail>, NodeError> {
        let epochs = &self.ledger.reign().epochs;
        let epoch = epochs
            .iter()
            .rev()
            .find(|entry| entry.base.lsn < lsn)
            .map(|entry| entry.epoch);
        let chain = self.reader.chain_at(lsn)?;
        Ok(epoch
            .zip(chain)
            .map(|(epoch, chain)| Tail { epoch, lsn, chain }))
    }

    /// The ledger as it is, for a checkpoint.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.ledger.snapshot(self.applied.cluster, self.applied())
    }

    /// Through where the ledger is.
    pub(crate) fn applied(&self) -> Tail {
        Tail {
            epoch: self.applied.epoch,
            lsn: self.applied.lsn,
            chain: self.applied.chain,
        }
    }

    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Cuts the log, keeping what is cut, and the ledger with it if it was ahead.
    pub(crate) fn cut(&mut self, to: Lsn, reason: &str) -> Result<CutReport, NodeError> {
        let report = self.log.cut(to, reason)?;
        self.history.forget();
        if self.applied.lsn > to {
            self.rebuild(to)?;
        }
        Ok(report)
    }
}
