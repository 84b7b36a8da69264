//! Runs: what is derived from a stretch of the log, sorted, in one immutable file.
//!
//! ```text
//! file    header (64 B) | blocks of all sections, mixed | fences, section by section | footer
//! fence    0 key of a block's first item (u128)  16 offset  24 bytes (u32)  28 crc (u32)
//! footer   magic "KNJY", facts about the run, one row a section, crc
//! ```
//!
//! Within a run a record is named by its *ordinal*: records of the run's batches are counted from
//! zero, whatever they tell. Ordinals leave no gaps, so lists of them pack well, and a list of
//! consecutive records is one item. The batch section turns them into places and back.
//!
//! | section | items | key of a fence |
//! |---|---|---|
//! | batches | lsn, first ordinal, latest time | lsn, first ordinal |
//! | ids | 48-bit keyed hash, ordinal | hash |
//! | filter | lines of a blocked Bloom filter over the hashes | line |
//! | lists | chunks of ordinals under a key, of accounts with roles and sums | key, ordinal |
//! | links | what resolved or reversed a transfer | place of that transfer |
//! | reserved | pending transfers that the run leaves open, with amounts | ordinal |
//! | accounts | ledgers of the accounts that were opened, in order | account number |
//!
//! Blocks are drawn in `ids`, `lists` and `rows`. Every byte is under a checksum: header and
//! footer have their own, the footer has those of the fences, a fence that of its block.

mod bits;
mod footer;
mod hash;
pub mod ids;
pub mod lists;
mod roles;
pub mod rows;

use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use footer::{RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RunFooter, RunHeader, SectionFacts};
pub use hash::{RunHasher, RunKey, filter_enter, filter_holds, filter_line, filter_lines};

/// First bytes of a run file.
pub const RUN_MAGIC: [u8; 4] = *b"KNJX";
/// First bytes of its footer.
pub const RUN_FOOTER_MAGIC: [u8; 4] = *b"KNJY";
/// Version that this code writes and reads.
pub const RUN_VERSION: u16 = 1;
/// Bytes of one fence.
pub const FENCE_BYTES: usize = size_of::<FenceRow>();
/// Bits of an id's hash that are kept.
pub const HASH_BITS: u32 = 48;
/// Bytes of one line of the filter, which is what one look-up touches.
pub const FILTER_LINE_BYTES: usize = 64;

// Limits of a run: what a reader believes, whatever the bytes say.

/// Bytes that a block is filled to.
pub const RUN_BLOCK_BYTES_AIM: usize = 8 << 10;
/// Most bytes of one block.
pub const RUN_BLOCK_BYTES_MAX: usize = 64 << 10;
/// Most records that one run counts.
pub const RUN_RECORDS_MAX: u64 = 1 << 40;
/// Most records of a run that is built from the log, not merged: it bounds the builder's memory.
pub const RUN_BUILD_RECORDS_MAX: u64 = 1 << 22;
/// Most hashes of one block of ids.
pub const IDS_BLOCK_MAX: usize = 1_024;
/// Most items of one chunk of a list.
pub const CHUNK_ITEMS_MAX: usize = 255;
/// Items after which a chunk is closed.
pub const CHUNK_ITEMS_AIM: usize = 128;
/// Most rows of one block of batches, links or reserved amounts.
pub const BLOCK_ROWS_MAX: usize = 1_024;
/// Bits of the filter for each id.
pub const FILTER_BITS_PER_ID: u64 = 10;
/// Lines of one block of the filter.
pub const FILTER_BLOCK_LINES: usize = RUN_BLOCK_BYTES_AIM / FILTER_LINE_BYTES;
/// The highest tier: its runs are not merged any further.
pub const RUN_TIER_TOP: u8 = 2;
/// Runs of a tier that are merged into one of the next.
pub const RUN_MERGE_WIDTH: usize = 8;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RunSection {
    /// Where the run's batches stand.
    Batches = 0,
    /// Hashes of transfer ids.
    Ids = 1,
    /// The filter over them.
    Filter = 2,
    /// Lists of records by key.
    Lists = 3,
    /// Resolutions and reversals.
    Links = 4,
    /// Pending transfers left open.
    Reserved = 5,
    /// Accounts that were opened.
    Accounts = 6,
}

/// Sections of a run.
pub const RUN_SECTIONS: usize = 7;

