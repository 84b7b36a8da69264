//! Pauses that grow, with a bound and a little chance in them.

use std::time::Duration;

/// The first try is at once, then pauses double from the least to the longest.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Option<Duration>,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        let max = max.max(min);
        let next = None;
        Self { min, max, next }
    }

    /// Called when something worked.
    pub(crate) fn reset(&mut self) {
        self.next = None;
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let Some(full) = self.next else {
            self.next = Some(self.min);
            return Duration::ZERO;
        };
        self.next = Some(full.saturating_mul(2).min(self.max));
        // Between half and all of it, so that many clients do not come back in step.
        let chance = getrandom::u32().unwrap_or(0) % 512;
        full.mul_f64(0.5 + f64::from(chance) / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_over_after_success() {
        let (min, max) = (Duration::from_millis(5), Duration::from_millis(40));
        let mut backoff = Backoff::new(min, max);
        assert_eq!(backoff.pause(), Duration::ZERO);
        for full in [5, 10, 20, 40, 40] {
            let (pause, full) = (backoff.pause(), Duration::from_millis(full));
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
