//! Merging neighbouring runs into one: every section is a stream, so memory stays bounded.

use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::run::ids::IdEntry;
use kanjo_format::run::lists::{Item, ListKey, Sums};
use kanjo_format::run::rows::{BatchRow, LinkKind, LinkRow, ReservedRow};
use kanjo_format::run::{RUN_RECORDS_MAX, RUN_TIER_TOP, RunFooter, filter_lines};

use crate::cursor::Places;
use crate::error::RunError;
use crate::run::{Run, RunInfo};
use crate::set::Merge;
use crate::streams::{self, Chunks, Stream};
use crate::writer::RunWriter;
use crate::writers::{
    IdsWriter, ListWriter, batches_writer, links_writer, reserved_writer, write_accounts,
};

/// Writes the run that `merge` says is due beside its sources, at this pace, and syncs it. The set takes it in
/// by [`crate::RunSet::with_merged`]; only then may the sources be removed. Interrupted, it
/// leaves the sources as they are.
pub fn merge(merge: &Merge, pace: Pace<'static>) -> Result<RunInfo, RunError> {
    let sources = Sources::new(merge)?;
    let footer = sources.footer(merge.tier);
    let dir = merge.runs[0]
        .path()
        .parent()
        .unwrap_or(merge.runs[0].path());
    let (first, end) = (footer.first_lsn, footer.end_lsn);
    let mut out = RunWriter::create(dir, footer.cluster, first, end, pace)?;
    sources.batches(&mut out)?;
    sources.lists(&mut out)?;
    sources.ids(&mut out, footer.ids)?;
    sources.links(&mut out)?;
    sources.reserved(&mut out)?;
    sources.accounts(&mut out)?;
    let path = out.finish(footer)?;
    Run::open(path).map(|run| run.info())
}

/// The runs of a merge, and how many records stand before each of them.
pub(crate) struct Sources<'a> {
    runs: &'a [Arc<Run>],
    bases: Vec<u64>,
}

impl<'a> Sources<'a> {
    fn new(merge: &'a Merge) -> Result<Self, RunError> {
        let refused = |why: &str| {
            let doing = "merge runs";
            let why = why.to_owned();
            Err(RunError::Refused { doing, why })
        };
        let runs = &merge.runs[..];
        if runs.len() < 2 {
            return refused("there are not two of them");
        }
        if merge.tier > RUN_TIER_TOP {
            return refused("their tier is the highest");
        }
        let follows = |pair: &[Arc<Run>]| {
            let (before, behind) = (pair[0].footer(), pair[1].footer());
            before.end_lsn == behind.first_lsn
                && before.seed == behind.seed
                && before.cluster == behind.cluster
                && before.first_account + before.accounts == behind.first_account
        };
        if !runs.windows(2).all(follows) {
            return refused("they do not follow one another");
        }
        let sources = Self::of(runs);
        let records = sources.bases.last().copied().unwrap_or(0);
        if records > RUN_RECORDS_MAX / 2 {
            return refused("they hold more records than one run counts");
        }
        Ok(sources)
    }

    /// Runs that follow one another.
    pub(crate) fn of(runs: &'a [Arc<Run>]) -> Self {
        let mut next = 0;
        let bases = runs.iter().map(|run| {
            let base = next;
            next += run.footer().records;
            base
        });
        let bases = bases.collect();
        Self { runs, bases }
    }

    pub(crate) fn footer(&self, tier: u8) -> RunFooter {
        let footers = || self.runs.iter().map(|run| run.footer());
        let (first, last) = (
            self.runs[0].footer(),
            self.runs[self.runs.len() - 1].footer(),
        );
        let ids = footers().map(|footer| footer.ids).sum();
        RunFooter {
            tier,
            end_lsn: last.end_lsn,
            end_chain: last.end_chain,
            records: footers().map(|footer| footer.records).sum(),
            transfers: footers().map(|footer| footer.transfers).sum(),
            failed: footers().map(|footer| footer.failed).sum(),
            ids,
            id_low: footers()
                .map(|footer| footer.id_low)
                .min()
                .unwrap_or(u128::MAX),
            id_high: footers().map(|footer| footer.id_high).max().unwrap_or(0),
            time: last.time,
            accounts: footers().map(|footer| footer.accounts).sum(),
            filter_lines: filter_lines(ids),
            link_low: footers()
                .map(|footer| footer.link_low)
                .min()
                .unwrap_or(u64::MAX),
            link_high: footers().map(|footer| footer.link_high).max().unwrap_or(0),
            sections: Default::default(),
            ..*first
        }
    }

    fn batches(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut writer = batches_writer();
        self.each_batch(|row| writer.push(out, row))?;
        writer.finish(out)
    }

    pub(crate) fn each_batch(
        &self,
        mut each: impl FnMut(BatchRow) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let mut before = BatchRow::default();
        for (run, base) in self.runs.iter().zip(&self.bases) {
            let mut stream = streams::batches(run);
            while let Some(row) = stream.next()? {
                let first = base + row.first;
                if row.lsn < before.lsn || first < before.first || row.time < before.time {
                    return Err(stream.bad("a batch that does not follow the one before it"));
                }
                before = BatchRow { first, ..row };
                each(before)?;
            }
        }
        Ok(())
    }

    fn ids(&self, out: &mut RunWriter, count: u64) -> Result<(), RunError> {
        let mut writer = IdsWriter::new(count);
        let mut merged = self.merged_ids();
        while let Some(entry) = merged.next()? {
            writer.push(out, entry)?;
        }
        writer.finish(out)
    }

