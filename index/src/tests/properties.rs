//! Random logs, cut into runs anywhere and merged in any order, answer as the model does.

use std::sync::Arc;

use kanjo_format::movement::Movement;
use kanjo_format::{AccountNumber, LedgerId, Lsn, RecordAt, Timestamp, TransferId};
use proptest::prelude::*;

use super::log::{LogWriter, Random, TestBatch};
use super::model::Model;
use super::{build, merged, params};
use crate::{Direction, Merge, Posting, RunKey, RunSet, SetParams, Sums};

fn check(set: &RunSet, model: &Model, random: &mut Random) {
    for (id, at) in model.ids() {
        assert_eq!(set.find(id).unwrap(), [at], "id {id}");
        let other = TransferId::new(id.get() ^ 1 << 100);
        assert_eq!(set.find(other).unwrap(), [], "id {other}");
    }
    for (at, ..) in &model.movements {
        assert_eq!(set.resolution_of(*at).unwrap(), model.link(*at, false));
        let reversal = model.link(*at, true).map(|link| link.by);
        assert_eq!(set.reversal_of(*at).unwrap(), reversal);
    }
    let keys = (0..model.ledgers.len() as u32 + 1).map(|n| RunKey::Account(AccountNumber::new(n)));
    let few = (0..4).flat_map(|n: u16| {
        [
            RunKey::UserData128(u128::from(n) << 90),
            RunKey::UserData64(n.into()),
            RunKey::UserData32(n.into()),
            RunKey::Ledger(LedgerId::new(n.into())),
            RunKey::Code(n),
        ]
    });
    for key in keys.chain(few) {
        check_list(set, key, &model.postings(key), random);
    }
    for number in 0..model.ledgers.len() as u32 + 1 {
        check_balances(set, AccountNumber::new(number), model, random);
    }
    for before in [
        RecordAt::MAX,
        some_place(set, random),
        some_place(set, random),
    ] {
        check_book(set, model, before);
    }
    for _ in 0..20 {
        check_time(
            set,
            model,
            Timestamp::new(990 + random.below(model.records * 20)),
        );
    }
    assert_eq!(set.counts().records, model.records);
    assert_eq!(set.counts().accounts, model.ledgers.len() as u64);
    assert_eq!(set.ledgers(), model.ledgers);
    let ids = set.counts().transfers + set.counts().failed;
    assert_eq!(ids, model.ids().count() as u64);
}

/// A place at, before or behind a record, in or out of the log.
fn some_place(set: &RunSet, random: &mut Random) -> RecordAt {
    let pages = set.end().get() / 4_096 + 2;
    RecordAt::new(
        Lsn::new(random.below(pages) * 4_096),
        random.below(24) as usize,
    )
}

fn check_list(set: &RunSet, key: RunKey, expected: &[Posting], random: &mut Random) {
    let all = RecordAt::MIN..RecordAt::MAX;
    let (one, other) = (some_place(set, random), some_place(set, random));
    for range in [all, one..other, other..one] {
        let read = |direction| -> Vec<Posting> {
            let postings = set.postings(key, range.clone(), direction);
            postings.map(Result::unwrap).collect()
        };
        let inside = |posting: &&Posting| range.contains(&posting.at);
        let expected: Vec<Posting> = expected.iter().filter(inside).copied().collect();
        assert_eq!(read(Direction::Forwards), expected, "{key:?} {range:?}");
        let mut backwards = read(Direction::Backwards);
        backwards.reverse();
        assert_eq!(backwards, expected, "{key:?} {range:?} backwards");
    }
}

fn check_balances(set: &RunSet, account: AccountNumber, model: &Model, random: &mut Random) {
    let places = [
        RecordAt::MIN,
        RecordAt::MAX,
        some_place(set, random),
        some_place(set, random),
    ];
    for before in places {
        let base = set.base(account, before).unwrap();
        assert!(base.from <= before);
        let expected = model.sums(account, RecordAt::MIN, before);
        let behind = model.sums(account, base.from, before);
        assert_eq!(
            base.sums.plus(behind),
            expected,
            "account {account} before {before}"
        );
        let listed = set.postings(
            RunKey::Account(account),
            base.from..before,
            Direction::Forwards,
        );
        assert!(
            listed.count() <= 256,
            "a bounded number of records is left to be read"
        );
    }
}

fn check_book(set: &RunSet, model: &Model, before: RecordAt) {
    let mut book = set.book(before).unwrap().map(Result::unwrap).peekable();
    for number in (0..model.ledgers.len() as u32).map(AccountNumber::new) {
        let base = set.base(number, before).unwrap();
        match book.next_if(|(account, _)| *account == number) {
            Some((_, found)) => assert_eq!(found, base, "account {number} before {before}"),
            None => assert_eq!(base.sums, Sums::default()),
        }
    }
    assert_eq!(book.next(), None);
}

