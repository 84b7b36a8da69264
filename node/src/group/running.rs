//! The node's side of its group: what wakes it, what it decides, what an operator asks.

use std::time::{Duration, Instant};

use kanjo_format::Epoch;
use kanjo_format::client::Outcome;
use kanjo_group::Command;
use kanjo_group::register::Evidence;
use tokio::sync::oneshot;

use super::{Asker, Decision, GroupEvent, Insistence, Told};
use crate::admin::{Answer, FailoverOptions};
use crate::config::AutoFailover;
use crate::error::NodeError;
use crate::node::{Node, Part, steady_ns};

/// How long a failover may take before its operator is told why it does not happen.
const FAILOVER_MAX: Duration = Duration::from_secs(30);

/// An operator waits for the end of a failover.
pub(crate) struct Failover {
    pub(super) answer: Option<oneshot::Sender<Answer>>,
    pub(super) began: Instant,
    operator: String,
    pub(super) reason: String,
    pub(super) told: Told,
}

impl Failover {
    /// What the operator said of going on without the third witness's word.
    pub(super) fn insistence(&self) -> Option<Insistence> {
        let against_word = match self.told {
            Told::No | Told::Lost => return None,
            Told::WithoutWord => false,
            Told::AgainstWord => true,
        };
        let evidence = Evidence::Operator {
            operator: self.operator.clone(),
            reason: self.reason.clone(),
        };
        Some(Insistence {
            evidence,
            against_word,
        })
    }
}

impl Node {
    pub(crate) fn on_group(&mut self, event: GroupEvent) -> Result<(), NodeError> {
        match event {
            GroupEvent::View => self.look_at_registers(),
            GroupEvent::VoterEnded(error) => Err(error.into()),
            GroupEvent::Reply(Asker::Opening(number), reply) => {
                self.group_opening_replied(number, reply)
            }
            GroupEvent::Reply(Asker::Nominee, reply) => {
                let group = self.group.as_mut();
                match group.is_some_and(|group| group.nomination_replied(reply)) {
                    true => self.look_at_registers(),
                    false => Ok(()),
                }
            }
            GroupEvent::Reply(Asker::Membership(epoch), reply) => match self.primary() {
                Some(mut primary) => primary.membership_replied(epoch, reply),
                None => Ok(()),
            },
            GroupEvent::Reply(Asker::Protecting(epoch), reply) => self.seized(epoch, reply),
            GroupEvent::Third(Asker::Opening(number), reply) => {
                self.group_opening_third(number, reply)
            }
            GroupEvent::Third(Asker::Protecting(epoch), reply) => self.third_said(epoch, reply),
            GroupEvent::Third(Asker::Nominee | Asker::Membership(_) | Asker::Carrier, _) => Ok(()),
            GroupEvent::Reply(Asker::Carrier, reply) => {
                tracing::debug!(?reply, "what was carried to a register");
                Ok(())
            }
        }
    }

    /// Looks at everything of the group that goes by time.
    pub(crate) fn tick_group(&mut self) -> Result<(), NodeError> {
        if self.group.is_none() {
            return Ok(());
        }
        self.beat();
        self.watch_active_site();
        self.watch_auxiliary_site()?;
        self.watch_mark()?;
        self.answer_failover();
        self.answer_protecting();
        if matches!(self.part, Part::GroupOpening(_)) {
            return self.tick_group_opening();
        }
        self.look_at_registers()
    }

    /// A server that writes nothing looks whether it should.
    fn look_at_registers(&mut self) -> Result<(), NodeError> {
        // A writer that another claim has passed, whose claimer never sealed anybody, goes on like
        // everybody who is to process.
        let passed = match self.primary() {
            Some(primary) => primary.reign.is_passed(),
            None => false,
        };
        let follows = passed || matches!(self.part, Part::Replica);
        let control = self.hot.store.dir.control();
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        // Whose log has parted from a primary's decides nothing before a person has.
        let follows = follows && !control.awaiting_operator;
        if !follows || group.rest_until.is_some_and(|until| until > Instant::now()) {
            return Ok(());
        }
        match group.decide() {
            Decision::Follow(_) => Ok(()),
            Decision::Open(read) if group.is_of_before(&control, read.epoch) => Ok(()),
            Decision::Open(read) => {
                let Some(number) = group.nomination() else {
                    return Ok(());
                };
                if let Some(mut primary) = self.primary() {
                    primary.give_up(Outcome::Indeterminate);
                }
                self.open_in_group(read, number)
            }
            Decision::Carry { to, certificate } => {
                group.carry(to, Command::Activate(certificate));
                Ok(())
            }
            Decision::Concede { site, holding } => {
                group.carry(site, Command::Concede { holding });
                Ok(())
            }
        }
    }

