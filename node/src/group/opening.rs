//! Carries out what an opening in a group asks for: promises, questions to the register, the
//! dialogues with the members of the set.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kanjo_format::client::Outcome as ClientOutcome;
use kanjo_format::control::{Control, Role};
use kanjo_format::replication::Frame;
use kanjo_format::{Epoch, OpeningId, Site};
use kanjo_group::register::{FenceCertificate, Protection};
use kanjo_group::{Command, Outcome, Reply, ThirdReply};
use kanjo_shipper::group_opening::{
    Action, Event, GroupOpening, GroupOpeningStart, OpenedGroup, StopReason,
};

use super::run::{GroupOpeningRun, claim_refused, claimed, grant, set_member};
use super::{Asker, Membership, Next, WasRead, apply, keep_fence};
use crate::clock::ClockCheck;
use crate::dial::DialEvent;
use crate::error::NodeError;
use crate::node::{Node, Part, steady_ns};
use crate::peers::PeerIndex;
use crate::promotion;

/// A register that does not decide a claim within this time is taken for lost: whoever is to process
/// then is decided anew.
const CLAIM_MAX: Duration = Duration::from_secs(3);
/// After an attempt that ended without an epoch.
const REST: Duration = Duration::from_millis(100);

impl Node {
    /// Starts to open the next epoch in the register that was read; `replaces` is the last
    /// nomination of this server.
    pub(crate) fn open_in_group(&mut self, read: WasRead, replaces: u64) -> Result<(), NodeError> {
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        group.runs += 1;
        let number = group.runs;
        let takes_over = read.is_taken_over_by(group.site);
        let clearing = group.clearing(read, replaces);
        let patience_ms = group.topology.timing.seal_patience_ms;
        let hint = self.following.hint();
        self.close_door(ClientOutcome::NotPrimary, hint);
        let tail = self.hot.store.log.tail();
        self.hot.store.syncer.sync_to(tail.lsn)?;
        self.hot.note_durable(tail);
        let start = GroupOpeningStart {
            control: self.hot.store.dir.control(),
            log: self.hot.store.local_log(self.hot.committed())?,
            client_address: self.hot.config.client_listen.clone(),
            random: promotion::draw_opening(&self.hot.store)?.random,
            register_epoch: read.epoch,
            takes_over,
            seal_patience_ns: patience_ms * 1_000_000,
            now_ns: steady_ns(),
        };
        tracing::info!(authority = %read.authority, read = %read.epoch, "this server is to process: it opens an epoch");
        let mut actions = Vec::new();
        let mut opening = GroupOpening::new(start);
        opening.start(&mut actions);
        self.part = Part::GroupOpening(Box::new(GroupOpeningRun {
            opening,
            number,
            read,
            clearing,
            promised: (Epoch::NONE, OpeningId::default()),
            set: Vec::new(),
            changes: 0,
            claims_since: None,
            asked: None,
            why: "resolving: claims the next epoch in the register".to_owned(),
        }));
        self.perform_group_opening(actions)
    }

    pub(crate) fn group_opening_event(&mut self, event: Event<'_>) -> Result<(), NodeError> {
        let mut actions = Vec::new();
        if let Part::GroupOpening(run) = &mut self.part {
            run.opening.step(event, &mut actions);
        }
        self.perform_group_opening(actions)
    }

