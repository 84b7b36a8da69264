//! When the log reached its latest positions, so that it can be told later how long each of them
//! waited for a disk, for a peer, or to be applied.

use std::collections::VecDeque;
use std::time::Instant;

use kanjo_format::Lsn;

use super::Histogram;

/// Most positions that are kept; beyond it every other one is forgotten.
const STAMPS_MAX: usize = 1_024;

/// Positions that wait for something, oldest first, with the time from which they wait.
#[derive(Debug)]
pub(crate) struct Stamps(VecDeque<(Lsn, Instant)>);

impl Stamps {
    /// No position. Never allocates again.
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(STAMPS_MAX))
    }

    /// The log reached `lsn` now.
    pub(crate) fn push(&mut self, lsn: Lsn, now: Instant) {
        if self.0.len() == STAMPS_MAX {
            // Who is so far behind is judged by half of the samples, old and new alike.
            let mut keep = false;
            self.0.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.0.push_back((lsn, now));
    }

    /// Everything up to `lsn` waits no longer from now on.
    pub(crate) fn reached(&mut self, lsn: Lsn, waited: &Histogram) {
        if !self.is_idle(lsn) {
            self.reached_at(lsn, Instant::now(), waited);
        }
    }

    fn reached_at(&mut self, lsn: Lsn, now: Instant, waited: &Histogram) {
        while let Some((_, since)) = self.0.pop_front_if(|(waits, _)| *waits <= lsn) {
            waited.record(now.saturating_duration_since(since));
        }
    }

    /// Since when what waits longest does so.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.0.front().map(|(_, since)| *since)
    }

    /// Everything up to `lsn` waits no longer; since when the oldest of it did.
    pub(crate) fn take(&mut self, lsn: Lsn) -> Option<Instant> {
        let oldest = self.oldest().filter(|_| !self.is_idle(lsn));
        while self.0.pop_front_if(|(waits, _)| *waits <= lsn).is_some() {}
        oldest
    }

    /// Whether nothing waits up to `lsn`.
    fn is_idle(&self, lsn: Lsn) -> bool {
        self.0.front().is_none_or(|(waits, _)| *waits > lsn)
    }

    /// What waited will not come about: the log was cut, or the peer is gone.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_position_is_recorded_once_when_it_is_reached() {
        let (mut stamps, waited) = (Stamps::new(), Histogram::default());
        let start = Instant::now();
        for n in 1..=3 {
            stamps.push(Lsn::new(n * 4096), start + Duration::from_millis(n));
        }
        let later = start + Duration::from_millis(10);
        stamps.reached_at(Lsn::new(2 * 4096), later, &waited);
        assert_eq!(waited.read().count, 2);
        assert_eq!(waited.read().sum_seconds, 0.017);
        stamps.reached_at(Lsn::new(2 * 4096), later, &waited);
        assert_eq!(waited.read().count, 2);
        assert!(stamps.is_idle(Lsn::new(2 * 4096)));
        assert!(!stamps.is_idle(Lsn::new(3 * 4096)));
        stamps.clear();
        stamps.reached_at(Lsn::new(u64::MAX), later, &waited);
        assert_eq!(waited.read().count, 2);
    }

    #[test]
    fn a_peer_that_is_far_behind_costs_no_more_memory() {
        let (mut stamps, waited) = (Stamps::new(), Histogram::default());
        let (start, capacity) = (Instant::now(), stamps.0.capacity());
        for n in 1..=100_000_u64 {
            stamps.push(Lsn::new(n * 4096), start + Duration::from_micros(n));
        }
        assert_eq!(stamps.0.capacity(), capacity);
        stamps.reached_at(Lsn::new(u64::MAX), start + Duration::from_secs(1), &waited);
        let reading = waited.read();
        assert!((1..=STAMPS_MAX as u64).contains(&reading.count));
        let oldest = reading.buckets.iter().any(|(b, n)| *b == 1.0 && *n > 0);
        assert!(
            oldest,
            "the oldest are still among the samples: {reading:?}"
        );
    }
}
