//! Rows of the whole ledger: two-phase, detailed and imported transfers, terms, business days.
//!
//! A row names a past record by its place ([`RecordAt`]), not by the client's id: replay then
//! finds it without a search, and eight bytes take less room than sixteen random ones.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{AccountRow, Row, TransferRow};
use crate::place::RecordAt;

/// Declares rows with what all of them derive.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident ($bytes:literal bytes) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable,
                KnownLayout, Unaligned,
            )]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Row for $name {}

            const _: () = assert!(size_of::<$name>() == $bytes);
        )*
    };
}

rows! {
    /// A transfer whose money is reserved and not moved yet.
    PendingRow (80 bytes) {
        /// As of a posted one; `amount` is what is reserved.
        transfer: TransferRow,
        /// Seconds after which it expires; 0 for never.
        timeout: U32,
        /// Zero.
        reserved: U32,
    }

    /// A transfer that posted or voided a pending one.
    ResolvedRow (80 bytes) {
        /// The client's id.
        id: U128,
        /// What was posted; of a void, what is not reserved any more.
        amount: U128,
        /// The client's own data, the pending transfer's where the client gave none.
        user_data_128: U128,
        /// As above.
        user_data_64: U64,
        /// Place of the pending transfer (see [`RecordAt::packed`]).
        pending: U64,
        /// Number of the debit account.
        debit_account: U32,
        /// Number of the credit account.
        credit_account: U32,
        /// As the other user data.
        user_data_32: U32,
        /// The pending transfer's reason code.
        code: U16,
        /// Flags as requested.
        flags: U16,
    }

    /// A pending transfer timed out: nothing is reserved for it any more.
    ExpiredRow (16 bytes) {
        /// Place of the pending transfer.
        pending: U64,
        /// Number of the debit account.
        debit_account: U32,
        /// Number of the credit account.
        credit_account: U32,
    }

    /// A transfer of any form with all that can be said of one. Requests that import, or that
    /// give dates or reverse something, are recorded in this form throughout.
    DetailedRow (104 bytes) {
        /// The client's id.
        id: U128,
        /// What was moved, reserved, or released.
        amount: U128,
        /// The client's own data.
        user_data_128: U128,
        /// The client's own data.
        user_data_64: U64,
        /// Imported time in nanoseconds; 0: the record's own time.
        timestamp: U64,
        /// Place of the transfer that it posts, voids or reverses, plus 1; 0 for none.
        related: U64,
        /// Number of the debit account.
        debit_account: U32,
        /// Number of the credit account.
        credit_account: U32,
        /// The client's own data.
        user_data_32: U32,
        /// Seconds after which it expires; 0 for never.
        timeout: U32,
        /// Value date as YYYYMMDD; 0 for none.
        value_date: U32,
        /// Business date as YYYYMMDD where the client named one; 0: the current one.
        business_date: U32,
        /// The reason code.
        code: U16,
        /// Flags as requested.
        flags: U16,
        /// 1 where it reverses `related`.
        reverses: u8,
        /// Zero.
        reserved: [u8; 3],
    }

    /// An account that was opened at a time in the past.
    ImportedAccountRow (64 bytes) {
        /// As of any account.
        account: AccountRow,
        /// The imported time in nanoseconds.
        timestamp: U64,
    }

    /// An account's terms changed: what its row says holds from here on.
    AccountChangeRow (32 bytes) {
        /// The overdraft limit in minor units, where `has_overdraft_limit` is 1.
        overdraft_limit: U128,
        /// Number of the account.
        account: U32,
        /// Whether there is a limit.
        has_overdraft_limit: u8,
        /// What is frozen: see `client::Freeze`.
        freeze: u8,
        /// Zero.
        reserved: [u8; 10],
    }

    /// A business date was closed: no later record posts to it.
    DayRow (8 bytes) {
        /// The date that was closed, as YYYYMMDD; 0 where there was none before.
        closed: U32,
        /// The date that is current from here on.
        next: U32,
    }
}

impl ResolvedRow {
    /// Place of the pending transfer; `None` for an integer that is no place.
    pub fn pending(&self) -> Option<RecordAt> {
        RecordAt::from_packed(self.pending.get())
    }
}

impl ExpiredRow {
    /// Place of the pending transfer; `None` for an integer that is no place.
    pub fn pending(&self) -> Option<RecordAt> {
        RecordAt::from_packed(self.pending.get())
    }
}

impl DetailedRow {
    /// Place of the transfer that it posts, voids or reverses. Outside: not a place. Inside:
    /// whether there is one.
    pub fn related(&self) -> Option<Option<RecordAt>> {
        match self.related.get() {
            0 => Some(None),
            packed => RecordAt::from_packed(packed - 1).map(Some),
        }
    }

    /// The same row, related to the transfer at `at`.
    pub fn with_related(mut self, at: RecordAt) -> Self {
        self.related = (at.packed() + 1).into();
        self
    }
}
