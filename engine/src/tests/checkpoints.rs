//! Checkpoints: nothing but exactly what was written is taken back.

use std::sync::Arc;

use kanjo_format::checkpoint::{
    CheckpointAccountRow, CheckpointDayRow, CheckpointPendingRow, CheckpointReader,
    CheckpointTermsRow, CheckpointWriter, EpochRow, LedgerRow, ReignSectionRow, SectionKind,
    UnprotectedRow, verify,
};
use kanjo_format::client::{
    AccountChange, AccountChangeBody, CloseDayBody, TransferBody, TransferDetailBody, TransferFlags,
};
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::result::CreateTransferResult;
use kanjo_format::{Incarnation, NodeId, OpeningId};

use super::desk::{Desk, Request, account, assert_same, pending, transfer, void, with};
use crate::account::PAGE_VALUES;
use crate::{ApplyError, Ledger, RestoreError};

/// Every section has rows: accounts of two ledgers, an epoch, transfers posted alone.
fn furnished() -> Desk {
    let mut desk = Desk::new();
    let opening = OpeningId {
        node: NodeId::new(1),
        incarnation: Incarnation::new(2),
        random: 3,
    };
    let row = ReignRow::new(opening, desk.tail, Protection::Alone)
        .with_member(NodeId::new(4), Incarnation::new(5))
        .with_reason("the other cloud is gone");
    desk.reign(RecordKind::EpochStart, row);
    desk.run(&Request::Accounts(vec![
        account(1, 1, 2),
        account(2, 1, 0),
        account(3, 2, 4),
        account(4, 2, 0),
    ]));
    desk.run(&Request::Transfers(vec![
        transfer(10, 2, 1, u128::MAX),
        transfer(11, 1, 9, 5),
        transfer(12, 1, 2, 7),
    ]));
    desk
}

fn written(desk: &mut Desk) -> Vec<u8> {
    let mut bytes = Vec::new();
    desk.snapshot().write(&mut bytes).unwrap();
    bytes
}

