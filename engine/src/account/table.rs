//! From hashes of account ids to account numbers.
//!
//! ```text
//! bucket, one cache line    8 hashes (u32)  8 numbers (u32)   filled from the left
//! ```
//!
//! Where a hash should stand is known without looking, so that it can be loaded ahead; a bucket is
//! compared at once, and only a full one sends the search on to the next. Shards grow one by one, as
//! those of [`crate::hash::Sharded`] do.

use kanjo_format::AccountNumber;

use crate::hash::shard_of;

const SHARDS: usize = 64;
const WAYS: usize = 8;
/// No account has this number.
const EMPTY: u32 = u32::MAX;
/// Nor this one: it marks the place of an account that was taken back.
const GONE: u32 = u32::MAX - 1;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    hashes: [u32; WAYS],
    numbers: [u32; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self {
        hashes: [0; WAYS],
        numbers: [EMPTY; WAYS],
    };

    /// A bit for each place that has the hash; places that are empty may have one too.
    #[inline]
    fn matches(&self, hash: u32) -> u32 {
        let bits = self.hashes.iter().enumerate();
        bits.fold(0, |all, (way, h)| all | u32::from(*h == hash) << way)
    }

    fn is_full(&self) -> bool {
        self.numbers[WAYS - 1] != EMPTY
    }
}

/// One part of the table: a power of two of buckets, at most five eighths of their places taken.
#[derive(Clone, Debug, Default)]
struct Shard {
    buckets: Vec<Bucket>,
    taken: usize,
}

impl Shard {
    fn home(&self, hash: u32) -> usize {
        spread(hash) as usize & self.buckets.len().wrapping_sub(1)
    }

    fn put(&mut self, hash: u32, number: u32) {
        let mut at = self.home(hash);
        while self.buckets[at].is_full() {
            at = (at + 1) & (self.buckets.len() - 1);
        }
        let bucket = &mut self.buckets[at];
        let way = bucket.numbers.iter().position(|&n| n == EMPTY);
        let way = way.expect("the bucket is not full");
        (bucket.hashes[way], bucket.numbers[way]) = (hash, number);
        self.taken += 1;
    }

    fn grow(&mut self) {
        let length = (self.buckets.len() * 2).max(1);
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::EMPTY; length]);
        self.taken = 0;
        for bucket in &old {
            for (&hash, &number) in bucket.hashes.iter().zip(&bucket.numbers) {
                if number < GONE {
                    self.put(hash, number);
                }
            }
        }
    }
}

/// All bits of the hash, spread over 64.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where a hash should stand, as long as nothing is inserted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    hash: u32,
    shard: u32,
    bucket: usize,
}

#[derive(Debug)]
pub(super) struct NumberTable {
    shards: Box<[Shard]>,
}

impl NumberTable {
    pub(super) fn new() -> Self {
        Self {
            shards: vec![Shard::default(); SHARDS].into_boxed_slice(),
        }
    }

    #[inline]
    pub(super) fn place(&self, hash: u32) -> Place {
        let shard = shard_of(spread(hash), SHARDS);
        Place {
            hash,
            shard: shard as u32,
            bucket: self.shards[shard].home(hash),
        }
    }

    /// The first number of that hash that `is` the wanted one.
    #[inline]
    pub(super) fn find(
        &self,
        place: Place,
        mut is: impl FnMut(AccountNumber) -> bool,
    ) -> Option<AccountNumber> {
        let shard = &self.shards[place.shard as usize];
        let mut at = place.bucket;
        loop {
            let bucket = shard.buckets.get(at)?;
            let mut matches = bucket.matches(place.hash);
            while matches != 0 {
                let number = bucket.numbers[matches.trailing_zeros() as usize % WAYS];
                if number < GONE && is(AccountNumber::new(number)) {
                    return Some(AccountNumber::new(number));
                }
                matches &= matches - 1;
            }
            if !bucket.is_full() {
                return None;
            }
            at = (at + 1) & (shard.buckets.len() - 1);
        }
    }

    /// Loads the bucket of a place; what it gives has no meaning.
    #[inline]
    pub(super) fn touch(&self, place: Place) -> u64 {
        let bucket = self.shards[place.shard as usize].buckets.get(place.bucket);
        bucket.map_or(0, |bucket| u64::from(bucket.numbers[0]))
    }

    /// Forgets a number that is there. Its place stays taken until its shard grows, so that the
    /// search still goes past it.
    pub(super) fn remove(&mut self, hash: u32, number: AccountNumber) {
        let shard = &mut self.shards[shard_of(spread(hash), SHARDS)];
        let mut at = shard.home(hash);
        loop {
            let bucket = &mut shard.buckets[at];
            let way = bucket.numbers.iter().position(|&n| n == number.get());
            if let Some(way) = way {
                bucket.numbers[way] = GONE;
                return;
            }
            assert!(bucket.is_full(), "a number to be forgotten is there");
            at = (at + 1) & (shard.buckets.len() - 1);
        }
    }

    /// Adds a number that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, number: AccountNumber) {
        assert!(number.get() < GONE, "all account numbers are given out");
        let shard = &mut self.shards[shard_of(spread(hash), SHARDS)];
        if shard.taken >= shard.buckets.len() * (WAYS * 5 / 8) {
            shard.grow();
        }
        shard.put(hash, number.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_while_shards_grow_and_others_are_not() {
        let hasher = crate::hash::IdHasher::new(9);
        // Some share all of their hash, so that buckets overflow.
        let hash = |n: u32| match n % 500 {
            0 => 0,
            _ => hasher.hash(u128::from(n)) as u32,
        };
        let mut table = NumberTable::new();
        assert_eq!(table.find(table.place(0), |_| true), None);
        for n in 0..20_000 {
            table.insert(hash(n), AccountNumber::new(n));
            let first = AccountNumber::new(n / 2);
            let place = table.place(hash(n / 2));
            assert_eq!(table.find(place, |found| found == first), Some(first));
        }
        for n in 0..20_000 {
            let number = AccountNumber::new(n);
            let place = table.place(hash(n));
            assert_eq!(table.find(place, |found| found == number), Some(number));
            assert_eq!(table.find(place, |_| false), None);
        }
        for shard in &table.shards {
            assert!(shard.taken <= shard.buckets.len() * 5);
        }
    }
}
