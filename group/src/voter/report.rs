//! The own site as this voter knows it, for the view and for whoever asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::port::{SiteReport, VoterSeen};
use crate::voter::{Core, Shared};

/// The view is at most this old.
const FRESH: Duration = Duration::from_millis(100);

impl Shared {
    pub(crate) fn report(&self) -> SiteReport {
        let applied = self.store.applied();
        let machine = applied.borrow();
        let voters = machine.voters().map(|voter| VoterSeen {
            node: voter.node,
            incarnation: voter.incarnation,
            witness: voter.witness,
            answers: voter.node == self.setup.node
                || self
                    .contacts
                    .heard_within(voter.member(), self.setup.lost()),
        });
        SiteReport {
            voters: voters.collect(),
            register: machine.register.clone(),
            leader: self.leader(),
            servers: self.hearing.seen(),
            elections: self.elections.load(Ordering::Relaxed),
        }
    }
}

/// Publishes the own site whenever the register, its leader or its servers change.
pub(crate) async fn publish(core: Core) {
    let mut applied = core.store.applied();
    let mut heard = core.hearing.changes();
    let mut metrics = core.raft.metrics();
    let mut ticks = tokio::time::interval(FRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut shown, mut last) = (None, None);
    loop {
        let leader = core.leader();
        if leader.is_some() && leader != last {
            if last.is_some() {
                core.elections.fetch_add(1, Ordering::Relaxed);
            }
            last = leader;
            tracing::info!(?leader, "the register has a leader");
        }
        if leader.is_none() && shown.is_some() {
            tracing::warn!("the register has no leader that a majority hears");
        }
        shown = leader;
        applied.borrow_and_update();
        let own = Some(core.report());
        core.view.send_modify(|view| view.own = own);
        // Raft turns its metrics with every message; only another leader is worth a look.
        let alive = loop {
            break tokio::select! {
                changed = applied.changed() => changed.is_ok(),
                changed = heard.changed() => changed.is_ok(),
                changed = metrics.changed() => match changed {
                    Ok(()) if core.leader() == shown => continue,
                    changed => changed.is_ok(),
                },
                _ = ticks.tick() => true,
            };
        };
        if !alive {
            return;
        }
    }
}
