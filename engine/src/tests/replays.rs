//! What replay keeps, and what it refuses.

use kanjo_format::batch::BatchFields;
use kanjo_format::client::{DETAILED_EVENTS_MAX, TransferBody, TransferDetailBody, TransferFlags};
use kanjo_format::columns::push_group;
use kanjo_format::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, REQUEST_EVENTS_MAX};
use kanjo_format::record::{AccountRow, FailedRow, RecordKind, TransferRow};
use kanjo_format::result::CreateTransferResult as T;
use kanjo_format::{AccountNumber, BatchHeader, Lsn, Timestamp, TransferId};

use super::desk::{
    CLUSTER, Desk, Request, account, expand, lookup_transfer, pending, post, transfer, with,
};
use crate::{ApplyError, Entry, Ledger, RecordAt, RecordError};

fn furnished() -> Desk {
    let mut desk = Desk::new();
    desk.run(&Request::Accounts(vec![
        account(1, 1, 0),
        account(2, 1, 0),
        account(3, 2, 0),
    ]));
    desk.run(&Request::Transfers(vec![
        transfer(10, 1, 2, 5),
        transfer(11, 1, 9, 5),
        transfer(12, 2, 1, 1),
    ]));
    desk
}

#[test]
fn a_burned_id_stays_burned_after_replay() {
    let mut desk = furnished();
    assert_eq!(desk.account(account(9, 1, 0)), u32::MAX);
    let replayed = desk.replayed();
    let burned = Some(Entry::Failed(T::CreditAccountNotFound));
    assert_eq!(replayed.index().find(TransferId::new(11)), burned);
    desk.ledger = replayed;
    // The account is there by now; the id is burned all the same.
    let result = desk.transfer(transfer(11, 1, 9, 5));
    assert_eq!(result, T::IdAlreadyFailed.number());
    assert_eq!(lookup_transfer(&desk.ledger, &mut desk.log, 11), None);
    assert_eq!(desk.transfer(transfer(13, 1, 9, 5)), u32::MAX);
}

#[test]
fn a_retry_within_the_same_batch_finds_the_first_attempt() {
    let mut desk = furnished();
    let mut open = desk.open();
    let events = vec![
        transfer(20, 1, 2, 3),
        transfer(20, 1, 2, 3),
        transfer(21, 1, 7, 3),
        transfer(21, 1, 2, 3),
        transfer(22, 1, 2, 3),
        transfer(20, 1, 2, 4),
    ];
    let runs = desk.execute(&mut open, &Request::Transfers(events));
    let first = open.first.get();
    let mut found = Vec::new();
    let ids = [20, 22].map(TransferId::new);
    desk.ledger
        .lookup_transfers(ids, Some(&open), &mut desk.log, &mut found)
        .unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].timestamp.get(), first + 2);
    desk.finish(open);
    let expected = vec![
        (u32::MAX, first),
        (T::Exists.number(), first),
        (T::CreditAccountNotFound.number(), first + 1),
        (T::IdAlreadyFailed.number(), first + 2),
        (u32::MAX, first + 2),
        (T::ExistsWithDifferentAmount.number(), first + 3),
    ];
    assert_eq!(expand(&runs), expected);
}

#[test]
fn log_time_never_stands_still_or_goes_back() {
    let mut desk = furnished();
    let before = desk.ledger.log_time();
    desk.now = 5;
    desk.transfer(transfer(30, 1, 2, 1));
    assert_eq!(desk.ledger.log_time(), Timestamp::new(before.get() + 1));
    desk.now = 9_000;
    desk.run(&Request::Transfers(
        (31..40).map(|id| transfer(id, 1, 2, 1)).collect(),
    ));
    assert_eq!(desk.ledger.log_time(), Timestamp::new(9_008));
    desk.end_segment();
    assert_eq!(desk.ledger.log_time(), Timestamp::new(9_008));
    assert_eq!(desk.replayed().log_time(), Timestamp::new(9_008));
}

#[test]
fn a_batch_moved_behind_a_segment_end_is_indexed_where_it_stands() {
    let mut desk = furnished();
    let mut open = desk.open();
    let events = vec![
        transfer(40, 1, 2, 1),
        transfer(41, 1, 7, 1),
        transfer(42, 2, 1, 1),
    ];
    desk.execute(&mut open, &Request::Transfers(events));
    desk.end_segment();
    desk.ledger.move_batch(&mut open, desk.tail.lsn);
    desk.finish(open);
    let at = desk.log.batches.last().unwrap().header.lsn();
    let entry = Some(Entry::Posted(RecordAt::new(at, 2)));
    assert_eq!(desk.ledger.index().find(TransferId::new(42)), entry);
    assert_eq!(desk.replayed().index().find(TransferId::new(42)), entry);
    assert!(lookup_transfer(&desk.ledger, &mut desk.log, 40).is_some());
}

