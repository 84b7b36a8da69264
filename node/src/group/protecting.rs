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
    /// Who waits for the end; nobody where the primary does it by itself.
    answer: Option<oneshot::Sender<Answer>>,
    by_operator: bool,
    began: Instant,
    reason: String,
    operator: String,
    stage: Stage,
    /// An operator's word to answer alone; without it nothing is answered that no other server of
    /// the own site has.
    pub(super) degraded: Option<Degraded>,
}

/// How far it is.
#[derive(Clone, Debug)]
enum Stage {
    /// The third witness is asked for its word.
    Asking,
    /// The own site's register is asked to take the authority: until it has decided. Once an answer
    /// was unknown, only a decision ends it.
    Seizing {
        command: Box<Command>,
        unknown: bool,
    },
    /// The authority is here, or is about to be: an epoch is to be opened.
    Opening,
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
        if group.protecting.as_ref().is_some_and(|p| p.by_operator) {
            return Err("such a change is under way already".to_owned());
        }
        let by_third = group.topology.third_witness.is_some();
        let attached = self.authority_is_away();
        if attached && by_third {
            self.cleared_mark()?;
        }
        // With a third witness its word decides, whatever a part of the other site still says.
        let answers = match by_third {
            true => group_leads(self.group.as_ref()),
            false => self.other_heard_within(SILENT_FOR),
        };
        if attached && answers {
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
            Some(primary) => primary.reign.is_away(),
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
        // What the primary does by itself goes on, with the operator's word to it.
        let under_way = group.protecting.take().map(|protecting| protecting.stage);
        let stage = match (attached, under_way) {
            (true, Some(stage)) => Some(stage),
            (true, None) => None,
            (false, _) => Some(Stage::Opening),
        };
        group.protecting = Some(Protecting {
            answer: Some(answer),
            by_operator: true,
            began: Instant::now(),
            reason: options.reason.clone(),
            operator: options.operator.clone(),
            stage: stage.clone().unwrap_or(Stage::Asking),
            degraded: Some(degraded),
        });
        match stage {
            None => self.leave_other_site(),
            Some(_) => Ok(()),
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

    /// What this reign noted of the third witness, if its word is of use here: the register carries
    /// out no seizure but that of the server that was nominated last.
    fn cleared_mark(&mut self) -> Result<ThirdMark, String> {
        let cleared = self.primary().and_then(|primary| primary.reign.cleared());
        let nominee = self.group.as_ref().and_then(super::Group::nominee);
        let Some((mark, nomination)) = cleared.and_then(|c| Some((c.mark?, c.nomination))) else {
            return Err(
                "the third witness was silent when this epoch was opened, and knows nothing of it: \
                 without its word nobody goes on without the other site"
                    .to_owned(),
            );
        };
        match nominee.is_some_and(|nominee| nominee.number == nomination) {
            true => Ok(mark),
            false => Err(
                "another server of this site was chosen to process since this epoch was opened: \
                 this one may not go on without the other site"
                    .to_owned(),
            ),
        }
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
        let Some(group) = &self.group else {
            return Ok(());
        };
        let (site, protecting) = (group.site, group.protecting.as_ref());
        if !protecting.is_some_and(|p| matches!(p.stage, Stage::Asking)) {
            // The other site came back before the word did. It is not used; the next opening notes
            // it.
            tracing::info!(
                ?reply,
                "the third witness answers what need not be asked any more"
            );
            return Ok(());
        }
        let same = self.primary().is_some_and(|p| p.reign.epoch() == epoch);
        let follows = self.cleared_mark();
        let message = match reply {
            ThirdReply::Stands { third } => match follows {
                Ok(follows) if same && third.has_given(follows, site) => {
                    return self.seize(Some(third.mark));
                }
                Ok(_) if same => "the third witness answered another question".to_owned(),
                Err(why) if same => why,
                _ => "another epoch was opened meanwhile".to_owned(),
            },
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
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let follows = group.highest_holding();
        let (me, site) = (group.me, group.site);
        let Some(protecting) = &mut group.protecting else {
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
            follows,
            nomination: third.and(cleared).map(|cleared| cleared.nomination),
            reign: Reign {
                epoch,
                opening,
                address,
                third,
            },
            set: vec![me],
            evidence,
        };
        protecting.stage = Stage::Seizing {
            command: Box::new(command.clone()),
            unknown: false,
        };
        group.ask(Asker::Protecting(epoch), site, command);
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
                by_operator: false,
                began: Instant::now(),
                reason,
                operator: "auto_failover".to_owned(),
                stage: Stage::Asking,
                degraded: None,
            });
        }
        self.leave_other_site()
    }

