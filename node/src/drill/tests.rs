//! What a drill finds on good and on bad disks, and that it leaves them as they are.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES, SEGMENT_BYTES_MIN};
use kanjo_format::{ClusterId, Digest, Epoch, Incarnation, Lsn, NodeId, Site};
use kanjo_wal::DataDir;
use tempfile::TempDir;

use super::copy::{Candidate, Work};
use crate::admin::PromoteOptions;
use crate::clock::ClockCheck;
use crate::config::Config;
use crate::promotion::{promote, write_segment_end};
use crate::status::DrillReport;
use crate::store::{Replayed, Store};

const CLUSTER: ClusterId = ClusterId::new(7);

fn control() -> Control {
    Control {
        in_sync: true,
        ..Control::fresh(
            CLUSTER,
            (NodeId::new(2), Incarnation::new(1)),
            Site::Two,
            Role::Replica,
            SEGMENT_BYTES_MIN,
        )
    }
}

/// A log of several segments, applied.
fn store() -> (TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    DataDir::format(&path, &control()).unwrap();
    let config = Config::new(path, "", "", "", "");
    let (mut store, _) = Store::open(&config, std::sync::Arc::default()).unwrap();
    let clock = ClockCheck::new(config.clock_bound_ms);
    let options = PromoteOptions::default();
    let (open, _) = promote(&mut store, &options, Replayed::default(), &clock).unwrap();
    for _ in 0..4 {
        write_segment_end(&mut store, open.epoch, Lsn::ZERO).unwrap();
    }
    store.syncer.sync_to(store.log.tail().lsn).unwrap();
    (temp, store)
}

fn write_checkpoint(store: &mut Store) -> PathBuf {
    let (snapshot, lsn) = (store.snapshot(), store.applied().lsn);
    let written = store
        .dir
        .write_checkpoint(lsn, Pace::at_once(), |out| snapshot.write(out));
    written.unwrap()
}

fn work(store: &Store) -> Work {
    let checkpoints = store.dir.checkpoints().unwrap();
    let candidate = |(lsn, path): (Lsn, PathBuf)| Candidate {
        lsn,
        file: File::open(&path),
        path,
    };
    Work {
        source: store.source(),
        checkpoints: checkpoints.into_iter().rev().map(candidate).collect(),
        position: store.applied(),
        live: store.ledger.digest(),
        progress: Arc::default(),
    }
}

fn drill(store: &Store) -> DrillReport {
    work(store).carry_out().expect("nobody gave it up")
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_drill_comes_to_the_live_digest_with_and_without_a_checkpoint_and_writes_nothing() {
    let (temp, mut store) = store();
    for with_checkpoint in [false, true] {
        if with_checkpoint {
            write_checkpoint(&mut store);
        }
        let before = files(temp.path());
        let report = drill(&store);
        assert!(report.good && report.digest_equal, "{report:#?}");
        assert_eq!(report.lsn, store.applied().lsn.get());
        assert_eq!(report.digest, store.ledger.digest().to_string());
        assert_eq!(report.checkpoint_lsn > 0, with_checkpoint);
        assert_eq!(report.records, u64::from(!with_checkpoint));
        assert!(files(temp.path()) == before, "a drill changes nothing");
    }
}

#[test]
fn a_digest_that_differs_is_an_error_in_the_report() {
    let (_temp, store) = store();
    let wrong = Work {
        live: Digest::new(1),
        ..work(&store)
    };
    let report = wrong.carry_out().unwrap();
    assert!(!report.good && !report.digest_equal);
    let problem = &report.problems[0];
    assert!(problem.contains("DIGESTS DIFFER"), "{problem}");
    assert!(problem.contains(&report.digest) && problem.contains(&report.live_digest));
}

#[test]
fn another_history_than_the_live_ledgers_is_an_error_in_the_report() {
    let (_temp, store) = store();
    let mut other = work(&store);
    other.position.epoch = Epoch::from_terms(9, 9);
    let report = other.carry_out().unwrap();
    assert!(!report.good && report.digest_equal);
    assert!(report.problems[0].contains("epoch 9.9"), "{report:#?}");
    let mut further = work(&store);
    further.position.lsn = further.position.lsn.advance(PAGE_BYTES);
    let report = further.carry_out().unwrap();
    assert!(!report.good && !report.digest_equal);
    assert!(report.problems[0].contains("the log ends"), "{report:#?}");
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_named_and_stays_where_it_is() {
    let (temp, mut store) = store();
    let path = write_checkpoint(&mut store);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff], 20).unwrap();
    let before = files(temp.path());
    let report = drill(&store);
    assert!(report.good, "an older one or the log will do: {report:#?}");
    assert_eq!(report.checkpoint_lsn, 0);
    let named = &report.unusable_checkpoints[0];
    assert!(named.contains(path.to_str().unwrap()), "{named}");
    assert!(files(temp.path()) == before, "a drill changes nothing");
}

#[test]
fn a_damaged_log_is_named_by_file_offset_and_lsn() {
    let (_temp, store) = store();
    let segment = &store.reader.segments()[2];
    let file = OpenOptions::new().write(true).open(&segment.path).unwrap();
    let at = PAGE_BYTES + BATCH_HEADER_BYTES as u64 / 2;
    file.write_all_at(&[0xff; 4], at).unwrap();
    let report = drill(&store);
    assert!(!report.good && !report.digest_equal);
    let problem = &report.problems[0];
    for part in [
        segment.path.to_str().unwrap(),
        "offset 4096",
        &segment.first_lsn.to_string(),
    ] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}

#[test]
fn a_drill_that_is_given_up_reports_nothing() {
    let (_temp, mut store) = store();
    for with_checkpoint in [false, true] {
        if with_checkpoint {
            write_checkpoint(&mut store);
        }
        let work = work(&store);
        work.progress.stop();
        assert!(work.carry_out().is_none());
    }
}
