//! Records: what happened to the ledger, one fixed-width row a kind.
//!
//! A row is laid out by field and stored column-wise (see `columns`). Its timestamp is not a
//! column: record `i` of a batch happened at the header's timestamp plus `i` nanoseconds.
//! Widths are multiples of eight. Kinds 6 to 13 came with batch version 2; their rows stand in
//! `ledger`.

mod ledger;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{
    AccountId, AccountNumber, Chain, Epoch, Incarnation, LedgerId, Lsn, NodeId, OpeningId,
    TransferId,
};
use crate::limits::{REASON_BYTES_MAX, SET_MEMBERS_MAX};

pub use ledger::{
    AccountChangeRow, DayRow, DetailedRow, ExpiredRow, ImportedAccountRow, PendingRow, ResolvedRow,
};

/// What a group of records tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum RecordKind {
    /// An epoch was opened: [`ReignRow`].
    EpochStart = 1,
    /// The in-sync set or the protection changed within an epoch: [`ReignRow`].
    SetChange = 2,
    /// An account was opened: [`AccountRow`].
    AccountOpened = 3,
    /// A single-phase transfer was posted: [`TransferRow`].
    TransferPosted = 4,
    /// A transfer id failed in a way that must stick: [`FailedRow`].
    TransferFailed = 5,
    /// A transfer reserved money: [`PendingRow`].
    TransferPending = 6,
    /// A transfer posted a pending one: [`ResolvedRow`].
    PendingPosted = 7,
    /// A transfer voided a pending one: [`ResolvedRow`].
    PendingVoided = 8,
    /// A pending transfer timed out: [`ExpiredRow`].
    PendingExpired = 9,
    /// A transfer of any form, with dates, an imported time or a reversal: [`DetailedRow`].
    TransferDetailed = 10,
    /// An account was opened at a time in the past: [`ImportedAccountRow`].
    AccountImported = 11,
    /// An account's terms changed: [`AccountChangeRow`].
    AccountChanged = 12,
    /// A business date was closed: [`DayRow`].
    DayClosed = 13,
}

impl RecordKind {
    /// The kind of that number, if this version knows it.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::EpochStart),
            2 => Some(Self::SetChange),
            3 => Some(Self::AccountOpened),
            4 => Some(Self::TransferPosted),
            5 => Some(Self::TransferFailed),
            6 => Some(Self::TransferPending),
            7 => Some(Self::PendingPosted),
            8 => Some(Self::PendingVoided),
            9 => Some(Self::PendingExpired),
            10 => Some(Self::TransferDetailed),
            11 => Some(Self::AccountImported),
            12 => Some(Self::AccountChanged),
            13 => Some(Self::DayClosed),
            _ => None,
        }
    }

    /// Bytes of one row of this kind.
    pub const fn row_bytes(self) -> usize {
        match self {
            Self::EpochStart | Self::SetChange => size_of::<ReignRow>(),
            Self::AccountOpened => size_of::<AccountRow>(),
            Self::TransferPosted => size_of::<TransferRow>(),
            Self::TransferFailed => size_of::<FailedRow>(),
            Self::TransferPending => size_of::<PendingRow>(),
            Self::PendingPosted | Self::PendingVoided => size_of::<ResolvedRow>(),
            Self::PendingExpired => size_of::<ExpiredRow>(),
            Self::TransferDetailed => size_of::<DetailedRow>(),
            Self::AccountImported => size_of::<ImportedAccountRow>(),
            Self::AccountChanged => size_of::<AccountChangeRow>(),
            Self::DayClosed => size_of::<DayRow>(),
        }
    }

    /// The lowest batch version that may hold this kind.
    pub const fn batch_version_min(self) -> u16 {
        if (self as u16) < Self::TransferPending as u16 {
            1
        } else {
            2
        }
    }
}

/// A row that can be stored column-wise.
pub trait Row: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {}

impl Row for ReignRow {}
impl Row for AccountRow {}
impl Row for TransferRow {}
impl Row for FailedRow {}

/// A posted transfer, its accounts named by their dense numbers.
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
pub struct TransferRow {
    /// The client's id.
    pub id: U128,
    /// Minor units that were moved.
    pub amount: U128,
    /// The client's own data.
    pub user_data_128: U128,
    /// The client's own data.
    pub user_data_64: U64,
    /// Number of the debit account.
    pub debit_account: U32,
    /// Number of the credit account.
    pub credit_account: U32,
    /// The client's own data.
    pub user_data_32: U32,
    /// The client's own reason code.
    pub code: U16,
    /// Flags as requested (see `client::TransferFlags`).
    pub flags: U16,
}

impl TransferRow {
    /// The client's id.
    pub fn id(&self) -> TransferId {
        TransferId::new(self.id.get())
    }

    /// Number of the debit account.
    pub fn debit_account(&self) -> AccountNumber {
        AccountNumber::new(self.debit_account.get())
    }

    /// Number of the credit account.
    pub fn credit_account(&self) -> AccountNumber {
        AccountNumber::new(self.credit_account.get())
    }
}

/// An account as it was opened; its balances start at zero.
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
pub struct AccountRow {
    /// The client's id.
    pub id: U128,
    /// The client's own data.
    pub user_data_128: U128,
    /// The client's own data.
    pub user_data_64: U64,
    /// The dense number that it got.
    pub number: U32,
    /// Its ledger.
    pub ledger: U32,
    /// The client's own data.
    pub user_data_32: U32,
    /// The client's own reason code.
    pub code: U16,
    /// Flags as requested (see `client::AccountFlags`).
    pub flags: U16,
}

