//! A TCP link of some length: what enters at one end leaves at the other after a delay.
//!
//! ```text
//! primary ── TCP ──▶ reader ─▶ [ chunk, when it may leave ] ─▶ writer ── TCP ──▶ auxiliary
//!         ◀───────── the same the other way round, on one thread for all ──────────
//! ```
//!
//! Bandwidth has no limit, order is kept, and what is under way is bounded: a reader then waits,
//! and with it the sender. Loss and the slow start of TCP over a long way are not imitated.

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::timer::Timer;

/// Name of the thread that does all of it.
pub(crate) const THREAD: &str = "kanjo-relay";
/// Bytes under way in one direction of one connection: 1.6 GB/s over 40 ms.
const UNDER_WAY_MAX: usize = 64 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// A relay in front of one address; dropping it closes all connections.
pub(crate) struct Relay {
    address: String,
    delay_us: Arc<AtomicU64>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Relays a port of its own to `target`, without delay at first.
    pub(crate) fn start(target: &str) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("binding a loopback port for the relay")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let delay_us = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the relay's runtime")?;
        let (target, delay) = (target.to_owned(), delay_us.clone());
        let body = move || {
            let local = tokio::task::LocalSet::new();
            // Ends with an error when the relay is dropped: all its tasks go with the runtime.
            let relaying = async {
                tokio::select! {
                    _ = stopped => {}
                    ended = accept(listener, target, delay) => {
                        if let Err(error) = ended {
                            tracing::warn!(%error, "the relay ended");
                        }
                    }
                }
            };
            local.block_on(&runtime, relaying);
        };
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(body);
        Ok(Self {
            address,
            delay_us,
            stop: Some(stop),
            thread: Some(thread.context("starting the relay's thread")?),
        })
    }

    /// Where to connect instead of the target.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on every byte takes so long, in each direction.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.store(micros, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own message.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: String,
    delay_us: Arc<AtomicU64>,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (near, _) = listener.accept().await?;
        // A target that does not listen is to the caller a connection that closes.
        let Ok(far) = TcpStream::connect(&target).await else {
            continue;
        };
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        for (from, to) in [(near_in, far_out), (far_in, near_out)] {
            let delay_us = delay_us.clone();
            tokio::task::spawn_local(async move {
                // Either end may close it, which is then passed on.
                let _ = pass(from, to, delay_us).await;
            });
        }
    }
}

/// A chunk and when it may leave.
type Chunk = (Instant, Vec<u8>);

async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, delay_us: Arc<AtomicU64>) -> Result<()> {
    // Bounded by the bytes under way, which the semaphore counts.
    let (enter, leave) = mpsc::unbounded_channel();
    let room = Rc::new(Semaphore::new(UNDER_WAY_MAX));
    tokio::try_join!(
        read(from, enter, room.clone(), delay_us),
        write(to, leave, room)
    )?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    enter: mpsc::UnboundedSender<Chunk>,
    room: Rc<Semaphore>,
    delay_us: Arc<AtomicU64>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut last = Instant::now();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let delay = Duration::from_micros(delay_us.load(Ordering::Relaxed));
        // A delay that became shorter lets nothing overtake.
        last = last.max(Instant::now() + delay);
        room.acquire_many(count as u32).await?.forget();
        enter.send((last, buffer[..count].to_vec()))?;
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut leave: mpsc::UnboundedReceiver<Chunk>,
    room: Rc<Semaphore>,
) -> Result<()> {
    let timer = Timer::new()?;
    while let Some((time, bytes)) = leave.recv().await {
        if time > Instant::now() {
            timer.wait_until(time).await?;
        }
        to.write_all(&bytes).await?;
        room.add_permits(bytes.len());
    }
    Ok(to.shutdown().await?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn bytes_keep_their_order_and_take_the_delay_each_way() {
        let echo = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(&echo.local_addr().unwrap().to_string()).unwrap();
        let echoing = std::thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            let mut back = stream.try_clone().unwrap();
            std::io::copy(&mut stream, &mut back).unwrap();
        });
        let mut stream = std::net::TcpStream::connect(relay.address()).unwrap();
        let delay = Duration::from_millis(15);
        for way in [Duration::ZERO, delay, Duration::ZERO] {
            relay.set_delay(way);
            let begun = Instant::now();
            stream.write_all(b"ping").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            assert!(begun.elapsed() >= 2 * way, "{:?}", begun.elapsed());
        }
        relay.set_delay(Duration::from_millis(2));
        let sent: Vec<u8> = (0..3_000_000_u32).map(|place| (place / 7) as u8).collect();
        let mut out = stream.try_clone().unwrap();
        let bytes = sent.clone();
        let sending = std::thread::spawn(move || {
            out.write_all(&bytes).unwrap();
            out.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == sent, "{} bytes came back", got.len());
        sending.join().unwrap();
        echoing.join().unwrap();
    }

    #[test]
    fn a_target_that_is_not_there_is_a_connection_that_closes() {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = free.local_addr().unwrap().to_string();
        drop(free);
        let relay = Relay::start(&target).unwrap();
        let mut stream = std::net::TcpStream::connect(relay.address()).unwrap();
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}
