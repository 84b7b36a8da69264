//! Whether this server hears the other site, and for how long it has without a gap.
//!
//! Questions to the other site's register go to one voter after the other, and wait for those that
//! are silent. Where nothing was heard for a moment all its voters are asked at once, so that a
//! gap means that none of them can be reached.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::port::{Beat, Question};
use crate::voter::Core;
use crate::voter::link::Target;
use crate::voter::wire::{Purpose, Request};

/// Nothing for so long, and all are asked.
const QUIET: Duration = Duration::from_millis(400);
/// Between two such rounds, which an answer must come within.
const ROUND: Duration = Duration::from_millis(300);

/// Since when something comes from the other site, and when it came last.
#[derive(Debug, Default)]
pub(crate) struct Sight(Mutex<Option<(Instant, Instant)>>);

impl Sight {
    /// A voter of the other site answered. After a gap it is a new beginning.
    pub(crate) fn hear(&self, gap_max: Duration) {
        let now = Instant::now();
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *sight {
            Some((since, last)) if last + gap_max >= now => since,
            _ => now,
        };
        *sight = Some((since, now));
    }

    /// How long nothing came, and how long before that something did.
    fn times(&self) -> Option<(Duration, Duration)> {
        let sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sight.map(|(since, last)| (last.elapsed(), last - since))
    }

    /// Says in a beat how it is.
    pub(crate) fn fill(&self, beat: &mut Beat) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = self.times();
        beat.other_silent_ms = times.map(|(silent, _)| millis(silent));
        beat.other_heard_for_ms = times.map_or(0, |(_, heard)| millis(heard));
    }
}

/// Asks all voters of the other site whenever it has become quiet.
pub(crate) async fn look_out(core: Core) {
    let other = core.setup.site.other();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let quiet = core.links.sight().times();
        if quiet.is_some_and(|(silent, _)| silent < QUIET) {
            continue;
        }
        for (node, address, _) in core.setup.topology.voters_of(other) {
            let link = core.links.to(Target {
                site: other,
                node,
                address: address.to_owned(),
                purpose: Purpose::Ask,
                incarnation: None,
            });
            tokio::spawn(async move {
                let question = Question::Read;
                // Its answer is noted where it arrives.
                let _ = timeout(2 * ROUND, link.call(Request::Ask { question })).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_what_was_heard_before_it() {
        let (sight, pause) = (Sight::default(), Duration::from_millis(5));
        assert!(sight.times().is_none());
        sight.hear(Duration::MAX / 4);
        std::thread::sleep(pause);
        sight.hear(Duration::from_secs(60));
        let (_, heard) = sight.times().unwrap();
        assert!(heard >= pause, "{heard:?}");
        std::thread::sleep(pause);
        assert!(sight.times().unwrap().0 >= pause);
        sight.hear(pause / 2);
        assert_eq!(sight.times().unwrap().1, Duration::ZERO);
    }
}
