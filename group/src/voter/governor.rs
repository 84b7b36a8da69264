//! Who processes for the site: decided by whichever voter leads the register.
//!
//! [`judge`] is pure. A living fit nominee stays; a missing one is replaced by the living fit
//! server that has the most of the log. Where the site needs the other one, because it is the
//! auxiliary or because the other register holds the authority, one that alone has lost that site
//! is missing, too: its commits, its openings or a switch to it would wait for ever.

use std::time::{Duration, Instant};

use crate::port::Beat;
use crate::register::{Command, Nominee, Outcome, SetMember};
use crate::topology::Timing;
use crate::voter::Core;

/// A closed connection counts as a server's death unless another one comes within this time.
const GRACE: Duration = Duration::from_millis(20);
/// A nominee that does not hear the other site is looked at again after this long: that it goes
/// on so is no change that wakes anybody.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A nomination that Raft has not decided for so long is looked at again.
const DECISION_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A server as this voter hears it.
#[derive(Clone, Debug)]
pub(crate) struct Listened {
    pub(crate) beat: Beat,
    pub(crate) silent: Duration,
    /// Since when its connection is closed.
    pub(crate) closed: Option<Duration>,
    /// Its address refuses connections: the process is no more.
    pub(crate) gone: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, until something changes, or until this time at the latest.
    Wait(Option<Duration>),
    /// Another server processes from here on.
    Nominate(SetMember),
}

/// How a server stands.
enum Life {
    /// Alive; looks dead after this time if nothing comes.
    Alive(Duration),
    Dead,
}

impl Listened {
    /// Whether it has not heard the other site for so long that its sessions there have ended.
    fn has_lost_other_site(&self, timing: &Timing) -> bool {
        let silent = self.beat.other_silent_ms;
        silent.is_none_or(|ms| ms >= 2 * timing.silent_ms)
    }

    /// Whether it hears the other site, and has all the time in which another one lost it: a link
    /// that is cut or comes back is noticed by one server before the other.
    fn hears_other_site(&self, timing: &Timing) -> bool {
        let silent = self.beat.other_silent_ms;
        silent.is_some_and(|ms| ms <= gap_max(timing).as_millis() as u64)
            && self.beat.other_heard_for_ms >= 2 * timing.silent_ms
    }

    fn life(&self, timing: &Timing) -> Life {
        let silent_max = Duration::from_millis(timing.silent_ms);
        let left = silent_max.saturating_sub(self.silent);
        let left = match self.closed {
            Some(_) if self.gone => Duration::ZERO,
            Some(closed) => left.min(GRACE.saturating_sub(closed)),
            None => left,
        };
        match left.is_zero() {
            true => Life::Dead,
            false => Life::Alive(left),
        }
    }
}

/// Decides. `away` says whether the other site is needed, `listening` how long
/// this voter has been there to hear anybody, `nominated` how long ago it saw the last nomination.
pub(crate) fn judge(
    (nominee, away): (Option<Nominee>, bool),
    servers: &[Listened],
    listening: Duration,
    nominated: Option<Duration>,
    timing: &Timing,
) -> Verdict {
    let mut again = Duration::MAX;
    let hears = |server: &Listened| {
        let alive = matches!(server.life(timing), Life::Alive(_));
        server.beat.fit && alive && server.hears_other_site(timing)
    };
    let somebody_hears = away && servers.iter().any(hears);
    if let Some(nominee) = nominee {
        let heard = servers.iter().find(|s| s.beat.member.node == nominee.node);
        match heard {
            Some(server) if server.beat.member.incarnation == nominee.incarnation => {
                match server.life(timing) {
                    Life::Alive(left)
                        if server.beat.fit
                            && !(somebody_hears && server.has_lost_other_site(timing)) =>
                    {
                        let quiet = server.beat.other_silent_ms;
                        let soon = quiet.is_none_or(|ms| ms > timing.silent_ms);
                        let left = if soon { left.min(LOOK_AGAIN) } else { left };
                        return Verdict::Wait(Some(left));
                    }
                    _ => {}
                }
            }
            // It has a right to be missed for a while after this voter's own start.
            None => {
                let silent_max = Duration::from_millis(timing.silent_ms);
                let left = silent_max.saturating_sub(listening);
                if !left.is_zero() {
                    return Verdict::Wait(Some(left));
                }
            }
            Some(_) => {}
        }
        let pause = Duration::from_millis(timing.nomination_pause_ms);
        let left = nominated.map_or(Duration::ZERO, |ago| pause.saturating_sub(ago));
        if !left.is_zero() {
            return Verdict::Wait(Some(left));
        }
    }
    let mut best: Option<&Listened> = None;
    for server in servers.iter().filter(|server| server.beat.fit) {
        let Life::Alive(left) = server.life(timing) else {
            continue;
        };
        again = again.min(left);
        let rank = |beat: &Beat| {
            let node = std::cmp::Reverse(beat.member.node);
            (beat.tail.epoch, beat.tail.lsn, node)
        };
        // Who has lost the other site is no better than who is replaced for that.
        let rank = |server: &Listened| {
            let hears = !server.has_lost_other_site(timing) || !somebody_hears;
            (hears, rank(&server.beat))
        };
        if best.is_none_or(|best| rank(server) > rank(best)) {
            best = Some(server);
        }
    }
    match best.map(|server| &server.beat) {
        Some(beat) if nominee.is_none_or(|n| n.member() != beat.member) => {
            Verdict::Nominate(beat.member)
        }
        _ => Verdict::Wait((again != Duration::MAX).then_some(again)),
    }
}

