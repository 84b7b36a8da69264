//! How much of the disk's time a long job takes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Behind each piece of a gentle job the disk is left to others for so many times as long as it took.
const RESTS: u32 = 3;
/// Longest rest after one piece: one that took long tells of a busy disk, not of a large piece.
const REST_MAX: Duration = Duration::from_millis(20);
/// Longest rest in all of a gentle job.
const RESTS_MAX: Duration = Duration::from_secs(2);

/// Whether a job must not rest now.
type Hurry<'a> = &'a (dyn Fn() -> bool + Sync);

/// Leaves the disk to others after each piece of work. What is done between two pieces counts as rest.
#[derive(Clone)]
pub struct Pace<'a> {
    times: u32,
    hurry: Option<Hurry<'a>>,
    ends: Option<Arc<AtomicBool>>,
    /// How long it may still rest.
    left: Duration,
    rests_until: Option<Instant>,
}

impl<'a> Pace<'a> {
    /// One piece after the other: somebody waits for all of it.
    pub const fn at_once() -> Self {
        Self {
            times: 0,
            hurry: None,
            ends: None,
            left: Duration::ZERO,
            rests_until: None,
        }
    }

    /// For what nobody waits for now, and others in turn: rests of three times as long as each
    /// piece took, 20 ms at most, and 2 s at most in all.
    pub const fn gentle() -> Self {
        let mut pace = Self::at_once();
        pace.times = RESTS;
        pace.left = RESTS_MAX;
        pace
    }

    /// The same, but without a rest while `hurry` says so, which is asked before each.
    #[must_use]
    pub fn unless<'b>(self, hurry: Hurry<'b>) -> Pace<'b>
    where
        'a: 'b,
    {
        Pace {
            hurry: Some(hurry),
            ..self
        }
    }

    /// The same, but without a rest once the flag is set: whoever set it waits for the end.
    #[must_use]
    pub fn until(mut self, flag: &Arc<AtomicBool>) -> Self {
        self.ends = Some(Arc::clone(flag));
        self
    }

    /// Does one piece of work when its time has come.
    pub fn piece<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let mut begins = Instant::now();
        let rest = self.rest_at(begins);
        if !rest.is_zero() {
            thread::sleep(rest);
            self.left -= rest;
            begins = Instant::now();
        }
        let done = work();
        self.note(begins, Instant::now());
        done
    }

    /// How long the next piece waits.
    fn rest_at(&self, now: Instant) -> Duration {
        let hurries = self.hurry.is_some_and(|hurry| hurry());
        let ends = self.ends.as_ref();
        match self.rests_until {
            Some(until) if !hurries && !ends.is_some_and(|e| e.load(Ordering::Relaxed)) => {
                until.saturating_duration_since(now).min(self.left)
            }
            _ => Duration::ZERO,
        }
    }

    /// A piece is done.
    fn note(&mut self, began: Instant, ended: Instant) {
        let rest = (ended.duration_since(began) * self.times).min(REST_MAX);
        self.rests_until = Some(ended + rest);
    }
}

impl fmt::Debug for Pace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("times", &self.times)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Duration = Duration::from_millis(3);

    /// The pace after a piece that took so long, and when that ended.
    fn after(mut pace: Pace<'_>, work: Duration) -> (Pace<'_>, Instant) {
        let began = Instant::now();
        pace.note(began, began + work);
        (pace, began + work)
    }

    #[test]
    fn the_disk_is_left_to_others_after_each_piece() {
        let (pace, end) = after(Pace::gentle(), WORK);
        assert_eq!(pace.rest_at(end), 3 * WORK);
        assert_eq!(pace.rest_at(end + WORK), 2 * WORK, "it computed meanwhile");
        assert_eq!(pace.rest_at(end + 4 * WORK), Duration::ZERO);
        let (pace, end) = after(Pace::at_once(), WORK);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
    }

    #[test]
    fn no_rest_is_longer_than_its_bound_nor_all_of_them() {
        let (mut pace, end) = after(Pace::gentle(), Duration::from_secs(1));
        assert_eq!(pace.rest_at(end), REST_MAX);
        pace.left = WORK;
        assert_eq!(pace.rest_at(end), WORK);
        pace.piece(|| ());
        let (pace, end) = after(pace, WORK);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
    }

    #[test]
    fn who_must_hurry_does_not_rest() {
        let (needed, flag) = (AtomicBool::new(false), Arc::default());
        let hurry = || needed.load(Ordering::Relaxed);
        let (pace, end) = after(Pace::gentle().until(&flag).unless(&hurry), WORK);
        assert_eq!(pace.rest_at(end), 3 * WORK);
        needed.store(true, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
        needed.store(false, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), 3 * WORK);
        flag.store(true, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
    }
}
