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
pub mod ids;
pub mod lists;
pub mod rows;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{AccountNumber, ClusterId, LedgerId, Lsn, Timestamp, TransferId};
use crate::limits::PAGE_BYTES;

/// First bytes of a run file.
pub const RUN_MAGIC: [u8; 4] = *b"KNJX";
/// First bytes of its footer.
pub const RUN_FOOTER_MAGIC: [u8; 4] = *b"KNJY";
/// Version that this code writes and reads.
pub const RUN_VERSION: u16 = 1;
/// Bytes of the header.
pub const RUN_HEADER_BYTES: usize = size_of::<HeaderRow>();
/// Bytes of the footer.
pub const RUN_FOOTER_BYTES: usize = size_of::<FooterRow>();
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

/// What a file says of itself at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHeader {
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// Where the run's stretch of the log begins.
    pub first_lsn: Lsn,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct HeaderRow {
    magic: [u8; 4],
    version: U16,
    reserved: [u8; 2],
    cluster: U128,
    first_lsn: U64,
    reserved_too: [u8; 28],
    crc: U32,
}

const _: () = assert!(RUN_HEADER_BYTES == 64);

impl RunHeader {
    /// The bytes at the start of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = HeaderRow {
            magic: RUN_MAGIC,
            version: RUN_VERSION.into(),
            reserved: [0; 2],
            cluster: self.cluster.get().into(),
            first_lsn: self.first_lsn.get().into(),
            reserved_too: [0; 28],
            crc: 0.into(),
        };
        row.crc = crc_but_last_four(row.as_bytes()).into();
        row.as_bytes().to_vec()
    }

    /// Reads the header from the first [`RUN_HEADER_BYTES`] of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, RunFormatError> {
        let row = HeaderRow::ref_from_bytes(bytes)
            .map_err(|_| length("header", bytes.len(), RUN_HEADER_BYTES))?;
        check_part("header", bytes, RUN_MAGIC, row.version.get(), row.crc.get())?;
        Ok(Self {
            cluster: ClusterId::new(row.cluster.get()),
            first_lsn: Lsn::new(row.first_lsn.get()),
        })
    }
}

/// One section as the footer tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionFacts {
    /// Where its fences stand.
    pub fences_offset: u64,
    /// How many blocks it has, which is how many fences.
    pub block_count: u32,
    /// Checksum of the fences.
    pub fences_crc: u32,
    /// Bytes of its blocks.
    pub bytes: u64,
}

