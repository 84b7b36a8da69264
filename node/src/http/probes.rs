//! What a probe is answered, from what the hot thread told last. Pure: times are numbers.
//!
//! A probe that says yes holds at this moment, so what is told counts only while the hot thread
//! turns, and a peer only while it is heard.

use std::borrow::Cow;
use std::time::Duration;

use kanjo_format::NodeId;
use kanjo_format::limits::APPLY_LAG_BYTES_MAX;

use crate::published::{Role, Snapshot};

/// Without a turn of the hot thread for so long the node counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(5);
/// What the hot thread told counts no longer than this without a turn.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// A peer that is silent for so many heartbeats is not counted on.
const HEARTBEATS_MISSED_MAX: u32 = 6;
/// But never sooner than this: a busy machine is late without being gone.
const SILENT_AFTER_MIN: Duration = Duration::from_millis(500);

/// A question with yes or no for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The process is not hung.
    Livez,
    /// It does what its role is.
    Readyz,
    /// It answers new transfers.
    Primary,
    /// It follows a primary.
    Replica,
    /// Every commit waits for this replica.
    InSync,
    /// Every commit waits for a server of another site.
    Protected,
}

impl Probe {
    /// All, with their paths.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Livez, "/livez"),
        (Self::Readyz, "/readyz"),
        (Self::Primary, "/primary"),
        (Self::Replica, "/replica"),
        (Self::InSync, "/in-sync"),
        (Self::Protected, "/protected"),
    ];

    /// The probe of this path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, of)| *of == path);
        found.map(|(probe, _)| *probe)
    }
}

/// How long ago things happened when a probe is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// The hot thread's last turn.
    pub(crate) turn: Duration,
    /// As replica: the primary's last word.
    pub(crate) writer: Duration,
    /// As primary: the last word of the member that was silent for longest.
    pub(crate) member: Option<Duration>,
    /// So long may a peer be silent.
    pub(crate) silent_after: Duration,
}

/// For how long a peer may be silent before it is not counted on, from the time between two
/// heartbeats.
pub(crate) fn silent_after(heartbeat_ms: u64) -> Duration {
    (Duration::from_millis(heartbeat_ms) * HEARTBEATS_MISSED_MAX).max(SILENT_AFTER_MIN)
}

/// An answer, with the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) yes: bool,
    pub(crate) why: Cow<'static, str>,
}

impl Verdict {
    fn yes(why: &'static str) -> Self {
        Self {
            yes: true,
            why: why.into(),
        }
    }

    fn no(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            yes: false,
            why: why.into(),
        }
    }
}

/// Answers a probe.
pub(crate) fn judge(probe: Probe, told: &Snapshot, ages: &Ages) -> Verdict {
    let still = |limit: Duration| {
        (ages.turn > limit).then(|| {
            let ms = ages.turn.as_millis();
            Verdict::no(format!("the hot thread has not turned for {ms} ms"))
        })
    };
    if probe == Probe::Livez {
        return still(HUNG_AFTER).unwrap_or_else(|| Verdict::yes("the hot thread turns"));
    }
    if let Some(hung) = still(STALE_AFTER) {
        return hung;
    }
    match (probe, told.health.role) {
        (Probe::Readyz | Probe::Primary, Role::Primary) => serving(told, ages),
        (Probe::Readyz, Role::Replica) => ready_replica(told, ages),
        (Probe::Replica, Role::Replica) => following(told, ages),
        (Probe::InSync, Role::Replica) => in_sync(told, ages),
        (Probe::Protected, Role::Primary) => protected(told, ages),
        (Probe::Readyz, Role::Starting) => Verdict::no("the node builds its ledger"),
        (Probe::Readyz, Role::Resolving) => Verdict::no(told.why.clone()),
        (_, role) => Verdict::no(format!("its role is {}", role.name())),
    }
}

fn serving(told: &Snapshot, ages: &Ages) -> Verdict {
    if !told.health.serving {
        return unprotected(told, &told.why);
    }
    silent_member(ages).unwrap_or_else(|| Verdict::yes("primary, answers new transfers"))
}

fn protected(told: &Snapshot, ages: &Ages) -> Verdict {
    if !told.health.protected {
        return match told.health.serving {
            true => unprotected(told, "commits wait for no server of another site"),
            false => unprotected(told, &told.why),
        };
    }
    silent_member(ages)
        .unwrap_or_else(|| Verdict::yes("every commit waits for a server of another site"))
}