#[test]
fn every_flipped_byte_is_refused() {
    let bytes = written(&mut furnished());
    assert_eq!(verify(&mut bytes.as_slice()).unwrap().accounts, 4);
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            let restored = Ledger::restore(&mut bad.as_slice(), 1);
            assert!(restored.is_err(), "byte {at} flipped unseen");
            assert!(verify(&mut bad.as_slice()).is_err());
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = written(&mut furnished());
    for end in 0..bytes.len() {
        assert!(Ledger::restore(&mut &bytes[..end], 1).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Ledger::restore(&mut longer.as_slice(), 1).is_err());
}

/// The rows of a checkpoint, to be changed and written again under good checksums.
struct Parts {
    reign: Vec<ReignSectionRow>,
    epochs: Vec<EpochRow>,
    ledgers: Vec<LedgerRow>,
    unprotected: Vec<UnprotectedRow>,
    accounts: Vec<CheckpointAccountRow>,
    pendings: Vec<CheckpointPendingRow>,
    terms: Vec<CheckpointTermsRow>,
    days: Vec<CheckpointDayRow>,
}

fn forged(bytes: &[u8], forge: impl FnOnce(&mut Parts)) -> Result<(), RestoreError> {
    let mut input = bytes;
    let mut reader = CheckpointReader::start(&mut input).unwrap();
    let header = *reader.header();
    let mut parts = Parts {
        reign: Vec::new(),
        epochs: Vec::new(),
        ledgers: Vec::new(),
        unprotected: Vec::new(),
        accounts: Vec::new(),
        pendings: Vec::new(),
        terms: Vec::new(),
        days: Vec::new(),
    };
    while let Some(section) = reader.next_section().unwrap() {
        match section.kind {
            SectionKind::Reign => parts.reign.extend(section.rows::<ReignSectionRow>()),
            SectionKind::Epochs => parts.epochs.extend(section.rows::<EpochRow>()),
            SectionKind::Ledgers => parts.ledgers.extend(section.rows::<LedgerRow>()),
            SectionKind::Unprotected => parts.unprotected.extend(section.rows::<UnprotectedRow>()),
            SectionKind::Accounts => {
                parts
                    .accounts
                    .extend(section.rows::<CheckpointAccountRow>());
            }
            SectionKind::Pendings => parts
                .pendings
                .extend(section.rows::<CheckpointPendingRow>()),
            SectionKind::Terms => parts.terms.extend(section.rows::<CheckpointTermsRow>()),
            SectionKind::Days => parts.days.extend(section.rows::<CheckpointDayRow>()),
            SectionKind::End => unreachable!("the end is not given out"),
        }
    }
    forge(&mut parts);
    let mut file = Vec::new();
    let mut writer = CheckpointWriter::start(&mut file, &header).unwrap();
    writer.rows(&parts.reign).unwrap();
    writer.rows(&parts.epochs).unwrap();
    writer.rows(&parts.ledgers).unwrap();
    writer.rows(&parts.unprotected).unwrap();
    writer.rows(&parts.accounts).unwrap();
    writer.rows(&parts.pendings).unwrap();
    writer.rows(&parts.terms).unwrap();
    writer.rows(&parts.days).unwrap();
    writer.finish().unwrap();
    Ledger::restore(&mut file.as_slice(), 1).map(|_| ())
}

#[test]
fn good_checksums_do_not_make_wrong_content_right() {
    let bytes = written(&mut furnished());
    assert!(forged(&bytes, |_| {}).is_ok());
    let totals = forged(&bytes, |p| p.accounts[0].debits_posted += 1);
    assert!(matches!(totals, Err(RestoreError::Totals(_))), "{totals:?}");
    let digest = forged(&bytes, |p| {
        // Both sides of two accounts change alike: the totals agree, the digest does not.
        p.accounts[0].debits_posted += 1;
        p.accounts[1].debits_posted -= 1;
    });
    assert!(matches!(digest, Err(RestoreError::Digest { .. })));
    let swapped = forged(&bytes, |p| p.accounts.swap(0, 1));
    assert!(matches!(swapped, Err(RestoreError::Digest { .. })));
    let twice = forged(&bytes, |p| p.accounts[1].id = p.accounts[0].id);
    assert!(matches!(twice, Err(RestoreError::Account(_))));
    let missing = forged(&bytes, |p| p.accounts.truncate(3));
    assert!(matches!(missing, Err(RestoreError::File(_))));
    let count = forged(&bytes, |p| p.ledgers[0].transfers += 1);
    assert!(matches!(count, Err(RestoreError::Field { .. })));
    for forge in [
        (|p| p.reign[0].protection = 3) as fn(&mut Parts),
        |p| p.reign[0].member_count = 5,
        |p| p.reign[0].reason_bytes = 200,
        |p| p.reign[0].reason[0] = 0xff,
        |p| p.epochs[0].epoch = 0.into(),
    ] {
        let refused = forged(&bytes, forge);
        assert!(
            matches!(refused, Err(RestoreError::Field { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_checkpoint_of_another_log_is_found_out_by_its_counts() {
    let mut desk = furnished();
    desk.transfer(transfer(13, 2, 1, 0));
    let file = written(&mut desk);
    let mut ledger = Ledger::restore(&mut file.as_slice(), 1).unwrap().ledger;
    // Another log of the same lengths: one transfer fewer in the last batch.
    let mut other = furnished();
    other.transfer(transfer(13, 2, 8, 0));
    let mut taken = Ok(());
    for batch in &other.log.batches {
        taken = ledger.index_only(&batch.header, &batch.payload, batch.end);
    }
    assert!(matches!(taken, Err(ApplyError::Counts { .. })));
    let next = other.log.batches.last().unwrap();
    let refused = ledger.index_only(&next.header, &next.payload, next.end);
    assert_eq!(refused, Err(ApplyError::Broken));
}

#[test]
fn a_snapshot_copies_only_the_pages_that_are_written_after_it() {
    let mut desk = Desk::new();
    let count = 3 * PAGE_VALUES as u128;
    let accounts = (1..=count).map(|id| account(id, 1, 0)).collect();
    desk.run(&Request::Accounts(accounts));
    let before = desk.ledger.books.accounts.share().cores;
    desk.transfer(transfer(1, 1, 2, 5));
    let after = desk.ledger.books.accounts.share().cores;
    assert!(!Arc::ptr_eq(&before[0], &after[0]));
    assert!(Arc::ptr_eq(&before[1], &after[1]));
    assert!(Arc::ptr_eq(&before[2], &after[2]));
    assert_eq!(before[0][0].debits_posted, 0);
    assert_eq!(after[0][0].debits_posted, 5);
}

#[test]
fn pages_partly_and_wholly_filled_come_back() {
    let edge = PAGE_VALUES as u128;
    for count in [0, 1, edge - 1, edge, edge + 1, 9 * edge + 3] {
        let mut desk = Desk::new();
        if count > 0 {
            let accounts = (1..=count).map(|id| account(id, 1, 0)).collect();
            desk.run(&Request::Accounts(accounts));
        }
        let file = written(&mut desk);
        let mut ledger = Ledger::restore(&mut file.as_slice(), 5).unwrap().ledger;
        for batch in &desk.log.batches {
            ledger
                .index_only(&batch.header, &batch.payload, batch.end)
                .unwrap();
        }
        assert_same(&desk.ledger, &ledger, &mut desk.log, &[1, edge, count]);
    }
}

/// The same with what came with version 2: pending transfers, terms, business dates.
fn furnished_whole() -> Desk {
    let mut desk = furnished();
    let closing = TransferFlags::CLOSING_CREDIT;
    let detail = TransferDetailBody {
        transfer: TransferBody {
            user_data_128: 7.into(),
            user_data_64: 8.into(),
            user_data_32: 9.into(),
            ..pending(23, 1, 2, 4, 0)
        },
        value_date: 20_261_101.into(),
        business_date: 20_261_231.into(),
        ..TransferDetailBody::default()
    };
    let limit = AccountChangeBody {
        id: 1.into(),
        overdraft_limit: 77.into(),
        change: AccountChange::SET_OVERDRAFT_LIMIT.into(),
        ..AccountChangeBody::default()
    };
    let freeze = AccountChangeBody {
        id: 4.into(),
        change: AccountChange::SET_FREEZE.into(),
        freeze: 2.into(),
        ..AccountChangeBody::default()
    };
    let day = |date: u32, next: u32| {
        Request::Day(CloseDayBody {
            date: date.into(),
            next: next.into(),
            ..CloseDayBody::default()
        })
    };
    for request in [
        day(0, 20_261_124),
        Request::Transfers(vec![pending(20, 1, 2, 3, 60), pending(21, 1, 2, 5, 7)]),
        Request::Transfers(vec![with(pending(22, 1, 2, 0, 0), closing)]),
        day(20_261_124, 20_261_125),
        Request::Details(vec![detail]),
        Request::Changes(vec![limit, freeze]),
        Request::Transfers(vec![void(24, 22), void(25, 21)]),
    ] {
        desk.run(&request);
    }
    let detail = TransferDetailBody {
        transfer: TransferBody {
            id: 26.into(),
            ..detail.transfer
        },
        ..detail
    };
    assert_eq!(desk.detail_ends(detail), CreateTransferResult::Created);
    assert_eq!(
        desk.ends(with(pending(27, 1, 2, 0, 0), closing)),
        CreateTransferResult::Created
    );
    desk
}

#[test]
fn every_flipped_byte_of_a_whole_checkpoint_is_refused() {
    let bytes = written(&mut furnished_whole());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let restored = Ledger::restore(&mut bad.as_slice(), 1);
        assert!(restored.is_err(), "byte {at} flipped unseen");
    }
}

#[test]
fn pending_transfers_terms_and_dates_are_proven_too() {
    let bytes = written(&mut furnished_whole());
    assert!(forged(&bytes, |_| {}).is_ok());
    for forge in [
        (|p| p.pendings[0].amount += 1) as fn(&mut Parts),
        |p| p.pendings[0].timestamp += 1,
        |p| p.pendings[0].timestamp = u64::MAX.into(),
        |p| p.pendings[0].debit_account = 99.into(),
        |p| p.pendings[1].at = p.pendings[0].at,
        |p| p.pendings[0].at = u64::MAX.into(),
        |p| p.terms[0].overdraft_limit += 1,
        |p| p.terms[0].has_overdraft_limit = 2,
        |p| p.terms[0].changed = 0.into(),
        |p| p.terms[0].account = 99.into(),
        |p| p.terms[1].account = p.terms[0].account,
        |p| p.terms[1].freeze = 1,
        |p| p.days[0].next += 1,
        |p| p.days[0].closed += 1,
        |p| p.days.swap(0, 1),
        |p| p.accounts[1].flags = 0.into(),
    ] {
        let refused = forged(&bytes, forge);
        assert!(refused.is_err());
    }
}

#[test]
fn a_checkpoint_of_version_1_is_restored() {
    let golden = include_bytes!("../../../format/fixtures/checkpoint-v1.ckpt");
    let restored = Ledger::restore(&mut golden.as_slice(), 1).unwrap();
    assert_eq!(restored.ledger.digest(), furnished().ledger.digest());
}

#[test]
fn bytes_of_version_2_stay_as_they_are() {
    let golden = include_bytes!("../../../format/fixtures/checkpoint-v2.ckpt");
    let restored = Ledger::restore(&mut golden.as_slice(), 1).unwrap();
    let mut desk = furnished_whole();
    assert_eq!(restored.ledger.digest(), desk.ledger.digest());
    assert!(written(&mut desk) == golden, "the layout changed");
}
