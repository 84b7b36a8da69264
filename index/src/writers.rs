//! Filling blocks: one writer a section, the same for builder and merge.

use kanjo_format::LedgerId;
use kanjo_format::run::ids::{self, IdEntry};
use kanjo_format::run::lists::{self, Item, ListKey, Role, Sums};
use kanjo_format::run::rows::{self, BatchRow, LinkRow, ReservedRow};
use kanjo_format::run::{
    BLOCK_ROWS_MAX, CHUNK_ITEMS_AIM, CHUNK_ITEMS_MAX, FILTER_BLOCK_LINES, FILTER_LINE_BYTES,
    IDS_BLOCK_MAX, RUN_BLOCK_BYTES_AIM, RunSection, filter_enter, filter_line, filter_lines,
};

use crate::error::RunError;
use crate::writer::RunWriter;

/// Batches of one block: a look-up reads one, so they are small.
const BATCHES_BLOCK: usize = 256;
/// Ledgers of one block of accounts.
const ACCOUNTS_BLOCK: usize = RUN_BLOCK_BYTES_AIM / 4;

/// Ids in the order of their hashes, with their filter.
#[derive(Debug)]
pub(crate) struct IdsWriter {
    entries: Vec<IdEntry>,
    block: Vec<u8>,
    lines: u64,
    filter_block: u64,
    filter: Vec<u8>,
}