/// Answers of the other site that lie further apart leave a gap.
pub(crate) const fn gap_max(timing: &Timing) -> Duration {
    Duration::from_millis(timing.silent_ms * 3 / 2)
}

/// Looks whenever a server comes or goes, and whenever a time is up.
pub(crate) async fn govern(core: Core) {
    let timing = core.setup.topology.timing;
    let began = Instant::now();
    let mut heard = core.hearing.changes();
    let mut applied = core.store.applied();
    let mut leading = core.raft.server_metrics();
    let mut known = applied.borrow_and_update().register.nominee;
    let mut nominated = None;
    loop {
        let (nominee, away) = {
            let applied = applied.borrow_and_update();
            let register = &applied.register;
            let needs_other = register.active != core.setup.site || !register.holds_authority();
            (register.nominee, needs_other)
        };
        // A server that is nominated anew, for its own opening, is no change.
        if nominee.map(Nominee::member) != known.map(Nominee::member) {
            nominated = Some(Instant::now());
        }
        known = nominee;
        let verdict = match core.leads() {
            true => judge(
                (nominee, away),
                &core.hearing.listened(),
                began.elapsed(),
                nominated.map(|at: Instant| at.elapsed()),
                &timing,
            ),
            // Not the leader, or not certain to be it: the heartbeats will tell.
            false => Verdict::Wait(Some(Duration::from_millis(timing.heartbeat_ms))),
        };
        match verdict {
            Verdict::Nominate(server) => {
                nominate(&core, nominee, server).await;
                if core.store.applied().borrow().register.nominee != nominee {
                    continue;
                }
                // Refused or undecided: not at once again.
                tokio::time::sleep(Duration::from_millis(timing.heartbeat_ms)).await;
            }
            Verdict::Wait(left) => {
                let left = left.unwrap_or(Duration::from_millis(timing.silent_ms));
                let alive = tokio::select! {
                    changed = heard.changed() => changed.is_ok(),
                    changed = applied.changed() => changed.is_ok(),
                    changed = leading.changed() => changed.is_ok(),
                    () = tokio::time::sleep(left) => true,
                };
                if !alive {
                    return;
                }
            }
        }
    }
}

async fn nominate(core: &Core, nominee: Option<Nominee>, server: SetMember) {
    let command = Command::Nominate {
        replaces: nominee.map_or(0, |nominee| nominee.number),
        node: server.node,
        incarnation: server.incarnation,
    };
    let decided = tokio::time::timeout(DECISION_TIMEOUT, core.raft.client_write(command)).await;
    match decided {
        Ok(Ok(response)) => match response.data {
            Some(Outcome::Done(register)) => tracing::info!(
                node = %server.node, number = register.nominee.map(|n| n.number),
                before = nominee.map(|n| n.node.get()), "a server was nominated"
            ),
            other => tracing::info!(?other, "a nomination was refused"),
        },
        Ok(Err(error)) => tracing::info!(%error, "a nomination was not decided"),
        Err(_) => tracing::info!("a nomination was not decided in time"),
    }
}

#[cfg(test)]
mod tests {
    use kanjo_format::{ClusterId, Epoch, Incarnation, Lsn, NodeId, Tail};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn server(node: u32, lsn: u64) -> Listened {
        let member = SetMember {
            node: NodeId::new(node),
            incarnation: Incarnation::new(node.into()),
        };
        let tail = Tail {
            epoch: Epoch::from_terms(1, 1),
            lsn: Lsn::new(lsn),
            ..Tail::empty(ClusterId::new(1))
        };
        let beat = Beat {
            member,
            tail,
            committed: Lsn::ZERO,
            applied: Lsn::ZERO,
            role: "replica".to_owned(),
            writes: None,
            serving: false,
            why_not_serving: String::new(),
            fit: true,
            other_silent_ms: Some(0),
            other_heard_for_ms: 60_000,
        };
        Listened {
            beat,
            silent: Duration::ZERO,
            closed: None,
            gone: false,
        }
    }

    fn nominee(node: u32) -> Option<Nominee> {
        Some(Nominee {
            node: NodeId::new(node),
            incarnation: Incarnation::new(node.into()),
            number: 1,
        })
    }

    fn decide(nominee: Option<Nominee>, servers: &[Listened]) -> Verdict {
        judge(
            (nominee, true),
            servers,
            LONG,
            Some(LONG),
            &Timing::default(),
        )
    }

    fn nominates(verdict: Verdict, node: u32) {
        match verdict {
            Verdict::Nominate(member) => assert_eq!(member.node, NodeId::new(node)),
            Verdict::Wait(_) => panic!("nobody was nominated"),
        }
    }

