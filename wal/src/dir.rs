//! The data directory: its lock, its control file, and the files beside the log.
//!
//! ```text
//! LOCK  control  log/  checkpoints/LLLLLLLLLLLLLLLL.ckpt  quarantine/  index/
//! ```
//!
//! One process has the directory at a time (an exclusive `flock` on `LOCK`, gone with the
//! process). Everything that is made here is synced with its directory before it counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kanjo_disk::Pace;
use kanjo_format::Lsn;
use kanjo_format::control::Control;

use crate::control::ControlFile;
use crate::error::DirError;
use crate::lock::{LOCK, lock};

pub(crate) const CONTROL: &str = "control";
pub(crate) const LOG: &str = "log";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const QUARANTINE: &str = "quarantine";
/// The folder of the index: made here with the others, filled and read by others.
pub const INDEX: &str = "index";
const CHECKPOINT_SUFFIX: &str = ".ckpt";
/// What an unfinished `format` can leave, and what a fresh file system has by itself.
const HARMLESS: [&str; 7] = [
    LOCK,
    LOG,
    CHECKPOINTS,
    QUARANTINE,
    INDEX,
    "control.tmp",
    "lost+found",
];

/// An open data directory: the exclusive lock and the control file. Shared between threads.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    control: Mutex<ControlFile>,
    // Held, not read: the lock goes when the last owner does.
    _lock: File,
}

/// The exclusive lock of a data directory, and nothing else of it.
#[derive(Debug)]
pub struct DirLock {
    // Held, not read.
    _lock: File,
}

impl DataDir {
    /// Makes `path` a data directory with this control content, and syncs all of it.
    ///
    /// Refuses a directory that holds anything but what an unfinished `format` left.
    pub fn format(path: impl AsRef<Path>, control: &Control) -> Result<(), DirError> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(DirError::io(path, "create the directory"))?;
        refuse_non_empty(path)?;
        let _lock = lock(path)?;
        for name in [LOG, CHECKPOINTS, QUARANTINE, INDEX] {
            let sub = path.join(name);
            fs::create_dir_all(&sub).map_err(DirError::io(&sub, "create the directory"))?;
            sync_dir(&sub)?;
        }
        // ORDER: the control file comes last and whole; with it the directory is formatted.
        ControlFile::create(&path.join("control.tmp"), &path.join(CONTROL), control)?;
        sync_dir(path)?;
        match path.canonicalize().ok().as_deref().and_then(Path::parent) {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Takes the lock, reads the control file and counts the start in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DirError> {
        let path = path.as_ref();
        if !path.join(CONTROL).is_file() {
            return Err(DirError::NotFormatted {
                path: path.to_path_buf(),
            });
        }
        let lock = lock(path)?;
        let mut control = ControlFile::open(&path.join(CONTROL))?;
        // A start that is lost could be mistaken for an older image of the disk: both slots.
        control.write(true, |c| c.start_count += 1)?;
        for name in [LOG, CHECKPOINTS, QUARANTINE, INDEX] {
            let sub = path.join(name);
            fs::create_dir_all(&sub).map_err(DirError::io(&sub, "create the directory"))?;
        }
        sync_dir(path)?;
        remove_temporary(&path.join(CHECKPOINTS))?;
        Ok(Self {
            path: path.to_path_buf(),
            control: Mutex::new(control),
            _lock: lock,
        })
    }

    /// Takes the lock alone, for work on derived files while no node runs: it counts no start and
    /// writes nothing. Given back when the value goes.
    pub fn lock(path: impl AsRef<Path>) -> Result<DirLock, DirError> {
        let path = path.as_ref();
        if !path.join(CONTROL).is_file() {
            return Err(DirError::NotFormatted {
                path: path.to_path_buf(),
            });
        }
        Ok(DirLock { _lock: lock(path)? })
    }

    /// Reads the control file of a directory that may be in use. Changes nothing.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Control, DirError> {
        ControlFile::inspect(&path.as_ref().join(CONTROL))
    }

    /// The control content as last written.
    pub fn control(&self) -> Control {
        self.locked().control()
    }

    /// Writes a changed mark: one slot, synced. The other keeps what was promised before.
    pub fn update(&self, change: impl FnOnce(&mut Control)) -> Result<(), DirError> {
        self.locked().write(false, change)
    }

