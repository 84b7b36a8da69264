//! The past, as the ledger asks for it: records from the log, the rest from the old part of the index.

use std::sync::Arc;

use bytes::Bytes;
use kanjo_engine::{Entry, HistoryError, HistoryReader, Resolution};
use kanjo_format::columns::find_row;
use kanjo_format::movement::{Transfer, transfer_at};
use kanjo_format::record::{FailedRow, RecordKind};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{Batch, Lsn, RecordAt, Timestamp, TransferId};
use kanjo_index::{LinkKind, RunError, RunSet};
use kanjo_wal::LogReader;

use crate::indexing::set_aside;

/// Reads the log and the runs of the index.
pub(crate) struct LogHistory {
    reader: LogReader,
    runs: Arc<RunSet>,
    /// The batch that was read last.
    last: Option<(Lsn, Batch<Bytes>)>,
}

impl LogHistory {
    pub(crate) const fn new(reader: LogReader, runs: Arc<RunSet>) -> Self {
        Self {
            reader,
            runs,
            last: None,
        }
    }

    /// Looks things up in these runs from now on.
    pub(crate) fn set_runs(&mut self, runs: Arc<RunSet>) {
        self.runs = runs;
    }

    /// Forgets what was read: the log may have been cut.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    fn batch(&mut self, at: RecordAt) -> Result<&Batch<Bytes>, HistoryError> {
        let lsn = at.lsn();
        if self.last.as_ref().is_none_or(|(last, _)| *last != lsn) {
            let batch = self
                .reader
                .read(lsn)
                .map_err(|error| unreadable(at, &error))?;
            let batch = batch.ok_or_else(|| unreadable(at, &"the log ends before it"))?;
            self.last = Some((lsn, batch));
        }
        let (_, batch) = self.last.as_ref().expect("just read");
        Ok(batch)
    }

    /// The entry of the record at `at`, if it is one of `id`.
    fn entry_of(&mut self, id: TransferId, at: RecordAt) -> Result<Option<Entry>, HistoryError> {
        let Batch { header, payload } = self.batch(at)?;
        let found = transfer_at(header, payload, at.index());
        if let Some(transfer) = found.map_err(|error| unreadable(at, &error))? {
            return Ok((transfer.id == id).then_some(Entry::Posted(at)));
        }
        let (count, kind) = (header.record_count(), RecordKind::TransferFailed);
        let row = find_row::<FailedRow>(payload, count, kind, at.index());
        let row = row
            .map_err(|error| unreadable(at, &error))?
            .ok_or_else(|| unreadable(at, &"another kind of record stands there"))?;
        if row.id.get() != id.get() {
            return Ok(None);
        }
        let result = CreateTransferResult::from_number(row.result.get());
        let result = result.ok_or_else(|| unreadable(at, &"its result is unknown"))?;
        Ok(Some(Entry::Failed(result)))
    }
}

impl HistoryReader for LogHistory {
    fn transfer_at(&mut self, at: RecordAt) -> Result<Transfer, HistoryError> {
        let Batch { header, payload } = self.batch(at)?;
        transfer_at(header, payload, at.index())
            .map_err(|error| unreadable(at, &error))?
            .ok_or_else(|| unreadable(at, &"another kind of record stands there"))
    }

    fn find_id(&mut self, id: TransferId) -> Result<Option<Entry>, HistoryError> {
        let places = self.runs.find(id).map_err(|error| no_index(&error))?;
        for at in places {
            if let Some(entry) = self.entry_of(id, at)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn resolution_of(&mut self, pending: RecordAt) -> Result<Option<Resolution>, HistoryError> {
        let link = self.runs.resolution_of(pending);
        let link = link.map_err(|error| no_index(&error))?;
        Ok(link.and_then(|link| match link.kind {
            LinkKind::Posted => Some(Resolution::Posted(link.by)),
            LinkKind::Voided => Some(Resolution::Voided(link.by)),
            LinkKind::Expired => Some(Resolution::Expired(link.by)),
            LinkKind::Reversed => None,
        }))
    }

    fn reversal_of(&mut self, original: RecordAt) -> Result<Option<RecordAt>, HistoryError> {
        self.runs
            .reversal_of(original)
            .map_err(|error| no_index(&error))
    }

    fn has_transfer_at_time(&mut self, timestamp: Timestamp) -> Result<bool, HistoryError> {
        let from = self.runs.seek_time(timestamp);
        let mut lsn = from.map_err(|error| no_index(&error))?.lsn();
        let segment_bytes = self.runs.params().segment_bytes;
        while lsn < self.runs.end() {
            let at = RecordAt::new(lsn, 0);
            let Batch { header, payload } = self.batch(at)?;
            for index in 0..header.record_count() as usize {
                let found = transfer_at(header, payload, index);
                let Some(transfer) = found.map_err(|error| unreadable(at, &error))? else {
                    continue;
                };
                // Times of transfers rise along the log.
                if transfer.timestamp >= timestamp {
                    return Ok(transfer.timestamp == timestamp);
                }
            }
            lsn = header.end(segment_bytes);
        }
        Ok(false)
    }
}

fn unreadable(at: RecordAt, why: &dyn std::fmt::Display) -> HistoryError {
    HistoryError {
        at,
        reason: why.to_string(),
    }
}

fn no_index(error: &RunError) -> HistoryError {
    set_aside(error);
    HistoryError {
        at: RecordAt::MIN,
        reason: error.to_string(),
    }
}