impl IdsWriter {
    /// For exactly so many ids.
    pub(crate) fn new(count: u64) -> Self {
        Self {
            entries: Vec::with_capacity(IDS_BLOCK_MAX),
            block: Vec::new(),
            lines: filter_lines(count),
            filter_block: 0,
            filter: vec![0; FILTER_BLOCK_LINES * FILTER_LINE_BYTES],
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, out: &mut RunWriter, entry: IdEntry) -> Result<(), RunError> {
        let line = filter_line(entry.hash, self.lines);
        while line / FILTER_BLOCK_LINES as u64 > self.filter_block {
            self.flush_filter(out)?;
        }
        let at = (line as usize % FILTER_BLOCK_LINES) * FILTER_LINE_BYTES;
        let line = self.filter[at..].first_chunk_mut().expect("a whole line");
        filter_enter(line, entry.hash);
        self.entries.push(entry);
        if self.entries.len() == IDS_BLOCK_MAX {
            self.flush(out)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, out: &mut RunWriter) -> Result<(), RunError> {
        if !self.entries.is_empty() {
            self.flush(out)?;
        }
        while self.filter_block * (FILTER_BLOCK_LINES as u64) < self.lines {
            self.flush_filter(out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        self.block.clear();
        ids::encode(&mut self.block, &self.entries);
        let key = u128::from(self.entries[0].hash);
        self.entries.clear();
        out.block(RunSection::Ids, key, &self.block)
    }

    fn flush_filter(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        let first = self.filter_block * FILTER_BLOCK_LINES as u64;
        let lines = (self.lines - first).min(FILTER_BLOCK_LINES as u64) as usize;
        let bytes = &self.filter[..lines * FILTER_LINE_BYTES];
        out.block(RunSection::Filter, u128::from(first), bytes)?;
        self.filter.fill(0);
        self.filter_block += 1;
        Ok(())
    }
}

/// Lists in the order of their keys, each in the order of its records.
#[derive(Debug, Default)]
pub(crate) struct ListWriter {
    key: Option<ListKey>,
    items: Vec<Item>,
    sums: Sums,
    block: Vec<u8>,
    block_key: u128,
    before: Option<ListKey>,
}

impl ListWriter {
    /// Adds a stretch of records to a list.
    #[inline]
    pub(crate) fn add(
        &mut self,
        out: &mut RunWriter,
        key: ListKey,
        item: Item,
        change: impl FnOnce(&mut Sums),
    ) -> Result<(), RunError> {
        self.turn_to(out, key)?;
        if !self.extend(&item) {
            if self.items.len() == CHUNK_ITEMS_AIM {
                self.flush_chunk(out)?;
            }
            self.items.push(item);
        }
        change(&mut self.sums);
        Ok(())
    }

    /// Adds a whole chunk of an earlier run; `sums` are what holds behind it.
    pub(crate) fn add_chunk(
        &mut self,
        out: &mut RunWriter,
        key: ListKey,
        items: &[Item],
        sums: Sums,
    ) -> Result<(), RunError> {
        self.turn_to(out, key)?;
        let held = self.items.len();
        if held >= CHUNK_ITEMS_AIM || held + items.len() > CHUNK_ITEMS_MAX {
            self.flush_chunk(out)?;
        }
        let joined = usize::from(self.extend(&items[0]));
        self.items.extend_from_slice(&items[joined..]);
        self.sums = sums;
        Ok(())
    }

    pub(crate) fn finish(mut self, out: &mut RunWriter) -> Result<(), RunError> {
        self.flush_chunk(out)?;
        self.flush_block(out)
    }

    #[inline]
    fn turn_to(&mut self, out: &mut RunWriter, key: ListKey) -> Result<(), RunError> {
        if self.key != Some(key) {
            assert!(
                self.key.is_none_or(|before| before < key),
                "lists are in order"
            );
            self.flush_chunk(out)?;
            self.key = Some(key);
            self.sums = Sums::default();
        }
        Ok(())
    }

    /// Makes the last item longer, if `item` follows it at once.
    #[inline]
    fn extend(&mut self, item: &Item) -> bool {
        match self.items.last_mut() {
            Some(last) if last.last() + 1 == item.first && last.role == item.role => {
                last.more += 1 + item.more;
                true
            }
            _ => false,
        }
    }

    fn flush_chunk(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        let Some(key) = self.key.filter(|_| !self.items.is_empty()) else {
            return Ok(());
        };
        if self.block.len() >= RUN_BLOCK_BYTES_AIM {
            self.flush_block(out)?;
        }
        if self.block.is_empty() {
            self.block_key = key.fence(self.items[0].first);
        }
        lists::encode(&mut self.block, self.before, key, &self.items, &self.sums);
        self.before = Some(key);
        self.items.clear();
        Ok(())
    }

    fn flush_block(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        if !self.block.is_empty() {
            out.block(RunSection::Lists, self.block_key, &self.block)?;
            self.block.clear();
            self.before = None;
        }
        Ok(())
    }
}

/// One record as an item.
#[inline]
pub(crate) const fn one(ordinal: u64, role: Role) -> Item {
    Item {
        first: ordinal,
        more: 0,
        role,
    }
}

/// Rows of one kind, so many a block.
#[derive(Debug)]
pub(crate) struct RowsWriter<T> {
    section: RunSection,
    rows: Vec<T>,
    block_rows: usize,
    fence: fn(&T) -> u128,
    encode: fn(&mut Vec<u8>, &[T]),
}

impl<T> RowsWriter<T> {
    pub(crate) fn push(&mut self, out: &mut RunWriter, row: T) -> Result<(), RunError> {
        self.rows.push(row);
        match self.rows.len() < self.block_rows {
            true => Ok(()),
            false => self.flush(out),
        }
    }

    pub(crate) fn finish(mut self, out: &mut RunWriter) -> Result<(), RunError> {
        match self.rows.is_empty() {
            true => Ok(()),
            false => self.flush(out),
        }
    }

    fn flush(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut block = Vec::new();
        (self.encode)(&mut block, &self.rows);
        out.block(self.section, (self.fence)(&self.rows[0]), &block)?;
        self.rows.clear();
        Ok(())
    }
}

pub(crate) fn batches_writer() -> RowsWriter<BatchRow> {
    RowsWriter {
        section: RunSection::Batches,
        rows: Vec::new(),
        block_rows: BATCHES_BLOCK,
        fence: BatchRow::fence,
        encode: rows::encode_batches,
    }
}

pub(crate) fn links_writer() -> RowsWriter<LinkRow> {
    RowsWriter {
        section: RunSection::Links,
        rows: Vec::new(),
        block_rows: BLOCK_ROWS_MAX,
        fence: |row| row.of.packed().into(),
        encode: rows::encode_links,
    }
}

pub(crate) fn reserved_writer() -> RowsWriter<ReservedRow> {
    RowsWriter {
        section: RunSection::Reserved,
        rows: Vec::new(),
        block_rows: BLOCK_ROWS_MAX,
        fence: |row| row.ordinal.into(),
        encode: rows::encode_reserved,
    }
}

/// Ledgers by account number: the fence of a block is the number of its first account.
pub(crate) fn write_accounts(
    out: &mut RunWriter,
    first_account: u32,
    ledgers: &[LedgerId],
) -> Result<(), RunError> {
    let mut number = u128::from(first_account);
    for some in ledgers.chunks(ACCOUNTS_BLOCK) {
        let mut block = Vec::new();
        rows::encode_accounts(&mut block, some);
        out.block(RunSection::Accounts, number, &block)?;
        number += some.len() as u128;
    }
    Ok(())
}
