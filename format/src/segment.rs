//! Segment files: raw, as they are written, and sealed, as they are kept.
//!
//! ```text
//! raw     SegmentHeader page | data: segment_bytes of batches, zeros behind the last one
//! sealed  SegmentHeader page | blocks | BlockEntry (32 B) each | SealedFooter (256 B)
//! block   zstd frame (with content size) of consecutive batches: header, payload, no padding
//!
//! header    0 magic "KNJS"   4 version    6 form (0 raw, 1 sealed)   7 zero     8 cluster (16)
//!          24 number        32 segment_bytes   40 zeros              4092 crc
//! entry     0 first_lsn      8 offset    16 stored_bytes  20 raw_bytes  24 batch_count  28 crc
//! footer    0 magic "KNJF"   4 version    6 zero       8 cluster (16)   24 number
//!          32 segment_bytes 40 index_offset   48 block_count   52 index_crc
//!          56 batch_count   64 record_count   72 raw_bytes     80 base_epoch    88 base_lsn
//!          96 base_chain (32)   128 end_epoch  136 end_lsn     144 end_chain (32)
//!         176 last_timestamp   184 confirmed  192 zeros       252 crc
//! ```
//!
//! Every byte is under a checksum, seeded with cluster and number where the bytes do not hold
//! them. The file ends with the footer, so a shorter or longer file is found too.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{Chain, ClusterId, Epoch, Lsn, Tail, Timestamp};
use crate::limits::{PAGE_BYTES, SEALED_BLOCK_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// First bytes of every segment file.
pub const SEGMENT_MAGIC: [u8; 4] = *b"KNJS";
/// First bytes of a sealed segment's footer.
pub const FOOTER_MAGIC: [u8; 4] = *b"KNJF";
/// Version of segment files that this code writes.
pub const SEGMENT_VERSION: u16 = 1;
/// Bytes of the header, one page.
pub const SEGMENT_HEADER_BYTES: usize = PAGE_BYTES as usize;
/// Bytes of one index entry.
pub const BLOCK_ENTRY_BYTES: usize = 32;
/// Bytes of the footer.
pub const SEALED_FOOTER_BYTES: usize = 256;
/// Raw bytes that a writer gathers before it closes a block.
pub const SEALED_BLOCK_BYTES_AIM: usize = 256 << 10;
/// Most bytes that a block may take compressed: what `zstd` may add to bytes without pattern.
pub const SEALED_BLOCK_STORED_MAX: usize = SEALED_BLOCK_BYTES_MAX + (SEALED_BLOCK_BYTES_MAX >> 7);

/// In which form a segment is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentForm {
    /// Batches at their own offsets, as they were appended.
    Raw = 0,
    /// Compressed blocks with an index, never written again.
    Sealed = 1,
}

/// What every segment file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster.
    pub cluster: ClusterId,
    /// Counts segments from 0: the segment holds lsn `number * segment_bytes` onwards.
    pub number: u64,
    /// Size of every segment of the cluster's log.
    pub segment_bytes: u64,
    /// How the rest of the file is laid out.
    pub form: SegmentForm,
}

/// Where one block of a sealed segment is, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Lsn of its first batch.
    pub first_lsn: Lsn,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub stored_bytes: u32,
    /// Its bytes decompressed.
    pub raw_bytes: u32,
    /// Its batches.
    pub batch_count: u32,
    /// Checksum of the stored bytes (see [`block_crc`]).
    pub crc: u32,
}

/// What a sealed segment holds, and where it stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedFooter {
    /// The cluster.
    pub cluster: ClusterId,
    /// The segment.
    pub number: u64,
    /// Size of every segment of the cluster's log.
    pub segment_bytes: u64,
    /// Where the index begins in the file.
    pub index_offset: u64,
    /// Entries of the index.
    pub block_count: u32,
    /// Checksum of the index (see [`index_crc`]).
    pub index_crc: u32,
    /// Batches in the segment.
    pub batch_count: u64,
    /// Records in the segment.
    pub record_count: u64,
    /// Bytes of all batches without padding.
    pub raw_bytes: u64,
    /// The history before its first batch.
    pub base: Tail,
    /// The history behind its last batch.
    pub end: Tail,
    /// Time of the last record up to its end.
    pub last_timestamp: Timestamp,
    /// The highest confirmed lsn in any header up to its end.
    pub confirmed: Lsn,
}

