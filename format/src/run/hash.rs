//! Keyed hashes of ids, the filter over them, and the keys of lists.

use super::{FILTER_BITS_PER_ID, FILTER_LINE_BYTES, HASH_BITS, lists};
use crate::ids::{AccountNumber, LedgerId, TransferId};

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
