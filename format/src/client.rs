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

mod events;
mod frame;
mod kinds;
mod names;
mod rows;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use events::{AccountBody, DETAILED_EVENTS_MAX, ResultRun, TransferBody};
pub use frame::{Frame, FrameError, FrameHeader};
pub use kinds::{FrameKind, HELD_BACK, Outcome};
pub use names::{
    AccountChange, AccountFilterFlags, AccountFlags, Freeze, LineKind, OutcomeState,
    QueryFilterFlags, Span, TransferFlags,
};
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

const _: () = assert!(size_of::<HelloBody>() == 24);
const _: () = assert!(size_of::<WelcomeBody>() == 32);
