//! Hash tables keyed by clients' ids.
//!
//! Clients choose ids, so the hash is keyed by a seed from outside: nobody can aim at one
//! bucket. Tables are split into shards, so that growing one stalls the hot path for a
//! shard's time, not for the whole table's. Nothing here is ever iterated where order shows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Turns ids into hashes under a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdHasher {
    keys: [u64; 4],
}

impl IdHasher {
    pub(crate) fn new(seed: u64) -> Self {
        // splitmix64 (Steele, Lea, Flood 2014): four keys from one seed.
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
        Self { keys }
    }

    /// Two rounds of a folded multiply, as wyhash does it.
    pub(crate) fn hash(&self, id: u128) -> u64 {
        let [k0, k1, k2, k3] = self.keys;
        let (low, high) = (id as u64, (id >> 64) as u64);
        let inner = fold(low ^ k0, high ^ k1);
        fold(inner ^ k2, low.rotate_left(32) ^ high ^ k3)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// With `u` the hash's middle bits as a fraction, shard `u + u(1-u)/3` of all: its density
/// runs from 3/4 to 3/2. The top seven bits are left to tell entries of a bucket apart, and
/// the low ones to choose the bucket.
#[inline]
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    const ONE: u64 = 1 << 25;
    let u = hash >> 32 & (ONE - 1);
    let bent = u + u * (ONE - u) / 3 / ONE;
    (bent * shards as u64 / ONE) as usize
}

/// A hash table in shards of unequal share: the largest takes twice what the smallest takes, so
/// that they do not all grow at once, but one by one over a whole doubling.
#[derive(Clone, Debug)]
pub(crate) struct Sharded<T> {
    shards: Box<[HashTable<T>]>,
}

impl<T: Clone> Sharded<T> {
    /// A table of `2^shard_bits` shards.
    pub(crate) fn new(shard_bits: u32) -> Self {
        assert!((1..=16).contains(&shard_bits), "1 to 16 shard bits");
        Self {
            shards: vec![HashTable::new(); 1 << shard_bits].into_boxed_slice(),
        }
    }

    fn shard(&self, hash: u64) -> usize {
        shard_of(hash, self.shards.len())
    }

    pub(crate) fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards[self.shard(hash)].find(hash, eq)
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<T> {
        let shard = self.shard(hash);
        let found = self.shards[shard].find_entry(hash, eq).ok()?;
        Some(found.remove().0)
    }

    pub(crate) fn entry(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> Entry<'_, T> {
        let shard = self.shard(hash);
        self.shards[shard].entry(hash, eq, hasher)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_unequal_shares_and_keep_what_they_are_given() {
        let hasher = IdHasher::new(3);
        let mut table: Sharded<u128> = Sharded::new(4);
        for id in 0..16_000_u128 {
            let hash = hasher.hash(id);
            if let Entry::Vacant(vacant) = table.entry(hash, |e| *e == id, |e| hasher.hash(*e)) {
                vacant.insert(id);
            }
        }
        assert_eq!(table.len(), 16_000);
        for id in 0..16_000 {
            assert_eq!(table.find(hasher.hash(id), |e| *e == id), Some(&id));
        }
        let lengths: Vec<usize> = table.shards.iter().map(HashTable::len).collect();
        assert!(lengths[0] > 600 && lengths[0] < 900, "{lengths:?}");
        assert!(lengths[15] > 1_200 && lengths[15] < 1_600, "{lengths:?}");
    }

    #[test]
    fn no_batch_pays_for_the_growth_of_the_whole_table() {
        const BATCH: u128 = 8_192;
        let hasher = IdHasher::new(3);
        let mut table: Sharded<u64> = Sharded::new(10);
        let mut worst = 0;
        for batch in 0..100 {
            let mut moved = 0;
            for id in batch * BATCH..(batch + 1) * BATCH {
                let hash = hasher.hash(id);
                let shard = table.shard(hash);
                let (before, length) = (table.shards[shard].capacity(), table.shards[shard].len());
                if let Entry::Vacant(vacant) = table.entry(hash, |e| *e == hash, |e| *e) {
                    vacant.insert(hash);
                }
                if table.shards[shard].capacity() != before {
                    moved += length;
                }
            }
            if batch >= 10 {
                worst = worst.max(moved);
            }
        }
        assert!(
            worst < 3 * BATCH as usize,
            "{worst} entries moved in one batch"
        );
    }
}
