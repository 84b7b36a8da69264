//! The control file: what a node has granted and promised, in two checksummed slots.
//!
//! Each slot is one page; the valid one with the higher sequence counts. Two bad slots make the
//! directory a new incarnation.
//!
//! ```text
//! slot 0 at 0, slot 1 at 4096: 256 bytes as follows, zeros to the page's end
//!
//!   0 magic "KNJK"     4 version      6 site   7 role      8 sequence     16 cluster (16)
//!  32 incarnation (16)               48 node  52 member_node              56 segment_bytes
//!  64 start_count     72 granted_epoch        80 opening: random (16), incarnation (16), node
//! 116 protection     117 in_sync    118 uncertain       119 awaiting_operator
//! 120 durable_lsn    128 confirmed_lsn       136 in_sync_lsn  144 member_incarnation (16)
//! 160 peer_granted_epoch            168 tail_epoch      176 tail_chain (32)
//! 208 log_time       216 zeros      252 crc of the 252 bytes before
//! ```

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{
    Chain, ClusterId, Epoch, Incarnation, Lsn, NodeId, OpeningId, Site, Tail, Timestamp,
};
use crate::limits::{PAGE_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::record::Protection;

/// First bytes of a slot.
pub const CONTROL_MAGIC: [u8; 4] = *b"KNJK";
/// Version that this code writes.
pub const CONTROL_VERSION: u16 = 1;
/// Bytes of a slot that mean something; zeros follow to the page's end.
pub const CONTROL_ROW_BYTES: usize = 256;
/// Bytes of the control file.
pub const CONTROL_FILE_BYTES: u64 = 2 * PAGE_BYTES;

/// Which part a node last played; what it does at its next start follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Follows a primary.
    Replica = 0,
    /// Opened, or was formatted to open, the highest epoch that it knows.
    Primary = 1,
}

impl Role {
    /// How it is shown to people and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Primary => "primary",
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ControlRow {
    magic: [u8; 4],
    version: U16,
    site: u8,
    role: u8,
    sequence: U64,
    cluster: U128,
    incarnation: U128,
    node: U32,
    member_node: U32,
    segment_bytes: U64,
    start_count: U64,
    granted_epoch: U64,
    opening_random: U128,
    opening_incarnation: U128,
    opening_node: U32,
    protection: u8,
    in_sync: u8,
    uncertain: u8,
    awaiting_operator: u8,
    durable_lsn: U64,
    confirmed_lsn: U64,
    in_sync_lsn: U64,
    member_incarnation: U128,
    peer_granted_epoch: U64,
    tail_epoch: U64,
    tail_chain: [u8; 32],
    log_time: U64,
    reserved: [u8; 36],
    crc: U32,
}

const _: () = assert!(size_of::<ControlRow>() == CONTROL_ROW_BYTES);

/// The control file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Grows with each write; the higher of two valid slots counts.
    pub sequence: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// This data directory.
    pub incarnation: Incarnation,
    /// This node.
    pub node: NodeId,
    /// This node's cloud.
    pub site: Site,
    /// What it last was.
    pub role: Role,
    /// Size of every segment of the cluster's log.
    pub segment_bytes: u64,
    /// How often the directory was opened.
    pub start_count: u64,
    /// The highest epoch ever granted here, to itself or another: every lower sender is refused.
    pub granted_epoch: Epoch,
    /// To which opening it was granted.
    pub granted_opening: OpeningId,
    /// As primary: how commits are protected.
    pub protection: Protection,
    /// As primary: the member of the set, if there is one.
    pub member: Option<(NodeId, Incarnation)>,
    /// As replica: the durable in-set mark. Every commit waits for this node.
    pub in_sync: bool,
    /// As replica: where the mark was set.
    pub in_sync_lsn: Lsn,
    /// The log was cut above its mark after a crash, and nobody has vouched for its end yet.
    pub uncertain: bool,
    /// The node stopped before a cut that only an operator may decide.
    pub awaiting_operator: bool,
    /// Durable on this disk at least to here, with epoch and chain.
    pub durable: Tail,
    /// Committed at least to here.
    pub confirmed: Lsn,
    /// The highest epoch that the peer was seen to have granted.
    pub peer_granted_epoch: Epoch,
    /// Log time at the durable mark.
    pub log_time: Timestamp,
}

/// Why a control slot cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Shorter than a slot.
    #[error("control slot has {0} bytes, a slot needs 256")]
    Short(usize),
    /// Not a control slot.
    #[error("control slot starts with {0:02x?}, not with \"KNJK\"")]
    Magic([u8; 4]),
    /// Damaged.
    #[error("control slot checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A version that this code does not read.
    #[error(
        "control file version {0} is newer than this program, which reads up to {CONTROL_VERSION}: use a newer kanjo"
    )]
    Version(u16),
    /// A field with a value that it cannot have.
    #[error("control file field {field} is {value}, which it cannot be")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u64,
    },
}

