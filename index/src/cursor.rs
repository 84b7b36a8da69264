//! Going through lists: from ordinals to places, forwards and backwards, over several runs.

use std::ops::Range;
use std::sync::Arc;

use kanjo_format::run::RunSection;
use kanjo_format::run::lists::{ACCOUNT, ChunkHead, Item, ListKey, Role};
use kanjo_format::run::rows::BatchRow;
use kanjo_format::{Lsn, RecordAt};

use crate::error::RunError;
use crate::run::Run;

/// Turns ordinals into places and back; keeps the batches of the last block that it needed.
#[derive(Debug, Default)]
pub(crate) struct Places {
    loaded: Option<usize>,
    block: Vec<u8>,
    rows: Vec<BatchRow>,
}

impl Places {
    /// Where a record stands.
    pub(crate) fn place_of(&mut self, run: &Run, ordinal: u64) -> Result<RecordAt, RunError> {
        let fences = run.file.fences(RunSection::Batches);
        let n = match self.loaded {
            Some(n) if self.holds(run, n, ordinal) => n,
            _ => fences
                .partition_point(|fence| fence.key as u64 <= ordinal)
                .saturating_sub(1),
        };
        self.load(run, n)?;
        let behind = self.rows.partition_point(|row| row.first <= ordinal);
        let row = behind.checked_sub(1).map(|at| self.rows[at]);
        let place = row.and_then(|row| {
            let packed = RecordAt::new(row.lsn, 0).packed() + (ordinal - row.first);
            RecordAt::from_packed(packed).filter(|at| at.lsn() == row.lsn)
        });
        place.ok_or_else(|| run.bad_block(RunSection::Batches, n, "no batch of a record"))
    }

    fn holds(&self, run: &Run, n: usize, ordinal: u64) -> bool {
        let next = run.file.fences(RunSection::Batches).get(n + 1);
        self.rows.first().is_some_and(|row| row.first <= ordinal)
            && next.is_none_or(|next| ordinal < next.key as u64)
    }

    /// How many records of the run stand before a place.
    pub(crate) fn ordinal_of(&mut self, run: &Run, at: RecordAt) -> Result<u64, RunError> {
        let fences = run.file.fences(RunSection::Batches);
        let end = u128::from(at.lsn().get()) << 64 | u128::from(u64::MAX);
        let Some(n) = fences
            .partition_point(|fence| fence.key <= end)
            .checked_sub(1)
        else {
            return Ok(0);
        };
        self.load(run, n)?;
        let behind = self.rows.partition_point(|row| row.lsn <= at.lsn());
        let next = match (self.rows.get(behind), fences.get(n + 1)) {
            (Some(row), _) => row.first,
            (None, Some(fence)) => fence.key as u64,
            (None, None) => run.footer().records,
        };
        Ok(match behind.checked_sub(1).map(|at| self.rows[at]) {
            Some(row) if row.lsn == at.lsn() => next.min(row.first + at.index() as u64),
            _ => next,
        })
    }

    fn load(&mut self, run: &Run, n: usize) -> Result<(), RunError> {
        if self.loaded == Some(n) {
            return Ok(());
        }
        self.loaded = None;
        if n >= run.file.fences(RunSection::Batches).len() {
            return Err(run.bad_block(RunSection::Batches, n, "no batch of a record"));
        }
        run.batches(n, &mut self.block, &mut self.rows)?;
        self.loaded = Some(n);
        Ok(())
    }
}

/// Which way to go through a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest record on.
    Forwards,
    /// From the newest record on.
    Backwards,
}

/// A record of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Where it stands.
    pub at: RecordAt,
    /// What the account has to do with it; `None` in lists that are not of an account.
    pub role: Option<Role>,
}

/// The records of a list within a range of places, one after the other. Reads a block when it
/// comes to it. Behind the first error it ends.
#[derive(Debug)]
pub struct Postings {
    /// Runs that are still to be visited, the next one last.
    runs: Vec<(Arc<Run>, ListKey)>,
    range: Range<RecordAt>,
    direction: Direction,
    walk: Option<Walk>,
}

impl Postings {
    /// Of runs in the order of the log.
    pub(crate) fn new(
        mut runs: Vec<(Arc<Run>, ListKey)>,
        range: Range<RecordAt>,
        direction: Direction,
    ) -> Self {
        if direction == Direction::Forwards {
            runs.reverse();
        }
        Self {
            runs,
            range,
            direction,
            walk: None,
        }
    }

