//! A link as it is without Kanjo: the round trip of an echo on two plain threads, and a commit of
//! the floor's, each through a relay of its own with the same delay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::floor::{Floor, FrameBytes};
use crate::relay::Relay;

/// As many bytes as a batch of one transfer and its ack have, to the size of a packet.
const BYTES: usize = 256;
/// Echoes of one measurement.
const ECHOES: usize = 51;

/// A relay with an echo behind it.
pub(super) struct RoundTrip {
    relay: Relay,
    stream: TcpStream,
    // Held, not joined: it ends when the connection does.
    _echo: JoinHandle<()>,
}

impl RoundTrip {
    pub(super) fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding an echo")?;
        let relay = Relay::start(&listener.local_addr()?.to_string())?;
        let echo = std::thread::Builder::new()
            .name("kanjo-echo".into())
            .spawn(move || {
                // Ends when the other side has gone.
                let _ = echo(&listener);
            })
            .context("starting an echo")?;
        let stream = TcpStream::connect(relay.address()).context("connecting to an echo")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            relay,
            stream,
            _echo: echo,
        })
    }

    /// The median of some echoes, in microseconds, with this delay each way.
    pub(super) fn median_us(&mut self, delay: Duration) -> Result<f64> {
        self.relay.set_delay(delay);
        let mut times = Vec::with_capacity(ECHOES);
        for _ in 0..ECHOES {
            let begun = Instant::now();
            self.stream.write_all(&[1; BYTES])?;
            self.stream.read_exact(&mut [0; BYTES])?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times[ECHOES / 2].as_secs_f64() * 1e6)
    }
}

/// The floor with a link between its two disks. Between two commits everything sleeps for a round
/// trip, as it does beside Kanjo.
pub(super) struct LinkedFloor {
    relay: Relay,
    floor: Floor,
}

impl LinkedFloor {
    /// Commits of these sizes, in files in `dir`.
    pub(super) fn new(dir: &Path, sizes: FrameBytes) -> Result<Self> {
        let mut relay = None;
        let floor = Floor::start_over(dir, sizes, |address| {
            let relay = relay.insert(Relay::start(address)?);
            Ok(relay.address().to_owned())
        })?;
        let relay = relay.context("the floor was given no link")?;
        Ok(Self { relay, floor })
    }

    /// The median of some commits, in microseconds, with this delay each way.
    pub(super) fn median_us(&mut self, delay: Duration) -> Result<f64> {
        self.relay.set_delay(delay);
        let mut times = Histogram::new(3)?;
        self.floor.run_block(ECHOES as u64, &mut times)?;
        Ok(times.value_at_quantile(0.5) as f64 / 1e3)
    }
}

fn echo(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; BYTES];
    loop {
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_no_shorter_than_both_delays() {
        let mut link = RoundTrip::new().unwrap();
        let short = link.median_us(Duration::ZERO).unwrap();
        let long = link.median_us(Duration::from_millis(2)).unwrap();
        assert!(long >= 4_000.0 && short < long, "{short} {long}");
    }
}