/// Why bytes are not the segment part that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Fewer bytes than the part needs.
    #[error("{have} bytes where the segment's {part} needs {need}")]
    Short {
        /// Which part.
        part: &'static str,
        /// Bytes there.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
    /// Not such a part.
    #[error("the segment's {part} starts with {found:02x?}, not with {expected:02x?}")]
    Magic {
        /// Which part.
        part: &'static str,
        /// As stored.
        found: [u8; 4],
        /// As it should be.
        expected: [u8; 4],
    },
    /// Damaged.
    #[error("checksum of the segment's {part} is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Which part.
        part: &'static str,
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A version that this code does not read.
    #[error(
        "segment version {0} is newer than this program, which reads up to {SEGMENT_VERSION}: use a newer kanjo"
    )]
    Version(u16),
    /// A field with a value that it cannot have.
    #[error("segment field {field} is {value}, which it cannot be")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// A segment of another cluster.
    #[error("segment belongs to cluster {found}, this log to {expected}")]
    Cluster {
        /// The segment's.
        found: ClusterId,
        /// The log's.
        expected: ClusterId,
    },
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HeaderRow {
    magic: [u8; 4],
    version: U16,
    form: u8,
    zero: u8,
    cluster: U128,
    number: U64,
    segment_bytes: U64,
    reserved: [u8; SEGMENT_HEADER_BYTES - 44],
    crc: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryRow {
    first_lsn: U64,
    offset: U64,
    stored_bytes: U32,
    raw_bytes: U32,
    batch_count: U32,
    crc: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FooterRow {
    magic: [u8; 4],
    version: U16,
    zero: U16,
    cluster: U128,
    number: U64,
    segment_bytes: U64,
    index_offset: U64,
    block_count: U32,
    index_crc: U32,
    batch_count: U64,
    record_count: U64,
    raw_bytes: U64,
    base_epoch: U64,
    base_lsn: U64,
    base_chain: [u8; 32],
    end_epoch: U64,
    end_lsn: U64,
    end_chain: [u8; 32],
    last_timestamp: U64,
    confirmed: U64,
    reserved: [u8; 60],
    crc: U32,
}

const _: () = assert!(size_of::<HeaderRow>() == SEGMENT_HEADER_BYTES);
const _: () = assert!(size_of::<EntryRow>() == BLOCK_ENTRY_BYTES);
const _: () = assert!(size_of::<FooterRow>() == SEALED_FOOTER_BYTES);

impl SegmentHeader {
    /// The header page.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = HeaderRow {
            magic: SEGMENT_MAGIC,
            version: SEGMENT_VERSION.into(),
            form: self.form as u8,
            zero: 0,
            cluster: self.cluster.get().into(),
            number: self.number.into(),
            segment_bytes: self.segment_bytes.into(),
            reserved: [0; SEGMENT_HEADER_BYTES - 44],
            crc: 0.into(),
        };
        row.crc = crc_but_last_four(row.as_bytes()).into();
        row.as_bytes().to_vec()
    }

    /// Reads a header page from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let (row, _) = HeaderRow::ref_from_prefix(bytes).map_err(|_| SegmentError::Short {
            part: "header",
            have: bytes.len() as u64,
            need: SEGMENT_HEADER_BYTES as u64,
        })?;
        check_part("header", row.as_bytes(), SEGMENT_MAGIC, row.crc.get())?;
        check_version(row.version.get())?;
        check_segment_bytes(row.segment_bytes.get(), row.number.get())?;
        Ok(Self {
            cluster: ClusterId::new(row.cluster.get()),
            number: row.number.get(),
            segment_bytes: row.segment_bytes.get(),
            form: match row.form {
                0 => SegmentForm::Raw,
                1 => SegmentForm::Sealed,
                other => return Err(bad_field("form", other.into())),
            },
        })
    }

    /// Checks that a decoded header is the `expected` one.
    pub fn check(&self, expected: &Self) -> Result<(), SegmentError> {
        check_identity(
            (self.cluster, self.number, self.segment_bytes),
            (expected.cluster, expected.number, expected.segment_bytes),
        )?;
        if self.form != expected.form {
            return Err(bad_field("form", self.form as u64));
        }
        Ok(())
    }

    /// Lsn of the first byte of data.
    pub fn first_lsn(&self) -> Lsn {
        Lsn::new(self.number * self.segment_bytes)
    }
}

