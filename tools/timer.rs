//! A timer that is exact to some ten microseconds; those of the runtime count milliseconds.

use std::io::ErrorKind;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// One waits on it at a time.
pub(crate) struct Timer(Receiver);

impl Timer {
    /// Needs a runtime.
    pub(crate) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("making a timer")?;
        // To a reader it is a pipe into which the kernel writes eight bytes when it expires.
        Ok(Self(Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Returns at that time or, if it has passed, at once.
    pub(crate) async fn wait_until(&self, time: Instant) -> Result<()> {
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Others may have work even so.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).context("setting a timer")?;
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("waiting for a timer"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_waits_no_less_than_asked_and_not_at_all_for_the_past() {
        let timer = Timer::new().unwrap();
        timer.wait_until(Instant::now()).await.unwrap();
        for micros in [300, 50] {
            let time = Instant::now() + Duration::from_micros(micros);
            timer.wait_until(time).await.unwrap();
            assert!(Instant::now() >= time);
        }
    }
}
