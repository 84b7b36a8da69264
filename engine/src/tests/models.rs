//! Execution against the model, and every other way to the same lsn against execution.

use kanjo_format::client::{AccountBody, TransferBody};
use proptest::prelude::*;

use super::desk::{CLUSTER, Desk, Request, assert_same, expand, lookup_account, lookup_transfer};
use super::model::Model;
use crate::Ledger;

/// Mostly ids that meet, now and then one that is none.
fn id(most: u128) -> impl Strategy<Value = u128> {
    prop_oneof![30 => 1..=most, 1 => Just(0), 1 => Just(u128::MAX)]
}

fn rarely<T: Clone + std::fmt::Debug>(usual: T, rare: T) -> impl Strategy<Value = T> {
    prop_oneof![24 => Just(usual), 1 => Just(rare)]
}

fn amounts() -> impl Strategy<Value = u128> {
    prop_oneof![
        20 => 0_u128..40,
        1 => Just(u128::MAX),
        1 => Just(u128::MAX - 20),
        1 => Just(u128::MAX / 2),
    ]
}

fn account_event() -> impl Strategy<Value = AccountBody> {
    let flags =
        prop_oneof![8 => Just(0_u16), 4 => Just(2), 4 => Just(4), 1 => Just(6), 1 => Just(64)];
    let data = (rarely(0_u128, 9), rarely(0_u64, 9), rarely(0_u32, 9));
    let zeros = (rarely(0_u64, 1), rarely(0_u32, 1), rarely(0_u128, 1), 0..4);
    let place = (
        prop_oneof![12 => Just(1_u32), 4 => Just(2), 1 => Just(0)],
        rarely(1_u16, 0),
    );
    (id(8), flags, data, zeros, place).prop_map(|(id, flags, data, zeros, place)| {
        let (timestamp, reserved, balance, which) = zeros;
        let at = |n: i32| if n == which { balance } else { 0 };
        AccountBody {
            id: id.into(),
            debits_pending: at(0).into(),
            debits_posted: at(1).into(),
            credits_pending: at(2).into(),
            credits_posted: at(3).into(),
            user_data_128: data.0.into(),
            user_data_64: data.1.into(),
            user_data_32: data.2.into(),
            reserved: reserved.into(),
            ledger: place.0.into(),
            code: place.1.into(),
            flags: flags.into(),
            timestamp: timestamp.into(),
        }
    })
}

fn transfer_event() -> impl Strategy<Value = TransferBody> {
    let accounts = (id(9), id(9));
    let data = (rarely(0_u128, 9), rarely(0_u64, 9), rarely(0_u32, 9));
    let zeros = (
        rarely(0_u64, 1),
        rarely(0_u16, 0x200),
        rarely(0_u128, 5),
        rarely(0_u32, 1),
    );
    let place = (
        prop_oneof![12 => Just(1_u32), 4 => Just(2), 1 => Just(0)],
        rarely(1_u16, 0),
    );
    (id(60), accounts, amounts(), data, zeros, place).prop_map(
        |(id, accounts, amount, data, zeros, place)| TransferBody {
            id: id.into(),
            debit_account_id: accounts.0.into(),
            credit_account_id: accounts.1.into(),
            amount: amount.into(),
            pending_id: zeros.2.into(),
            user_data_128: data.0.into(),
            user_data_64: data.1.into(),
            user_data_32: data.2.into(),
            timeout: zeros.3.into(),
            ledger: place.0.into(),
            code: place.1.into(),
            flags: zeros.1.into(),
            timestamp: zeros.0.into(),
        },
    )
}

/// What one batch does: its requests, how much later it is, and whether the segment ends first.
#[derive(Clone, Debug)]
struct Step {
    requests: Vec<Request>,
    later: u64,
    ends_segment: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let request = prop_oneof![
        1 => prop::collection::vec(account_event(), 0..8).prop_map(Request::Accounts),
        3 => prop::collection::vec(transfer_event(), 0..20).prop_map(Request::Transfers),
    ];
    let requests = prop::collection::vec(request, 0..5);
    (requests, 0_u64..30, prop::bool::weighted(0.2)).prop_map(|(requests, later, ends_segment)| {
        Step {
            requests,
            later,
            ends_segment,
        }
    })
}

fn model_request(
    model: &mut Model,
    request: &Request,
    first: u64,
    records: &mut u64,
) -> Vec<(u32, u64)> {
    let take = |(result, timestamp, recorded): (u32, u64, bool), records: &mut u64| {
        *records += u64::from(recorded);
        (result, timestamp)
    };
    match request {
        Request::Accounts(events) => events
            .iter()
            .map(|e| take(model.create_account(e, first + *records), records))
            .collect(),
        Request::Transfers(events) => events
            .iter()
            .map(|e| take(model.create_transfer(e, first + *records), records))
            .collect(),
        other => unreachable!("{other:?} is not drawn"),
    }
}

