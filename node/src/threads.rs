//! The threads beside the hot one: one syncs, four do what is slow and can wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kanjo_disk::Pace;
use kanjo_engine::Snapshot;
use kanjo_format::control::Control;
use kanjo_format::{Lsn, Tail};
use kanjo_wal::{DataDir, DirError, LogError, Prepared, Preparer, SealInfo, Sealer, Syncer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::indexing::{self, IndexError, IndexJob, Indexed};
use crate::status::DrillReport;

/// How much threads yield to others that do what can wait (`nice`).
const NICENESS: i32 = 10;

/// How a sync ended.
pub(crate) struct Synced {
    /// Through where it was asked for.
    pub(crate) tail: Tail,
    /// The history that this tail is of; the log may have been cut since.
    pub(crate) history: u64,
    /// How far the log is on disk, which may be further.
    pub(crate) outcome: Result<Lsn, LogError>,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Syncs the log while the hot thread goes on. At most one request is under way.
pub(crate) struct SyncThread {
    requests: Option<mpsc::Sender<(Tail, u64)>>,
    done: UnboundedReceiver<Synced>,
    in_flight: bool,
    thread: Option<JoinHandle<()>>,
}

impl SyncThread {
    pub(crate) fn start(syncer: Syncer) -> std::io::Result<Self> {
        let (requests, asked) = mpsc::channel::<(Tail, u64)>();
        let (tell, done) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("kanjo-sync".into())
            .spawn(move || {
                while let Ok((tail, history)) = asked.recv() {
                    let begun = Instant::now();
                    let outcome = syncer.sync_to(tail.lsn);
                    let synced = Synced {
                        tail,
                        history,
                        outcome,
                        time: begun.elapsed(),
                    };
                    if tell.send(synced).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            requests: Some(requests),
            done,
            in_flight: false,
            thread: Some(thread),
        })
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Starts a sync through `tail` of the history of that number. Panics while one is under
    /// way, which only a bug can cause.
    pub(crate) fn request(&mut self, tail: Tail, history: u64) {
        assert!(!self.in_flight, "one sync at a time");
        if let Some(requests) = &self.requests {
            self.in_flight = requests.send((tail, history)).is_ok();
        }
    }

    /// Waits for the sync under way; for ever if there is none.
    pub(crate) async fn done(&mut self) -> Synced {
        match self.done.recv().await {
            Some(synced) => {
                self.in_flight = false;
                synced
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the sync thread has been reported by its own message.
            let _ = thread.join();
        }
    }
}

/// A change of the control file that nobody waits for.
pub(crate) type ControlChange = Box<dyn FnOnce(&mut Control) + Send>;

/// What can wait.
pub(crate) enum Job {
    /// Prepare the next segment.
    Prepare(Preparer),
    /// Recompress a full, committed segment.
    Seal(Sealer, u64, i32),
    /// Write a checkpoint and drop older ones, at this pace.
    Checkpoint(Box<Snapshot>, Lsn, Arc<DataDir>, Pace<'static>),
    /// Write a mark into the control file.
    Mark(Arc<DataDir>, ControlChange),
    /// Build or merge runs of the index, or remove one.
    Index(IndexJob),
}

/// How a job ended.
pub(crate) enum JobDone {
    /// A segment is ready.
    Prepared(Result<Prepared, LogError>),
    /// A segment is sealed.
    Sealed(u64, Result<SealInfo, LogError>),
    /// A checkpoint of so many bytes is on disk.
    Checkpointed(Lsn, Result<u64, DirError>),
    /// A mark is on disk, after so long.
    Marked(Result<(), DirError>, Duration),
    /// There is a new set of runs, or one file less.
    Indexed(Result<Indexed, IndexError>),
    /// A drill ended, on a thread of its own; with no report if it was given up.
    Drilled(Option<Box<DrillReport>>),
}

/// Does jobs on four threads, each one after the other: marks, which are short; segments ahead, which
/// take their time until the log needs them; what is derived from the log, which yields the
/// processor to everything else; and, beside it, what was to yield and has become so much that it
/// must not.
pub(crate) struct JobThreads {
    marks: Option<mpsc::Sender<Job>>,
    ahead: Option<mpsc::Sender<Job>>,
    patient: Option<mpsc::Sender<Job>>,
    beside: Option<mpsc::Sender<Job>>,
    /// Set when the threads are waited for: no job rests any more.
    ends: Arc<AtomicBool>,
    tell: UnboundedSender<JobDone>,
    threads: Vec<JoinHandle<()>>,
}

impl JobThreads {
    /// Starts them; what comes to its end is told.
    pub(crate) fn start() -> std::io::Result<(Self, UnboundedReceiver<JobDone>)> {
        let (tell, done) = unbounded_channel();
        let (marks, first) = start_worker("kanjo-marks", false, tell.clone())?;
        let (ahead, second) = start_worker("kanjo-ahead", false, tell.clone())?;
        let (patient, third) = start_worker("kanjo-derive", true, tell.clone())?;
        let (beside, fourth) = start_worker("kanjo-beside", false, tell.clone())?;
        let threads = Self {
            marks: Some(marks),
            ahead: Some(ahead),
            patient: Some(patient),
            beside: Some(beside),
            ends: Arc::default(),
            tell,
            threads: vec![first, second, third, fourth],
        };
        Ok((threads, done))
    }

    pub(crate) fn submit(&self, job: Job) {
        let worker = match job {
            Job::Mark(..) => &self.marks,
            Job::Prepare(_) => &self.ahead,
            Job::Seal(..) | Job::Checkpoint(..) | Job::Index(_) => &self.patient,
        };
        if let Some(worker) = worker {
            // The threads end only when this struct is dropped.
            let _ = worker.send(job);
        }
    }

    /// The same for one that has waited long enough, on a thread on which no commit waits.
    pub(crate) fn submit_beside(&self, job: Job) {
        if let Some(beside) = &self.beside {
            // As above.
            let _ = beside.send(job);
        }
    }

    /// A pace for a job of these threads: this one, until the threads are waited for.
    pub(crate) fn pace(&self, pace: Pace<'static>) -> Pace<'static> {
        pace.until(&self.ends)
    }

    /// The way back for who does something long on a thread of its own.
    pub(crate) fn teller(&self) -> UnboundedSender<JobDone> {
        self.tell.clone()
    }
}

impl Drop for JobThreads {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        drop((self.marks.take(), self.ahead.take()));
        drop((self.patient.take(), self.beside.take()));
        for thread in self.threads.drain(..) {
            // A panic of a job has been reported by its own message.
            let _ = thread.join();
        }
    }
}

/// Puts the calling thread, and those that it starts, behind all others.
pub(crate) fn yield_to_others() {
    // Counts for this thread alone; refused, its work only competes more.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

fn start_worker(
    name: &str,
    yields: bool,
    tell: UnboundedSender<JobDone>,
) -> std::io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (jobs, asked) = mpsc::channel::<Job>();
    let work = move || {
        if yields {
            yield_to_others();
        }
        while let Ok(job) = asked.recv() {
            if tell.send(perform(job)).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
    Ok((jobs, thread))
}

fn perform(job: Job) -> JobDone {
    match job {
        Job::Prepare(preparer) => JobDone::Prepared(preparer.prepare()),
        Job::Seal(sealer, number, level) => JobDone::Sealed(number, sealer.seal(number, level)),
        Job::Mark(dir, change) => {
            let begun = Instant::now();
            JobDone::Marked(dir.update(change), begun.elapsed())
        }
        Job::Index(job) => JobDone::Indexed(indexing::perform(job)),
        Job::Checkpoint(snapshot, lsn, dir, pace) => {
            JobDone::Checkpointed(lsn, checkpoint(&snapshot, lsn, &dir, &pace))
        }
    }
}

fn checkpoint(
    snapshot: &Snapshot,
    lsn: Lsn,
    dir: &DataDir,
    pace: &Pace<'static>,
) -> Result<u64, DirError> {
    let path = dir.write_checkpoint(lsn, pace.clone(), |out| snapshot.write(out))?;
    // Only told of: a checkpoint whose size cannot be asked for is one all the same.
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    for (older, _) in dir.checkpoints()? {
        if older < lsn {
            dir.remove_checkpoint(older, pace.clone())?;
        }
    }
    Ok(bytes)
}