#[test]
fn a_full_batch_of_alternating_records_fits() {
    let mut desk = furnished();
    let mut open = desk.open();
    for id in (100..).take(BATCH_RECORDS_MAX / 2) {
        let events = vec![transfer(2 * id, 1, 2, 1), transfer(2 * id + 1, 1, 7, 1)];
        desk.execute(&mut open, &Request::Transfers(events));
    }
    assert_eq!(open.room(), 0);
    desk.finish(open);
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
}

fn header_of(ledger: &Ledger, count: u32, time: u64, payload: &[u8]) -> BatchHeader {
    BatchHeader::build(
        &BatchFields {
            cluster: CLUSTER,
            epoch: kanjo_format::Epoch::from_terms(1, 1),
            lsn: ledger.applied(),
            flags: 0,
            record_count: count,
            timestamp: Timestamp::new(time),
            confirmed: Lsn::ZERO,
            prev_chain: super::desk::chain(1),
        },
        payload,
    )
}

fn apply_rows<R: kanjo_format::record::Row>(kind: RecordKind, rows: &[R]) -> (Ledger, ApplyError) {
    let mut ledger = furnished().replayed();
    let mut payload = Vec::new();
    push_group(&mut payload, kind, rows);
    let header = header_of(&ledger, rows.len() as u32, 1 << 40, &payload);
    let end = header.end(1 << 20);
    let error = ledger.apply(&header, &payload, end).unwrap_err();
    (ledger, error)
}

fn record_error(error: ApplyError) -> (usize, RecordError) {
    match error {
        ApplyError::Record { index, source, .. } => (index, source),
        other => panic!("{other}"),
    }
}

#[test]
fn transfers_that_cannot_have_happened_are_refused_where_they_stand() {
    let row = |id: u128, debit: u32, credit: u32, amount: u128| TransferRow {
        id: id.into(),
        debit_account: debit.into(),
        credit_account: credit.into(),
        amount: amount.into(),
        ..TransferRow::default()
    };
    let number = AccountNumber::new;
    let pair = |debit, credit| RecordError::Accounts {
        debit: number(debit),
        credit: number(credit),
    };
    let taken = |id| RecordError::Transfer(TransferId::new(id));
    let cases = [
        (row(71, 0, 3, 1), RecordError::NoAccount(number(3))),
        (
            row(71, u32::MAX, 0, 1),
            RecordError::NoAccount(number(u32::MAX)),
        ),
        (row(71, 0, 0, 1), pair(0, 0)),
        (row(71, 0, 2, 1), pair(0, 2)),
        (row(71, 0, 1, u128::MAX), RecordError::Overflow(number(0))),
        (row(10, 0, 1, 1), taken(10)),
        (row(11, 0, 1, 1), taken(11)),
        (row(70, 0, 1, 1), taken(70)),
        (row(0, 0, 1, 1), taken(0)),
        (row(u128::MAX, 0, 1, 1), taken(u128::MAX)),
    ];
    for (bad, expected) in cases {
        let rows = [row(70, 0, 1, 1), bad];
        let (mut ledger, error) = apply_rows(RecordKind::TransferPosted, &rows);
        assert_eq!(record_error(error), (1, expected));
        // Half a batch is in memory: nothing may follow it.
        let header = header_of(&ledger, 0, 0, &[]);
        let end = header.end(1 << 20);
        assert_eq!(ledger.apply(&header, &[], end), Err(ApplyError::Broken));
    }
}

#[test]
fn accounts_and_failures_that_cannot_have_happened_are_refused() {
    let row = |id: u128, number: u32, ledger: u32| AccountRow {
        id: id.into(),
        number: number.into(),
        ledger: ledger.into(),
        ..AccountRow::default()
    };
    let id = kanjo_format::AccountId::new;
    let next = |found| RecordError::Number {
        found: AccountNumber::new(found),
        expected: AccountNumber::new(3),
    };
    let cases = [
        (row(5, 4, 1), next(4)),
        (row(5, 0, 1), next(0)),
        (row(1, 3, 1), RecordError::Account(id(1))),
        (row(0, 3, 1), RecordError::Account(id(0))),
        (row(5, 3, 0), RecordError::NoLedger(id(5))),
    ];
    for (bad, expected) in cases {
        let (_, error) = apply_rows(RecordKind::AccountOpened, &[bad]);
        assert_eq!(record_error(error), (0, expected));
    }
    for result in [0, 69, T::Exists.number(), u32::MAX] {
        let failed = FailedRow {
            id: 71.into(),
            result: result.into(),
            reserved: 0.into(),
        };
        let (_, error) = apply_rows(RecordKind::TransferFailed, &[failed]);
        assert_eq!(record_error(error), (0, RecordError::Failure(result)));
    }
}

