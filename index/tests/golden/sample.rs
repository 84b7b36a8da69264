//! A stretch of log with every kind of movement, and the run that is built from it.

use std::path::Path;
use std::sync::Arc;

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::client::TransferFlags;
use kanjo_format::columns::push_group;
use kanjo_format::record::{
    AccountRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow, PendingRow, RecordKind,
    ResolvedRow, TransferRow,
};
use kanjo_format::{BatchHeader, Chain, ClusterId, Epoch, Lsn, RecordAt, Timestamp};
use kanjo_index::{RunBuilder, RunInfo, RunSet, SetParams};

pub const SEGMENT_BYTES: u64 = 2 << 20;

pub fn params(dir: &Path) -> SetParams {
    SetParams {
        dir: dir.to_path_buf(),
        cluster: ClusterId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        segment_bytes: SEGMENT_BYTES,
        seed: 0x1122_3344_5566_7788,
        filter_bytes_max: 1 << 20,
    }
}

pub fn at(lsn: u64, index: usize) -> RecordAt {
    RecordAt::new(Lsn::new(lsn), index)
}

fn batch(lsn: u64, record_count: u32, flags: u16, payload: Vec<u8>) -> (BatchHeader, Vec<u8>) {
    let fields = BatchFields {
        cluster: ClusterId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        epoch: Epoch::from_terms(1, 1),
        lsn: Lsn::new(lsn),
        flags,
        record_count,
        timestamp: Timestamp::new(1_700_000_000_000_000_000 + lsn),
        confirmed: Lsn::ZERO,
        prev_chain: Chain::default(),
    };
    (BatchHeader::build(&fields, &payload), payload)
}

pub fn transfer(id: u128, amount: u128, debit: u32, credit: u32) -> TransferRow {
    TransferRow {
        id: id.into(),
        amount: amount.into(),
        debit_account: debit.into(),
        credit_account: credit.into(),
        code: 5.into(),
        ..TransferRow::default()
    }
}

fn accounts() -> Vec<u8> {
    let account = |number: u32, ledger: u32| AccountRow {
        id: u128::from(number + 100).into(),
        number: number.into(),
        ledger: ledger.into(),
        ..AccountRow::default()
    };
    let imported = ImportedAccountRow {
        account: account(3, 2),
        timestamp: 77.into(),
    };
    let mut payload = Vec::new();
    let opened = [account(0, 1), account(1, 1), account(2, 2)];
    push_group(&mut payload, RecordKind::AccountOpened, &opened);
    push_group(&mut payload, RecordKind::AccountImported, &[imported]);
    payload
}

/// Records 0 to 3 are pending ones, 4 to 303 posted ones, 304 failed.
fn first() -> Vec<u8> {
    let pending = |n: u128| PendingRow {
        transfer: transfer(1_000 + n, 50 + n, 0, 1),
        timeout: 9.into(),
        ..PendingRow::default()
    };
    let posted = |n: u128| TransferRow {
        user_data_128: (n % 2 * (u128::MAX / 3)).into(),
        user_data_64: ((n % 3) as u64 * 0x0001_0000_0000_0001).into(),
        user_data_32: ((n % 5) as u32).into(),
        code: ((n / 100) as u16 + 6).into(),
        ..transfer(
            2_000 + n * n,
            (n % 7) << (n % 90),
            2 + (n % 2) as u32,
            3 - (n % 2) as u32,
        )
    };
    let failed = FailedRow {
        id: 9_000.into(),
        result: 54.into(),
        ..FailedRow::default()
    };
    let mut payload = Vec::new();
    let rows: Vec<PendingRow> = (0..4).map(pending).collect();
    push_group(&mut payload, RecordKind::TransferPending, &rows);
    let rows: Vec<TransferRow> = (0..300).map(posted).collect();
    push_group(&mut payload, RecordKind::TransferPosted, &rows);
    push_group(&mut payload, RecordKind::TransferFailed, &[failed]);
    payload
}

/// Three of the pending transfers are settled, one posted transfer is reversed.
fn second(lsn: u64) -> Vec<u8> {
    let resolved = |id: u128, amount: u128, pending: RecordAt| ResolvedRow {
        id: id.into(),
        amount: amount.into(),
        pending: pending.packed().into(),
        debit_account: 0.into(),
        credit_account: 1.into(),
        code: 5.into(),
        ..ResolvedRow::default()
    };
    let expired = ExpiredRow {
        pending: at(lsn, 2).packed().into(),
        debit_account: 0.into(),
        credit_account: 1.into(),
    };
    let reverses = DetailedRow {
        id: 3_000_003.into(),
        amount: 1.into(),
        debit_account: 2.into(),
        credit_account: 3.into(),
        code: 6.into(),
        reverses: 1,
        ..DetailedRow::default()
    }
    .with_related(at(lsn, 5));
    let reserves = DetailedRow {
        id: 3_000_004.into(),
        amount: u128::MAX.into(),
        debit_account: 1.into(),
        credit_account: 0.into(),
        code: 6.into(),
        flags: TransferFlags::PENDING.into(),
        ..DetailedRow::default()
    };
    let mut payload = Vec::new();
    let posted = resolved(3_000_001, 30, at(lsn, 0));
    push_group(&mut payload, RecordKind::PendingPosted, &[posted]);
    let voided = resolved(3_000_002, 51, at(lsn, 1));
    push_group(&mut payload, RecordKind::PendingVoided, &[voided]);
    push_group(&mut payload, RecordKind::PendingExpired, &[expired]);
    push_group(
        &mut payload,
        RecordKind::TransferDetailed,
        &[reverses, reserves],
    );
    payload
}

/// All batches of the stretch; it ends with its segment.
pub fn batches() -> Vec<(BatchHeader, Vec<u8>)> {
    let mut batches = vec![batch(0, 4, 0, accounts())];
    let next =
        |batches: &[(BatchHeader, Vec<u8>)]| batches[batches.len() - 1].0.end(SEGMENT_BYTES).get();
    let lsn = next(&batches);
    batches.push(batch(lsn, 305, 0, first()));
    let behind = next(&batches);
    batches.push(batch(behind, 5, 0, second(lsn)));
    let end = next(&batches);
    batches.push(batch(end, 0, FLAG_SEGMENT_END, Vec::new()));
    batches
}

/// Builds the run into `dir`.
pub fn build(dir: &Path) -> RunInfo {
    let set = Arc::new(RunSet::empty(params(dir)));
    let mut builder = RunBuilder::new(set);
    for (header, payload) in batches() {
        assert!(!builder.is_complete());
        builder
            .add_batch(&header, &payload)
            .expect("the next batch");
    }
    assert!(builder.is_complete());
    builder.finish().expect("room on the disk")
}
