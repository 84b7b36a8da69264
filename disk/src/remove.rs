//! Removing a large file a piece at a time, unless somebody still reads it.
//!
//! The name goes at once, so nobody opens the file any more; its blocks follow from the end of the
//! file. Whoever had it open would miss them, and who has it mapped would be killed. So all who open a
//! file that may be removed hold a shared lock on it (`flock`) for as long as it is open, and only who
//! gets the exclusive one shortens it. If others have it, the last of them frees all of it when it
//! closes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::pace::Pace;
use crate::{PIECE_BYTES, sync_dir};

/// Opens a file for reading that may be removed meanwhile: it stays whole while this is open. One
/// that is being removed is not there.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true))
}

/// The same, opened in another way.
pub fn open_with(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path)?;
    let held = hold(&file);
    // Removed since it was opened, and perhaps shortened before it was held.
    if file.metadata()?.nlink() == 0 {
        let gone = "the file was removed while it was opened";
        return Err(io::Error::new(io::ErrorKind::NotFound, gone));
    }
    held.map(|()| file)
}

/// Keeps a file whole that is open, for as long as it is: no [`remove`] shortens it. Whether one has
/// before is for the caller to see.
pub fn hold(file: &File) -> io::Result<()> {
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another program has an exclusive lock on the file",
        )),
        // Where the file system has no locks [`remove`] gets none either, and shortens nothing.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a file, for good. Returns when its blocks are free, at this pace, or left to whoever
/// still reads them. An error means that it may still be there.
pub fn remove(path: &Path, mut pace: Pace<'_>) -> io::Result<()> {
    // One that cannot be opened can go all the same, at once.
    let file = OpenOptions::new().write(true).open(path).ok();
    fs::remove_file(path)?;
    // ORDER: no crash brings the name back over a file that was shortened.
    sync_dir(path.parent().unwrap_or(path))?;
    let Some(file) = file.filter(|file| file.try_lock().is_ok()) else {
        return Ok(());
    };
    for bytes in shorter(file.metadata()?.len()) {
        if pace.piece(|| file.set_len(bytes)).is_err() {
            // What is left goes when the file is closed.
            break;
        }
    }
    Ok(())
}

/// The lengths that a file of `bytes` has on its way to none.
fn shorter(bytes: u64) -> impl Iterator<Item = u64> {
    let next = |left: &u64| {
        left.checked_sub(1)
            .map(|last| last / PIECE_BYTES * PIECE_BYTES)
    };
    std::iter::successors(next(&bytes), next)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_removed_file_is_freed_when_nobody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; 3 << 20]).unwrap();
        // Holds no lock, so it sees what becomes of the file.
        let witness = File::open(&path).unwrap();
        remove(&path, Pace::at_once()).unwrap();
        assert!(!path.exists());
        assert_eq!(witness.metadata().unwrap().len(), 0);
    }

    #[test]
    fn who_reads_a_removed_file_reads_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; 3 << 20]).unwrap();
        let mut reader = open(&path).unwrap();
        remove(&path, Pace::at_once()).unwrap();
        assert!(!path.exists());
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert_eq!(found, vec![7; 3 << 20]);
    }

    #[test]
    fn a_file_is_shortened_by_no_more_than_a_piece_at_a_time() {
        for bytes in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 100 * PIECE_BYTES - 1] {
            let mut left = bytes;
            for next in shorter(bytes) {
                assert!((1..=PIECE_BYTES).contains(&(left - next)));
                left = next;
            }
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn a_file_that_is_being_removed_is_not_there_and_one_that_is_locked_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"bytes").unwrap();
        let remover = File::open(&path).unwrap();
        remover.try_lock().unwrap();
        let refused = open(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        // A name in the table of this process leads to the file that has none any more.
        let name = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&remover)
        );
        fs::remove_file(&path).unwrap();
        remover.unlock().unwrap();
        let refused = open(Path::new(&name)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_is_not_there_cannot_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let refused = remove(&dir.path().join("file"), Pace::gentle()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
