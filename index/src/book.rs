//! Balances of all accounts at one place, read from front to back instead of one by one.

use std::sync::Arc;

use kanjo_format::run::RunSection;
use kanjo_format::run::lists::{ACCOUNT, ChunkHead, Item};
use kanjo_format::{AccountNumber, RecordAt};

use crate::cursor::{Places, start_of};
use crate::error::RunError;
use crate::run::{Changed, Run};
use crate::set::{Base, RunSet};

/// The accounts that any record before a place moved, by number, each with its base (see
/// [`RunSet::base`]). Behind the first error it ends.
#[derive(Debug)]
pub struct Book {
    sources: Vec<Source>,
    /// Turns ordinals of the last source into places.
    places: Places,
    from: RecordAt,
    failed: bool,
}

impl Book {
    pub(crate) fn new(set: &RunSet, before: RecordAt) -> Result<Self, RunError> {
        let runs = set.runs();
        let until = runs.partition_point(|run| start_of(run.first_lsn()) < before);
        let mut places = Places::default();
        let mut sources = Vec::with_capacity(until);
        for (n, run) in runs[..until].iter().enumerate() {
            let end = match n + 1 == until {
                true => places.ordinal_of(run, before)?,
                false => run.footer().records,
            };
            sources.push(Source::open(run, end)?);
        }
        Ok(Self {
            sources,
            places,
            from: before.min(start_of(set.end())),
            failed: false,
        })
    }

    fn step(&mut self) -> Result<Option<(AccountNumber, Base)>, RunError> {
        let heads = self.sources.iter().filter_map(|source| source.next);
        let Some(account) = heads.map(|(account, _)| account).min() else {
            return Ok(None);
        };
        let mut base = Base {
            sums: Default::default(),
            from: self.from,
        };
        for source in &mut self.sources {
            let Some((_, changed)) = source.next.filter(|(number, _)| *number == account) else {
                continue;
            };
            base.sums = base.sums.plus(changed.sums);
            if let Some(ordinal) = changed.missing_from {
                base.from = self.places.place_of(&source.run, ordinal)?;
            }
            source.advance()?;
        }
        Ok(Some((AccountNumber::new(account), base)))
    }
}

impl Iterator for Book {
    type Item = Result<(AccountNumber, Base), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.step().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// The accounts of one run, and what it changed of each before a record.
#[derive(Debug)]
struct Source {
    run: Arc<Run>,
    end: u64,
    next_block: usize,
    block: Vec<u8>,
    heads: Vec<ChunkHead>,
    at: usize,
    items: Vec<Item>,
    next: Option<(u32, Changed)>,
}

impl Source {
    fn open(run: &Arc<Run>, end: u64) -> Result<Self, RunError> {
        let mut source = Self {
            run: Arc::clone(run),
            end,
            next_block: 0,
            block: Vec::new(),
            heads: Vec::new(),
            at: 0,
            items: Vec::new(),
            next: None,
        };
        source.advance()?;
        Ok(source)
    }

    /// Reads the next account that a record before the end moved.
    fn advance(&mut self) -> Result<(), RunError> {
        self.next = None;
        let mut found: Option<(u32, Changed)> = None;
        while let Some((account, first)) = self.peek()? {
            if found.is_some_and(|(number, _)| number != account) {
                break;
            }
            if first < self.end {
                let before = found.map_or_else(Changed::default, |(_, changed)| changed);
                found = Some((account, self.changed(before)?));
            }
            self.at += 1;
        }
        self.next = found;
        Ok(())
    }

    /// Account and first record of the next chunk.
    fn peek(&mut self) -> Result<Option<(u32, u64)>, RunError> {
        if self.at == self.heads.len() {
            if self.next_block >= self.run.file.fences(RunSection::Lists).len() {
                return Ok(None);
            }
            self.run
                .heads(self.next_block, &mut self.block, &mut self.heads)?;
            self.next_block += 1;
            self.at = 0;
        }
        let head = self
            .heads
            .get(self.at)
            .filter(|head| head.key.kind == ACCOUNT);
        Ok(head.map(|head| (head.key.value as u32, head.first)))
    }

    /// What is changed up to the end of the chunk, if that is before the end.
    fn changed(&mut self, before: Changed) -> Result<Changed, RunError> {
        let head = &self.heads[self.at];
        if self.end < self.run.footer().records {
            let n = self.next_block - 1;
            self.run.items(n, &self.block, head, &mut self.items)?;
            if self
                .items
                .last()
                .is_some_and(|item| item.last() >= self.end)
            {
                return Ok(Changed {
                    missing_from: Some(head.first),
                    ..before
                });
            }
        }
        Ok(Changed {
            sums: head.sums,
            missing_from: None,
        })
    }
}
