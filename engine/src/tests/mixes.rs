//! Requests of all kinds in any mix: every way to an lsn gives the same, and nothing is left of
//! what was undone.

use kanjo_format::client::{
    AccountBody, AccountChangeBody, AccountFlags, CloseDayBody, TransferBody, TransferDetailBody,
    TransferFlags,
};
use kanjo_format::{Lsn, Tail, TransferId};
use proptest::prelude::*;

use super::desk::{CLUSTER, Desk, Log, Request, account, assert_alike, assert_same, transfer};
use crate::{Ledger, OldPart};

const SECOND_NS: u64 = 1_000_000_000;
/// None, three days, and none of the calendar.
const DATES: [u32; 5] = [0, 20_260_101, 20_260_102, 20_260_103, 20_260_229];
const MAX: u128 = u128::MAX;

/// Mostly the first, seldom the second.
fn rarely<T: Clone + std::fmt::Debug>(usual: T, rare: T) -> impl Strategy<Value = T> {
    prop_oneof![20 => Just(usual), 1 => Just(rare)]
}

/// Few bits of those that there are.
fn some_of(bits: &'static [u16]) -> impl Strategy<Value = u16> {
    let one = || prop_oneof![3 => Just(0), 2 => prop::sample::select(bits)];
    (one(), one()).prop_map(|(one, two)| one | two)
}

/// Of a transfer: mostly a new one.
fn id() -> impl Strategy<Value = u128> {
    prop_oneof![6 => 100_u128..500, 1 => 1_u128..30]
}

/// Of a transfer that is there, mostly.
fn old_id() -> impl Strategy<Value = u128> {
    prop_oneof![16 => 1_u128..30, 1 => 100_u128..500]
}

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![30 => 0_u128..30, 4 => Just(MAX), 1 => Just(MAX - 10)]
}

fn account_event(imports: bool) -> impl Strategy<Value = AccountBody> {
    const FLAGS: &[u16] = &[
        AccountFlags::LINKED,
        AccountFlags::LINKED,
        AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
        AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
        AccountFlags::HISTORY,
        AccountFlags::CLOSED,
    ];
    let ledger = prop_oneof![16 => Just(1_u32), 1 => Just(2), 1 => 3_u32..9, 1 => Just(0)];
    let id = prop_oneof![1_u128..14, 14_u128..60];
    let parts = (id, some_of(FLAGS), ledger, 0_u64..3_000);
    parts.prop_map(move |(id, flags, ledger, time)| {
        let imported = if imports { AccountFlags::IMPORTED } else { 0 };
        AccountBody {
            id: id.into(),
            ledger: ledger.into(),
            code: 1.into(),
            flags: (flags | imported).into(),
            timestamp: if imports { time } else { 0 }.into(),
            ..AccountBody::default()
        }
    })
}

