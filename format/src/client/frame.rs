//! A frame as bytes: length, header, checksum.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::*;
use crate::limits::CLIENT_FRAME_BYTES_MAX;

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
