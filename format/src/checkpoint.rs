//! Checkpoint: the ledger's state at exactly one lsn, in one file.
//!
//! ```text
//! header   CheckpointHeaderRow (160 B), its own checksum last
//! sections 0 kind (u16)  2 zero  4 count (u32)  8 crc (u32)  12 zero   | `count` rows
//!          in order: reign (1 row), epochs, ledgers, unprotected, accounts by number, and from
//!          version 2 on: pendings by place, terms by account, days
//! end      a section of one row: BLAKE3 over all bytes before it
//! ```
//!
//! ```text
//! header   0 magic "KNJP"  4 version  6 zero  8 cluster  24 tail: epoch, lsn, chain (32)
//!          72 log_time  80 posted  88 failed  96 digest  112 accounts (u32)  116 ledgers
//!          120 epochs  124 unprotected  128 pendings  132 terms  136 days  140 transfer_time
//!          148 reserved (8)  156 crc        in version 1 zeros stand from 128 to 155
//! ```
//!
//! A section's checksum says where a byte is bad; the hash binds the sections to each other.
//! The index is not in it: it is rebuilt from the log, or stands in runs of its own.

mod file;

use std::io;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{Chain, ClusterId, Digest, Epoch, Lsn, Tail, Timestamp};
use crate::limits::{REASON_BYTES_MAX, SET_MEMBERS_MAX};
use crate::record::MemberRow;

pub use file::{CheckpointReader, CheckpointWriter, Section, verify};

/// First bytes of every checkpoint.
pub const CHECKPOINT_MAGIC: [u8; 4] = *b"KNJP";
/// Version that this code writes: version 2 has open pending transfers, terms of accounts and
/// business dates.
pub const CHECKPOINT_VERSION: u16 = 2;
/// Lowest version that this code reads.
pub const CHECKPOINT_VERSION_MIN: u16 = 1;
/// Most rows of one section.
pub const SECTION_ROWS_MAX: usize = 2_048;
/// Bytes of a section's header.
pub const SECTION_HEADER_BYTES: usize = 16;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CheckpointHeaderRow {
    magic: [u8; 4],
    version: U16,
    zero: U16,
    cluster: U128,
    tail_epoch: U64,
    tail_lsn: U64,
    tail_chain: [u8; 32],
    log_time: U64,
    posted: U64,
    failed: U64,
    digest: U128,
    accounts: U32,
    ledgers: U32,
    epochs: U32,
    unprotected: U32,
    pendings: U32,
    terms: U32,
    days: U32,
    transfer_time: U64,
    reserved: [u8; 8],
    crc: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SectionHeaderRow {
    kind: U16,
    zero: U16,
    count: U32,
    crc: U32,
    reserved: U32,
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum SectionKind {
    /// One [`ReignSectionRow`].
    Reign = 1,
    /// [`EpochRow`]s, oldest first.
    Epochs = 2,
    /// [`LedgerRow`]s, by ledger.
    Ledgers = 3,
    /// [`UnprotectedRow`]s, by ledger.
    Unprotected = 4,
    /// [`CheckpointAccountRow`]s, by number from 0.
    Accounts = 5,
    /// One [`EndRow`].
    End = 6,
    /// [`CheckpointPendingRow`]s, by place.
    Pendings = 7,
    /// [`CheckpointTermsRow`]s, by account.
    Terms = 8,
    /// [`CheckpointDayRow`]s, oldest first.
    Days = 9,
}

impl SectionKind {
    /// The kind of that number, if this version knows it.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Reign),
            2 => Some(Self::Epochs),
            3 => Some(Self::Ledgers),
            4 => Some(Self::Unprotected),
            5 => Some(Self::Accounts),
            6 => Some(Self::End),
            7 => Some(Self::Pendings),
            8 => Some(Self::Terms),
            9 => Some(Self::Days),
            _ => None,
        }
    }

    const fn row_bytes(self) -> usize {
        match self {
            Self::Reign => size_of::<ReignSectionRow>(),
            Self::Epochs => size_of::<EpochRow>(),
            Self::Ledgers => size_of::<LedgerRow>(),
            Self::Unprotected => size_of::<UnprotectedRow>(),
            Self::Accounts => size_of::<CheckpointAccountRow>(),
            Self::End => size_of::<EndRow>(),
            Self::Pendings => size_of::<CheckpointPendingRow>(),
            Self::Terms => size_of::<CheckpointTermsRow>(),
            Self::Days => size_of::<CheckpointDayRow>(),
        }
    }

    /// Its place in the file: sections never fall in it.
    const fn order(self) -> u16 {
        match self {
            Self::End => u16::MAX,
            kind => kind as u16,
        }
    }

    /// The lowest version that may have it.
    const fn version_min(self) -> u16 {
        if (self as u16) < Self::Pendings as u16 {
            1
        } else {
            2
        }
    }
}

