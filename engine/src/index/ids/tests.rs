//! What the index promises of ids, wherever they went.

use kanjo_format::limits::{BATCH_RECORDS_MAX, PAGE_BYTES};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{Lsn, RecordAt, TransferId};
use proptest::prelude::*;

use super::*;

/// A small generator (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next()) | 1
    }

    /// An id of 48 bits of milliseconds and 80 random bits, as clients draw it.
    fn timed(&mut self, millis: u64) -> u128 {
        u128::from(1_780_000_000_000 + millis) << 80 | self.wide() >> 48
    }
}

fn nth(n: usize) -> Entry {
    let page = (n / BATCH_RECORDS_MAX) as u64;
    Entry::Posted(RecordAt::new(
        Lsn::new(page * PAGE_BYTES),
        n % BATCH_RECORDS_MAX,
    ))
}

fn empty() -> Ids {
    Ids::new(IdHasher::new(5), false)
}

fn take(index: &mut Ids, id: u128, n: usize) {
    match index.probe(TransferId::new(id)) {
        Probe::Free(free) => free.take(nth(n)),
        Probe::Taken => panic!("id {id} is new, the index says otherwise"),
    }
}

/// Takes ids one after the other, and checks then that each is found and taken, and others not.
fn filled(ids: &[u128]) -> Ids {
    let mut index = empty();
    for (n, &id) in ids.iter().enumerate() {
        take(&mut index, id, n);
    }
    assert_eq!(index.len(), ids.len());
    for (n, &id) in ids.iter().enumerate() {
        assert_eq!(index.find(TransferId::new(id)), Some(nth(n)), "id {id}");
        if n % 7 == 0 {
            let probe = index.probe(TransferId::new(id));
            assert!(matches!(probe, Probe::Taken));
            assert_eq!(index.find(TransferId::new(id ^ 1 << 70)), None);
        }
    }
    index
}

#[test]
fn entries_come_back_as_they_went_in() {
    let mut index = empty();
    let far = RecordAt::new(Lsn::new((1 << 61) - PAGE_BYTES), BATCH_RECORDS_MAX - 1);
    assert_eq!(far.lsn(), Lsn::new((1 << 61) - PAGE_BYTES));
    assert_eq!(far.index(), BATCH_RECORDS_MAX - 1);
    let entries: Vec<Entry> = CreateTransferResult::ALL
        .iter()
        .map(|&r| Entry::Failed(r))
        .chain([
            Entry::Posted(far),
            Entry::Posted(RecordAt::new(Lsn::ZERO, 0)),
        ])
        .collect();
    for (n, &entry) in entries.iter().enumerate() {
        let id = TransferId::new(n as u128 * 0x1_0000_0000_0000_0001 + 1);
        let Probe::Free(free) = index.probe(id) else {
            panic!("a new id is free")
        };
        free.take(entry);
    }
    for (n, &entry) in entries.iter().enumerate() {
        let id = TransferId::new(n as u128 * 0x1_0000_0000_0000_0001 + 1);
        assert_eq!(index.find(id), Some(entry));
    }
    assert_eq!(index.len(), entries.len());
    assert_eq!(index.find(TransferId::new(77 << 64)), None);
}

#[test]
fn ids_in_order_of_time_are_kept_by_range_and_found_wherever_they_went() {
    let mut random = Random(1);
    let ids: Vec<u128> = (0..3 * ROWS as u64 + 100)
        .map(|n| random.timed(n / 1_000))
        .collect();
    let index = filled(&ids);
    assert_eq!(index.partitions.list().len(), 3);
    assert_eq!(index.recent.rows().len(), 100);
    assert_eq!(index.rest.len(), 0);
}

#[test]
fn ids_of_many_clients_a_little_out_of_order_are_kept_by_range() {
    let mut random = Random(2);
    // Eight clients, each half a batch behind the one before.
    let ids: Vec<u128> = (0..3 * ROWS as u64)
        .map(|n| random.timed((50_000 + n - n / 1_000 % 8 * 4_000) / 1_000))
        .collect();
    let index = filled(&ids);
    assert_eq!(index.partitions.list().len(), 3);
    assert!(index.rest.len() < ROWS / 4, "{}", index.rest.len());
}

#[test]
fn ids_in_lumps_with_pauses_between_are_kept_by_range() {
    let mut random = Random(7);
    // Full requests, each drawn in one millisecond; pauses from nothing to a night.
    let pauses = [1, 0, 1, 2, 40, 1, 0, 3, 1, 30_000_000, 1, 1, 900];
    let mut millis = 0;
    let mut ids = Vec::new();
    for n in 0..8 * ROWS / 8_189 {
        ids.extend((0..8_189).map(|_| random.timed(millis)));
        millis += pauses[n % pauses.len()];
    }
    let index = filled(&ids);
    assert!(index.scattered.is_none());
    assert!(index.rest.len() < ROWS / 4, "{}", index.rest.len());
}

#[test]
fn an_outlier_does_not_push_later_ids_into_the_rest() {
    let mut random = Random(3);
    let mut ids: Vec<u128> = (0..4 * ROWS as u64)
        .map(|n| random.timed(n / 1_000))
        .collect();
    for (n, id) in ids.iter_mut().enumerate() {
        match n % 5_000 {
            0 => *id = u128::MAX - 1 - n as u128,
            1 => *id = 1 + n as u128,
            2 => *id = random.wide(),
            _ => {}
        }
    }
    let index = filled(&ids);
    assert_eq!(index.partitions.list().len(), 4);
    assert!(index.rest.len() < 1_000, "{}", index.rest.len());
}

