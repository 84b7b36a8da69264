//! One open run: look-ups in each of its sections.

use std::path::{Path, PathBuf};

use kanjo_format::run::ids::IdsBlock;
use kanjo_format::run::lists::{ChunkHead, Item, ListKey, Sums, decode_heads};
use kanjo_format::run::rows::{
    BatchRow, LinkKind, LinkRow, ReservedRow, decode_accounts, decode_batches, decode_links,
    decode_reserved,
};
use kanjo_format::run::{
    FILTER_BLOCK_LINES, FILTER_LINE_BYTES, RUN_RECORDS_MAX, RunFooter, RunHasher, RunSection,
    filter_holds, filter_line,
};
use kanjo_format::{LedgerId, Lsn, RecordAt, Timestamp, TransferId};

use crate::cursor::Places;
use crate::error::RunError;
use crate::file::RunFile;

/// A run's file, open for look-ups. Shared: nothing in it changes.
#[derive(Debug)]
pub struct Run {
    pub(crate) file: RunFile,
    pub(crate) hasher: RunHasher,
    filter: Option<Vec<u8>>,
}

/// What a run is, for people and for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of its file.
    pub bytes: u64,
    /// Facts about it.
    pub footer: RunFooter,
}

/// What a run has changed of an account before a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) sums: Sums,
    /// The first record before that one that is not in `sums`.
    pub(crate) missing_from: Option<u64>,
}

