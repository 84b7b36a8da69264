//! An operator's word on protection: that the primary may answer alone for a while, or no longer.

use std::time::{Duration, Instant};

use kanjo_format::Epoch;
use kanjo_format::client::Outcome as ClientOutcome;
use kanjo_group::register::{Degraded, Evidence, Reign};
use kanjo_group::{Command, Outcome, Reply};
use tokio::sync::oneshot;

use super::Asker;
use crate::admin::{Answer, ProtectMode, ProtectOptions};
use crate::clock;
use crate::error::NodeError;
use crate::node::{Node, Part};

/// A register must not have been heard for so long before it may be taken for gone.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// The longest time for which one word holds.
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the change may take before its operator is told.
const CHANGE_MAX: Duration = Duration::from_secs(20);

/// An operator waits for the primary to answer alone.
pub(crate) struct Protecting {
    answer: Option<oneshot::Sender<Answer>>,
    began: Instant,
    pub(super) degraded: Degraded,
}

impl Node {
    pub(crate) fn protect(
        &mut self,
        options: ProtectOptions,
        answer: oneshot::Sender<Answer>,
    ) -> Result<(), NodeError> {
        let refused = match options.mode {
            ProtectMode::Maximum => match self.primary() {
                Some(mut primary) => {
                    primary.end_degraded();
                    let message = "nothing is answered without the in-sync set".to_owned();
                    // The asker may have gone away.
                    let _ = answer.send(Answer::Done { message });
                    return Ok(());
                }
                None => "this server is not the primary: ask that one".to_owned(),
            },
            ProtectMode::Degraded => match self.may_degrade(&options) {
                Ok(degraded) => return self.degrade(options, degraded, answer),
                Err(why) => why,
            },
        };
        // As above.
        let _ = answer.send(Answer::Refused { message: refused });
        Ok(())
    }

    fn may_degrade(&mut self, options: &ProtectOptions) -> Result<Degraded, String> {
        let expires = Duration::from_millis(options.expires_ms);
        if options.reason.trim().is_empty() || options.operator.trim().is_empty() {
            return Err("who decides, and why, is needed: both are written down".to_owned());
        }
        if expires.is_zero() || expires > EXPIRES_MAX {
            return Err("it needs an end: an expiry of at most seven days".to_owned());
        }
        if !matches!(self.part, Part::Primary(_)) {
            return Err("only the primary knows that it has everything that was answered; this server is not it".to_owned());
        }
        let Some(group) = &self.group else {
            return Err("this node is no server of a group: use `kanjo alone`".to_owned());
        };
        if group.protecting.is_some() {
            return Err("such a change is under way already".to_owned());
        }
        let attached = self.authority_is_away();
        if attached && self.other_heard_within(SILENT_FOR) {
            return Err("the other site answers: it is not lost. While it could process, nobody may answer here alone; switch over to it, or shut it down first".to_owned());
        }
        if attached && !(options.other_site_is_off && options.certainly_off) {
            return Err("nothing proves that the other site is sealed: if it processes while this one answers alone, both have answered and one of the two is lost. Make sure that it is off, then say so twice".to_owned());
        }
        let since_ms = clock::now().get() / 1_000_000;
        Ok(Degraded {
            reason: options.reason.clone(),
            operator: options.operator.clone(),
            since_ms,
            until_ms: since_ms.saturating_add(options.expires_ms),
        })
    }

    fn authority_is_away(&mut self) -> bool {
        match self.primary() {
            Some(primary) => primary.reign.is_attached(),
            None => false,
        }
    }

    fn other_heard_within(&self, time: Duration) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.other_heard_within(time))
    }

    fn degrade(
        &mut self,
        options: ProtectOptions,
        degraded: Degraded,
        answer: oneshot::Sender<Answer>,
    ) -> Result<(), NodeError> {
        tracing::error!(operator = %degraded.operator, reason = %degraded.reason, until_ms = degraded.until_ms, "DEGRADED: this server is to answer alone");
        let attached = self.authority_is_away();
        let address = self.hot.config.client_listen.clone();
        if !attached {
            let left = match self.primary() {
                Some(mut primary) => primary.leave_set_behind(degraded.clone()),
                None => Ok(()),
            };
            if let Err(message) = left {
                // The asker may have gone away.
                let _ = answer.send(Answer::Refused { message });
                return Ok(());
            }
        }
        let writer = self.primary().map(|primary| primary.reign.writer());
        let (Some(group), Some((epoch, opening))) = (&mut self.group, writer) else {
            return Ok(());
        };
        group.protecting = Some(Protecting {
            answer: Some(answer),
            began: Instant::now(),
            degraded,
        });
        if attached {
            let command = Command::Seize {
                follows: group.highest_holding(),
                reign: Reign {
                    epoch,
                    opening,
                    address,
                },
                set: vec![group.me],
                evidence: Evidence::Operator {
                    operator: options.operator,
                    reason: options.reason,
                },
            };
            group.ask(Asker::Protecting(epoch), group.site, command);
        }
        Ok(())
    }

    /// The own register answered whether it takes the authority.
    pub(super) fn seized(&mut self, epoch: Epoch, reply: Reply) -> Result<(), NodeError> {
        let same = self.primary().is_some_and(|p| p.reign.epoch() == epoch);
        let why = match reply {
            Reply::Outcome {
                outcome: Outcome::Done(_),
            } if same => return self.reopen_alone(),
            Reply::Outcome {
                outcome: Outcome::Done(_),
            } => "another epoch was opened meanwhile".to_owned(),
            Reply::Outcome {
                outcome: Outcome::Refused { why, .. },
            } => why.to_string(),
            Reply::Unreachable { why } | Reply::Unknown { why } => {
                format!("this site's register did not decide: {why}; say it again")
            }
            Reply::Report { .. } => "the register answered another question".to_owned(),
        };
        self.end_protecting(Answer::Refused { message: why });
        Ok(())
    }

    /// Opens the next epoch in the own site's register, which names this server alone.
    pub(crate) fn reopen_alone(&mut self) -> Result<(), NodeError> {
        let Some(mut primary) = self.primary() else {
            return Ok(());
        };
        let read = primary.reign.epoch();
        primary.give_up(ClientOutcome::Indeterminate);
        let Some(site) = self.group.as_ref().map(|group| group.site) else {
            return Ok(());
        };
        self.open_in_group(site, (read, site))
    }

    pub(super) fn answer_protecting(&mut self) {
        let Some(began) = self
            .group
            .as_ref()
            .and_then(|group| group.protecting.as_ref())
            .map(|protecting| protecting.began)
        else {
            return;
        };
        let standing = self.standing();
        let epoch = self.hot.store.dir.control().granted_epoch;
        if standing.serving {
            self.end_protecting(Answer::Done {
                message: format!("serving in epoch {epoch}, {}", standing.protection),
            });
        } else if began.elapsed() >= CHANGE_MAX {
            let message = format!("not serving so far: {}", standing.why_not_serving);
            self.end_protecting(Answer::Refused { message });
        }
    }

    fn end_protecting(&mut self, answer: Answer) {
        let protecting = self
            .group
            .as_mut()
            .and_then(|group| group.protecting.take());
        if let Some(waiting) = protecting.and_then(|protecting| protecting.answer) {
            // The asker may have gone away.
            let _ = waiting.send(answer);
        }
    }
}
