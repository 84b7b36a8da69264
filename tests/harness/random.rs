//! Random numbers from a seed that a failing test prints.

use super::report;

/// The environment variable that replays a seed.
const SEED_VARIABLE: &str = "KANJO_SEED";

/// A `splitmix64` generator: small, and the same numbers from the same seed everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of the environment, or a new one; prints it with the command that replays it.
    pub(crate) fn seeded(binary: &str, test: &str) -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => text.parse().expect("KANJO_SEED must be an integer"),
            Err(_) => getrandom::u64().expect("the system gives random bytes"),
        };
        let replay =
            format!("{SEED_VARIABLE}={seed} cargo test --locked --test {binary} {test} -- --exact");
        report::line(
            "seeds",
            &format!("{binary}::{test} {seed}, replay: {replay}"),
        );
        Self::new(seed)
    }

    /// A generator of its own for a part of the test.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        self.next() % bound
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
