//! What clients and servers say to each other.
//!
//! Every frame is a `u32` length (of what follows it), a [`FrameHeader`], and a body of rows.
//! The first frame of a connection is a [`HelloBody`], answered by a [`WelcomeBody`]; then
//! requests, in any number at once, each answered by one reply of the same request number.
//!
//! ```text
//! length  u32 of header and body
//! header  0 magic "KNJC"  4 kind  5 outcome  6 version (u16)  8 request (u64)
//!         16 deadline_ms (u32)  20 count (u32)  24 crc (u32)  28 zero
//! body    `count` rows; in a reply that is not `Done`, a text
//! ```
//!
//! Frames say the lowest version that knows their kind, so that a node of an older version reads
//! all that it can answer. What both sides speak is agreed in the handshake.
//!
//! Replies to queries begin with a [`PageBody`], which `count` does not count.
//!
//! Rows of accounts and transfers have the fields, widths and order that TigerBeetle's
//! reference documents, so that data can move over unchanged.

mod rows;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{CLIENT_FRAME_BYTES_MAX, REQUEST_EVENTS_MAX};

pub use rows::{
    AccountBalanceBody, AccountChangeBody, AccountFilterBody, AccountTermsBody, BalanceAsOfBody,
    CloseDayBody, FeedBody, FeedRowBody, OutcomeBody, PageBody, QueryFilterBody, StatementBody,
    StatementLineBody, TransferDetailBody, TrialBalanceBody,
};

/// First bytes of every frame, behind the length.
pub const CLIENT_MAGIC: [u8; 4] = *b"KNJC";
/// Highest version of the protocol that this code speaks: version 2 has more kinds of request.
pub const CLIENT_VERSION: u16 = 2;
/// Lowest version that this code speaks.
pub const CLIENT_VERSION_MIN: u16 = 1;
/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 32;
/// Bytes in front of a frame's body.
pub const FRAME_HEAD_BYTES: usize = LENGTH_BYTES + FRAME_HEADER_BYTES;

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

/// In front of every frame's body.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FrameHeader {
    magic: [u8; 4],
    kind: u8,
    outcome: u8,
    version: U16,
    request: U64,
    deadline_ms: U32,
    count: U32,
    crc: U32,
    zero: U32,
}

const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);

/// A frame whose header, checksum and size were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// How the request ended; `Done` in requests.
    pub outcome: Outcome,
    /// The client's number of the request, unique among those outstanding on a connection.
    pub request: u64,
    /// Milliseconds after which the server answers `Indeterminate`; 0 for none.
    pub deadline_ms: u32,
    /// Rows in the body.
    pub count: u32,
    /// The rows, or a text.
    pub body: &'a [u8],
}

/// Why bytes are not a frame of this protocol. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a header.
    #[error("a frame of {0} bytes is shorter than its header of {FRAME_HEADER_BYTES}")]
    Short(usize),
    /// Longer than the limit.
    #[error("a frame of {0} bytes is over the limit of {CLIENT_FRAME_BYTES_MAX}")]
    Long(usize),
    /// Another protocol.
    #[error("not a Kanjo client frame: it starts with {0:02x?}")]
    Magic([u8; 4]),
    /// Damaged on its way.
    #[error("frame checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// As sent.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A version that this code does not speak.
    #[error(
        "client protocol version {0} is not spoken here, only {CLIENT_VERSION_MIN} to {CLIENT_VERSION}"
    )]
    Version(u16),
    /// A field that must be zero is not.
    #[error("frame field {field} is {value}, it must be zero")]
    Reserved {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u32,
    },
    /// A kind that this version does not know.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// An outcome that this version does not know.
    #[error("frame outcome {0} is unknown")]
    Outcome(u8),
    /// The body does not hold what the header says.
    #[error("{kind:?} frame says {count} rows but has {body_bytes} bytes of body")]
    Count {
        /// Kind of the frame.
        kind: FrameKind,
        /// Rows promised.
        count: u32,
        /// Bytes there.
        body_bytes: usize,
    },
    /// More events than a request may have.
    #[error("{found} events are over the limit of {limit} a request of kind {kind:?}")]
    Events {
        /// Kind of the frame.
        kind: FrameKind,
        /// As sent.
        found: u32,
        /// As allowed.
        limit: usize,
    },
}

