//! The primary goes on without the other site: by an operator's word, who may let it answer alone
//! for a while, or by itself where a third site's witness gives the word. Then every answer waits
//! for another server of the own site.

use std::time::{Duration, Instant};

use kanjo_format::Epoch;
use kanjo_format::client::Outcome as ClientOutcome;
use kanjo_group::register::{Degraded, Evidence, Reign, ThirdMark};
use kanjo_group::{Command, Outcome, Reply, ThirdQuestion, ThirdReply};
use tokio::sync::oneshot;

use super::{Asker, WasRead};
use crate::admin::{Answer, ProtectMode, ProtectOptions};
use crate::clock;
use crate::config::AutoFailover;
use crate::error::NodeError;
use crate::node::{Node, Part};

/// A register must not have been heard for so long before it may be taken for gone.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// The longest time for which one word holds.
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// After the third witness refused its word, it is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long the change may take before its operator is told.
const CHANGE_MAX: Duration = Duration::from_secs(20);

/// The primary goes on without the other site.
pub(crate) struct Protecting {
    answer: Option<oneshot::Sender<Answer>>,
    began: Instant,
    reason: String,
    operator: String,
    /// An operator's word to answer alone; without it nothing is answered that no other server of
    /// the own site has.
    pub(super) degraded: Option<Degraded>,
}

impl Protecting {
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
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
        let by_third = group.topology.third_witness.is_some();
        let attached = self.authority_is_away();
        if attached && by_third {
            self.cleared_mark()?;
        }
        if attached && self.other_heard_within(SILENT_FOR) {
            return Err("the other site answers: it is not lost. While it could process, nobody may answer here alone; switch over to it, or shut it down first".to_owned());
        }
        if attached && !by_third && self.other_has_claimed() {
            return Err("the other site's register was claimed for a later epoch than this server's: it has taken over, and may have answered".to_owned());
        }
        if attached && !by_third && !(options.other_site_is_off && options.certainly_off) {
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
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        group.protecting = Some(Protecting {
            answer: Some(answer),
            began: Instant::now(),
            reason: options.reason.clone(),
            operator: options.operator.clone(),
            degraded: Some(degraded),
        });
        match attached {
            true => self.leave_other_site(),
            false => Ok(()),
        }
    }

    /// Takes the authority to the own site: first the third witness is asked, if there is one.
    fn leave_other_site(&mut self) -> Result<(), NodeError> {
        let mark = self.cleared_mark();
        let epoch = match self.primary() {
            Some(primary) => primary.reign.epoch(),
            None => return Ok(()),
        };
        let Some(group) = &self.group else {
            return Ok(());
        };
        if group.topology.third_witness.is_none() {
            return self.seize(None);
        }
        match mark {
            Ok(follows) => {
                let site = group.site;
                let question = ThirdQuestion::Decide { follows, site };
                group.ask_third(Asker::Protecting(epoch), question);
            }
            Err(message) => self.end_protecting(Answer::Refused { message }),
        }
        Ok(())
    }

    /// What this reign noted of the third witness.
    fn cleared_mark(&mut self) -> Result<ThirdMark, String> {
        let cleared = self.primary().and_then(|primary| primary.reign.cleared());
        cleared.and_then(|cleared| cleared.mark).ok_or_else(|| {
            "the third witness was silent when this epoch was opened, and knows nothing of it: \
             without its word nobody goes on without the other site"
                .to_owned()
        })
    }

    /// The other site's register, as it was last heard, names a later epoch than this writer's.
    fn other_has_claimed(&mut self) -> bool {
        let Some(epoch) = self.primary().map(|primary| primary.reign.epoch()) else {
            return false;
        };
        let group = self.group.as_ref();
        let other = group.and_then(|group| group.view().other);
        other.is_some_and(|(report, _)| report.register.reign.epoch > epoch)
    }