impl Run {
    /// Opens a run: header, footer and fences are checked, no block is read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunError> {
        let file = RunFile::open(path.into())?;
        let hasher = RunHasher::new(file.footer.seed);
        Ok(Self {
            file,
            hasher,
            filter: None,
        })
    }

    /// Reads the filter into memory: look-ups of ids that are not there then touch no disk.
    pub fn with_filter(mut self) -> Result<Self, RunError> {
        self.filter = Some(self.read_filter()?);
        Ok(self)
    }

    pub(crate) fn read_filter(&self) -> Result<Vec<u8>, RunError> {
        let mut filter =
            Vec::with_capacity(self.file.footer.section(RunSection::Filter).bytes as usize);
        let mut block = Vec::new();
        for n in 0..self.file.fences(RunSection::Filter).len() {
            self.file.block(RunSection::Filter, n, &mut block)?;
            filter.extend_from_slice(&block);
        }
        match filter.len() == self.filter_bytes() {
            true => Ok(filter),
            false => Err(self.bad_block(RunSection::Filter, 0, "another number of lines")),
        }
    }

    /// What it is.
    pub fn info(&self) -> RunInfo {
        RunInfo {
            path: self.file.path.clone(),
            bytes: self.file.bytes,
            footer: self.file.footer,
        }
    }

    /// Facts about it.
    pub fn footer(&self) -> &RunFooter {
        &self.file.footer
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Bytes of its file.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// Bytes that it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        self.file.memory_bytes() + self.filter.as_ref().map_or(0, Vec::capacity)
    }

    pub(crate) fn filter_bytes(&self) -> usize {
        self.file.footer.filter_lines as usize * FILTER_LINE_BYTES
    }

    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    pub(crate) fn first_lsn(&self) -> Lsn {
        self.file.footer.first_lsn
    }

    pub(crate) fn end_lsn(&self) -> Lsn {
        self.file.footer.end_lsn
    }

    /// Adds the places of all records whose id has the hash of `id`. Almost always that is the
    /// one of that id, or none: the caller compares the id in the log.
    pub fn find(&self, id: TransferId, found: &mut Vec<RecordAt>) -> Result<(), RunError> {
        let footer = &self.file.footer;
        if id.get() < footer.id_low || id.get() > footer.id_high {
            return Ok(());
        }
        let hash = self.hasher.id(id);
        if !self.may_hold(hash)? {
            return Ok(());
        }
        let fences = self.file.fences(RunSection::Ids);
        let key = u128::from(hash);
        let from = fences
            .partition_point(|fence| fence.key < key)
            .saturating_sub(1);
        let (mut block, mut ordinals) = (Vec::new(), Vec::new());
        for (n, fence) in fences.iter().enumerate().skip(from) {
            if fence.key > key {
                break;
            }
            self.file.block(RunSection::Ids, n, &mut block)?;
            let ids = IdsBlock::decode(&block).map_err(self.file.bad_block(RunSection::Ids, n))?;
            ids.find(hash, |ordinal| ordinals.push(ordinal));
        }
        let mut places = Places::default();
        for ordinal in ordinals {
            found.push(places.place_of(self, ordinal)?);
        }
        Ok(())
    }

    fn may_hold(&self, hash: u64) -> Result<bool, RunError> {
        let lines = self.file.footer.filter_lines;
        if lines == 0 {
            return Ok(false);
        }
        let line = filter_line(hash, lines) as usize;
        let holds = |bytes: &[u8], line: usize| {
            let line = bytes.get(line * FILTER_LINE_BYTES..)?.first_chunk()?;
            Some(filter_holds(line, hash))
        };
        if let Some(filter) = &self.filter {
            return Ok(holds(filter, line).expect("a filter is whole"));
        }
        let (n, mut block) = (line / FILTER_BLOCK_LINES, Vec::new());
        if n >= self.file.fences(RunSection::Filter).len() {
            return Err(self.bad_block(RunSection::Filter, 0, "too few lines"));
        }
        self.file.block(RunSection::Filter, n, &mut block)?;
        holds(&block, line % FILTER_BLOCK_LINES)
            .ok_or_else(|| self.bad_block(RunSection::Filter, n, "too few lines"))
    }

    /// The records of this run that resolved or reversed the transfer at `of`.
    pub(crate) fn links(
        &self,
        of: RecordAt,
        mut each: impl FnMut(LinkKind, u64),
    ) -> Result<(), RunError> {
        let footer = &self.file.footer;
        let key = of.packed();
        if key < footer.link_low || key > footer.link_high {
            return Ok(());
        }
        let fences = self.file.fences(RunSection::Links);
        let from = fences.partition_point(|fence| fence.key < key.into());
        let (mut block, mut rows) = (Vec::new(), Vec::<LinkRow>::new());
        for (n, fence) in fences.iter().enumerate().skip(from.saturating_sub(1)) {
            if fence.key > key.into() {
                break;
            }
            self.file.block(RunSection::Links, n, &mut block)?;
            decode_links(&block, &mut rows).map_err(self.file.bad_block(RunSection::Links, n))?;
            let here = rows.iter().filter(|row| row.of == of);
            here.for_each(|row| each(row.kind, row.ordinal));
        }
        Ok(())
    }

    /// The block that tells what the pending transfer `ordinal` reserves, if any does.
    pub(crate) fn reserved_block(&self, ordinal: u64) -> Option<usize> {
        let fences = self.file.fences(RunSection::Reserved);
        fences
            .partition_point(|fence| fence.key <= ordinal.into())
            .checked_sub(1)
    }

    pub(crate) fn reserved_rows(
        &self,
        n: usize,
        rows: &mut Vec<ReservedRow>,
    ) -> Result<(), RunError> {
        let mut block = Vec::new();
        self.file.block(RunSection::Reserved, n, &mut block)?;
        decode_reserved(&block, rows).map_err(self.file.bad_block(RunSection::Reserved, n))
    }

    /// How the run has changed the balances of an account before record `end`.
    pub(crate) fn changed(&self, key: ListKey, end: u64) -> Result<Changed, RunError> {
        let fences = self.file.fences(RunSection::Lists);
        let until = fences.partition_point(|fence| fence.key < key.fence(end));
        let Some(n) = until.checked_sub(1) else {
            return Ok(Changed::default());
        };
        let (mut block, mut heads, mut items) = (Vec::new(), Vec::new(), Vec::new());
        self.heads(n, &mut block, &mut heads)?;
        let behind = heads.partition_point(|head| (head.key, head.first) < (key, end));
        let Some(last) = behind.checked_sub(1).filter(|&last| heads[last].key == key) else {
            return Ok(Changed::default());
        };
        heads[last]
            .items(&block, &mut items)
            .map_err(self.file.bad_block(RunSection::Lists, n))?;
        if items.last().is_some_and(|item| item.last() < end) {
            return Ok(Changed {
                sums: heads[last].sums,
                missing_from: None,
            });
        }
        let missing_from = Some(heads[last].first);
        let before = match (last, n) {
            (0, 0) => None,
            (0, n) => {
                self.heads(n - 1, &mut block, &mut heads)?;
                heads.pop()
            }
            (last, _) => Some(heads.swap_remove(last - 1)),
        };
        let before = before.filter(|head| head.key == key);
        Ok(Changed {
            sums: before.map_or_else(Sums::default, |head| head.sums),
            missing_from,
        })
    }

    /// Blocks in which a list may stand.
    pub(crate) fn list_blocks(&self, key: ListKey) -> usize {
        let fences = self.file.fences(RunSection::Lists);
        let from = fences.partition_point(|fence| fence.key <= key.fence(0));
        let until = fences.partition_point(|fence| fence.key < key.fence(RUN_RECORDS_MAX));
        1 + until.saturating_sub(from)
    }

    /// Reads block `n` of the lists and the heads of its chunks.
    pub(crate) fn heads(
        &self,
        n: usize,
        block: &mut Vec<u8>,
        heads: &mut Vec<ChunkHead>,
    ) -> Result<(), RunError> {
        self.file.block(RunSection::Lists, n, block)?;
        decode_heads(block, heads).map_err(self.file.bad_block(RunSection::Lists, n))
    }

    /// The items of a chunk of block `n`; none lies behind the run's last record.
    pub(crate) fn items(
        &self,
        n: usize,
        block: &[u8],
        head: &ChunkHead,
        items: &mut Vec<Item>,
    ) -> Result<(), RunError> {
        head.items(block, items)
            .map_err(self.file.bad_block(RunSection::Lists, n))?;
        match items.last() {
            Some(last) if last.last() < self.file.footer.records => Ok(()),
            _ => Err(self.bad_block(RunSection::Lists, n, "a record behind the run's last")),
        }
    }

    /// The first batch with anything at or behind that time.
    pub(crate) fn seek_time(&self, time: Timestamp) -> Result<Option<Lsn>, RunError> {
        let (mut block, mut rows) = (Vec::new(), Vec::new());
        let blocks = self.file.fences(RunSection::Batches).len();
        // The last block that begins before that time may hold it, and else the next one does.
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            self.batches(middle, &mut block, &mut rows)?;
            match rows[0].time < time {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        for n in low.saturating_sub(1)..blocks.min(low + 1) {
            self.batches(n, &mut block, &mut rows)?;
            if let Some(row) = rows.iter().find(|row| row.time >= time) {
                return Ok(Some(row.lsn));
            }
        }
        Ok(None)
    }

    pub(crate) fn batches(
        &self,
        n: usize,
        block: &mut Vec<u8>,
        rows: &mut Vec<BatchRow>,
    ) -> Result<(), RunError> {
        self.file.block(RunSection::Batches, n, block)?;
        decode_batches(block, rows).map_err(self.file.bad_block(RunSection::Batches, n))
    }

    /// Adds the ledgers of the accounts that were opened in the run.
    pub(crate) fn accounts(&self, ledgers: &mut Vec<LedgerId>) -> Result<(), RunError> {
        let (before, mut block) = (ledgers.len(), Vec::new());
        for n in 0..self.file.fences(RunSection::Accounts).len() {
            self.file.block(RunSection::Accounts, n, &mut block)?;
            decode_accounts(&block, ledgers)
                .map_err(self.file.bad_block(RunSection::Accounts, n))?;
        }
        if ledgers.len() - before != self.file.footer.accounts as usize {
            return Err(self.bad_block(RunSection::Accounts, 0, "not so many accounts"));
        }
        Ok(())
    }

    pub(crate) fn bad_block(&self, section: RunSection, n: usize, what: &'static str) -> RunError {
        self.file.bad_block(section, n)(kanjo_format::run::RunFormatError::Block {
            section: section.name(),
            what,
        })
    }
}
