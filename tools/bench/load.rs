//! Load: requests on many connections at once, in a closed or an open loop, from one thread.
//!
//! ```text
//! closed  every connection has `in_flight` requests outstanding: an answer makes room for the next
//! open    requests are due at a fixed rate, whatever the answers do; a latency counts from when
//!         its request was due, so a stall meets all that were due in it
//! ```
//!
//! Drawing the transfers and checking every result is inside the measured time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use kanjo_client::{Client, TransferBody};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::workload::Workload;
use crate::timer::Timer;

/// Length of one slice of the measured time.
pub(super) const SLICE: Duration = Duration::from_millis(100);
const NANOS_MAX: u64 = 300_000_000_000;

/// One connection to what is measured.
pub(super) trait Target {
    /// Posts the transfers in one request. Anything but `created` for all is an error.
    async fn post(&self, transfers: &[TransferBody]) -> Result<()>;
}

impl Target for Client {
    async fn post(&self, transfers: &[TransferBody]) -> Result<()> {
        let results = self.create_transfers(transfers).await;
        let results = results.context("a measured request")?;
        let wrong = results.iter().find(|result| !result.created());
        ensure!(
            results.len() == transfers.len() && wrong.is_none(),
            "{} results for {} measured transfers, among them {wrong:?}",
            results.len(),
            transfers.len()
        );
        Ok(())
    }
}

/// How the requests come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Transfers of one request.
    pub(super) batch: usize,
    /// Requests that one connection has outstanding at most.
    pub(super) in_flight: usize,
    /// Transfers due a second; none: a closed loop.
    pub(super) rate: Option<f64>,
}

/// What was answered while it was measured.
pub(super) struct Measured {
    /// Length of the measured time.
    pub(super) seconds: f64,
    /// Transfers answered in it.
    pub(super) transfers: u64,
    /// Nanoseconds of its requests: in a closed loop of those answered in it, in an open one of
    /// those due in it.
    pub(super) latencies: Histogram<u64>,
    /// The same by time of the answer, one a [`SLICE`].
    pub(super) slices: Vec<Slice>,
}

/// What was answered in one slice of time.
pub(super) struct Slice {
    /// Transfers.
    pub(super) transfers: u64,
    /// Nanoseconds of the requests; two digits are exact.
    pub(super) latencies: Histogram<u32>,
}

/// What a running load has done so far.
pub(super) struct Meter {
    begun: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
    seen: RefCell<Measured>,
}

impl Meter {
    fn new() -> Result<Self> {
        Ok(Self {
            begun: Cell::new(None),
            ended: Cell::new(None),
            seen: RefCell::new(Measured {
                seconds: 0.0,
                transfers: 0,
                latencies: histogram()?,
                slices: Vec::new(),
            }),
        })
    }

    /// The measured time begins: what was before was for warming up.
    pub(super) fn begin(&self) {
        self.begun.set(Some(Instant::now()));
    }

    /// Transfers answered since.
    pub(super) fn transfers(&self) -> u64 {
        self.seen.borrow().transfers
    }

    /// Notes a request of which `since` is when it began (closed loop) or was due (open loop).
    fn note(&self, since: Instant, open: bool, transfers: usize) -> Result<()> {
        let Some(begun) = self.begun.get() else {
            return Ok(());
        };
        let now = Instant::now();
        let ended = self.ended.get();
        let mut seen = self.seen.borrow_mut();
        let nanos = u64::try_from(now.duration_since(since).as_nanos()).unwrap_or(u64::MAX);
        let due_within = since >= begun && ended.is_none_or(|ended| since < ended);
        if (open && due_within) || (!open && ended.is_none()) {
            seen.latencies.saturating_record(nanos);
        }
        if ended.is_some() {
            return Ok(());
        }
        seen.transfers += transfers as u64;
        let place = (now.duration_since(begun).as_nanos() / SLICE.as_nanos()) as usize;
        while seen.slices.len() <= place {
            seen.slices.push(Slice {
                transfers: 0,
                latencies: Histogram::new_with_bounds(1_000, NANOS_MAX, 2)?,
            });
        }
        let slice = &mut seen.slices[place];
        slice.transfers += transfers as u64;
        slice.latencies.saturating_record(nanos);
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let Some(begun) = self.begun.get() else {
            bail!("the measured time never began");
        };
        let ended = Instant::now();
        self.ended.set(Some(ended));
        self.seen.borrow_mut().seconds = ended.duration_since(begun).as_secs_f64();
        Ok(())
    }
}

