//! The batch that was appended last, and how it goes to the peers: it is packed from memory, and
//! once, however many of them take it.

use std::sync::Arc;
use std::time::Instant;

use kanjo_format::{BatchHeader, Epoch, Lsn, Tail};
use kanjo_shipper::Packer;

use crate::metrics::Stage;
use crate::server::Shared;

/// The last batch, the packer, and the frame that it made of that batch.
pub(super) struct LastBatch {
    packer: Packer,
    shared: Arc<Shared>,
    /// Payload of the batch, written here before it is appended.
    pub(super) payload: Vec<u8>,
    kept: Option<(BatchHeader, Tail)>,
    /// Its frame, if it was packed for several; else empty.
    frame: Vec<u8>,
}

impl LastBatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            packer: Packer::new(),
            shared,
            payload: Vec::new(),
            kept: None,
            frame: Vec::new(),
        }
    }

    /// A batch was appended with the payload that is here; `tail` is the log's end behind it.
    pub(super) fn keep(&mut self, header: &BatchHeader, tail: Tail) {
        let kept = header.payload_bytes() == self.payload.len();
        self.kept = kept.then_some((*header, tail));
        self.frame.clear();
    }

    /// Appends the frame of the batch at `lsn` to `out`, if that is the last one; gives the log's
    /// end behind it. The frame is kept if it is `shared`: others take it too.
    pub(super) fn pack(
        &mut self,
        epoch: Epoch,
        lsn: Lsn,
        shared: bool,
        out: &mut Vec<u8>,
    ) -> Option<Tail> {
        let (header, tail) = self.kept.as_ref().filter(|(h, _)| h.lsn() == lsn)?;
        if !self.frame.is_empty() {
            out.extend_from_slice(&self.frame);
            return Some(*tail);
        }
        let (before, begun) = (out.len(), Instant::now());
        self.packer.pack(epoch, header, &self.payload, out);
        let took = begun.elapsed();
        self.shared.metrics.stage(Stage::Compress).record(took);
        if shared {
            self.frame.extend_from_slice(&out[before..]);
        }
        Some(*tail)
    }

    /// Appends the frame of an older batch, which was read back.
    pub(super) fn pack_older(
        &mut self,
        epoch: Epoch,
        header: &BatchHeader,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        let begun = Instant::now();
        self.packer.pack(epoch, header, payload, out);
        let took = begun.elapsed();
        self.shared.metrics.stage(Stage::Compress).record(took);
    }
}

#[cfg(test)]
mod tests {
    use kanjo_format::batch::BatchFields;
    use kanjo_format::{Chain, ClusterId, Timestamp};

    use super::*;

    const EPOCH: Epoch = Epoch::from_terms(1, 1);

    fn kept() -> (LastBatch, Lsn) {
        let mut last = LastBatch::new(Arc::default());
        last.payload = (0..5_000_u32).map(|n| (n % 7) as u8).collect();
        let fields = BatchFields {
            cluster: ClusterId::new(7),
            epoch: EPOCH,
            lsn: Lsn::new(4096),
            flags: 0,
            record_count: 1,
            timestamp: Timestamp::new(1),
            confirmed: Lsn::ZERO,
            prev_chain: Chain::default(),
        };
        let header = BatchHeader::build(&fields, &last.payload);
        let tail = Tail {
            epoch: EPOCH,
            lsn: Lsn::new(3 * 4096),
            chain: Chain::default(),
        };
        last.keep(&header, tail);
        (last, fields.lsn)
    }

    #[test]
    fn a_batch_is_packed_once_and_the_same_bytes_go_to_every_peer() {
        let (mut last, lsn) = kept();
        let (mut first, mut second) = (Vec::new(), b"before".to_vec());
        last.pack(EPOCH, lsn, true, &mut first).unwrap();
        // Whoever comes later gets the frame that was made, not one made anew.
        last.payload.fill(0);
        last.pack(EPOCH, lsn, true, &mut second).unwrap();
        assert_eq!(second, [b"before", &first[..]].concat());
    }

    #[test]
    fn the_frame_of_a_batch_is_not_taken_for_that_of_the_next() {
        let (mut last, lsn) = kept();
        last.pack(EPOCH, lsn, true, &mut Vec::new()).unwrap();
        let mut out = Vec::new();
        let next = lsn.advance(8192);
        assert_eq!(last.pack(EPOCH, next, true, &mut out), None);
        last.keep(&kept().0.kept.unwrap().0, Tail::empty(ClusterId::new(7)));
        assert!(last.frame.is_empty() && out.is_empty());
    }

    #[test]
    fn with_one_peer_no_second_copy_is_kept() {
        let (mut last, lsn) = kept();
        last.pack(EPOCH, lsn, false, &mut Vec::new()).unwrap();
        assert_eq!(last.frame.capacity(), 0);
    }
}
