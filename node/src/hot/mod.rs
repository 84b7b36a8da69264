//! What both roles share on the hot thread: the store, the ports' queues, housekeeping, status.

mod figures;
mod housekeeping;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use kanjo_engine::Snapshot;
use kanjo_format::{Epoch, Lsn, Site, Tail};
use kanjo_shipper::Identity;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{Answer, Command, Condition};
use crate::config::Config;
use crate::drill::{DiskTimes, Drills};
use crate::error::NodeError;
use crate::front::Front;
use crate::link::Traffic;
use crate::published::Info;
use crate::query::{AccountLedgers, QueryThread};
use crate::server::{Inbound, Shared};
use crate::spells::Spells;
use crate::status::{
    CatchingUp, GroupStatus, LedgerStatus, PeerStatus, Status, SwitchStage, Unprotected,
};
use crate::store::Store;
use crate::threads::{JobThreads, SyncThread};
use crate::waking::Sources;

/// How often timers are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(10);

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
    pub(crate) sealed_bytes: u64,
    pub(crate) prepared_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
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
    pub(crate) catching_up: Vec<CatchingUp>,
    /// One for each peer, in their order.
    pub(crate) peers: Vec<PeerStatus>,
    /// In a group: whether the register names this server in the in-sync set.
    pub(crate) in_set: Option<bool>,
    /// As primary of a group: how far a planned switch is.
    pub(crate) switching: Option<SwitchStage>,
    /// In a group, where it was asked for.
    pub(crate) group: Option<GroupStatus>,
}

