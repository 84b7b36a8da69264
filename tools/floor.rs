//! The floor: the least that one commit on two disks can cost on this machine.
//!
//! Three plain threads and two loopback connections do what any primary and replica must do
//! for one commit, and nothing else: no ledger, no checksum, no compression. Commit latency is
//! then a multiple of this floor, which says more than microseconds of some machine.
//!
//! ```text
//! client            primary                       replica
//!   │── request ──────▶│── shipped batch ────────────▶│
//!   │                  │ pwrite, fdatasync            │ pwrite, fdatasync
//!   │                  │◀──────────────────── ack ────│
//!   │◀──────── reply ──│
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use kanjo_format::limits::PAGE_BYTES;
use rustix::fs::{FallocateFlags, OFlags};
use serde::Serialize;

/// Bytes of each of the two files. Commits go round and round in it: after the zero-fill every
/// block is a written one, so the second round costs what the first did.
const FILE_BYTES: u64 = 32 << 20;
/// Bytes of one zero-filling write.
const FILL_BYTES: usize = 1 << 20;
/// Every frame starts with the number of its commit.
const NUMBER_BYTES: usize = 8;

/// Bytes of one commit: whole frames on the wire, and what is written to each disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FrameBytes {
    /// From the client.
    pub(crate) request: usize,
    /// Into each log; whole pages are written.
    pub(crate) write: usize,
    /// To the replica.
    pub(crate) ship: usize,
    /// Back.
    pub(crate) ack: usize,
    /// To the client.
    pub(crate) reply: usize,
}

/// A running primary and replica, with the client's connection to the primary.
pub(crate) struct Floor {
    connection: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    commits: u64,
    primary: JoinHandle<Result<()>>,
    replica: JoinHandle<Result<()>>,
    files: Files,
}

/// Removed when the measurement ends, however it ends.
struct Files([PathBuf; 2]);

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            // May not have been made yet.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Floor {
    /// Prepares two files in `dir` and starts both threads.
    pub(crate) fn start(dir: &Path, sizes: FrameBytes) -> Result<Self> {
        Self::start_on(dir, sizes, connected_pair()?)
    }

    /// The same with a link between the two threads: `link` is given where the replica listens, and
    /// gives where the primary connects instead.
    pub(crate) fn start_over(
        dir: &Path,
        sizes: FrameBytes,
        link: impl FnOnce(&str) -> Result<String>,
    ) -> Result<Self> {
        let listener = listen()?;
        let address = link(&listener.local_addr()?.to_string())?;
        let near = TcpStream::connect(address).context("connecting to the link")?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        Self::start_on(dir, sizes, (near, far))
    }

    fn start_on(
        dir: &Path,
        sizes: FrameBytes,
        (to_replica, from_primary): (TcpStream, TcpStream),
    ) -> Result<Self> {
        let frames = [sizes.request, sizes.ship, sizes.ack, sizes.reply];
        for bytes in frames.into_iter().chain([sizes.write]) {
            let fits = (NUMBER_BYTES..=FILL_BYTES).contains(&bytes);
            ensure!(
                fits,
                "a frame of {bytes} bytes cannot be measured: 8 to {FILL_BYTES} can"
            );
        }
        let write_bytes = (sizes.write as u64).next_multiple_of(PAGE_BYTES);
        let files = Files(["floor-primary", "floor-replica"].map(|name| dir.join(name)));
        let [primary_file, replica_file] = &files.0;
        let replica_disk = Disk::prepare(replica_file, write_bytes)?;
        let primary_disk = Disk::prepare(primary_file, write_bytes)?;

        let replica = start_thread("floor-replica", move || {
            replicate(from_primary, replica_disk, sizes)
        })?;
        let (connection, from_client) = connected_pair()?;
        let primary = start_thread("floor-primary", move || {
            let (client, replica) = (from_client, to_replica);
            serve(client, replica, primary_disk, sizes)
        })?;
        Ok(Self {
            connection,
            request: noise(sizes.request),
            reply: vec![0; sizes.reply],
            commits: 0,
            primary,
            replica,
            files,
        })
    }

    /// Makes so many commits, one after the other, from the calling thread, and records the
    /// nanoseconds of each from the first byte sent to the last byte of the reply.
    pub(crate) fn run_block(&mut self, commits: u64, latencies: &mut Histogram<u64>) -> Result<()> {
        for _ in 0..commits {
            self.commits += 1;
            self.request[..NUMBER_BYTES].copy_from_slice(&self.commits.to_le_bytes());
            let begun = Instant::now();
            self.connection
                .write_all(&self.request)
                .and_then(|()| self.connection.read_exact(&mut self.reply))
                .context("the floor's primary closed the connection")?;
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let answered = number(&self.reply);
            ensure!(
                answered == self.commits,
                "the floor answered commit {answered}, not the one asked"
            );
            // Alone, the saturating call would also clamp where the histogram can grow.
            if latencies.record(nanos).is_err() {
                latencies.saturating_record(nanos);
            }
        }
        Ok(())
    }

    /// Ends both threads, removes the files and returns what went wrong, if anything did.
    pub(crate) fn stop(self) -> Result<()> {
        let Self {
            connection,
            primary,
            replica,
            files,
            ..
        } = self;
        // The primary ends when the client is gone, the replica when the primary is.
        drop(connection);
        for (name, thread) in [("primary", primary), ("replica", replica)] {
            match thread.join() {
                Ok(ended) => ended.with_context(|| format!("the floor's {name}"))?,
                Err(_) => bail!("the floor's {name} panicked"),
            }
        }
        drop(files);
        Ok(())
    }
}

