//! The thread that answers queries, beside the hot one.
//!
//! ```text
//! hot: Ledger::ask → job ─▶ kanjo-query: a turn for each of a few jobs ─▶ page → hot: ids, reply
//! ```
//!
//! It reads the log and what is derived from it, up to where the log ended when the job was
//! made. It knows nothing of commits: its pages are held on the hot thread like any read.

mod past;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use kanjo_engine::query::{Book, Budget, Page, PastError, Query};
use kanjo_format::Lsn;
use kanjo_format::client::TrialBalanceBody;
use kanjo_index::RunSet;
use kanjo_wal::LogReader;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) use self::past::AccountLedgers;
use self::past::LogPast;

/// Records that one job may look at before the next one has its turn.
const TURN_RECORDS: u64 = 8 << 10;
/// Jobs that have turns at a time; others wait until one of them is done.
const JOBS_AT_ONCE: usize = 16;
/// How much the thread yields to those that commit (`nice`).
const QUERY_NICENESS: i32 = 5;

/// A query to be answered.
pub(crate) struct Job {
    /// By which its answer is known.
    pub(crate) id: u64,
    /// What is asked.
    pub(crate) work: Work,
    /// Where the log ends for it.
    pub(crate) end: Lsn,
    /// Number of the log's history.
    pub(crate) history: u64,
    /// Ledgers of all accounts, where the query needs them.
    pub(crate) ledgers: AccountLedgers,
    /// What of the log is indexed.
    pub(crate) runs: Arc<RunSet>,
    /// Set once nobody waits for the answer.
    pub(crate) abandoned: Arc<AtomicBool>,
}

/// What a job is about.
pub(crate) enum Work {
    /// One page of a query.
    Query(Box<Query>),
    /// The totals of a book.
    TrialBalance(Book),
}

/// How a job ended.
pub(crate) struct Answered {
    /// Of the job.
    pub(crate) id: u64,
    /// What was found.
    pub(crate) outcome: Result<Found, PastError>,
}

/// What was found.
pub(crate) enum Found {
    /// A page.
    Page(Page),
    /// Totals.
    Totals(Vec<TrialBalanceBody>),
}

/// Answers queries while the hot thread goes on.
pub(crate) struct QueryThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl QueryThread {
    /// Starts it; what was answered is told. Jobs under way end when nobody listens any more.
    pub(crate) fn start(
        reader: LogReader,
        segment_bytes: u64,
    ) -> std::io::Result<(Self, UnboundedReceiver<Answered>)> {
        let (jobs, asked) = mpsc::channel();
        let (tell, done) = unbounded_channel();
        let past = LogPast::new(reader, segment_bytes);
        let thread = std::thread::Builder::new()
            .name("kanjo-query".into())
            .spawn(move || {
                // Counts for this thread alone; refused, queries only compete more.
                if let Err(error) = rustix::process::nice(QUERY_NICENESS) {
                    tracing::debug!(%error, "a thread keeps its priority");
                }
                answer_all(past, &asked, &tell);
            })?;
        let query = Self {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        Ok((query, done))
    }

    pub(crate) fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when this struct is dropped.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for QueryThread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own message.
            let _ = thread.join();
        }
    }
}

/// Gives each job its turn until there are no more and nobody can ask.
fn answer_all(mut past: LogPast, asked: &mpsc::Receiver<Job>, tell: &UnboundedSender<Answered>) {
    let mut jobs: VecDeque<Job> = VecDeque::new();
    loop {
        while jobs.len() < JOBS_AT_ONCE
            && let Ok(job) = asked.try_recv()
        {
            jobs.push_back(job);
        }
        let job = match jobs.pop_front() {
            Some(job) => job,
            None => match asked.recv() {
                Ok(job) => job,
                Err(_) => return,
            },
        };
        if tell.is_closed() {
            return;
        }
        if job.abandoned.load(Ordering::Relaxed) {
            continue;
        }
        match turn(&mut past, job) {
            Turn::Over(job) => jobs.push_back(*job),
            Turn::Done(answered) => {
                if tell.send(answered).is_err() {
                    return;
                }
            }
        }
    }
}

enum Turn {
    Over(Box<Job>),
    Done(Answered),
}

fn turn(past: &mut LogPast, mut job: Job) -> Turn {
    let id = job.id;
    past.show(&job);
    let outcome = match &mut job.work {
        Work::TrialBalance(book) => Ok(Found::Totals(book.trial_balance())),
        Work::Query(query) => match query.step(past, &mut Budget::new(TURN_RECORDS)) {
            Ok(None) => return Turn::Over(Box::new(job)),
            Ok(Some(next)) => match job.work {
                Work::Query(query) => Ok(Found::Page(query.into_page(next))),
                Work::TrialBalance(_) => unreachable!("just matched"),
            },
            Err(error) => Err(error),
        },
    };
    Turn::Done(Answered { id, outcome })
}
