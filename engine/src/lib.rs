//! The ledger: accounts, the rules of money, the transfer index, digest and checkpoint.
//!
//! Owns what is true about money at one lsn. It knows no clock, disk or thread: the node tells
//! it the time and where a batch stands, reads old transfers for it, and carries what it makes.
//!
//! ```text
//! primary   open_batch → fits_request → create_* → close_batch → (node appends) → batch_placed
//! replica   apply(header, payload, end)         never decides, only checks that it fits
//! restart   restore(checkpoint) → cover_index → index_only(batches below it) → apply(above it)
//! ```
//!
//! All three ways to one lsn give the same accounts, digest, lookups and index.
#![forbid(unsafe_code)]

mod account;
mod apply;
mod batch;
mod books;
mod checkpoint;
mod days;
mod digest;
mod execute;
mod hash;
mod index;
mod ledger;
mod lookup;
mod pendings;
pub mod query;
mod reign;
mod totals;

#[cfg(test)]
mod tests;

pub use apply::{ApplyError, RecordError};
pub use batch::{ClosedBatch, OpenBatch};
pub use checkpoint::{RestoreError, Restored, Snapshot};
pub use days::{BusinessDays, Day};
pub use index::{Entry, Resolution, TransferIndex};
pub use kanjo_format::RecordAt;
pub use ledger::{Ledger, OldPart};
pub use lookup::{HistoryError, HistoryReader};
pub use reign::{EpochEntry, ReignError, ReignState, Unprotected};
pub use totals::{AuditError, LedgerTotals, WideAmount};
