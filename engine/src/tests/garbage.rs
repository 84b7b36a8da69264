//! Batches of any content: an error at worst, and a ledger that still adds up where it is none.

use kanjo_format::batch::BatchFields;
use kanjo_format::client::{TransferBody, TransferFlags};
use kanjo_format::columns::push_group;
use kanjo_format::limits::BATCH_RECORDS_MAX;
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow,
    PendingRow, RecordKind, ReignRow, ResolvedRow, Row, TransferRow,
};
use kanjo_format::{BatchHeader, Epoch, Lsn, Tail, Timestamp};
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::desk::{CLUSTER, Desk, Request, account, chain, transfer};
use crate::Ledger;

fn desk() -> Desk {
    let mut desk = Desk::new();
    let accounts = (1..=3).map(|id| account(id, 1, 0)).collect();
    desk.run(&Request::Accounts(accounts));
    desk.run(&Request::Transfers(vec![
        transfer(10, 1, 2, 5),
        transfer(11, 1, 9, 5),
        TransferBody {
            flags: TransferFlags::PENDING.into(),
            timeout: 1.into(),
            ..transfer(12, 1, 2, 5)
        },
        TransferBody {
            flags: (TransferFlags::PENDING | TransferFlags::CLOSING_DEBIT).into(),
            ..transfer(13, 3, 2, 0)
        },
    ]));
    desk
}

/// A row of few distinct bytes, so that ids and numbers meet.
fn row<R: Row>(bytes: &[u8]) -> R {
    let mut row = R::new_zeroed();
    for (n, byte) in row.as_mut_bytes().iter_mut().enumerate() {
        // Mostly zeros: a field is then a small number or none.
        if n % 8 == 0 {
            *byte = bytes[n % bytes.len()];
        }
    }
    row
}

fn push_any(payload: &mut Vec<u8>, kind: RecordKind, rows: &[Vec<u8>]) {
    fn push<R: Row>(payload: &mut Vec<u8>, kind: RecordKind, rows: &[Vec<u8>]) {
        let rows: Vec<R> = rows.iter().map(|bytes| row(bytes)).collect();
        push_group(payload, kind, &rows);
    }
    match kind {
        RecordKind::EpochStart | RecordKind::SetChange => push::<ReignRow>(payload, kind, rows),
        RecordKind::AccountOpened => push::<AccountRow>(payload, kind, rows),
        RecordKind::TransferPosted => push::<TransferRow>(payload, kind, rows),
        RecordKind::TransferFailed => push::<FailedRow>(payload, kind, rows),
        RecordKind::TransferPending => push::<PendingRow>(payload, kind, rows),
        RecordKind::PendingPosted | RecordKind::PendingVoided => {
            push::<ResolvedRow>(payload, kind, rows);
        }
        RecordKind::PendingExpired => push::<ExpiredRow>(payload, kind, rows),
        RecordKind::TransferDetailed => push::<DetailedRow>(payload, kind, rows),
        RecordKind::AccountImported => push::<ImportedAccountRow>(payload, kind, rows),
        RecordKind::AccountChanged => push::<AccountChangeRow>(payload, kind, rows),
        RecordKind::DayClosed => push::<DayRow>(payload, kind, rows),
    }
}

/// Applies, and if that went well writes, restores and indexes: nothing of it panics.
fn take(mut ledger: Ledger, header: &BatchHeader, payload: &[u8], end: Lsn) {
    if ledger.apply(header, payload, end).is_err() {
        return;
    }
    ledger.audit().unwrap();
    let tail = Tail {
        epoch: header.epoch(),
        lsn: end,
        chain: chain(2),
    };
    let mut bytes = Vec::new();
    ledger.snapshot(CLUSTER, tail).write(&mut bytes).unwrap();
    let restored = Ledger::restore(&mut bytes.as_slice(), 1).unwrap();
    assert_eq!(restored.ledger.digest(), ledger.digest());
    assert_eq!(restored.ledger.reign(), ledger.reign());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_200))]

    #[test]
    fn no_flipped_byte_of_a_payload_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        batch in 0_usize..2,
        count in 0_u32..5,
        time: u64,
    ) {
        let desk = desk();
        let mut ledger = Ledger::new(1);
        for placed in &desk.log.batches[..batch] {
            ledger.apply(&placed.header, &placed.payload, placed.end).unwrap();
        }
        let mut payload = desk.log.batches[batch].payload.clone();
        for (at, value) in flips {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        let header = BatchHeader::build(&BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::from_terms(1, 1),
            lsn: ledger.applied(),
            flags: 0,
            record_count: count,
            timestamp: Timestamp::new(time),
            confirmed: Lsn::ZERO,
            prev_chain: chain(3),
        }, &payload);
        take(ledger, &header, &payload, header.end(1 << 20));
    }

    #[test]
    fn no_well_formed_batch_of_any_content_panics(
        groups in prop::collection::vec(
            (1_u16..14, prop::collection::vec(prop::collection::vec(0_u8..4, 1..40), 1..4)),
            1..4,
        ),
        epoch in 0_u64..5,
        header_bytes: [u8; 128],
        honest in prop::bool::weighted(0.9),
    ) {
        let ledger = desk().replayed();
        let mut payload = Vec::new();
        let mut count = 0;
        for (kind, rows) in &groups {
            count += rows.len() as u32;
            push_any(&mut payload, RecordKind::from_number(*kind).unwrap(), rows);
        }
        prop_assert!((count as usize) < BATCH_RECORDS_MAX);
        let header = if honest {
            BatchHeader::build(&BatchFields {
                cluster: CLUSTER,
                epoch: Epoch::from_terms(1, epoch as u32),
                lsn: ledger.applied(),
                flags: 0,
                record_count: count,
                timestamp: Timestamp::new(1 << 40),
                confirmed: Lsn::ZERO,
                prev_chain: chain(3),
            }, &payload)
        } else {
            BatchHeader::read_from_bytes(&header_bytes).unwrap()
        };
        take(ledger, &header, &payload, Lsn::new(1 << 20));
    }

    #[test]
    fn nothing_below_a_checkpoint_panics(bytes: Vec<u8>, count: u32, end: u64) {
        let mut desk = desk();
        let mut file = Vec::new();
        desk.snapshot().write(&mut file).unwrap();
        let mut ledger = Ledger::restore(&mut file.as_slice(), 1).unwrap().ledger;
        let first = &desk.log.batches[0];
        let header = BatchHeader::build(&BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::NONE,
            lsn: Lsn::ZERO,
            flags: 0,
            record_count: count % 9_000 % 8_193,
            timestamp: Timestamp::new(u64::MAX),
            confirmed: Lsn::ZERO,
            prev_chain: chain(3),
        }, &bytes);
        let _ = ledger.index_only(&header, &bytes, Lsn::new(end));
        let mut ledger = Ledger::restore(&mut file.as_slice(), 1).unwrap().ledger;
        let _ = ledger.index_only(&first.header, &first.payload, Lsn::new(end % 3 * 4096));
    }
}
