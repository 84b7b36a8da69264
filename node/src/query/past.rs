//! The past of a node: its log, and what is derived from it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kanjo_engine::Ledger;
use kanjo_engine::query::{Balances, Key, Past, PastBatch, PastError};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::{AccountNumber, Batch, LedgerId, Lsn, RecordAt, TransferId};
use kanjo_wal::{LogError, LogReader, Stretch};

use super::Job;
use super::runs::{Runs, run_key};

/// Batches that are kept for who asks again.
const RECENT_BATCHES: usize = 8;
/// Stretches of the log whose batches are known by place.
const RECENT_STRETCHES: usize = 8;
/// Accounts that share a piece of memory.
const CHUNK_ACCOUNTS: usize = 4_096;

/// Ledger of each account by number, shared with queries while accounts are opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountLedgers {
    chunks: Vec<Arc<Vec<LedgerId>>>,
}

impl AccountLedgers {
    /// Takes in accounts that it does not have yet, some thousands at most. Whether it has all.
    pub(crate) fn catch_up(&mut self, ledger: &Ledger) -> bool {
        let is_full = |chunk: &Arc<Vec<LedgerId>>| chunk.len() == CHUNK_ACCOUNTS;
        if self.chunks.last().is_none_or(is_full) {
            self.chunks.push(Arc::default());
        }
        let full = (self.chunks.len() - 1) * CHUNK_ACCOUNTS;
        let last = self.chunks.last_mut().expect("just pushed");
        if full + last.len() < ledger.account_count() as usize {
            let chunk = Arc::make_mut(last);
            let first = AccountNumber::new((full + chunk.len()) as u32);
            ledger.ledgers_of_accounts(first, CHUNK_ACCOUNTS - chunk.len(), chunk);
        }
        full + last.len() == ledger.account_count() as usize
    }

    fn get(&self, account: AccountNumber) -> Option<LedgerId> {
        let number = account.get() as usize;
        let chunk = self.chunks.get(number / CHUNK_ACCOUNTS)?;
        chunk.get(number % CHUNK_ACCOUNTS).copied()
    }
}

/// The log up to one place. What of it is indexed is asked of the runs; where there are none,
/// every batch is looked through.
pub(super) struct LogPast {
    reader: LogReader,
    segment_bytes: u64,
    history: u64,
    end: Lsn,
    ledgers: AccountLedgers,
    runs: Runs,
    batches: VecDeque<PastBatch<Bytes>>,
    stretches: VecDeque<Stretch>,
}

impl LogPast {
    pub(super) fn new(reader: LogReader, segment_bytes: u64) -> Self {
        Self {
            reader,
            segment_bytes,
            history: 0,
            end: Lsn::ZERO,
            ledgers: AccountLedgers::default(),
            runs: Runs::default(),
            batches: VecDeque::new(),
            stretches: VecDeque::new(),
        }
    }

    /// Shows the past as a job is to see it.
    pub(super) fn show(&mut self, job: &Job) {
        if self.history != job.history {
            // The log was cut since: what was read of its end may be no part of it now.
            self.batches.clear();
            self.stretches.clear();
        }
        (self.history, self.end) = (job.history, job.end);
        self.ledgers = job.ledgers.clone();
        self.runs.show(job.runs.clone(), job.id);
    }

    fn read(&mut self, lsn: Lsn) -> Result<PastBatch<Bytes>, PastError> {
        let known = self.batches.iter().position(|b| b.header.lsn() == lsn);
        let batch = match known.and_then(|n| self.batches.remove(n)) {
            Some(batch) => batch,
            None => {
                let batch = self.reader.read(lsn).map_err(|error| bad(lsn, &error))?;
                let Batch { header, payload } = batch.ok_or_else(|| gone(lsn))?;
                PastBatch {
                    end: header.end(self.segment_bytes),
                    header,
                    payload,
                }
            }
        };
        self.batches.truncate(RECENT_BATCHES - 1);
        self.batches.push_front(batch.clone());
        Ok(batch)
    }

