//! The wall clock, and when it is not to be believed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kanjo_format::{Epoch, Timestamp};

use crate::error::NodeError;

/// The wall clock in nanoseconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Compares the wall clock with log time and with the clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockCheck {
    bound: Duration,
    wall: Timestamp,
    steady: Instant,
}

impl ClockCheck {
    pub(crate) fn new(bound_ms: u64) -> Self {
        Self {
            bound: Duration::from_millis(bound_ms),
            wall: now(),
            steady: Instant::now(),
        }
    }

    /// Refuses to open an epoch while the clock is behind log time by more than the bound.
    pub(crate) fn may_open(&self, epoch: Epoch, log_time: Timestamp) -> Result<(), NodeError> {
        let behind = Duration::from_nanos(log_time.get().saturating_sub(now().get()));
        if behind > self.bound {
            return Err(NodeError::Refused(format!(
                "this machine's clock is {} s behind the log's time (epoch {epoch}), more than clock_bound_ms allows; set the clock right first",
                behind.as_secs()
            )));
        }
        Ok(())
    }

    /// The time for the next batch. An error if the wall clock jumped by more than the bound
    /// since the last look, before anything of that time is logged.
    pub(crate) fn next(&mut self) -> Result<Timestamp, NodeError> {
        let (wall, steady) = (now(), Instant::now());
        let went = Duration::from_nanos(wall.get().abs_diff(self.wall.get()));
        let backwards = wall < self.wall;
        let should = steady.duration_since(self.steady);
        let off = if backwards {
            went + should
        } else {
            went.abs_diff(should)
        };
        if off > self.bound {
            return Err(NodeError::NeedsOperator(format!(
                "this machine's clock jumped by {} s, more than clock_bound_ms allows; nothing was written with that time. Set the clock right and start again",
                off.as_secs()
            )));
        }
        (self.wall, self.steady) = (wall, steady);
        Ok(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_behind_log_time_opens_nothing() {
        let check = ClockCheck::new(1_000);
        let ahead = Timestamp::new(now().get() + 5_000_000_000);
        assert!(check.may_open(Epoch::NONE, ahead).is_err());
        assert!(check.may_open(Epoch::NONE, now()).is_ok());
    }

    #[test]
    fn a_jump_of_the_clock_is_seen_before_it_is_logged() {
        let mut check = ClockCheck::new(1_000);
        assert!(check.next().is_ok());
        check.wall = Timestamp::new(check.wall.get() - 10_000_000_000);
        assert!(check.next().is_err());
        let mut check = ClockCheck::new(1_000);
        check.wall = Timestamp::new(check.wall.get() + 10_000_000_000);
        assert!(check.next().is_err());
    }
}