    /// The third witness answered whether this site may go on without the other one.
    pub(super) fn third_said(&mut self, epoch: Epoch, reply: ThirdReply) -> Result<(), NodeError> {
        let same = self.primary().is_some_and(|p| p.reign.epoch() == epoch);
        let message = match reply {
            ThirdReply::Stands { third } if same => return self.seize(Some(third.mark)),
            ThirdReply::Stands { .. } => "another epoch was opened meanwhile".to_owned(),
            ThirdReply::Refused { why } => format!(
                "the third witness gives no word, so that the other site may have taken over: {why}"
            ),
            ThirdReply::Silent { why } => {
                format!(
                    "the third witness gives no word, through which every such move goes: {why}"
                )
            }
        };
        self.end_protecting(Answer::Refused { message });
        Ok(())
    }

    /// Has the own site's register take the authority.
    fn seize(&mut self, third: Option<ThirdMark>) -> Result<(), NodeError> {
        let address = self.hot.config.client_listen.clone();
        let Some(primary) = self.primary() else {
            return Ok(());
        };
        let (epoch, opening) = primary.reign.writer();
        let cleared = primary.reign.cleared();
        let Some(group) = &self.group else {
            return Ok(());
        };
        let Some(protecting) = &group.protecting else {
            return Ok(());
        };
        let evidence = match third {
            Some(mark) => Evidence::ThirdWitness { mark },
            None => Evidence::Operator {
                operator: protecting.operator.clone(),
                reason: protecting.reason.clone(),
            },
        };
        let command = Command::Seize {
            follows: group.highest_holding(),
            nomination: third.and(cleared).map(|cleared| cleared.nomination),
            reign: Reign {
                epoch,
                opening,
                address,
                third,
            },
            set: vec![group.me],
            evidence,
        };
        group.ask(Asker::Protecting(epoch), group.site, command);
        Ok(())
    }

    /// With `auto_failover = "both"` a primary that a member of its set keeps from answering for a
    /// while goes on without the other site, if the third witness gives it the word.
    pub(super) fn watch_auxiliary_site(&mut self) -> Result<(), NodeError> {
        if self.hot.config.auto_failover != AutoFailover::Both {
            return Ok(());
        }
        let Some(group) = &self.group else {
            return Ok(());
        };
        let patience = Duration::from_millis(2 * group.topology.timing.silent_ms);
        let view = group.view();
        let led = view.own.is_some_and(|own| own.leader.is_some());
        let third = view.third.is_some_and(|(_, at)| at.elapsed() < patience);
        let rests = group.alone_rest_until.is_some_and(|t| t > Instant::now());
        if group.protecting.is_some() || rests || !led || !third {
            return Ok(());
        }
        let stalled = match self.primary() {
            Some(primary) => primary.is_kept_waiting(patience),
            None => false,
        };
        if !stalled || !self.authority_is_away() || self.cleared_mark().is_err() {
            return Ok(());
        }
        let reason = "the other site keeps commits waiting".to_owned();
        tracing::error!(%reason, "auto_failover: asks the third witness to go on without the other site");
        if let Some(group) = &mut self.group {
            group.protecting = Some(Protecting {
                answer: None,
                began: Instant::now(),
                reason,
                operator: "auto_failover".to_owned(),
                degraded: None,
            });
        }
        self.leave_other_site()
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
        self.open_in_group(WasRead {
            authority: site,
            epoch: read,
            active: site,
            third: None,
        })
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
        match protecting.and_then(|protecting| protecting.answer) {
            // The asker may have gone away.
            Some(waiting) => drop(waiting.send(answer)),
            None => match answer {
                Answer::Refused { message } => {
                    tracing::warn!(%message, "auto_failover: it does not go on without the other site");
                    if let Some(group) = &mut self.group {
                        group.alone_rest_until = Some(Instant::now() + TRY_AGAIN);
                    }
                }
                other => tracing::info!(?other, "auto_failover"),
            },
        }
    }
}