/// Runs the steps on both, comparing each result, and gives what the ledger's side made.
fn run_both(steps: &[Step]) -> (Desk, Model, Vec<usize>) {
    let (mut desk, mut model) = (Desk::new(), Model::default());
    let mut ends = vec![0];
    for step in steps {
        desk.now += step.later;
        let mut open = desk.open();
        let first = desk.now.max(desk.ledger.log_time().get() + 1);
        let mut records = 0;
        for request in &step.requests {
            let expected = model_request(&mut model, request, first, &mut records);
            let runs = desk.execute(&mut open, request);
            assert_eq!(expand(&runs), expected);
        }
        assert_eq!(open.record_count() as u64, records);
        if step.ends_segment {
            desk.end_segment();
            desk.ledger.move_batch(&mut open, desk.tail.lsn);
        }
        desk.finish(open);
        ends.push(desk.log.batches.len());
    }
    (desk, model, ends)
}

fn assert_model(desk: &mut Desk, model: &Model, ids: &[u128]) {
    desk.ledger.audit().unwrap();
    for &id in ids {
        let account = model.accounts.iter().find(|a| a.id.get() == id).copied();
        assert_eq!(lookup_account(&desk.ledger, id), account);
        let transfer = model.transfers.iter().find(|t| t.id.get() == id).copied();
        assert_eq!(lookup_transfer(&desk.ledger, &mut desk.log, id), transfer);
    }
    assert_eq!(desk.ledger.account_count() as usize, model.accounts.len());
    assert_eq!(desk.ledger.posted_count() as usize, model.transfers.len());
    assert_eq!(desk.ledger.failed_count() as usize, model.burned.len());
    for totals in desk.ledger.trial_balance() {
        assert!(totals.is_balanced());
        let of = |t: &&TransferBody| t.ledger.get() == totals.ledger.get();
        let posted = model.transfers.iter().filter(of).count();
        assert_eq!(totals.transfers as usize, posted);
    }
}

/// Restores from a snapshot that was taken behind batch `at`, indexes below, replays above.
fn restored(desk: &Desk, at: usize) -> Ledger {
    let mut halfway = Ledger::new(3);
    for batch in &desk.log.batches[..at] {
        halfway
            .apply(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    let tail = match at.checked_sub(1) {
        None => kanjo_format::Tail::empty(CLUSTER),
        Some(last) => {
            let batch = &desk.log.batches[last];
            kanjo_format::Tail {
                epoch: batch.header.epoch(),
                lsn: batch.end,
                chain: batch.header.chain_after(&batch.payload),
            }
        }
    };
    let snapshot = halfway.snapshot(CLUSTER, tail);
    // The snapshot stays what it is while the ledger goes on.
    for batch in &desk.log.batches[at..] {
        halfway
            .apply(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    let restored = Ledger::restore(&mut bytes.as_slice(), 11).unwrap();
    assert_eq!((restored.cluster, restored.tail), (CLUSTER, tail));
    let mut ledger = restored.ledger;
    for batch in &desk.log.batches[..at] {
        assert!(!ledger.is_index_complete());
        ledger
            .index_only(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    assert!(ledger.is_index_complete());
    for batch in &desk.log.batches[at..] {
        ledger
            .apply(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_way_to_an_lsn_gives_what_the_model_gives(
        steps in prop::collection::vec(step(), 1..12),
        cut: prop::sample::Index,
    ) {
        let (mut desk, model, _) = run_both(&steps);
        let ids: Vec<u128> = (0..=61).chain([u128::MAX]).collect();
        assert_model(&mut desk, &model, &ids);
        let mut log = desk.log.clone();
        let replayed = desk.replayed();
        assert_same(&desk.ledger, &replayed, &mut log, &ids);
        let at = cut.index(desk.log.batches.len() + 1);
        assert_same(&desk.ledger, &restored(&desk, at), &mut log, &ids);
    }

    #[test]
    fn a_second_attempt_never_changes_a_balance(steps in prop::collection::vec(step(), 1..8)) {
        let (mut desk, _, _) = run_both(&steps);
        let (digest, count) = (desk.ledger.digest(), desk.ledger.posted_count());
        let posted: Vec<TransferBody> = (1..=60)
            .filter_map(|id| lookup_transfer(&desk.ledger, &mut desk.log, id))
            .collect();
        for transfer in posted {
            let again = TransferBody { timestamp: 0.into(), ..transfer };
            let result = desk.run(&Request::Transfers(vec![again]));
            prop_assert_eq!(result, vec![(46, transfer.timestamp.get())]);
        }
        prop_assert_eq!(desk.ledger.digest(), digest);
        prop_assert_eq!(desk.ledger.posted_count(), count);
    }
}