/// A row of a checkpoint's section.
pub trait SectionRow: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The section that it stands in.
    const KIND: SectionKind;
}

/// Declares the rows of the sections with what all of them derive.
macro_rules! section_rows {
    ($($(#[$doc:meta])* $name:ident in $kind:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
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

            impl SectionRow for $name {
                const KIND: SectionKind = SectionKind::$kind;
            }
        )*
    };
}

section_rows! {
    /// Who writes at the checkpoint's lsn, and how commits are protected.
    ReignSectionRow in Reign {
        /// Random number of the current opening.
        opening_random: U128,
        /// The opener's data directory.
        opening_incarnation: U128,
        /// The opener.
        opening_node: U32,
        /// See `record::Protection`.
        protection: u8,
        /// 1 where the primary went on alone without reaching the auxiliary's mark.
        unfenced: u8,
        /// How many of `members` count.
        member_count: u8,
        /// How many bytes of `reason` count.
        reason_bytes: u8,
        /// Where the protection began.
        since: U64,
        /// Where the last time alone began.
        unprotected_since: U64,
        /// Transfers posted in it.
        unprotected_count: U64,
        /// 1 where commits were protected after it.
        settled: u8,
        /// Zero.
        zero: [u8; 7],
        /// The in-sync set.
        members: [MemberRow; SET_MEMBERS_MAX],
        /// The operator's reason, UTF-8.
        reason: [u8; REASON_BYTES_MAX],
    }

    /// One epoch of the log and the tail that it was opened on.
    EpochRow in Epochs {
        /// The epoch.
        epoch: U64,
        /// Epoch of the last batch before it.
        base_epoch: U64,
        /// Where it begins.
        base_lsn: U64,
        /// Chain value there.
        base_chain: [u8; 32],
    }

    /// Totals of one ledger.
    LedgerRow in Ledgers {
        /// The ledger.
        ledger: U32,
        /// Zero.
        zero: U32,
        /// Accounts opened in it.
        accounts: U64,
        /// Transfers posted in it.
        transfers: U64,
        /// Posted debits, and as many posted credits, modulo 2^128.
        volume_low: U128,
        /// How many times 2^128 more.
        volume_high: U64,
    }

    /// What was posted alone in one ledger.
    UnprotectedRow in Unprotected {
        /// The ledger.
        ledger: U32,
        /// Zero.
        zero: U32,
        /// The amount, modulo 2^128.
        amount_low: U128,
        /// How many times 2^128 more.
        amount_high: U64,
    }

    /// One account with its balances.
    CheckpointAccountRow in Accounts {
        /// The client's id.
        id: U128,
        /// Balance.
        debits_pending: U128,
        /// Balance.
        debits_posted: U128,
        /// Balance.
        credits_pending: U128,
        /// Balance.
        credits_posted: U128,
        /// The client's own data.
        user_data_128: U128,
        /// The client's own data.
        user_data_64: U64,
        /// When it was opened.
        timestamp: U64,
        /// Its ledger.
        ledger: U32,
        /// The client's own data.
        user_data_32: U32,
        /// The client's own reason code.
        code: U16,
        /// See `client::AccountFlags`.
        flags: U16,
        /// Zero.
        zero: U32,
    }

    /// One open pending transfer.
    CheckpointPendingRow in Pendings {
        /// Where it was recorded (see `RecordAt::packed`).
        at: U64,
        /// When it happened; of an imported one, when it is said to have happened.
        timestamp: U64,
        /// The client's id.
        id: U128,
        /// What is reserved.
        amount: U128,
        /// The client's own data.
        user_data_128: U128,
        /// The client's own data.
        user_data_64: U64,
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
        /// Business date where the client named one; 0: the one that was current.
        business_date: U32,
        /// The reason code.
        code: U16,
        /// Flags as requested.
        flags: U16,
        /// Zero.
        zero: U32,
    }

    /// Terms of an account that were ever changed.
    CheckpointTermsRow in Terms {
        /// The overdraft limit, where `has_overdraft_limit` is 1.
        overdraft_limit: U128,
        /// When they last changed.
        changed: U64,
        /// Number of the account.
        account: U32,
        /// Whether there is a limit.
        has_overdraft_limit: u8,
        /// See `client::Freeze`.
        freeze: u8,
        /// Zero.
        zero: U16,
    }

    /// The close of one business date.
    CheckpointDayRow in Days {
        /// The date that was closed, as YYYYMMDD; 0 where business dates began.
        closed: U32,
        /// The date that was current behind it.
        next: U32,
        /// Where it was recorded (see `RecordAt::packed`).
        at: U64,
        /// When that was.
        timestamp: U64,
    }

    /// Ends the file.
    EndRow in End {
        /// BLAKE3 over all bytes before this section.
        hash: [u8; 32],
    }
}

const _: () = assert!(size_of::<CheckpointHeaderRow>() == 160);
const _: () = assert!(size_of::<SectionHeaderRow>() == SECTION_HEADER_BYTES);
const _: () = assert!(size_of::<ReignSectionRow>() == 296);
const _: () = assert!(size_of::<EpochRow>() == 56);
const _: () = assert!(size_of::<LedgerRow>() == 48);
const _: () = assert!(size_of::<UnprotectedRow>() == 32);
const _: () = assert!(size_of::<CheckpointAccountRow>() == 128);
const _: () = assert!(size_of::<CheckpointPendingRow>() == 104);
const _: () = assert!(size_of::<CheckpointTermsRow>() == 32);
const _: () = assert!(size_of::<CheckpointDayRow>() == 24);

/// What a checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Version of the file: [`CHECKPOINT_VERSION`] for a new one.
    pub version: u16,
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// The lsn, with epoch and chain there.
    pub tail: Tail,
    /// Time of the last record.
    pub log_time: Timestamp,
    /// Transfers posted.
    pub posted: u64,
    /// Transfer ids burned.
    pub failed: u64,
    /// The ledger's digest.
    pub digest: Digest,
    /// Account rows.
    pub accounts: u32,
    /// Ledger rows.
    pub ledgers: u32,
    /// Epoch rows.
    pub epochs: u32,
    /// Unprotected rows.
    pub unprotected: u32,
    /// Rows of open pending transfers.
    pub pendings: u32,
    /// Rows of terms.
    pub terms: u32,
    /// Rows of business dates.
    pub days: u32,
    /// Time of the last transfer; in version 1 zero, for it is not known.
    pub transfer_time: Timestamp,
}

