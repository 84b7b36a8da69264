//! Sorting millions of small keys: by their highest bits into parts that fit a near cache.

/// A hash and the record behind it, while a run is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdRow {
    pub(crate) hash: u64,
    pub(crate) ordinal: u32,
}

const PART_BITS: u32 = 11;
const DIGIT_BITS: u32 = 11;

/// Sorts rows whose hashes have `hash_bits` bits, evenly spread.
pub(crate) fn sort_ids(rows: &mut Vec<IdRow>, hash_bits: u32) {
    let part = |row: &IdRow| (row.hash >> (hash_bits - PART_BITS)) as usize;
    let mut ends = [0_usize; 1 << PART_BITS];
    rows.iter().for_each(|row| ends[part(row)] += 1);
    let mut sorted = vec![IdRow::default(); rows.len()];
    let mut next = starts(&ends);
    for row in rows.iter() {
        let at = &mut next[part(row)];
        sorted[*at] = *row;
        *at += 1;
    }
    let mut start = 0;
    for end in next {
        sorted[start..end].sort_unstable();
        start = end;
    }
    *rows = sorted;
}

/// Sorts by the upper 32 bits; what is equal in them stays in its order.
pub(crate) fn sort_by_upper_half(rows: &mut Vec<u64>) {
    let highest = rows.iter().fold(0, |all, row| all | row) >> 32;
    let mut from = rows.clone();
    let mut shift = 0;
    while highest >> shift != 0 {
        let digit = |row: u64| (row >> (32 + shift)) as usize & ((1 << DIGIT_BITS) - 1);
        let mut counts = [0_usize; 1 << DIGIT_BITS];
        rows.iter().for_each(|&row| counts[digit(row)] += 1);
        std::mem::swap(rows, &mut from);
        let mut next = starts(&counts);
        for &row in &from {
            let at = &mut next[digit(row)];
            rows[*at] = row;
            *at += 1;
        }
        shift += DIGIT_BITS;
    }
}

fn starts<const N: usize>(counts: &[usize; N]) -> [usize; N] {
    let mut start = 0;
    counts.map(|count| {
        let here = start;
        start += count;
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_sorted(rows in proptest::collection::vec((0_u64..1 << 48, any::<u32>()), 0..500)) {
            let mut ids: Vec<IdRow> = rows.iter().map(|&(hash, ordinal)| IdRow { hash, ordinal }).collect();
            let mut expected = ids.clone();
            expected.sort();
            sort_ids(&mut ids, 48);
            prop_assert_eq!(ids, expected);
            let mut packed: Vec<u64> = rows.iter().map(|&(upper, lower)| upper << 32 | u64::from(lower)).collect();
            let mut expected = packed.clone();
            expected.sort_by_key(|row| row >> 32);
            sort_by_upper_half(&mut packed);
            prop_assert_eq!(packed, expected);
        }
    }
}
