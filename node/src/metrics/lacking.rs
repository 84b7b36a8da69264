//! What one peer lacks of the log, and since when: how far it is behind, in time.
//!
//! ```text
//! acked                                   tail
//!   │  range, since 7 s │ since 5 s │ 2 s  │
//! ```
//!
//! A range is as old as its first batch, so an age may be a little too high, but not too low. What
//! the log held before anybody looked counts from then on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kanjo_format::Lsn;

/// Most ranges that are kept; beyond it two neighbours become one.
const RANGES_MAX: usize = 256;
/// What is that close together is one range, once there are too many.
const SPACING_MIN: Duration = Duration::from_millis(1);

/// The log above what one peer has, oldest first.
#[derive(Debug)]
pub(crate) struct Lacking {
    /// Everything that the log held then counts as of that time.
    began: Instant,
    acked: Lsn,
    /// The end of each range, and when the log reached the first position in it.
    ranges: VecDeque<(Lsn, Instant)>,
    /// A batch that comes sooner than this after the newest range began belongs to it.
    spacing: Duration,
}

impl Lacking {
    /// A peer of which nothing is known, and a log that ends at `tail`.
    pub(crate) fn new(tail: Lsn, now: Instant) -> Self {
        let mut ranges = VecDeque::with_capacity(RANGES_MAX);
        ranges.push_back((tail, now));
        Self {
            began: now,
            acked: Lsn::ZERO,
            ranges,
            spacing: Duration::ZERO,
        }
    }

    /// The log reached `tail` now.
    pub(crate) fn appended(&mut self, tail: Lsn, now: Instant) {
        if let Some((end, since)) = self.ranges.back_mut()
            && now.saturating_duration_since(*since) < self.spacing
        {
            *end = tail;
            return;
        }
        if self.ranges.len() >= RANGES_MAX {
            self.join_neighbours();
        }
        self.ranges.push_back((tail, now));
    }

    /// The peer has everything up to `lsn`, and nothing above is known to be there.
    pub(crate) fn acked(&mut self, lsn: Lsn) {
        if lsn < self.acked {
            // Another directory stands where it was, or an older copy.
            self.ranges.push_front((self.acked, self.began));
        }
        self.acked = lsn;
        while self.ranges.pop_front_if(|(end, _)| *end <= lsn).is_some() {}
        if self.ranges.is_empty() {
            self.spacing = Duration::ZERO;
        }
    }

    /// How old the oldest thing is that the peer lacks; zero if it lacks nothing.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let oldest = self.ranges.front().map(|(_, since)| *since);
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn join_neighbours(&mut self) {
        self.spacing = (self.spacing * 2).max(SPACING_MIN);
        let mut joined = VecDeque::with_capacity(self.ranges.capacity());
        while let Some((end, since)) = self.ranges.pop_front() {
            let end = self.ranges.pop_front().map_or(end, |(next, _)| next);
            joined.push_back((end, since));
        }
        self.ranges = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn lsn(n: u64) -> Lsn {
        Lsn::new(n * 4096)
    }

    #[test]
    fn a_peer_that_has_everything_is_not_behind_however_old_the_log_is() {
        let start = Instant::now();
        let mut lacking = Lacking::new(lsn(9), start);
        let later = start + Duration::from_secs(60);
        assert_eq!(lacking.age(later), Duration::from_secs(60));
        lacking.acked(lsn(9));
        assert_eq!(lacking.age(later), Duration::ZERO);
    }

    #[test]
    fn the_age_is_that_of_the_oldest_thing_that_is_not_acked() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lacking = Lacking::new(lsn(1), start);
        lacking.acked(lsn(1));
        lacking.appended(lsn(2), at(10));
        lacking.appended(lsn(3), at(30));
        assert_eq!(lacking.age(at(50)), Duration::from_millis(40));
        lacking.acked(lsn(2));
        assert_eq!(lacking.age(at(50)), Duration::from_millis(20));
        lacking.acked(lsn(3));
        assert_eq!(lacking.age(at(50)), Duration::ZERO);
    }

    #[test]
    fn a_wiped_peer_lacks_what_its_former_directory_had() {
        let start = Instant::now();
        let mut lacking = Lacking::new(lsn(5), start);
        lacking.acked(lsn(5));
        lacking.acked(lsn(0));
        let later = start + Duration::from_secs(3);
        assert_eq!(lacking.age(later), Duration::from_secs(3));
        lacking.acked(lsn(2));
        assert_eq!(lacking.age(later), Duration::from_secs(3));
        lacking.acked(lsn(5));
        assert_eq!(lacking.age(later), Duration::ZERO);
    }

    #[test]
    fn a_peer_that_is_away_for_long_costs_no_more_memory_and_its_age_stays_true() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lacking = Lacking::new(lsn(0), start);
        lacking.acked(lsn(0));
        let capacity = lacking.ranges.capacity();
        let hour = 3_600_000;
        for n in 1..=hour {
            lacking.appended(lsn(n), at(n));
        }
        assert_eq!(lacking.ranges.capacity(), capacity);
        for acked in [0, 1_000_000, 3_000_000] {
            lacking.acked(lsn(acked));
            let (age, is) = (lacking.age(at(hour)), Duration::from_millis(hour - acked));
            assert!(age >= is - Duration::from_millis(1), "{age:?} of {is:?}");
            // Never more than a hundredth of the hour too much.
            assert!(age <= is + Duration::from_secs(36), "{age:?} of {is:?}");
        }
    }
}
