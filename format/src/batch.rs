//! The batch: unit of append, compression, shipping, sync and ack.
//!
//! ```text
//!   0 magic "KNJB"   4 version   6 flags      8 cluster (16)
//!  24 epoch         32 lsn      40 payload_bytes  44 record_count
//!  48 timestamp     56 confirmed 64 prev_chain (32)
//!  96 reserved (24) 120 payload_crc 124 header_crc
//! 128 payload, then zeros to the next multiple of 4096
//! ```
//!
//! Both checksums are CRC-32 seeded with cluster, epoch and lsn, so bytes from another place or
//! time never verify, nor do zeros. Check order when reading: length bound, header checksum,
//! version, place, payload, chain.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::columns::Groups;
use crate::ids::{Chain, ClusterId, Epoch, Lsn, Timestamp};
use crate::limits::{BATCH_HEADER_BYTES, BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, PAGE_BYTES};

/// First bytes of every batch.
pub const BATCH_MAGIC: [u8; 4] = *b"KNJB";
/// Highest version of header and payload that this code writes and reads.
///
/// Version 2 has more record kinds and is otherwise the same. A batch gets the lowest version that
/// knows all its kinds, so that what needs nothing new stays as it was.
pub const BATCH_VERSION: u16 = 2;
/// Lowest version that this code reads.
pub const BATCH_VERSION_MIN: u16 = 1;
/// Header flag: nothing follows in this segment; the next batch starts the next segment.
pub const FLAG_SEGMENT_END: u16 = 1;

/// The header of a batch, on disk and on the wire.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BatchHeader {
    magic: [u8; 4],
    version: U16,
    flags: U16,
    cluster: U128,
    epoch: U64,
    lsn: U64,
    payload_bytes: U32,
    record_count: U32,
    timestamp: U64,
    confirmed: U64,
    prev_chain: [u8; 32],
    reserved: [u8; 24],
    payload_crc: U32,
    header_crc: U32,
}

const _: () = assert!(size_of::<BatchHeader>() == BATCH_HEADER_BYTES);
const _: () = assert!(
    BATCH_HEADER_BYTES as u64 + BATCH_PAYLOAD_BYTES_MAX as u64 + 2 * PAGE_BYTES
        <= crate::limits::SEGMENT_BYTES_MIN
);

/// The lowest version that knows every record kind of a payload.
fn payload_version(payload: &[u8], record_count: u32) -> u16 {
    let groups = Groups::new(payload, record_count).map_while(Result::ok);
    let versions = groups.map(|group| group.kind.batch_version_min());
    versions.max().unwrap_or(BATCH_VERSION_MIN)
}

/// What a batch's writer chooses; lengths and checksums follow from the payload.
#[derive(Clone, Copy, Debug)]
pub struct BatchFields {
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// Epoch of the writer.
    pub epoch: Epoch,
    /// Where the batch will stand.
    pub lsn: Lsn,
    /// [`FLAG_SEGMENT_END`] or 0.
    pub flags: u16,
    /// Records in the payload.
    pub record_count: u32,
    /// Time of the first record; record `i` happened `i` nanoseconds later.
    pub timestamp: Timestamp,
    /// The committed lsn that the writer knows.
    pub confirmed: Lsn,
    /// Chain value before this batch.
    pub prev_chain: Chain,
}

/// Where a reader stands: what the next batch must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Cluster of the log.
    pub cluster: ClusterId,
    /// Where the batch stands.
    pub lsn: Lsn,
    /// Epoch of the batch before; epochs never fall.
    pub epoch: Epoch,
    /// Chain value before the batch.
    pub chain: Chain,
}

