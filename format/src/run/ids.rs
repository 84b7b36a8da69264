//! Blocks of ids: sorted hashes by their differences, then the records behind them.
//!
//! ```text
//! 0 first hash (u64)  8 count (u16)  10 rice (u8)  11 width (u8)
//! 12 differences of the hashes, Rice-coded, to a whole byte
//!    ordinals, `width` bits each, to a whole byte
//! ```

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::bits::{BitReader, BitWriter, RICE_MAX, rice_parameter};
use super::{HASH_BITS, IDS_BLOCK_MAX, RunFormatError};

/// A hash and the record that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdEntry {
    /// Hash of the id.
    pub hash: u64,
    /// Which record of the run.
    pub ordinal: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Start {
    first: U64,
    count: U16,
    rice: u8,
    width: u8,
}

/// Appends a block. The entries must be sorted; 1 to [`IDS_BLOCK_MAX`] of them.
pub fn encode(out: &mut Vec<u8>, entries: &[IdEntry]) {
    assert!(
        (1..=IDS_BLOCK_MAX).contains(&entries.len()),
        "a block of ids has a bounded size"
    );
    let (first, last) = (entries[0].hash, entries[entries.len() - 1].hash);
    let ordinals = entries.iter().fold(0, |all, entry| all | entry.ordinal);
    let rice = rice_parameter(last - first, entries.len() - 1);
    let width = u64::BITS - ordinals.leading_zeros();
    let start = Start {
        first: first.into(),
        count: (entries.len() as u16).into(),
        rice,
        width: width as u8,
    };
    out.extend_from_slice(start.as_bytes());
    let mut bits = BitWriter::default();
    for pair in entries.windows(2) {
        bits.put_rice(out, pair[1].hash - pair[0].hash, rice);
    }
    bits.finish(out);
    let mut bits = BitWriter::default();
    for entry in entries {
        bits.put(out, entry.ordinal, width);
    }
    bits.finish(out);
}

/// A block that was read.
#[derive(Debug)]
pub struct IdsBlock<'a> {
    first: u64,
    count: usize,
    rice: u8,
    width: u32,
    hashes: &'a [u8],
    ordinals: &'a [u8],
}

impl<'a> IdsBlock<'a> {
    /// Reads a block as far as its lengths go.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RunFormatError> {
        let (start, rest) = Start::read_from_prefix(bytes).map_err(|_| bad("no start"))?;
        let (count, width) = (usize::from(start.count.get()), u32::from(start.width));
        if !(1..=IDS_BLOCK_MAX).contains(&count)
            || width > 40
            || start.rice > RICE_MAX
            || start.first.get() >> HASH_BITS != 0
        {
            return Err(bad("a start that no writer makes"));
        }
        let ordinal_bytes = (count * width as usize).div_ceil(8);
        let Some(hash_bytes) = rest.len().checked_sub(ordinal_bytes) else {
            return Err(bad("fewer bytes than its ordinals take"));
        };
        let (hashes, ordinals) = rest.split_at(hash_bytes);
        Ok(Self {
            first: start.first.get(),
            count,
            rice: start.rice,
            width,
            hashes,
            ordinals,
        })
    }

    /// The ordinals of that hash.
    pub fn find(&self, hash: u64, mut found: impl FnMut(u64)) {
        let mut bits = BitReader::new(self.hashes);
        let mut at = self.first;
        for n in 0..self.count {
            if n > 0 {
                at = at.saturating_add(bits.take_rice(self.rice));
            }
            if at >= hash {
                if at > hash {
                    return;
                }
                found(self.ordinal(n));
            }
        }
    }

    /// All entries, in order.
    pub fn entries(&self, out: &mut Vec<IdEntry>) -> Result<(), RunFormatError> {
        out.clear();
        let (mut bits, mut ordinals) = (BitReader::new(self.hashes), BitReader::new(self.ordinals));
        let mut hash = self.first;
        for n in 0..self.count {
            if n > 0 {
                hash = hash.saturating_add(bits.take_rice(self.rice));
            }
            let ordinal = ordinals.take(self.width);
            out.push(IdEntry { hash, ordinal });
        }
        if !bits.is_within() || hash >> HASH_BITS != 0 {
            return Err(bad("fewer bytes than its hashes take"));
        }
        Ok(())
    }

    fn ordinal(&self, n: usize) -> u64 {
        let mut bits = BitReader::new(self.ordinals);
        bits.seek(n * self.width as usize);
        bits.take(self.width)
    }
}

const fn bad(what: &'static str) -> RunFormatError {
    RunFormatError::Block {
        section: "ids",
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_back_and_are_found(
            entries in proptest::collection::vec((0_u64..1 << HASH_BITS, 0_u64..1 << 40), 1..300),
            few in 0_u32..40,
        ) {
            let entry = |(hash, ordinal): (u64, u64)| IdEntry { hash: hash >> few, ordinal };
            let mut entries: Vec<IdEntry> = entries.into_iter().map(entry).collect();
            entries.sort();
            let mut bytes = Vec::new();
            encode(&mut bytes, &entries);
            let block = IdsBlock::decode(&bytes).unwrap();
            let mut read = Vec::new();
            block.entries(&mut read).unwrap();
            prop_assert_eq!(&read, &entries);
            for entry in &entries {
                let mut found = Vec::new();
                block.find(entry.hash, |ordinal| found.push(ordinal));
                let expected: Vec<u64> = entries.iter().filter(|e| e.hash == entry.hash).map(|e| e.ordinal).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0_u16..70) {
            let mut bytes = bytes;
            if bytes.len() > 12 {
                bytes[6..8].fill(0);
                bytes[8..10].copy_from_slice(&count.to_le_bytes());
            }
            if let Ok(block) = IdsBlock::decode(&bytes) {
                block.find(1 << 40, |_| {});
                let _ = block.entries(&mut Vec::new());
            }
        }
    }
}
