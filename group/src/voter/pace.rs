//! When to send heartbeats, and when to ask to lead.
//!
//! Raft's library has one election time-out for all voters and no idea of a closed connection,
//! so that its timers are off and its elections are called from here. A witness asks first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kanjo_format::NodeId;
use openraft::ServerState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::topology::Timing;
use crate::voter::Core;
use crate::voter::setup::Setup;

/// Heartbeats do not come to all voters at the same time, nor do leases end.
const SKEW: Duration = Duration::from_millis(5);
/// Between voters that all know the leader to be dead: two that ask at the same time take longer.
/// A vote is on the disk of two by then, even where disks have much to do.
const STAGGER: Duration = Duration::from_millis(40);
/// A voter that was denied asks again after this, then twice as long and so on.
const RETRY: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(1_000);

/// What this voter hears of a leader.
#[derive(Debug)]
pub(crate) struct Pulse {
    state: Mutex<Heard>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// A word from a leader, or a vote given to somebody who wants to become it.
    word: Instant,
    leader: Instant,
    /// The leader's connection is closed, and nothing came since.
    closed: bool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let (now, (changed, _)) = (Instant::now(), watch::channel(()));
        let state = Mutex::new(Heard {
            word: now,
            leader: now,
            closed: false,
        });
        Self { state, changed }
    }

    pub(crate) fn hear_leader(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        (state.word, state.leader, state.closed) = (now, now, false);
    }

    pub(crate) fn vote(&self) {
        let mut state = self.lock();
        (state.word, state.closed) = (Instant::now(), false);
    }

    pub(crate) fn leader_closed(&self) {
        self.lock().closed = true;
        self.changed.send_replace(());
    }

    /// Whether the leader spoke within that time and its connection stands.
    pub(crate) fn leader_within(&self, time: Duration) -> bool {
        let state = self.lock();
        !state.closed && state.leader.elapsed() <= time
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long this voter waits before it asks to lead.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Nobody is voted for earlier.
    lease: Duration,
    /// Beyond that, if the leader is only silent.
    silent: Duration,
    /// Beyond that, if the leader's connection is closed.
    closed: Duration,
}

impl Patience {
    /// `place` counts who goes before: the witness, then servers by number.
    fn new(timing: &Timing, place: u32) -> Self {
        let lease = Duration::from_millis(timing.election_ms);
        Self {
            lease,
            silent: lease + lease * place / 2,
            closed: SKEW + STAGGER * place,
        }
    }

    fn due(&self, word: Instant, closed: bool, tried: Option<(Instant, u32)>) -> Instant {
        let more = if closed { self.closed } else { self.silent };
        let due = word + self.lease + more;
        match tried {
            Some((at, times)) => {
                let pause = RETRY * 2u32.saturating_pow(times.min(8));
                due.max(at + pause.min(RETRY_MAX) + more)
            }
            None => due,
        }
    }
}

/// How many voters go before this one, where `dead` was the leader.
fn place(setup: &Setup, dead: Option<NodeId>) -> u32 {
    let rank = |node, witness: bool| (!witness, node);
    let own = rank(setup.node, setup.witness);
    let voters = setup.topology.voters_of(setup.site);
    let before =
        voters.filter(|(node, _, witness)| Some(*node) != dead && rank(*node, *witness) < own);
    before.fold(0, |count, _| count + 1)
}

/// Asks to lead whenever it is due.
pub(crate) async fn elect(core: Core) {
    let timing = &core.setup.topology.timing;
    let mut led = None;
    let mut changed = core.pulse.changed.subscribe();
    let mut metrics = core.raft.server_metrics();
    let mut tried: Option<(Instant, u32)> = None;
    loop {
        let (state, alone) = {
            let now = metrics.borrow_and_update();
            let voters = now.membership_config.voter_ids();
            let known = now.membership_config.membership();
            let leader = now.current_leader.and_then(|id| known.get_node(&id));
            led = leader.map(|leader| leader.node).or(led);
            (now.state, voters.count() == 1)
        };
        let patience = Patience::new(timing, place(&core.setup, led));
        let heard = *core.pulse.lock();
        if tried.is_some_and(|(at, _)| heard.leader > at) || state == ServerState::Leader {
            tried = None;
        }
        let due = match state {
            ServerState::Follower | ServerState::Candidate if alone => tried
                .map_or_else(Instant::now, |(at, times)| {
                    patience.due(at, true, Some((at, times)))
                }),
            ServerState::Follower | ServerState::Candidate => {
                patience.due(heard.word, heard.closed, tried)
            }
            // A leader leads, and a learner may not.
            _ => {
                if metrics.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let alive = tokio::select! {
            _ = changed.changed() => true,
            turned = metrics.changed() => turned.is_ok(),
            // Words that come meanwhile wake nobody: they only make it later.
            () = tokio::time::sleep_until(due.into()) => {
                if core.pulse.lock().word > heard.word {
                    continue;
                }
                tried = Some((Instant::now(), tried.map_or(0, |(_, times)| times + 1)));
                tracing::debug!(silent = ?heard.leader.elapsed(), closed = heard.closed, "asking to lead");
                core.raft.trigger().elect().await.is_ok()
            }
        };
        if !alive {
            return;
        }
    }
}

/// Sends a heartbeat whenever it is due.
pub(crate) async fn beat(core: Core) {
    let every = Duration::from_millis(core.setup.topology.timing.heartbeat_ms);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let metrics = core.raft.server_metrics();
    loop {
        ticks.tick().await;
        let leads = metrics.borrow().state == ServerState::Leader;
        if leads && core.raft.trigger().heartbeat().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_voter_asks_after_the_other_and_nobody_before_the_lease_is_over() {
        let timing = Timing::default();
        let lease = Duration::from_millis(timing.election_ms);
        let patience = [0, 1, 2].map(|place| Patience::new(&timing, place));
        let now = Instant::now();
        for closed in [true, false] {
            let due = patience.map(|p| p.due(now, closed, None));
            assert!(due.is_sorted() && due[0] != due[1] && due[1] != due[2]);
            assert!(due[0] >= now + lease);
        }
        assert_eq!(patience[0].due(now, true, None), now + lease + SKEW);
    }

    #[test]
    fn who_is_denied_asks_again_soon_and_then_seldom() {
        let patience = Patience::new(&Timing::default(), 0);
        let long_ago = Instant::now();
        let now = long_ago + Duration::from_secs(9);
        let again = |times| patience.due(long_ago, true, Some((now, times))) - now - SKEW;
        assert_eq!(again(0), RETRY);
        assert_eq!(again(1), RETRY * 2);
        assert_eq!(again(1_000), RETRY_MAX);
    }
}
