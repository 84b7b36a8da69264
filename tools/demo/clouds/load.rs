//! The load that never stops: over several connections one transfer a request, every answer kept
//! with its time. A request of unknown outcome is repeated with the same id until it has one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kanjo_client::{Client, Resolved, TransferBody};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clouds::Part;
use crate::demo::load::Drawer;
use crate::demo::post::{Answer, Fate, RESOLVING_MAX, held, judge};
use crate::pair::PATIENCE;

/// Between an answer and the next request of the same worker: the load shall show every gap, not
/// use the machine up.
const PAUSE: Duration = Duration::from_millis(4);

/// How a request ended whose first attempt had an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// The attempt had posted it; its answer was lost.
    HadPosted,
    /// The attempt had done nothing; its repetition posted it.
    PostedByRepeat,
    /// It was rejected, by the one or the other.
    Rejected,
}

/// How many outcomes were unknown, and what they turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Unknown {
    /// All of them.
    pub(super) count: usize,
    /// Posted by the attempt whose answer was lost.
    pub(super) had_posted: usize,
    /// Posted by the repetition.
    pub(super) posted_by_repeat: usize,
    /// Rejected by the one or the other.
    pub(super) rejected: usize,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// When it came.
    pub(super) at: Instant,
    /// The server that it came from.
    pub(super) by: Option<Part>,
    pub(super) answer: Answer,
    resolution: Option<Resolution>,
}

/// Everything that was answered, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Answers(pub(super) Vec<Heard>);

impl Answers {
    /// The longest time without an answer within this stretch: what lies before or behind it
    /// belongs to another event.
    pub(super) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let within = self.within(from, to).map(|one| one.at).chain([to]);
        let mut last = from;
        let gaps = within.map(|at| at - std::mem::replace(&mut last, at));
        gaps.max().unwrap_or_default()
    }

    /// Answers that came in this stretch.
    fn count(&self, from: Instant, to: Instant, which: impl Fn(&Heard) -> bool) -> usize {
        self.within(from, to).filter(|one| which(one)).count()
    }

    /// Outcomes that were unknown before their answer came in this stretch.
    pub(super) fn unknown(&self, from: Instant, to: Instant) -> Unknown {
        Unknown::among(self.within(from, to))
    }

    /// All outcomes that were unknown.
    pub(super) fn all_unknown(&self) -> Unknown {
        Unknown::among(self.0.iter())
    }

    fn within(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Heard> {
        self.0
            .iter()
            .filter(move |one| one.at > from && one.at <= to)
    }
}

impl Unknown {
    fn among<'a>(answers: impl Iterator<Item = &'a Heard>) -> Self {
        let mut unknown = Self::default();
        for resolution in answers.filter_map(|heard| heard.resolution) {
            unknown.count += 1;
            match resolution {
                Resolution::HadPosted => unknown.had_posted += 1,
                Resolution::PostedByRepeat => unknown.posted_by_repeat += 1,
                Resolution::Rejected => unknown.rejected += 1,
            }
        }
        unknown
    }
}

/// Posts until it is stopped.
pub(super) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    drawer: Mutex<Drawer>,
    answers: Mutex<Answers>,
    in_flight: AtomicUsize,
    stopping: AtomicBool,
    /// Changes with every request and answer, and when a worker fails.
    news: watch::Sender<()>,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Load {
    /// Begins, with so many requests outstanding over these connections. What was posted before
    /// it, to give the accounts their money, is told with it.
    pub(super) fn start(
        clients: &[Client],
        outstanding: usize,
        drawer: Drawer,
        before: Vec<Heard>,
    ) -> Self {
        let shared = Arc::new(Shared {
            drawer: Mutex::new(drawer),
            answers: Mutex::new(Answers(before)),
            in_flight: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            news: watch::Sender::new(()),
            failure: Mutex::new(None),
        });
        let mut workers = JoinSet::new();
        for worker in 0..outstanding {
            let (client, shared) = (clients[worker % clients.len()].clone(), shared.clone());
            workers.spawn(async move {
                if let Err(error) = shared.work(&client).await {
                    held(&shared.failure).get_or_insert(error);
                    shared.news.send_replace(());
                }
            });
        }
        Self { shared, workers }
    }

    /// Waits until many requests are without an answer.
    pub(super) async fn amid_requests(&self) -> Result<()> {
        let many = self.workers.len() / 2;
        let met = |_: &Answers| (self.in_flight() >= many).then_some(());
        self.wait("requests", met).await
    }

    /// Requests that have no answer yet.
    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Answers that came in this stretch.
    pub(super) fn count(
        &self,
        from: Instant,
        to: Instant,
        which: impl Fn(&Heard) -> bool,
    ) -> usize {
        held(&self.shared.answers).count(from, to, which)
    }

    /// Waits for the first answer of that kind.
    pub(super) async fn first(&self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Result<Heard> {
        let mut seen = 0;
        let search = |answers: &Answers| {
            let found = answers.0[seen..].iter().find(|one| wanted(one)).copied();
            seen = answers.0.len();
            found
        };
        self.wait(what, search).await
    }

    /// Waits for so many more answers.
    pub(super) async fn more(&self, count: usize) -> Result<()> {
        let enough = held(&self.shared.answers).0.len() + count;
        let gathered = |answers: &Answers| (answers.0.len() >= enough).then_some(());
        self.wait("answers", gathered).await
    }

    async fn wait<T>(&self, what: &str, mut see: impl FnMut(&Answers) -> Option<T>) -> Result<T> {
        let mut news = self.shared.news.subscribe();
        let waiting = async {
            loop {
                if let Some(error) = held(&self.shared.failure).take() {
                    return Err(error.context("the load"));
                }
                if let Some(seen) = see(&held(&self.shared.answers)) {
                    return Ok(seen);
                }
                news.changed().await?;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(seen) => seen,
            Err(_) => bail!("{what} did not come within {} s", PATIENCE.as_secs()),
        }
    }

    /// Sends nothing new, waits until everything sent has its answer, and gives all of them.
    pub(super) async fn stop(mut self) -> Result<Answers> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.context("a worker of the load")?;
        }
        if let Some(error) = held(&self.shared.failure).take() {
            return Err(error.context("the load"));
        }
        Ok(std::mem::take(&mut held(&self.shared.answers)))
    }
}