fn transfer_event(imports: bool) -> impl Strategy<Value = TransferBody> {
    const FLAGS: &[u16] = &[
        TransferFlags::LINKED,
        TransferFlags::LINKED,
        TransferFlags::PENDING,
        TransferFlags::PENDING,
        TransferFlags::PENDING | TransferFlags::CLOSING_DEBIT,
        TransferFlags::PENDING | TransferFlags::CLOSING_CREDIT,
        TransferFlags::POST_PENDING_TRANSFER,
        TransferFlags::POST_PENDING_TRANSFER,
        TransferFlags::VOID_PENDING_TRANSFER,
        TransferFlags::BALANCING_DEBIT,
        TransferFlags::BALANCING_CREDIT,
    ];
    let accounts = (1_u128..13, 1_u128..13);
    let data = (0_u128..3, 0_u64..3, 0_u32..3);
    let rest = (
        prop_oneof![2 => Just(0_u32), 3 => Just(1), 1 => Just(2), 1 => Just(u32::MAX)],
        rarely(1_u16, 0),
        0_u64..3_000,
        rarely(false, true),
    );
    (
        id(),
        accounts,
        amount(),
        old_id(),
        data,
        some_of(FLAGS),
        rest,
    )
        .prop_map(
            move |(id, accounts, amount, pending_id, data, flags, rest)| {
                const RESOLVING: u16 =
                    TransferFlags::POST_PENDING_TRANSFER | TransferFlags::VOID_PENDING_TRANSFER;
                let (timeout, code, time, is_odd) = rest;
                let resolves = flags & RESOLVING != 0;
                let expires = flags & TransferFlags::PENDING != 0 && !imports;
                let named = |id: u128| if resolves != is_odd { 0 } else { id };
                let imported = if imports { TransferFlags::IMPORTED } else { 0 };
                TransferBody {
                    id: id.into(),
                    debit_account_id: named(accounts.0).into(),
                    credit_account_id: named(accounts.1).into(),
                    amount: match amount {
                        _ if flags & TransferFlags::VOID_PENDING_TRANSFER != 0 && !is_odd => 0,
                        amount => amount,
                    }
                    .into(),
                    pending_id: if resolves { pending_id } else { 0 }.into(),
                    user_data_128: data.0.into(),
                    user_data_64: data.1.into(),
                    user_data_32: data.2.into(),
                    timeout: if expires != is_odd { timeout } else { 0 }.into(),
                    ledger: if resolves { 0 } else { 1 }.into(),
                    code: if resolves { 0 } else { code }.into(),
                    flags: (flags | imported).into(),
                    timestamp: if imports { time } else { 0 }.into(),
                }
            },
        )
}

fn detail_event() -> impl Strategy<Value = TransferDetailBody> {
    let date = || prop_oneof![6 => Just(0_u32), 4 => date()];
    let reverses = prop_oneof![2 => Just(0_u128), 2 => old_id()];
    (transfer_event(false), reverses, date(), date()).prop_map(
        |(transfer, reverses, value, day)| {
            let reversal = TransferBody {
                debit_account_id: 0.into(),
                credit_account_id: 0.into(),
                pending_id: 0.into(),
                timeout: 0.into(),
                flags: (transfer.flags.get() & TransferFlags::LINKED).into(),
                ..transfer
            };
            TransferDetailBody {
                transfer: if reverses == 0 { transfer } else { reversal },
                reverses: reverses.into(),
                value_date: value.into(),
                business_date: day.into(),
                ..TransferDetailBody::default()
            }
        },
    )
}

fn change_event() -> impl Strategy<Value = AccountChangeBody> {
    (1_u128..14, 0_u32..8, 0_u128..20, 0_u32..4).prop_map(|(id, change, limit, freeze)| {
        AccountChangeBody {
            id: id.into(),
            overdraft_limit: if change & 1 != 0 { limit } else { 0 }.into(),
            change: change.into(),
            freeze: if change & 4 != 0 { freeze } else { 0 }.into(),
            ..AccountChangeBody::default()
        }
    })
}

fn date() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(DATES[0]), 20 => prop::sample::select(&DATES[1..4]), 1 => Just(DATES[4])]
}

fn request() -> impl Strategy<Value = Request> {
    use prop::collection::vec;
    prop_oneof![
        3 => vec(account_event(false), 1..10).prop_map(Request::Accounts),
        2 => vec(account_event(true), 1..6).prop_map(Request::Accounts),
        8 => vec(transfer_event(false), 1..24).prop_map(Request::Transfers),
        2 => vec(transfer_event(true), 1..8).prop_map(Request::Transfers),
        3 => vec(detail_event(), 1..12).prop_map(Request::Details),
        1 => vec(change_event(), 1..6).prop_map(Request::Changes),
        1 => (prop_oneof![Just(0), date()], date()).prop_map(|(date, next)| Request::Day(CloseDayBody {
            date: date.into(),
            next: next.into(),
            ..CloseDayBody::default()
        })),
        1 => vec(id(), 1..6)
            .prop_map(|ids| Request::Burns(ids.into_iter().map(TransferId::new).collect())),
    ]
}

