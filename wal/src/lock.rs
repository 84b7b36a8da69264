//! The lock of a data directory, and whether somebody has it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::DirError;

pub(crate) const LOCK: &str = "LOCK";
/// Who looks has the lock for two system calls. Whoever has it longer than this is no such one.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Takes the exclusive lock of the directory at `path`, or tells who has it.
pub(crate) fn lock(path: &Path) -> Result<File, DirError> {
    let file = path.join(LOCK);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .map_err(DirError::io(&file, "open the lock file"))?;
    if !take(&lock).map_err(DirError::io(&file, "lock the file"))? {
        let mut text = String::new();
        let _ = (&mut lock).take(64).read_to_string(&mut text);
        let holder = match text.trim().parse::<u32>() {
            Ok(pid) => format!("process {pid}"),
            Err(_) => "another process".to_owned(),
        };
        return Err(DirError::InUse {
            path: path.to_path_buf(),
            holder,
        });
    }
    // The process id only helps a person; the lock itself is the kernel's.
    lock.set_len(0)
        .and_then(|()| lock.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(lock, "{}", std::process::id()))
        .map_err(DirError::io(&file, "write the lock file"))?;
    Ok(lock)
}

/// Whether the lock could be had. Whoever has it shared only looks, and is waited for.
fn take(lock: &File) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        if flocked(lock, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(true);
        }
        if !flocked(lock, FlockOperation::NonBlockingLockShared)? || began.elapsed() > LOOK_MAX {
            return Ok(false);
        }
        flock(lock, FlockOperation::Unlock)?;
        // Not awaited in the kernel: another server may take it in between, and keep it for good.
        std::thread::yield_now();
    }
}

/// Whether a process has the directory open. Who starts in this moment is not disturbed: see
/// [`lock`].
///
/// The kernel's list of all locks does not tell it: it is given out in parts, and an entry is left
/// out when one before it goes between two of them.
pub(crate) fn is_in_use(path: &Path) -> bool {
    let lock = match File::open(path.join(LOCK)) {
        Ok(lock) => lock,
        // What cannot be looked at may be in use.
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
    };
    !flocked(&lock, FlockOperation::NonBlockingLockShared).unwrap_or(false)
}

fn flocked(lock: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(lock, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
