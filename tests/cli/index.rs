//! `kanjo index` on a directory whose log has sealed segments.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
use kanjo_format::columns::push_group;
use kanjo_format::record::{AccountRow, RecordKind, TransferRow};
use kanjo_format::{BatchHeader, Epoch, Lsn, Timestamp};
use kanjo_wal::{DataDir, DeviceKind, Log};

use crate::directories::flip;
use crate::{done, done_json, format, refused, text};

/// Sealed segments: enough that eight of their runs are merged.
const SEGMENTS: u64 = 9;
const TRANSFERS: u64 = SEGMENTS * 4 * 1_000;

fn append(log: &mut Log, records: usize, flags: u16, payload: &[u8]) {
    let place = log.place();
    let fields = BatchFields {
        cluster: place.cluster,
        epoch: Epoch::from_terms(1, 1),
        lsn: place.lsn,
        flags,
        record_count: records as u32,
        timestamp: Timestamp::new(place.lsn.get() + 1),
        confirmed: Lsn::ZERO,
        prev_chain: place.chain,
    };
    let header = BatchHeader::build(&fields, payload);
    let tail = log.append(&header, payload).expect("it belongs there");
    log.syncer().sync_to(tail.lsn).expect("a sync");
}

/// A directory with accounts and transfers in sealed segments, and one batch behind them.
fn filled(dir: &Path) {
    format(dir, "1");
    let held = Arc::new(DataDir::open(dir).expect("just formatted"));
    let (mut log, _) = Log::open(held, DeviceKind::Pwrite).expect("just formatted");
    let mut next = 1_u64;
    for segment in 0..=SEGMENTS {
        let prepared = log.preparer().prepare().expect("room on the disk");
        log.add_prepared(prepared);
        if segment == 0 {
            let account = |number: u32| AccountRow {
                id: u128::from(number + 1).into(),
                number: number.into(),
                ledger: 1.into(),
                ..AccountRow::default()
            };
            let rows: Vec<AccountRow> = (0..10).map(account).collect();
            let mut payload = Vec::new();
            push_group(&mut payload, RecordKind::AccountOpened, &rows);
            append(&mut log, rows.len(), 0, &payload);
        }
        for _ in 0..4 {
            let transfer = |n: u64| TransferRow {
                id: u128::from(next + n).into(),
                amount: u128::from(n % 90).into(),
                debit_account: ((n % 10) as u32).into(),
                credit_account: (((n + 1) % 10) as u32).into(),
                code: 1.into(),
                ..TransferRow::default()
            };
            let rows: Vec<TransferRow> = (0..1_000).map(transfer).collect();
            next += 1_000;
            let mut payload = Vec::new();
            push_group(&mut payload, RecordKind::TransferPosted, &rows);
            append(&mut log, rows.len(), 0, &payload);
        }
        if segment < SEGMENTS {
            append(&mut log, 0, FLAG_SEGMENT_END, b"");
            log.sealer().seal(segment, 3).expect("a full segment");
        }
    }
}

fn runs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index")).expect("an index");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn an_index_is_built_listed_and_verified_and_a_flipped_byte_is_named() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    filled(&dir);
    let index = |command| ["index", command, "--dir", text(&dir)];
    let json = |command| [&index(command)[..], &["--json"]].concat();
    let listed = done_json(&json("ls"));
    assert_eq!(
        (&listed["end_lsn"], &listed["runs"]),
        (&0.into(), &serde_json::json!([]))
    );
    assert!(runs(&dir).is_empty(), "listing changes nothing");
    assert!(done(&index("verify")).contains("says what the log says"));

    let built = done_json(&json("rebuild"));
    assert_eq!(built["transfers"], TRANSFERS);
    assert_eq!(built["end_lsn"], SEGMENTS * (2 << 20));
    assert_eq!(runs(&dir).len(), 2, "eight of nine were merged");
    let listed = done_json(&json("ls"));
    assert_eq!(listed["end_lsn"], listed["sealed_end_lsn"]);
    assert_eq!(
        (&listed["runs"][0]["tier"], &listed["runs"][1]["tier"]),
        (&1.into(), &0.into())
    );
    assert!(done(&index("ls")).contains("transfers"));
    let verified = done_json(&json("verify"));
    assert_eq!(
        (&verified["good"], &verified["transfers"]),
        (&true.into(), &TRANSFERS.into())
    );

    let first = &runs(&dir)[0];
    let middle = fs::metadata(first).expect("a run").len() as usize / 2;
    flip(first, middle);
    let (code, line) = refused(&index("verify"));
    assert_eq!(code, 1);
    assert!(
        line.contains(text(first)) && line.contains("kanjo index rebuild"),
        "{line}"
    );
    assert!(!dir.join("index-verify.tmp").exists());
    done(&index("rebuild"));
    done(&index("verify"));
    // The log verifies beside it, and knows nothing of it.
    done(&["log", "verify", "--dir", text(&dir)]);
}

#[test]
fn an_index_is_not_rebuilt_while_somebody_holds_the_directory() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    format(&dir, "1");
    let held = DataDir::open(&dir).expect("just formatted");
    let rebuild = ["index", "rebuild", "--dir", text(&dir)];
    let (code, line) = refused(&rebuild);
    assert_eq!(code, 1);
    assert!(line.contains("in use"), "{line}");
    done(&["index", "ls", "--dir", text(&dir)]);
    drop(held);
    assert!(done(&rebuild).contains("lsn 0 to 0"));
}