    /// The own register answered whether it takes the authority.
    pub(super) fn seized(&mut self, epoch: Epoch, reply: Reply) -> Result<(), NodeError> {
        let same = self.primary().is_some_and(|p| p.reign.epoch() == epoch);
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let Some(protecting) = &mut group.protecting else {
            return Ok(());
        };
        let Stage::Seizing { command, unknown } = &mut protecting.stage else {
            return Ok(());
        };
        let why = match reply {
            _ if !same => "another epoch was opened meanwhile".to_owned(),
            Reply::Outcome {
                outcome: Outcome::Done(_),
            } => {
                protecting.stage = Stage::Opening;
                // What comes now has its own time.
                protecting.began = Instant::now();
                return self.reopen_alone();
            }
            Reply::Outcome {
                outcome: Outcome::Refused { why, .. },
            } => why.to_string(),
            Reply::Unreachable { why } if !*unknown => {
                format!("this site's register did not decide: {why}; say it again")
            }
            // It may hold the authority by now: nothing else is done before that is known.
            Reply::Unknown { .. } | Reply::Unreachable { .. } => {
                *unknown = true;
                let command = Command::clone(command);
                group.ask_again(Asker::Protecting(epoch), group.site, command);
                return Ok(());
            }
            Reply::Report { .. } => "the register answered another question".to_owned(),
        };
        self.end_protecting(Answer::Refused { message: why });
        Ok(())
    }

    /// Opens the next epoch in the own site's register, which names this server alone.
    pub(crate) fn reopen_alone(&mut self) -> Result<(), NodeError> {
        let epoch = self.primary().map(|primary| primary.reign.epoch());
        let site = self.group.as_ref().map(|group| group.site);
        let (Some(epoch), Some(site)) = (epoch, site) else {
            return Ok(());
        };
        self.reopen(WasRead {
            authority: site,
            epoch,
            active: site,
            third: None,
            given_away: false,
        })
    }

    /// Ends this reign and opens the next one.
    pub(super) fn reopen(&mut self, read: WasRead) -> Result<(), NodeError> {
        let cleared = self.primary().and_then(|primary| primary.reign.cleared());
        if let Some(mut primary) = self.primary() {
            primary.give_up(ClientOutcome::Indeterminate);
        }
        let last = self.group.as_ref().and_then(super::Group::nominee);
        let last = last.map_or(0, |nominee| nominee.number);
        self.open_in_group(read, cleared.map_or(0, |c| c.nomination).max(last))
    }

    pub(super) fn answer_protecting(&mut self) {
        let Some(protecting) = self.group.as_ref().and_then(|g| g.protecting.as_ref()) else {
            return;
        };
        let late = protecting.began.elapsed() >= CHANGE_MAX;
        let seizing = matches!(protecting.stage, Stage::Seizing { .. });
        let standing = self.standing();
        if standing.serving && !seizing {
            let epoch = self.hot.store.dir.control().granted_epoch;
            self.end_protecting(Answer::Done {
                message: format!("serving in epoch {epoch}, {}", standing.protection),
            });
        } else if late && seizing {
            let answer = self
                .group
                .as_mut()
                .and_then(|g| g.protecting.as_mut()?.answer.take());
            if let Some(answer) = answer {
                let message = "not decided so far: this site's register does not say whether it has taken the authority. It is asked until it does; then it goes on as you said".to_owned();
                // The asker may have gone away.
                let _ = answer.send(Answer::Refused { message });
            }
        } else if late {
            let message = format!("not serving so far: {}", standing.why_not_serving);
            self.end_protecting(Answer::Refused { message });
        }
    }

    fn end_protecting(&mut self, answer: Answer) {
        let Some(group) = &mut self.group else {
            return;
        };
        let Some(protecting) = group.protecting.take() else {
            return;
        };
        if let Some(waiting) = protecting.answer {
            // The asker may have gone away.
            let _ = waiting.send(answer);
            return;
        }
        match (protecting.stage, answer) {
            (Stage::Opening, answer) => {
                tracing::info!(?answer, "this site has gone on without the other one");
            }
            (Stage::Asking | Stage::Seizing { .. }, Answer::Refused { message }) => {
                tracing::warn!(%message, "this site does not go on without the other one");
                group.alone_rest_until = Some(Instant::now() + TRY_AGAIN);
            }
            (_, answer) => tracing::info!(?answer, "the other site need not be gone on without"),
        }
    }
}

/// Whether the other site's register has a majority, as far as is known here.
fn group_leads(group: Option<&super::Group>) -> bool {
    group.is_some_and(super::Group::other_has_majority)
}