/// Why a file is not a good checkpoint. It is derived data: remove it, and use an older one or
/// replay the log from the start.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It could not be read.
    #[error("checkpoint cannot be read at byte {at}: {source}")]
    Read {
        /// Offset.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("checkpoint starts with {0:02x?}, not with \"KNJP\"")]
    Magic([u8; 4]),
    /// A version that this code does not read.
    #[error(
        "checkpoint version {0} is newer than this program, which reads up to {CHECKPOINT_VERSION}: use a newer kanjo"
    )]
    Version(u16),
    /// Damaged.
    #[error(
        "checkpoint bytes from {at} on have checksum {found:08x}, their bytes give {computed:08x}"
    )]
    Checksum {
        /// Offset of the header or section.
        at: u64,
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A section that cannot stand there.
    #[error("checkpoint section at byte {at} of kind {kind} with {count} rows cannot stand there")]
    Section {
        /// Offset of the section.
        at: u64,
        /// Its kind.
        kind: u16,
        /// Its rows.
        count: u32,
    },
    /// Rows missing or too many.
    #[error("checkpoint promises {promised} rows of {kind:?} and has {found}")]
    Rows {
        /// Which.
        kind: SectionKind,
        /// In the header.
        promised: u64,
        /// In the sections.
        found: u64,
    },
    /// The whole is not what was written.
    #[error(
        "checkpoint hash does not match its bytes, though each section does: it was patched together"
    )]
    Hash,
    /// Bytes behind the end.
    #[error("checkpoint goes on behind its end at byte {at}")]
    Trailing {
        /// Offset of the end.
        at: u64,
    },
}

