//! What an operator asks of a running node: how it is, to promote it, to go on alone.

use std::time::Instant;

use kanjo_format::NodeId;
use kanjo_format::client::Outcome;
use kanjo_shipper::opening::Want;

use crate::admin::{Answer, Command, OperatorWord};
use crate::error::NodeError;
use crate::hot::{AdminRequest, Standing};
use crate::node::{Node, Part};
use crate::promotion;
use crate::status::PeerStatus;
use crate::store::Replayed;

impl Node {
    pub(crate) fn on_admin(&mut self, request: AdminRequest) -> Result<(), NodeError> {
        let standing = self.whole_standing();
        let Some(request) = self.hot.common_command(request, &standing) else {
            return Ok(());
        };
        if self.group.is_some()
            && matches!(request.command, Command::Promote(_) | Command::Alone { .. })
        {
            let message = "this is a server of a group, whose register says who writes: use `kanjo failover`, `kanjo switchover` or `kanjo protection`".to_owned();
            // The asker may have gone away.
            let _ = request.answer.send(Answer::Refused { message });
            return Ok(());
        }
        match request.command {
            Command::Failover(word) => self.fail_over(word, request.answer),
            Command::Switchover(word) => self.switch_over(word, request.answer),
            Command::Protect(options) => self.protect(options, request.answer)?,
            Command::Promote(options) => {
                let outcome = self.promote(&options);
                let refused = match outcome {
                    Ok(promotion) => Answer::Promotion(Box::new(promotion)),
                    Err(NodeError::Refused(why)) => Answer::Refused { message: why },
                    Err(error) => return Err(error),
                };
                // The asker may have gone away.
                let _ = request.answer.send(refused);
            }
            Command::Alone { reason, unfenced } => {
                self.go_alone(reason, unfenced, request.answer)?
            }
            Command::Drill { full } => self.drill(full, request.answer),
            Command::Status | Command::Await { .. } | Command::DrillStatus => {}
        }
        Ok(())
    }

    fn promote(
        &mut self,
        options: &crate::admin::PromoteOptions,
    ) -> Result<crate::status::Promotion, NodeError> {
        match &self.part {
            Part::Replica => {}
            Part::Primary(_) => return Ok(promotion::current(&self.hot.store)),
            Part::Opening(_) | Part::GroupOpening(_) | Part::Halted(_) => {
                return Err(NodeError::Refused(
                    "this node was primary and opens its next epoch as soon as its auxiliary answers; to serve without it, use `kanjo alone`".to_owned(),
                ));
            }
        }
        // It would take processor time from the promotion.
        self.hot.drills.give_up();
        let began = Instant::now();
        let clock = crate::clock::ClockCheck::new(self.hot.config.clock_bound_ms);
        let (open, mut promotion) =
            promotion::promote(&mut self.hot.store, options, Replayed::default(), &clock)?;
        let (epoch, opening) = (open.epoch, open.opening);
        let mut cut_off = Vec::new();
        if self
            .receiver
            .grant_here(epoch, opening, false, &mut cut_off)
            .is_err()
        {
            return Err(NodeError::NeedsOperator(
                "a higher epoch was granted during the promotion; start again".to_owned(),
            ));
        }
        self.perform_received(cut_off)?;
        self.begin_reign(open, None)?;
        promotion.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(promotion)
    }

    fn go_alone(
        &mut self,
        reason: String,
        unfenced: bool,
        answer: tokio::sync::oneshot::Sender<Answer>,
    ) -> Result<(), NodeError> {
        let refusal = match &self.part {
            Part::Replica => Some("this node is a replica: promote it instead"),
            Part::Primary(reign) if reign.waits_for_nobody() => {
                Some("this node already serves alone")
            }
            _ if reason.trim().is_empty() => {
                Some("a reason is needed, which is written into the log")
            }
            _ => None,
        };
        if let Some(message) = refusal {
            // The asker may have gone away.
            let _ = answer.send(Answer::Refused {
                message: message.to_owned(),
            });
            return Ok(());
        }
        if let Some(mut primary) = self.primary() {
            primary.give_up(Outcome::Indeterminate);
        }
        self.open(Want::Alone { unfenced }, reason, Some(answer))
    }

    /// A planned switch to the other site.
    fn switch_over(&mut self, word: OperatorWord, answer: tokio::sync::oneshot::Sender<Answer>) {
        if word.reason.trim().is_empty() {
            let message = "a reason is needed, which is written down".to_owned();
            // The asker may have gone away.
            let _ = answer.send(Answer::Refused { message });
            return;
        }
        tracing::warn!(operator = %word.operator, reason = %word.reason, "switchover asked for");
        match self.primary() {
            Some(mut primary) => primary.begin_switch(answer),
            None => {
                let message = "this server is not the primary: ask that one".to_owned();
                // As above.
                let _ = answer.send(Answer::Refused { message });
            }
        }
    }

    /// Where the node stands, with what it knows of both sites of its group.
    pub(crate) fn whole_standing(&mut self) -> Standing {
        let mut standing = self.standing();
        standing.in_set = self.group.as_ref().map(|group| group.is_in_set());
        let gap = self.hot.last_gap;
        standing.group = self
            .group
            .as_ref()
            .map(|group| group.status(&standing, gap));
        standing
    }

    pub(crate) fn standing(&mut self) -> Standing {
        let durable = self.hot.store.syncer.synced();
        let peer = |peer| PeerStatus {
            address: self.peers[peer].address().to_owned(),
            node: self.peers.node(peer).map(NodeId::get),
            site: self.peers.site(peer).map(|site| site.number()),
            ..PeerStatus::default()
        };
        let peers = self.peers.indices().map(peer).collect();
        let reign = self.hot.store.ledger.reign().protection;
        let base = Standing {
            role: "replica",
            serving: false,
            why_not_serving: "it follows a primary".to_owned(),
            durable,
            committed: self.hot.store.applied().lsn,
            protection: reign.name(),
            catching_up: Vec::new(),
            peers,
            in_set: None,
            switching: None,
            group: None,
        };
        match &self.part {
            Part::Replica => {
                let awaits = self.hot.store.dir.control().awaiting_operator;
                let follows = self.receiver.is_following();
                self.following.standing(base, awaits, follows)
            }
            Part::Opening(run) => Standing {
                role: "resolving",
                why_not_serving: run.why().to_owned(),
                ..base
            },
            Part::GroupOpening(run) => Standing {
                role: "resolving",
                why_not_serving: run.why().to_owned(),
                ..base
            },
            Part::Halted(why) => Standing {
                role: "resolving",
                why_not_serving: why.clone(),
                ..base
            },
            Part::Primary(_) => {
                let primary = self.primary().expect("just matched");
                primary.standing(base)
            }
        }
    }
}
