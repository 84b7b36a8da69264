//! Trains the packing dictionary and writes it to standard output.
//!
//! `cargo run --release -p kanjo-shipper --example train_dictionary > shipper/dictionary/v1.bin`
//!
//! A dictionary is part of the protocol: version 1 is frozen, and this program shows where it
//! came from. A better one becomes version 2, with an encoding number of its own.

use std::io::Write;

use kanjo_format::columns::push_group;
use kanjo_format::record::{RecordKind, TransferRow};

/// Most bytes of a dictionary.
const DICTIONARY_BYTES: usize = 4096;
const SAMPLES: u64 = 20_000;

/// SplitMix64: the samples are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One transfer as banks send them: ids that start with a time or are wholly random, small
/// amounts, few codes, user data mostly empty.
fn transfer(random: &mut Random, time_ms: u64) -> TransferRow {
    let low = random.next();
    let id = if random.below(4) == 0 {
        u128::from(random.next()) << 64 | u128::from(low)
    } else {
        u128::from(time_ms) << 80 | u128::from(random.next() & 0xffff) << 64 | u128::from(low)
    };
    let amount_bits = 8 + random.below(24);
    let accounts = 1 << (8 + random.below(16));
    TransferRow {
        id: id.into(),
        amount: u128::from(random.next() & ((1 << amount_bits) - 1)).into(),
        user_data_64: if random.below(4) == 0 { time_ms } else { 0 }.into(),
        debit_account: (random.below(accounts) as u32).into(),
        credit_account: (random.below(accounts) as u32).into(),
        code: (1 + random.below(8) as u16).into(),
        ..TransferRow::default()
    }
}

fn main() -> std::io::Result<()> {
    let mut random = Random(1);
    let mut samples = Vec::new();
    for n in 0..SAMPLES {
        let time_ms = 1_780_000_000_000 + n * 7_919;
        // Mostly single transfers, some short runs: these are what a dictionary helps.
        let count = if n % 4 == 0 { 2 + random.below(6) } else { 1 };
        let rows: Vec<_> = (0..count).map(|_| transfer(&mut random, time_ms)).collect();
        let mut payload = Vec::new();
        push_group(&mut payload, RecordKind::TransferPosted, &rows);
        samples.push(payload);
    }
    let dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES)?;
    std::io::stdout().write_all(&dictionary)
}