impl BlockEntry {
    /// Appends this entry to an index.
    pub fn encode(&self, index: &mut Vec<u8>) {
        let row = EntryRow {
            first_lsn: self.first_lsn.get().into(),
            offset: self.offset.into(),
            stored_bytes: self.stored_bytes.into(),
            raw_bytes: self.raw_bytes.into(),
            batch_count: self.batch_count.into(),
            crc: self.crc.into(),
        };
        index.extend_from_slice(row.as_bytes());
    }

    /// Checks the stored bytes of this block.
    pub fn check_block(
        &self,
        cluster: ClusterId,
        number: u64,
        stored: &[u8],
    ) -> Result<(), SegmentError> {
        let computed = block_crc(cluster, number, self.first_lsn, stored);
        if computed != self.crc {
            return Err(SegmentError::Checksum {
                part: "block",
                found: self.crc,
                computed,
            });
        }
        Ok(())
    }
}

impl SealedFooter {
    /// The footer's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = FooterRow {
            magic: FOOTER_MAGIC,
            version: SEGMENT_VERSION.into(),
            zero: 0.into(),
            cluster: self.cluster.get().into(),
            number: self.number.into(),
            segment_bytes: self.segment_bytes.into(),
            index_offset: self.index_offset.into(),
            block_count: self.block_count.into(),
            index_crc: self.index_crc.into(),
            batch_count: self.batch_count.into(),
            record_count: self.record_count.into(),
            raw_bytes: self.raw_bytes.into(),
            base_epoch: self.base.epoch.get().into(),
            base_lsn: self.base.lsn.get().into(),
            base_chain: *self.base.chain.bytes(),
            end_epoch: self.end.epoch.get().into(),
            end_lsn: self.end.lsn.get().into(),
            end_chain: *self.end.chain.bytes(),
            last_timestamp: self.last_timestamp.get().into(),
            confirmed: self.confirmed.get().into(),
            reserved: [0; 60],
            crc: 0.into(),
        };
        row.crc = crc_but_last_four(row.as_bytes()).into();
        row.as_bytes().to_vec()
    }

    /// Reads the footer from the last bytes of a file of `file_bytes`, and checks every bound
    /// that a reader relies on before it allocates.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, SegmentError> {
        let row = FooterRow::ref_from_bytes(bytes).map_err(|_| SegmentError::Short {
            part: "footer",
            have: bytes.len() as u64,
            need: SEALED_FOOTER_BYTES as u64,
        })?;
        check_part("footer", row.as_bytes(), FOOTER_MAGIC, row.crc.get())?;
        check_version(row.version.get())?;
        check_segment_bytes(row.segment_bytes.get(), row.number.get())?;
        let footer = Self {
            cluster: ClusterId::new(row.cluster.get()),
            number: row.number.get(),
            segment_bytes: row.segment_bytes.get(),
            index_offset: row.index_offset.get(),
            block_count: row.block_count.get(),
            index_crc: row.index_crc.get(),
            batch_count: row.batch_count.get(),
            record_count: row.record_count.get(),
            raw_bytes: row.raw_bytes.get(),
            base: Tail {
                epoch: Epoch::new(row.base_epoch.get()),
                lsn: Lsn::new(row.base_lsn.get()),
                chain: Chain::new(row.base_chain),
            },
            end: Tail {
                epoch: Epoch::new(row.end_epoch.get()),
                lsn: Lsn::new(row.end_lsn.get()),
                chain: Chain::new(row.end_chain),
            },
            last_timestamp: Timestamp::new(row.last_timestamp.get()),
            confirmed: Lsn::new(row.confirmed.get()),
        };
        footer.check_bounds(file_bytes)?;
        Ok(footer)
    }

    fn check_bounds(&self, file_bytes: u64) -> Result<(), SegmentError> {
        let blocks = u64::from(self.block_count);
        if blocks == 0 || blocks > self.segment_bytes / PAGE_BYTES {
            return Err(bad_field("block_count", blocks));
        }
        let behind_index = blocks * BLOCK_ENTRY_BYTES as u64 + SEALED_FOOTER_BYTES as u64;
        if self.index_offset < SEGMENT_HEADER_BYTES as u64
            || self.index_offset.checked_add(behind_index) != Some(file_bytes)
        {
            return Err(bad_field("index_offset", self.index_offset));
        }
        if self.base.lsn.get() != self.number * self.segment_bytes {
            return Err(bad_field("base_lsn", self.base.lsn.get()));
        }
        if self.end.lsn.get() != (self.number + 1) * self.segment_bytes {
            return Err(bad_field("end_lsn", self.end.lsn.get()));
        }
        Ok(())
    }

    /// Checks that this footer belongs to the file that starts with `header`.
    pub fn check(&self, header: &SegmentHeader) -> Result<(), SegmentError> {
        check_identity(
            (self.cluster, self.number, self.segment_bytes),
            (header.cluster, header.number, header.segment_bytes),
        )
    }

    /// Reads the index: its checksum, and that the blocks follow one another without a gap.
    pub fn decode_index(&self, bytes: &[u8]) -> Result<Vec<BlockEntry>, SegmentError> {
        let need = self.block_count as usize * BLOCK_ENTRY_BYTES;
        if bytes.len() != need {
            return Err(SegmentError::Short {
                part: "index",
                have: bytes.len() as u64,
                need: need as u64,
            });
        }
        let computed = index_crc(self.cluster, self.number, bytes);
        if computed != self.index_crc {
            return Err(SegmentError::Checksum {
                part: "index",
                found: self.index_crc,
                computed,
            });
        }
        let mut entries = Vec::with_capacity(self.block_count as usize);
        let (mut offset, mut lsn) = (SEGMENT_HEADER_BYTES as u64, None);
        for row in <[EntryRow]>::ref_from_bytes(bytes).unwrap_or(&[]) {
            let entry = BlockEntry {
                first_lsn: Lsn::new(row.first_lsn.get()),
                offset: row.offset.get(),
                stored_bytes: row.stored_bytes.get(),
                raw_bytes: row.raw_bytes.get(),
                batch_count: row.batch_count.get(),
                crc: row.crc.get(),
            };
            self.check_entry(&entry, offset, lsn)?;
            offset += u64::from(entry.stored_bytes);
            lsn = Some(entry.first_lsn);
            entries.push(entry);
        }
        if offset != self.index_offset {
            return Err(bad_field("index_offset", self.index_offset));
        }
        Ok(entries)
    }

    fn check_entry(
        &self,
        entry: &BlockEntry,
        offset: u64,
        before: Option<Lsn>,
    ) -> Result<(), SegmentError> {
        if entry.offset != offset {
            return Err(bad_field("offset", entry.offset));
        }
        let in_order = match before {
            None => entry.first_lsn == self.base.lsn,
            Some(before) => entry.first_lsn > before && entry.first_lsn < self.end.lsn,
        };
        if !in_order || !entry.first_lsn.get().is_multiple_of(PAGE_BYTES) {
            return Err(bad_field("first_lsn", entry.first_lsn.get()));
        }
        if entry.raw_bytes == 0 || entry.raw_bytes as usize > SEALED_BLOCK_BYTES_MAX {
            return Err(bad_field("raw_bytes", entry.raw_bytes.into()));
        }
        if entry.stored_bytes == 0 || entry.stored_bytes as usize > SEALED_BLOCK_STORED_MAX {
            return Err(bad_field("stored_bytes", entry.stored_bytes.into()));
        }
        Ok(())
    }
}

