//! Who may write: handshakes, seals, and grants that are answered when they are durable.

use super::*;

impl Receiver {
    pub(super) fn hello(&mut self, session: SessionId, hello: &Hello, actions: &mut Vec<Action>) {
        // A session that greets anew begins anew.
        self.forget(session);
        let own = &self.state.identity;
        let versions = hello.version_min..=hello.version_max;
        let trouble = if !(REPLICATION_VERSION_MIN..=REPLICATION_VERSION)
            .rev()
            .any(|v| versions.contains(&v))
        {
            Some((
                RefusalCode::Version,
                "no protocol version that both speak".to_owned(),
            ))
        } else if hello.cluster != own.cluster {
            let (here, there) = (own.cluster, hello.cluster);
            let text = format!("this is cluster {here}, it was asked for cluster {there}");
            Some((RefusalCode::Cluster, text))
        } else if hello.incarnation == own.incarnation {
            let text = "that is this very directory, or a copy of it".to_owned();
            Some((RefusalCode::Cluster, text))
        } else if hello.node == own.node {
            let text = format!("both are node {}: each needs a number of its own", own.node);
            Some((RefusalCode::Cluster, text))
        } else if hello.segment_bytes != own.segment_bytes {
            let (here, there) = (own.segment_bytes, hello.segment_bytes);
            let text = format!("segments here have {here} bytes, those of the other node {there}");
            Some((RefusalCode::SegmentBytes, text))
        } else {
            None
        };
        if let Some((code, text)) = trouble {
            return self.refuse(session, code, &text, actions);
        }
        self.sessions.insert(
            session,
            Session {
                purpose: hello.purpose,
                node: hello.node,
                incarnation: hello.incarnation,
                site: hello.site,
                client_address: hello.client_address.clone(),
            },
        );
        let version = REPLICATION_VERSION.min(hello.version_max);
        let welcome = self.welcome(version);
        self.send(session, Body::Welcome(Box::new(welcome)), actions);
    }

    pub(super) fn welcome(&self, version: u16) -> Welcome {
        let (own, state) = (&self.state.identity, &self.state);
        // Only what is on disk is told: the history ends with the durable tail.
        let history = state.log.history.iter().copied();
        Welcome {
            version,
            cluster: own.cluster,
            node: own.node,
            incarnation: own.incarnation,
            site: own.site,
            role: state.role,
            segment_bytes: own.segment_bytes,
            start_count: own.start_count,
            granted_epoch: state.granted_epoch,
            granted_opening: state.granted_opening,
            tail: self.synced,
            confirmed: state.log.confirmed,
            in_sync: state.in_sync,
            in_sync_lsn: state.in_sync_lsn,
            uncertain: state.uncertain,
            awaiting_operator: state.awaiting_operator,
            history: history.filter(|e| e.base.lsn < self.synced.lsn).collect(),
            client_address: own.client_address.clone(),
        }
    }

    pub(super) fn ping(&self, session: SessionId, nonce: u64, actions: &mut Vec<Action>) {
        let pong = Body::Pong {
            nonce,
            durable: self.synced.lsn,
            applied: self.state.applied,
            syncing: self.syncing,
        };
        self.send(session, pong, actions);
    }

    pub(super) fn seal(
        &mut self,
        session: SessionId,
        epoch: Epoch,
        opening: OpeningId,
        actions: &mut Vec<Action>,
    ) {
        let granted = self.state.granted_epoch;
        if epoch < granted {
            return self.refuse_stranger(session, epoch, actions);
        }
        if epoch == granted && opening != self.state.granted_opening {
            let text = format!(
                "epoch {epoch} was granted to {}",
                self.state.granted_opening
            );
            return self.refuse(session, RefusalCode::OtherOpening, &text, actions);
        }
        let own_opener = self.sessions.get(&session).is_some_and(|s| {
            opening.node == s.node
                && opening.incarnation == s.incarnation
                && epoch.may_be_opened_by(s.site)
        });
        if !own_opener {
            let text = format!("epoch {epoch} is not this opener's to open");
            return self.refuse(session, RefusalCode::NotGranted, &text, actions);
        }
        self.cut_off_writer(session, epoch, actions);
        let raises = epoch > granted;
        let known = self.pending_grant.filter(|_| !raises);
        self.pending_grant = Some(PendingGrant {
            session,
            // An equal grant that is not durable yet is waited for like the first time.
            persisted: !raises && known.is_none_or(|p| p.persisted),
        });
        if raises {
            self.raise(epoch, opening, actions);
        }
        self.answer_grant(actions);
    }

    /// ORDER: memory refuses the lower epochs before the disk is asked, and the opener is
    /// answered after it.
    pub(super) fn raise(&mut self, epoch: Epoch, opening: OpeningId, actions: &mut Vec<Action>) {
        self.state.granted_epoch = epoch;
        self.state.granted_opening = opening;
        if self.state.role == Role::Primary {
            self.state.role = Role::Replica;
            self.stepping_down = true;
            actions.push(Action::StepDown { epoch });
        }
        actions.push(Action::PersistGrant { epoch, opening });
    }

    pub(super) fn grant_persisted(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        if epoch != self.state.granted_epoch {
            return;
        }
        if let Some(pending) = &mut self.pending_grant {
            pending.persisted = true;
        }
        self.answer_grant(actions);
    }

    /// Answers a grant once it is durable, and the log and the mark that it tells of are too.
    pub(super) fn answer_grant(&mut self, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending_grant else {
            return;
        };
        if !self.unsynced.is_empty() {
            self.sync(actions);
            return;
        }
        let busy = self.installing.is_some()
            || self.cutting
            || self.stepping_down
            || self.syncing
            || !self.pending_marks.is_empty();
        if !pending.persisted || busy {
            return;
        }
        self.pending_grant = None;
        if !self.sessions.contains_key(&pending.session) {
            return;
        }
        self.incoming = None;
        self.writer = Some(Writer {
            session: pending.session,
            history: Vec::new(),
            stage: WriterStage::Sealed,
            mark_turn: 0,
            fetch: None,
            committed: Lsn::ZERO,
            end: Lsn::ZERO,
        });
        let granted = Granted {
            opening: self.state.granted_opening,
            tail: self.synced,
            confirmed: self.state.log.confirmed,
            in_sync: self.state.in_sync,
            in_sync_lsn: self.state.in_sync_lsn,
            uncertain: self.state.uncertain,
        };
        self.send(pending.session, Body::Granted(granted), actions);
    }

    pub(super) fn cut_off_writer(
        &mut self,
        session: SessionId,
        epoch: Epoch,
        actions: &mut Vec<Action>,
    ) {
        let former = [
            self.writer.as_ref().map(|w| w.session),
            self.pending_grant.as_ref().map(|p| p.session),
        ];
        for former in former.into_iter().flatten() {
            if former != session {
                self.forget(former);
                let why = format!("epoch {epoch} was granted to a later session");
                let session = former;
                actions.push(Action::Close { session, why });
            }
        }
        self.writer = None;
    }
}
