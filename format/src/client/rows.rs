//! Rows beyond accounts and transfers: what version 2 of the client protocol asks and answers.
//!
//! Filters and balances have the fields, widths and order that TigerBeetle's reference documents.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::TransferBody;

/// Declares rows, each of a fixed size, with what all of them derive.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident ($bytes:literal bytes) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
                Unaligned,
            )]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new_zeroed()
                }
            }

            const _: () = assert!(size_of::<$name>() == $bytes);
        )*
    };
}
pub(super) use rows;

rows! {
    /// A transfer with what goes beyond the documented model.
    TransferDetailBody (160 bytes) {
        /// As of any transfer.
        transfer: TransferBody,
        /// Id of the transfer that it reverses; 0 for none.
        reverses: U128,
        /// Value date as YYYYMMDD; 0 for none.
        value_date: U32,
        /// Business date as YYYYMMDD. In a request 0 means the current one; in a reply the one
        /// that it belongs to, 0 where there was no calendar.
        business_date: U32,
        /// Zero.
        reserved: U64,
    }

    /// A change of an account's terms. What `change` does not name stays as it is.
    AccountChangeBody (48 bytes) {
        /// The account.
        id: U128,
        /// The overdraft limit in minor units; zero unless one is set.
        overdraft_limit: U128,
        /// See [`super::AccountChange`].
        change: U32,
        /// See [`super::Freeze`]; zero unless it is changed.
        freeze: U32,
        /// Zero.
        reserved: U64,
    }

    /// Terms of an account.
    AccountTermsBody (48 bytes) {
        /// The account.
        id: U128,
        /// The overdraft limit in minor units, where `has_overdraft_limit` is 1.
        overdraft_limit: U128,
        /// Whether there is a limit.
        has_overdraft_limit: U32,
        /// See [`super::Freeze`].
        freeze: U32,
        /// When they last changed, in nanoseconds; 0 where they never did.
        timestamp: U64,
    }

    /// Closes a business date.
    CloseDayBody (16 bytes) {
        /// The date to close, as YYYYMMDD; 0 to begin with business dates.
        date: U32,
        /// The date that is current from then on.
        next: U32,
        /// Zero.
        reserved: U64,
    }

    /// What became of a transfer id.
    OutcomeBody (32 bytes) {
        /// The id.
        id: U128,
        /// See [`super::OutcomeState`].
        state: U32,
        /// Why it was rejected: number of a `CreateTransferResult`; else 0.
        result: U32,
        /// Of a committed one its timestamp in nanoseconds; else 0.
        timestamp: U64,
    }

    /// Which transfers of an account, or balances after them.
    AccountFilterBody (128 bytes) {
        /// The account.
        account_id: U128,
        /// Only this one; 0 for any.
        user_data_128: U128,
        /// Only this one; 0 for any.
        user_data_64: U64,
        /// Only this one; 0 for any.
        user_data_32: U32,
        /// Only this one; 0 for any.
        code: U16,
        /// Zero.
        reserved: [u8; 58],
        /// From here on, in nanoseconds; 0 for the start.
        timestamp_min: U64,
        /// Up to and with this one, in nanoseconds; 0 for the end.
        timestamp_max: U64,
        /// At most so many; not 0.
        limit: U32,
        /// See [`super::AccountFilterFlags`].
        flags: U32,
    }

    /// Which accounts or transfers.
    QueryFilterBody (64 bytes) {
        /// Only this one; 0 for any.
        user_data_128: U128,
        /// Only this one; 0 for any.
        user_data_64: U64,
        /// Only this one; 0 for any.
        user_data_32: U32,
        /// Only this one; 0 for any.
        ledger: U32,
        /// Only this one; 0 for any.
        code: U16,
        /// Zero.
        reserved: [u8; 6],
        /// From here on, in nanoseconds; 0 for the start.
        timestamp_min: U64,
        /// Up to and with this one, in nanoseconds; 0 for the end.
        timestamp_max: U64,
        /// At most so many; not 0.
        limit: U32,
        /// See [`super::QueryFilterFlags`].
        flags: U32,
    }

    /// An account's balances after a transfer, or at a moment.
    AccountBalanceBody (128 bytes) {
        /// Reserved debits.
        debits_pending: U128,
        /// Posted debits.
        debits_posted: U128,
        /// Reserved credits.
        credits_pending: U128,
        /// Posted credits.
        credits_posted: U128,
        /// Of the transfer, or of the last movement up to that moment; 0 for none.
        timestamp: U64,
        /// Zero.
        reserved: [u8; 56],
    }

    /// In front of the rows of a reply that may go on.
    PageBody (32 bytes) {
        /// The log position that the page shows; the next page may show a later one.
        lsn: U64,
        /// Where to continue, in the unit of the request (nanoseconds, or an lsn); 0 where there is no more.
        next: U64,
        /// Log time there, in nanoseconds; 0 in a feed.
        timestamp: U64,
        /// The business date that is current there, as YYYYMMDD; 0 where there is no calendar, and
        /// in a feed.
        business_date: U32,
        /// Zero.
        reserved: U32,
    }

    /// Which part of an account's statement.
    StatementBody (64 bytes) {
        /// The account.
        account_id: U128,
        /// See [`super::Span`]: what `from` and `to` count.
        unit: U32,
        /// At most so many lines; not 0.
        limit: U32,
        /// First date or moment, with it.
        from: U64,
        /// Last date or moment, with it; 0 for the end.
        to: U64,
        /// 0 at first; then `next` of the page before.
        cursor: U64,
        /// Zero.
        reserved: [u8; 16],
    }

    /// A line of a statement: what happened, and the balances after it.
    StatementLineBody (256 bytes) {
        /// The transfer; of an expiry, the pending transfer that expired.
        detail: TransferDetailBody,
        /// See [`super::LineKind`].
        kind: U32,
        /// Zero.
        zero: U32,
        /// When it happened, in nanoseconds.
        timestamp: U64,
        /// Reserved debits after it.
        debits_pending: U128,
        /// Posted debits after it.
        debits_posted: U128,
        /// Reserved credits after it.
        credits_pending: U128,
        /// Posted credits after it.
        credits_posted: U128,
        /// Zero.
        reserved: U128,
    }

    /// An account's balances at a moment of the past.
    BalanceAsOfBody (32 bytes) {
        /// The account.
        account_id: U128,
        /// With everything up to this moment, date, or lsn.
        at: U64,
        /// See [`super::Span`].
        unit: U32,
        /// Zero.
        reserved: U32,
    }

    /// Totals of one ledger, or of one code of a ledger.
    TrialBalanceBody (128 bytes) {
        /// The ledger.
        ledger: U32,
        /// The accounts' code; 0 for all of the ledger together.
        code: U16,
        /// Zero.
        zero: U16,
        /// How many accounts.
        accounts: U64,
        /// Sums modulo 2^128; `high` counts how many times 2^128 more.
        debits_pending: U128,
        /// As above.
        debits_posted: U128,
        /// As above.
        credits_pending: U128,
        /// As above.
        credits_posted: U128,
        /// Of `debits_pending`.
        debits_pending_high: U64,
        /// Of `debits_posted`.
        debits_posted_high: U64,
        /// Of `credits_pending`.
        credits_pending_high: U64,
        /// Of `credits_posted`.
        credits_posted_high: U64,
        /// Zero.
        reserved: [u8; 16],
    }

    /// Which part of the change feed.
    FeedBody (32 bytes) {
        /// Begins with the batch at or behind this lsn.
        from: U64,
        /// At most so many rows are wished; a batch is never split, so there may be more.
        limit: U32,
        /// How long the node may wait for something new, in milliseconds.
        wait_ms: U32,
        /// Zero.
        reserved: U128,
    }

    /// One committed record of the change feed.
    FeedRowBody (256 bytes) {
        /// Where its batch stands.
        lsn: U64,
        /// The batch's epoch.
        epoch: U64,
        /// When it was recorded, in nanoseconds.
        timestamp: U64,
        /// Its index within the batch.
        index: U32,
        /// Number of its `record::RecordKind`.
        kind: U16,
        /// Zero.
        zero: U16,
        /// The transfer (of an expiry: its pending one), the account ([`super::AccountBody`] in
        /// the first 128 bytes), [`AccountTermsBody`], [`CloseDayBody`], or of a failure the id and result
        /// as [`OutcomeBody`]; zeros for records of a reign.
        body: [u8; 160],
        /// Zero.
        reserved: [u8; 64],
    }
}
