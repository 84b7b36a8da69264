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

/// Whether a job must not rest now; it is told how many pieces are done.
type Hurry<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// Leaves the disk to others after each piece of work, for so many times as long as the piece took.
#[derive(Clone)]
pub struct Pace<'a> {
    times: u32,
    hurry: Option<Hurry<'a>>,
    ends: Option<Arc<AtomicBool>>,
    /// How long it may still rest.
    left: Duration,
    pieces: u64,
    rests_until: Option<Instant>,
}

impl<'a> Pace<'a> {
    /// One piece after the other: somebody waits for all of it.
    pub const fn at_once() -> Self {
        Self::resting(0)
    }

    /// For what nobody waits for now, and others in turn: rests of three times as long as each
    /// piece took, of 2 s at most in all.
    pub const fn gentle() -> Self {
        let mut pace = Self::resting(RESTS);
        pace.left = RESTS_MAX;
        pace
    }

    /// A rest of `times` as long as each piece took behind it, 20 ms at most. What is done between
    /// two pieces counts as rest.
    pub const fn resting(times: u32) -> Self {
        Self {
            times,
            hurry: None,
            ends: None,
            left: Duration::MAX,
            pieces: 0,
            rests_until: None,
        }
    }

    /// The same, but without a rest while `hurry` says so, which is asked before each. It is given
    /// the number of pieces that are done.
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
        let hurries = self.hurry.is_some_and(|hurry| hurry(self.pieces));
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
        self.pieces += 1;
    }
}

impl fmt::Debug for Pace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("times", &self.times)
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

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
        let (pace, end) = after(Pace::resting(3), WORK);
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
        let (needed, flag) = (AtomicU64::new(0), Arc::default());
        let hurry = |pieces: u64| pieces < needed.load(Ordering::Relaxed);
        let (pace, end) = after(Pace::resting(3).until(&flag).unless(&hurry), WORK);
        assert_eq!(pace.rest_at(end), 3 * WORK);
        needed.store(2, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
        needed.store(1, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), 3 * WORK);
        flag.store(true, Ordering::Relaxed);
        assert_eq!(pace.rest_at(end), Duration::ZERO);
    }
}
