//! The other ways to the end of a log: applying it from the start, and from a checkpoint.

use kanjo_engine::Ledger;
use kanjo_format::{ClusterId, Tail};

use crate::repl::embedded::Embedded;

/// Another table than the engine's own, so that nothing can depend on its order.
const OTHER_SEED: u64 = 99;

impl Embedded {
    /// What two ledgers must agree in, however they came to be.
    pub(crate) fn state(&self) -> String {
        let ledger = &self.ledger;
        ledger.audit().expect("the book is in balance");
        format!(
            "digest {:?}, log time {:?}, applied {:?}, {} accounts, {} transfers, {} failed, {:?}",
            ledger.digest(),
            ledger.log_time(),
            ledger.applied(),
            ledger.account_count(),
            ledger.posted_count(),
            ledger.failed_count(),
            ledger.trial_balance(),
        )
    }

    fn with_ledger(&self, ledger: Ledger) -> Self {
        Self {
            ledger,
            log: self.log.clone(),
            clock: self.clock,
            page_rows: 3,
        }
    }

    fn apply(&self, ledger: &mut Ledger, batches: std::ops::Range<usize>) {
        for batch in &self.log.past.batches()[batches] {
            let applied = ledger.apply(&batch.header, &batch.payload, batch.end);
            applied.expect("the engine's own batch fits");
        }
    }

    /// The whole log, applied.
    pub(crate) fn replayed(&self) -> Self {
        let mut ledger = Ledger::new(OTHER_SEED);
        self.apply(&mut ledger, 0..self.log.past.batches().len());
        self.with_ledger(ledger)
    }

    /// A checkpoint behind some batch, the ids in front of it, and the log behind it.
    pub(crate) fn restored(&self, cut: usize) -> Self {
        let batches = self.log.past.batches();
        let cut = cut % (batches.len() + 1);
        let mut halfway = Ledger::new(OTHER_SEED);
        self.apply(&mut halfway, 0..cut);
        let cluster = ClusterId::new(1);
        let tail = match cut.checked_sub(1).map(|last| &batches[last]) {
            None => Tail::empty(cluster),
            Some(last) => Tail {
                epoch: last.header.epoch(),
                lsn: last.end,
                chain: last.header.chain_after(&last.payload),
            },
        };
        let snapshot = halfway.snapshot(cluster, tail);
        // The snapshot stays what it is while the ledger goes on.
        self.apply(&mut halfway, cut..batches.len());
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).expect("memory takes it");
        let restored = Ledger::restore(&mut bytes.as_slice(), OTHER_SEED);
        let mut ledger = restored.expect("a checkpoint is read again").ledger;
        for batch in &batches[..cut] {
            let indexed = ledger.index_only(&batch.header, &batch.payload, batch.end);
            indexed.expect("the engine's own batch fits");
        }
        self.apply(&mut ledger, cut..batches.len());
        self.with_ledger(ledger)
    }
}