    #[test]
    fn the_longest_log_is_nominated_and_the_lowest_node_among_equals() {
        nominates(decide(None, &[server(1, 8), server(2, 9)]), 2);
        nominates(decide(None, &[server(2, 9), server(1, 9)]), 1);
        assert_eq!(decide(None, &[]), Verdict::Wait(None));
    }

    #[test]
    fn a_living_fit_nominee_stays_though_another_log_is_longer() {
        let verdict = decide(nominee(1), &[server(1, 1), server(2, 9)]);
        assert!(matches!(verdict, Verdict::Wait(Some(_))));
        let mut unfit = server(1, 1);
        unfit.beat.fit = false;
        nominates(decide(nominee(1), &[unfit, server(2, 1)]), 2);
    }

    #[test]
    fn a_closed_connection_counts_after_the_grace_and_a_refused_one_at_once() {
        let mut dead = server(1, 9);
        dead.closed = Some(Duration::from_millis(1));
        let servers = [dead.clone(), server(2, 1)];
        let verdict = decide(nominee(1), &servers);
        assert_eq!(
            verdict,
            Verdict::Wait(Some(GRACE - Duration::from_millis(1)))
        );
        dead.closed = Some(GRACE);
        nominates(decide(nominee(1), &[dead.clone(), server(2, 1)]), 2);
        (dead.closed, dead.gone) = (Some(Duration::ZERO), true);
        nominates(decide(nominee(1), &[dead.clone(), server(2, 1)]), 2);
        assert_eq!(
            decide(nominee(1), &[dead]),
            Verdict::Wait(None),
            "nobody else"
        );
    }

    #[test]
    fn silence_counts_after_its_time() {
        let mut silent = server(1, 9);
        silent.silent = Duration::from_millis(900);
        let verdict = decide(nominee(1), &[silent.clone(), server(2, 1)]);
        assert_eq!(verdict, Verdict::Wait(Some(Duration::from_millis(100))));
        silent.silent = Duration::from_millis(1_000);
        nominates(decide(nominee(1), &[silent, server(2, 1)]), 2);
    }

    #[test]
    fn nominations_keep_their_pause_but_for_the_first() {
        let (ago, timing) = (Some(Duration::from_millis(400)), Timing::default());
        let servers = [server(2, 1)];
        let verdict = judge((nominee(1), true), &servers, LONG, ago, &timing);
        assert_eq!(verdict, Verdict::Wait(Some(Duration::from_millis(600))));
        nominates(judge((None, true), &servers, LONG, ago, &timing), 2);
    }

    #[test]
    fn a_nominee_is_missed_only_by_who_has_listened_long_enough() {
        let (short, timing) = (Duration::from_millis(300), Timing::default());
        let servers = [server(2, 1)];
        let verdict = judge((nominee(1), true), &servers, short, None, &timing);
        assert_eq!(verdict, Verdict::Wait(Some(Duration::from_millis(700))));
        nominates(judge((nominee(1), true), &servers, LONG, None, &timing), 2);
    }

    #[test]
    fn a_nominee_that_alone_has_lost_the_other_site_is_replaced() {
        let silent = |node, ms: Option<u64>| {
            let mut server = server(node, 9);
            server.beat.other_silent_ms = ms;
            server.beat.other_heard_for_ms = if ms.is_some() { 60_000 } else { 0 };
            server
        };
        let wait = |first, second| {
            let servers = [silent(1, first), silent(2, second)];
            matches!(decide(nominee(1), &servers), Verdict::Wait(_))
        };
        let servers = [silent(1, Some(2_000)), silent(2, Some(40))];
        nominates(decide(nominee(1), &servers), 2);
        assert!(wait(Some(1_900), Some(40)), "not yet");
        assert!(wait(Some(9_000), Some(8_800)), "the link is cut for both");
        assert!(wait(Some(2_000), Some(1_700)), "the other one a bit later");
        assert!(wait(None, None), "nobody ever heard it");
        let mut back = silent(2, Some(40));
        back.beat.other_heard_for_ms = 1_900;
        let verdict = decide(nominee(1), &[silent(1, Some(2_000)), back]);
        assert!(matches!(verdict, Verdict::Wait(_)), "the link comes back");
        // The own register holds the authority: the other site is not needed.
        let servers = [silent(1, Some(2_000)), silent(2, Some(40))];
        let (here, timing) = ((nominee(1), false), Timing::default());
        let verdict = judge(here, &servers, LONG, Some(LONG), &timing);
        assert!(matches!(verdict, Verdict::Wait(_)), "one site only");
        // Of those who could follow a dead nominee the one that hears counts.
        let servers = [silent(2, Some(40)), silent(3, None)];
        nominates(decide(nominee(1), &servers), 2);
    }

    #[test]
    fn a_wiped_nominee_is_somebody_else() {
        let mut wiped = server(1, 0);
        wiped.beat.member.incarnation = Incarnation::new(99);
        nominates(decide(nominee(1), &[wiped.clone(), server(2, 1)]), 2);
        nominates(decide(nominee(1), &[wiped]), 1);
    }
}