impl Shared {
    async fn work(&self, client: &Client) -> Result<()> {
        while !self.stopping.load(Ordering::Relaxed) {
            let transfer = held(&self.drawer).next();
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            self.news.send_replace(());
            let posted = post(client, transfer).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            held(&self.answers).0.push(posted?);
            self.news.send_replace(());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Posts one transfer, whatever it takes.
async fn post(client: &Client, transfer: TransferBody) -> Result<Heard> {
    let some = std::slice::from_ref(&transfer);
    let resolved = client.create_transfers_resolved(some, RESOLVING_MAX).await;
    let of = || format!("transfer {}", transfer.id.get());
    match resolved.with_context(of)?[..] {
        [resolved] => heard(client, transfer, resolved).with_context(of),
        _ => bail!("not one result for {}", of()),
    }
}

/// What an answer says, now that it is here.
pub(super) fn heard(client: &Client, transfer: TransferBody, resolved: Resolved) -> Result<Heard> {
    let fate = judge(resolved)?;
    let resolution = resolved.repeated.then(|| match fate {
        Fate::Rejected => Resolution::Rejected,
        Fate::Posted if resolved.result.created() => Resolution::PostedByRepeat,
        Fate::Posted => Resolution::HadPosted,
    });
    Ok(Heard {
        at: Instant::now(),
        by: client
            .primary()
            .and_then(|primary| Part::of_node(primary.node.get())),
        answer: Answer {
            transfer,
            fate,
            timestamp: resolved.result.timestamp,
            repeated: resolved.repeated,
        },
        resolution,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(at: &[(u64, Option<Resolution>)]) -> (Instant, Answers) {
        let begun = Instant::now();
        let one = |&(ms, resolution): &(u64, Option<Resolution>)| Heard {
            at: begun + Duration::from_millis(ms),
            by: None,
            answer: Answer {
                transfer: TransferBody::default(),
                fate: Fate::Posted,
                timestamp: 1,
                repeated: resolution.is_some(),
            },
            resolution,
        };
        (begun, Answers(at.iter().map(one).collect()))
    }

    #[test]
    fn a_gap_counts_for_the_stretch_that_it_lies_in() {
        let (begun, answers) = answers(&[(0, None), (10, None), (90, None), (95, None)]);
        let at = |ms| begun + Duration::from_millis(ms);
        let gap = |from, to| answers.longest_gap(at(from), at(to)).as_millis();
        assert_eq!(gap(0, 100), 80);
        assert_eq!(gap(0, 15), 10, "the next one has hardly begun");
        assert_eq!(gap(50, 60), 10, "nothing comes all the time");
        assert_eq!(gap(60, 100), 30);
        assert_eq!(answers.count(at(10), at(90), |_| true), 1);
    }

    #[test]
    fn unknown_outcomes_are_counted_by_what_they_turned_out_to_be() {
        use Resolution::{HadPosted, PostedByRepeat, Rejected};
        let all = [Some(HadPosted), Some(PostedByRepeat), Some(Rejected), None];
        let (begun, answers) = answers(&all.map(|resolution| (5, resolution)));
        let unknown = answers.unknown(begun, begun + Duration::from_millis(5));
        assert_eq!(unknown.count, 3);
        let parts = [
            unknown.had_posted,
            unknown.posted_by_repeat,
            unknown.rejected,
        ];
        assert_eq!(parts, [1, 1, 1]);
    }
}