#[test]
fn random_ids_go_to_the_rest_and_leave_no_range_behind() {
    let mut random = Random(4);
    let ids: Vec<u128> = (0..3 * ROWS).map(|_| random.wide()).collect();
    let mut index = filled(&ids);
    assert!(index.partitions.list().is_empty());
    assert!(index.pouring.is_none());
    assert_eq!(index.rest.len(), ids.len());
    // Ids that begin with the time are seen as such again, and kept by range.
    for n in 0..4 * ROWS as u64 {
        take(&mut index, random.timed(n / 1_000), n as usize);
    }
    assert!(index.scattered.is_none());
    assert!(!index.partitions.list().is_empty());
}

#[test]
fn ids_below_all_others_are_kept_by_range_too() {
    let mut random = Random(6);
    let later = (0..2 * ROWS as u64).map(|n| 1_000_000 + n / 1_000);
    let earlier = (0..3 * ROWS as u64).map(|n| n / 1_000);
    let ids: Vec<u128> = later.chain(earlier).map(|ms| random.timed(ms)).collect();
    let index = filled(&ids);
    assert_eq!(index.partitions.list().len(), 5);
    assert!(index.partitions.list().is_sorted_by_key(|p| p.span.low));
    assert!(index.partitions.list().is_sorted_by_key(|p| p.span.high));
}

#[test]
fn no_batch_pays_for_more_than_a_small_part_of_a_table() {
    let mut random = Random(7);
    let mut index = empty();
    let (mut before, mut worst) = (0, 0);
    for n in 0..8 * ROWS {
        let id = match n / (2 * ROWS) {
            0 | 2 => random.timed(n as u64 / 1_000),
            _ => random.wide(),
        };
        take(&mut index, id, n);
        if n % SAMPLE_EVERY == 0 {
            worst = worst.max(index.rest.len() - before);
            before = index.rest.len();
        }
    }
    let own = SAMPLE_EVERY * (1 + POURED_AT_ONCE);
    assert!(worst <= OUTSIDE_MAX + own, "{worst} rows moved at once");
    assert!(worst > SAMPLE_EVERY, "nothing was poured");
}

#[test]
fn an_id_is_given_back_wherever_it_stands() {
    let mut random = Random(8);
    let timed = (0..2 * ROWS as u64).map(|n| n / 1_000);
    let mut ids: Vec<u128> = timed.map(|ms| random.timed(ms)).collect();
    ids.extend((0..ROWS + 100).map(|_| random.wide()));
    let mut index = filled(&ids);
    assert!(!index.partitions.list().is_empty());
    assert!(index.pouring.is_some());
    let is_given_back = |n: usize| n.is_multiple_of(3);
    for (n, &id) in ids.iter().enumerate() {
        let id = TransferId::new(id);
        assert!(!is_given_back(n) || index.remove(id));
        assert!(!is_given_back(n) || !index.remove(id));
    }
    // Until all is poured, and after.
    for round in 0..2 {
        for (n, &id) in ids.iter().enumerate() {
            let expected = (!is_given_back(n)).then(|| nth(n));
            assert_eq!(index.find(TransferId::new(id)), expected);
        }
        for n in 0..ROWS {
            take(&mut index, random.wide(), n);
        }
        assert!(index.pouring.is_none(), "round {round}");
    }
    take(&mut index, ids[0], 0);
    assert_eq!(index.find(TransferId::new(ids[0])), Some(nth(0)));
}
fn spans() -> impl Strategy<Value = Vec<(u128, u128)>> {
    proptest::collection::vec((1_u128..400, 0_u128..60), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_id_lies_in_two_partitions_at_most(spans in spans()) {
        let mut partitions = Partitions::default();
        for (low, length) in spans {
            let Some(room) = partitions.room(Span { low, high: low + length }) else {
                continue;
            };
            prop_assert!(room.low >= low && room.high <= low + length);
            if partitions.fits(room) {
                let ids = Arrivals::default();
                partitions.insert(Partition { span: room, ids });
            }
            let list = partitions.list();
            prop_assert!(list.is_sorted_by(|a, b| a.span.low < b.span.low));
            prop_assert!(list.is_sorted_by(|a, b| a.span.high < b.span.high));
            for id in 1..500 {
                prop_assert!(list.iter().filter(|p| p.span.holds(id)).count() <= 2);
            }
        }
    }

    #[test]
    fn samples_of_any_shape_give_a_range_or_none(
        samples in proptest::collection::vec(any::<u128>(), ROWS / SAMPLE_EVERY),
        bits in 1_u32..128,
        sorted: bool,
    ) {
        let mut samples = samples;
        samples.iter_mut().for_each(|id| *id >>= 128 - bits);
        if sorted {
            samples.sort_unstable();
        }
        let span = ordered_span(&samples);
        prop_assert!(span.is_none_or(|span| span.low <= span.high));
        if bits > 64 {
            prop_assert_eq!(span.is_some(), sorted);
        }
    }
}
