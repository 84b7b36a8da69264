use kanjo_format::limits::{
    BATCH_HEADER_BYTES, BATCH_PAYLOAD_BYTES_MAX, PAGE_BYTES, SEGMENT_BYTES_DEFAULT,
};
use kanjo_format::segment::SegmentForm;

use super::*;
use crate::LogError;

#[test]
fn what_was_appended_reads_back_equal_at_once_and_after_each_reopen() {
    for kind in [DeviceKind::Mapped, DeviceKind::Pwrite] {
        let home = Home::new();
        let mut payloads = Vec::new();
        for round in 0..6u64 {
            let (mut log, recovery) = Log::open(home.dir(), kind).unwrap();
            assert_eq!(recovery.cut, None);
            assert!(!recovery.uncertain);
            assert_eq!(recovery.tail, log.tail());
            assert_eq!(recovery.last_timestamp, log.last_timestamp());
            for size in [0, 1, 3968, 3969, 300_000] {
                let bytes = payload(round * 10 + size as u64, size);
                put(&mut log, &bytes);
                payloads.push(bytes);
            }
            let read: Vec<_> = all(&log)
                .into_iter()
                .filter(|b| !b.header.is_segment_end())
                .collect();
            assert_eq!(read.len(), payloads.len());
            for (batch, bytes) in read.iter().zip(&payloads) {
                assert_eq!(batch.payload[..], bytes[..]);
            }
        }
    }
}

#[test]
fn both_devices_write_the_same_file() {
    let files = [DeviceKind::Mapped, DeviceKind::Pwrite].map(|kind| {
        let home = Home::new();
        let (mut log, _) = Log::open(home.dir(), kind).unwrap();
        put(&mut log, &payload(1, 10_000));
        put(&mut log, &payload(2, 5));
        log.syncer().sync_to(log.tail().lsn).unwrap();
        std::fs::read(home.raw(0)).unwrap()
    });
    assert!(files[0] == files[1]);
}

#[test]
fn a_segment_ends_exactly_full_or_with_a_batch_that_says_so() {
    let home = Home::new();
    let (mut log, _) = home.open();
    assert_eq!(log.room(), SEGMENT);
    let half = 1 << 20;
    assert!(log.fits(half));
    put(&mut log, &payload(1, half - BATCH_HEADER_BYTES));
    assert_eq!(log.room(), SEGMENT - half as u64);
    // A page is left for the end of the segment, or nothing.
    assert!(log.fits(half - BATCH_HEADER_BYTES - PAGE_BYTES as usize));
    assert!(log.fits(half - BATCH_HEADER_BYTES));
    assert!(!log.fits(half - BATCH_HEADER_BYTES + 1));
    put(&mut log, &payload(2, half - BATCH_HEADER_BYTES));
    assert_eq!(log.tail().lsn, Lsn::new(SEGMENT));
    put(&mut log, &payload(3, 100));
    let behind = end_segment(&mut log);
    assert_eq!(behind.lsn, Lsn::new(2 * SEGMENT));
    put(&mut log, b"third segment");
    let before = all(&log);
    assert_eq!(before.len(), 5);
    let segments = log.reader().segments();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[2].first_lsn, Lsn::new(2 * SEGMENT));
    assert_eq!(segments[2].end_lsn, log.tail().lsn);
    assert_eq!(segments[0].form, SegmentForm::Raw);
    drop(log);
    let (log, recovery) = home.open();
    assert_eq!(recovery.raw_segments, 3);
    assert_eq!(all(&log), before);
}

#[test]
fn a_log_that_ends_at_a_segments_end_opens_and_goes_on() {
    let home = Home::new();
    let (mut log, _) = home.open();
    put(&mut log, b"one");
    let tail = end_segment(&mut log);
    drop(log);
    let (mut log, recovery) = home.open();
    assert_eq!(recovery.tail, tail);
    assert_eq!(log.place().chain, tail.chain);
    put(&mut log, b"two");
    drop(log);
    assert_eq!(all(&home.open().0).len(), 3);
}

