//! Header and footer of a run: what it is about, and where its sections stand.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    FENCE_BYTES, RUN_FOOTER_MAGIC, RUN_MAGIC, RUN_RECORDS_MAX, RUN_SECTIONS, RUN_TIER_TOP,
    RUN_VERSION, RunFormatError, RunSection, filter_lines, length,
};
use crate::ids::{Chain, ClusterId, Lsn, Timestamp};
use crate::limits::PAGE_BYTES;

/// Bytes of the header.
pub const RUN_HEADER_BYTES: usize = size_of::<HeaderRow>();
/// Bytes of the footer.
pub const RUN_FOOTER_BYTES: usize = size_of::<FooterRow>();

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
    /// Chain value there: the run is of no use beside a log that has another one.
    pub end_chain: Chain,
    /// Seed of its hashes (see [`super::RunHasher`]).
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
    end_chain: [u8; 32],
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
            end_chain: *self.end_chain.bytes(),
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
            end_chain: Chain::new(row.end_chain),
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