/// What a run is about, and where its sections stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFooter {
    /// How often it was merged.
    pub tier: u8,
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// Where its stretch of the log begins.
    pub first_lsn: Lsn,
    /// Where its stretch of the log ends.
    pub end_lsn: Lsn,
    /// Seed of its hashes (see [`RunHasher`]).
    pub seed: u64,
    /// Records of its batches.
    pub records: u64,
    /// Transfers among them.
    pub transfers: u64,
    /// Failed and burned ids among them.
    pub failed: u64,
    /// Hashes in it: transfers, and failed ids.
    pub ids: u64,
    /// The lowest id; `u128::MAX` if there is none.
    pub id_low: u128,
    /// The highest id; 0 if there is none.
    pub id_high: u128,
    /// The latest time of a transfer or expiry up to its end, earlier runs included.
    pub time: Timestamp,
    /// Number of the first account that was opened in or behind it.
    pub first_account: u32,
    /// Accounts that were opened in it.
    pub accounts: u32,
    /// Lines of the filter.
    pub filter_lines: u64,
    /// Lowest place that a link of it is about, packed; `u64::MAX` if there is none.
    pub link_low: u64,
    /// Highest place that a link of it is about, packed.
    pub link_high: u64,
    /// Its sections, by [`RunSection`].
    pub sections: [SectionFacts; RUN_SECTIONS],
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct SectionRow {
    fences_offset: U64,
    bytes: U64,
    block_count: U32,
    fences_crc: U32,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct FooterRow {
    magic: [u8; 4],
    version: U16,
    tier: u8,
    reserved: u8,
    cluster: U128,
    first_lsn: U64,
    end_lsn: U64,
    seed: U64,
    records: U64,
    transfers: U64,
    failed: U64,
    ids: U64,
    id_low: U128,
    id_high: U128,
    time: U64,
    first_account: U32,
    accounts: U32,
    filter_lines: U64,
    link_low: U64,
    link_high: U64,
    sections: [SectionRow; RUN_SECTIONS],
    reserved_too: U32,
    crc: U32,
}

impl RunFooter {
    /// The bytes at the end of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = FooterRow {
            magic: RUN_FOOTER_MAGIC,
            version: RUN_VERSION.into(),
            tier: self.tier,
            reserved: 0,
            cluster: self.cluster.get().into(),
            first_lsn: self.first_lsn.get().into(),
            end_lsn: self.end_lsn.get().into(),
            seed: self.seed.into(),
            records: self.records.into(),
            transfers: self.transfers.into(),
            failed: self.failed.into(),
            ids: self.ids.into(),
            id_low: self.id_low.into(),
            id_high: self.id_high.into(),
            time: self.time.get().into(),
            first_account: self.first_account.into(),
            accounts: self.accounts.into(),
            filter_lines: self.filter_lines.into(),
            link_low: self.link_low.into(),
            link_high: self.link_high.into(),
            sections: self.sections.map(|facts| SectionRow {
                fences_offset: facts.fences_offset.into(),
                bytes: facts.bytes.into(),
                block_count: facts.block_count.into(),
                fences_crc: facts.fences_crc.into(),
            }),
            reserved_too: 0.into(),
            crc: 0.into(),
        };
        row.crc = crc_but_last_four(row.as_bytes()).into();
        row.as_bytes().to_vec()
    }

    /// Reads the footer from the last [`RUN_FOOTER_BYTES`] of a file of `file_bytes`, and checks
    /// every bound that a reader relies on before it allocates.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, RunFormatError> {
        let row = FooterRow::ref_from_bytes(bytes)
            .map_err(|_| length("footer", bytes.len(), RUN_FOOTER_BYTES))?;
        check_part(
            "footer",
            bytes,
            RUN_FOOTER_MAGIC,
            row.version.get(),
            row.crc.get(),
        )?;
        let footer = Self {
            tier: row.tier,
            cluster: ClusterId::new(row.cluster.get()),
            first_lsn: Lsn::new(row.first_lsn.get()),
            end_lsn: Lsn::new(row.end_lsn.get()),
            seed: row.seed.get(),
            records: row.records.get(),
            transfers: row.transfers.get(),
            failed: row.failed.get(),
            ids: row.ids.get(),
            id_low: row.id_low.get(),
            id_high: row.id_high.get(),
            time: Timestamp::new(row.time.get()),
            first_account: row.first_account.get(),
            accounts: row.accounts.get(),
            filter_lines: row.filter_lines.get(),
            link_low: row.link_low.get(),
            link_high: row.link_high.get(),
            sections: row.sections.map(|row| SectionFacts {
                fences_offset: row.fences_offset.get(),
                block_count: row.block_count.get(),
                fences_crc: row.fences_crc.get(),
                bytes: row.bytes.get(),
            }),
        };
        footer.check_bounds(file_bytes)?;
        Ok(footer)
    }

    fn check_bounds(&self, file_bytes: u64) -> Result<(), RunFormatError> {
        let field = |field, value| Err(RunFormatError::Field { field, value });
        if self.tier > RUN_TIER_TOP {
            return field("tier", self.tier.into());
        }
        if !self.first_lsn.get().is_multiple_of(PAGE_BYTES) {
            return field("first_lsn", self.first_lsn.get());
        }
        if self.end_lsn <= self.first_lsn
            || self.end_lsn.get() >= 1 << 61
            || !self.end_lsn.get().is_multiple_of(PAGE_BYTES)
        {
            return field("end_lsn", self.end_lsn.get());
        }
        if self.records > RUN_RECORDS_MAX {
            return field("records", self.records);
        }
        if self.ids > self.records || self.transfers.checked_add(self.failed) != Some(self.ids) {
            return field("ids", self.ids);
        }
        if self.filter_lines != filter_lines(self.ids) {
            return field("filter_lines", self.filter_lines);
        }
        if self.first_account.checked_add(self.accounts).is_none() {
            return field("accounts", self.accounts.into());
        }
        // The fences stand one section behind the other, up to the footer.
        let mut end = file_bytes.saturating_sub(RUN_FOOTER_BYTES as u64);
        for facts in self.sections.iter().rev() {
            let bytes = u64::from(facts.block_count) * FENCE_BYTES as u64;
            if facts.fences_offset < RUN_HEADER_BYTES as u64
                || facts.fences_offset.checked_add(bytes) != Some(end)
            {
                return field("fences_offset", facts.fences_offset);
            }
            end = facts.fences_offset;
        }
        let blocks = self
            .sections
            .iter()
            .try_fold(0_u64, |sum, facts| sum.checked_add(facts.bytes));
        if blocks.and_then(|sum| sum.checked_add(RUN_HEADER_BYTES as u64)) != Some(end) {
            return field("bytes", self.sections[0].bytes);
        }
        Ok(())
    }

    /// One section.
    pub const fn section(&self, section: RunSection) -> &SectionFacts {
        &self.sections[section as usize]
    }

    /// Checks that this footer belongs to the file that starts with `header`.
    pub fn check(&self, header: &RunHeader) -> Result<(), RunFormatError> {
        if self.cluster != header.cluster || self.first_lsn != header.first_lsn {
            let value = header.first_lsn.get();
            return Err(RunFormatError::Field {
                field: "first_lsn of the header",
                value,
            });
        }
        Ok(())
    }
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

