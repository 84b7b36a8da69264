//! The committed run: the builder makes exactly its bytes, and it answers what it answered.
#![allow(
    unreachable_pub,
    reason = "the sample is shared with the example that wrote it"
)]

mod sample;

use kanjo_format::{AccountNumber, LedgerId, RecordAt, Timestamp, TransferId};
use kanjo_index::{Action, Direction, Link, LinkKind, Role, RunKey, RunSet, Sums};
use sample::{at, build, params};

const RUN: &[u8] = include_bytes!("../../../format/fixtures/run-v1.run");

fn opened(folder: &tempfile::TempDir) -> RunSet {
    let file = folder.path().join("0000000000000000-0000000000200000.run");
    std::fs::write(file, RUN).unwrap();
    let (set, dropped) = RunSet::open(params(folder.path())).unwrap();
    assert_eq!(dropped, []);
    set
}

#[test]
fn the_same_log_makes_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::fs::read(build(folder.path()).path).unwrap();
    assert!(
        made == RUN,
        "the layout changed; a change of layout is a new version"
    );
}

#[test]
fn the_committed_run_answers() {
    let folder = tempfile::tempdir().unwrap();
    let set = opened(&folder);
    let counts = set.counts();
    assert_eq!((counts.transfers, counts.failed), (308, 1));
    assert_eq!((counts.records, counts.accounts), (314, 4));
    let batches = sample::batches();
    let (header, payload) = &batches[batches.len() - 1];
    assert_eq!(set.end_chain(), Some(header.chain_after(payload)));
    assert_eq!(set.ledgers(), [1, 1, 2, 2].map(LedgerId::new));
    let first = 4_096;
    let id = TransferId::new;
    assert_eq!(set.find(id(2_000 + 17 * 17)).unwrap(), [at(first, 4 + 17)]);
    assert_eq!(set.find(id(9_000)).unwrap(), [at(first, 304)]);
    assert_eq!(set.find(id(8)).unwrap(), []);
    let second = set.find(id(3_000_001)).unwrap()[0].lsn().get();
    let link = |kind, index| {
        Some(Link {
            kind,
            by: at(second, index),
        })
    };
    let resolution = |n| set.resolution_of(at(first, n)).unwrap();
    assert_eq!(resolution(0), link(LinkKind::Posted, 0));
    assert_eq!(resolution(1), link(LinkKind::Voided, 1));
    assert_eq!(resolution(2), link(LinkKind::Expired, 2));
    assert_eq!(resolution(3), None);
    assert_eq!(set.reversal_of(at(first, 5)).unwrap(), Some(at(second, 3)));
    let all = RecordAt::MIN..RecordAt::MAX;
    let postings = |key| set.postings(key, all.clone(), Direction::Backwards);
    let last = postings(RunKey::Account(AccountNumber::new(0)))
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        (last.at, last.role),
        (at(second, 4), Some(Role::credit(Action::Reserves)))
    );
    assert_eq!(postings(RunKey::UserData128(u128::MAX / 3)).count(), 150);
    assert_eq!(
        postings(RunKey::UserData64(0x0001_0000_0000_0001)).count(),
        100
    );
    assert_eq!(postings(RunKey::UserData32(4)).count(), 60);
    assert_eq!(postings(RunKey::Ledger(LedgerId::new(2))).count(), 301);
    assert_eq!(postings(RunKey::Code(7)).count(), 100);
    let base = set.base(AccountNumber::new(0), RecordAt::MAX).unwrap();
    let sums = Sums {
        debits_pending: 53,
        debits_posted: 30,
        credits_pending: u128::MAX,
        credits_posted: 0,
    };
    assert_eq!(base.sums, sums);
    let time = Timestamp::new(1_700_000_000_000_000_000 + second);
    assert_eq!(set.seek_time(time).unwrap(), at(second, 0));
}