impl<'a> Frame<'a> {
    /// Appends the frame, its length in front. Panics over the frame limit, which only a bug
    /// can cause.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encode_head());
        out.extend_from_slice(self.body);
    }

    /// All of the frame that stands in front of its body, for a sender that copies no body.
    /// Panics over the frame limit, which only a bug can cause.
    pub fn encode_head(&self) -> [u8; FRAME_HEAD_BYTES] {
        let length = FRAME_HEADER_BYTES + self.body.len();
        assert!(length <= CLIENT_FRAME_BYTES_MAX, "frame over the limit");
        let mut header = FrameHeader {
            magic: CLIENT_MAGIC,
            kind: self.kind as u8,
            outcome: self.outcome as u8,
            version: self.kind.version_min().into(),
            request: self.request.into(),
            deadline_ms: self.deadline_ms.into(),
            count: self.count.into(),
            crc: 0.into(),
            zero: 0.into(),
        };
        header.crc = frame_crc(&header, self.body).into();
        let mut head = [0; FRAME_HEAD_BYTES];
        let (length_field, rest) = head.split_at_mut(LENGTH_BYTES);
        length_field.copy_from_slice(&(length as u32).to_le_bytes());
        rest.copy_from_slice(header.as_bytes());
        head
    }

    /// Reads a frame without its length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > CLIENT_FRAME_BYTES_MAX {
            return Err(FrameError::Long(bytes.len()));
        }
        let (header, body) =
            FrameHeader::read_from_prefix(bytes).map_err(|_| FrameError::Short(bytes.len()))?;
        if header.magic != CLIENT_MAGIC {
            return Err(FrameError::Magic(header.magic));
        }
        let (found, computed) = (header.crc.get(), frame_crc(&header, body));
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        if !(CLIENT_VERSION_MIN..=CLIENT_VERSION).contains(&header.version.get()) {
            return Err(FrameError::Version(header.version.get()));
        }
        if header.zero.get() != 0 {
            let value = header.zero.get();
            return Err(FrameError::Reserved {
                field: "zero",
                value,
            });
        }
        Ok(Self {
            kind: FrameKind::from_number(header.kind).ok_or(FrameError::Kind(header.kind))?,
            outcome: Outcome::from_number(header.outcome)
                .ok_or(FrameError::Outcome(header.outcome))?,
            request: header.request.get(),
            deadline_ms: header.deadline_ms.get(),
            count: header.count.get(),
            body,
        })
    }

    /// Checks that a request's body holds `count` rows of its kind, within the limits.
    pub fn check_request(&self) -> Result<(), FrameError> {
        if self.outcome != Outcome::Done {
            let value = self.outcome as u32;
            return Err(FrameError::Reserved {
                field: "outcome",
                value,
            });
        }
        let limit = self.kind.request_rows_max();
        if self.count as usize > limit {
            return Err(FrameError::Events {
                kind: self.kind,
                found: self.count,
                limit,
            });
        }
        self.check_rows(self.kind.request_row_bytes())
    }

    /// Checks that the body of a reply that is `Done` holds `count` rows of its kind, behind a
    /// [`PageBody`] where there is one.
    pub fn check_reply(&self) -> Result<(), FrameError> {
        let front_bytes = match self.kind.is_paged() {
            true => size_of::<PageBody>(),
            false => 0,
        };
        self.check_size(front_bytes, self.kind.reply_row_bytes())
    }

    /// Checks that the body holds `count` rows of `row_bytes`.
    pub fn check_rows(&self, row_bytes: usize) -> Result<(), FrameError> {
        self.check_size(0, row_bytes)
    }

    fn check_size(&self, front_bytes: usize, row_bytes: usize) -> Result<(), FrameError> {
        let rows_bytes = u64::from(self.count) * row_bytes as u64;
        if front_bytes as u64 + rows_bytes != self.body.len() as u64 {
            let (kind, count) = (self.kind, self.count);
            return Err(FrameError::Count {
                kind,
                count,
                body_bytes: self.body.len(),
            });
        }
        Ok(())
    }
}

