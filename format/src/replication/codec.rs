//! The envelope of every frame: kinds, header, checksum.

use super::decode::{decode_body, field};
use super::encode::encode_body;
use super::rows::*;
use super::*;

pub(super) const HELLO: u8 = 1;
pub(super) const WELCOME: u8 = 2;
pub(super) const REFUSED: u8 = 3;
pub(super) const SEAL: u8 = 4;
pub(super) const GRANTED: u8 = 5;
pub(super) const FETCH: u8 = 6;
pub(super) const FETCH_END: u8 = 7;
pub(super) const FOLLOW: u8 = 8;
pub(super) const FOLLOWING: u8 = 9;
pub(super) const BATCH: u8 = 10;
pub(super) const COMMITTED: u8 = 11;
pub(super) const READ_CHECK: u8 = 12;
pub(super) const READ_OK: u8 = 13;
pub(super) const MARK: u8 = 14;
pub(super) const MARKED: u8 = 15;
pub(super) const ACK: u8 = 16;
pub(super) const APPLIED: u8 = 17;
pub(super) const PING: u8 = 18;
pub(super) const PONG: u8 = 19;
pub(super) const CHUNK: u8 = 20;
pub(super) const STORED: u8 = 21;

pub(super) const FILE_CHECKPOINT: u8 = 1;
pub(super) const FILE_SEGMENT: u8 = 2;

impl<'a> Frame<'a> {
    /// Appends the frame, its length in front. Panics over the frame limit, which only a bug
    /// can cause.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let header_at = start + REPLICATION_LENGTH_BYTES;
        let body_at = header_at + REPLICATION_HEADER_BYTES;
        out.resize(body_at, 0);
        let kind = encode_body(&self.body, out);
        let length = out.len() - header_at;
        assert!(
            length <= REPLICATION_FRAME_BYTES_MAX,
            "frame over the limit"
        );
        let mut header = HeaderRow {
            magic: REPLICATION_MAGIC,
            kind,
            flags: 0,
            version: REPLICATION_VERSION.into(),
            epoch: self.epoch.get().into(),
            crc: 0.into(),
        };
        header.crc = frame_crc(&header, &out[body_at..]).into();
        out[start..header_at].copy_from_slice(&(length as u32).to_le_bytes());
        out[header_at..body_at].copy_from_slice(header.as_bytes());
    }

    /// Reads a frame without its length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > REPLICATION_FRAME_BYTES_MAX {
            return Err(FrameError::Long(bytes.len()));
        }
        let (header, body) =
            HeaderRow::read_from_prefix(bytes).map_err(|_| FrameError::Short(bytes.len()))?;
        if header.magic != REPLICATION_MAGIC {
            return Err(FrameError::Magic(header.magic));
        }
        let (found, computed) = (header.crc.get(), frame_crc(&header, body));
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let version = header.version.get();
        if !(REPLICATION_VERSION_MIN..=REPLICATION_VERSION).contains(&version) {
            return Err(FrameError::Version(version));
        }
        if header.flags != 0 {
            return Err(field("flags", header.flags));
        }
        Ok(Self {
            epoch: Epoch::new(header.epoch.get()),
            body: decode_body(header.kind, body)?,
        })
    }
}

/// Of a batch only the fixed part counts: its payload has a checksum of its own.
fn frame_crc(header: &HeaderRow, body: &[u8]) -> u32 {
    let covered = if header.kind == BATCH {
        &body[..body.len().min(size_of::<BatchRow>())]
    } else {
        body
    };
    let bytes = header.as_bytes();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..bytes.len() - 4]);
    hasher.update(covered);
    hasher.finalize()
}