fn check_time(set: &RunSet, model: &Model, time: Timestamp) {
    let found = set.seek_time(time).unwrap();
    for (at, happened, movement) in &model.movements {
        if matches!(movement, Movement::Failed(_)) {
            continue;
        }
        assert!(*at < found || *happened >= time || at.lsn() == found.lsn());
        assert!(
            *at >= found || *happened < time,
            "{at} is at {happened}, sought {time}"
        );
    }
}

/// Batches and the places where runs end.
fn log(seed: u64, batches: usize) -> Vec<TestBatch> {
    let (mut writer, mut random) = (LogWriter::new(seed), Random(seed | 1));
    (0..batches)
        .map(|_| writer.batch(random.below(9) as usize))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn runs_answer_as_the_log_does(seed: u64, batches in 1_usize..60, cut in 1_u64..12) {
        let folder = tempfile::tempdir().unwrap();
        let (batches, mut random) = (log(seed, batches), Random(seed | 1));
        let mut set = RunSet::empty(params(folder.path()));
        let (mut model, mut at) = (Model::default(), 0);
        while at < batches.len() {
            let some = (1 + random.below(cut) as usize).min(batches.len() - at);
            set = build(&set, &batches[at..at + some]);
            batches[at..at + some].iter().for_each(|batch| model.take(batch));
            at += some;
        }
        check(&set, &model, &mut random);
        while set.runs().len() > 1 {
            let from = random.below(set.runs().len() as u64 - 1) as usize;
            let most = (set.runs().len() - from).min(8) as u64;
            let count = 2 + random.below(most - 1) as usize;
            let runs = set.runs()[from..from + count].to_vec();
            set = merged(&set, &Merge { runs, tier: 1 });
            if set.runs().len() == 1 || random.below(4) == 0 {
                check(&set, &model, &mut random);
            }
        }
        let (opened, dropped) = RunSet::open(SetParams { seed: 5, filter_bytes_max: 0, ..params(folder.path()) }).unwrap();
        prop_assert_eq!(dropped, vec![]);
        check(&opened, &model, &mut random);
    }
}

#[test]
fn eight_runs_of_a_tier_become_one_of_the_next_and_the_highest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::new(3);
    let mut set = RunSet::empty(params(folder.path()));
    let mut model = Model::default();
    for _ in 0..150 {
        let batch = writer.batch(2);
        model.take(&batch);
        set = build(&set, &[batch]);
        while let Some(due) = set.next_merge() {
            set = merged(&set, &due);
        }
        for tier in 0..2 {
            let of_tier = set.runs().iter().filter(|run| run.footer().tier == tier);
            assert!(of_tier.count() < 8);
        }
    }
    let tiers: Vec<u8> = set.runs().iter().map(|run| run.footer().tier).collect();
    assert_eq!(tiers, [2, 2, 1, 1, 0, 0, 0, 0, 0, 0]);
    check(&set, &model, &mut Random(1));
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, set.runs().len());
}

#[test]
fn a_long_list_is_read_from_its_middle() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, mut random) = (LogWriter::new(11), Random(4));
    let mut set = RunSet::empty(params(folder.path()));
    let mut model = Model::default();
    for _ in 0..3 {
        let batches: Vec<TestBatch> = (0..120).map(|_| writer.batch(60)).collect();
        batches.iter().for_each(|batch| model.take(batch));
        set = build(&set, &batches);
    }
    let runs = set.runs().to_vec();
    for set in [set.clone(), merged(&set, &Merge { runs, tier: 1 })] {
        for code in 1..3 {
            let key = RunKey::Code(code);
            let expected = model.postings(key);
            assert!(expected.len() > 10_000);
            for _ in 0..10 {
                check_list(&set, key, &expected, &mut random);
            }
        }
        let account = AccountNumber::new(0);
        for _ in 0..10 {
            check_balances(&set, account, &model, &mut random);
        }
    }
}

#[test]
fn a_builder_takes_only_the_batch_that_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let batches = log(8, 3);
    let set = Arc::new(RunSet::empty(params(folder.path())));
    let mut builder = crate::RunBuilder::new(Arc::clone(&set));
    assert!(
        builder
            .add_batch(&batches[1].header, &batches[1].payload)
            .is_err()
    );
    builder
        .add_batch(&batches[0].header, &batches[0].payload)
        .unwrap();
    assert!(
        builder
            .add_batch(&batches[0].header, &batches[0].payload)
            .is_err()
    );
    assert!(crate::RunBuilder::new(set).finish().is_err());
}