/// No, and who is about to change that, which protects nothing so far.
fn unprotected(told: &Snapshot, why: &str) -> Verdict {
    if !told.health.catching_up {
        return Verdict::no(why.to_owned());
    }
    let behind = told.peers.iter().filter(|peer| peer.connected);
    let mut behind: Vec<(u64, NodeId)> = behind
        .filter_map(|peer| Some((peer.shipped?.lag_bytes, peer.node)))
        .collect();
    behind.sort_unstable();
    let each = behind
        .iter()
        .map(|(bytes, node)| format!("node {node} lacks {bytes} bytes"));
    let each = each.collect::<Vec<_>>().join(", ");
    // That there is one is told at once, who it is a moment later.
    let who = if each.is_empty() {
        "another server"
    } else {
        &each
    };
    Verdict::no(format!("{why}; catching-up: {who}"))
}

fn silent_member(ages: &Ages) -> Option<Verdict> {
    let silent = ages.member.filter(|age| *age > ages.silent_after)?;
    let ms = silent.as_millis();
    Some(Verdict::no(format!(
        "a member that commits wait for has been silent for {ms} ms"
    )))
}

fn following(told: &Snapshot, ages: &Ages) -> Verdict {
    if !told.health.following {
        return Verdict::no(told.why.clone());
    }
    if ages.writer > ages.silent_after {
        let ms = ages.writer.as_millis();
        return Verdict::no(format!("its primary has been silent for {ms} ms"));
    }
    Verdict::yes("replica, follows a primary")
}

fn in_sync(told: &Snapshot, ages: &Ages) -> Verdict {
    let following = following(told, ages);
    if !following.yes {
        return following;
    }
    match told.health.in_set {
        true => Verdict::yes("replica, every commit waits for it"),
        false => Verdict::no("it follows, but commits do not wait for it"),
    }
}

fn ready_replica(told: &Snapshot, ages: &Ages) -> Verdict {
    let following = following(told, ages);
    if !following.yes {
        return following;
    }
    if !told.health.caught_up {
        return Verdict::no("it is being sent what its log lacks");
    }
    let figures = &told.figures;
    let behind = figures
        .committed
        .get()
        .saturating_sub(figures.applied.get());
    if behind > APPLY_LAG_BYTES_MAX {
        return Verdict::no(format!("its ledger is {behind} bytes behind the log"));
    }
    Verdict::yes("replica, follows and applies")
}

#[cfg(test)]
mod tests {
    use kanjo_format::Lsn;

    use super::*;
    use crate::published::{Health, PeerFigures, ShippedFigures};

    const FRESH: Ages = Ages {
        turn: Duration::from_millis(3),
        writer: Duration::from_millis(40),
        member: Some(Duration::from_millis(40)),
        silent_after: Duration::from_millis(600),
    };

    fn primary() -> Snapshot {
        Snapshot {
            health: Health {
                role: Role::Primary,
                serving: true,
                protected: true,
                ..Health::default()
            },
            ..Snapshot::default()
        }
    }

    fn replica() -> Snapshot {
        Snapshot {
            health: Health {
                role: Role::Replica,
                following: true,
                in_set: true,
                caught_up: true,
                ..Health::default()
            },
            ..Snapshot::default()
        }
    }

