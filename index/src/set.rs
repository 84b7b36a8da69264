//! The set of open runs that covers the log from its start without a gap.
//!
//! ```text
//! folder  A-B.run …   opened: taken one behind the other from lsn 0, the widest first
//!                     left out: unreadable, of another cluster or seed, covered by a wider one,
//!                     behind a gap; told with the reason, removed by `RunSet::clean`
//! ```

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_format::run::lists::Sums;
use kanjo_format::run::rows::LinkKind;
use kanjo_format::run::{RUN_MERGE_WIDTH, RUN_TIER_TOP, RunHasher, RunKey};
use kanjo_format::{AccountNumber, ClusterId, LedgerId, Lsn, RecordAt, Timestamp, TransferId};

use crate::cursor::{Direction, Places, Postings, start_of};
use crate::error::RunError;
use crate::run::{Run, RunInfo};
use crate::writer::sync_dir;

/// What a set is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetParams {
    /// The folder of the runs.
    pub dir: PathBuf,
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// Bytes of the log's segments.
    pub segment_bytes: u64,
    /// Seed of the hashes. A folder that holds runs keeps theirs.
    pub seed: u64,
    /// Most bytes of filters in memory; those of older runs are read from the disk.
    pub filter_bytes_max: usize,
}

/// Immutable, shared runs in the order of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunSet {
    params: SetParams,
    runs: Vec<Arc<Run>>,
    ledgers: Arc<Vec<LedgerId>>,
}

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

/// What became of a transfer by a later record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// How.
    pub kind: LinkKind,
    /// The later record.
    pub by: RecordAt,
}

/// Balances of an account, and which records they lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Balances before the record at `from`.
    pub sums: Sums,
    /// The account's records from here on, up to the place that was asked for, are to be added.
    pub from: RecordAt,
}

/// Sums over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transfers.
    pub transfers: u64,
    /// Failed and burned ids.
    pub failed: u64,
    /// Records of all kinds.
    pub records: u64,
    /// Accounts that were opened.
    pub accounts: u64,
}

/// Neighbouring runs of one tier that are due to become one of the next.
#[derive(Clone, Debug)]
pub struct Merge {
    /// The runs, in the order of the log.
    pub runs: Vec<Arc<Run>>,
    /// Tier of the run that they become.
    pub tier: u8,
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
    /// A set without runs.
    pub fn empty(params: SetParams) -> Self {
        Self {
            params,
            runs: Vec::new(),
            ledgers: Arc::default(),
        }
    }

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

    /// Removes files that are no part of any set any more: those that [`RunSet::open`] left out,
    /// or the sources of a merged run. Whoever still reads one of them goes on.
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

    /// What the set is about; the seed is that of its runs.
    pub fn params(&self) -> &SetParams {
        &self.params
    }

    /// The runs, in the order of the log.
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Where the set ends: nothing from here on is in it.
    pub fn end(&self) -> Lsn {
        self.runs.last().map_or(Lsn::ZERO, |run| run.end_lsn())
    }

    /// Latest time of a transfer or expiry in it.
    pub fn time(&self) -> Timestamp {
        self.runs
            .last()
            .map_or(Timestamp::default(), |run| run.footer().time)
    }

    /// Ledger of each account that was opened in it, by account number.
    pub fn ledgers(&self) -> &[LedgerId] {
        &self.ledgers
    }

