//! A planned switch: drain, then hand the authority over to the other site.

use std::time::{Duration, Instant};

use kanjo_group::{Command, SetMember};
use tokio::sync::oneshot;

use super::{Primary, Reign};
use crate::admin::Answer;
use crate::error::NodeError;
use crate::status::SwitchStage;

/// How long what is under way may take to commit before a planned switch is given up.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long a register may be without a leader before a planned switch is given up.
const LEADERS_MAX: Duration = Duration::from_secs(2);

/// After this long the operator of a switch that nobody decides is told so.
const IN_DOUBT: Duration = Duration::from_secs(8);

/// A planned switch.
pub(crate) struct Switching {
    pub(crate) answer: Option<oneshot::Sender<Answer>>,
    pub(crate) began: Instant,
    /// Since when nothing new is executed; before that a change of the set is brought to its end.
    pub(crate) draining: Option<Instant>,
    /// Everything that was executed is committed, and the authority is on its way.
    pub(super) moving: bool,
}

impl Reign {
    /// The planned switch that was under way, when the reign has ended.
    pub(crate) fn take_switch(&mut self) -> Option<Switching> {
        self.grouped.as_mut()?.switching.take()
    }

    /// How far a planned switch is.
    pub(super) fn switch_stage(&self) -> Option<SwitchStage> {
        let grouped = self.grouped.as_ref()?;
        let switching = grouped.switching.as_ref()?;
        if !switching.moving {
            return Some(match switching.draining {
                None => SwitchStage::Settling,
                Some(_) => SwitchStage::Draining,
            });
        }
        // What the membership waits for tells how far the move is.
        Some(match grouped.membership.ask_again() {
            Some((_, Command::Prepare { .. })) => SwitchStage::Preparing,
            Some((_, Command::HandOver { .. })) => SwitchStage::HandingOver,
            Some((_, Command::Activate(_))) => SwitchStage::Activating,
            _ => SwitchStage::Opening,
        })
    }
}

impl Primary<'_> {
    /// Begins to hand over to the other site; the answer comes when its epoch is open.
    pub(crate) fn begin_switch(&mut self, answer: oneshot::Sender<Answer>) {
        match self.may_switch() {
            Err(message) => {
                // The asker may have gone away.
                let _ = answer.send(Answer::Refused { message });
            }
            Ok(()) => {
                tracing::info!(
                    "planned switch: nothing new is executed until the other site serves"
                );
                if let Some(grouped) = &mut self.reign.grouped {
                    grouped.switching = Some(Switching {
                        answer: Some(answer),
                        began: Instant::now(),
                        draining: None,
                        moving: false,
                    });
                }
            }
        }
    }

    /// What has to hold before anything is given up: lag, chain, a server that can take over.
    fn may_switch(&self) -> Result<(), String> {
        let (Some(grouped), Some(group)) = (&self.reign.grouped, &self.group) else {
            return Err("this node is no server of a group: use `kanjo promote`".to_owned());
        };
        if grouped.switching.is_some() {
            return Err("a switch is under way already".to_owned());
        }
        if !grouped.membership.is_attached() {
            return Err("no auxiliary site is attached: there is nobody to switch to".to_owned());
        }
        if !self.can_serve() {
            return Err("this server cannot commit at the moment: a planned switch would lose what waits; see `kanjo status`".to_owned());
        }
        let view = group.view();
        let Some((other, _)) = &view.other else {
            return Err("the other site's register was never heard".to_owned());
        };
        let nominee = other.register.nominee;
        let ready = nominee.is_some_and(|nominee| {
            grouped
                .membership
                .others()
                .any(|m| m.node == nominee.node && m.incarnation == nominee.incarnation)
        });
        match ready {
            true => Ok(()),
            false => Err(
                "the server that processes for the other site is not in the in-sync set".to_owned(),
            ),
        }
    }

    /// Moves the authority once everything that was executed is committed.
    pub(super) fn drain_on(&mut self) -> Result<(), NodeError> {
        let tail = self.hot.store.log.tail().lsn;
        let Some(grouped) = &mut self.reign.grouped else {
            return Ok(());
        };
        let settled = grouped.membership.is_settled();
        let led = self.group.as_ref().is_some_and(|group| group.both_lead());
        let Some(switching) = &mut grouped.switching else {
            return Ok(());
        };
        if switching.moving {
            return Ok(());
        }
        if settled && led && switching.draining.is_none() {
            switching.draining = Some(Instant::now());
        }
        let began = switching.began;
        if switching.draining.is_none() {
            // A register that changes its leader, as the set that is being changed, is waited for
            // while everything goes on.
            if !led && began.elapsed() >= LEADERS_MAX {
                self.switch_failed("one of the registers has no majority");
            } else if began.elapsed() >= DRAIN_MAX {
                self.switch_failed("a change of the in-sync set does not come to its end");
            }
            return Ok(());
        }
        if self.reign.gate.committed() < tail || self.hot.store.syncer.synced() < tail {
            if began.elapsed() >= DRAIN_MAX {
                self.switch_failed("what was under way did not commit in time");
            }
            return Ok(());
        }
        let own_site = self.peers_now().into_iter();
        let own_site = own_site.filter(|p| p.site == self.site() && p.has_all && p.away.is_none());
        let Some(group) = &self.group else {
            return Ok(());
        };
        let set: Vec<SetMember> = std::iter::once(group.me)
            .chain(own_site.map(|p| p.member))
            .collect();
        let Some(grouped) = &mut self.reign.grouped else {
            return Ok(());
        };
        match grouped.membership.switch_away(set) {
            Ok(act) => {
                if let Some(switching) = &mut grouped.switching {
                    switching.moving = true;
                }
                self.carry_out(vec![act])
            }
            Err(why) => {
                self.switch_failed(&why);
                Ok(())
            }
        }
    }

    /// A register that falls silent in the middle of a switch leaves it undecided for as long as
    /// it is silent: the operator need not wait for that.
    pub(super) fn tell_doubt(&mut self) {
        let grouped = self.reign.grouped.as_mut();
        let switching = grouped.and_then(|grouped| grouped.switching.as_mut());
        let late = switching.filter(|s| s.moving && s.began.elapsed() >= IN_DOUBT);
        if let Some(answer) = late.and_then(|switching| switching.answer.take()) {
            let message = "not decided: a register that has to agree does not answer. Nothing is executed until it does; then the switch ends by itself, here or in the other site. `kanjo status` shows where".to_owned();
            tracing::warn!("{message}");
            // The asker may have gone away.
            let _ = answer.send(Answer::Refused { message });
        }
    }

    pub(super) fn switch_failed(&mut self, why: &str) {
        let switching = self.reign.grouped.as_mut().and_then(|g| g.switching.take());
        if let Some(answer) = switching.and_then(|s| s.answer) {
            tracing::warn!(%why, "planned switch given up: this server goes on");
            // The asker may have gone away.
            let _ = answer.send(Answer::Refused {
                message: format!("not switched, this server goes on: {why}"),
            });
        }
    }
}