fn serve(
    mut client: TcpStream,
    mut replica: TcpStream,
    mut disk: Disk,
    sizes: FrameBytes,
) -> Result<()> {
    let mut request = vec![0; sizes.request];
    let mut ship = noise(sizes.ship);
    let mut ack = vec![0; sizes.ack];
    let mut reply = noise(sizes.reply);
    while read_frame(&mut client, &mut request)? {
        let commit = &request[..NUMBER_BYTES];
        ship[..NUMBER_BYTES].copy_from_slice(commit);
        reply[..NUMBER_BYTES].copy_from_slice(commit);
        // ORDER: send before the own sync, so that both disks work at the same time.
        replica.write_all(&ship)?;
        disk.commit(&request)?;
        replica.read_exact(&mut ack)?;
        ensure!(
            ack[..NUMBER_BYTES] == request[..NUMBER_BYTES],
            "an ack of another commit"
        );
        client.write_all(&reply)?;
    }
    Ok(())
}

fn replicate(mut primary: TcpStream, mut disk: Disk, sizes: FrameBytes) -> Result<()> {
    let mut ship = vec![0; sizes.ship];
    let mut ack = noise(sizes.ack);
    while read_frame(&mut primary, &mut ship)? {
        disk.commit(&ship)?;
        ack[..NUMBER_BYTES].copy_from_slice(&ship[..NUMBER_BYTES]);
        primary.write_all(&ack)?;
    }
    Ok(())
}

/// A prepared file that is written in whole pages, in order, round and round.
struct Disk {
    file: File,
    page: Vec<u8>,
    offset: u64,
}

impl Disk {
    fn prepare(path: &Path, write_bytes: u64) -> Result<Self> {
        let file = zero_filled(path).with_context(|| format!("preparing {}", path.display()))?;
        Ok(Self {
            file,
            page: noise(write_bytes as usize),
            offset: 0,
        })
    }

    fn commit(&mut self, frame: &[u8]) -> io::Result<()> {
        let kept = frame.len().min(self.page.len());
        self.page[..kept].copy_from_slice(&frame[..kept]);
        self.file.write_all_at(&self.page, self.offset)?;
        self.file.sync_data()?;
        let write_bytes = self.page.len() as u64;
        self.offset += write_bytes;
        if self.offset + write_bytes > FILE_BYTES {
            self.offset = 0;
        }
        Ok(())
    }
}

/// Makes the file, every block of it allocated, written and synced, so that a commit changes no
/// metadata. `O_DIRECT` keeps large page-cache folios out of the way; where the file system
/// refuses it, the fill is buffered.
fn zero_filled(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = options.clone().create(true).truncate(true).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let direct = options
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path);
    let filled = direct.and_then(|direct| fill(&direct));
    if filled.is_err() {
        fill(&file)?;
    }
    file.sync_all()?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

fn fill(file: &File) -> io::Result<()> {
    // O_DIRECT asks for an aligned buffer.
    let zeros = vec![0; FILL_BYTES + PAGE_BYTES as usize];
    let start = zeros.as_ptr().align_offset(PAGE_BYTES as usize);
    let zeros = zeros.get(start..start.saturating_add(FILL_BYTES));
    let zeros = zeros.ok_or(io::ErrorKind::Unsupported)?;
    for offset in (0..FILE_BYTES).step_by(FILL_BYTES) {
        file.write_all_at(zeros, offset)?;
    }
    Ok(())
}

fn listen() -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a loopback port")
}

fn connected_pair() -> Result<(TcpStream, TcpStream)> {
    let listener = listen()?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, peer) = listener.accept()?;
    ensure!(
        peer == near.local_addr()?,
        "a stranger connected to the floor's port"
    );
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn start_thread(
    name: &str,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(body).context("starting a thread")
}

/// Reads a whole frame; false if the other side closed the connection instead.
fn read_frame(stream: &mut TcpStream, frame: &mut [u8]) -> io::Result<bool> {
    match stream.read_exact(frame) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes that no disk or file system can shrink.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn number(frame: &[u8]) -> u64 {
    let mut bytes = [0; NUMBER_BYTES];
    bytes.copy_from_slice(&frame[..NUMBER_BYTES]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: FrameBytes = FrameBytes {
        request: 164,
        write: 200,
        ship: 120,
        ack: 96,
        reply: 52,
    };

    #[test]
    fn every_commit_of_a_block_is_measured_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut floor = Floor::start(dir.path(), SIZES).unwrap();
        let mut latencies = Histogram::new(3).unwrap();
        floor.run_block(20, &mut latencies).unwrap();
        floor.run_block(5, &mut latencies).unwrap();
        assert_eq!(latencies.len(), 25);
        // Two network hops and a sync take longer than a microsecond anywhere.
        assert!(latencies.min() > 1_000, "{} ns", latencies.min());
        let sizes = std::fs::read_dir(dir.path()).unwrap();
        for entry in sizes {
            let length = entry.unwrap().metadata().unwrap().len();
            assert_eq!(length, FILE_BYTES, "prepared as a whole, and not grown");
        }
        floor.stop().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let Err(error) = Floor::start(Path::new("/nonexistent/floor"), SIZES) else {
            panic!("started in no directory");
        };
        assert!(
            format!("{error:#}").contains("/nonexistent/floor"),
            "{error:#}"
        );
    }
}
