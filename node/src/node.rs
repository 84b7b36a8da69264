//! The node itself: one loop on the hot thread that waits for the next thing to happen, lets
//! the part that the node plays deal with it, and then settles what follows from it.

use std::time::{Duration, Instant};

use kanjo_format::client::Outcome;
use kanjo_format::control::{Control, Role};
use kanjo_format::{Epoch, Lsn};
use kanjo_shipper::Receiver;
use kanjo_shipper::opening::Want;
use kanjo_shipper::receiver::{Event, ReceiverStart};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::admin::Answer;
use crate::dial::DialEvent;
use crate::error::NodeError;
use crate::following::Following;
use crate::front::Door;
use crate::group::{Group, GroupEvents, GroupOpeningRun};
use crate::hot::{Hot, TICK};
use crate::opening::OpeningRun;
use crate::peers::{PeerIndex, Peers};
use crate::query::Answered;
use crate::reign::Reign;
use crate::sessions::{Session, ready_session};
use crate::telling::Told;
use crate::threads::Synced;
use crate::waking::{Seldom, Sources};

/// How long a node that stops waits for the answers that are under way.
const DRAIN: Duration = Duration::from_secs(2);

/// Which part the node plays now.
pub(crate) enum Part {
    /// Follows, or waits for a writer to follow.
    Replica,
    /// Was primary and wants to be again; answers nobody before that.
    Opening(Box<OpeningRun>),
    /// Is to process in its group, and opens an epoch for it.
    GroupOpening(Box<GroupOpeningRun>),
    /// Opened the current epoch.
    Primary(Box<Reign>),
    /// Cannot open an epoch without an operator.
    Halted(String),
}

/// One node, on its hot thread.
pub(crate) struct Node {
    pub(crate) hot: Hot,
    pub(crate) receiver: Receiver,
    pub(crate) sessions: Vec<Session>,
    pub(crate) peers: Peers,
    pub(crate) part: Part,
    pub(crate) following: Following,
    /// Where it is a server of a group.
    pub(crate) group: Option<Group>,
    pub(crate) next_session: u64,
    last_tick: Instant,
    /// Set once the node was told to stop: until when it waits for what can still be answered.
    draining: Option<Instant>,
    /// What the other threads were told last.
    pub(crate) told: Told,
    seldom: UnboundedReceiver<Seldom>,
}

enum Wake {
    Synced(Synced),
    Dial(PeerIndex, DialEvent),
    Session(usize),
    Requests,
    Seldom(Seldom),
    Tick,
    Apply,
}

impl Wake {
    /// Whether the node may stand otherwise after it, so that others have to be told at once.
    /// What only makes it better may wait for a tick.
    const fn may_change_health(&self) -> bool {
        match self {
            Self::Dial(..) | Self::Session(_) => true,
            Self::Seldom(seldom) => !matches!(seldom, Seldom::Job(_) | Seldom::Query(_)),
            Self::Synced(_) | Self::Requests | Self::Tick | Self::Apply => false,
        }
    }
}

/// Plays the node's parts until it is told to stop or cannot go on.
pub(crate) async fn play(
    hot: Hot,
    mut sources: Sources,
    peers: Peers,
    confirmed: Lsn,
    group: Option<(Group, GroupEvents)>,
) -> Result<(), NodeError> {
    let (group, events) = group.unzip();
    sources.group = events;
    let (tell, seldom) = unbounded_channel();
    let mut node = Node::start(hot, seldom, peers, confirmed, group)?;
    let gathering = tokio::task::spawn_local(sources.tell(tell));
    let outcome = node.run().await;
    // The threads of the node, which are waited for next, find nobody who listens.
    gathering.abort();
    let _ = gathering.await;
    match &outcome {
        Ok(()) => node.stop(),
        Err(error) => {
            node.close_door(Outcome::NotPrimary, String::new());
            tracing::error!(%error, "the node stops");
            outcome
        }
    }
}