impl RunSection {
    /// All of them, in order.
    pub const ALL: [Self; RUN_SECTIONS] = [
        Self::Batches,
        Self::Ids,
        Self::Filter,
        Self::Lists,
        Self::Links,
        Self::Reserved,
        Self::Accounts,
    ];

    /// How it is shown to people and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Ids => "ids",
            Self::Filter => "filter",
            Self::Lists => "lists",
            Self::Links => "links",
            Self::Reserved => "reserved",
            Self::Accounts => "accounts",
        }
    }
}

/// Why bytes are not a part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunFormatError {
    /// Fewer or more bytes than the part has.
    #[error("{part}: {have} bytes where there should be {need}")]
    Length {
        /// Which part.
        part: &'static str,
        /// Bytes there.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
    /// The part does not begin as it should.
    #[error("{part}: begins with {found:02x?}: not a run file, or not whole")]
    Magic {
        /// Which part.
        part: &'static str,
        /// What stands there.
        found: [u8; 4],
    },
    /// A version that this code does not read.
    #[error("run version {0} is not the one that this program reads ({RUN_VERSION})")]
    Version(u16),
    /// A checksum that does not match its bytes.
    #[error("{part}: checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Which part.
        part: &'static str,
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A field that no writer makes.
    #[error("{field} cannot be {value}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// A block that ends inside an item or contradicts itself.
    #[error("a block of {section} holds {what}")]
    Block {
        /// Of which section.
        section: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

/// Where a block stands, and what it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Key of its first item; its meaning is the section's.
    pub key: u128,
    /// Where it stands in the file.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u32,
    /// Their checksum.
    pub crc: u32,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct FenceRow {
    key: U128,
    offset: U64,
    bytes: U32,
    crc: U32,
}

const _: () = assert!(FENCE_BYTES == 32);

impl Fence {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let row = FenceRow {
            key: self.key.into(),
            offset: self.offset.into(),
            bytes: self.bytes.into(),
            crc: self.crc.into(),
        };
        out.extend_from_slice(row.as_bytes());
    }

    /// Checks the bytes of its block.
    pub fn check_block(&self, section: RunSection, bytes: &[u8]) -> Result<(), RunFormatError> {
        let computed = crc32fast::hash(bytes);
        if computed != self.crc {
            return Err(RunFormatError::Checksum {
                part: section.name(),
                found: self.crc,
                computed,
            });
        }
        Ok(())
    }
}

/// Reads the fences of one section: their checksum, and that they rise and stay in bounds.
pub fn decode_fences(
    footer: &RunFooter,
    section: RunSection,
    bytes: &[u8],
) -> Result<Vec<Fence>, RunFormatError> {
    let facts = footer.section(section);
    let computed = crc32fast::hash(bytes);
    if computed != facts.fences_crc {
        return Err(RunFormatError::Checksum {
            part: "fences",
            found: facts.fences_crc,
            computed,
        });
    }
    let need = facts.block_count as usize * FENCE_BYTES;
    let rows = <[FenceRow]>::ref_from_bytes(bytes)
        .ok()
        .filter(|_| bytes.len() == need)
        .ok_or(length("fences", bytes.len(), need))?;
    let blocks_end = footer.sections[0].fences_offset;
    let mut fences: Vec<Fence> = Vec::with_capacity(rows.len());
    for row in rows {
        let fence = Fence {
            key: row.key.get(),
            offset: row.offset.get(),
            bytes: row.bytes.get(),
            crc: row.crc.get(),
        };
        let end = fence.offset.checked_add(u64::from(fence.bytes));
        let in_bounds = fence.offset >= RUN_HEADER_BYTES as u64
            && end.is_some_and(|end| end <= blocks_end)
            && (1..=RUN_BLOCK_BYTES_MAX).contains(&(fence.bytes as usize));
        let rises = fences.last().is_none_or(|before| before.key <= fence.key);
        if !in_bounds || !rises {
            return Err(RunFormatError::Field {
                field: "offset of a block",
                value: fence.offset,
            });
        }
        fences.push(fence);
    }
    Ok(fences)
}

const fn length(part: &'static str, have: usize, need: usize) -> RunFormatError {
    RunFormatError::Length {
        part,
        have: have as u64,
        need: need as u64,
    }
}
