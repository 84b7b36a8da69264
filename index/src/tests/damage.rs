//! Flipped bytes, interrupted writes, files that do not belong.

use std::fs;
use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::run::{
    FENCE_BYTES, Fence, RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RunFooter, RunSection, decode_fences,
};
use kanjo_format::{AccountNumber, ClusterId, RecordAt, Timestamp};
use proptest::prelude::*;

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
    merge(&Merge { runs, tier: 1 }, Pace::at_once()).unwrap();
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

/// Bytes that were changed anywhere, under checksums that were made right again.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - RUN_FOOTER_BYTES;
    let file_bytes = bytes.len() as u64;
    let fix = |part: &mut [u8]| {
        let (body, crc) = part.split_at_mut(part.len() - 4);
        crc.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    };
    fix(&mut bytes[..RUN_HEADER_BYTES]);
    fix(&mut bytes[at..]);
    let Ok(mut footer) = RunFooter::decode(&bytes[at..], file_bytes) else {
        return bytes;
    };
    for section in RunSection::ALL {
        let facts = *footer.section(section);
        let start = facts.fences_offset as usize;
        let rows = &bytes[start..start + facts.block_count as usize * FENCE_BYTES];
        footer.sections[section as usize].fences_crc = crc32fast::hash(rows);
        let Ok(fences) = decode_fences(&footer, section, rows) else {
            continue;
        };
        let mut rows = Vec::new();
        for fence in fences {
            let end = fence.offset as usize + fence.bytes as usize;
            let crc = crc32fast::hash(&bytes[fence.offset as usize..end]);
            Fence { crc, ..fence }.encode(&mut rows);
        }
        bytes[start..start + rows.len()].copy_from_slice(&rows);
        footer.sections[section as usize].fences_crc = crc32fast::hash(&rows);
    }
    let footer = footer.encode();
    bytes[at..].copy_from_slice(&footer);
    bytes
}

/// Asks everything that a set can be asked; answers may be wrong, but nothing panics.
fn ask_everything(set: &RunSet, asked: &RunSet) {
    let all = RecordAt::MIN..RecordAt::MAX;
    let keys = (0..9).map(|n| RunKey::Account(AccountNumber::new(n)));
    for key in keys.chain((0..3).map(RunKey::Code)) {
        for direction in [Direction::Forwards, Direction::Backwards] {
            let found = asked.postings(key, all.clone(), direction);
            for posting in found.map_while(Result::ok).take(500) {
                let _ = asked.resolution_of(posting.at);
                let _ = asked.reversal_of(posting.at);
                let _ = asked.base(AccountNumber::new(1), posting.at);
            }
        }
    }
    for id in (0..40).chain([u128::MAX / 2 + 5]) {
        let _ = asked.find(kanjo_format::TransferId::new(id));
    }
    let _ = asked.seek_time(Timestamp::new(1_010));
    if let Ok(book) = asked.book(RecordAt::MAX) {
        let _ = book.take(500).count();
    }
    let _ = asked.counts();
    if asked.runs().len() > 1 {
        let runs = asked.runs().to_vec();
        let _ = merge(&Merge { runs, tier: 1 }, Pace::at_once());
    }
    for run in asked.runs() {
        let _ = crate::verify::same_content(run, &set.runs()[..1]);
    }
}

#[test]
fn a_run_whose_batches_do_not_follow_those_before_them_is_never_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = small_set(&folder, 2);
    let other = tempfile::tempdir().unwrap();
    let copied = |run: &Run| other.path().join(run.path().file_name().unwrap());
    for run in set.runs() {
        fs::copy(run.path(), copied(run)).unwrap();
    }
    let second = &set.runs()[1];
    let whole = fs::read(second.path()).unwrap();
    let batches = second.footer().section(RunSection::Batches).bytes as usize;
    let mut refused = 0;
    for at in RUN_HEADER_BYTES..RUN_HEADER_BYTES + batches {
        let mut bytes = whole.clone();
        // One byte of a number less: what it counts falls, or the rows do not end with the block.
        bytes[at] = 0;
        fs::write(copied(second), repaired(bytes)).unwrap();
        let asked = params(other.path());
        let changed = RunSet::open(asked).unwrap().0;
        let runs = changed.runs().to_vec();
        if runs.len() == 2 && whole[at] != 0 {
            let merged = merge(&Merge { runs, tier: 1 }, Pace::at_once());
            refused += u32::from(matches!(merged, Err(RunError::Bad { .. })));
        }
    }
    assert!(refused > 0, "no change was met");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_run_under_right_checksums_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        in_footer: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (set, _) = small_set(&folder, 2);
        let other = tempfile::tempdir().unwrap();
        for run in set.runs() {
            fs::copy(run.path(), other.path().join(run.path().file_name().unwrap())).unwrap();
        }
        let path = other.path().join(set.runs()[1].path().file_name().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in changes {
            let from = if in_footer { bytes.len() - 4_000.min(bytes.len()) } else { 0 };
            let at = from + at.index(bytes.len() - from);
            bytes[at] = value;
        }
        fs::write(&path, repaired(bytes)).unwrap();
        for filter_bytes_max in [0, 1 << 20] {
            let asked = SetParams { filter_bytes_max, ..params(other.path()) };
            ask_everything(&set, &RunSet::open(asked).unwrap().0);
        }
    }
}
