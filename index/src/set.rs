//! The set of open runs that covers the log from its start without a gap.

mod opening;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use kanjo_format::run::lists::Sums;
use kanjo_format::run::rows::LinkKind;
use kanjo_format::run::{RUN_BLOCK_BYTES_AIM, RUN_MERGE_WIDTH, RUN_TIER_TOP, RunHasher, RunKey};
use kanjo_format::{
    AccountNumber, Chain, ClusterId, LedgerId, Lsn, RecordAt, Timestamp, TransferId,
};

use crate::book::Book;
use crate::cursor::{Direction, Places, Postings, start_of};
use crate::error::RunError;
use crate::run::Run;
pub use opening::Dropped;

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

impl RunSet {
    /// A set without runs.
    pub fn empty(params: SetParams) -> Self {
        Self {
            params,
            runs: Vec::new(),
            ledgers: Arc::default(),
        }
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

    /// Chain value at its end, which must be the log's there; `None` if it has no run.
    pub fn end_chain(&self) -> Option<Chain> {
        self.runs.last().map(|run| run.footer().end_chain)
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

    /// The bases of all accounts, as [`RunSet::base`] gives them one by one, read in one go. What
    /// was never moved before `before` is left out.
    pub fn book(&self, before: RecordAt) -> Result<Book, RunError> {
        Book::new(self, before)
    }

    /// About how many bytes the list of `key` takes, to choose the shortest of several; costs no
    /// look at the disk.
    pub fn list_bytes(&self, key: RunKey) -> u64 {
        let blocks = |run: &Arc<Run>| run.list_blocks(run.hasher.list(key)) as u64;
        self.runs.iter().map(blocks).sum::<u64>() * RUN_BLOCK_BYTES_AIM as u64
    }

    /// A place such that everything at or behind that time stands at or behind it, and everything
    /// in batches before it is earlier; the set's end if all of it is earlier. Transfers rise in
    /// time along the log; an expiry may be later than an imported transfer behind it, so the
    /// first transfer at that time may stand in a later batch.
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
