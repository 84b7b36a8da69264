//! Batches to frames and back: compression, and the bound on what it may unfold to.
//!
//! A batch is packed once and the same bytes go to every replica. The packed form never takes
//! more bytes than header and payload did: what does not shrink travels raw, and the frame's
//! fixed part is smaller than the batch header. Contexts are reused from batch to batch.

use kanjo_format::limits::BATCH_HEADER_BYTES;
use kanjo_format::replication::{
    BATCH_FRAME_OVERHEAD_BYTES, Body, Encoding, Frame, RebuildError, WireBatch,
};
use kanjo_format::{BatchHeader, BatchPlace, Epoch};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// Version 1, frozen; `examples/train_dictionary.rs` shows how it was made.
const DICTIONARY_1: &[u8] = include_bytes!("../dictionary/v1.bin");
/// Cheapest level: planes leave `zstd` little to find beyond what level 1 finds.
const LEVEL: i32 = 1;
/// Payloads up to here, of one to a few transfers, travel raw: packing one takes longer on the way
/// of its commit than the 23 bytes that it would save.
const RAW_PAYLOAD_BYTES_MAX: usize = 128;
/// Payloads up to here take the dictionary; larger ones bring their own statistics.
const DICTIONARY_PAYLOAD_BYTES_MAX: usize = 4096;
/// So much of a small payload has to go, or the next few travel raw: their planes hold little but
/// random bits, and a commit of some dozen transfers waits longer for packing than for those bytes.
const WORTH_ONE_IN: usize = 8;
/// How many small payloads travel raw before one is tried again.
const RAW_AFTER_VAIN: u32 = 15;

const _: () = assert!(BATCH_FRAME_OVERHEAD_BYTES <= BATCH_HEADER_BYTES);

/// Why a batch that arrived cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The body does not unfold to what the batch says.
    #[error("batch at lsn {lsn} does not unpack to the {payload_bytes} bytes that it promises")]
    Packed {
        /// Where.
        lsn: kanjo_format::Lsn,
        /// What was promised.
        payload_bytes: u32,
    },
    /// It is not the batch that belongs here.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Packs batches for the wire.
pub struct Packer {
    plain: Compressor<'static>,
    dictionary: Compressor<'static>,
    body: Vec<u8>,
    /// Small payloads that travel raw from here on, since one before them hardly shrank.
    raw_for: u32,
    /// Of at most so many bytes: a small one does not speak for those much larger.
    raw_up_to: usize,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// A packer with its contexts allocated.
    pub fn new() -> Self {
        let plain = Compressor::new(LEVEL).expect("zstd takes level 1");
        let dictionary = Compressor::with_dictionary(LEVEL, DICTIONARY_1)
            .expect("the committed dictionary loads");
        let mut packer = Self {
            plain,
            dictionary,
            body: Vec::new(),
            raw_for: 0,
            raw_up_to: 0,
        };
        for compressor in [&mut packer.plain, &mut packer.dictionary] {
            // The batch says both, so the `zstd` frame need not.
            for parameter in [
                CParameter::ContentSizeFlag(false),
                CParameter::DictIdFlag(false),
                CParameter::ChecksumFlag(false),
            ] {
                compressor
                    .set_parameter(parameter)
                    .expect("zstd takes its frame flags");
            }
        }
        packer
    }

    /// Appends one whole frame, its length in front, as a sender of `epoch` sends it.
    pub fn pack(&mut self, epoch: Epoch, header: &BatchHeader, payload: &[u8], out: &mut Vec<u8>) {
        assert_eq!(
            header.payload_bytes(),
            payload.len(),
            "a batch is packed with its own payload"
        );
        let encoding = self.compress(payload);
        let body = match encoding {
            Encoding::Raw => payload,
            Encoding::Zstd | Encoding::ZstdDictionary1 => &self.body,
        };
        let body = Body::Batch(WireBatch::new(header, encoding, body));
        Frame { epoch, body }.encode(out);
    }

    /// Compresses into `self.body`; `Raw` if that does not make it smaller.
    fn compress(&mut self, payload: &[u8]) -> Encoding {
        if payload.len() <= RAW_PAYLOAD_BYTES_MAX {
            return Encoding::Raw;
        }
        let is_small = payload.len() <= DICTIONARY_PAYLOAD_BYTES_MAX;
        if payload.len() <= self.raw_up_to && self.raw_for > 0 {
            self.raw_for -= 1;
            return Encoding::Raw;
        }
        let (compressor, encoding) = if is_small {
            (&mut self.dictionary, Encoding::ZstdDictionary1)
        } else {
            (&mut self.plain, Encoding::Zstd)
        };
        self.body.clear();
        self.body
            .reserve(zstd::zstd_safe::compress_bound(payload.len()));
        let packed = compressor.compress_to_buffer(payload, &mut self.body);
        let bytes = packed.unwrap_or(payload.len());
        if is_small && bytes > payload.len() - payload.len() / WORTH_ONE_IN {
            self.raw_for = RAW_AFTER_VAIN;
            self.raw_up_to = (2 * payload.len()).min(DICTIONARY_PAYLOAD_BYTES_MAX);
        }
        match bytes < payload.len() {
            true => encoding,
            false => Encoding::Raw,
        }
    }
}

/// Unpacks batches from the wire.
pub struct Unpacker {
    plain: Decompressor<'static>,
    dictionary: Decompressor<'static>,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker {
    /// An unpacker with its contexts allocated.
    pub fn new() -> Self {
        Self {
            plain: Decompressor::new().expect("zstd makes a context"),
            dictionary: Decompressor::with_dictionary(DICTIONARY_1)
                .expect("the committed dictionary loads"),
        }
    }

    /// Unfolds the payload into `out` (cleared first) and rebuilds the exact header, if the
    /// batch belongs in `place`. Allocates no more than the promised size, which the frame's
    /// decoder has bounded.
    pub fn unpack(
        &mut self,
        batch: &WireBatch<'_>,
        place: &BatchPlace,
        out: &mut Vec<u8>,
    ) -> Result<BatchHeader, UnpackError> {
        // Place first: a batch that does not belong here is not worth unfolding.
        batch.check_place(place)?;
        self.unfold(batch, out)?;
        Ok(batch.rebuild(place, out)?)
    }

    fn unfold(&mut self, batch: &WireBatch<'_>, out: &mut Vec<u8>) -> Result<(), UnpackError> {
        let promised = batch.payload_bytes as usize;
        out.clear();
        let decompressor = match batch.encoding {
            Encoding::Raw => {
                out.extend_from_slice(batch.body);
                return Ok(());
            }
            Encoding::Zstd => &mut self.plain,
            Encoding::ZstdDictionary1 => &mut self.dictionary,
        };
        out.reserve_exact(promised);
        match decompressor.decompress_to_buffer(batch.body, out) {
            Ok(bytes) if bytes == promised => Ok(()),
            _ => Err(UnpackError::Packed {
                lsn: batch.lsn,
                payload_bytes: batch.payload_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
