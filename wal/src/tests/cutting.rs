use std::fs;

use super::*;
use crate::LogError;

#[test]
fn a_cut_keeps_what_it_cuts_and_readers_keep_what_they_hold() {
    let home = Home::new();
    let (mut log, _) = home.open();
    put(&mut log, b"stays");
    let keep = put(&mut log, &payload(1, 5000));
    put(&mut log, &payload(2, 6000));
    end_segment(&mut log);
    put(&mut log, &payload(3, 100));
    let old = log.syncer().sync_to(log.tail().lsn).unwrap();
    let tail = log.tail();
    log.shared.dir.update(|c| c.durable = tail).unwrap();
    let late = log.preparer().prepare().unwrap();
    let reader = log.reader();
    let held = reader.read(keep.lsn).unwrap().unwrap();
    let mut cut_bytes = fs::read(home.raw(0)).unwrap()[offset(keep.lsn) as usize..].to_vec();
    cut_bytes.extend_from_slice(&fs::read(home.raw(1)).unwrap()[4096..8192]);

    let report = log.cut(keep.lsn, "another history").unwrap();
    assert_eq!((report.from, report.to), (keep.lsn, old));
    assert_eq!(fs::read(&report.path).unwrap(), cut_bytes);
    let note = fs::read_to_string(format!("{}.txt", report.path.display())).unwrap();
    assert!(note.contains("another history"));
    assert_eq!(log.tail(), keep);
    assert_eq!(reader.tail(), keep);
    assert_eq!(log.syncer().synced(), keep.lsn);
    assert_eq!(log.shared.dir.control().durable, keep);
    assert!(reader.read(keep.lsn).unwrap().is_none());
    assert_eq!(held.payload[..], payload(2, 6000)[..]);
    assert!(!home.raw(1).exists() && !home.raw(2).exists());

    // What was under way for the log as it was is of no use to the one that is.
    log.add_prepared(late);
    assert_eq!(log.prepared_ahead(), 0);
    put(&mut log, b"the other history");
    fill_to(&mut log, 2);
    let batches = all(&log);
    assert_eq!(&batches[2].payload[..], b"the other history");
    assert_eq!(held.payload[..], payload(2, 6000)[..]);
    drop((log, reader, held));
    let (log, recovery) = home.open();
    assert_eq!(recovery.cut, None);
    assert!(!recovery.uncertain);
    assert_eq!(all(&log), batches);
}

#[test]
fn a_cut_at_a_segments_start_and_at_zero_works() {
    for to in [SEGMENT, 0] {
        let home = Home::new();
        let (mut log, _) = home.open();
        fill_to(&mut log, 1);
        put(&mut log, b"cut");
        log.cut(Lsn::new(to), "test").unwrap();
        assert_eq!(log.tail().lsn, Lsn::new(to));
        put(&mut log, b"new");
        drop(log);
        let (log, recovery) = home.open();
        assert_eq!(recovery.tail.lsn, Lsn::new(to + 4096));
        assert_eq!(&all(&log).last().unwrap().payload[..], b"new");
    }
}

#[test]
fn no_cut_inside_a_batch_above_the_tail_or_below_a_sealed_segment() {
    let home = Home::new();
    let (mut log, _) = home.open();
    fill_to(&mut log, 1);
    let end = put(&mut log, &payload(1, 9000));
    log.sealer().seal(0, 1).unwrap();
    let refused = log.cut(Lsn::new(SEGMENT + 4096), "inside");
    assert!(matches!(refused, Err(LogError::NoBatch { .. })));
    for to in [end.lsn, end.lsn.advance(4096), Lsn::ZERO] {
        assert!(matches!(log.cut(to, "no"), Err(LogError::Refused { .. })));
    }
    assert!(!log.syncer().poisoned());
    assert_eq!(log.tail(), end);
    log.cut(Lsn::new(SEGMENT), "yes").unwrap();
    put(&mut log, b"goes on");
    drop(log);
    home.open();
}

#[test]
fn a_cut_that_a_crash_interrupts_leaves_a_log_that_opens() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let keep = put(&mut log, b"stays");
    fill_to(&mut log, 3);
    let whole = all(&log);
    // As after the copy and the removal of later segments, before the shorter one is named.
    log.shared.dir.promise(|c| c.durable = keep).unwrap();
    drop(log);
    fs::write(home.path().join("log/0000000000000000.seg.tmp"), b"half").unwrap();
    fs::remove_file(home.raw(2)).unwrap();
    let (mut log, recovery) = home.open();
    assert_eq!(recovery.cut, None);
    let left = all(&log);
    assert_eq!(left[..], whole[..left.len()]);
    log.cut(keep.lsn, "again").unwrap();
    assert_eq!(log.tail(), keep);
}