#[test]
fn a_batch_that_belongs_elsewhere_is_refused_and_changes_nothing() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let tail = put(&mut log, b"first");
    let good = fields(&log.place(), 0);
    let bad = [
        BatchFields {
            lsn: Lsn::new(8192),
            ..good
        },
        BatchFields {
            lsn: Lsn::ZERO,
            ..good
        },
        BatchFields {
            epoch: Epoch::NONE,
            ..good
        },
        BatchFields {
            cluster: ClusterId::new(9),
            ..good
        },
        BatchFields {
            prev_chain: Default::default(),
            ..good
        },
    ];
    for fields in bad {
        let refused = log.append(&BatchHeader::build(&fields, b"x"), b"x");
        assert!(matches!(refused, Err(LogError::Misplaced { .. })));
    }
    let header = BatchHeader::build(&good, b"x");
    let short = log.append(&header, b"");
    assert!(matches!(short, Err(LogError::Misplaced { .. })));
    assert_eq!(log.tail(), tail);
    log.append(&header, b"x").unwrap();
    while log.fits(1 << 20) {
        put(&mut log, &payload(1, 1 << 20));
    }
    let large = payload(2, 1 << 20);
    let header = BatchHeader::build(&fields(&log.place(), 0), &large);
    assert!(matches!(
        log.append(&header, &large),
        Err(LogError::NoRoom { .. })
    ));
}

#[test]
fn prepared_segments_are_used_in_order_and_found_again() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let preparer = log.preparer();
    for number in 0..3 {
        let prepared = preparer.prepare().unwrap();
        assert_eq!(prepared.number(), number);
        log.add_prepared(prepared);
    }
    assert_eq!(log.prepared_ahead(), 3);
    fill_to(&mut log, 1);
    assert_eq!(log.prepared_ahead(), 2);
    drop((log, preparer));
    let (mut log, _) = home.open();
    assert_eq!(log.prepared_ahead(), 2);
    assert_eq!(log.preparer().prepare().unwrap().number(), 3);
    fill_to(&mut log, 5);
    assert_eq!(log.prepared_ahead(), 0);
    drop(log);
    assert_eq!(home.open().1.raw_segments, 5);
}

#[test]
fn a_segment_is_ready_by_the_time_that_half_of_what_was_left_before_it_is_used_up() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let geometry = log.shared.geometry;
    // Each piece is written, and read.
    let pieces = 2 * geometry.raw_file_bytes().div_ceil(crate::raw::PIECE_BYTES);
    let begun = put(&mut log, b"the first").lsn;
    assert!(!log.shared.hurries(1, begun, 0), "nothing is used since");
    put(&mut log, b"the second");
    assert!(log.shared.hurries(1, begun, 0), "nothing is made since");
    assert!(!log.shared.hurries(1, begun, pieces), "it is made");
    fill_to(&mut log, 1);
    for made in 0..pieces {
        assert!(log.shared.hurries(1, begun, made), "the log is there");
    }
    let begun = log.tail().lsn;
    let shared = std::sync::Arc::clone(&log.shared);
    let making = shared.preparing.lock().unwrap();
    let waits = std::thread::spawn({
        let shared = std::sync::Arc::clone(&shared);
        move || drop(shared.lock_soon(&shared.preparing))
    });
    while !shared.hurries(9, begun, 0) {
        std::thread::yield_now();
    }
    drop(making);
    waits.join().unwrap();
    assert!(!shared.hurries(9, begun, 0), "nobody waits any more");
}

#[test]
fn a_late_segment_that_the_log_made_itself_is_dropped() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let late = log.preparer().prepare().unwrap();
    put(&mut log, b"did not wait");
    log.add_prepared(late);
    assert_eq!(log.prepared_ahead(), 0);
    put(&mut log, b"goes on");
    assert_eq!(all(&log).len(), 2);
}