impl AccountRow {
    /// The client's id.
    pub fn id(&self) -> AccountId {
        AccountId::new(self.id.get())
    }

    /// The dense number that it got.
    pub fn number(&self) -> AccountNumber {
        AccountNumber::new(self.number.get())
    }

    /// Its ledger.
    pub fn ledger(&self) -> LedgerId {
        LedgerId::new(self.ledger.get())
    }
}

/// A transfer id that failed for a reason that may pass, and stays failed for ever.
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
pub struct FailedRow {
    /// The client's id.
    pub id: U128,
    /// The result that it got (see `result`).
    pub result: U32,
    /// Zero.
    pub reserved: U32,
}

/// How commits are protected from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protection {
    /// No set yet: nothing commits until an auxiliary follows.
    Waiting = 0,
    /// Every commit waits for every member of the set.
    Protected = 1,
    /// The primary serves alone by an operator's word.
    Alone = 2,
}

impl Protection {
    /// The protection of that number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Waiting),
            1 => Some(Self::Protected),
            2 => Some(Self::Alone),
            _ => None,
        }
    }

    /// How it is shown to people and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Protected => "PROTECTED",
            Self::Alone => "DEGRADED",
        }
    }
}

/// One replica of an in-sync set.
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
pub struct MemberRow {
    /// Its data directory.
    pub incarnation: U128,
    /// Its node.
    pub node: U32,
    /// Zero.
    pub reserved: U32,
}

/// Who writes, on what base, and who must have every commit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReignRow {
    /// Random number of the opening.
    pub opening_random: U128,
    /// The opener's data directory.
    pub opening_incarnation: U128,
    /// The opener.
    pub opening_node: U32,
    /// See [`Protection`].
    pub protection: u8,
    /// 1 where the primary went on alone without reaching the auxiliary's mark.
    pub unfenced: u8,
    /// How many of `members` count.
    pub member_count: u8,
    /// How many bytes of `reason` count.
    pub reason_bytes: u8,
    /// Epoch of the last batch before this epoch.
    pub base_epoch: U64,
    /// Where this epoch begins.
    pub base_lsn: U64,
    /// Chain value there.
    pub base_chain: [u8; 32],
    /// The in-sync set.
    pub members: [MemberRow; SET_MEMBERS_MAX],
    /// The operator's reason, UTF-8.
    pub reason: [u8; REASON_BYTES_MAX],
}

impl ReignRow {
    /// A reign of `opening` on `base` with an empty set.
    pub fn new(opening: OpeningId, base: crate::Tail, protection: Protection) -> Self {
        Self {
            opening_random: opening.random.into(),
            opening_incarnation: opening.incarnation.get().into(),
            opening_node: opening.node.get().into(),
            protection: protection as u8,
            unfenced: 0,
            member_count: 0,
            reason_bytes: 0,
            base_epoch: base.epoch.get().into(),
            base_lsn: base.lsn.get().into(),
            base_chain: *base.chain.bytes(),
            members: [MemberRow::default(); SET_MEMBERS_MAX],
            reason: [0; REASON_BYTES_MAX],
        }
    }

    /// The same with one more member. Panics beyond the limit, which only a bug can reach.
    pub fn with_member(mut self, node: NodeId, incarnation: Incarnation) -> Self {
        let at = usize::from(self.member_count);
        assert!(at < SET_MEMBERS_MAX, "an in-sync set has a bounded size");
        self.members[at] = MemberRow {
            incarnation: incarnation.get().into(),
            node: node.get().into(),
            reserved: 0.into(),
        };
        self.member_count += 1;
        self
    }

    /// The same with an operator's reason, cut at a character boundary to fit.
    pub fn with_reason(mut self, reason: &str) -> Self {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason[..end].copy_from_slice(&reason.as_bytes()[..end]);
        self.reason_bytes = u8::try_from(end).expect("a reason has at most 128 bytes");
        self
    }

    /// The opening that this reign belongs to.
    pub fn opening(&self) -> OpeningId {
        OpeningId {
            node: NodeId::new(self.opening_node.get()),
            incarnation: Incarnation::new(self.opening_incarnation.get()),
            random: self.opening_random.get(),
        }
    }

    /// The tail that this reign was opened on.
    pub fn base(&self) -> crate::Tail {
        crate::Tail {
            epoch: Epoch::new(self.base_epoch.get()),
            lsn: Lsn::new(self.base_lsn.get()),
            chain: Chain::new(self.base_chain),
        }
    }

    /// How commits are protected; `None` for a number that this version does not know.
    pub fn protection(&self) -> Option<Protection> {
        Protection::from_number(self.protection)
    }

    /// The members of the in-sync set.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, Incarnation)> + '_ {
        self.members
            .iter()
            .take(usize::from(self.member_count))
            .map(|m| {
                (
                    NodeId::new(m.node.get()),
                    Incarnation::new(m.incarnation.get()),
                )
            })
    }

    /// The operator's reason.
    pub fn reason(&self) -> String {
        let end = usize::from(self.reason_bytes).min(REASON_BYTES_MAX);
        String::from_utf8_lossy(&self.reason[..end]).into_owned()
    }
}

const _: () = assert!(size_of::<TransferRow>() == 72);
const _: () = assert!(size_of::<AccountRow>() == 56);
const _: () = assert!(size_of::<FailedRow>() == 24);
const _: () = assert!(size_of::<MemberRow>() == 24);
const _: () = assert!(size_of::<ReignRow>() == 312);
const _: () = assert!(size_of::<ReignRow>().is_multiple_of(8));
