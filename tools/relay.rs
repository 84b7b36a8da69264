//! A TCP link of some length: what enters at one end leaves at the other after a delay. It can
//! be cut in each direction.
//!
//! ```text
//! primary ── TCP ──▶ reader ─▶ [ chunk, when it may leave ] ─▶ writer ── TCP ──▶ auxiliary
//!         ◀───────── the same the other way round, on one thread for all ──────────
//! ```
//!
//! Bandwidth has no limit, order is kept, and what is under way is bounded: a reader then waits,
//! and with it the sender. Loss and the slow start of TCP over a long way are not imitated.
//!
//! A cut is a network that drops every packet: connections stay open and nothing comes through,
//! not even their end; once it is healed, what was sent meanwhile arrives, as TCP sends it again.
//! Who dials into a cut waits for a greeting, and finds a closed connection when it is healed.

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
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::timer::Timer;

/// Name of the thread that does all of it.
pub(crate) const THREAD: &str = "kanjo-relay";
/// Bytes under way in one direction of one connection: 1.6 GB/s over 40 ms.
const UNDER_WAY_MAX: usize = 64 << 20;
const CHUNK_BYTES: usize = 256 << 10;
/// Connections dialled into a cut that wait for its end; more are closed at once.
const WAITING_MAX: usize = 64;

/// A direction, seen from who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the target.
    There,
    /// From the target.
    Back,
}

/// Which directions let nothing through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cut {
    there: bool,
    back: bool,
}

/// A relay in front of one address; dropping it closes all connections.
pub(crate) struct Relay {
    address: String,
    delay_us: Arc<AtomicU64>,
    cut: watch::Sender<Cut>,
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
        let (cut, seen_cut) = watch::channel(Cut::default());
        let (target, delay) = (target.to_owned(), delay_us.clone());
        let body = move || {
            let local = tokio::task::LocalSet::new();
            // Ends with an error when the relay is dropped: all its tasks go with the runtime.
            let relaying = async {
                tokio::select! {
                    _ = stopped => {}
                    ended = accept(listener, target, delay, seen_cut) => {
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
            cut,
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

    /// From now on nothing comes through in this direction.
    pub(crate) fn cut(&self, way: Way) {
        self.cut.send_modify(|cut| match way {
            Way::There => cut.there = true,
            Way::Back => cut.back = true,
        });
    }

    /// Everything comes through again, in both directions.
    pub(crate) fn heal(&self) {
        self.cut.send_replace(Cut::default());
    }
}

impl Cut {
    const fn stops(self, way: Way) -> bool {
        match way {
            Way::There => self.there,
            Way::Back => self.back,
        }
    }

    /// No connection is made if either half of its greeting is lost.
    const fn stops_greetings(self) -> bool {
        self.there || self.back
    }
}

/// One direction of one connection.
#[derive(Clone)]
struct Lane {
    way: Way,
    cut: watch::Receiver<Cut>,
}

impl Lane {
    /// Waits until this direction is open.
    async fn open(&mut self) -> Result<()> {
        let way = self.way;
        self.cut.wait_for(|cut| !cut.stops(way)).await?;
        Ok(())
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
    mut cut: watch::Receiver<Cut>,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut waiting = Vec::new();
    loop {
        let near = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            healed = cut.wait_for(|cut| !cut.stops_greetings()), if !waiting.is_empty() => {
                healed?;
                waiting.clear();
                continue;
            }
        };
        if cut.borrow().stops_greetings() {
            if waiting.len() < WAITING_MAX {
                waiting.push(near);
            }
            continue;
        }
        // A target that does not listen is to the caller a connection that closes.
        let Ok(far) = TcpStream::connect(&target).await else {
            continue;
        };
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let lanes = [
            (near_in, far_out, Way::There),
            (far_in, near_out, Way::Back),
        ];
        for (from, to, way) in lanes {
            let (delay_us, cut) = (delay_us.clone(), cut.clone());
            tokio::task::spawn_local(async move {
                // Either end may close it, which is then passed on.
                let _ = pass(from, to, delay_us, Lane { way, cut }).await;
            });
        }
    }
}

/// A chunk and when it may leave.
type Chunk = (Instant, Vec<u8>);

async fn pass(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    delay_us: Arc<AtomicU64>,
    lane: Lane,
) -> Result<()> {
    // Bounded by the bytes under way, which the semaphore counts.
    let (enter, leave) = mpsc::unbounded_channel();
    let room = Rc::new(Semaphore::new(UNDER_WAY_MAX));
    tokio::try_join!(
        read(from, enter, room.clone(), (delay_us, lane.clone())),
        write(to, leave, room, lane)
    )?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    enter: mpsc::UnboundedSender<Chunk>,
    room: Rc<Semaphore>,
    (delay_us, mut lane): (Arc<AtomicU64>, Lane),
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut last = Instant::now();
    loop {
        lane.open().await?;
        let count = match from.read(&mut buffer).await {
            // A connection that was reset ends for the other side behind what was sent before,
            // and not before the cut is healed.
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => count,
        };
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
    mut lane: Lane,
) -> Result<()> {
    let timer = Timer::new()?;
    while let Some((time, bytes)) = leave.recv().await {
        if time > Instant::now() {
            timer.wait_until(time).await?;
        }
        lane.open().await?;
        to.write_all(&bytes).await?;
        room.add_permits(bytes.len());
    }
    lane.open().await?;
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

    /// Whether nothing comes for a while.
    fn is_quiet(stream: &mut std::net::TcpStream) -> bool {
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let read = stream.read(&mut [0; 1]);
        stream.set_read_timeout(None).unwrap();
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_cut_holds_each_direction_back_by_itself_and_loses_nothing() {
        let target = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(&target.local_addr().unwrap().to_string()).unwrap();
        let mut near = std::net::TcpStream::connect(relay.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        near.write_all(b"a").unwrap();
        far.read_exact(&mut [0; 1]).unwrap();

        relay.cut(Way::There);
        near.write_all(b"b").unwrap();
        far.write_all(b"c").unwrap();
        near.read_exact(&mut [0; 1]).unwrap();
        assert!(is_quiet(&mut far), "the cut direction");
        relay.cut(Way::Back);
        far.write_all(b"d").unwrap();
        drop(far);
        assert!(
            is_quiet(&mut near),
            "neither bytes nor the end come through"
        );

        relay.heal();
        let mut got = Vec::new();
        near.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"d");
    }

    #[test]
    fn who_dials_into_a_cut_is_not_greeted_and_sees_it_closed_afterwards() {
        let target = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(&target.local_addr().unwrap().to_string()).unwrap();
        relay.cut(Way::Back);
        let mut near = std::net::TcpStream::connect(relay.address()).unwrap();
        assert!(is_quiet(&mut near));
        relay.heal();
        assert!(matches!(near.read(&mut [0; 1]), Ok(0) | Err(_)));
        let mut near = std::net::TcpStream::connect(relay.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        far.write_all(b"a").unwrap();
        near.read_exact(&mut [0; 1]).unwrap();
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
