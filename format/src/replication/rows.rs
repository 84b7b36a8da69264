//! The fixed parts of the replication frames, field by field.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::EpochEntry;
use crate::ids::{Chain, Epoch, Incarnation, Lsn, NodeId, OpeningId, Tail};

/// Declares rows of little-endian fields without padding, each with its size.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident $bytes:literal { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $bytes);
    )*};
}

rows! {
    /// In front of every frame's body.
    HeaderRow 20 {
        magic: [u8; 4],
        kind: u8,
        flags: u8,
        version: U16,
        epoch: U64,
        crc: U32,
    }
    TailRow 48 {
        epoch: U64,
        lsn: U64,
        chain: [u8; 32],
    }
    OpeningRow 40 {
        random: U128,
        incarnation: U128,
        node: U32,
        zero: U32,
    }
    EpochRow 56 {
        epoch: U64,
        base: TailRow,
    }
    /// Then `history_count` epoch rows and `address_bytes` of text.
    HelloRow 176 {
        version_min: U16,
        version_max: U16,
        site: u8,
        purpose: u8,
        has_opening: u8,
        role: u8,
        node: U32,
        address_bytes: U32,
        cluster: U128,
        incarnation: U128,
        segment_bytes: U64,
        start_count: U64,
        highest_epoch: U64,
        opening: OpeningRow,
        tail: TailRow,
        history_count: U32,
        zero: U32,
        reserved: U64,
    }
    /// Then `history_count` epoch rows and `address_bytes` of text.
    WelcomeRow 192 {
        version: U16,
        site: u8,
        role: u8,
        node: U32,
        cluster: U128,
        incarnation: U128,
        segment_bytes: U64,
        start_count: U64,
        granted_epoch: U64,
        granted_opening: OpeningRow,
        tail: TailRow,
        confirmed: U64,
        in_sync_lsn: U64,
        in_sync: u8,
        uncertain: u8,
        awaiting_operator: u8,
        zero: u8,
        address_bytes: U32,
        history_count: U32,
        reserved: [u8; 12],
    }
    /// Then the text.
    RefusedRow 52 {
        code: u8,
        zero: u8,
        text_bytes: U16,
        granted_epoch: U64,
        granted_opening: OpeningRow,
    }
    SealRow 40 {
        opening: OpeningRow,
    }
    GrantedRow 112 {
        opening: OpeningRow,
        tail: TailRow,
        confirmed: U64,
        in_sync_lsn: U64,
        in_sync: u8,
        uncertain: u8,
        zero: [u8; 6],
    }
    LsnRow 8 {
        lsn: U64,
    }
    TailOnlyRow 48 {
        tail: TailRow,
    }
    /// Then `history_count` epoch rows.
    FollowRow 104 {
        opening: OpeningRow,
        tail: TailRow,
        committed: U64,
        history_count: U32,
        zero: U32,
    }
    /// Then the body of the batch.
    BatchRow 52 {
        lsn: U64,
        epoch: U64,
        timestamp: U64,
        confirmed: U64,
        payload_bytes: U32,
        record_count: U32,
        payload_crc: U32,
        header_crc: U32,
        flags: U16,
        encoding: u8,
        zero: u8,
    }
    CommittedRow 32 {
        lsn: U64,
        has_digest: u8,
        zero: [u8; 7],
        digest: U128,
    }
    TokenRow 8 {
        token: U64,
    }
    MarkRow 24 {
        turn: U64,
        lsn: U64,
        in_sync: u8,
        zero: [u8; 7],
    }
    AckRow 72 {
        tail: TailRow,
        incarnation: U128,
        node: U32,
        zero: U32,
    }
    AppliedRow 24 {
        lsn: U64,
        digest: U128,
    }
    PongRow 32 {
        nonce: U64,
        durable: U64,
        applied: U64,
        syncing: u8,
        zero: [u8; 7],
    }
    /// Then the bytes of the chunk.
    ChunkRow 32 {
        file: u8,
        zero: [u8; 7],
        place: U64,
        total_bytes: U64,
        offset: U64,
    }
    StoredRow 64 {
        file: u8,
        zero: [u8; 7],
        place: U64,
        tail: TailRow,
    }
}

impl From<Tail> for TailRow {
    fn from(tail: Tail) -> Self {
        Self {
            epoch: tail.epoch.get().into(),
            lsn: tail.lsn.get().into(),
            chain: *tail.chain.bytes(),
        }
    }
}

impl From<TailRow> for Tail {
    fn from(row: TailRow) -> Self {
        Self {
            epoch: Epoch::new(row.epoch.get()),
            lsn: Lsn::new(row.lsn.get()),
            chain: Chain::new(row.chain),
        }
    }
}

impl From<OpeningId> for OpeningRow {
    fn from(opening: OpeningId) -> Self {
        Self {
            random: opening.random.into(),
            incarnation: opening.incarnation.get().into(),
            node: opening.node.get().into(),
            zero: 0.into(),
        }
    }
}

impl From<OpeningRow> for OpeningId {
    fn from(row: OpeningRow) -> Self {
        Self {
            node: NodeId::new(row.node.get()),
            incarnation: Incarnation::new(row.incarnation.get()),
            random: row.random.get(),
        }
    }
}

impl From<EpochEntry> for EpochRow {
    fn from(entry: EpochEntry) -> Self {
        Self {
            epoch: entry.epoch.get().into(),
            base: entry.base.into(),
        }
    }
}

impl From<EpochRow> for EpochEntry {
    fn from(row: EpochRow) -> Self {
        Self {
            epoch: Epoch::new(row.epoch.get()),
            base: row.base.into(),
        }
    }
}