    /// All ids in order, their ordinals counted over all runs.
    pub(crate) fn merged_ids(&self) -> Merged<IdEntry> {
        Merged {
            streams: self.runs.iter().map(streams::ids).collect(),
            bases: self.bases.clone(),
            place: |entry, base| IdEntry {
                ordinal: entry.ordinal + base,
                ..entry
            },
        }
    }

    /// All links in order, their ordinals counted over all runs.
    pub(crate) fn merged_links(&self) -> Merged<LinkRow> {
        Merged {
            streams: self.runs.iter().map(streams::links).collect(),
            bases: self.bases.clone(),
            place: |row, base| LinkRow {
                ordinal: row.ordinal + base,
                ..row
            },
        }
    }

    fn links(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut writer = links_writer();
        let mut merged = self.merged_links();
        while let Some(row) = merged.next()? {
            writer.push(out, row)?;
        }
        writer.finish(out)
    }

    fn reserved(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut writer = reserved_writer();
        self.each_reserved(|row| writer.push(out, row))?;
        writer.finish(out)
    }

    /// What one of the runs left open and no later one resolved.
    pub(crate) fn each_reserved(
        &self,
        mut each: impl FnMut(ReservedRow) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let mut links = self.merged_links();
        let mut link = links.next()?;
        let mut before = 0;
        for (run, base) in self.runs.iter().zip(&self.bases) {
            let (mut stream, mut places) = (streams::reserved(run), Places::default());
            while let Some(row) = stream.next()? {
                let at = places.place_of(run, row.ordinal)?;
                while link.is_some_and(|l| l.of < at || l.of == at && l.kind == LinkKind::Reversed)
                {
                    link = links.next()?;
                }
                if link.is_none_or(|link| link.of != at) {
                    let ordinal = base + row.ordinal;
                    if ordinal < before {
                        return Err(stream.bad("a record that does not follow the one before it"));
                    }
                    before = ordinal;
                    each(ReservedRow { ordinal, ..row })?;
                }
            }
        }
        Ok(())
    }

    fn lists(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut writer = ListWriter::default();
        let mut chunks = self.chunks();
        while let Some((key, sums)) = chunks.next()? {
            writer.add_chunk(out, key, chunks.items(), sums)?;
        }
        writer.finish(out)
    }

    /// The chunks of all lists in order.
    pub(crate) fn chunks(&self) -> MergedChunks {
        MergedChunks {
            sources: self.runs.iter().map(Chunks::new).collect(),
            bases: self.bases.clone(),
            key: None,
            at: 0,
            carried: Sums::default(),
            last: Sums::default(),
        }
    }

    pub(crate) fn each_run(
        &self,
        each: impl FnMut(&Arc<Run>) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        self.runs.iter().try_for_each(each)
    }

    fn accounts(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut ledgers = Vec::new();
        for run in self.runs {
            run.accounts(&mut ledgers)?;
        }
        write_accounts(out, self.runs[0].footer().first_account, &ledgers)
    }
}

/// Sorted streams as one.
pub(crate) struct Merged<T> {
    streams: Vec<Stream<T>>,
    bases: Vec<u64>,
    place: fn(T, u64) -> T,
}

impl<T: Copy + Ord> Merged<T> {
    pub(crate) fn next(&mut self) -> Result<Option<T>, RunError> {
        let mut lowest: Option<(T, usize)> = None;
        for (n, stream) in self.streams.iter_mut().enumerate() {
            if let Some(row) = stream.peek()? {
                let row = (self.place)(row, self.bases[n]);
                if lowest.is_none_or(|(low, _)| row < low) {
                    lowest = Some((row, n));
                }
            }
        }
        let Some((row, n)) = lowest else {
            return Ok(None);
        };
        self.streams[n].pass();
        Ok(Some(row))
    }
}

/// The chunks of several runs as one sequence: ordinals and sums are counted over all of them.
pub(crate) struct MergedChunks {
    sources: Vec<Chunks>,
    bases: Vec<u64>,
    /// The list that is being read.
    key: Option<ListKey>,
    /// The source that it is read of.
    at: usize,
    /// What the sources before that one have changed.
    carried: Sums,
    /// What that source has changed up to its last chunk.
    last: Sums,
}

impl MergedChunks {
    /// Key and sums of the next chunk.
    pub(crate) fn next(&mut self) -> Result<Option<(ListKey, Sums)>, RunError> {
        loop {
            if let Some(key) = self.key {
                while self.at < self.sources.len() {
                    if self.sources[self.at].key()? == Some(key) {
                        return self.take(key).map(Some);
                    }
                    self.carried = self.carried.plus(std::mem::take(&mut self.last));
                    self.at += 1;
                }
            }
            let mut lowest = None;
            for source in &mut self.sources {
                lowest = [lowest, source.key()?].into_iter().flatten().min();
            }
            if lowest.is_none() {
                return Ok(None);
            }
            self.key = lowest;
            self.at = 0;
            self.carried = Sums::default();
        }
    }

    fn take(&mut self, key: ListKey) -> Result<(ListKey, Sums), RunError> {
        let (source, base) = (&mut self.sources[self.at], self.bases[self.at]);
        self.last = source.take()?;
        source.items.iter_mut().for_each(|item| item.first += base);
        Ok((key, self.carried.plus(self.last)))
    }

    /// Items of the chunk that was given last.
    pub(crate) fn items(&self) -> &[Item] {
        &self.sources[self.at].items
    }
}
