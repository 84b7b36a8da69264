//! Carries out what an opening asks for: the way of a former primary back to an epoch.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kanjo_format::client::Outcome;
use kanjo_format::control::{Control, Role};
use kanjo_format::replication::Frame;
use kanjo_shipper::Opening;
use kanjo_shipper::opening::{Action, Event, OpenEpoch, Waiting, Want};
use tokio::sync::oneshot;

use crate::admin::Answer;
use crate::dial::DialEvent;
use crate::error::NodeError;
use crate::node::{Node, Part};
use crate::promotion;

/// An opening under way, and who waits for it.
pub(crate) struct OpeningRun {
    opening: Opening,
    reason: String,
    answer: Option<oneshot::Sender<Answer>>,
    why: String,
    /// When the peer was last heard, or dialled.
    heard: Instant,
}

impl OpeningRun {
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

impl Node {
    /// Starts to open an epoch; `answer` hears how it ended.
    pub(crate) fn open(
        &mut self,
        want: Want,
        reason: String,
        answer: Option<oneshot::Sender<Answer>>,
    ) -> Result<(), NodeError> {
        let hint = self.following.hint();
        self.close_door(Outcome::NotPrimary, hint);
        let tail = self.hot.store.log.tail();
        self.hot.store.syncer.sync_to(tail.lsn)?;
        self.hot.note_durable(tail);
        let control = self.hot.store.dir.control();
        let log = self.hot.store.local_log(self.hot.committed())?;
        let address = self.hot.config.client_listen.clone();
        let random = promotion::draw_opening(&self.hot.store)?.random;
        let opening = Opening::new(want, control, log, address, random);
        let why = "resolving: asks the auxiliary which epoch counts".to_owned();
        self.part = Part::Opening(Box::new(OpeningRun {
            opening,
            reason,
            answer,
            why,
            heard: Instant::now(),
        }));
        self.peers.stop();
        let mut actions = Vec::new();
        if let Part::Opening(run) = &mut self.part {
            run.opening.start(&mut actions);
        }
        self.perform_opening(actions)
    }

    pub(crate) fn opening_dialed(&mut self, event: DialEvent) -> Result<(), NodeError> {
        match event {
            DialEvent::Connected => {
                self.note_heard();
                self.opening_event(Event::Connected)
            }
            DialEvent::Failed(why) => {
                let dialer = self.peers.first();
                dialer.drop_link();
                let address = dialer.address();
                let why = format!("resolving: the auxiliary at {address} does not answer: {why}");
                self.note_why(why);
                self.opening_event(Event::Unreachable)
            }
            DialEvent::Pong(_) => Ok(()),
            DialEvent::Ready => loop {
                if !matches!(self.part, Part::Opening(_)) {
                    return Ok(());
                }
                match crate::dial::next_frame(self.peers.first().link()) {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) => match Frame::decode(&bytes) {
                        Ok(frame) => {
                            self.note_heard();
                            self.opening_event(Event::Frame(&frame))?;
                        }
                        Err(error) => {
                            return self.opening_dialed(DialEvent::Failed(error.to_string()));
                        }
                    },
                    Err(error) => return self.opening_dialed(DialEvent::Failed(error.to_string())),
                }
            },
        }
    }

    fn opening_event(&mut self, event: Event<'_>) -> Result<(), NodeError> {
        let mut actions = Vec::new();
        if let Part::Opening(run) = &mut self.part {
            run.opening.step(event, &mut actions);
        }
        self.perform_opening(actions)
    }

