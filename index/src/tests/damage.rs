//! Flipped bytes, interrupted writes, files that do not belong.

use std::fs;
use std::sync::Arc;

use kanjo_format::{AccountNumber, ClusterId, RecordAt};

use super::log::{LogWriter, TestBatch};
use super::{build, params};
use crate::{Direction, Merge, Run, RunBuilder, RunError, RunKey, RunSet, SetParams, merge};

/// A set of so many runs of a few batches.
fn small_set(folder: &tempfile::TempDir, runs: usize) -> (RunSet, LogWriter) {
    let mut writer = LogWriter::new(21);
    let mut set = RunSet::empty(params(folder.path()));
    for _ in 0..runs {
        let batches: Vec<TestBatch> = (0..4).map(|_| writer.batch(4)).collect();
        set = build(&set, &batches);
    }
    (set, writer)
}

/// Reads everything that a run holds.
fn read_all(run: &Arc<Run>) -> Result<(), RunError> {
    let opened = Arc::new(Run::open(run.path())?.with_filter()?);
    crate::verify::same_content(&opened, &[Arc::clone(run)])
}

#[test]
fn every_flipped_byte_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = small_set(&folder, 1);
    let run = &set.runs()[0];
    let whole = fs::read(run.path()).unwrap();
    let (copy, path) = (folder.path().join("copy"), run.path().to_path_buf());
    fs::copy(&path, &copy).unwrap();
    let good = Arc::new(Run::open(&copy).unwrap());
    let same = |path: &std::path::Path| -> Result<(), RunError> {
        let opened = Arc::new(Run::open(path)?.with_filter()?);
        crate::verify::same_content(&opened, &[Arc::clone(&good)])
    };
    same(&path).unwrap();
    read_all(run).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert!(
            same(&path).is_err(),
            "byte {at} of {} flipped unseen",
            whole.len()
        );
    }
    for end in [0, 10, 64, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(Run::open(&path).is_err());
    }
}

#[test]
fn an_error_names_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = small_set(&folder, 1);
    let path = set.runs()[0].path().to_path_buf();
    let mut bytes = fs::read(&path).unwrap();
    bytes[70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let key = RunKey::Account(AccountNumber::new(0));
    let all = RecordAt::MIN..RecordAt::MAX;
    let mut postings = set.postings(key, all, Direction::Forwards);
    let error = postings.next().unwrap().unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(
        error.contains("offset 64") && error.contains("kanjo index rebuild"),
        "{error}"
    );
    assert!(postings.next().is_none());
}

#[test]
fn an_interrupted_write_leaves_the_old_set() {
    let folder = tempfile::tempdir().unwrap();
    let (set, mut writer) = small_set(&folder, 3);
    let batch = writer.batch(4);
    let mut builder = RunBuilder::new(Arc::new(set.clone()));
    builder.add_batch(&batch.header, &batch.payload).unwrap();
    drop(builder);
    let first = set.runs()[0].path().to_path_buf();
    fs::write(first.with_extension("run.tmp"), b"half of it").unwrap();
    let (opened, dropped) = RunSet::open(params(folder.path())).unwrap();
    assert_eq!((opened.end(), opened.runs().len()), (set.end(), 3));
    assert_eq!(dropped.len(), 1);
    opened
        .remove(dropped.iter().map(|one| one.file.as_path()))
        .unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_merged_run_supersedes_its_sources_before_they_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = small_set(&folder, 4);
    let runs = set.runs()[1..].to_vec();
    merge(&Merge { runs, tier: 1 }).unwrap();
    let (opened, dropped) = RunSet::open(params(folder.path())).unwrap();
    assert_eq!((opened.end(), opened.runs().len()), (set.end(), 2));
    assert_eq!(dropped.len(), 3);
    assert!(
        dropped.iter().all(|one| one.reason.contains("wider")),
        "{dropped:?}"
    );
    // The merged run is damaged: its sources, which are still there, take its place.
    let path = opened.runs()[1].path();
    fs::write(path, b"rubbish").unwrap();
    let (opened, dropped) = RunSet::open(params(folder.path())).unwrap();
    assert_eq!(
        (opened.end(), opened.runs().len(), dropped.len()),
        (set.end(), 4, 1)
    );
}

#[test]
fn what_lies_behind_a_gap_or_is_of_another_cluster_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = small_set(&folder, 3);
    fs::remove_file(set.runs()[1].path()).unwrap();
    let (opened, dropped) = RunSet::open(params(folder.path())).unwrap();
    assert_eq!(
        (opened.end(), dropped.len()),
        (set.runs()[1].footer().first_lsn, 1)
    );
    let stranger = SetParams {
        cluster: ClusterId::new(8),
        ..params(folder.path())
    };
    let (opened, dropped) = RunSet::open(stranger).unwrap();
    assert_eq!((opened.runs().len(), dropped.len()), (0, 2));
}