    /// With `auto_failover` the active site counts as lost when neither its writer nor a majority
    /// of its register has been heard for a while. Safe even if it lives: it can commit nothing
    /// then, and where it could go on without this site, the third witness gives its word to one.
    fn watch_active_site(&mut self) {
        // A frozen writer keeps its connection and says nothing.
        let heard_ns = self.hot.shared.published.writer_heard_ns();
        let silent_ns = self.hot.config.silent_after_ms() * 1_000_000;
        let writer_is_here =
            steady_ns().saturating_sub(heard_ns) < silent_ns || !matches!(self.part, Part::Replica);
        let Some(group) = &mut self.group else {
            return;
        };
        if self.hot.config.auto_failover == AutoFailover::Never {
            return;
        }
        if writer_is_here || !group.is_auxiliary() || group.other_has_majority() {
            group.active_heard = Instant::now();
            if group.failover.is_none() {
                group.told = false;
            }
            return;
        }
        // The active site's writer, if it lives, asks the third witness before.
        let times = if group.topology.third_witness.is_some() {
            3
        } else {
            2
        };
        let patience = Duration::from_millis(times * group.topology.timing.silent_ms);
        if group.active_heard.elapsed() >= patience && !group.told {
            tracing::warn!("the active site is lost: auto_failover lets this one take over");
            group.told = true;
        }
    }

    /// The active site is lost, an operator says: take over.
    pub(crate) fn fail_over(&mut self, word: FailoverOptions, answer: oneshot::Sender<Answer>) {
        let refusal = match (&self.part, &self.group) {
            (_, None) => Some("this node is no server of a group: use `kanjo promote`".to_owned()),
            (Part::Primary(_), _) => Some("this server processes already".to_owned()),
            (_, Some(group)) if group.failover.is_some() => {
                Some("a failover is under way already".to_owned())
            }
            _ if word.reason.trim().is_empty() => {
                Some("a reason is needed, which is written into the log".to_owned())
            }
            _ => None,
        };
        if let Some(message) = refusal {
            // The asker may have gone away.
            let _ = answer.send(Answer::Refused { message });
            return;
        }
        if let Some(group) = &mut self.group {
            tracing::warn!(operator = %word.operator, reason = %word.reason, "failover: this site takes over");
            group.told = true;
            group.rest_until = None;
            let off = word.other_site_is_off && word.certainly_off;
            group.failover = Some(Failover {
                answer: Some(answer),
                began: Instant::now(),
                reason: format!("{} ({})", word.reason, word.operator),
                operator: word.operator,
                told: match (word.accept_missing_answered_transfers, off) {
                    (false, _) => Told::Lost,
                    (true, false) => Told::WithoutWord,
                    (true, true) => Told::AgainstWord,
                },
            });
        }
    }

    /// Tells who waits for a failover how it went.
    fn answer_failover(&mut self) {
        let standing = match &self.group {
            Some(group) if group.failover.is_some() => self.standing(),
            _ => return,
        };
        let epoch = self.hot.store.dir.control().granted_epoch;
        let primary = matches!(self.part, Part::Primary(_));
        let opening = matches!(self.part, Part::GroupOpening(_));
        let Some(group) = &mut self.group else {
            return;
        };
        let Some(failover) = &group.failover else {
            return;
        };
        let took = failover.began.elapsed();
        let answer = if primary && standing.serving {
            Answer::Done {
                message: format!(
                    "site {} processes: this server serves in epoch {epoch}, {} ms after the word",
                    group.site,
                    took.as_millis()
                ),
            }
        } else if took >= FAILOVER_MAX || (!primary && !opening && took >= super::DECIDE_MAX) {
            let why = match primary || opening {
                true => standing.why_not_serving,
                false => group.why.clone(),
            };
            Answer::Refused {
                message: format!("not taken over so far: {why}"),
            }
        } else {
            return;
        };
        group.told = false;
        if let Some(waiting) = group.failover.take().and_then(|failover| failover.answer) {
            // The asker may have gone away.
            let _ = waiting.send(answer);
        }
    }

    /// The reason that goes into the log with an epoch.
    pub(super) fn reason_of_opening(&self, epoch: Epoch) -> String {
        let group = self.group.as_ref();
        let failover = group.and_then(|group| group.failover.as_ref());
        let protecting = group.and_then(|group| group.protecting.as_ref());
        match (failover, protecting) {
            (Some(failover), _) => failover.reason.clone(),
            (None, Some(protecting)) => protecting.reason().to_owned(),
            (None, None) => format!("epoch {epoch} by the register"),
        }
    }
}