/// Loads all `targets` while `during` runs; the measured time lasts from when that calls
/// [`Meter::begin`] until it returns. Then waits for what is outstanding.
pub(super) async fn drive<T: Target + Clone + 'static, R>(
    targets: &[T],
    shape: Shape,
    workload: &Rc<RefCell<Workload>>,
    during: impl AsyncFnOnce(&Meter) -> Result<R>,
) -> Result<(R, Measured)> {
    let meter = Rc::new(Meter::new()?);
    let stop = Rc::new(Cell::new(false));
    let schedule = shape.rate.map(|rate| {
        let interval = Duration::from_secs_f64(shape.batch as f64 / rate);
        Rc::new(Schedule::new(interval))
    });
    let local = LocalSet::new();
    let outcome = local.run_until(async {
        let mut workers = JoinSet::new();
        for target in targets {
            for _ in 0..shape.in_flight {
                workers.spawn_local(work(Worker {
                    target: target.clone(),
                    batch: shape.batch,
                    workload: workload.clone(),
                    meter: meter.clone(),
                    stop: stop.clone(),
                    schedule: schedule.clone(),
                }));
            }
        }
        let paced = async {
            match &schedule {
                Some(schedule) => schedule.pace().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            Some(ended) = workers.join_next() => {
                ended??;
                bail!("a worker of the load ended");
            }
            ended = paced => {
                ended?;
                bail!("the pacer of the load ended");
            }
            outcome = during(&meter) => outcome?,
        };
        meter.end()?;
        stop.set(true);
        if let Some(schedule) = &schedule {
            // Wakes those who wait for a request to be due.
            schedule.released.add_permits(workers.len());
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(outcome)
    });
    let outcome = outcome.await?;
    let meter = Rc::into_inner(meter).context("a worker still holds the meter")?;
    Ok((outcome, meter.seen.into_inner()))
}

/// One request after the other.
struct Worker<T> {
    target: T,
    batch: usize,
    workload: Rc<RefCell<Workload>>,
    meter: Rc<Meter>,
    stop: Rc<Cell<bool>>,
    schedule: Option<Rc<Schedule>>,
}

async fn work<T: Target>(worker: Worker<T>) -> Result<()> {
    let mut transfers = Vec::with_capacity(worker.batch);
    loop {
        let since = match &worker.schedule {
            Some(schedule) => schedule.next().await?,
            None if worker.stop.get() => None,
            None => Some(Instant::now()),
        };
        let Some(since) = since else {
            return Ok(());
        };
        let batch = worker.batch;
        worker.workload.borrow_mut().fill(&mut transfers, batch);
        worker.target.post(&transfers).await?;
        let open = worker.schedule.is_some();
        worker.meter.note(since, open, transfers.len())?;
    }
}

/// When requests are due.
struct Schedule {
    begun: Instant,
    interval: Duration,
    /// One permit a request that is due and that nobody has taken.
    released: Semaphore,
    due: Cell<u64>,
    taken: Cell<u64>,
}

impl Schedule {
    fn new(interval: Duration) -> Self {
        Self {
            begun: Instant::now(),
            interval,
            released: Semaphore::new(0),
            due: Cell::new(0),
            taken: Cell::new(0),
        }
    }

    fn time_of(&self, request: u64) -> Instant {
        self.begun + Duration::from_secs_f64(self.interval.as_secs_f64() * request as f64)
    }

    /// Releases requests as they become due, for ever.
    async fn pace(&self) -> Result<()> {
        let timer = Timer::new()?;
        loop {
            let passed = self.begun.elapsed().as_secs_f64() / self.interval.as_secs_f64();
            let due = passed as u64 + 1;
            let fresh = due.saturating_sub(self.due.get());
            // Bounded by the semaphore, far beyond what any run can leave unanswered.
            let room = Semaphore::MAX_PERMITS - self.released.available_permits();
            self.released.add_permits((fresh as usize).min(room));
            self.due.set(due);
            timer.wait_until(self.time_of(due)).await?;
        }
    }

    /// Waits until a request is due and takes it: when it was due. None when all that were due
    /// are taken and no more will be.
    async fn next(&self) -> Result<Option<Instant>> {
        self.released.acquire().await?.forget();
        let request = self.taken.get();
        if request >= self.due.get() {
            return Ok(None);
        }
        self.taken.set(request + 1);
        Ok(Some(self.time_of(request)))
    }
}

/// For nanoseconds up to five minutes, three digits exact.
pub(super) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, NANOS_MAX, 3)?)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::bench::workload::WorkArgs;

    /// Answers at once, but nothing before it is open.
    #[derive(Clone)]
    struct Gate(Rc<Semaphore>);

    impl Target for Gate {
        async fn post(&self, transfers: &[TransferBody]) -> Result<()> {
            assert!(!transfers.is_empty());
            drop(self.0.acquire().await?);
            // As a request on a network: others get their turn.
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[derive(Clone)]
    struct Broken;

    impl Target for Broken {
        async fn post(&self, _: &[TransferBody]) -> Result<()> {
            Err(anyhow!("refused"))
        }
    }

    fn workload() -> Rc<RefCell<Workload>> {
        Rc::new(RefCell::new(Workload::new(&WorkArgs {
            accounts: 10,
            zipf: None,
            seed: 1,
        })))
    }

    async fn until(meter: &Meter, transfers: u64) {
        while meter.transfers() < transfers {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_closed_loop_counts_what_is_answered_after_the_warm_up() {
        let gates = vec![Gate(Rc::new(Semaphore::new(100))); 3];
        let shape = Shape {
            batch: 7,
            in_flight: 2,
            rate: None,
        };
        let ((), measured) = drive(&gates, shape, &workload(), async |meter| {
            tokio::task::yield_now().await;
            assert_eq!(meter.transfers(), 0, "nothing counts yet");
            meter.begin();
            until(meter, 700).await;
            Ok(())
        })
        .await
        .unwrap();
        assert!(measured.transfers >= 700 && measured.transfers % 7 == 0);
        assert_eq!(measured.latencies.len(), measured.transfers / 7);
        let slices: u64 = measured.slices.iter().map(|slice| slice.transfers).sum();
        assert_eq!(slices, measured.transfers);
    }

    /// A client that waits for its answers before it asks again sees one slow request only;
    /// those that would have come meanwhile were slow too.
    #[tokio::test]
    async fn in_an_open_loop_a_stall_meets_all_that_were_due_in_it() {
        let gate = Gate(Rc::new(Semaphore::new(0)));
        let shape = Shape {
            batch: 1,
            in_flight: 2,
            rate: Some(10_000.0),
        };
        let stall = Duration::from_millis(20);
        let ((), measured) = drive(
            std::slice::from_ref(&gate),
            shape,
            &workload(),
            async |meter| {
                meter.begin();
                Timer::new()?.wait_until(Instant::now() + stall).await?;
                gate.0.add_permits(1);
                until(meter, 300).await;
                Ok(())
            },
        )
        .await
        .unwrap();
        let half = stall.as_nanos() as u64 / 2;
        let slow = measured.latencies.iter_recorded();
        let slow = slow.filter(|step| step.value_iterated_to() >= half);
        let slow: u64 = slow.map(|step| step.count_since_last_iteration()).sum();
        assert!(slow >= 90, "{slow} of 100 that were due in the first half");
        assert!(measured.latencies.max() >= stall.as_nanos() as u64 * 9 / 10);
    }

    #[tokio::test]
    async fn what_is_not_created_fails_the_run() {
        let shape = Shape {
            batch: 1,
            in_flight: 1,
            rate: None,
        };
        let workload = workload();
        let ended = drive(&[Broken], shape, &workload, async |meter| {
            meter.begin();
            std::future::pending::<Result<()>>().await
        });
        assert!(
            ended
                .await
                .is_err_and(|error| error.to_string() == "refused")
        );
    }
}
