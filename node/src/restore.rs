//! A ledger built from a checkpoint and the log, for whoever needs one: a start, a cut, a drill.
//!
//! ```text
//! read_checkpoint ─▶ index_below (ids between the index on disk and the checkpoint) ─▶ apply …
//! ```

use std::io::Read;

use bytes::Bytes;
use kanjo_engine::{Ledger, OldPart, Restored};
use kanjo_format::{Batch, BatchHeader, BatchPlace, ClusterId, Epoch, Lsn, Tail};
use kanjo_wal::LogReader;

use crate::error::NodeError;
use crate::indexing::place_at;
use crate::replay::each_batch;

/// What a ledger is built from, but for the checkpoint.
pub(crate) struct Source {
    pub(crate) reader: LogReader,
    pub(crate) cluster: ClusterId,
    pub(crate) segment_bytes: u64,
    /// What is in the old part of the index need not be read again.
    pub(crate) old: OldPart,
}

/// Why a checkpoint led to no ledger.
pub(crate) enum Unusable {
    /// It is the checkpoint's fault: another one may do.
    Checkpoint(String),
    /// It is not.
    Other(NodeError),
}

impl<E: Into<NodeError>> From<E> for Unusable {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Source {
    /// Reads the checkpoint that is called after `lsn`.
    pub(crate) fn read_checkpoint(
        &self,
        input: &mut dyn Read,
        lsn: Lsn,
    ) -> Result<Restored, Unusable> {
        let restored = Ledger::restore(input, table_seed())
            .map_err(|error| Unusable::Checkpoint(error.to_string()))?;
        let (tail, cluster) = (restored.tail, restored.cluster);
        if tail.lsn != lsn || cluster != self.cluster {
            let why = format!("it is of lsn {} of cluster {cluster}", tail.lsn);
            return Err(Unusable::Checkpoint(why));
        }
        Ok(restored)
    }

    /// Takes the ids below the checkpoint that no run of the index holds, and proves that the
    /// checkpoint continues this log. `taken` is told of every batch and may end it.
    pub(crate) fn index_below(
        &self,
        restored: Restored,
        mut taken: impl FnMut(BatchPlace) -> Result<(), Unusable>,
    ) -> Result<(Ledger, BatchPlace), Unusable> {
        let damaged = |why: String| Unusable::Checkpoint(why);
        let Restored {
            mut ledger, tail, ..
        } = restored;
        ledger.cover_index(&self.old);
        let mut place = match self.old.end.min(tail.lsn) {
            Lsn::ZERO => start_of_log(self.cluster),
            begin => BatchPlace {
                epoch: tail.epoch,
                ..place_at(&self.reader, self.cluster, begin).map_err(|e| damaged(e.to_string()))?
            },
        };
        let begin = BatchPlace {
            epoch: Epoch::NONE,
            ..place
        };
        each_batch(&self.reader, begin, tail.lsn, |batch, behind| {
            ledger
                .index_only(&batch.header, &batch.payload, behind.lsn)
                .map_err(|error| damaged(error.to_string()))?;
            place = behind;
            taken(behind)
        })?;
        if place.lsn != tail.lsn || place.chain != tail.chain {
            return Err(damaged(format!(
                "it continues chain {:?} at lsn {}, the log has {:?} at lsn {}",
                tail.chain, tail.lsn, place.chain, place.lsn
            )));
        }
        Ok((ledger, place))
    }
}

/// Applies a batch that follows what was applied so far.
pub(crate) fn apply(
    ledger: &mut Ledger,
    batch: &Batch<Bytes>,
    end: Lsn,
    segment_bytes: u64,
) -> Result<(), NodeError> {
    let header = &batch.header;
    ledger
        .apply(header, &batch.payload, end)
        .map_err(|source| NodeError::Apply {
            lsn: header.lsn(),
            source,
        })?;
    begin_generation(ledger, header, end, segment_bytes);
    Ok(())
}

/// A batch that fills its segment to the end begins the next one like a segment end does.
pub(crate) fn begin_generation(
    ledger: &mut Ledger,
    header: &BatchHeader,
    end: Lsn,
    segment_bytes: u64,
) {
    let fills = end.get().is_multiple_of(segment_bytes);
    if fills && !header.is_segment_end() {
        ledger.begin_generation();
    }
}

/// Where the first batch of a cluster's log stands.
pub(crate) fn start_of_log(cluster: ClusterId) -> BatchPlace {
    let tail = Tail::empty(cluster);
    BatchPlace {
        cluster,
        lsn: tail.lsn,
        epoch: tail.epoch,
        chain: tail.chain,
    }
}

/// Seed of the tables that are keyed by clients' ids; drawn anew at each start.
pub(crate) fn table_seed() -> u64 {
    // Without a random source the tables still work, only their order can be guessed.
    getrandom::u64().unwrap_or(0x6b61_6e6a_6f00)
}