    fn perform_opening(&mut self, actions: Vec<Action>) -> Result<(), NodeError> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            self.perform_one(action, &mut more)?;
            queue.extend(more);
        }
        Ok(())
    }

    fn perform_one(&mut self, action: Action, more: &mut Vec<Action>) -> Result<(), NodeError> {
        let store = &mut self.hot.store;
        let Part::Opening(run) = &mut self.part else {
            return Ok(());
        };
        match action {
            // After an answer that led nowhere the next attempt waits a moment.
            Action::Dial if self.peers.first().is_connected() => self.peers.first().drop_link(),
            Action::Dial => self.peers.first().redial(),
            Action::Send(frame) => {
                if let Some(link) = self.peers.first().link() {
                    frame.encode(link.output());
                }
            }
            Action::Promise {
                epoch,
                opening,
                needs_mark,
            } => {
                let mut cut_off = Vec::new();
                if self
                    .receiver
                    .grant_here(epoch, opening, needs_mark, &mut cut_off)
                    .is_err()
                {
                    // Another opener was granted a higher epoch meanwhile: ask anew.
                    return self.open(Want::Restart { member_gone: false }, String::new(), None);
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
            Action::CheckChain { lsn } => {
                let chain = store.reader.chain_at(lsn)?;
                run.opening.step(Event::ChainAt { chain }, more);
            }
            Action::Cut { to } => {
                let log = self.cut_divergent(to)?;
                if let Part::Opening(run) = &mut self.part {
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
                run.opening.step(Event::Synced, more);
            }
            Action::Open(open) => return self.opened(open),
            Action::BecomeReplica { epoch, .. } => {
                self.answer_opening(Answer::Refused {
                    message: format!(
                        "the other node opened epoch {epoch}: this node follows it now"
                    ),
                });
                return self.step_down(epoch);
            }
            Action::Wait(waiting) => {
                let why = match waiting {
                    Waiting::Peer => return Ok(()),
                    Waiting::PeerOperator => {
                        "resolving: the auxiliary waits for an operator's decision about its own log"
                    }
                };
                self.note_why(why.to_owned());
                self.peers.first().drop_link();
            }
            Action::Stop(reason) => self.opening_stopped(&reason)?,
        }
        Ok(())
    }

    fn opening_stopped(
        &mut self,
        reason: &kanjo_shipper::opening::StopReason,
    ) -> Result<(), NodeError> {
        let waited = self.answer_opening(Answer::Refused {
            message: reason.to_string(),
        });
        if let Some(link) = self.peers.first().link() {
            // The last word to the peer; if it does not arrive, the next attempt says it again.
            let _ = link.flush();
        }
        self.peers.stop();
        if waited {
            // The operator's wish is refused and nothing changed: back to where it was.
            return self.open(Want::Restart { member_gone: false }, String::new(), None);
        }
        tracing::error!(%reason, "no epoch can be opened without an operator");
        self.part = Part::Halted(reason.to_string());
        Ok(())
    }

    fn opened(&mut self, open: OpenEpoch) -> Result<(), NodeError> {
        let Part::Opening(run) = &mut self.part else {
            return Ok(());
        };
        let reason = std::mem::take(&mut run.reason);
        let answer = run.answer.take();
        let store = &mut self.hot.store;
        let clock = crate::clock::ClockCheck::new(self.hot.config.clock_bound_ms);
        let replayed = store.replay(store.log.tail().lsn)?;
        tracing::info!(records = replayed.records, epoch = %open.epoch, base = %open.base, protection = open.protection.name(), "epoch opened");
        if let Err(error) = clock.may_open(open.epoch, store.ledger.log_time()) {
            self.part = Part::Halted(error.to_string());
            return Ok(());
        }
        promotion::write_epoch(store, &open, &reason)?;
        let epoch = open.epoch;
        self.begin_reign(open, None)?;
        if let Some(answer) = answer {
            let message = format!(
                "serving alone in epoch {epoch}; every transfer is counted as unprotected until an auxiliary has caught up"
            );
            // The asker may have gone away.
            let _ = answer.send(Answer::Done { message });
        }
        Ok(())
    }

    fn note_heard(&mut self) {
        if let Part::Opening(run) = &mut self.part {
            run.heard = Instant::now();
        }
    }

    /// A peer that is connected and says nothing counts as one that cannot be reached.
    pub(crate) fn check_opening(&mut self) -> Result<(), NodeError> {
        let patience = Duration::from_millis(self.hot.config.peer_timeout_ms);
        let silent = match &self.part {
            Part::Opening(run) => {
                self.peers.first().is_connected() && run.heard.elapsed() >= patience
            }
            _ => false,
        };
        if !silent {
            return Ok(());
        }
        let why = format!("connected, but silent for {} ms", patience.as_millis());
        self.opening_dialed(DialEvent::Failed(why))
    }

    /// Answers who waits for the opening; says whether somebody did.
    fn answer_opening(&mut self, answer: Answer) -> bool {
        match &mut self.part {
            Part::Opening(run) => run
                .answer
                .take()
                .is_some_and(|waiting| waiting.send(answer).is_ok()),
            _ => false,
        }
    }

    fn note_why(&mut self, why: String) {
        if let Part::Opening(run) = &mut self.part {
            run.why = why;
        }
    }
}