impl Node {
    pub(crate) fn start(
        mut hot: Hot,
        seldom: UnboundedReceiver<Seldom>,
        peers: Peers,
        confirmed: Lsn,
        group: Option<Group>,
    ) -> Result<Self, NodeError> {
        hot.note_committed(confirmed);
        let replayed = hot.store.rebuild(confirmed)?;
        tracing::info!(
            records = replayed.records, batches = replayed.batches, through = %confirmed,
            ms = replayed.time.as_millis() as u64, "ledger rebuilt"
        );
        if group.is_some() && hot.store.dir.control().role == Role::Primary {
            // Who writes in a group is chosen anew; a former writer begins like everybody.
            let follow = |control: &mut Control| control.role = Role::Replica;
            hot.store.dir.promise(follow)?;
        }
        let control = hot.store.dir.control();
        let log = hot.store.local_log(confirmed)?;
        let receiver = Receiver::new(ReceiverStart {
            identity: hot.identity(),
            role: control.role,
            granted_epoch: control.granted_epoch,
            granted_opening: control.granted_opening,
            in_sync: control.in_sync,
            in_sync_lsn: control.in_sync_lsn,
            uncertain: control.uncertain,
            awaiting_operator: control.awaiting_operator,
            applied: hot.store.applied().lsn,
            log,
        });
        let following = Following::new(confirmed, hot.config.peer_client.clone());
        let mut node = Self {
            hot,
            receiver,
            sessions: Vec::new(),
            peers,
            part: Part::Replica,
            following,
            group,
            next_session: 1,
            last_tick: Instant::now(),
            draining: None,
            told: Told::default(),
            seldom,
        };
        match control.role {
            Role::Primary => {
                node.open(Want::Restart { member_gone: false }, String::new(), None)?
            }
            Role::Replica => {
                let hint = node.following.hint();
                node.close_door(Outcome::NotPrimary, hint);
            }
        }
        Ok(node)
    }

    async fn run(&mut self) -> Result<(), NodeError> {
        loop {
            let wake = self.wait().await;
            let may_change_health = wake.may_change_health();
            match wake {
                Wake::Synced(synced) => self.on_synced(synced)?,
                Wake::Dial(peer, event) => self.on_dial(peer, event)?,
                Wake::Session(index) => self.on_session(index)?,
                Wake::Seldom(Seldom::Shutdown) => self.begin_to_stop(),
                Wake::Seldom(Seldom::Job(done)) => self.hot.on_job(done)?,
                Wake::Seldom(Seldom::Query(answered)) => self.on_answered(answered)?,
                Wake::Seldom(Seldom::Admin(request)) => self.on_admin(request)?,
                Wake::Seldom(Seldom::Inbound(inbound)) => self.on_inbound(inbound)?,
                Wake::Seldom(Seldom::Group(event)) => self.on_group(event)?,
                Wake::Apply => {
                    self.apply_some()?;
                    // There may be much of it: the other tasks of this thread have their turn.
                    tokio::task::yield_now().await;
                }
                Wake::Requests | Wake::Tick => {}
            }
            self.look_again().await;
            self.settle()?;
            if std::mem::take(&mut self.hot.stood_still) {
                // What came meanwhile is read before anybody is called silent or late.
                self.last_tick = Instant::now();
            }
            if self.last_tick.elapsed() >= TICK {
                self.last_tick = Instant::now();
                self.on_tick()?;
                self.settle()?;
                self.tell_at_tick();
            } else if may_change_health {
                self.tell_changes();
            }
            if self
                .draining
                .is_some_and(|until| until <= Instant::now() || self.is_drained())
            {
                return Ok(());
            }
        }
    }

