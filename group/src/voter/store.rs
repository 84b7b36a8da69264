//! One voter's state as Raft sees it: in memory, with every promise on the disk before it counts.

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftStateMachine, Snapshot};
use openraft::{
    OptionalSend, RaftLogReader, RaftSnapshotBuilder, SnapshotMeta, StorageError, StorageIOError,
};
use tokio::sync::watch;

use crate::GroupError;
use crate::register::Outcome;
use crate::voter::file::{Kept, RegisterFile};
use crate::voter::machine::Machine;
use crate::voter::setup::{Entry, LogId, Membership, Setup, Types, Vote, VoterId, VoterInfo};

type Failure = StorageError<VoterId>;

/// A handle on the state; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    kept: Arc<Mutex<Kept>>,
    /// Held while a change is written, so that the file sees changes in their order.
    file: Arc<tokio::sync::Mutex<RegisterFile>>,
    snapshot: Arc<Mutex<Option<Snapshot<Types>>>>,
    applied: Arc<watch::Sender<Machine>>,
    /// A write has failed: nothing that waits for one may wait on.
    broken: Arc<AtomicBool>,
}

impl Store {
    pub(crate) fn open(setup: &Setup) -> Result<Self, GroupError> {
        let (file, kept) = RegisterFile::open(setup)?;
        let (applied, _) = watch::channel(kept.machine.clone());
        Ok(Self {
            kept: Arc::new(Mutex::new(kept)),
            file: Arc::new(tokio::sync::Mutex::new(file)),
            snapshot: Arc::new(Mutex::new(None)),
            applied: Arc::new(applied),
            broken: Arc::new(AtomicBool::new(false)),
        })
    }

    /// What is applied; changes wake who waits for it.
    pub(crate) fn applied(&self) -> watch::Receiver<Machine> {
        self.applied.subscribe()
    }

    /// Whether this voter has ever promised or been told anything.
    pub(crate) fn is_blank(&self) -> bool {
        let kept = self.kept();
        kept.vote.is_none() && kept.last().is_none()
    }

    /// The failure of the disk that ended this voter, if it was one.
    pub(crate) async fn failure(&self) -> Option<GroupError> {
        self.file.lock().await.failed().cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and returns once the change is on the disk.
    async fn write(
        &self,
        subject: fn(GroupError) -> StorageIOError<VoterId>,
        change: impl FnOnce(&mut Kept),
    ) -> Result<(), Failure> {
        let mut file = Arc::clone(&self.file).lock_owned().await;
        let kept = {
            let mut kept = self.kept();
            change(&mut kept);
            kept.clone()
        };
        // A thread of its own: a slow disk must not keep this one from hearing beats.
        let written = tokio::task::spawn_blocking(move || file.write(&kept)).await;
        let written = written.unwrap_or_else(|error| {
            let why = format!("the register could not be written: {error}");
            Err(GroupError::Stopped { why })
        });
        written.map_err(|error| {
            self.broken.store(true, Ordering::Relaxed);
            self.applied.send_modify(|_| ());
            subject(error).into()
        })
    }
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, Failure> {
        let kept = self.kept();
        Ok(kept
            .log
            .range(range)
            .map(|(_, entry)| entry.clone())
            .collect())
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        let kept = self.kept();
        Ok(LogState {
            last_purged_log_id: kept.purged,
            last_log_id: kept.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), Failure> {
        let subject = |error| StorageIOError::write_vote(&error);
        self.write(subject, |kept| kept.vote = Some(*vote)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, Failure> {
        Ok(self.kept().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), Failure> {
        // Not a promise: it goes to the disk with the next one, and spares replaying then.
        self.kept().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, Failure> {
        Ok(self.kept().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let subject = |error| StorageIOError::write_logs(&error);
        self.write(subject, |kept| {
            let indexed = entries.into_iter().map(|entry| (entry.log_id.index, entry));
            kept.log.extend(indexed);
        })
        .await?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), Failure> {
        let subject = |error| StorageIOError::write_logs(&error);
        self.write(subject, |kept| {
            kept.log.split_off(&since.index);
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), Failure> {
        // ORDER: a snapshot that is being installed by the machine's task is kept before the
        // entries that it replaces go.
        let mut applied = self.applied();
        while applied.borrow_and_update().last_applied < Some(upto) {
            if self.broken.load(Ordering::Relaxed) || applied.changed().await.is_err() {
                let why = "the snapshot that replaces it was not kept".to_owned();
                return Err(StorageIOError::write_logs(&GroupError::Stopped { why }).into());
            }
        }
        // What is purged is in the machine, and both go to the disk in one piece with the next
        // promise; until then the disk has the entries.
        let mut kept = self.kept();
        kept.log = kept.log.split_off(&(upto.index + 1));
        kept.purged = Some(upto);
        Ok(())
    }
}

impl RaftStateMachine<Types> for Store {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), Failure> {
        let kept = self.kept();
        Ok((kept.machine.last_applied, kept.machine.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Option<Outcome>>, Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut kept = self.kept();
        let apply = |entry| kept.machine.apply(entry);
        let outcomes = entries.into_iter().map(apply).collect();
        self.applied.send_replace(kept.machine.clone());
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Machine>, Failure> {
        Ok(Box::new(self.kept().machine.clone()))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<VoterId, VoterInfo>,
        snapshot: Box<Machine>,
    ) -> Result<(), Failure> {
        let machine = (*snapshot).clone();
        let subject = |error| StorageIOError::write_snapshot(None, &error);
        self.write(subject, |kept| kept.machine = machine).await?;
        self.applied.send_replace((*snapshot).clone());
        let meta = meta.clone();
        *lock(&self.snapshot) = Some(Snapshot { meta, snapshot });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        Ok(lock(&self.snapshot).clone())
    }
}

impl RaftSnapshotBuilder<Types> for Store {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let machine = self.kept().machine.clone();
        let applied = machine.last_applied;
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id: applied,
                last_membership: machine.membership.clone(),
                snapshot_id: applied.map_or_else(String::new, |id| id.to_string()),
            },
            snapshot: Box::new(machine),
        };
        *lock(&self.snapshot) = Some(snapshot.clone());
        Ok(snapshot)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
