//! What a frame may carry, and how a request may end.

use super::*;
use crate::limits::{CLIENT_FRAME_BYTES_MAX, REQUEST_EVENTS_MAX};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Client's first frame: one [`HelloBody`].
    Hello = 1,
    /// Server's first frame: one [`WelcomeBody`].
    Welcome = 2,
    /// Request: [`AccountBody`] rows. Reply: [`ResultRun`] rows.
    CreateAccounts = 3,
    /// Request: [`TransferBody`] rows. Reply: [`ResultRun`] rows.
    CreateTransfers = 4,
    /// Request: ids of 16 bytes. Reply: [`AccountBody`] rows of those that exist, in order.
    LookupAccounts = 5,
    /// Request: ids of 16 bytes. Reply: [`TransferBody`] rows of those that exist, in order.
    LookupTransfers = 6,
    /// Request: [`TransferDetailBody`] rows. Reply: [`ResultRun`] rows.
    CreateTransfersDetailed = 7,
    /// Request: [`AccountChangeBody`] rows. Reply: [`ResultRun`] rows of `ChangeAccountResult`.
    ChangeAccounts = 8,
    /// Request: one [`CloseDayBody`]. Reply: one [`ResultRun`] of `CloseDayResult`.
    CloseDay = 9,
    /// Request: ids of 16 bytes. Reply: [`ResultRun`] rows of `BurnResult`.
    BurnIds = 10,
    /// Request: ids of 16 bytes. Reply: [`OutcomeBody`] rows, one an id, in order.
    LookupOutcomes = 11,
    /// Request: ids of 16 bytes. Reply: [`TransferDetailBody`] rows of those that exist, in order.
    LookupTransferDetails = 12,
    /// Request: ids of 16 bytes. Reply: [`AccountTermsBody`] rows of those that exist, in order.
    LookupAccountTerms = 13,
    /// Request: one [`AccountFilterBody`]. Reply: a [`PageBody`], [`TransferBody`] rows.
    GetAccountTransfers = 14,
    /// Request: one [`AccountFilterBody`]. Reply: a [`PageBody`], [`AccountBalanceBody`] rows.
    GetAccountBalances = 15,
    /// Request: one [`QueryFilterBody`]. Reply: a [`PageBody`], [`AccountBody`] rows.
    QueryAccounts = 16,
    /// Request: one [`QueryFilterBody`]. Reply: a [`PageBody`], [`TransferBody`] rows.
    QueryTransfers = 17,
    /// Request: one [`StatementBody`]. Reply: a [`PageBody`], [`StatementLineBody`] rows.
    GetStatement = 18,
    /// Request: [`BalanceAsOfBody`] rows. Reply: a [`PageBody`], [`AccountBalanceBody`] rows, one each.
    GetBalancesAsOf = 19,
    /// Request: none. Reply: a [`PageBody`], [`TrialBalanceBody`] rows by ledger, then code.
    GetTrialBalance = 20,
    /// Request: one [`FeedBody`]. Reply: a [`PageBody`], [`FeedRowBody`] rows.
    ReadFeed = 21,
}

