//! What is kept of the newest part of the log, so that it need not be read: which transfer ids
//! are taken and by what, who resolved which pending transfer, what reverses what, and at which
//! times there are transfers.
//!
//! ```text
//! old part: runs on disk, asked through a port  │ generation │ generation │ newest
//! lsn 0 ────────────────────────────────────────┴────────────┴────────────┴──────▶
//! ```
//!
//! A generation is one segment's part. When a run on disk holds the same, its generation is
//! dropped, so that memory does not grow with history. All of it is derived from the log.

mod arrivals;
mod ids;
mod links;
mod partitions;
mod rest;
mod times;

use std::collections::VecDeque;

use kanjo_format::movement::{Expired, Form, Transfer};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{Lsn, RecordAt, Timestamp, TransferId};

use crate::hash::IdHasher;
use ids::Ids;
pub(crate) use ids::Probe;
use links::Links;
use times::Times;

/// Marks an id that failed; the result's number stands below it.
const FAILED: u64 = 1 << 63;

/// What became of a transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is a transfer; its record stands there.
    Posted(RecordAt),
    /// It failed in a way that sticks.
    Failed(CreateTransferResult),
}

impl Entry {
    fn pack(self) -> u64 {
        match self {
            Self::Posted(at) => at.packed(),
            Self::Failed(result) => FAILED | u64::from(result.number()),
        }
    }

    fn unpack(packed: u64) -> Self {
        if packed & FAILED == 0 {
            let at = RecordAt::from_packed(packed);
            return Self::Posted(at.expect("only places are packed"));
        }
        let result = CreateTransferResult::from_number(packed as u32);
        Self::Failed(result.expect("only results are packed"))
    }
}

/// How a pending transfer was resolved, and where that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was posted.
    Posted(RecordAt),
    /// It was voided.
    Voided(RecordAt),
    /// It timed out.
    Expired(RecordAt),
}

impl Resolution {
    /// Where it was resolved.
    pub const fn at(self) -> RecordAt {
        match self {
            Self::Posted(at) | Self::Voided(at) | Self::Expired(at) => at,
        }
    }
}

/// One segment's part.
#[derive(Debug)]
struct Generation {
    start: Lsn,
    ids: Ids,
    /// None of its ids is higher; known once it is not the newest any more.
    top: u128,
    /// From pending transfers of any time to what resolved them here.
    resolutions: Links<Resolution>,
    /// From transfers of any time to their reversals here.
    reversals: Links<RecordAt>,
    times: Times,
}

impl Generation {
    fn new(start: Lsn, hasher: IdHasher, scattered: bool) -> Self {
        Self {
            start,
            ids: Ids::new(hasher, scattered),
            top: u128::MAX,
            resolutions: Links::new(hasher),
            reversals: Links::new(hasher),
            times: Times::default(),
        }
    }
}

/// The young part of the index.
#[derive(Debug)]
pub struct TransferIndex {
    newest: Generation,
    /// Oldest first.
    older: VecDeque<Generation>,
    /// No id above it is in an older generation.
    older_top: u128,
    /// All ids of the old part are below it.
    old_bound: u128,
    hasher: IdHasher,
}