#[test]
fn only_the_next_batch_is_taken_and_another_leaves_no_trace() {
    let desk = furnished();
    let mut ledger = Ledger::new(1);
    let [first, second] = &desk.log.batches[..] else {
        panic!("two batches")
    };
    let early = ledger.apply(&second.header, &second.payload, second.end);
    assert!(matches!(early, Err(ApplyError::Place { .. })));
    ledger
        .apply(&first.header, &first.payload, first.end)
        .unwrap();
    let again = ledger.apply(&first.header, &first.payload, first.end);
    assert!(matches!(again, Err(ApplyError::Place { .. })));
    for end in [second.header.lsn(), Lsn::new(second.end.get() + 1)] {
        let misfit = ledger.apply(&second.header, &second.payload, end);
        assert!(matches!(misfit, Err(ApplyError::End { .. })));
    }
    let old = header_of(&ledger, 1, ledger.log_time().get(), &second.payload);
    let late = ledger.apply(&old, &second.payload, second.end);
    assert!(matches!(late, Err(ApplyError::Time { .. })));
    ledger
        .apply(&second.header, &second.payload, second.end)
        .unwrap();
    assert_eq!(ledger.digest(), desk.ledger.digest());
}

/// Ends of the batches that the requests take, each of which fits what a batch may hold.
fn take_all(desk: &mut Desk, requests: &[Request]) {
    let mut open = desk.open();
    for request in requests {
        while !(desk.ledger).fits_request(&mut open, request.kind(), request.len()) {
            assert!(!open.is_empty(), "an empty batch takes any request");
            desk.finish(open);
            open = desk.open();
        }
        desk.execute(&mut open, request);
        assert!(open.payload_bytes_max() <= BATCH_PAYLOAD_BYTES_MAX);
    }
    desk.finish(open);
    for batch in &desk.log.batches {
        assert!(batch.payload.len() <= BATCH_PAYLOAD_BYTES_MAX);
    }
    assert_eq!(desk.replayed().digest(), desk.ledger.digest());
}

/// An event of each narrow kind in turn, with fields that vary in every byte.
fn motley(id: u128) -> TransferBody {
    let spread = |seed: u128| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let event = match id % 4 {
        0 => pending(id, 1, 2, id % 7, u32::MAX / 2),
        1 => transfer(id, 1, 2, id % 7),
        2 => post(id, id - 2, 0),
        _ => transfer(id, 1, 99, 1),
    };
    TransferBody {
        user_data_128: spread(id).into(),
        user_data_64: (spread(id) as u64).into(),
        user_data_32: (spread(id) as u32).into(),
        ..event
    }
}

#[test]
fn a_full_request_of_any_mix_fits_a_batch() {
    let mut desk = furnished();
    let most = REQUEST_EVENTS_MAX as u128;
    let mixed = (100_000..).take(REQUEST_EVENTS_MAX).map(motley).collect();
    let many: Vec<Request> = (0..40_u128)
        .map(|n| Request::Transfers((0..450).map(|k| motley(200_000 + n * 1_000 + k)).collect()))
        .collect();
    let detail = |id: u128| TransferDetailBody {
        transfer: TransferBody {
            pending_id: 0.into(),
            flags: 0.into(),
            timeout: 0.into(),
            // Every other one fails, so that no two rows share a group.
            ..match id % 2 {
                0 => motley(4 * id + 1),
                _ => motley(4 * id + 3),
            }
        },
        value_date: 20_261_124.into(),
        ..TransferDetailBody::default()
    };
    let details = (100_000..).take(DETAILED_EVENTS_MAX).map(detail).collect();
    let imported = |id: u128| TransferBody {
        timestamp: (1_500 + id as u64).into(),
        ..with(transfer(500_000 + id, 1, 2, 1), TransferFlags::IMPORTED)
    };
    let imports = Request::Transfers((0..most).map(imported).collect());
    desk.now = 1_000_000;
    take_all(
        &mut desk,
        &[
            imports,
            Request::Transfers(mixed),
            Request::Details(details),
        ],
    );
    take_all(&mut desk, &many);
    desk.ledger.audit().unwrap();
}

#[test]
fn generations_below_the_old_part_are_dropped_and_no_other() {
    let mut desk = furnished();
    let mut ends = vec![desk.tail.lsn];
    for n in 0..4 {
        desk.transfer(transfer(300 + n, 1, 2, 1));
        desk.end_segment();
        ends.push(desk.tail.lsn);
    }
    let all = desk.ledger.index().len();
    desk.ledger.drop_index_below(ends[0]);
    assert_eq!(desk.ledger.index().len(), all);
    desk.ledger.drop_index_below(ends[2]);
    assert_eq!(desk.ledger.index().start(), ends[2]);
    assert_eq!(desk.ledger.index().len(), 2);
    desk.log.set_old(ends[2]);
    for id in [10, 301, 302] {
        let found = desk
            .ledger
            .find_id(TransferId::new(id), &mut desk.log)
            .unwrap();
        assert!(matches!(found, Some(Entry::Posted(_))), "id {id}");
    }
    assert_eq!(desk.ends(transfer(301, 1, 2, 1)), T::Exists);
    assert_eq!(desk.ends(transfer(11, 1, 9, 5)), T::IdAlreadyFailed);
}
