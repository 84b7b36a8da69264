//! Integers of few bits: Rice codes, fixed widths, and bytes with a continuation bit.

/// Quotients from here on are written as they are, behind that many ones.
const ESCAPE: u32 = 24;
/// Bits of a number that is written as it is.
const PLAIN_BITS: u32 = 48;
/// Highest parameter of a Rice code.
pub(super) const RICE_MAX: u8 = 47;

/// The Rice parameter for numbers of that mean: they take about as few bits as can be.
pub(super) fn rice_parameter(sum: u64, count: usize) -> u8 {
    // Close to log2(mean * ln 2), in integers.
    let scaled = u128::from(sum) * 710 / (count.max(1) as u128 * 1024);
    (u128::BITS - (scaled.leading_zeros() + 1).min(u128::BITS)).min(u32::from(RICE_MAX)) as u8
}

/// Appends bits, lowest first.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    held: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `width` bits of `value`; at most 56.
    #[inline]
    pub(super) fn put(&mut self, out: &mut Vec<u8>, value: u64, width: u32) {
        debug_assert!(width <= 56 && (width == 0 || value >> width == 0));
        self.held |= value << self.count;
        self.count += width;
        let whole = self.count / 8;
        out.extend_from_slice(&self.held.to_le_bytes()[..whole as usize]);
        self.held = match whole {
            8 => 0,
            whole => self.held >> (whole * 8),
        };
        self.count %= 8;
    }

    /// A number below 2^48 in the Rice code of parameter `k`.
    #[inline]
    pub(super) fn put_rice(&mut self, out: &mut Vec<u8>, value: u64, k: u8) {
        debug_assert!(value >> PLAIN_BITS == 0);
        let quotient = value >> k;
        if quotient < u64::from(ESCAPE) {
            self.put(out, (1 << quotient) - 1, quotient as u32 + 1);
            self.put(out, value & ((1 << k) - 1), u32::from(k));
        } else {
            self.put(out, (1 << ESCAPE) - 1, ESCAPE);
            self.put(out, value, PLAIN_BITS);
        }
    }

    /// Fills up the last byte.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.held as u8);
        }
    }
}

/// Reads bits back; behind the end it reads zeros, and says so in the end.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next 56 bits or more, not consumed.
    #[inline]
    fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().expect("eight bytes")),
            None => {
                let mut eight = [0; 8];
                if let Some(rest) = self.bytes.get(byte..) {
                    eight[..rest.len()].copy_from_slice(rest);
                }
                u64::from_le_bytes(eight)
            }
        };
        word >> (self.at % 8)
    }

    /// A number of `width` bits; at most 56.
    #[inline]
    pub(super) fn take(&mut self, width: u32) -> u64 {
        debug_assert!(width <= 56);
        let value = self.peek() & ((1 << width) - 1);
        self.at += width as usize;
        value
    }

    /// A number in the Rice code of parameter `k`, which must be at most [`RICE_MAX`].
    #[inline]
    pub(super) fn take_rice(&mut self, k: u8) -> u64 {
        let quotient = self.peek().trailing_ones();
        if quotient >= ESCAPE {
            self.at += ESCAPE as usize;
            return self.take(PLAIN_BITS);
        }
        self.at += quotient as usize + 1;
        u64::from(quotient) << k | self.take(u32::from(k))
    }

    /// Goes to a bit.
    pub(super) const fn seek(&mut self, bit: usize) {
        self.at = bit;
    }

    /// Whether nothing was read behind the end.
    pub(super) const fn is_within(&self) -> bool {
        self.at <= self.bytes.len() * 8
    }
}

/// Appends an integer in groups of seven bits, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes such an integer off the front; `None` where there is none of at most 128 bits.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u128> {
    let mut value = 0_u128;
    for n in 0..19 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let seven = u128::from(byte & 0x7f);
        if n == 18 && seven > 3 {
            return None;
        }
        value |= seven << (7 * n);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The same for an integer that must fit 64 bits.
pub(super) fn take_varint_64(bytes: &mut &[u8]) -> Option<u64> {
    // Most are short.
    if let Some((&byte, rest)) = bytes.split_first()
        && byte < 0x80
    {
        *bytes = rest;
        return Some(byte.into());
    }
    take_varint(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in proptest::collection::vec((0_u64..1 << 48, 0_u8..=RICE_MAX, 0_u32..48), 0..200)) {
            let (mut out, mut writer) = (Vec::new(), BitWriter::default());
            for &(value, k, width) in &numbers {
                let value = value >> width;
                writer.put_rice(&mut out, value, k);
                writer.put(&mut out, value, 48);
            }
            writer.finish(&mut out);
            let mut reader = BitReader::new(&out);
            for &(value, k, width) in &numbers {
                prop_assert_eq!(reader.take_rice(k), value >> width);
                prop_assert_eq!(reader.take(48), value >> width);
            }
            prop_assert!(reader.is_within());
            reader.take(8);
            prop_assert!(!reader.is_within());
        }

        #[test]
        fn varints_come_back(value: u128, shift in 0_u32..128) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(take_varint(&mut &out[..]), Some(value));
            prop_assert_eq!(take_varint(&mut &out[..out.len() - 1]), None);
        }
    }

    #[test]
    fn a_parameter_follows_the_mean() {
        assert_eq!(rice_parameter(0, 10), 0);
        assert_eq!(rice_parameter(10, 10), 0);
        assert_eq!(rice_parameter(10 * 1_000, 10), 9);
        assert_eq!(rice_parameter(u64::MAX, 1), RICE_MAX);
    }
}
