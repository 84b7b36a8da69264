use std::fs;

use super::*;
use crate::{DirError, VerifyReport, verify, verify_with};

fn check(home: &Home) -> VerifyReport {
    verify(home.path(), &mut |_| {}).unwrap()
}

/// One sealed segment, and a raw one with a few small batches.
fn small(home: &Home) -> (Tail, usize) {
    let (mut log, _) = home.open();
    put(&mut log, &payload(1, 3000));
    put(&mut log, &payload(2, 50));
    end_segment(&mut log);
    log.syncer().sync_to(log.tail().lsn).unwrap();
    log.sealer().seal(0, 3).unwrap();
    put(&mut log, &payload(3, 700));
    put(&mut log, &payload(4, 5000));
    put(&mut log, &payload(5, 10));
    log.syncer().sync_to(log.tail().lsn).unwrap();
    let tail = log.tail();
    log.shared.dir.promise(|c| c.durable = tail).unwrap();
    (tail, 6)
}

#[test]
fn a_sound_directory_has_no_problems_and_everything_is_counted() {
    let home = Home::in_memory();
    let (tail, batches) = small(&home);
    let mut told = Vec::new();
    let report = verify(home.path(), &mut |p| told.push(p)).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.tail, tail);
    assert_eq!(report.batches, batches as u64);
    assert_eq!(report.records, 5);
    assert!(!report.in_use);
    let names: Vec<_> = report.files.iter().map(|f| f.file.clone()).collect();
    assert_eq!(
        names,
        [home.path().join("control"), home.sealed(0), home.raw(1)]
    );
    assert!(told.iter().all(|p| p.bytes_done <= p.bytes_total));
}

/// Every byte of headers, rows, index and footer; of what is under one checksum as a whole, and
/// of zeros, every so many.
#[test]
fn every_flipped_byte_is_found_and_its_file_named() {
    let home = Home::in_memory();
    let (tail, _) = small(&home);
    let raw_end = offset(tail.lsn);
    let files = [
        (home.path().join("control"), 1),
        (home.sealed(0), 1),
        (home.raw(1), 1),
    ];
    for (file, step) in files {
        let bytes = fs::metadata(&file).unwrap().len();
        let mut at = 0;
        while at < bytes {
            flip(&file, at);
            let report = check(&home);
            let problem = report.problems.first();
            let problem = problem.unwrap_or_else(|| {
                panic!("byte {at} of {} flipped unseen", file.display());
            });
            assert_eq!(problem.file, file, "byte {at}: {problem}");
            assert!(
                problem.offset <= at || file == home.sealed(0),
                "byte {at}: {problem}"
            );
            flip(&file, at);
            let in_padding = at > 300 && at % 4096 > 300 && at + 400 < bytes;
            at += match () {
                () if file == home.raw(1) && at >= raw_end => 99_991,
                () if in_padding => 61,
                () => step,
            };
        }
    }
    assert_eq!(check(&home).problems, []);
}

#[test]
fn the_first_bad_byte_is_named_and_what_is_behind_is_checked_too() {
    let home = Home::in_memory();
    small(&home);
    let second = Lsn::new(SEGMENT + 4096);
    let third = Lsn::new(SEGMENT + 3 * 4096);
    // Padding is known byte by byte, a payload as a whole.
    flip(&home.raw(1), 4096 + 3000);
    flip(&home.raw(1), offset(second) + 200);
    flip(&home.raw(1), offset(third) + 44);
    let report = check(&home);
    let found: Vec<_> = report.problems.iter().map(|p| (p.offset, p.lsn)).collect();
    assert_eq!(
        found,
        [
            (4096 + 3000, Some(Lsn::new(SEGMENT))),
            (offset(second), Some(second)),
            (offset(third), Some(third)),
        ]
    );
    let text = report.problems[1].to_string();
    assert!(text.contains("payload checksum") && text.contains("lsn"));
}

#[test]
fn a_lost_tail_a_missing_segment_and_stale_data_are_found() {
    let home = Home::in_memory();
    let (tail, _) = small(&home);
    let last = Lsn::new(tail.lsn.get() - 4096);
    let whole = fs::read(home.raw(1)).unwrap();
    overwrite(&home.raw(1), offset(last), &[0; 4096]);
    let report = check(&home);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].lsn, Some(last));
    fs::write(home.raw(1), &whole).unwrap();
    assert_eq!(check(&home).problems, []);
    // A stale sealed segment under a number of its own.
    fs::copy(home.sealed(0), home.sealed(2)).unwrap();
    assert!(!check(&home).problems.is_empty());
    fs::remove_file(home.sealed(2)).unwrap();
    fs::rename(home.sealed(0), home.path().join("aside")).unwrap();
    let report = check(&home);
    assert!(report.problems[0].what.contains("missing"));
}

#[test]
fn verify_runs_beside_a_writer_and_takes_its_moving_tail_for_sound() {
    let home = Home::in_memory();
    small(&home);
    let (mut log, _) = home.open();
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut seed = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) {
                seed += 1;
                let end = put(&mut log, &payload(seed, (seed % 40_000) as usize)).lsn;
                if seed % 20 == 0 {
                    log.syncer().sync_to(end).unwrap();
                    if end.get() > 6 * SEGMENT {
                        log.cut(Lsn::new(3 * SEGMENT), "again").ok();
                    }
                }
            }
        });
        let reports: Vec<_> = (0..12).map(|_| verify(home.path(), &mut |_| {})).collect();
        // Before anything is asserted: the writer goes on until then.
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
        let reports: Vec<_> = reports.into_iter().map(Result::unwrap).collect();
        assert!(reports.iter().all(|report| report.in_use));
        assert!(reports.iter().any(|report| report.problems.is_empty()));
    });
}

#[test]
fn checkpoints_are_handed_to_whoever_knows_their_layout() {
    let home = Home::in_memory();
    let dir = home.dir();
    for lsn in [4096, 8192] {
        dir.write_checkpoint(Lsn::new(lsn), Pace::at_once(), |out| {
            out.write_all(b"state")
        })
        .unwrap();
    }
    let report = verify_with(home.path(), &mut |_| {}, &mut |lsn, file| {
        assert_eq!(fs::read(file).unwrap(), b"state");
        match lsn.get() {
            4096 => Ok(()),
            _ => Err((3, "bad".to_owned())),
        }
    })
    .unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].offset, 3);
}

#[test]
fn verify_refuses_what_is_no_data_directory() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        verify(empty.path(), &mut |_| {}),
        Err(DirError::NotFormatted { .. })
    ));
}