/// One batch: its requests, how much later it is, whether the segment ends before it is closed.
#[derive(Clone, Debug)]
struct Step {
    requests: Vec<Request>,
    later: u64,
    ends_segment: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![6 => 0_u64..30, 3 => Just(SECOND_NS - 20), 1 => Just(2 * SECOND_NS)];
    let requests = prop::collection::vec(request(), 1..4);
    (requests, later, prop::bool::weighted(0.3)).prop_map(|(requests, later, ends_segment)| Step {
        requests,
        later,
        ends_segment,
    })
}

/// A desk with accounts, transfers that are pending, and some that are posted.
fn furnished() -> Desk {
    let mut desk = Desk::new();
    let accounts = (1..=12).map(|id| {
        let (ledger, flags) = (1 + u32::from(id == 12), [0, 2, 4][id as usize % 3]);
        account(id, ledger, flags)
    });
    desk.run(&Request::Accounts(accounts.collect()));
    let event = |id: u128| {
        let is_pending = id <= 20;
        TransferBody {
            flags: if is_pending {
                TransferFlags::PENDING
            } else {
                0
            }
            .into(),
            timeout: if is_pending { id as u32 % 4 } else { 0 }.into(),
            ..transfer(id, 3 * (id % 3 + 1), 1 + id % 2 * 3, 1_000)
        }
    };
    desk.run(&Request::Transfers((1..30).map(event).collect()));
    desk
}

fn execute(desk: &mut Desk, steps: &[Step]) {
    for step in steps {
        desk.now += step.later;
        let mut open = desk.open();
        for request in &step.requests {
            while !desk
                .ledger
                .fits_request(&mut open, request.kind(), request.len())
            {
                desk.finish(open);
                open = desk.open();
            }
            let runs = desk.execute(&mut open, request);
            let results: u32 = runs.iter().map(|run| run.count.get()).sum();
            assert_eq!(results as usize, request.len());
        }
        if step.ends_segment {
            desk.end_segment();
            desk.ledger.move_batch(&mut open, desk.tail.lsn);
        }
        desk.finish(open);
        desk.ledger.audit().unwrap();
    }
}

fn tail_behind(log: &Log, count: usize) -> Tail {
    match count.checked_sub(1) {
        None => Tail::empty(CLUSTER),
        Some(last) => {
            let batch = &log.batches[last];
            Tail {
                epoch: batch.header.epoch(),
                lsn: batch.end,
                chain: batch.header.chain_after(&batch.payload),
            }
        }
    }
}