/// Why bytes are not the batch that belongs in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the header promises.
    #[error("{have} bytes where a batch needs {need}")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The header is all zeros: nothing was written here.
    #[error("no batch here: the header is all zeros")]
    Absent,
    /// A length or count over its limit.
    #[error("{field} is {value}, over the limit of {max}")]
    Length {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
        /// The most it may say.
        max: u64,
    },
    /// The header's checksum does not match its bytes.
    #[error("header checksum is {found:08x}, its bytes give {computed:08x}")]
    HeaderChecksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A version that this code does not read.
    #[error(
        "batch version {0} is newer than this program, which reads up to {BATCH_VERSION}: use a newer kanjo"
    )]
    Version(u16),
    /// A batch of another cluster.
    #[error("batch belongs to cluster {found}, this log to {expected}")]
    Cluster {
        /// The batch's.
        found: ClusterId,
        /// The log's.
        expected: ClusterId,
    },
    /// A batch of another position.
    #[error("batch belongs at lsn {found}, not at {expected}")]
    Place {
        /// The batch's.
        found: Lsn,
        /// Where it was read.
        expected: Lsn,
    },
    /// The epoch is lower than that of the batch before.
    #[error("batch is of epoch {found}, lower than {before} before it")]
    EpochFell {
        /// The batch's.
        found: Epoch,
        /// The one before.
        before: Epoch,
    },
    /// The payload's checksum does not match its bytes.
    #[error("payload checksum is {found:08x}, its bytes give {computed:08x}")]
    PayloadChecksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// The batch continues another history.
    #[error("batch continues chain {found:?}, the log is at {expected:?}")]
    Chain {
        /// The batch's.
        found: Chain,
        /// The log's.
        expected: Chain,
    },
}

impl BatchHeader {
    /// The header for a payload. Panics if the payload is over the limits or the lsn is not on
    /// a page, which only a bug can cause.
    pub fn build(fields: &BatchFields, payload: &[u8]) -> Self {
        assert!(
            payload.len() <= BATCH_PAYLOAD_BYTES_MAX,
            "payload over the limit"
        );
        assert!(
            fields.record_count as usize <= BATCH_RECORDS_MAX,
            "too many records"
        );
        assert!(
            fields.lsn.get().is_multiple_of(PAGE_BYTES),
            "lsn off the page"
        );
        let seed = checksum_seed(fields.cluster, fields.epoch, fields.lsn);
        let mut header = Self {
            magic: BATCH_MAGIC,
            version: payload_version(payload, fields.record_count).into(),
            flags: fields.flags.into(),
            cluster: fields.cluster.get().into(),
            epoch: fields.epoch.get().into(),
            lsn: fields.lsn.get().into(),
            payload_bytes: (payload.len() as u32).into(),
            record_count: fields.record_count.into(),
            timestamp: fields.timestamp.get().into(),
            confirmed: fields.confirmed.get().into(),
            prev_chain: *fields.prev_chain.bytes(),
            reserved: [0; 24],
            payload_crc: checksum(&seed, payload).into(),
            header_crc: 0.into(),
        };
        header.header_crc = header.computed_crc().into();
        header
    }