/// Checksum of a block's stored bytes, seeded with its place.
pub fn block_crc(cluster: ClusterId, number: u64, first_lsn: Lsn, stored: &[u8]) -> u32 {
    seeded_crc(cluster, number, first_lsn.get(), stored)
}

/// Checksum of an index, seeded with its place.
pub fn index_crc(cluster: ClusterId, number: u64, index: &[u8]) -> u32 {
    seeded_crc(cluster, number, u64::MAX, index)
}

fn seeded_crc(cluster: ClusterId, number: u64, position: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&cluster.get().to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn crc_but_last_four(bytes: &[u8]) -> u32 {
    crc32fast::hash(&bytes[..bytes.len() - 4])
}

fn check_part(
    part: &'static str,
    bytes: &[u8],
    magic: [u8; 4],
    found: u32,
) -> Result<(), SegmentError> {
    if bytes[..4] != magic {
        let mut start = [0; 4];
        start.copy_from_slice(&bytes[..4]);
        return Err(SegmentError::Magic {
            part,
            found: start,
            expected: magic,
        });
    }
    let computed = crc_but_last_four(bytes);
    if found != computed {
        return Err(SegmentError::Checksum {
            part,
            found,
            computed,
        });
    }
    Ok(())
}

fn check_version(version: u16) -> Result<(), SegmentError> {
    if version != SEGMENT_VERSION {
        return Err(SegmentError::Version(version));
    }
    Ok(())
}

fn check_segment_bytes(segment_bytes: u64, number: u64) -> Result<(), SegmentError> {
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes)
        || !segment_bytes.is_multiple_of(PAGE_BYTES)
    {
        return Err(bad_field("segment_bytes", segment_bytes));
    }
    // The end of the segment is an lsn too.
    if number
        .checked_add(1)
        .and_then(|next| next.checked_mul(segment_bytes))
        .is_none()
    {
        return Err(bad_field("number", number));
    }
    Ok(())
}