#[test]
fn readers_see_boundaries_only() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let first = put(&mut log, &payload(1, 9000));
    let second = put(&mut log, b"two");
    let reader = log.reader();
    assert_eq!(reader.tail(), second);
    assert!(reader.read(second.lsn).unwrap().is_none());
    assert!(reader.read(Lsn::new(u64::MAX)).unwrap().is_none());
    for lsn in [1, 4096, 8192] {
        let lsn = Lsn::new(lsn);
        assert!(matches!(reader.read(lsn), Err(LogError::NoBatch { .. })));
        assert_eq!(reader.chain_at(lsn).unwrap(), None);
    }
    assert_eq!(reader.chain_at(first.lsn).unwrap(), Some(first.chain));
    assert_eq!(reader.chain_at(second.lsn).unwrap(), Some(second.chain));
    assert_eq!(reader.chain_at(Lsn::new(1 << 40)).unwrap(), None);
    let forked = BatchPlace {
        cluster: CLUSTER,
        lsn: first.lsn,
        epoch: first.epoch,
        chain: Default::default(),
    };
    let mut scan = reader.scan(forked);
    assert!(scan.next().unwrap().is_err());
    assert!(scan.next().is_none());
}

#[test]
fn a_scan_goes_on_when_more_was_appended() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let mut scan = scan(&log);
    assert!(scan.next().is_none());
    put(&mut log, b"later");
    assert_eq!(&scan.next().unwrap().unwrap().payload[..], b"later");
    assert!(scan.next().is_none());
    assert_eq!(scan.place(), log.place());
}

/// Bytes that this thread has had pages of files made dirty for, so that they reach the disk.
fn dirtied() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = told.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_commit_writes_its_own_pages_and_no_others_also_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let large = Control {
        segment_bytes: SEGMENT_BYTES_DEFAULT,
        ..control()
    };
    let home = Home { temp };
    DataDir::format(home.path(), &large).unwrap();
    let (mut log, _) = home.open();
    // Far into the segment: the kernel reads the beginning of a file in small pieces anyway.
    let payload = vec![7; BATCH_PAYLOAD_BYTES_MAX];
    let commit_often = |log: &mut Log| {
        let (before, lsn) = (dirtied(), log.tail().lsn);
        for _ in 0..20 {
            let tail = put(log, b"a batch");
            log.syncer().sync_to(tail.lsn).unwrap();
        }
        let (written, taken) = (dirtied() - before, log.tail().lsn.since(lsn));
        // And the page of the disk in which the file's inode stands, if that was clean before: it
        // is counted here too, and is no page of the file.
        let bound = taken + PAGE_BYTES;
        assert!(written <= bound, "{written} bytes for {taken}");
        if written == 0 {
            println!("skipped: this file system does not count what is written");
        }
    };
    let fill = |log: &mut Log| (0..45).map(|_| put(log, &payload)).last().unwrap();
    fill(&mut log);
    commit_often(&mut log);
    log.add_prepared(log.preparer().prepare().unwrap());
    drop(log);
    let (mut log, _) = home.open();
    assert_eq!(log.prepared_ahead(), 1);
    // In the segment in which the log ended, and in the one that was made ahead.
    commit_often(&mut log);
    end_segment(&mut log);
    fill(&mut log);
    commit_often(&mut log);
}

#[test]
fn a_sparse_copy_gets_its_blocks_before_it_is_written() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    let (mut log, _) = home.open();
    let tail = put(&mut log, b"before");
    log.add_prepared(log.preparer().prepare().unwrap());
    drop(log);
    let blocks = |number| std::fs::metadata(home.raw(number)).unwrap().blocks() * 512;
    for number in 0..2 {
        let file = OpenOptions::new().write(true).open(home.raw(number));
        let file = file.unwrap();
        let kept = if number == 0 { tail.lsn.get() } else { 0 } + PAGE_BYTES;
        file.set_len(kept).unwrap();
        file.set_len(SEGMENT + PAGE_BYTES).unwrap();
        assert!(blocks(number) < SEGMENT / 2);
    }
    let (mut log, recovery) = home.open();
    assert_eq!(recovery.tail, tail);
    assert!((0..2).all(|number| blocks(number) >= SEGMENT + PAGE_BYTES));
    put(&mut log, b"after");
    end_segment(&mut log);
    put(&mut log, b"in the segment that was made ahead");
    drop(log);
    assert_eq!(all(&home.open().0).len(), 4);
}