    /// The probes that are answered with yes, by path.
    fn yes(told: &Snapshot, ages: &Ages) -> Vec<&'static str> {
        let all = Probe::ALL.iter();
        let holds = all.filter(|(probe, _)| judge(*probe, told, ages).yes);
        holds.map(|(_, path)| *path).collect()
    }

    fn because(what: &str) -> Snapshot {
        Snapshot {
            why: what.to_owned(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_role_is_told_from_the_others() {
        let all = ["/livez", "/readyz", "/primary", "/protected"];
        assert_eq!(yes(&primary(), &FRESH), all);
        let all = ["/livez", "/readyz", "/replica", "/in-sync"];
        assert_eq!(yes(&replica(), &FRESH), all);
        for role in [Role::Starting, Role::Resolving] {
            let mut told = because("x");
            told.health.role = role;
            // Whatever it was before does not count.
            told.health.serving = true;
            told.health.in_set = true;
            assert_eq!(yes(&told, &FRESH), ["/livez"], "{role:?}");
        }
    }

    #[test]
    fn a_primary_that_waits_answers_no_transfers_and_says_why() {
        let mut told = primary();
        told.health.serving = false;
        told.health.protected = false;
        told.why = "the auxiliary cannot be reached".into();
        assert_eq!(yes(&told, &FRESH), ["/livez"]);
        for probe in [Probe::Readyz, Probe::Primary, Probe::Protected] {
            assert_eq!(judge(probe, &told, &FRESH).why, told.why);
        }
    }

    #[test]
    fn a_primary_that_serves_without_another_site_is_not_protected() {
        let mut told = primary();
        told.health.protected = false;
        let alone = Ages {
            member: None,
            ..FRESH
        };
        assert_eq!(yes(&told, &alone), ["/livez", "/readyz", "/primary"]);
    }

    #[test]
    fn who_catches_up_stands_in_the_answer_and_makes_none_a_yes() {
        let behind = |node, lag_bytes, connected| PeerFigures {
            node: NodeId::new(node),
            connected,
            shipped: Some(ShippedFigures {
                acked: Lsn::ZERO,
                lag_bytes,
                lag: Duration::ZERO,
                round_trip_us: None,
            }),
        };
        let mut told = primary();
        told.health.protected = false;
        told.health.catching_up = true;
        let alone = Ages {
            member: None,
            ..FRESH
        };
        let why = judge(Probe::Protected, &told, &alone).why;
        assert!(why.ends_with("; catching-up: another server"), "{why}");
        told.peers = vec![behind(2, 8_192, true), behind(3, 4_096, true)];
        told.peers.push(behind(4, 1, false));
        let all = "; catching-up: node 3 lacks 4096 bytes, node 2 lacks 8192 bytes";
        assert_eq!(yes(&told, &alone), ["/livez", "/readyz", "/primary"]);
        let why = judge(Probe::Protected, &told, &alone).why;
        assert!(why.ends_with(all), "{why}");
        told.health.serving = false;
        told.why = "no auxiliary follows yet".into();
        assert_eq!(yes(&told, &alone), ["/livez"]);
        for probe in [Probe::Readyz, Probe::Primary, Probe::Protected] {
            let why = judge(probe, &told, &alone).why;
            assert_eq!(why, format!("{}{all}", told.why));
        }
    }

    #[test]
    fn a_silent_peer_is_not_counted_on() {
        let silent = Duration::from_millis(601);
        let ages = Ages {
            member: Some(silent),
            ..FRESH
        };
        assert_eq!(yes(&primary(), &ages), ["/livez"]);
        let ages = Ages {
            writer: silent,
            ..FRESH
        };
        assert_eq!(yes(&replica(), &ages), ["/livez"]);
    }

    #[test]
    fn a_replica_outside_the_set_is_ready_but_not_in_sync() {
        let mut told = replica();
        told.health.in_set = false;
        assert_eq!(yes(&told, &FRESH), ["/livez", "/readyz", "/replica"]);
    }

    #[test]
    fn a_replica_with_a_mark_that_follows_nobody_is_not_in_sync() {
        let mut told = replica();
        told.health.following = false;
        told.why = "it is a replica and no primary is connected".into();
        assert_eq!(yes(&told, &FRESH), ["/livez"]);
        assert_eq!(judge(Probe::InSync, &told, &FRESH).why, told.why);
    }

    #[test]
    fn a_replica_that_does_not_keep_up_is_not_ready() {
        let mut told = replica();
        told.figures.committed = Lsn::new(APPLY_LAG_BYTES_MAX + 4096);
        assert_eq!(yes(&told, &FRESH), ["/livez", "/replica", "/in-sync"]);
        told.figures.applied = Lsn::new(4096);
        assert!(judge(Probe::Readyz, &told, &FRESH).yes);
        told.health.caught_up = false;
        assert!(!judge(Probe::Readyz, &told, &FRESH).yes);
    }

    #[test]
    fn what_a_hot_thread_said_that_turns_no_more_does_not_count() {
        let slow = Ages {
            turn: Duration::from_millis(1_001),
            ..FRESH
        };
        for told in [primary(), replica()] {
            assert_eq!(yes(&told, &slow), ["/livez"]);
        }
        let hung = Ages {
            turn: Duration::from_millis(5_001),
            ..FRESH
        };
        assert_eq!(yes(&primary(), &hung), [""; 0]);
        let why = judge(Probe::Livez, &primary(), &hung).why;
        assert!(why.contains("5001 ms"), "{why}");
    }

    #[test]
    fn silence_is_measured_in_heartbeats() {
        assert_eq!(silent_after(100), Duration::from_millis(600));
        assert_eq!(silent_after(10), SILENT_AFTER_MIN);
        assert_eq!(silent_after(60_000), Duration::from_secs(360));
    }

    #[test]
    fn only_known_paths_are_probes() {
        for (probe, path) in Probe::ALL {
            assert_eq!(Probe::of_path(path), Some(probe));
        }
        for path in ["/", "/primary/", "/Primary", "primary", "/metrics", ""] {
            assert_eq!(Probe::of_path(path), None, "{path}");
        }
    }
}
