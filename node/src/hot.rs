//! What both roles share on the hot thread: the store, the ports' queues, housekeeping, status.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kanjo_engine::Snapshot;
use kanjo_format::control::Control;
use kanjo_format::segment::SegmentForm;
use kanjo_format::{Lsn, Tail};
use kanjo_shipper::Identity;
use kanjo_wal::LogError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{Answer, Command, Condition};
use crate::config::Config;
use crate::error::NodeError;
use crate::front::{Door, Front};
use crate::server::{Inbound, Shared};
use crate::status::{LedgerStatus, PeerStatus, Status, Unprotected};
use crate::store::Store;
use crate::threads::{ControlChange, Job, JobDone, JobThread, SyncThread};

/// How often timers are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// The durable mark is written this often while the log grows.
const MARK_WHILE_APPENDING: Duration = Duration::from_secs(1);
/// And this soon after it stopped growing.
const MARK_WHEN_IDLE: Duration = Duration::from_millis(80);
/// Free disk and sealing are looked at this often.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// A command of the admin port, with the way back.
pub(crate) struct AdminRequest {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Counters of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended_bytes: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) shipped_bytes: u64,
    pub(crate) sealed_segments: u64,
}

/// Where the node stands, as far as a role knows and the status shows.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) role: &'static str,
    pub(crate) serving: bool,
    pub(crate) why_not_serving: String,
    pub(crate) durable: Lsn,
    pub(crate) committed: Lsn,
    pub(crate) protection: &'static str,
    pub(crate) peer: PeerStatus,
}

struct Waiter {
    condition: Condition,
    until: Instant,
    answer: oneshot::Sender<Answer>,
}

/// The hot thread's belongings.
pub(crate) struct Hot {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) front: Rc<Front>,
    pub(crate) sync: SyncThread,
    pub(crate) jobs: JobThread,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) admin: mpsc::Receiver<AdminRequest>,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Counters,
    pub(crate) disk_low: bool,
    pub(crate) tick: tokio::time::Interval,
    started: Instant,
    waiters: Vec<Waiter>,
    preparing: bool,
    sealing: bool,
    marking: bool,
    marked: Lsn,
    last_growth: Instant,
    last_mark: Instant,
    seen_tail: Lsn,
    last_housekeeping: Instant,
    last_checkpoint: Lsn,
    checkpoint: Option<(Box<Snapshot>, Lsn)>,
    checkpointing: bool,
    free_disk_bytes: u64,
    /// What this disk has, as last asked for.
    durable: Tail,
    /// Counts the cuts, so that a mark that was on its way is not written after one.
    histories: Arc<AtomicU64>,
}

/// What the server hands to a new hot thread.
pub(crate) struct Ports {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) admin: mpsc::Receiver<AdminRequest>,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) shared: Arc<Shared>,
}

impl Hot {
    pub(crate) fn new(
        config: Config,
        store: Store,
        front: Rc<Front>,
        ports: Ports,
    ) -> Result<Self, NodeError> {
        let thread = |source| NodeError::System {
            what: "start a thread",
            source,
        };
        let sync = SyncThread::start(store.syncer.clone()).map_err(thread)?;
        let jobs = JobThread::start().map_err(thread)?;
        let now = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let last_checkpoint = store
            .dir
            .checkpoints()?
            .iter()
            .map(|(lsn, _)| *lsn)
            .max()
            .unwrap_or(Lsn::ZERO);
        // Known from the start: a reign may begin before the next look at the disk.
        let free_disk_bytes = store.dir.free_bytes()?;
        let disk_low = free_disk_bytes < config.free_disk_floor_bytes;
        Ok(Self {
            free_disk_bytes,
            durable: store.log.tail(),
            histories: Arc::default(),
            marked: store.dir.control().durable.lsn,
            seen_tail: store.log.tail().lsn,
            config,
            store,
            front,
            sync,
            jobs,
            inbound: ports.inbound,
            admin: ports.admin,
            shutdown: ports.shutdown,
            shared: ports.shared,
            counters: Counters::default(),
            disk_low,
            tick,
            started: now,
            waiters: Vec::new(),
            preparing: false,
            sealing: false,
            marking: false,
            last_growth: now,
            last_mark: now,
            last_housekeeping: now.checked_sub(HOUSEKEEPING).unwrap_or(now),
            last_checkpoint,
            checkpoint: None,
            checkpointing: false,
        })
    }

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
        if now.duration_since(self.last_housekeeping) < HOUSEKEEPING {
            return Ok(());
        }
        self.last_housekeeping = now;
        self.free_disk_bytes = self.store.dir.free_bytes()?;
        self.disk_low = self.free_disk_bytes < self.config.free_disk_floor_bytes;
        self.seal_next(committed);
        self.checkpoint_if_due(committed);
        Ok(())
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

