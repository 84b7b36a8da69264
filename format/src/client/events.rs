//! Accounts, transfers, and the results of creating them.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FRAME_HEADER_BYTES;
use super::rows::{TransferDetailBody, rows};
use crate::limits::{CLIENT_FRAME_BYTES_MAX, REQUEST_EVENTS_MAX};

/// Most events of one request of detailed transfers.
pub const DETAILED_EVENTS_MAX: usize =
    (CLIENT_FRAME_BYTES_MAX - FRAME_HEADER_BYTES) / size_of::<TransferDetailBody>();

const _: () = assert!(
    FRAME_HEADER_BYTES + REQUEST_EVENTS_MAX * size_of::<TransferBody>() <= CLIENT_FRAME_BYTES_MAX
);

rows! {
    /// An account: in a request as it shall be opened, in a reply as it is.
    AccountBody (128 bytes) {
        /// The client's id.
        id: U128,
        /// Zero in a request.
        debits_pending: U128,
        /// Zero in a request.
        debits_posted: U128,
        /// Zero in a request.
        credits_pending: U128,
        /// Zero in a request.
        credits_posted: U128,
        /// The client's own data.
        user_data_128: U128,
        /// The client's own data.
        user_data_64: U64,
        /// The client's own data.
        user_data_32: U32,
        /// Zero.
        reserved: U32,
        /// The ledger.
        ledger: U32,
        /// The client's own reason code.
        code: U16,
        /// See [`super::AccountFlags`].
        flags: U16,
        /// Nanoseconds; zero in a request that does not import.
        timestamp: U64,
    }

    /// A transfer: in a request as it shall be posted, in a reply as it was.
    TransferBody (128 bytes) {
        /// The client's id.
        id: U128,
        /// Whose debits grow.
        debit_account_id: U128,
        /// Whose credits grow.
        credit_account_id: U128,
        /// Minor units.
        amount: U128,
        /// The pending transfer that it posts or voids; else zero.
        pending_id: U128,
        /// The client's own data.
        user_data_128: U128,
        /// The client's own data.
        user_data_64: U64,
        /// The client's own data.
        user_data_32: U32,
        /// Seconds after which a pending transfer expires; 0 for never.
        timeout: U32,
        /// The ledger.
        ledger: U32,
        /// The client's own reason code.
        code: U16,
        /// See [`super::TransferFlags`].
        flags: U16,
        /// Nanoseconds; zero in a request that does not import.
        timestamp: U64,
    }

    /// Consecutive events of a request that ended alike. Of events that were `created` each has a
    /// timestamp one nanosecond after the one before; all others share theirs.
    ResultRun (16 bytes) {
        /// How many events.
        count: U32,
        /// Number of the result (see `result`).
        result: U32,
        /// Nanoseconds. When the first of them was created; when the existing one was; of any other
        /// result, when it was found out.
        timestamp: U64,
    }
}
