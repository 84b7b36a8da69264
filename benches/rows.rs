//! Transfers for the benches.

use kanjo_format::record::TransferRow;

/// A full request.
pub(crate) const TRANSFERS: usize = 8_189;

/// A small generator (xorshift64*), so that every run sees the same transfers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// So many, as the performance figures speak of them: time-ordered ids of 48 bits of milliseconds
/// and 80 random bits, accounts uniform over 10,000, amounts uniform over 1 to 10,000.
pub(crate) fn transfers(count: usize) -> Vec<TransferRow> {
    let mut random = Random(7);
    (0..count as u128)
        .map(|i| {
            let millis = 1_780_000_000_000 + i / 2_000;
            let noise = u128::from(random.next()) << 16 | u128::from(random.next() >> 48);
            TransferRow {
                id: (millis << 80 | noise).into(),
                amount: u128::from(1 + random.next() % 10_000).into(),
                debit_account: ((random.next() % 10_000) as u32).into(),
                credit_account: ((random.next() % 10_000) as u32).into(),
                code: 1.into(),
                ..TransferRow::default()
            }
        })
        .collect()
}
