//! Every byte that Kanjo writes to disk or sends, defined once.
//!
//! Owns layouts, identifiers, limits, checksums and the chain. It reads no file, opens no
//! socket and knows no clock: bytes in, values out, and the other way round. Untrusted bytes
//! get an error that names what is wrong and where; they never panic.
//!
//! ```text
//! log batch   BatchHeader (128 B) | payload = groups of column-wise records | zeros to 4096
//! segment     SegmentHeader page  | batches                      (see `segment`)
//! ```
#![forbid(unsafe_code)]

pub mod batch;
pub mod checkpoint;
pub mod client;
pub mod columns;
pub mod control;
pub mod ids;
pub mod json;
pub mod limits;
pub mod movement;
pub mod place;
pub mod record;
pub mod replication;
pub mod result;
pub mod run;
pub mod segment;

pub use batch::{Batch, BatchError, BatchHeader, BatchPlace};
pub use ids::{
    AccountId, AccountNumber, Chain, ClusterId, Digest, Epoch, Incarnation, LedgerId, Lsn, NodeId,
    OpeningId, Site, Tail, Timestamp, TransferId,
};
pub use place::RecordAt;
