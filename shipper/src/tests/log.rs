//! A log in memory that loses what was not synced.

use kanjo_format::batch::BatchFields;
use kanjo_format::replication::EpochEntry;
use kanjo_format::{BatchHeader, BatchPlace, Chain, ClusterId, Epoch, Lsn, Tail, Timestamp};

use crate::LocalLog;

pub(super) const CLUSTER: ClusterId = ClusterId::new(7);
/// Eight batches of one page fill a segment exactly, so no segment end is needed.
pub(super) const SEGMENT_BYTES: u64 = 8 * 4096;

/// First payload byte: what the batch is about.
pub(super) const WRITE: u8 = 0;
pub(super) const START_ALONE: u8 = 1;
pub(super) const START_OTHER: u8 = 2;
pub(super) const SET_CHANGE: u8 = 3;

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) header: BatchHeader,
    pub(super) payload: Vec<u8>,
    pub(super) tail: Tail,
}

#[derive(Clone, Default)]
pub(super) struct MemoryLog {
    pub(super) batches: Vec<Stored>,
    pub(super) synced: usize,
}

impl MemoryLog {
    pub(super) fn tail(&self) -> Tail {
        self.batches.last().map_or(Tail::empty(CLUSTER), |b| b.tail)
    }

    pub(super) fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        if lsn == Lsn::ZERO {
            return Some(Chain::genesis(CLUSTER));
        }
        let at = self.batches.iter().find(|b| b.tail.lsn == lsn);
        at.map(|b| b.tail.chain)
    }

    pub(super) fn holds(&self, tail: Tail) -> bool {
        self.chain_at(tail.lsn) == Some(tail.chain)
    }

    pub(super) fn write(&mut self, epoch: Epoch, confirmed: Lsn, payload: Vec<u8>) -> Tail {
        let tail = self.tail();
        let header = BatchHeader::build(
            &BatchFields {
                cluster: CLUSTER,
                epoch,
                lsn: tail.lsn,
                flags: 0,
                record_count: 0,
                timestamp: Timestamp::new(tail.lsn.get()),
                confirmed,
                prev_chain: tail.chain,
            },
            &payload,
        );
        self.append(header, payload)
    }

    pub(super) fn append(&mut self, header: BatchHeader, payload: Vec<u8>) -> Tail {
        let before = self.tail();
        let place = BatchPlace {
            cluster: CLUSTER,
            lsn: before.lsn,
            epoch: before.epoch,
            chain: before.chain,
        };
        header.check(&place, &payload).expect("a verified batch");
        let next = header.next_place(&payload, SEGMENT_BYTES);
        let tail = Tail {
            epoch: next.epoch,
            lsn: next.lsn,
            chain: next.chain,
        };
        self.batches.push(Stored {
            header,
            payload,
            tail,
        });
        tail
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.batches.len();
    }

    pub(super) fn durable(&self) -> Tail {
        let last = self.synced.checked_sub(1);
        last.map_or(Tail::empty(CLUSTER), |i| self.batches[i].tail)
    }

    /// Keeps what was synced and `extra` more batches, as a crash may.
    pub(super) fn crash(&mut self, extra: usize) {
        self.batches.truncate(self.synced + extra);
        self.sync();
    }

    pub(super) fn cut(&mut self, to: Tail) -> bool {
        if !self.holds(to) {
            return false;
        }
        self.batches.retain(|b| b.tail.lsn <= to.lsn);
        self.sync();
        true
    }

    /// What is on disk, as a node reports it.
    pub(super) fn local(&self, confirmed: Lsn) -> LocalLog {
        let mut log = LocalLog {
            tail: Tail::empty(CLUSTER),
            confirmed,
            history: Vec::new(),
            alone_to: Lsn::ZERO,
        };
        let mut alone = false;
        for batch in &self.batches[..self.synced] {
            if batch.tail.epoch != log.tail.epoch {
                log.history.push(EpochEntry {
                    epoch: batch.tail.epoch,
                    base: log.tail,
                });
            }
            match batch.payload[0] {
                START_ALONE => alone = true,
                START_OTHER | SET_CHANGE => alone = false,
                _ => {}
            }
            log.tail = batch.tail;
            log.confirmed = log.confirmed.max(batch.header.confirmed());
            if alone {
                log.alone_to = batch.tail.lsn;
            }
        }
        log
    }
}