impl FrameKind {
    /// The kind of that number, if this version knows it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Hello),
            2 => Some(Self::Welcome),
            3 => Some(Self::CreateAccounts),
            4 => Some(Self::CreateTransfers),
            5 => Some(Self::LookupAccounts),
            6 => Some(Self::LookupTransfers),
            7 => Some(Self::CreateTransfersDetailed),
            8 => Some(Self::ChangeAccounts),
            9 => Some(Self::CloseDay),
            10 => Some(Self::BurnIds),
            11 => Some(Self::LookupOutcomes),
            12 => Some(Self::LookupTransferDetails),
            13 => Some(Self::LookupAccountTerms),
            14 => Some(Self::GetAccountTransfers),
            15 => Some(Self::GetAccountBalances),
            16 => Some(Self::QueryAccounts),
            17 => Some(Self::QueryTransfers),
            18 => Some(Self::GetStatement),
            19 => Some(Self::GetBalancesAsOf),
            20 => Some(Self::GetTrialBalance),
            21 => Some(Self::ReadFeed),
            _ => None,
        }
    }

    /// Bytes of one row of a request of this kind.
    pub const fn request_row_bytes(self) -> usize {
        match self {
            Self::Hello => size_of::<HelloBody>(),
            Self::Welcome => size_of::<WelcomeBody>(),
            Self::CreateAccounts => size_of::<AccountBody>(),
            Self::CreateTransfers => size_of::<TransferBody>(),
            Self::LookupAccounts
            | Self::LookupTransfers
            | Self::BurnIds
            | Self::LookupOutcomes
            | Self::LookupTransferDetails
            | Self::LookupAccountTerms => 16,
            Self::CreateTransfersDetailed => size_of::<TransferDetailBody>(),
            Self::ChangeAccounts => size_of::<AccountChangeBody>(),
            Self::CloseDay => size_of::<CloseDayBody>(),
            Self::GetAccountTransfers | Self::GetAccountBalances => size_of::<AccountFilterBody>(),
            Self::QueryAccounts | Self::QueryTransfers => size_of::<QueryFilterBody>(),
            Self::GetStatement => size_of::<StatementBody>(),
            Self::GetBalancesAsOf => size_of::<BalanceAsOfBody>(),
            Self::GetTrialBalance => 0,
            Self::ReadFeed => size_of::<FeedBody>(),
        }
    }

    /// Bytes of one row of a reply of this kind.
    pub const fn reply_row_bytes(self) -> usize {
        match self {
            Self::Hello => 0,
            Self::Welcome => size_of::<WelcomeBody>(),
            Self::CreateAccounts
            | Self::CreateTransfers
            | Self::CreateTransfersDetailed
            | Self::ChangeAccounts
            | Self::CloseDay
            | Self::BurnIds => size_of::<ResultRun>(),
            Self::LookupAccounts | Self::QueryAccounts => size_of::<AccountBody>(),
            Self::LookupTransfers | Self::GetAccountTransfers | Self::QueryTransfers => {
                size_of::<TransferBody>()
            }
            Self::LookupOutcomes => size_of::<OutcomeBody>(),
            Self::LookupTransferDetails => size_of::<TransferDetailBody>(),
            Self::LookupAccountTerms => size_of::<AccountTermsBody>(),
            Self::GetAccountBalances | Self::GetBalancesAsOf => size_of::<AccountBalanceBody>(),
            Self::GetStatement => size_of::<StatementLineBody>(),
            Self::GetTrialBalance => size_of::<TrialBalanceBody>(),
            Self::ReadFeed => size_of::<FeedRowBody>(),
        }
    }

    /// Whether a reply of this kind begins with a [`PageBody`].
    pub const fn is_paged(self) -> bool {
        self as u8 >= Self::GetAccountTransfers as u8
    }

    /// Whether a request of this kind may write records.
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::CreateAccounts
                | Self::CreateTransfers
                | Self::CreateTransfersDetailed
                | Self::ChangeAccounts
                | Self::CloseDay
                | Self::BurnIds
        )
    }

    /// Most rows of one request of this kind; those of its reply fit a frame too.
    pub const fn request_rows_max(self) -> usize {
        match self {
            Self::Hello | Self::Welcome | Self::CloseDay => 1,
            Self::GetAccountTransfers
            | Self::GetAccountBalances
            | Self::QueryAccounts
            | Self::QueryTransfers
            | Self::GetStatement
            | Self::ReadFeed => 1,
            Self::GetTrialBalance => 0,
            Self::CreateTransfersDetailed | Self::LookupTransferDetails => DETAILED_EVENTS_MAX,
            _ => REQUEST_EVENTS_MAX,
        }
    }

    /// Most rows of one reply of this kind.
    pub const fn reply_rows_max(self) -> usize {
        let room = CLIENT_FRAME_BYTES_MAX - FRAME_HEADER_BYTES - size_of::<PageBody>();
        match self.reply_row_bytes() {
            0 => 0,
            bytes => room / bytes,
        }
    }

    /// The lowest protocol version that knows this kind.
    pub const fn version_min(self) -> u16 {
        if self as u8 <= Self::LookupTransfers as u8 {
            1
        } else {
            2
        }
    }
}

/// How a request ended. In requests it is `Done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Executed, committed, on both disks: the body holds the results.
    Done = 0,
    /// The deadline came first; it may still commit. Retrying with the same ids is safe.
    Indeterminate = 1,
    /// This node is not the primary; the body may name the client address of the one that is.
    NotPrimary = 2,
    /// A higher epoch cut this node off; the outcome is unknown. Ask the new primary again.
    Fenced = 3,
    /// Not accepted, nothing was done: queues are full or the disk nearly is. Try again later.
    Overloaded = 4,
    /// The request itself cannot be read; the body says why. Nothing was done.
    Malformed = 5,
}

impl Outcome {
    /// The outcome of that number, if this version knows it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Done),
            1 => Some(Self::Indeterminate),
            2 => Some(Self::NotPrimary),
            3 => Some(Self::Fenced),
            4 => Some(Self::Overloaded),
            5 => Some(Self::Malformed),
            _ => None,
        }
    }
}

/// How the text of an [`Outcome::Overloaded`] begins where transfers are held back because they are
/// above the server's cap while it answers alone. Repeating does not help until it no longer does.
pub const HELD_BACK: &str = "held back: ";
