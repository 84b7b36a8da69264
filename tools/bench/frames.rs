//! How large the frames of one commit are.

use kanjo_format::client::{FRAME_HEADER_BYTES, LENGTH_BYTES, ResultRun, TransferBody};
use kanjo_format::replication::{Body, Frame};
use kanjo_format::{ClusterId, Epoch, Incarnation, NodeId, Tail};

use crate::floor::FrameBytes;

/// Of a request of so many transfers; how much is written and shipped for it is known to the
/// caller.
pub(super) fn of_request(transfers: usize, write: usize, ship: usize) -> FrameBytes {
    let ack = Frame {
        epoch: Epoch::NONE,
        body: Body::Ack {
            tail: Tail::empty(ClusterId::default()),
            node: NodeId::default(),
            incarnation: Incarnation::default(),
        },
    };
    let mut ack_bytes = Vec::new();
    ack.encode(&mut ack_bytes);
    FrameBytes {
        request: LENGTH_BYTES + FRAME_HEADER_BYTES + transfers * size_of::<TransferBody>(),
        write,
        ship,
        ack: ack_bytes.len(),
        reply: LENGTH_BYTES + FRAME_HEADER_BYTES + size_of::<ResultRun>(),
    }
}