impl TransferIndex {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            newest: Generation::new(Lsn::ZERO, hasher, false),
            older: VecDeque::new(),
            older_top: 0,
            old_bound: 0,
            hasher,
        }
    }

    /// What became of `id`; `None` if nothing of it is in the young part.
    pub fn find(&self, id: TransferId) -> Option<Entry> {
        let found = self.newest.ids.find(id);
        found.or_else(|| self.find_older(id))
    }

    #[inline]
    fn find_older(&self, id: TransferId) -> Option<Entry> {
        if id.get() > self.older_top {
            return None;
        }
        let older = self.older.iter().rev();
        let mut near = older.filter(|g| id.get() <= g.top);
        near.find_map(|g| g.ids.find(id))
    }

    /// Ids of the young part.
    pub fn len(&self) -> usize {
        self.generations().map(|g| g.ids.len()).sum()
    }

    /// Whether no id is in the young part.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the young part starts.
    pub fn start(&self) -> Lsn {
        self.older.front().unwrap_or(&self.newest).start
    }

    /// All ids of the old part are below it: one that is not need not be asked for there.
    #[inline]
    pub(crate) fn old_bound(&self) -> u128 {
        self.old_bound
    }

    /// Newest first.
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.newest).chain(self.older.iter().rev())
    }

    #[inline]
    pub(crate) fn probe(&mut self, id: TransferId) -> Probe<'_> {
        if self.find_older(id).is_some() {
            return Probe::Taken;
        }
        self.newest.ids.probe(id)
    }

    /// Takes a free id. Panics if it is taken, which only a bug can cause.
    pub(crate) fn take(&mut self, id: TransferId, entry: Entry) {
        match self.probe(id) {
            Probe::Free(free) => free.take(entry),
            Probe::Taken => panic!("transfer id {id} is taken"),
        }
    }

    pub(crate) fn resolution_of(&self, pending: RecordAt) -> Option<Resolution> {
        self.generations().find_map(|g| g.resolutions.find(pending))
    }

    pub(crate) fn reversal_of(&self, original: RecordAt) -> Option<RecordAt> {
        self.generations().find_map(|g| g.reversals.find(original))
    }

    /// Whether a transfer of the young part happened just then.
    pub(crate) fn has_transfer_at(&self, timestamp: u64) -> bool {
        self.generations().any(|g| g.times.holds(timestamp))
    }

    /// Notes a transfer's time.
    #[inline]
    pub(crate) fn note_time(&mut self, timestamp: Timestamp) {
        self.newest.times.note(timestamp.get(), 1);
    }

    /// Notes the times of `count` transfers, one nanosecond apart.
    pub(crate) fn note_times(&mut self, first: Timestamp, count: usize) {
        self.newest.times.note(first.get(), count as u64);
    }

    /// Notes all of a transfer but its id.
    pub(crate) fn note_transfer(&mut self, at: RecordAt, transfer: &Transfer) {
        self.note_time(transfer.timestamp);
        match transfer.form {
            Form::Posts | Form::Reserves => {}
            Form::PostsPending(pending) => self.resolve(pending, Resolution::Posted(at)),
            Form::VoidsPending(pending) => self.resolve(pending, Resolution::Voided(at)),
            Form::Reverses(original) => self.newest.reversals.insert(original, at),
        }
    }

    /// Notes an expiry.
    pub(crate) fn note_expiry(&mut self, at: RecordAt, expired: &Expired) {
        self.resolve(expired.pending, Resolution::Expired(at));
    }

    fn resolve(&mut self, pending: RecordAt, resolution: Resolution) {
        self.newest.resolutions.insert(pending, resolution);
    }

    /// Forgets the transfer that was taken last, with its id.
    pub(crate) fn undo_transfer(&mut self, transfer: &Transfer) {
        let generation = &mut self.newest;
        assert!(generation.ids.remove(transfer.id), "an undone id is taken");
        generation.times.forget_last();
        match transfer.form {
            Form::Posts | Form::Reserves => {}
            Form::PostsPending(pending) | Form::VoidsPending(pending) => {
                generation.resolutions.remove(pending);
            }
            Form::Reverses(original) => generation.reversals.remove(original),
        }
    }

    /// Forgets the expiry that was taken last.
    pub(crate) fn undo_expiry(&mut self, expired: &Expired) {
        self.newest.resolutions.remove(expired.pending);
    }

    /// Gives back the id that was burned last.
    pub(crate) fn undo_failed(&mut self, id: TransferId) {
        let generation = &mut self.newest;
        assert!(generation.ids.remove(id), "an undone id is taken");
    }

    /// Begins a generation for the log from `start` on, unless it has begun.
    pub(crate) fn begin_generation(&mut self, start: Lsn) {
        if self.newest.start == start {
            return;
        }
        let scattered = self.newest.ids.is_scattered();
        let newest = Generation::new(start, self.hasher, scattered);
        let mut older = std::mem::replace(&mut self.newest, newest);
        older.top = older.ids.top();
        self.older_top = self.older_top.max(older.top);
        self.older.push_back(older);
    }

    /// Drops the generations that end at or below `end`: the old part holds them.
    pub(crate) fn drop_below(&mut self, end: Lsn) {
        while !self.older.is_empty() {
            let next = self.older.get(1).unwrap_or(&self.newest).start;
            if next > end {
                break;
            }
            let dropped = self.older.pop_front().expect("there is one");
            self.old_holds(dropped.top);
        }
        let tops = self.older.iter().map(|g| g.top);
        self.older_top = tops.max().unwrap_or(0);
    }

    /// The old part holds ids up to `highest`.
    pub(crate) fn old_holds(&mut self, highest: u128) {
        self.old_bound = self.old_bound.max(highest.saturating_add(1));
    }

    /// The young part starts at `start`; nothing is in it yet.
    pub(crate) fn start_at(&mut self, start: Lsn) {
        assert!(self.is_empty(), "the start of what is there already");
        self.newest.start = start;
    }
}