fn check_identity(
    found: (ClusterId, u64, u64),
    expected: (ClusterId, u64, u64),
) -> Result<(), SegmentError> {
    if found.0 != expected.0 {
        return Err(SegmentError::Cluster {
            found: found.0,
            expected: expected.0,
        });
    }
    if found.1 != expected.1 {
        return Err(bad_field("number", found.1));
    }
    if found.2 != expected.2 {
        return Err(bad_field("segment_bytes", found.2));
    }
    Ok(())
}

fn bad_field(field: &'static str, value: u64) -> SegmentError {
    SegmentError::Field { field, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT_BYTES: u64 = 2 << 20;

    fn header() -> SegmentHeader {
        SegmentHeader {
            cluster: ClusterId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            number: 3,
            segment_bytes: SEGMENT_BYTES,
            form: SegmentForm::Sealed,
        }
    }

    fn entries() -> Vec<BlockEntry> {
        let entry = |first_lsn, offset, stored_bytes, crc| BlockEntry {
            first_lsn: Lsn::new(3 * SEGMENT_BYTES + first_lsn),
            offset,
            stored_bytes,
            raw_bytes: 9000,
            batch_count: 2,
            crc,
        };
        vec![entry(0, 4096, 100, 7), entry(8192, 4196, 50, 8)]
    }

    fn sealed() -> (SealedFooter, Vec<u8>, u64) {
        let mut index = Vec::new();
        entries().iter().for_each(|e| e.encode(&mut index));
        let tail = |epoch, lsn, byte| Tail {
            epoch: Epoch::from_terms(1, epoch),
            lsn: Lsn::new(lsn),
            chain: Chain::new([byte; 32]),
        };
        let footer = SealedFooter {
            cluster: header().cluster,
            number: 3,
            segment_bytes: SEGMENT_BYTES,
            index_offset: 4246,
            block_count: 2,
            index_crc: index_crc(header().cluster, 3, &index),
            batch_count: 4,
            record_count: 40,
            raw_bytes: 18000,
            base: tail(1, 3 * SEGMENT_BYTES, 0xaa),
            end: tail(2, 4 * SEGMENT_BYTES, 0xbb),
            last_timestamp: Timestamp::new(12_345),
            confirmed: Lsn::new(3 * SEGMENT_BYTES + 4096),
        };
        let file_bytes = 4246 + index.len() as u64 + SEALED_FOOTER_BYTES as u64;
        (footer, index, file_bytes)
    }

    fn flips(bytes: &[u8], mut read: impl FnMut(&[u8]) -> bool) {
        let mut bad = bytes.to_vec();
        for at in 0..bad.len() {
            for bit in [0, 7] {
                bad[at] ^= 1 << bit;
                assert!(!read(&bad), "bit {bit} of byte {at} flipped unseen");
                bad[at] ^= 1 << bit;
            }
        }
    }

    #[test]
    fn parts_read_back_as_written() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
        let (footer, index, file_bytes) = sealed();
        assert_eq!(
            SealedFooter::decode(&footer.encode(), file_bytes),
            Ok(footer)
        );
        assert_eq!(footer.check(&header()), Ok(()));
        assert_eq!(footer.decode_index(&index), Ok(entries()));
    }

    /// The fixture was made from the table above by other code, and is never made again.
    #[test]
    fn version_1_is_what_it_always_was() {
        let golden = include_bytes!("../fixtures/segment-v1.bin");
        let (footer, index, _) = sealed();
        let mut bytes = header().encode();
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&footer.encode());
        assert!(bytes[..] == golden[..]);
    }

    #[test]
    fn every_flipped_byte_is_found() {
        flips(&header().encode(), |b| SegmentHeader::decode(b).is_ok());
        let (footer, index, file_bytes) = sealed();
        flips(&footer.encode(), |b| {
            SealedFooter::decode(b, file_bytes).is_ok()
        });
        flips(&index, |b| footer.decode_index(b).is_ok());
        let block = [5u8; 100];
        let entry = BlockEntry {
            crc: block_crc(header().cluster, 3, entries()[0].first_lsn, &block),
            ..entries()[0]
        };
        flips(&block, |b| {
            entry.check_block(header().cluster, 3, b).is_ok()
        });
    }

    #[test]
    fn a_part_of_another_place_is_refused() {
        let (footer, index, file_bytes) = sealed();
        let stranger = SegmentHeader {
            cluster: ClusterId::new(9),
            ..header()
        };
        assert!(matches!(
            footer.check(&stranger),
            Err(SegmentError::Cluster { .. })
        ));
        let neighbour = SegmentHeader {
            number: 4,
            ..header()
        };
        assert!(footer.check(&neighbour).is_err());
        assert!(header().check(&neighbour).is_err());
        let moved = SealedFooter {
            number: 4,
            ..footer
        };
        assert!(moved.decode_index(&index).is_err());
        assert!(SealedFooter::decode(&footer.encode(), file_bytes + 1).is_err());
        assert!(SealedFooter::decode(&footer.encode()[1..], file_bytes).is_err());
        assert!(SegmentHeader::decode(&header().encode()[..4095]).is_err());
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut page = header().encode();
        page[4] = 2;
        let crc = crc_but_last_four(&page);
        page[SEGMENT_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&page), Err(SegmentError::Version(2)));
    }

    #[test]
    fn bounds_are_checked_before_anything_is_allocated() {
        let (footer, _, file_bytes) = sealed();
        for bad in [
            SealedFooter {
                block_count: u32::MAX,
                ..footer
            },
            SealedFooter {
                block_count: 0,
                ..footer
            },
            SealedFooter {
                index_offset: u64::MAX,
                ..footer
            },
            SealedFooter {
                number: u64::MAX,
                ..footer
            },
        ] {
            assert!(matches!(
                SealedFooter::decode(&bad.encode(), file_bytes),
                Err(SegmentError::Field { .. })
            ));
        }
        let mut index = Vec::new();
        for mut entry in entries() {
            entry.raw_bytes = u32::MAX;
            entry.encode(&mut index);
        }
        let huge = SealedFooter {
            index_crc: index_crc(footer.cluster, footer.number, &index),
            ..footer
        };
        assert!(matches!(
            huge.decode_index(&index),
            Err(SegmentError::Field {
                field: "raw_bytes",
                ..
            })
        ));
    }
}