    /// This disk has everything up to `tail`.
    pub(crate) fn note_durable(&mut self, tail: Tail) {
        self.durable = tail;
    }

    /// Who this node is, in every handshake.
    pub(crate) fn identity(&self) -> Identity {
        let control = self.store.dir.control();
        Identity {
            cluster: control.cluster,
            node: control.node,
            incarnation: control.incarnation,
            site: control.site,
            segment_bytes: control.segment_bytes,
            start_count: control.start_count,
            client_address: self.config.client_listen.clone(),
        }
    }

    fn mark_if_due(&mut self, now: Instant, committed: Lsn, durable: Tail) {
        let behind = durable.lsn > self.marked;
        let idle = now.duration_since(self.last_growth) >= MARK_WHEN_IDLE;
        let due = now.duration_since(self.last_mark) >= MARK_WHILE_APPENDING || idle;
        if behind && due && !self.marking {
            self.marking = true;
            self.last_mark = now;
            self.marked = durable.lsn;
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

    fn prepare_ahead(&mut self) {
        let enough = self.store.log.prepared_ahead() > 0;
        let room = self.free_disk_bytes > self.store.segment_bytes();
        if !enough && !self.preparing && room {
            self.preparing = true;
            self.jobs.submit(Job::Prepare(self.store.log.preparer()));
        }
    }

    fn seal_next(&mut self, committed: Lsn) {
        if self.sealing {
            return;
        }
        let applied = self.store.applied().lsn;
        let bound = committed.min(applied).get() / self.store.segment_bytes();
        let next = self
            .store
            .reader
            .segments()
            .into_iter()
            .find(|segment| segment.form == SegmentForm::Raw && segment.number < bound);
        if let Some(segment) = next {
            self.sealing = true;
            self.jobs.submit(Job::Seal(
                self.store.log.sealer(),
                segment.number,
                self.config.seal_level,
            ));
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
            self.jobs
                .submit(Job::Checkpoint(snapshot, lsn, Arc::clone(&self.store.dir)));
        }
    }

    /// From here on nothing that was known of the log's end holds: it is about to be cut.
    pub(crate) fn end_history(&self) {
        self.histories.fetch_add(1, Ordering::SeqCst);
    }

    fn history(&self) -> u64 {
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
                    Ok(prepared) => self.store.log.add_prepared(prepared),
                    Err(error) => tracing::warn!(%error, "cannot prepare the next segment"),
                }
            }
            JobDone::Sealed(number, outcome) => {
                self.sealing = false;
                match outcome {
                    Ok(_) => self.counters.sealed_segments += 1,
                    Err(error @ LogError::Io { .. }) => {
                        tracing::warn!(number, %error, "cannot seal a segment")
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            JobDone::Checkpointed(lsn, outcome) => {
                self.checkpointing = false;
                match outcome {
                    Ok(()) => tracing::debug!(%lsn, "checkpoint written"),
                    Err(error) => tracing::warn!(%lsn, %error, "cannot write a checkpoint"),
                }
            }
            JobDone::Marked(outcome) => {
                self.marking = false;
                outcome?;
            }
        }
        Ok(())
    }

    /// Answers those who wait for a condition that now holds, or have waited long enough.
    pub(crate) fn serve_waiters(&mut self, standing: &Standing) {
        if self.waiters.is_empty() {
            return;
        }
        let status = self.status(standing);
        let now = Instant::now();
        for waiter in std::mem::take(&mut self.waiters) {
            let answer = if waiter.condition.holds(&status) {
                Answer::Status(Box::new(status.clone()))
            } else if waiter.until <= now {
                Answer::TimedOut(Box::new(status.clone()))
            } else {
                self.waiters.push(waiter);
                continue;
            };
            // The asker may have gone away.
            let _ = waiter.answer.send(answer);
        }
    }

    /// Answers the commands that are alike in every role; gives back the others.
    pub(crate) fn common_command(
        &mut self,
        request: AdminRequest,
        standing: &Standing,
    ) -> Option<AdminRequest> {
        match request.command {
            Command::Status => {
                // The asker may have gone away.
                let _ = request
                    .answer
                    .send(Answer::Status(Box::new(self.status(standing))));
                None
            }
            Command::Await {
                condition,
                timeout_ms,
            } => {
                let until = Instant::now() + Duration::from_millis(timeout_ms);
                self.waiters.push(Waiter {
                    condition,
                    until,
                    answer: request.answer,
                });
                self.serve_waiters(standing);
                None
            }
            Command::Promote(_) | Command::Alone { .. } => Some(request),
        }
    }

    /// How the node is.
    pub(crate) fn status(&self, standing: &Standing) -> Status {
        let control = self.store.dir.control();
        let tail = self.store.log.tail();
        Status {
            cluster: control.cluster.to_string(),
            node: control.node.get(),
            site: control.site.number(),
            incarnation: control.incarnation.to_string(),
            role: standing.role.to_owned(),
            epoch: control.granted_epoch.to_string(),
            protection: standing.protection.to_owned(),
            serving: standing.serving,
            why_not_serving: standing.why_not_serving.clone(),
            pid: std::process::id(),
            uptime_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            tail_lsn: tail.lsn.get(),
            tail_epoch: tail.epoch.to_string(),
            tail_chain: tail.chain.to_string(),
            durable_lsn: standing.durable.get(),
            committed_lsn: standing.committed.get(),
            applied_lsn: self.store.applied().lsn.get(),
            digest: self.store.ledger.digest().to_string(),
            in_sync: control.in_sync,
            uncertain: control.uncertain,
            peer: standing.peer.clone(),
            unprotected: self.unprotected(),
            accounts: self.store.ledger.account_count().into(),
            transfers: self.store.ledger.posted_count(),
            trial_balance: self.trial_balance(),
            appended_bytes: self.counters.appended_bytes,
            payload_bytes: self.counters.payload_bytes,
            shipped_bytes: self.counters.shipped_bytes,
            connections: self.front.connection_count(),
            requests_outstanding: self.front.outstanding(),
            free_disk_bytes: self.free_disk_bytes,
            checkpoint_lsn: self.last_checkpoint.get(),
            sealed_segments: self.counters.sealed_segments,
        }
    }

    pub(crate) fn unprotected(&self) -> Unprotected {
        unprotected(&self.store.ledger)
    }

    pub(crate) fn trial_balance(&self) -> Vec<LedgerStatus> {
        trial_balance(&self.store.ledger)
    }
}

/// Transfers of this ledger that were answered without an auxiliary.
pub(crate) fn unprotected(ledger: &kanjo_engine::Ledger) -> Unprotected {
    let unprotected = &ledger.reign().unprotected;
    Unprotected {
        count: unprotected.count,
        amounts: unprotected
            .amounts
            .iter()
            .map(|(ledger, amount)| (ledger.get(), amount.to_string()))
            .collect(),
    }
}

/// Totals per ledger, as the status shows them.
pub(crate) fn trial_balance(ledger: &kanjo_engine::Ledger) -> Vec<LedgerStatus> {
    ledger
        .trial_balance()
        .into_iter()
        .map(|totals| LedgerStatus {
            ledger: totals.ledger.get(),
            debits: totals.debits.to_string(),
            credits: totals.credits.to_string(),
            difference: if totals.is_balanced() {
                "0".to_owned()
            } else {
                format!("{} - {}", totals.debits, totals.credits)
            },
        })
        .collect()
}