    /// Sums over all runs.
    pub fn counts(&self) -> Counts {
        self.runs.iter().fold(Counts::default(), |sum, run| {
            let footer = run.footer();
            Counts {
                transfers: sum.transfers + footer.transfers,
                failed: sum.failed + footer.failed,
                records: sum.records + footer.records,
                accounts: sum.accounts + u64::from(footer.accounts),
            }
        })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes()).sum()
    }

    /// Bytes that the set holds in memory.
    pub fn memory_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|run| run.memory_bytes()).sum();
        runs + self.ledgers.capacity() * size_of::<LedgerId>()
    }

    /// Places of the records whose id may be `id`, newest first; empty for nearly every id that
    /// is not there. An id has at most one record, and hashes may collide: the caller compares
    /// the id in the log. Also failed and burned ids are found so.
    pub fn find(&self, id: TransferId) -> Result<Vec<RecordAt>, RunError> {
        let mut found = Vec::new();
        for run in self.runs.iter().rev() {
            run.find(id, &mut found)?;
        }
        Ok(found)
    }

    /// What posted or voided the pending transfer at `pending`, or that it timed out.
    pub fn resolution_of(&self, pending: RecordAt) -> Result<Option<Link>, RunError> {
        self.link(pending, |kind| kind != LinkKind::Reversed)
    }

    /// The transfer that reversed the one at `original`.
    pub fn reversal_of(&self, original: RecordAt) -> Result<Option<RecordAt>, RunError> {
        let link = self.link(original, |kind| kind == LinkKind::Reversed)?;
        Ok(link.map(|link| link.by))
    }

    fn link(
        &self,
        of: RecordAt,
        wanted: impl Fn(LinkKind) -> bool,
    ) -> Result<Option<Link>, RunError> {
        // Only the run of the transfer itself and those behind it can tell.
        let from = self.runs.partition_point(|run| run.end_lsn() <= of.lsn());
        for run in &self.runs[from..] {
            let mut found = None;
            run.links(of, |kind, ordinal| {
                if wanted(kind) {
                    found = Some((kind, ordinal));
                }
            })?;
            if let Some((kind, ordinal)) = found {
                let by = Places::default().place_of(run, ordinal)?;
                return Ok(Some(Link { kind, by }));
            }
        }
        Ok(None)
    }

    /// The run that covers a place.
    pub(crate) fn run_at(&self, at: RecordAt) -> Option<&Arc<Run>> {
        let n = self.runs.partition_point(|run| run.end_lsn() <= at.lsn());
        self.runs.get(n)
    }

    /// The records listed by `key` from `range.start` on and before `range.end`.
    pub fn postings(&self, key: RunKey, range: Range<RecordAt>, direction: Direction) -> Postings {
        let from = self
            .runs
            .partition_point(|run| start_of(run.end_lsn()) <= range.start);
        let until = self
            .runs
            .partition_point(|run| start_of(run.first_lsn()) < range.end);
        let runs = self.runs.get(from..until).unwrap_or(&[]);
        let with_key = |run: &Arc<Run>| (Arc::clone(run), run.hasher.list(key));
        Postings::new(runs.iter().map(with_key).collect(), range, direction)
    }

    /// Balances of an account before the record at `before`, but for a bounded number of its last
    /// records: those from [`Base::from`] on the caller reads in the log and adds. If `before` is
    /// behind the set's end, also those behind the end are to be added, and `from` is at most the
    /// end.
    pub fn base(&self, account: AccountNumber, before: RecordAt) -> Result<Base, RunError> {
        let key = RunHasher::new(self.params.seed).list(RunKey::Account(account));
        let mut base = Base {
            sums: Sums::default(),
            from: before.min(start_of(self.end())),
        };
        let until = self
            .runs
            .partition_point(|run| start_of(run.first_lsn()) < before);
        let mut places = Places::default();
        for (n, run) in self.runs[..until].iter().enumerate() {
            let end = match n + 1 == until {
                true => {
                    places = Places::default();
                    places.ordinal_of(run, before)?
                }
                false => run.footer().records,
            };
            let changed = run.changed(key, end)?;
            base.sums = base.sums.plus(changed.sums);
            if let Some(ordinal) = changed.missing_from {
                base.from = places.place_of(run, ordinal)?;
            }
        }
        Ok(base)
    }

    /// A place such that everything at or behind that time stands at or behind it, and everything
    /// in batches before it is earlier; the set's end if all of it is earlier.
    pub fn seek_time(&self, time: Timestamp) -> Result<RecordAt, RunError> {
        let n = self.runs.partition_point(|run| run.footer().time < time);
        let lsn = match self.runs.get(n) {
            Some(run) => run.seek_time(time)?.unwrap_or(run.end_lsn()),
            None => self.end(),
        };
        Ok(start_of(lsn))
    }

    /// The runs that are due to be merged: the oldest eight neighbours of the lowest tier that
    /// has so many.
    pub fn next_merge(&self) -> Option<Merge> {
        (0..RUN_TIER_TOP).find_map(|tier| {
            let of_tier = |runs: &&[Arc<Run>]| runs.iter().all(|run| run.footer().tier == tier);
            let runs = self.runs.windows(RUN_MERGE_WIDTH).find(of_tier)?.to_vec();
            let tier = tier + 1;
            Some(Merge { runs, tier })
        })
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
