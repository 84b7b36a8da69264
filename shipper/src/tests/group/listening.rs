//! Carries out what a receiver asks for.

use kanjo_format::control::Role;
use kanjo_format::replication::Body;
use kanjo_format::{Digest, Tail};

use super::net::TO_DIALER;
use super::node::Mode;
use super::sim::Sim;
use crate::receiver::{Action, Event};

impl Sim {
    pub(super) fn sync_replica(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        // A sync covers what was appended when it began, and no more.
        if let Some(count) = node.sync_asked.take() {
            node.log.synced = node.log.synced.max(count.min(node.log.batches.len()));
            let lsn = node.log.durable().lsn;
            self.receiver(i, Event::Synced { lsn });
        }
    }

    pub(super) fn receiver(&mut self, i: usize, event: Event<'_>) {
        let mut actions = Vec::new();
        self.nodes[i].receiver.step(event, &mut actions);
        self.receiver_actions(i, actions);
    }

    pub(super) fn receiver_actions(&mut self, i: usize, actions: Vec<Action>) {
        for action in actions {
            self.receiver_action(i, action);
        }
    }

    fn receiver_action(&mut self, i: usize, action: Action) {
        let node = &mut self.nodes[i];
        match action {
            Action::Send { session, frame } => {
                if let Body::Ack { tail, .. } = &frame.body {
                    assert!(node.log.durable().lsn >= tail.lsn, "acked beyond the disk");
                    assert!(
                        frame.epoch == node.control.granted_epoch,
                        "acked for an epoch that is not the granted one"
                    );
                }
                self.push(Some(session.0), TO_DIALER, &frame);
            }
            Action::PersistGrant { epoch, opening } => {
                node.control.granted_epoch = epoch;
                node.control.granted_opening = opening;
                node.control.role = Role::Replica;
                self.receiver(i, Event::GrantPersisted { epoch });
            }
            Action::StepDown { .. } => self.granted_away(i),
            Action::Append { header, payload } => {
                let tail = node.log.append(*header, payload);
                self.receiver(i, Event::Appended { tail });
            }
            Action::Sync => node.sync_asked = Some(node.log.batches.len()),
            Action::PersistMark { in_sync, lsn } => {
                assert!(!in_sync || node.log.durable().lsn >= lsn);
                node.control.in_sync = in_sync;
                node.control.in_sync_lsn = lsn;
                self.receiver(i, Event::MarkPersisted);
            }
            Action::Cut { to } => self.cut_log(i, to),
            Action::SendLog {
                session,
                from,
                to,
                epoch,
            } => {
                let range = (from, to.since(from));
                let sent = self.send_log(i, Some(session.0), TO_DIALER, epoch, range, 3);
                let lsn = sent.last().map_or(to, |t| t.lsn);
                self.receiver(i, Event::LogSent { session, lsn });
            }
            Action::ApplyTo { lsn } => {
                let chain = node.log.chain_at(lsn);
                assert!(
                    chain.is_some() && self.committed.get(&lsn).map(|c| c.0) == chain,
                    "applied {lsn}, which was never committed"
                );
                let digest = Digest::new(u128::from(lsn.get()));
                self.receiver(i, Event::Applied { lsn, digest });
            }
            Action::AwaitOperator { fork } => self.await_operator(i, fork),
            Action::Close { session, .. } => self.close(session.0),
            Action::Vouched => {
                node.control.uncertain = false;
                node.lost = false;
            }
            Action::WriteChunk { .. } | Action::InstallFile { .. } => {
                panic!("no file was offered")
            }
            Action::CompareDigest { .. } | Action::Following { .. } => {}
        }
    }

    /// A higher epoch was granted while this server wrote, or opened.
    fn granted_away(&mut self, i: usize) {
        self.hang_up_all(i);
        let node = &mut self.nodes[i];
        node.mode = Mode::Replica;
        node.control.role = Role::Replica;
        node.log.sync();
        let log = node.log.local(node.control.confirmed);
        self.receiver(i, Event::LogMoved { log: &log });
    }

    fn cut_log(&mut self, i: usize, to: Tail) {
        self.check_cut(i, to);
        let node = &mut self.nodes[i];
        node.control.in_sync = false;
        let done = node.log.cut(to);
        let log = node.log.local(node.control.confirmed);
        let log = done.then_some(&log);
        self.receiver(i, Event::Cut { log });
    }

    /// A follower of a reign that answered alone may have more of it than its writer kept through
    /// a crash: it cannot know that nothing of that was answered, and an operator decides.
    fn await_operator(&mut self, i: usize, fork: Tail) {
        self.check_cut(i, fork);
        let node = &mut self.nodes[i];
        let log = node.log.local(node.control.confirmed);
        assert!(
            log.confirmed <= fork.lsn && log.alone_to > fork.lsn,
            "an answered tail has to be cut at {fork}"
        );
        node.control.awaiting_operator = true;
        self.older.push(node.member());
    }
}