    fn step(&mut self) -> Result<Option<Posting>, RunError> {
        loop {
            if let Some(walk) = &mut self.walk
                && let Some(posting) = walk.next()?
            {
                return Ok(Some(posting));
            }
            let Some((run, key)) = self.runs.pop() else {
                return Ok(None);
            };
            self.walk = Some(Walk::new(run, key, &self.range, self.direction)?);
        }
    }
}

impl Iterator for Postings {
    type Item = Result<Posting, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if matches!(item, Some(Err(_))) {
            self.walk = None;
            self.runs.clear();
        }
        item
    }
}

/// A walk through the list of one run.
#[derive(Debug)]
struct Walk {
    run: Arc<Run>,
    key: ListKey,
    direction: Direction,
    /// Ordinals that count.
    range: Range<u64>,
    places: Places,
    /// The block that is read next; `None` when there is no other.
    next_block: Option<usize>,
    at_block: usize,
    block: Vec<u8>,
    /// Chunks of the list in the block, those that are still to be visited; the next one last.
    heads: Vec<ChunkHead>,
    /// Items of the chunk that are still to be visited; the next one last.
    items: Vec<Item>,
    /// Records of the current item that are still to be visited.
    stretch: Range<u64>,
    role: Role,
}

impl Walk {
    fn new(
        run: Arc<Run>,
        key: ListKey,
        range: &Range<RecordAt>,
        direction: Direction,
    ) -> Result<Self, RunError> {
        let mut places = Places::default();
        let from = places.ordinal_of(&run, range.start)?;
        let range = from..places.ordinal_of(&run, range.end)?;
        let fences = run.file.fences(RunSection::Lists);
        let edge = match direction {
            Direction::Forwards => key.fence(range.start) + 1,
            Direction::Backwards => key.fence(range.end),
        };
        let first = match range.is_empty() || fences.is_empty() {
            true => None,
            false => Some(fences.partition_point(|f| f.key < edge).saturating_sub(1)),
        };
        Ok(Self {
            run,
            key,
            direction,
            range,
            places,
            next_block: first,
            at_block: 0,
            block: Vec::new(),
            heads: Vec::new(),
            items: Vec::new(),
            stretch: 0..0,
            role: Role::default(),
        })
    }

    fn next(&mut self) -> Result<Option<Posting>, RunError> {
        while self.stretch.is_empty() {
            let Some(item) = self.next_item()? else {
                return Ok(None);
            };
            let start = item.first.max(self.range.start);
            let end = (item.last() + 1).min(self.range.end);
            self.stretch = start..end.max(start);
            self.role = item.role;
        }
        let ordinal = match self.direction {
            Direction::Forwards => self.stretch.next(),
            Direction::Backwards => self.stretch.next_back(),
        };
        let ordinal = ordinal.expect("not empty");
        Ok(Some(Posting {
            at: self.places.place_of(&self.run, ordinal)?,
            role: (self.key.kind == ACCOUNT).then_some(self.role),
        }))
    }

    fn next_item(&mut self) -> Result<Option<Item>, RunError> {
        loop {
            if let Some(item) = self.items.pop() {
                return Ok(Some(item));
            }
            if let Some(head) = self.heads.pop() {
                let (run, n) = (&self.run, self.at_block);
                run.items(n, &self.block, &head, &mut self.items)?;
                if self.direction == Direction::Forwards {
                    self.items.reverse();
                }
                continue;
            }
            let Some(n) = self.next_block.take() else {
                return Ok(None);
            };
            self.load(n)?;
        }
    }

    /// Reads a block, and tells whether the list goes on in another one.
    fn load(&mut self, n: usize) -> Result<(), RunError> {
        self.run.heads(n, &mut self.block, &mut self.heads)?;
        self.at_block = n;
        let (key, range) = (self.key, self.range.clone());
        self.heads
            .retain(|head| head.key == key && head.first < range.end);
        // What begins before the range is over before it, but for the last chunk.
        let before = self.heads.partition_point(|head| head.first <= range.start);
        self.heads.drain(..before.saturating_sub(1));
        let fences = self.run.file.fences(RunSection::Lists);
        self.next_block = match self.direction {
            Direction::Forwards => {
                self.heads.reverse();
                let next = fences.get(n + 1);
                next.is_some_and(|next| next.key < key.fence(range.end))
                    .then_some(n + 1)
            }
            Direction::Backwards => {
                let goes_on = n > 0 && fences[n].key > key.fence(range.start);
                goes_on.then(|| n - 1)
            }
        };
        Ok(())
    }
}

/// The place before every record of a batch.
pub(crate) fn start_of(lsn: Lsn) -> RecordAt {
    RecordAt::new(lsn, 0)
}