impl CheckpointHeader {
    fn row(&self) -> CheckpointHeaderRow {
        let mut row = CheckpointHeaderRow {
            magic: CHECKPOINT_MAGIC,
            version: self.version.into(),
            zero: 0.into(),
            cluster: self.cluster.get().into(),
            tail_epoch: self.tail.epoch.get().into(),
            tail_lsn: self.tail.lsn.get().into(),
            tail_chain: *self.tail.chain.bytes(),
            log_time: self.log_time.get().into(),
            posted: self.posted.into(),
            failed: self.failed.into(),
            digest: self.digest.get().into(),
            accounts: self.accounts.into(),
            ledgers: self.ledgers.into(),
            epochs: self.epochs.into(),
            unprotected: self.unprotected.into(),
            pendings: self.pendings.into(),
            terms: self.terms.into(),
            days: self.days.into(),
            transfer_time: self.transfer_time.get().into(),
            reserved: [0; 8],
            crc: 0.into(),
        };
        row.crc = crc32fast::hash(row.as_bytes()).into();
        row
    }

    fn from_row(row: &CheckpointHeaderRow) -> Result<Self, CheckpointError> {
        if row.magic != CHECKPOINT_MAGIC {
            return Err(CheckpointError::Magic(row.magic));
        }
        let mut unsummed = *row;
        unsummed.crc = 0.into();
        let (found, computed) = (row.crc.get(), crc32fast::hash(unsummed.as_bytes()));
        if found != computed {
            return Err(CheckpointError::Checksum {
                at: 0,
                found,
                computed,
            });
        }
        let version = row.version.get();
        if !(CHECKPOINT_VERSION_MIN..=CHECKPOINT_VERSION).contains(&version) {
            return Err(CheckpointError::Version(version));
        }
        Ok(Self {
            version,
            cluster: ClusterId::new(row.cluster.get()),
            tail: Tail {
                epoch: Epoch::new(row.tail_epoch.get()),
                lsn: Lsn::new(row.tail_lsn.get()),
                chain: Chain::new(row.tail_chain),
            },
            log_time: Timestamp::new(row.log_time.get()),
            posted: row.posted.get(),
            failed: row.failed.get(),
            digest: Digest::new(row.digest.get()),
            accounts: row.accounts.get(),
            ledgers: row.ledgers.get(),
            epochs: row.epochs.get(),
            unprotected: row.unprotected.get(),
            pendings: row.pendings.get(),
            terms: row.terms.get(),
            days: row.days.get(),
            transfer_time: Timestamp::new(row.transfer_time.get()),
        })
    }

    /// Rows that the sections of `kind` must hold together.
    const fn promised(&self, kind: SectionKind) -> u64 {
        match kind {
            SectionKind::Reign | SectionKind::End => 1,
            SectionKind::Epochs => self.epochs as u64,
            SectionKind::Ledgers => self.ledgers as u64,
            SectionKind::Unprotected => self.unprotected as u64,
            SectionKind::Accounts => self.accounts as u64,
            SectionKind::Pendings => self.pendings as u64,
            SectionKind::Terms => self.terms as u64,
            SectionKind::Days => self.days as u64,
        }
    }
}