    /// Reads a header from the front of `bytes`: length bound, header checksum, version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else {
            return Err(BatchError::Short {
                have: bytes.len(),
                need: BATCH_HEADER_BYTES,
            });
        };
        if bytes[..BATCH_HEADER_BYTES].iter().all(|&b| b == 0) {
            return Err(BatchError::Absent);
        }
        within(
            "payload_bytes",
            u64::from(header.payload_bytes.get()),
            BATCH_PAYLOAD_BYTES_MAX as u64,
        )?;
        within(
            "record_count",
            u64::from(header.record_count.get()),
            BATCH_RECORDS_MAX as u64,
        )?;
        let computed = header.computed_crc();
        if header.header_crc.get() != computed || header.magic != BATCH_MAGIC {
            return Err(BatchError::HeaderChecksum {
                found: header.header_crc.get(),
                computed,
            });
        }
        if !(BATCH_VERSION_MIN..=BATCH_VERSION).contains(&header.version.get()) {
            return Err(BatchError::Version(header.version.get()));
        }
        Ok(header)
    }

    /// Checks that this header belongs in `place` (not its chain).
    pub fn check_place(&self, place: &BatchPlace) -> Result<(), BatchError> {
        if self.cluster() != place.cluster {
            return Err(BatchError::Cluster {
                found: self.cluster(),
                expected: place.cluster,
            });
        }
        if self.lsn() != place.lsn {
            return Err(BatchError::Place {
                found: self.lsn(),
                expected: place.lsn,
            });
        }
        if self.epoch() < place.epoch {
            return Err(BatchError::EpochFell {
                found: self.epoch(),
                before: place.epoch,
            });
        }
        Ok(())
    }

    /// Checks the payload's length and checksum.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), BatchError> {
        if payload.len() != self.payload_bytes() {
            return Err(BatchError::Short {
                have: payload.len(),
                need: self.payload_bytes(),
            });
        }
        let computed = checksum(
            &checksum_seed(self.cluster(), self.epoch(), self.lsn()),
            payload,
        );
        if computed != self.payload_crc.get() {
            return Err(BatchError::PayloadChecksum {
                found: self.payload_crc.get(),
                computed,
            });
        }
        Ok(())
    }

    /// Checks that this batch continues the history at `place`.
    pub fn check_chain(&self, place: &BatchPlace) -> Result<(), BatchError> {
        if self.prev_chain() != place.chain {
            return Err(BatchError::Chain {
                found: self.prev_chain(),
                expected: place.chain,
            });
        }
        Ok(())
    }

    /// Place, payload and chain in the order that reading demands.
    pub fn check(&self, place: &BatchPlace, payload: &[u8]) -> Result<(), BatchError> {
        self.check_place(place)?;
        self.check_payload(payload)?;
        self.check_chain(place)
    }

    /// Chain value behind this batch.
    pub fn chain_after(&self, payload: &[u8]) -> Chain {
        self.prev_chain().extend(self.as_bytes(), payload)
    }

    /// Where the next batch starts, in a log of segments of `segment_bytes`.
    pub fn end(&self, segment_bytes: u64) -> Lsn {
        if self.is_segment_end() {
            let next = self.lsn().get() / segment_bytes + 1;
            return Lsn::new(next * segment_bytes);
        }
        self.lsn().advance(stored_bytes(self.payload_bytes()))
    }

    /// The place of the batch behind this one.
    pub fn next_place(&self, payload: &[u8], segment_bytes: u64) -> BatchPlace {
        BatchPlace {
            cluster: self.cluster(),
            lsn: self.end(segment_bytes),
            epoch: self.epoch(),
            chain: self.chain_after(payload),
        }
    }

    /// Cluster of the log.
    pub fn cluster(&self) -> ClusterId {
        ClusterId::new(self.cluster.get())
    }

    /// Epoch of the writer.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.get())
    }

    /// Where the batch stands.
    pub fn lsn(&self) -> Lsn {
        Lsn::new(self.lsn.get())
    }

    /// Bytes of the payload, without padding.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes.get() as usize
    }

    /// Records in the payload.
    pub fn record_count(&self) -> u32 {
        self.record_count.get()
    }

    /// Time of the first record.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.timestamp.get())
    }

    /// Time of the last record; that of the batch itself if it has none.
    pub fn last_timestamp(&self) -> Timestamp {
        let last = u64::from(self.record_count().saturating_sub(1));
        Timestamp::new(self.timestamp.get().saturating_add(last))
    }

    /// The committed lsn that the writer knew.
    pub fn confirmed(&self) -> Lsn {
        Lsn::new(self.confirmed.get())
    }

    /// Chain value before this batch.
    pub fn prev_chain(&self) -> Chain {
        Chain::new(self.prev_chain)
    }

    /// Whether the next batch starts the next segment.
    pub fn is_segment_end(&self) -> bool {
        self.flags.get() & FLAG_SEGMENT_END != 0
    }

    /// The flags as stored.
    pub fn flags(&self) -> u16 {
        self.flags.get()
    }

    /// The payload's checksum as stored.
    pub fn payload_crc(&self) -> u32 {
        self.payload_crc.get()
    }

    /// The header's own checksum as stored.
    pub fn header_crc(&self) -> u32 {
        self.header_crc.get()
    }

    fn computed_crc(&self) -> u32 {
        let seed = checksum_seed(self.cluster(), self.epoch(), self.lsn());
        checksum(&seed, &self.as_bytes()[..BATCH_HEADER_BYTES - 4])
    }
}

/// A whole batch in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<P> {
    /// Its header.
    pub header: BatchHeader,
    /// Its payload, without padding.
    pub payload: P,
}

