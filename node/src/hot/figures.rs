//! Sizes and positions, as they are told to the other threads.

use super::Hot;
use crate::published::Figures;

impl Hot {
    /// The present ones. Allocates nothing and waits for nothing.
    pub(crate) fn figures(&self) -> Figures {
        let runs = self.store.indexing.set();
        let ledger = &self.store.ledger;
        Figures {
            tail: self.store.log.tail().lsn,
            durable: self.durable.lsn,
            committed: self.committed,
            applied: self.store.applied().lsn,
            checkpoint: self.last_checkpoint,
            indexed: runs.end(),
            counters: self.counters,
            sent_bytes: self.traffic.sent(),
            received_bytes: self.traffic.received(),
            connections: self.front.connection_count(),
            requests_outstanding: self.front.outstanding(),
            requests_queued: self.front.queued() as u64,
            events_queued: self.front.queued_events() as u64,
            free_disk_bytes: self.free_disk_bytes,
            index_runs: runs.runs().len() as u64,
            index_bytes: runs.bytes(),
            young_ids: ledger.index().len() as u64,
            accounts: ledger.account_count().into(),
            transfers: ledger.posted_count(),
            pending: ledger.pending_count().into(),
            unprotected: ledger.reign().unprotected.count,
        }
    }
}