    /// Writes what is granted or promised: both slots, one synced after the other, before this
    /// returns and anything may be answered.
    pub fn promise(&self, change: impl FnOnce(&mut Control)) -> Result<(), DirError> {
        self.locked().write(true, change)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The checkpoints that are whole, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<(Lsn, PathBuf)>, DirError> {
        list_checkpoints(&self.path)
    }

    /// Writes the checkpoint of `lsn` at this pace: it is there whole and synced, or not at all.
    pub fn write_checkpoint(
        &self,
        lsn: Lsn,
        pace: Pace<'_>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<PathBuf, DirError> {
        let folder = self.path.join(CHECKPOINTS);
        let target = folder.join(format!("{:016x}{CHECKPOINT_SUFFIX}", lsn.get()));
        let temporary = target.with_extension("ckpt.tmp");
        let written = (|| {
            let mut out = kanjo_disk::Writer::new(File::create(&temporary)?, pace);
            write(&mut out)?;
            // ORDER: content before name, name before the directory.
            out.finish()?;
            fs::rename(&temporary, &target)
        })();
        if let Err(source) = written {
            let _ = fs::remove_file(&temporary);
            return Err(DirError::io(&temporary, "write the checkpoint")(source));
        }
        sync_dir(&folder)?;
        Ok(target)
    }

    /// Removes the checkpoint of `lsn`, if there is one, at this pace. Whoever has it open (with
    /// [`kanjo_disk::open`]) reads on.
    pub fn remove_checkpoint(&self, lsn: Lsn, pace: Pace<'_>) -> Result<(), DirError> {
        let folder = self.path.join(CHECKPOINTS);
        let file = folder.join(format!("{:016x}{CHECKPOINT_SUFFIX}", lsn.get()));
        match kanjo_disk::remove(&file, pace) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DirError::io(&file, "remove the checkpoint")(error))
            }
            _ => Ok(()),
        }
    }

    /// Creates a file in `quarantine/` under `name`, or `name` with a number behind it if that
    /// is taken; nothing there is ever overwritten.
    pub fn quarantine_file(&self, name: &str) -> Result<(File, PathBuf), DirError> {
        let folder = self.path.join(QUARANTINE);
        let mut file = folder.join(name);
        for number in 1..=u32::MAX {
            match OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(opened) => {
                    sync_dir(&folder)?;
                    return Ok((opened, file));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    file = folder.join(format!("{name}.{number}"));
                }
                Err(error) => return Err(DirError::io(&file, "create the file")(error)),
            }
        }
        Err(DirError::io(&file, "find a free name")(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Bytes that this process may still write on the directory's file system.
    pub fn free_bytes(&self) -> Result<u64, DirError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| DirError::io(&self.path, "read the file system's state")(e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn locked(&self) -> MutexGuard<'_, ControlFile> {
        // A panic elsewhere leaves the content whole: it is replaced only after it is synced.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs a directory, so that names made, renamed or removed in it stay so.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DirError> {
    kanjo_disk::sync_dir(path).map_err(DirError::io(path, "sync the directory"))
}

/// Removes what an interrupted write left under a temporary name.
pub(crate) fn remove_temporary(folder: &Path) -> Result<(), DirError> {
    for name in names(folder)? {
        if name.ends_with(".tmp") {
            let file = folder.join(name);
            fs::remove_file(&file).map_err(DirError::io(&file, "remove the temporary file"))?;
        }
    }
    Ok(())
}

/// The names in a directory, sorted; one that is not UTF-8 is none of ours and left out.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, DirError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DirError::io(folder, "list the directory"))? {
        let entry = entry.map_err(DirError::io(folder, "list the directory"))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

pub(crate) fn list_checkpoints(path: &Path) -> Result<Vec<(Lsn, PathBuf)>, DirError> {
    let folder = path.join(CHECKPOINTS);
    let found = names(&folder)?.into_iter().filter_map(|name| {
        let lsn = parse_hex(name.strip_suffix(CHECKPOINT_SUFFIX)?)?;
        Some((Lsn::new(lsn), folder.join(name)))
    });
    Ok(found.collect())
}

/// The number of exactly 16 lower-case hexadecimal digits.
pub(crate) fn parse_hex(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn refuse_non_empty(path: &Path) -> Result<(), DirError> {
    let not_empty = |found: String| DirError::NotEmpty {
        path: path.to_path_buf(),
        found,
    };
    for entry in fs::read_dir(path).map_err(DirError::io(path, "list the directory"))? {
        let entry = entry.map_err(DirError::io(path, "list the directory"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !HARMLESS.contains(&name.as_str()) {
            return Err(not_empty(name));
        }
        if [LOG, CHECKPOINTS, QUARANTINE, INDEX].contains(&name.as_str())
            && let Some(inner) = names(&path.join(&name))?.into_iter().next()
        {
            return Err(not_empty(format!("{name}/{inner}")));
        }
    }
    Ok(())
}