/// The time in which nobody could be answered, from one writer to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceGap {
    /// The epoch at its end.
    pub(crate) epoch: Epoch,
    pub(crate) took: Duration,
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
    pub(crate) jobs: JobThreads,
    pub(crate) queries: QueryThread,
    /// Queries that were ever begun.
    pub(crate) query_count: u64,
    pub(crate) account_ledgers: AccountLedgers,
    pub(crate) shared: Arc<Shared>,
    /// The own cloud.
    pub(crate) site: Site,
    /// The last change of the writer in which this node took part, as far as it noticed.
    pub(crate) last_gap: Option<ServiceGap>,
    pub(crate) counters: Counters,
    pub(crate) disk_times: DiskTimes,
    pub(crate) drills: Drills,
    pub(crate) spells: Spells,
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) disk_low: bool,
    /// The hot thread waited for a disk for so long that much may have come meanwhile.
    pub(crate) stood_still: bool,
    pub(crate) tick: tokio::time::Interval,
    started: Instant,
    waiters: Vec<Waiter>,
    preparing: bool,
    sealing: bool,
    disk_refused: Option<Instant>,
    marking: bool,
    marked: Lsn,
    marked_committed: Lsn,
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
    /// The most that is known to be committed.
    committed: Lsn,
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
    ) -> Result<(Self, Sources), NodeError> {
        let thread = |source| NodeError::System {
            what: "start a thread",
            source,
        };
        let sync = SyncThread::start(store.syncer.clone()).map_err(thread)?;
        let (jobs, jobs_done) = JobThreads::start().map_err(thread)?;
        let segment_bytes = store.segment_bytes();
        let (queries, answered) =
            QueryThread::start(store.reader.clone(), segment_bytes).map_err(thread)?;
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
        let spells = Spells::load(store.dir.path());
        let control = store.dir.control();
        let info = Info {
            cluster: control.cluster.to_string(),
            node: control.node,
            site: control.site,
            incarnation: control.incarnation.to_string(),
        };
        // Nobody else knows it, so nobody was first.
        let _ = ports.shared.published.info.set(info);
        let sources = Sources {
            shutdown: ports.shutdown,
            jobs: jobs_done,
            queries: answered,
            admin: ports.admin,
            inbound: ports.inbound,
            group: None,
        };
        let hot = Self {
            site: control.site,
            last_gap: None,
            free_disk_bytes,
            durable: store.log.tail(),
            committed: store.dir.control().confirmed,
            histories: Arc::default(),
            marked: store.dir.control().durable.lsn,
            marked_committed: store.dir.control().confirmed,
            seen_tail: store.log.tail().lsn,
            config,
            store,
            front,
            sync,
            jobs,
            queries,
            query_count: 0,
            account_ledgers: AccountLedgers::default(),
            shared: ports.shared,
            counters: Counters::default(),
            disk_times: DiskTimes::default(),
            drills: Drills::default(),
            spells,
            traffic: Rc::default(),
            disk_low,
            stood_still: false,
            tick,
            started: now,
            waiters: Vec::new(),
            preparing: false,
            sealing: false,
            disk_refused: None,
            marking: false,
            last_growth: now,
            last_mark: now,
            last_housekeeping: now.checked_sub(housekeeping::EVERY).unwrap_or(now),
            last_checkpoint,
            checkpoint: None,
            checkpointing: false,
        };
        Ok((hot, sources))
    }

    /// The most that is known to be committed, from this log and from those who told.
    pub(crate) const fn committed(&self) -> Lsn {
        self.committed
    }

    pub(crate) fn note_committed(&mut self, lsn: Lsn) {
        self.committed = self.committed.max(lsn);
    }

    /// The log ends at `lsn` after a cut: what was known of a longer one does not hold.
    pub(crate) fn cut_committed(&mut self, lsn: Lsn) {
        self.committed = self.committed.min(lsn);
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

    /// Whether somebody waits for a condition.
    pub(crate) const fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Where the log ends on this disk, as last asked for.
    pub(crate) const fn durable_tail(&self) -> Tail {
        self.durable
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
            Command::DrillStatus => {
                let status = Box::new(self.drills.status());
                // As above.
                let _ = request.answer.send(Answer::DrillStatus(status));
                None
            }
            Command::Promote(_)
            | Command::Alone { .. }
            | Command::Drill { .. }
            | Command::Failover(_)
            | Command::Switchover(_)
            | Command::Protect(_) => Some(request),
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
            clock_us: crate::clock::now().get() / 1_000,
            clock_bound_ms: self.config.clock_bound_ms,
            tail_lsn: tail.lsn.get(),
            tail_epoch: tail.epoch.to_string(),
            tail_chain: tail.chain.to_string(),
            durable_lsn: standing.durable.get(),
            committed_lsn: standing.committed.get(),
            applied_lsn: self.store.applied().lsn.get(),
            digest: self.store.ledger.digest().to_string(),
            in_sync: standing.in_set.unwrap_or(control.in_sync),
            uncertain: control.uncertain,
            peer: standing.peers.first().cloned().unwrap_or_default(),
            peers: standing.peers.clone(),
            group: standing.group.clone(),
            catching_up: standing.catching_up.clone(),
            unprotected: self.unprotected(),
            spells: self.spells.told(&self.store.ledger),
            degraded_transfer_max: self.config.degraded_transfer_max,
            accounts: self.store.ledger.account_count().into(),
            transfers: self.store.ledger.posted_count(),
            trial_balance: self.trial_balance(),
            appended_bytes: self.counters.appended_bytes,
            payload_bytes: self.counters.payload_bytes,
            shipped_bytes: self.counters.shipped_bytes,
            sent_bytes: self.traffic.sent(),
            received_bytes: self.traffic.received(),
            connections: self.front.connection_count(),
            requests_outstanding: self.front.outstanding(),
            free_disk_bytes: self.free_disk_bytes,
            needed_disk_bytes: self.needed_disk_bytes(),
            checkpoint_lsn: self.last_checkpoint.get(),
            sealed_segments: self.counters.sealed_segments,
            sealed_bytes: self.counters.sealed_bytes,
            prepared_bytes: self.counters.prepared_bytes,
            checkpoint_bytes: self.counters.checkpoint_bytes,
            indexed_lsn: self.store.indexing.set().end().get(),
            index_runs: self.store.indexing.set().runs().len() as u64,
            index_bytes: self.store.indexing.set().bytes(),
            young_ids: self.store.ledger.index().len() as u64,
            pending: self.store.ledger.pending_count().into(),
            business_date: self.store.ledger.business_days().current(),
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
    ledger.reign().into()
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
