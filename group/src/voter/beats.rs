//! Tells the voters of the own site about the server of this process.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::port::{Beat, Told};
use crate::voter::Core;
use crate::voter::hearing::differs;
use crate::voter::link::Target;
use crate::voter::wire::{Purpose, Request};

/// Starts one task a voter; each goes on until the server has no port any more.
pub(crate) fn tell_all(core: &Core, beats: &watch::Receiver<Option<Told>>) {
    let setup = &core.setup;
    tokio::spawn(tell_here(core.clone(), beats.clone()));
    for (node, address, _) in setup.topology.voters_of(setup.site) {
        if node == setup.node {
            continue;
        }
        let target = Target {
            site: setup.site,
            node,
            address: address.to_owned(),
            purpose: Purpose::Beat,
            incarnation: None,
        };
        tokio::spawn(tell(core.clone(), beats.clone(), target));
    }
}

async fn tell(core: Core, beats: watch::Receiver<Option<Told>>, target: Target) {
    let link = core.links.to(target);
    let mut due = Due::new(&core, beats);
    while let Some(mut beat) = due.next().await {
        core.links.sight().fill(&mut beat);
        // A voter that is not there is told again at the next beat.
        let _ = link.call(Request::Beat { beat }).await;
    }
}

/// The own voter needs no connection.
async fn tell_here(core: Core, beats: watch::Receiver<Option<Told>>) {
    let seat = core.hearing.open(core.setup.node);
    let mut due = Due::new(&core, beats);
    while let Some(mut beat) = due.next().await {
        core.links.sight().fill(&mut beat);
        core.hearing.hear(seat, beat);
    }
    core.hearing.close(seat);
}

/// When what is to be told.
struct Due {
    beats: watch::Receiver<Option<Told>>,
    every: Duration,
    told: Option<(Beat, Instant)>,
}

impl Due {
    fn new(core: &Core, beats: watch::Receiver<Option<Told>>) -> Self {
        Self {
            beats,
            every: Duration::from_millis(core.setup.topology.timing.heartbeat_ms),
            told: None,
        }
    }

    /// The next beat: at once if it says something new, else when one is due.
    async fn next(&mut self) -> Option<Beat> {
        loop {
            let now = self.beats.borrow_and_update().clone();
            let counts = |told: &Told| {
                told.until
                    .is_none_or(|until| until > std::time::Instant::now())
            };
            let due = match (&self.told, now.filter(counts)) {
                (Some((told, at)), Some(now)) if !differs(told, &now.beat) => {
                    Some(*at + self.every)
                }
                (_, Some(_)) => Some(Instant::now()),
                (_, None) => None,
            };
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = wait => {
                    let Told { beat, .. } = self.beats.borrow().clone()?;
                    self.told = Some((beat.clone(), Instant::now()));
                    return Some(beat);
                }
                changed = self.beats.changed() => changed.ok()?,
            }
        }
    }
}