impl<P: AsRef<[u8]>> Batch<P> {
    /// Chain value behind this batch.
    pub fn chain_after(&self) -> Chain {
        self.header.chain_after(self.payload.as_ref())
    }
}

/// Bytes that a batch of this payload takes in the log, padding included.
pub const fn stored_bytes(payload_bytes: usize) -> u64 {
    ((BATCH_HEADER_BYTES + payload_bytes) as u64).next_multiple_of(PAGE_BYTES)
}

fn checksum_seed(cluster: ClusterId, epoch: Epoch, lsn: Lsn) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&cluster.get().to_le_bytes());
    seed[16..24].copy_from_slice(&epoch.get().to_le_bytes());
    seed[24..].copy_from_slice(&lsn.get().to_le_bytes());
    seed
}

fn checksum(seed: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(seed);
    hasher.update(bytes);
    hasher.finalize()
}

fn within(field: &'static str, value: u64, max: u64) -> Result<(), BatchError> {
    if value > max {
        return Err(BatchError::Length { field, value, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(payload: &[u8]) -> (BatchHeader, BatchPlace) {
        let cluster = ClusterId::new(7);
        let place = BatchPlace {
            cluster,
            lsn: Lsn::new(8192),
            epoch: Epoch::from_terms(1, 1),
            chain: Chain::genesis(cluster),
        };
        let fields = BatchFields {
            cluster,
            epoch: Epoch::from_terms(1, 2),
            lsn: place.lsn,
            flags: 0,
            record_count: 1,
            timestamp: Timestamp::new(5),
            confirmed: Lsn::new(4096),
            prev_chain: place.chain,
        };
        (BatchHeader::build(&fields, payload), place)
    }

    #[test]
    fn a_batch_verifies_in_its_place_and_nowhere_else() {
        let payload = b"twelve bytes";
        let (header, place) = sample(payload);
        let read = BatchHeader::decode(header.as_bytes()).unwrap();
        assert_eq!(read.check(&place, payload), Ok(()));
        let elsewhere = BatchPlace {
            lsn: Lsn::new(4096),
            ..place
        };
        assert!(matches!(
            read.check(&elsewhere, payload),
            Err(BatchError::Place { .. })
        ));
        let stranger = BatchPlace {
            cluster: ClusterId::new(8),
            ..place
        };
        assert!(matches!(
            read.check(&stranger, payload),
            Err(BatchError::Cluster { .. })
        ));
        let later = BatchPlace {
            epoch: Epoch::from_terms(2, 1),
            ..place
        };
        assert!(matches!(
            read.check(&later, payload),
            Err(BatchError::EpochFell { .. })
        ));
        let forked = BatchPlace {
            chain: Chain::default(),
            ..place
        };
        assert!(matches!(
            read.check(&forked, payload),
            Err(BatchError::Chain { .. })
        ));
    }

    #[test]
    fn every_flipped_bit_of_a_batch_is_found() {
        let payload = b"twelve bytes";
        let (header, place) = sample(payload);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(payload);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let verdict =
                BatchHeader::decode(&bad).and_then(|h| h.check(&place, &bad[BATCH_HEADER_BYTES..]));
            assert!(verdict.is_err(), "bit {bit} flipped unseen");
        }
    }

    #[test]
    fn zeros_are_no_batch() {
        assert_eq!(BatchHeader::decode(&[0; 4096]), Err(BatchError::Absent));
    }

    #[test]
    fn a_segment_end_skips_to_the_next_segment() {
        let (header, _) = sample(b"x");
        assert_eq!(header.end(1 << 20), Lsn::new(12288));
        let fields = BatchFields {
            cluster: header.cluster(),
            epoch: header.epoch(),
            lsn: header.lsn(),
            flags: FLAG_SEGMENT_END,
            record_count: 0,
            timestamp: header.timestamp(),
            confirmed: header.confirmed(),
            prev_chain: header.prev_chain(),
        };
        assert_eq!(
            BatchHeader::build(&fields, b"").end(1 << 20),
            Lsn::new(1 << 20)
        );
    }
}