/// Turns ids into 48-bit hashes under a seed, so that nobody who chooses ids can aim at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHasher {
    keys: [u64; 4],
}

impl RunHasher {
    /// Hashes under `seed`.
    pub fn new(seed: u64) -> Self {
        // splitmix64 (Steele, Lea, Flood 2014): four keys from one seed.
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { keys }
    }

    /// The hash of a transfer id.
    #[inline]
    pub fn id(&self, id: TransferId) -> u64 {
        self.hash(id.get())
    }

    /// Two rounds of a folded multiply, as wyhash does it.
    #[inline]
    fn hash(&self, value: u128) -> u64 {
        let [k0, k1, k2, k3] = self.keys;
        let (low, high) = (value as u64, (value >> 64) as u64);
        let inner = fold(low ^ k0, high ^ k1);
        fold(inner ^ k2, low.rotate_left(32) ^ high ^ k3) >> (64 - HASH_BITS)
    }

    /// The list that a key means in a run.
    pub fn list(&self, key: RunKey) -> lists::ListKey {
        let (kind, value) = match key {
            RunKey::Account(number) => (lists::ACCOUNT, u64::from(number.get())),
            RunKey::UserData128(value) => (lists::USER_DATA_128, self.hash(value)),
            RunKey::UserData64(value) => (lists::USER_DATA_64, value),
            RunKey::UserData32(value) => (lists::USER_DATA_32, value.into()),
            RunKey::Ledger(ledger) => (lists::LEDGER, ledger.get().into()),
            RunKey::Code(code) => (lists::CODE, code.into()),
        };
        lists::ListKey { kind, value }
    }
}

/// What records are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKey {
    /// Transfers and expiries of an account, on either side.
    Account(AccountNumber),
    /// Transfers with that user data; hashed, so that records of other user data may be among them.
    UserData128(u128),
    /// Transfers with that user data.
    UserData64(u64),
    /// Transfers with that user data.
    UserData32(u32),
    /// Transfers of a ledger.
    Ledger(LedgerId),
    /// Transfers with that reason code.
    Code(u16),
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn mix(value: u64) -> u64 {
    let z = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Lines of a filter over that many ids.
pub const fn filter_lines(ids: u64) -> u64 {
    (ids * FILTER_BITS_PER_ID).div_ceil(FILTER_LINE_BYTES as u64 * 8)
}

/// The line of a hash: rises with the hash, so a filter is written in the order of the ids.
#[inline]
pub const fn filter_line(hash: u64, lines: u64) -> u64 {
    ((hash as u128 * lines as u128) >> HASH_BITS) as u64
}

/// Enters a hash in its line.
#[inline]
pub fn filter_enter(line: &mut [u8; FILTER_LINE_BYTES], hash: u64) {
    for (byte, bit) in filter_bits(hash) {
        line[byte] |= bit;
    }
}

/// Whether a hash may have been entered in its line.
#[inline]
pub fn filter_holds(line: &[u8; FILTER_LINE_BYTES], hash: u64) -> bool {
    filter_bits(hash).all(|(byte, bit)| line[byte] & bit != 0)
}

/// Six bits of a line, nine bits of a mixed hash each.
#[inline]
fn filter_bits(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    let mixed = mix(hash);
    (0..6).map(move |n| {
        let at = (mixed >> (9 * n) & 511) as usize;
        (at / 8, 1 << (at % 8))
    })
}

fn crc_but_last_four(bytes: &[u8]) -> u32 {
    crc32fast::hash(&bytes[..bytes.len() - 4])
}

fn check_part(
    part: &'static str,
    bytes: &[u8],
    magic: [u8; 4],
    version: u16,
    crc: u32,
) -> Result<(), RunFormatError> {
    if bytes[..4] != magic {
        let found = [bytes[0], bytes[1], bytes[2], bytes[3]];
        return Err(RunFormatError::Magic { part, found });
    }
    let computed = crc_but_last_four(bytes);
    if crc != computed {
        let found = crc;
        return Err(RunFormatError::Checksum {
            part,
            found,
            computed,
        });
    }
    if version != RUN_VERSION {
        return Err(RunFormatError::Version(version));
    }
    Ok(())
}

const fn length(part: &'static str, have: usize, need: usize) -> RunFormatError {
    RunFormatError::Length {
        part,
        have: have as u64,
        need: need as u64,
    }
}