    /// Something happened on the connection to a member.
    pub(crate) fn group_opening_dialed(
        &mut self,
        peer: PeerIndex,
        event: DialEvent,
    ) -> Result<(), NodeError> {
        let Some(node) = self.peers.node(peer) else {
            return Ok(());
        };
        match event {
            DialEvent::Connected => self.group_opening_event(Event::Connected { node }),
            DialEvent::Failed(why) => {
                tracing::debug!(%node, %why, "a member of the set cannot be reached");
                self.peers[peer].drop_link();
                self.group_opening_event(Event::Unreachable { node })
            }
            DialEvent::Pong(_) => Ok(()),
            DialEvent::Ready => loop {
                if !matches!(self.part, Part::GroupOpening(_)) {
                    return Ok(());
                }
                let failed = |error: String| DialEvent::Failed(error);
                match crate::dial::next_frame(self.peers[peer].link()) {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) => match Frame::decode(&bytes) {
                        Ok(frame) => self.group_opening_event(Event::Frame {
                            node,
                            frame: &frame,
                        })?,
                        Err(error) => {
                            return self.group_opening_dialed(peer, failed(error.to_string()));
                        }
                    },
                    Err(error) => {
                        return self.group_opening_dialed(peer, failed(error.to_string()));
                    }
                }
            },
        }
    }

    /// A register answered a question of an opening; one that has ended hears nothing.
    pub(crate) fn group_opening_replied(
        &mut self,
        number: u64,
        reply: Reply,
    ) -> Result<(), NodeError> {
        let (Part::GroupOpening(run), Some(group)) = (&mut self.part, &self.group) else {
            return Ok(());
        };
        if run.number != number {
            return Ok(());
        }
        if run.clearing.asks_own_register() {
            let next = run.clearing.register_said(&reply);
            return self.clear(next);
        }
        let claims = !run.opening.is_claimed();
        let event = match reply {
            Reply::Outcome { outcome } => match outcome {
                Outcome::Done(register) if claims => claimed(run, &register),
                Outcome::Done(register) => {
                    run.keep_set(&register);
                    Event::SetChanged
                }
                Outcome::Refused { why, register } if claims => {
                    run.claims_since = None;
                    let event = claim_refused(run, &why, &register);
                    run.clearing = group.clearing(run.read, run.clearing.nomination());
                    event
                }
                Outcome::Refused { register, .. } => Event::SetRefused {
                    highest: register.reign.epoch,
                },
            },
            Reply::Report { .. } | Reply::Unreachable { .. } | Reply::Unknown { .. } => {
                match claims {
                    true => Event::ClaimUnknown,
                    false => Event::SetUnknown,
                }
            }
        };
        self.group_opening_event(event)
    }

    /// The third witness answered a question of an opening.
    pub(crate) fn group_opening_third(
        &mut self,
        number: u64,
        reply: ThirdReply,
    ) -> Result<(), NodeError> {
        let Part::GroupOpening(run) = &mut self.part else {
            return Ok(());
        };
        if run.number != number {
            return Ok(());
        }
        let next = run.clearing.third_said(reply);
        self.clear(next)
    }

    /// Goes on towards the claim.
    fn clear(&mut self, next: Next) -> Result<(), NodeError> {
        let (Part::GroupOpening(run), Some(group)) = (&mut self.part, &self.group) else {
            return Ok(());
        };
        match next {
            Next::Nominate(command) | Next::Insist(command) => {
                run.ask(group, (group.site, apply(command)));
            }
            Next::AskThird(question) => group.ask_third(Asker::Opening(run.number), question),
            Next::Claim(cleared) => run.claim(group, &self.hot.config.client_listen, cleared.mark),
            Next::Lost(why) => {
                self.group_opening_event(Event::ClaimLost { why })?;
                if let Some(group) = &mut self.group {
                    // Each attempt is a nomination.
                    let pause = group.topology.timing.nomination_pause_ms;
                    group.rest_until = Some(Instant::now() + Duration::from_millis(pause));
                }
            }
        }
        Ok(())
    }

    fn perform_group_opening(&mut self, actions: Vec<Action>) -> Result<(), NodeError> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            self.perform_for_group_opening(action, &mut more)?;
            queue.extend(more);
        }
        Ok(())
    }

    fn perform_for_group_opening(
        &mut self,
        action: Action,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        let store = &mut self.hot.store;
        let (Part::GroupOpening(run), Some(group)) = (&mut self.part, &mut self.group) else {
            return Ok(());
        };
        match action {
            Action::Promise { epoch, opening, .. } => {
                let mut cut_off = Vec::new();
                let granted = self
                    .receiver
                    .grant_here(epoch, opening, false, &mut cut_off);
                if let Err(why) = granted {
                    return self.give_up_opening(&why.to_string());
                }
                store.dir.promise(|control: &mut Control| {
                    control.granted_epoch = epoch;
                    control.granted_opening = opening;
                    control.role = Role::Primary;
                    control.in_sync = false;
                })?;
                self.hot.shared.set_granted(epoch);
                let tail = store.log.tail();
                store.syncer.sync_to(tail.lsn)?;
                run.opening.step(Event::Promised { tail }, more);
                return self.perform_received(cut_off);
            }
            Action::Claim { epoch, opening } => {
                run.promised = (epoch, opening);
                let next = run.clearing.next();
                return self.clear(next);
            }
            Action::ChangeSet {
                epoch,
                opening,
                set,
            } => {
                let command = Command::ChangeSet {
                    epoch,
                    opening,
                    follows: run.changes,
                    expected: run.set.clone(),
                    set: set.into_iter().map(set_member).collect(),
                    protection: Protection::Waiting,
                };
                run.ask(group, (run.read.authority, apply(command)));
            }
            Action::Dial { node } => {
                if let Some(peer) = self.peers.of_node(node) {
                    let dialer = &mut self.peers[peer];
                    match dialer.is_connected() {
                        // After an answer that led nowhere the next attempt waits a moment.
                        true => dialer.drop_link(),
                        false => dialer.want(),
                    }
                }
            }
            Action::Send { node, frame } => {
                let peer = self.peers.of_node(node);
                if let Some(link) = peer.and_then(|peer| self.peers[peer].link()) {
                    frame.encode(link.output());
                }
            }
            Action::CheckChain { lsn } => {
                let chain = store.reader.chain_at(lsn)?;
                run.opening.step(Event::ChainAt { chain }, more);
            }
            Action::Cut { to } => {
                let log = self.cut_divergent(to)?;
                if let Part::GroupOpening(run) = &mut self.part {
                    run.opening.step(Event::Cut { log: log.as_ref() }, more);
                }
            }
            Action::Append { header, payload } => {
                let tail = store.log.append(&header, &payload)?;
                run.opening.step(Event::Appended { tail }, more);
            }
            Action::Sync => {
                let tail = store.log.tail();
                store.syncer.sync_to(tail.lsn)?;
                self.hot.note_durable(tail);
                if let Part::GroupOpening(run) = &mut self.part {
                    run.opening.step(Event::Synced, more);
                }
            }
            Action::Wait { missing } => {
                let nodes: Vec<String> = missing.iter().map(|m| m.node.to_string()).collect();
                run.why = format!(
                    "resolving: none of the in-sync set (node {}) answers; without one of them it is not known what was answered",
                    nodes.join(", ")
                );
            }
            Action::Open(opened) => return self.opened_in_group(opened),
            Action::Fenced { epoch } => {
                // The next opening here goes above it, whoever holds it.
                store.dir.update(|control: &mut Control| {
                    control.peer_granted_epoch = control.peer_granted_epoch.max(epoch);
                })?;
                return self
                    .give_up_opening(&format!("epoch {epoch} was opened by another server"));
            }
            // Whose turn it is changes by itself.
            Action::Stop(StopReason::NotChosen(why)) => return self.give_up_opening(&why),
            Action::Stop(why) => {
                tracing::error!(%why, "no epoch can be opened without an operator");
                self.leave_opening()?;
                self.part = Part::Halted(why.to_string());
            }
        }
        Ok(())
    }

    /// Time passes for an opening; it is given up if another server is to process now.
    pub(crate) fn tick_group_opening(&mut self) -> Result<(), NodeError> {
        let still = self.group.as_ref().is_some_and(super::Group::is_nominee);
        let Part::GroupOpening(run) = &self.part else {
            return Ok(());
        };
        if !run.opening.is_claimed() {
            if !still {
                return self.give_up_opening("another server of this site is to process");
            }
            // Where it was decided all the same nobody answers in that epoch: it is over unheard.
            if run
                .claims_since
                .is_some_and(|since| since.elapsed() >= CLAIM_MAX)
            {
                return self
                    .give_up_opening("the register that holds the authority does not decide");
            }
        }
        let now_ns = steady_ns();
        self.group_opening_event(Event::Tick { now_ns })
    }

    fn give_up_opening(&mut self, why: &str) -> Result<(), NodeError> {
        tracing::info!(%why, "no epoch is opened here for now");
        if let Some(group) = &mut self.group {
            group.rest_until = Some(Instant::now() + REST);
            why.clone_into(&mut group.why);
        }
        self.leave_opening()
    }

    /// Back to a replica that may be granted away. A writer that opened anew has executed what may
    /// never commit: its memory is dropped.
    fn leave_opening(&mut self) -> Result<(), NodeError> {
        self.part = Part::Replica;
        self.peers.stop();
        let hint = self.following.hint();
        self.close_door(ClientOutcome::NotPrimary, hint);
        let follow = |control: &mut Control| control.role = Role::Replica;
        self.hot.store.dir.promise(follow)?;
        let confirmed = self.hot.committed();
        if self.hot.store.applied().lsn > confirmed {
            self.hot.store.rebuild(confirmed)?;
            self.hot.forget_derived();
        }
        self.following.restart(confirmed);
        let log = self.hot.store.local_log(confirmed)?;
        self.receive(kanjo_shipper::receiver::Event::LogMoved { log: &log })?;
        self.say_applied()
    }

    fn opened_in_group(&mut self, opened: OpenedGroup) -> Result<(), NodeError> {
        let (Part::GroupOpening(run), Some(group)) = (&mut self.part, &self.group) else {
            return Ok(());
        };
        let (me, site) = (group.me, group.site);
        let (authority, set) = (run.read.authority, std::mem::take(&mut run.set));
        let planned = run.read.is_planned_for(site);
        let cleared = run.clearing.cleared();
        let changes = run.changes;
        let mut open = opened.open;
        let protecting = group.protecting.as_ref();
        let degraded = protecting.and_then(|word| word.degraded.clone());
        let alone = degraded.filter(|_| set == [me]);
        if alone.is_some() {
            open.protection = kanjo_format::record::Protection::Alone;
            open.unfenced = true;
        }
        let reason = self.reason_of_opening(open.epoch);
        let store = &mut self.hot.store;
        let clock = ClockCheck::new(self.hot.config.clock_bound_ms);
        let replayed = store.replay(store.log.tail().lsn)?;
        tracing::info!(records = replayed.records, epoch = %open.epoch, base = %open.base, protection = open.protection.name(), "epoch opened");
        if let Err(error) = clock.may_open(open.epoch, store.ledger.log_time()) {
            self.leave_opening()?;
            self.part = Part::Halted(error.to_string());
            return Ok(());
        }
        promotion::write_epoch(store, &open, &reason)?;
        let certificate = FenceCertificate {
            cluster: store.dir.control().cluster,
            fenced: opened.former,
            opened: open.epoch,
            opening: open.opening,
            base: open.base,
            grants: opened.grants.into_iter().map(grant).collect(),
            at_ms: crate::clock::now().get() / 1_000_000,
            planned: Some(planned),
        };
        let set_size_min = self.hot.config.set_size_min;
        let writer = (open.epoch, open.opening);
        let mut membership =
            Membership::new(writer, (me, site), (authority, set, changes), set_size_min);
        membership.set_degraded(alone);
        membership.set_cleared(cleared);
        self.begin_reign(open, Some(membership))?;
        self.keep_certificate(authority, certificate)
    }

    /// Writes down that the former writer is cut off: here, and in the register.
    fn keep_certificate(
        &mut self,
        authority: Site,
        certificate: FenceCertificate,
    ) -> Result<(), NodeError> {
        if certificate.fenced == Epoch::NONE {
            return Ok(());
        }
        let data_dir = self.hot.config.data_dir.clone();
        let kept = certificate.clone();
        // Beside the commits: nothing waits for it.
        std::thread::Builder::new()
            .name("kanjo-fence".into())
            .spawn(move || match keep_fence(&data_dir, &kept) {
                Ok(path) => tracing::info!(path = %path.display(), fence = %kept, "fence certificate"),
                Err(error) => tracing::error!(%error, "the fence certificate cannot be kept as a file; the register has it"),
            })
            .map_err(|source| NodeError::System {
                what: "start a thread",
                source,
            })?;
        if let Some(group) = &self.group {
            let command = Command::NoteFence(Box::new(certificate));
            group.ask(Asker::Carrier, authority, command);
        }
        Ok(())
    }
}