    /// No new requests from here on; those that were executed are answered if they commit soon.
    fn begin_to_stop(&mut self) {
        self.draining = Some(Instant::now() + DRAIN);
        let text = "this node is stopping".to_owned();
        self.hot
            .front
            .set_door(Door::Closed(Outcome::NotPrimary, text));
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether nothing that was executed waits for an answer.
    pub(crate) fn is_drained(&self) -> bool {
        match &self.part {
            Part::Primary(reign) => reign.replies.is_empty() && reign.queries.is_empty(),
            Part::Replica | Part::Opening(_) | Part::GroupOpening(_) | Part::Halted(_) => true,
        }
    }

    async fn wait(&mut self) -> Wake {
        let behind = matches!(self.part, Part::Replica)
            && self.following.wants_to_apply(self.hot.store.applied().lsn);
        let Self {
            hot,
            sessions,
            peers,
            seldom,
            ..
        } = self;
        tokio::select! {
            biased;
            Some(seldom) = seldom.recv() => Wake::Seldom(seldom),
            done = hot.sync.done() => Wake::Synced(done),
            (peer, event) = peers.event() => Wake::Dial(peer, event),
            index = ready_session(sessions) => Wake::Session(index),
            () = hot.front.arrived() => Wake::Requests,
            _ = hot.tick.tick() => Wake::Tick,
            () = std::future::ready(()), if behind => Wake::Apply,
        }
    }

    /// Before a batch is closed, what clients sent while others were read is read as well.
    async fn look_again(&mut self) {
        if self.hot.front.may_bring_more() && !self.primary().is_some_and(|p| p.gathers()) {
            tokio::task::yield_now().await;
        }
    }

    /// Does what follows from whatever just happened: execute, ship, sync, answer, send.
    fn settle(&mut self) -> Result<(), NodeError> {
        if let Some(mut primary) = self.primary() {
            primary.settle()?;
            if let Some(epoch) = primary.reign.fenced_by() {
                self.step_down(epoch)?;
            } else if primary.reign.reopens() {
                self.reopen_alone()?;
            }
        }
        for peer in self.peers.indices() {
            if let Some(link) = self.peers[peer].link()
                && let Err(error) = link.flush()
            {
                self.on_dial(peer, DialEvent::Failed(error.to_string()))?;
            }
        }
        self.flush_sessions()?;
        self.hot.front.flush();
        if !self.hot.sync.in_flight() {
            self.hot.store.log.ready_ahead();
        }
        Ok(())
    }

    /// The reign with what it works on, while this node is primary.
    pub(crate) fn primary(&mut self) -> Option<crate::reign::Primary<'_>> {
        let Self {
            hot,
            peers,
            part,
            group,
            ..
        } = self;
        match part {
            Part::Primary(reign) => Some(crate::reign::Primary {
                hot,
                peers,
                reign,
                group,
            }),
            _ => None,
        }
    }

    fn on_synced(&mut self, synced: Synced) -> Result<(), NodeError> {
        if synced.history != self.hot.history() {
            // The log was cut meanwhile: that tail is no part of it now. A sync that really
            // failed has closed the log, and the next one says so.
            return Ok(());
        }
        let lsn = synced.outcome?;
        self.hot.note_durable(synced.tail);
        if let Some(mut primary) = self.primary() {
            primary.reign.last_sync = synced.time;
            primary.synced(lsn)?;
        }
        Ok(())
    }

    /// An answer that comes after the reign in which it was asked for finds nobody.
    fn on_answered(&mut self, answered: Answered) -> Result<(), NodeError> {
        match self.primary() {
            Some(mut primary) => primary.on_answered(answered),
            None => Ok(()),
        }
    }

    fn on_dial(&mut self, peer: PeerIndex, event: DialEvent) -> Result<(), NodeError> {
        match &mut self.part {
            Part::Primary(_) => {
                let mut primary = self.primary().expect("just matched");
                primary.on_dial(peer, event)
            }
            // A pair's opening has one peer to ask.
            Part::Opening(_) if peer == PeerIndex::FIRST => self.opening_dialed(event),
            Part::GroupOpening(_) => self.group_opening_dialed(peer, event),
            Part::Opening(_) | Part::Replica | Part::Halted(_) => {
                self.peers[peer].stop();
                Ok(())
            }
        }
    }

    fn on_tick(&mut self) -> Result<(), NodeError> {
        let now = tokio::time::Instant::now();
        let stopping = self.draining.is_some();
        self.hot.front.expire_queued(now);
        if matches!(self.part, Part::Replica) {
            self.following.make_apply_due();
            self.tell_applied()?;
        }
        if !matches!(self.part, Part::Replica) {
            self.hot.drills.give_up();
        }
        self.check_opening()?;
        self.tick_group()?;
        let mut committed = self.hot.store.applied().lsn;
        if let Some(mut primary) = self.primary() {
            primary.on_tick(now, stopping)?;
            committed = primary.reign.committed();
        }
        let derived = matches!(self.part, Part::Replica | Part::Primary(_));
        let bound = if derived { committed } else { Lsn::ZERO };
        self.hot.housekeep(bound)?;
        if self.hot.has_waiters() {
            let standing = self.whole_standing();
            self.hot.serve_waiters(&standing);
        }
        Ok(())
    }