impl Control {
    /// What a directory says that was just formatted, and in which nothing has happened.
    pub fn fresh(
        cluster: ClusterId,
        (node, incarnation): (NodeId, Incarnation),
        site: Site,
        role: Role,
        segment_bytes: u64,
    ) -> Self {
        Self {
            sequence: 1,
            cluster,
            incarnation,
            node,
            site,
            role,
            segment_bytes,
            start_count: 0,
            granted_epoch: Epoch::NONE,
            granted_opening: OpeningId::default(),
            protection: Protection::Waiting,
            member: None,
            in_sync: false,
            in_sync_lsn: Lsn::ZERO,
            uncertain: false,
            awaiting_operator: false,
            durable: Tail::empty(cluster),
            confirmed: Lsn::ZERO,
            peer_granted_epoch: Epoch::NONE,
            log_time: Timestamp::default(),
        }
    }

    /// The content of one slot.
    pub fn encode(&self) -> Vec<u8> {
        let (member_node, member_incarnation) = self.member.unwrap_or_default();
        let mut row = ControlRow {
            magic: CONTROL_MAGIC,
            version: CONTROL_VERSION.into(),
            site: self.site.number(),
            role: self.role as u8,
            sequence: self.sequence.into(),
            cluster: self.cluster.get().into(),
            incarnation: self.incarnation.get().into(),
            node: self.node.get().into(),
            member_node: member_node.get().into(),
            segment_bytes: self.segment_bytes.into(),
            start_count: self.start_count.into(),
            granted_epoch: self.granted_epoch.get().into(),
            opening_random: self.granted_opening.random.into(),
            opening_incarnation: self.granted_opening.incarnation.get().into(),
            opening_node: self.granted_opening.node.get().into(),
            protection: self.protection as u8,
            in_sync: self.in_sync.into(),
            uncertain: self.uncertain.into(),
            awaiting_operator: self.awaiting_operator.into(),
            durable_lsn: self.durable.lsn.get().into(),
            confirmed_lsn: self.confirmed.get().into(),
            in_sync_lsn: self.in_sync_lsn.get().into(),
            member_incarnation: member_incarnation.get().into(),
            peer_granted_epoch: self.peer_granted_epoch.get().into(),
            tail_epoch: self.durable.epoch.get().into(),
            tail_chain: *self.durable.chain.bytes(),
            log_time: self.log_time.get().into(),
            reserved: [0; 36],
            crc: 0.into(),
        };
        row.crc = row_crc(&row).into();
        let mut slot = row.as_bytes().to_vec();
        slot.resize(PAGE_BYTES as usize, 0);
        slot
    }

    /// Reads one slot.
    pub fn decode(slot: &[u8]) -> Result<Self, ControlError> {
        let (row, _) =
            ControlRow::read_from_prefix(slot).map_err(|_| ControlError::Short(slot.len()))?;
        if row.magic != CONTROL_MAGIC {
            return Err(ControlError::Magic(row.magic));
        }
        let (found, computed) = (row.crc.get(), row_crc(&row));
        if found != computed {
            return Err(ControlError::Checksum { found, computed });
        }
        if row.version.get() != CONTROL_VERSION {
            return Err(ControlError::Version(row.version.get()));
        }
        let segment_bytes = row.segment_bytes.get();
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes)
            || !segment_bytes.is_multiple_of(PAGE_BYTES)
        {
            return Err(ControlError::Field {
                field: "segment_bytes",
                value: segment_bytes,
            });
        }
        let bad = |field, value: u8| ControlError::Field {
            field,
            value: value.into(),
        };
        let member = (
            NodeId::new(row.member_node.get()),
            Incarnation::new(row.member_incarnation.get()),
        );
        Ok(Self {
            sequence: row.sequence.get(),
            cluster: ClusterId::new(row.cluster.get()),
            incarnation: Incarnation::new(row.incarnation.get()),
            node: NodeId::new(row.node.get()),
            site: Site::from_number(row.site).ok_or(bad("site", row.site))?,
            role: match row.role {
                0 => Role::Replica,
                1 => Role::Primary,
                other => return Err(bad("role", other)),
            },
            segment_bytes,
            start_count: row.start_count.get(),
            granted_epoch: Epoch::new(row.granted_epoch.get()),
            granted_opening: OpeningId {
                node: NodeId::new(row.opening_node.get()),
                incarnation: Incarnation::new(row.opening_incarnation.get()),
                random: row.opening_random.get(),
            },
            protection: Protection::from_number(row.protection)
                .ok_or(bad("protection", row.protection))?,
            member: (member.1 != Incarnation::default()).then_some(member),
            in_sync: row.in_sync != 0,
            in_sync_lsn: Lsn::new(row.in_sync_lsn.get()),
            uncertain: row.uncertain != 0,
            awaiting_operator: row.awaiting_operator != 0,
            durable: Tail {
                epoch: Epoch::new(row.tail_epoch.get()),
                lsn: Lsn::new(row.durable_lsn.get()),
                chain: Chain::new(row.tail_chain),
            },
            confirmed: Lsn::new(row.confirmed_lsn.get()),
            peer_granted_epoch: Epoch::new(row.peer_granted_epoch.get()),
            log_time: Timestamp::new(row.log_time.get()),
        })
    }
}

fn row_crc(row: &ControlRow) -> u32 {
    let bytes = row.as_bytes();
    crc32fast::hash(&bytes[..bytes.len() - 4])
}