fn frame_crc(header: &FrameHeader, body: &[u8]) -> u32 {
    let mut unsummed = *header;
    unsummed.crc = 0.into();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(unsummed.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The client's side of the handshake.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HelloBody {
    /// The cluster that the client means, or zero for whichever this is.
    pub cluster: U128,
    /// Lowest version that the client speaks.
    pub version_min: U16,
    /// Highest version that the client speaks.
    pub version_max: U16,
    /// Zero.
    pub reserved: U32,
}

/// The server's side of the handshake.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct WelcomeBody {
    /// The cluster.
    pub cluster: U128,
    /// The epoch that the node is in.
    pub epoch: U64,
    /// The node.
    pub node: U32,
    /// 1 where this node takes writes now.
    pub primary: u8,
    /// Highest version that the node speaks of those that the client speaks; a node of version 1
    /// says zero.
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

impl WelcomeBody {
    /// The version that both sides speak.
    pub const fn agreed_version(&self) -> u16 {
        match self.version {
            0 => CLIENT_VERSION_MIN,
            version => version as u16,
        }
    }
}

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
    /// See [`AccountFlags`].
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
    /// See [`TransferFlags`].
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

/// Declares groups of bits with their documented names.
macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident: $inner:ty { $($(#[$flag_doc:meta])* $flag:ident = $bit:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name;

            impl $name {
                $($(#[$flag_doc])* pub const $flag: $inner = 1 << $bit;)*
                /// All bits that mean something.
                pub const ALL: $inner = $(Self::$flag)|*;
                /// Names of the bits, as people and scripts see them.
                pub const NAMES: &'static [(&'static str, $inner)] = &[$(($text, Self::$flag),)*];
            }
        )*
    };
}

flags! {
    /// Flags of an account, as TigerBeetle numbers them.
    AccountFlags: u16 {
        /// Succeeds or fails together with the next event of the request.
        LINKED = 0 "linked",
        /// Debits may not exceed credits.
        DEBITS_MUST_NOT_EXCEED_CREDITS = 1 "debits_must_not_exceed_credits",
        /// Credits may not exceed debits.
        CREDITS_MUST_NOT_EXCEED_DEBITS = 2 "credits_must_not_exceed_debits",
        /// Its balances after each transfer can be asked for.
        HISTORY = 3 "history",
        /// It brings a timestamp of the past.
        IMPORTED = 4 "imported",
        /// It takes no transfers but voids.
        CLOSED = 5 "closed",
    }

    /// Flags of a transfer, as TigerBeetle numbers them.
    TransferFlags: u16 {
        /// Succeeds or fails together with the next event of the request.
        LINKED = 0 "linked",
        /// First phase of two: reserves money.
        PENDING = 1 "pending",
        /// Moves what a pending transfer reserved, or part of it.
        POST_PENDING_TRANSFER = 2 "post_pending_transfer",
        /// Releases what a pending transfer reserved.
        VOID_PENDING_TRANSFER = 3 "void_pending_transfer",
        /// Moves at most what makes the debit account's debits equal its credits.
        BALANCING_DEBIT = 4 "balancing_debit",
        /// Moves at most what makes the credit account's credits equal its debits.
        BALANCING_CREDIT = 5 "balancing_credit",
        /// Closes the debit account.
        CLOSING_DEBIT = 6 "closing_debit",
        /// Closes the credit account.
        CLOSING_CREDIT = 7 "closing_credit",
        /// It brings a timestamp of the past.
        IMPORTED = 8 "imported",
    }

    /// Flags of an account filter, as TigerBeetle numbers them.
    AccountFilterFlags: u32 {
        /// With transfers that debit the account.
        DEBITS = 0 "debits",
        /// With transfers that credit the account.
        CREDITS = 1 "credits",
        /// The latest first.
        REVERSED = 2 "reversed",
    }

    /// Flags of a query filter, as TigerBeetle numbers them.
    QueryFilterFlags: u32 {
        /// The latest first.
        REVERSED = 0 "reversed",
    }

    /// What a change of an account's terms is about.
    AccountChange: u32 {
        /// Sets the overdraft limit.
        SET_OVERDRAFT_LIMIT = 0 "set_overdraft_limit",
        /// Takes the overdraft limit away.
        CLEAR_OVERDRAFT_LIMIT = 1 "clear_overdraft_limit",
        /// Sets what is frozen: all of it, so that zero lifts every freeze.
        SET_FREEZE = 2 "set_freeze",
    }

    /// What of an account is frozen.
    Freeze: u32 {
        /// Nothing debits it.
        DEBITS = 0 "debits",
        /// Nothing credits it.
        CREDITS = 1 "credits",
    }
}

/// Declares numbered choices with their names.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u32)]
            pub enum $name {
                $($(#[$variant_doc])* $variant = $number,)*
            }

            impl $name {
                /// All of them.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

                /// The choice of that number, if there is one.
                pub const fn from_number(number: u32) -> Option<Self> {
                    match number {
                        $($number => Some(Self::$variant),)*
                        _ => None,
                    }
                }

                /// Its name, as people and scripts see it.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }
            }
        )*
    };
}

