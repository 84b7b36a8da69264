//! The log that is followed: its start, its batches, acks, what may be applied.

use super::*;

impl Receiver {
    pub(super) fn follow(
        &mut self,
        session: SessionId,
        follow: &Follow,
        actions: &mut Vec<Action>,
    ) {
        let stage = self.writer.as_ref().map(|w| w.stage);
        if stage != Some(WriterStage::Sealed) {
            // Asked again while it is being done.
            return;
        }
        let last = follow.history.last();
        let fits = follow.opening == self.state.granted_opening
            && last.is_some_and(|e| {
                e.epoch == self.state.granted_epoch && e.base.lsn < follow.tail.lsn
            });
        if !fits {
            let text = "the history does not end with the granted epoch";
            return self.refuse(session, RefusalCode::History, text, actions);
        }
        let mine = (&self.state.log.history[..], self.synced);
        let theirs = (&follow.history[..], follow.tail);
        let fork = match find_fork(self.state.identity.cluster, mine, theirs) {
            Ok(fork) => fork.end,
            Err(error) => {
                let text = error.to_string();
                return self.refuse(session, RefusalCode::History, &text, actions);
            }
        };
        if let Some(writer) = &mut self.writer {
            writer.history.clone_from(&follow.history);
            writer.committed = follow.committed;
            writer.end = follow.tail.lsn;
        }
        if fork.lsn == self.synced.lsn {
            return self.start_following(session, actions);
        }
        let log = &self.state.log;
        if log.may_have_answered_above(fork.lsn) || self.state.applied > fork.lsn {
            self.state.awaiting_operator = true;
            actions.push(Action::AwaitOperator { fork });
            let text = format!(
                "this log parts at {fork} and ends at {}; what would be cut may have been answered",
                self.synced
            );
            return self.refuse(session, RefusalCode::DivergentAnswered, &text, actions);
        }
        self.state.in_sync = false;
        if let Some(writer) = &mut self.writer {
            writer.stage = WriterStage::Cutting;
        }
        self.cutting = true;
        actions.push(Action::Cut { to: fork });
    }

    pub(super) fn cut_done(&mut self, log: Option<&crate::LocalLog>, actions: &mut Vec<Action>) {
        self.cutting = false;
        if let Some(log) = log {
            self.state.log = log.clone();
            self.synced = log.tail;
        }
        let Some(writer) = &self.writer else {
            return;
        };
        let (session, stage) = (writer.session, writer.stage);
        if stage != WriterStage::Cutting {
            return;
        }
        if log.is_some() {
            self.start_following(session, actions);
        } else {
            let text = "this log does not hold the common end; nothing was cut";
            self.refuse(session, RefusalCode::History, text, actions);
        }
    }

    pub(super) fn start_following(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let mut committed = Lsn::ZERO;
        if let Some(writer) = &mut self.writer {
            writer.stage = WriterStage::Following;
            committed = writer.committed;
        }
        self.state.awaiting_operator = false;
        let address = self
            .sessions
            .get(&session)
            .map(|s| s.client_address.clone());
        actions.push(Action::Following {
            epoch: self.state.granted_epoch,
            opening: self.state.granted_opening,
            client_address: address.unwrap_or_default(),
        });
        let tail = self.synced;
        self.send(session, Body::Following { tail }, actions);
        self.note_committed(committed, actions);
    }

    pub(super) fn batch(
        &mut self,
        session: SessionId,
        batch: &WireBatch<'_>,
        actions: &mut Vec<Action>,
    ) {
        let end = self.state.log.tail;
        if batch.lsn < end.lsn {
            // Sent twice; what is here was verified, and the ack says which chain it has.
            return;
        }
        if batch.epoch > self.state.granted_epoch || self.installing.is_some() {
            let text = "a batch has no place at this point";
            return self.refuse(session, RefusalCode::Dialogue, text, actions);
        }
        let place = BatchPlace {
            cluster: self.state.identity.cluster,
            lsn: end.lsn,
            epoch: end.epoch,
            chain: end.chain,
        };
        let mut payload = Vec::new();
        match self.unpacker.unpack(batch, &place, &mut payload) {
            Ok(header) => {
                self.appending = true;
                let confirmed = header.confirmed();
                let header = Box::new(header);
                actions.push(Action::Append { header, payload });
                self.state.log.confirmed = self.state.log.confirmed.max(confirmed);
            }
            Err(error) => {
                // The writer goes on from the durable tail in its next session.
                self.forget(session);
                let why = error.to_string();
                actions.push(Action::Close { session, why });
            }
        }
    }

    pub(super) fn sync(&mut self, actions: &mut Vec<Action>) {
        if !self.unsynced.is_empty() && !self.syncing {
            self.syncing = true;
            actions.push(Action::Sync);
        }
    }

    /// ORDER: sync before ack; an ack promises bytes that survive power loss.
    pub(super) fn synced(&mut self, lsn: Lsn, actions: &mut Vec<Action>) {
        self.syncing = false;
        while self.unsynced.front().is_some_and(|t| t.lsn <= lsn) {
            self.synced = self.unsynced.pop_front().unwrap_or(self.synced);
        }
        self.ack(actions);
        self.apply(actions);
        self.sync(actions);
        self.answer_grant(actions);
    }

    pub(super) fn ack(&mut self, actions: &mut Vec<Action>) {
        let behind = self.state.log.confirmed.since(self.state.applied);
        self.ack_held = behind > APPLY_LAG_BYTES_MAX;
        let Some(writer) = &self.writer else {
            return;
        };
        if self.ack_held || writer.stage != WriterStage::Following {
            return;
        }
        let body = Body::Ack {
            tail: self.synced,
            node: self.state.identity.node,
            incarnation: self.state.identity.incarnation,
        };
        self.send(writer.session, body, actions);
    }

    pub(super) fn note_committed(&mut self, lsn: Lsn, actions: &mut Vec<Action>) {
        let log = &mut self.state.log;
        log.confirmed = log.confirmed.max(lsn);
        self.apply(actions);
    }

    /// Only what is committed and on this disk is applied.
    pub(super) fn apply(&mut self, actions: &mut Vec<Action>) {
        let lsn = self.state.log.confirmed.min(self.synced.lsn);
        if self.is_following() && lsn > self.apply_asked {
            self.apply_asked = lsn;
            actions.push(Action::ApplyTo { lsn });
        }
        if self.state.uncertain && self.is_caught_up() {
            // The writer's log held everything that was ever answered, and so does this one.
            self.state.uncertain = false;
            actions.push(Action::Vouched);
        }
    }

    pub(super) fn applied(&mut self, lsn: Lsn, digest: Digest, actions: &mut Vec<Action>) {
        self.state.applied = lsn;
        if self.ack_held {
            self.ack(actions);
        }
        if let Some(writer) = &self.writer
            && writer.stage == WriterStage::Following
        {
            self.send(writer.session, Body::Applied { lsn, digest }, actions);
        }
    }
}