    /// A higher epoch exists: answers nobody any more, drops a memory that holds what may
    /// never commit, becomes a replica.
    pub(crate) fn step_down(&mut self, epoch: Epoch) -> Result<(), NodeError> {
        tracing::warn!(%epoch, "fenced by a higher epoch: this node is a replica now");
        let confirmed = self.hot.committed();
        let mut switched = None;
        if let Some(mut primary) = self.primary() {
            switched = primary.reign.take_switch();
            primary.give_up(Outcome::Fenced);
        }
        // What was executed and may never commit is in this memory; else it is a replica's, also
        // where the log goes on behind it.
        let is_clean = self.is_clean(confirmed);
        self.part = Part::Replica;
        self.peers.stop();
        let hint = self.following.hint();
        // What waits in the queue was never executed: another server may take it.
        self.close_door(Outcome::NotPrimary, hint);
        let tail = self.hot.store.log.tail();
        self.hot.store.syncer.sync_to(tail.lsn)?;
        self.hot.note_durable(tail);
        self.hot.store.dir.update(|control: &mut Control| {
            control.confirmed = control.confirmed.max(confirmed);
            control.peer_granted_epoch = control.peer_granted_epoch.max(epoch);
        })?;
        if !is_clean {
            let rebuilt = self.hot.store.rebuild(confirmed)?;
            tracing::info!(%tail, %confirmed, records = rebuilt.records, ms = rebuilt.time.as_millis(), "memory rebuilt: what it held may never commit");
        }
        self.hot.forget_derived();
        self.following.restart(confirmed);
        if let Some(switching) = switched {
            self.following.unanswered_since = switching.draining.map(|since| (since, tail.lsn));
            let took = switching.began.elapsed().as_millis();
            let own_site = epoch.may_be_opened_by(self.hot.store.dir.control().site);
            let told = match own_site {
                true => Answer::Refused {
                    message: format!(
                        "not switched: another server of this site opened epoch {epoch} meanwhile; it processes, say it again"
                    ),
                },
                false => Answer::Done {
                    message: format!(
                        "switched: the other site opened epoch {epoch}, {took} ms after the word; this server follows it"
                    ),
                },
            };
            if let Some(answer) = switching.answer {
                // The asker may have gone away.
                let _ = answer.send(told);
            }
        }
        let log = self.hot.store.local_log(confirmed)?;
        self.receive(Event::LogMoved { log: &log })?;
        self.say_applied()
    }

    /// Whether the ledger holds nothing but what is committed.
    fn is_clean(&self, confirmed: Lsn) -> bool {
        let store = &self.hot.store;
        store.ledger.is_idle() && store.applied().lsn <= confirmed
    }

    /// Tells the receiver where a primary's own log ends, before it answers a handshake.
    pub(crate) fn tell_log_moved(&mut self) -> Result<(), NodeError> {
        let confirmed = match &self.part {
            Part::Primary(reign) => reign.committed(),
            Part::Opening(_) | Part::GroupOpening(_) | Part::Halted(_) => self.hot.committed(),
            Part::Replica => return self.tell_applied(),
        };
        let tail = self.hot.store.log.tail();
        self.hot.store.syncer.sync_to(tail.lsn)?;
        let log = self.hot.store.local_log(confirmed)?;
        self.receive(Event::LogMoved { log: &log })
    }

    pub(crate) fn close_door(&self, outcome: Outcome, text: String) {
        let epoch = self.hot.store.dir.control().granted_epoch;
        self.hot.front.set_identity(epoch, false);
        self.hot.front.set_door(Door::Closed(outcome, text));
    }

    /// Clean stop: no new requests, what can be answered is answered, the log is synced.
    fn stop(&mut self) -> Result<(), NodeError> {
        self.hot
            .front
            .set_door(Door::Closed(Outcome::NotPrimary, String::new()));
        let tail = self.hot.store.log.tail();
        let synced = self.hot.store.syncer.sync_to(tail.lsn)?;
        if let Some(mut primary) = self.primary() {
            primary.synced(synced)?;
            primary.settle()?;
            primary.give_up(Outcome::Indeterminate);
        }
        let confirmed = self.hot.committed();
        self.hot.front.flush();
        let log_time = self.hot.store.ledger.log_time();
        self.hot.store.dir.update(|control: &mut Control| {
            control.durable = tail;
            control.confirmed = control.confirmed.max(confirmed);
            control.log_time = control.log_time.max(log_time);
        })?;
        tracing::info!(%tail, "stopped, the log is synced");
        Ok(())
    }
}

/// Time for the pure machines: nanoseconds since the first call.
pub(crate) fn steady_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let since: Duration = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
