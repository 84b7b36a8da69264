//! Opening the runs of a folder, and making the next set out of one.
//!
//! ```text
//! folder  A-B.run …   opened: taken one behind the other from lsn 0, the widest first
//!                     left out: unreadable, of another cluster or seed, covered by a wider one,
//!                     behind a gap; told with the reason, removed by `RunSet::remove`
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RunSet, SetParams};
use crate::error::RunError;
use crate::run::{Run, RunInfo};
use crate::writer::sync_dir;

/// A file in the folder that is no part of the set, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The file.
    pub file: PathBuf,
    /// Why it was left out.
    pub reason: String,
    /// Whether it is what an interruption leaves: unfinished, or covered by a wider run.
    pub is_leftover: bool,
}

impl Dropped {
    const fn leftover(file: PathBuf, reason: String) -> Self {
        Self {
            file,
            reason,
            is_leftover: true,
        }
    }

    const fn bad(file: PathBuf, reason: String) -> Self {
        Self {
            file,
            reason,
            is_leftover: false,
        }
    }
}

impl RunSet {
    /// Opens the runs of a folder; one that is not there has none. Changes nothing: what is left
    /// out stays where it is.
    pub fn open(mut params: SetParams) -> Result<(Self, Vec<Dropped>), RunError> {
        let dir = params.dir.clone();
        let mut dropped = Vec::new();
        let mut found: Vec<Arc<Run>> = Vec::new();
        for file in files(&dir)? {
            if file.extension().is_none_or(|end| end != "run") {
                dropped.push(Dropped::leftover(file, "not a finished run".into()));
                continue;
            }
            match Run::open(file.clone()) {
                Ok(run) if run.footer().cluster == params.cluster => found.push(Arc::new(run)),
                Ok(run) => {
                    let reason = format!("of cluster {}", run.footer().cluster);
                    dropped.push(Dropped::bad(file, reason));
                }
                // What passes by itself costs no run: only bytes that do not verify do.
                Err(error @ RunError::Io { .. }) => return Err(error),
                Err(error) => dropped.push(Dropped::bad(file, error.to_string())),
            }
        }
        found.sort_by_key(|run| (run.first_lsn(), std::cmp::Reverse(run.end_lsn())));
        if let Some(first) = found.first() {
            params.seed = first.footer().seed;
        }
        let mut set = Self::empty(params);
        for run in found {
            let (file, end) = (run.path().to_path_buf(), set.end());
            if run.end_lsn() <= end {
                let reason = format!("covered by a wider run that ends at lsn {end}");
                dropped.push(Dropped::leftover(file, reason));
            } else if let Err(error) = set.push(run) {
                dropped.push(Dropped::bad(file, error.to_string()));
            }
        }
        Ok((set.with_filters(), dropped))
    }

    /// The first `runs` runs of the set, to be gone on with in another folder.
    pub fn prefix(&self, runs: usize, dir: PathBuf) -> Self {
        let runs = self.runs[..runs.min(self.runs.len())].to_vec();
        let accounts = runs.last().map_or(0, |run| {
            run.footer().first_account as usize + run.footer().accounts as usize
        });
        let params = SetParams {
            dir,
            ..self.params.clone()
        };
        let ledgers = Arc::new(self.ledgers[..accounts].to_vec());
        Self {
            params,
            runs,
            ledgers,
        }
    }

    /// The same set and one more run, which begins where the set ends.
    pub fn with(&self, run: &RunInfo) -> Result<Self, RunError> {
        let mut set = self.clone();
        set.push(Arc::new(Run::open(run.path.clone())?))?;
        Ok(set.with_filters())
    }

    /// The same set with a merged run in the place of its sources, whose files may then be
    /// removed by [`RunSet::remove`].
    pub fn with_merged(&self, run: &RunInfo) -> Result<Self, RunError> {
        let merged = Arc::new(Run::open(run.path.clone())?);
        let range = merged.first_lsn()..merged.end_lsn();
        let covered = |run: &Arc<Run>| range.start <= run.first_lsn() && run.end_lsn() <= range.end;
        let from = self.runs.iter().position(covered);
        let count = self.runs.iter().filter(|run| covered(run)).count();
        let fits = from.is_some_and(|from| {
            self.runs[from].first_lsn() == range.start
                && self.runs[from + count - 1].end_lsn() == range.end
        });
        let (Some(from), true) = (from, fits) else {
            return Err(RunError::Refused {
                doing: "take in a merged run",
                why: format!("no runs cover lsn {} to {}", range.start, range.end),
            });
        };
        let mut set = self.clone();
        set.runs.splice(from..from + count, [merged]);
        Ok(set.with_filters())
    }

    fn push(&mut self, run: Arc<Run>) -> Result<(), RunError> {
        let (footer, end) = (run.footer(), self.end());
        let refused = |why: String| {
            let why = format!("{}: {why}", run.path().display());
            let doing = "take in a run";
            Err(RunError::Refused { doing, why })
        };
        if footer.first_lsn != end {
            let first = footer.first_lsn;
            return refused(format!(
                "it begins at lsn {first}, the runs before it end at {end}"
            ));
        }
        if footer.seed != self.params.seed {
            return refused("its hashes have another seed".into());
        }
        if footer.first_account as usize != self.ledgers.len() {
            return refused("it counts other accounts before it".into());
        }
        if footer.accounts > 0 {
            run.accounts(Arc::make_mut(&mut self.ledgers))?;
        }
        self.runs.push(run);
        Ok(())
    }

    /// Loads filters, those of the newest runs first, as far as memory is allowed for them. One
    /// that cannot be read is left on the disk, where a look-up meets the same error.
    fn with_filters(mut self) -> Self {
        let mut room = self.params.filter_bytes_max;
        for run in self.runs.iter_mut().rev() {
            let rest = room.checked_sub(run.filter_bytes());
            room = rest.unwrap_or(0);
            if rest.is_some() == run.has_filter() {
                continue;
            }
            let opened = Run::open(run.path()).and_then(|opened| match rest {
                Some(_) => opened.with_filter(),
                None => Ok(opened),
            });
            if let Ok(opened) = opened {
                *run = Arc::new(opened);
            }
        }
        self
    }

    /// Removes files that are no part of any set, at once: those that [`RunSet::open`] left out, or the
    /// sources of a merged run. Whoever still reads one of them goes on.
    pub fn remove<'a>(&self, files: impl IntoIterator<Item = &'a Path>) -> Result<(), RunError> {
        // ORDER: what replaces them was named, and the folder synced, before.
        for file in files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RunError::io(file, 0, "remove the file")(error));
                }
                _ => {}
            }
        }
        sync_dir(&self.params.dir)
    }
}

/// The files of a folder, sorted by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>, RunError> {
    let list = || RunError::io(dir, 0, "list the folder");
    let mut files = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        entries => entries.map_err(list())?,
    };
    for entry in entries {
        files.push(entry.map_err(list())?.path());
    }
    files.sort();
    Ok(files)
}
