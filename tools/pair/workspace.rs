//! The directory that a run works in, and its removal.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Names a directory as one of ours, whose content may be replaced; its lock says "in use".
const MARKER: &str = ".kanjo-workspace";
/// A node that is being killed may still make a file while its directory is removed.
const REMOVALS_MAX: usize = 20;

/// A directory of one run. Dropping it removes it, unless it shall be kept.
pub(crate) struct Workspace {
    path: PathBuf,
    /// Directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
    keep: bool,
    _marker: File,
}

impl Workspace {
    /// Takes an absent or empty directory, or one that an earlier run was told to keep, whose
    /// content is then replaced. Any other is refused.
    pub(crate) fn claim(path: &Path, keep: bool) -> Result<Self> {
        let mut made = make(path).with_context(|| format!("making {}", path.display()))?;
        let path = path.canonicalize()?;
        let marker_path = path.join(MARKER);
        let empty = std::fs::read_dir(&path)?.next().is_none();
        if !empty && !marker_path.is_file() {
            bail!(
                "{} holds files of somebody else: name another directory with --dir",
                path.display()
            );
        }
        if !empty {
            // An earlier run made it and did not get to remove it.
            made.push(path.clone());
        }
        let mut options = OpenOptions::new();
        let marker = options.create(true).append(true).open(&marker_path)?;
        if flock(&marker, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another run works in {}: name another directory with --dir",
                path.display()
            );
        }
        clear(&path)?;
        if !keep && cfg!(panic = "abort") {
            remove_on_panic(path.clone());
        }
        Ok(Self {
            path,
            made,
            keep,
            _marker: marker,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        remove_content(&self.path);
        let _ = std::fs::remove_file(self.path.join(MARKER));
        for made in self.made.iter().rev() {
            // Stays if somebody put something into it.
            let _ = std::fs::remove_dir(made);
        }
    }
}

/// Makes a directory and those above it; gives the ones that were not there.
fn make(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let path = std::path::absolute(path)?;
    let mut made: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    made.reverse();
    std::fs::create_dir_all(&path)?;
    Ok(made)
}

/// Removes everything but the marker.
fn clear(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        let removed = match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn remove_content(path: &Path) {
    for _ in 0..REMOVALS_MAX {
        if clear(path).is_ok() {
            return;
        }
        std::thread::yield_now();
    }
}

/// Where a panic aborts, nothing is dropped: the processes end with this one, the directory is
/// removed here.
fn remove_on_panic(path: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        remove_content(&path);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_removed_and_nothing_else() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let workspace = Workspace::claim(&path, false).unwrap();
        std::fs::create_dir(workspace.path().join("node-1")).unwrap();
        drop(workspace);
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 0);

        drop(Workspace::claim(outer.path(), false).unwrap());
        assert!(outer.path().is_dir(), "it was there before");
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_kept_directory_is_replaced_by_the_next_run_and_by_no_other_one() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("kept");
        let first = Workspace::claim(&path, true).unwrap();
        std::fs::write(path.join("node-1.log"), "x").unwrap();
        let error = Workspace::claim(&path, true).err().unwrap().to_string();
        assert!(error.contains("another run"), "{error}");
        drop(first);
        assert!(path.join("node-1.log").is_file());
        let second = Workspace::claim(&path, true).unwrap();
        assert!(!second.path().join("node-1.log").exists());
        drop(second);
        drop(Workspace::claim(&path, false).unwrap());
        assert!(!path.exists(), "no later run is needed for it");
    }

    #[test]
    fn files_of_somebody_else_are_not_touched() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("letter"), "dear").unwrap();
        let error = Workspace::claim(outer.path(), false).err().unwrap();
        assert!(error.to_string().contains("--dir"), "{error}");
        assert_eq!(std::fs::read(outer.path().join("letter")).unwrap(), b"dear");
    }
}