/// Restores from a checkpoint behind batch `at` with an old part that ends behind batch `old`.
fn restored(log: &Log, at: usize, old: usize) -> Ledger {
    let mut halfway = Ledger::new(3);
    for batch in &log.batches[..at] {
        halfway
            .apply(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    let mut bytes = Vec::new();
    let snapshot = halfway.snapshot(CLUSTER, tail_behind(log, at));
    snapshot.write(&mut bytes).unwrap();
    let mut ledger = Ledger::restore(&mut bytes.as_slice(), 11).unwrap().ledger;
    if old > 0 {
        let mut below = Ledger::new(1);
        for batch in &log.batches[..old] {
            below
                .apply(&batch.header, &batch.payload, batch.end)
                .unwrap();
        }
        ledger.cover_index(&OldPart {
            end: log.batches[old - 1].end,
            posted: below.posted_count(),
            failed: below.failed_count(),
            highest_id: TransferId::new(500),
        });
    }
    for batch in &log.batches {
        if batch.header.lsn() == ledger.indexed() && !ledger.is_index_complete() {
            let indexed = ledger.index_only(&batch.header, &batch.payload, batch.end);
            indexed.unwrap();
        }
    }
    assert!(ledger.is_index_complete());
    for batch in &log.batches[at..] {
        ledger
            .apply(&batch.header, &batch.payload, batch.end)
            .unwrap();
    }
    ledger
}

fn ids() -> Vec<u128> {
    (0..=60).chain(100..500).chain([MAX]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_way_to_an_lsn_gives_what_execution_gave(
        steps in prop::collection::vec(step(), 1..14),
        (cut, old) in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut desk = furnished();
        execute(&mut desk, &steps);
        let mut log = desk.log.clone();
        assert_same(&desk.ledger, &desk.replayed(), &mut log, &ids());
        let at = cut.index(log.batches.len() + 1);
        assert_same(&desk.ledger, &restored(&log, at, 0), &mut log, &ids());
        let old = old.index(log.batches.len() + 1);
        log.set_old(tail_behind(&log, old).lsn);
        assert_alike(&desk.ledger, &restored(&log, at, old), &mut log, &ids());
    }

    #[test]
    fn execution_does_not_depend_on_what_of_the_index_is_old(
        steps in prop::collection::vec(step(), 2..14),
        dropped in prop::collection::vec(prop::bool::weighted(0.5), 14),
    ) {
        let (mut whole, mut parted) = (furnished(), furnished());
        for (step, drops) in steps.iter().zip(dropped) {
            execute(&mut whole, std::slice::from_ref(step));
            execute(&mut parted, std::slice::from_ref(step));
            if drops {
                // Only whole generations go, which end at or below.
                parted.ledger.drop_index_below(parted.tail.lsn);
                parted.log.set_old(parted.ledger.index().start());
            }
            prop_assert_eq!(whole.ledger.digest(), parted.ledger.digest());
        }
        let mut log = parted.log.clone();
        assert_alike(&whole.ledger, &parted.ledger, &mut log, &ids());
        prop_assert_eq!(whole.tail, parted.tail);
    }

    #[test]
    fn what_was_undone_leaves_nothing_behind(
        steps in prop::collection::vec(step(), 0..8),
        request in request(),
    ) {
        let mut desk = furnished();
        execute(&mut desk, &steps);
        desk.now += SECOND_NS / 2;
        let before = desk.replayed();
        let request = doomed(request);
        let results = desk.run(&request);
        let burned = results.iter().filter(|(result, _)| is_transient(&request, *result)).count();
        prop_assert!(burned <= 1, "{:?}", results);
        prop_assert!(results.iter().all(|(result, _)| *result != u32::MAX));
        let expired = before.pending_count() - desk.ledger.pending_count();
        if burned == 0 && expired == 0 {
            let mut log = desk.log.clone();
            assert_same(&before, &desk.ledger, &mut log, &ids());
        }
        desk.ledger.audit().unwrap();
        let mut log = desk.log.clone();
        assert_same(&desk.ledger, &desk.replayed(), &mut log, &ids());
        prop_assert_eq!(before.account_count(), desk.ledger.account_count());
        prop_assert_eq!(before.posted_count(), desk.ledger.posted_count());
        prop_assert_eq!(before.failed_count() + burned as u64, desk.ledger.failed_count());
        prop_assert!(desk.tail.lsn >= Lsn::ZERO);
    }
}

/// The same request as one chain that is never closed.
fn doomed(request: Request) -> Request {
    let linked = |flags: u16| (flags | 1).into();
    match request {
        Request::Accounts(mut events) => {
            for event in &mut events {
                event.flags = linked(event.flags.get());
            }
            Request::Accounts(events)
        }
        Request::Transfers(mut events) => {
            for event in &mut events {
                event.flags = linked(event.flags.get());
            }
            Request::Transfers(events)
        }
        Request::Details(mut events) => {
            for event in &mut events {
                event.transfer.flags = linked(event.transfer.flags.get());
            }
            Request::Details(events)
        }
        _ => Request::Burns(vec![TransferId::new(0)]),
    }
}

fn is_transient(request: &Request, result: u32) -> bool {
    use kanjo_format::result::CreateTransferResult;
    let result = CreateTransferResult::from_number(result);
    let of_transfers = matches!(request, Request::Transfers(_) | Request::Details(_));
    of_transfers && result.is_some_and(CreateTransferResult::is_transient)
}