choices! {
    /// What became of a transfer id.
    OutcomeState {
        /// Nothing yet: a delayed request may still bring it. Burn the id to make this final.
        Unknown = 0 "unknown",
        /// It is a transfer.
        Committed = 1 "committed",
        /// It can never become a transfer.
        Rejected = 2 "rejected",
    }

    /// What counts in a statement or in a balance of the past.
    Span {
        /// Nanoseconds.
        Timestamp = 0 "timestamp",
        /// Business dates as YYYYMMDD.
        BusinessDate = 1 "business_date",
        /// Positions of the log: up to one stands what batches hold that end there or before; from
        /// one on, what those hold that start there or behind.
        Lsn = 2 "lsn",
    }

    /// What a line of a statement is.
    LineKind {
        /// A transfer of the account.
        Transfer = 0 "transfer",
        /// A pending transfer of the account expired.
        Expiry = 1 "expiry",
    }
}

/// Most events of one request of detailed transfers.
pub const DETAILED_EVENTS_MAX: usize =
    (CLIENT_FRAME_BYTES_MAX - FRAME_HEADER_BYTES) / size_of::<TransferDetailBody>();

const _: () = assert!(size_of::<AccountBody>() == 128);
const _: () = assert!(size_of::<TransferBody>() == 128);
const _: () = assert!(size_of::<ResultRun>() == 16);
const _: () = assert!(size_of::<HelloBody>() == 24);
const _: () = assert!(size_of::<WelcomeBody>() == 32);
const _: () = assert!(
    FRAME_HEADER_BYTES + REQUEST_EVENTS_MAX * size_of::<TransferBody>() <= CLIENT_FRAME_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_frame_is_found() {
        let row = TransferBody {
            id: 5.into(),
            amount: 70.into(),
            ..TransferBody::default()
        };
        let frame = Frame {
            kind: FrameKind::CreateTransfers,
            outcome: Outcome::Done,
            request: 9,
            deadline_ms: 1_000,
            count: 1,
            body: row.as_bytes(),
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let bytes = &bytes[LENGTH_BYTES..];
        assert_eq!(Frame::decode(bytes), Ok(frame));
        assert_eq!(frame.check_request(), Ok(()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bad).is_err(), "bit {bit} flipped unseen");
        }
    }

    #[test]
    fn a_count_that_does_not_fit_the_body_is_refused() {
        let frame = Frame {
            kind: FrameKind::LookupAccounts,
            outcome: Outcome::Done,
            request: 1,
            deadline_ms: 0,
            count: 2,
            body: &[0; 16],
        };
        assert!(matches!(
            frame.check_request(),
            Err(FrameError::Count { .. })
        ));
    }
}