    /// The stretch in which `lsn` lies, which is in front of the end.
    fn stretch(&mut self, lsn: Lsn) -> Result<&Stretch, PastError> {
        let known = self.stretches.iter().position(|stretch| stretch.holds(lsn));
        let stretch = match known.and_then(|n| self.stretches.remove(n)) {
            Some(stretch) => stretch,
            None => {
                let segment = |lsn: Lsn| lsn.get() / self.segment_bytes;
                let of_segment = |stretch: &Stretch| segment(stretch.starts[0]) == segment(lsn);
                let grown = self.stretches.iter().position(of_segment);
                let grown = grown.and_then(|n| self.stretches.remove(n));
                let found = self.reader.stretch(lsn, grown);
                found
                    .map_err(|error| bad(lsn, &error))?
                    .ok_or_else(|| gone(lsn))?
            }
        };
        self.stretches.truncate(RECENT_STRETCHES - 1);
        self.stretches.push_front(stretch);
        Ok(&self.stretches[0])
    }
}

impl Past for LogPast {
    type Payload = Bytes;

    fn end(&self) -> Lsn {
        self.end
    }

    fn batch_from(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Bytes>>, PastError> {
        if lsn >= self.end {
            return Ok(None);
        }
        if let Some(batch) = self.batches.iter().find(|b| b.header.lsn() == lsn) {
            return Ok(Some(batch.clone()));
        }
        let stretch = self.stretch(lsn)?;
        let first = stretch.starts.partition_point(|start| *start < lsn);
        let start = stretch.starts.get(first).copied().unwrap_or(stretch.end);
        match start < self.end {
            true => self.read(start).map(Some),
            false => Ok(None),
        }
    }

    fn batch_before(&mut self, lsn: Lsn) -> Result<Option<PastBatch<Bytes>>, PastError> {
        let Some(last) = lsn.min(self.end).get().checked_sub(PAGE_BYTES) else {
            return Ok(None);
        };
        let last = Lsn::new(last);
        let stretch = self.stretch(last)?;
        let behind = stretch.starts.partition_point(|start| *start <= last);
        let start = behind.checked_sub(1).map(|n| stretch.starts[n]);
        self.read(start.ok_or_else(|| gone(last))?).map(Some)
    }

    fn indexed_to(&self) -> Lsn {
        self.runs.end().min(self.end)
    }

    fn is_indexed(&self, key: Key) -> bool {
        run_key(key).is_some()
    }

    fn length(&self, key: Key) -> u64 {
        self.runs.length(key)
    }

    fn seek(&mut self, key: Key, from: RecordAt) -> Result<Option<RecordAt>, PastError> {
        self.runs.seek(key, from)
    }

    fn seek_back(&mut self, key: Key, before: RecordAt) -> Result<Option<RecordAt>, PastError> {
        self.runs.seek_back(key, before)
    }

    fn base(
        &mut self,
        account: AccountNumber,
        before: RecordAt,
    ) -> Result<(RecordAt, Balances), PastError> {
        self.runs.base(account, before)
    }

    fn start_of_time(&mut self, timestamp: u64) -> Result<Lsn, PastError> {
        self.runs.start_of_time(timestamp)
    }

    fn find(&mut self, id: TransferId) -> Result<Vec<RecordAt>, PastError> {
        self.runs.find(id)
    }

    fn ledger_of(&self, account: AccountNumber) -> Option<LedgerId> {
        self.ledgers.get(account)
    }
}

fn bad(lsn: Lsn, error: &LogError) -> PastError {
    PastError::Unreadable {
        lsn,
        reason: error.to_string(),
    }
}

fn gone(lsn: Lsn) -> PastError {
    PastError::Unreadable {
        lsn,
        reason: "the log ends before it".to_owned(),
    }
}
