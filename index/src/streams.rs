//! Sections of a run from front to back, as merging and verifying read them.

use std::sync::Arc;

use kanjo_format::run::ids::{IdEntry, IdsBlock};
use kanjo_format::run::lists::{ChunkHead, Item, ListKey, Sums};
use kanjo_format::run::rows::{
    BatchRow, LinkRow, ReservedRow, decode_batches, decode_links, decode_reserved,
};
use kanjo_format::run::{RunFormatError, RunSection};

use crate::error::RunError;
use crate::run::Run;

/// The rows of a section, one after the other; the next one can be looked at.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    run: Arc<Run>,
    section: RunSection,
    decode: fn(&[u8], &mut Vec<T>) -> Result<(), RunFormatError>,
    next_block: usize,
    block: Vec<u8>,
    rows: Vec<T>,
    at: usize,
}

impl<T: Copy + Ord> Stream<T> {
    fn new(
        run: &Arc<Run>,
        section: RunSection,
        decode: fn(&[u8], &mut Vec<T>) -> Result<(), RunFormatError>,
    ) -> Self {
        Self {
            run: Arc::clone(run),
            section,
            decode,
            next_block: 0,
            block: Vec::new(),
            rows: Vec::new(),
            at: 0,
        }
    }

    /// The next row.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<T>, RunError> {
        if self.at == self.rows.len() && !self.load()? {
            return Ok(None);
        }
        Ok(Some(self.rows[self.at]))
    }

    /// Goes behind the row that was looked at.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.at += 1;
    }

    pub(crate) fn next(&mut self) -> Result<Option<T>, RunError> {
        let row = self.peek()?;
        self.pass();
        Ok(row)
    }

    /// The error of the block of the row that was taken last.
    pub(crate) fn bad(&self, what: &'static str) -> RunError {
        let block = self.next_block.saturating_sub(1);
        self.run.bad_block(self.section, block, what)
    }

    fn load(&mut self) -> Result<bool, RunError> {
        let (run, n) = (&self.run, self.next_block);
        let last = self.rows.last().copied();
        self.at = 0;
        self.rows.clear();
        if n >= run.file.fences(self.section).len() {
            return Ok(false);
        }
        run.file.block(self.section, n, &mut self.block)?;
        (self.decode)(&self.block, &mut self.rows).map_err(run.file.bad_block(self.section, n))?;
        // Whoever merges or compares relies on it.
        let follows = last.is_none_or(|last| self.rows.first().is_none_or(|row| last <= *row));
        if !follows || !self.rows.is_sorted() {
            return Err(run.bad_block(self.section, n, "rows out of order"));
        }
        self.next_block += 1;
        Ok(!self.rows.is_empty())
    }
}

pub(crate) fn ids(run: &Arc<Run>) -> Stream<IdEntry> {
    Stream::new(run, RunSection::Ids, |block, rows| {
        IdsBlock::decode(block)?.entries(rows)
    })
}

pub(crate) fn batches(run: &Arc<Run>) -> Stream<BatchRow> {
    Stream::new(run, RunSection::Batches, decode_batches)
}

pub(crate) fn links(run: &Arc<Run>) -> Stream<LinkRow> {
    Stream::new(run, RunSection::Links, decode_links)
}

pub(crate) fn reserved(run: &Arc<Run>) -> Stream<ReservedRow> {
    Stream::new(run, RunSection::Reserved, decode_reserved)
}

/// The chunks of all lists, one after the other.
#[derive(Debug)]
pub(crate) struct Chunks {
    run: Arc<Run>,
    next_block: usize,
    block: Vec<u8>,
    heads: Vec<ChunkHead>,
    at: usize,
    /// List and last record of the chunk that was taken last.
    last: Option<(ListKey, u64)>,
    /// Items of the chunk that was taken last.
    pub(crate) items: Vec<Item>,
}

impl Chunks {
    pub(crate) fn new(run: &Arc<Run>) -> Self {
        Self {
            run: Arc::clone(run),
            next_block: 0,
            block: Vec::new(),
            heads: Vec::new(),
            at: 0,
            last: None,
            items: Vec::new(),
        }
    }

    /// Key of the next chunk.
    pub(crate) fn key(&mut self) -> Result<Option<ListKey>, RunError> {
        if self.at == self.heads.len() {
            self.at = 0;
            self.heads.clear();
            if self.next_block >= self.run.file.fences(RunSection::Lists).len() {
                return Ok(None);
            }
            self.run
                .heads(self.next_block, &mut self.block, &mut self.heads)?;
            self.next_block += 1;
        }
        Ok(self.heads.get(self.at).map(|head| head.key))
    }

    /// Decodes the chunk whose key was asked for into `items`, and gives its sums.
    pub(crate) fn take(&mut self) -> Result<Sums, RunError> {
        let head = &self.heads[self.at];
        let n = self.next_block - 1;
        if self.last.is_some_and(|last| last > (head.key, head.first)) {
            return Err(self
                .run
                .bad_block(RunSection::Lists, n, "chunks out of order"));
        }
        self.run.items(n, &self.block, head, &mut self.items)?;
        let end = self.items.last().map_or(head.first, Item::last);
        self.last = Some((head.key, end));
        self.at += 1;
        Ok(head.sums)
    }
}
