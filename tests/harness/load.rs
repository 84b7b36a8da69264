//! A load of random transfers from its own thread, which counts, keeps and waits for answers.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kanjo_client::{Client, ClientError, TransferBody};

use super::book::{block_on, client_config, connect};
use super::{Book, PATIENCE, Random};

/// How the load is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadOptions {
    /// Requests in flight at once.
    pub(crate) workers: usize,
    /// How long a request may take before its outcome is called unknown.
    pub(crate) deadline: Duration,
    /// A worker asks again at once, with the same ids, where the outcome is unknown.
    pub(crate) resolve: bool,
    /// Between two requests of one worker, where the processes need room to breathe.
    pub(crate) pause: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            workers: 16,
            deadline: PATIENCE,
            resolve: false,
            pause: Duration::ZERO,
        }
    }
}

/// Counts of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Transfers answered, each in the journal before it is counted.
    pub(crate) answered: u64,
    /// Requests answered: most are of one transfer.
    pub(crate) requests: u64,
    /// Requests sent and not yet ended.
    pub(crate) in_flight: usize,
    /// Transfers whose outcome was unknown at the deadline or when the node went away.
    pub(crate) unknown: u64,
    /// Transfers of which it is certain that nothing was done.
    pub(crate) not_done: u64,
    /// The last reasons for the two above.
    pub(crate) reasons: Vec<String>,
    /// When the latest answer came.
    pub(crate) last_answer: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    stopping: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running load. Stops, without waiting, when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(
        book: &Arc<Book>,
        addresses: Vec<String>,
        options: LoadOptions,
        random: Random,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (book, inner) = (Arc::clone(book), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let _ended = MarkEnded(Arc::clone(&inner));
            block_on(run(book, addresses, options, random, inner));
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared
            .state
            .lock()
            .expect("no worker panicked")
            .counts
            .clone()
    }

    /// Waits until the counts satisfy `holds`.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Counts) -> bool) -> Counts {
        let state = self.shared.state.lock().expect("no worker panicked");
        let until = Instant::now() + PATIENCE;
        let mut state = state;
        while !holds(&state.counts) {
            assert!(!state.ended, "the load ended early: {:#?}", state.counts);
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the load never saw {what}: {:#?}",
                state.counts
            );
            (state, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .expect("no worker panicked");
        }
        state.counts.clone()
    }

    /// Waits for this many answers more.
    pub(crate) fn wait_answers(&self, more: u64) -> Counts {
        let aim = self.counts().answered + more;
        self.wait_until("enough answers", |counts| counts.answered >= aim)
    }

    /// The same, of whole requests.
    pub(crate) fn wait_requests(&self, more: u64) -> Counts {
        let aim = self.counts().requests + more;
        self.wait_until("enough answered requests", |counts| counts.requests >= aim)
    }

    /// Waits up to `limit` for this many more answers; false if they did not come.
    pub(crate) fn answers_within(&self, more: u64, limit: Duration) -> bool {
        let mut state = self.shared.state.lock().expect("no worker panicked");
        let aim = state.counts.answered + more;
        let until = Instant::now() + limit;
        while state.counts.answered < aim {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (state, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .expect("no worker panicked");
        }
        true
    }

    /// Starts no request any more; those in flight go on.
    pub(crate) fn ask_to_stop(&self) {
        self.shared
            .state
            .lock()
            .expect("no worker panicked")
            .stopping = true;
    }

    /// Starts no request any more and waits for those in flight.
    pub(crate) fn finish(mut self) -> Counts {
        self.ask_to_stop();
        let thread = self.thread.take().expect("finished once");
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
        self.counts()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.stopping = true;
        }
    }
}

struct MarkEnded(Arc<Shared>);

impl Drop for MarkEnded {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.ended = true;
        }
        self.0.changed.notify_all();
    }
}

async fn run(
    book: Arc<Book>,
    addresses: Vec<String>,
    options: LoadOptions,
    mut random: Random,
    shared: Arc<Shared>,
) {
    // Two connections, so that requests also meet in the node's queue.
    let clients = [connect(&addresses).await, connect(&addresses).await];
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..options.workers {
        let worker = Worker {
            client: clients[number % 2].clone(),
            book: Arc::clone(&book),
            shared: Arc::clone(&shared),
            options,
            random: random.fork(),
        };
        workers.spawn(worker.work());
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

struct Worker {
    client: Client,
    book: Arc<Book>,
    shared: Arc<Shared>,
    options: LoadOptions,
    random: Random,
}

impl Worker {
    async fn work(mut self) {
        while self.begin() {
            if !self.options.pause.is_zero() {
                tokio::time::sleep(self.options.pause).await;
            }
            let count = self.request_size();
            let postings = self.book.draw_many(count, &mut self.random);
            let bodies: Vec<TransferBody> = postings.iter().map(|posting| posting.body()).collect();
            let mut repeated = false;
            loop {
                let outcome = self
                    .client
                    .create_transfers_within(&bodies, self.options.deadline)
                    .await;
                match outcome {
                    Ok(results) => {
                        // ORDER: into the file first; only then is it an answer.
                        self.book.answered(&postings, &results, repeated);
                        self.end(|counts| {
                            counts.answered += count as u64;
                            counts.requests += 1;
                            counts.last_answer = Some(Instant::now());
                        });
                    }
                    Err(error) => {
                        let unknown = error.outcome_unknown() || repeated;
                        if unknown
                            && self.options.resolve
                            && error.worth_repeating()
                            && !self.is_stopping()
                        {
                            repeated = true;
                            continue;
                        }
                        self.give_up(&postings, unknown, &error).await;
                    }
                }
                break;
            }
        }
    }

    /// Mostly one transfer, sometimes several, seldom so many that segments fill up.
    fn request_size(&mut self) -> usize {
        match self.random.below(200) {
            0 => 400,
            1..=20 => 2 + self.random.below(20) as usize,
            _ => 1,
        }
    }

    async fn give_up(
        &self,
        postings: &[super::posting::Posting],
        unknown: bool,
        error: &ClientError,
    ) {
        let count = postings.len() as u64;
        if unknown {
            self.book.unknown(postings);
        } else {
            self.book.not_done(postings);
        }
        self.end(|counts| {
            if unknown {
                counts.unknown += count;
            } else {
                counts.not_done += count;
            }
            if counts.reasons.len() < 8 {
                counts.reasons.push(error.to_string());
            }
        });
        if !unknown {
            // The node wants to be left alone for a while.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn begin(&self) -> bool {
        let mut state = self.shared.state.lock().expect("nobody panicked");
        if state.stopping {
            return false;
        }
        state.counts.in_flight += 1;
        true
    }

    fn is_stopping(&self) -> bool {
        self.shared.state.lock().expect("nobody panicked").stopping
    }

    fn end(&self, count: impl FnOnce(&mut Counts)) {
        let mut state = self.shared.state.lock().expect("nobody panicked");
        state.counts.in_flight -= 1;
        count(&mut state.counts);
        drop(state);
        self.shared.changed.notify_all();
    }
}

/// Whether a client with these addresses gets any answer to a lookup within `limit`.
pub(crate) fn lookup_is_answered(addresses: &[String], limit: Duration) -> bool {
    block_on(async {
        let mut config = client_config(addresses);
        config.connect_deadline = limit;
        let Ok(client) = Client::connect(config).await else {
            return false;
        };
        client
            .lookup_accounts_within(&[kanjo_client::AccountId::new(1)], limit)
            .await
            .is_ok()
    })
}
