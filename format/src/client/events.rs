//! Accounts, transfers, and the results of creating them.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FRAME_HEADER_BYTES;
use super::rows::TransferDetailBody;
use crate::limits::{CLIENT_FRAME_BYTES_MAX, REQUEST_EVENTS_MAX};

/// Most events of one request of detailed transfers.
pub const DETAILED_EVENTS_MAX: usize =
    (CLIENT_FRAME_BYTES_MAX - FRAME_HEADER_BYTES) / size_of::<TransferDetailBody>();

const _: () = assert!(size_of::<AccountBody>() == 128);
const _: () = assert!(size_of::<TransferBody>() == 128);
const _: () = assert!(size_of::<ResultRun>() == 16);
const _: () = assert!(
    FRAME_HEADER_BYTES + REQUEST_EVENTS_MAX * size_of::<TransferBody>() <= CLIENT_FRAME_BYTES_MAX
);

/// An account: in a request as it shall be opened, in a reply as it is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct AccountBody {
    /// The client's id.
    pub id: U128,
    /// Zero in a request.
    pub debits_pending: U128,
    /// Zero in a request.
    pub debits_posted: U128,
    /// Zero in a request.
    pub credits_pending: U128,
    /// Zero in a request.
    pub credits_posted: U128,
    /// The client's own data.
    pub user_data_128: U128,
    /// The client's own data.
    pub user_data_64: U64,
    /// The client's own data.
    pub user_data_32: U32,
    /// Zero.
    pub reserved: U32,
    /// The ledger.
    pub ledger: U32,
    /// The client's own reason code.
    pub code: U16,
    /// See [`super::AccountFlags`].
    pub flags: U16,
    /// Nanoseconds; zero in a request that does not import.
    pub timestamp: U64,
}

/// A transfer: in a request as it shall be posted, in a reply as it was.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct TransferBody {
    /// The client's id.
    pub id: U128,
    /// Whose debits grow.
    pub debit_account_id: U128,
    /// Whose credits grow.
    pub credit_account_id: U128,
    /// Minor units.
    pub amount: U128,
    /// The pending transfer that it posts or voids; else zero.
    pub pending_id: U128,
    /// The client's own data.
    pub user_data_128: U128,
    /// The client's own data.
    pub user_data_64: U64,
    /// The client's own data.
    pub user_data_32: U32,
    /// Seconds after which a pending transfer expires; 0 for never.
    pub timeout: U32,
    /// The ledger.
    pub ledger: U32,
    /// The client's own reason code.
    pub code: U16,
    /// See [`super::TransferFlags`].
    pub flags: U16,
    /// Nanoseconds; zero in a request that does not import.
    pub timestamp: U64,
}

/// Consecutive events of a request that ended alike. Of events that were `created` each has a
/// timestamp one nanosecond after the one before; all others share theirs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct ResultRun {
    /// How many events.
    pub count: U32,
    /// Number of the result (see `result`).
    pub result: U32,
    /// Nanoseconds. When the first of them was created; when the existing one was; of any other
    /// result, when it was found out.
    pub timestamp: U64,
}
