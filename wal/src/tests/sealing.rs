use std::fs;
use std::io::copy;

use kanjo_format::segment::SegmentForm;

use super::*;
use crate::LogError;

fn three(home: &Home) -> (Log, Vec<Batch<Bytes>>) {
    let (mut log, _) = home.open();
    fill_to(&mut log, 2);
    put(&mut log, b"the tail");
    log.syncer().sync_to(log.tail().lsn).unwrap();
    let batches = all(&log);
    (log, batches)
}

#[test]
fn a_sealed_segment_gives_back_the_bytes_first_appended() {
    let home = Home::new();
    let (mut log, batches) = three(&home);
    let held = log.reader().read(Lsn::ZERO).unwrap().unwrap();
    let info = log.sealer().seal(0, 3).unwrap();
    assert!(info.sealed_bytes * 2 < info.raw_bytes);
    assert!(info.batch_count > 5);
    assert!(!home.raw(0).exists());
    assert_eq!(all(&log), batches);
    assert_eq!(held, batches[0]);
    let reader = log.reader();
    for batch in batches.iter().rev() {
        let lsn = batch.header.lsn();
        assert_eq!(reader.read(lsn).unwrap().as_ref(), Some(batch));
        assert_eq!(
            reader.chain_at(lsn).unwrap(),
            Some(batch.header.prev_chain())
        );
    }
    assert!(matches!(
        reader.read(Lsn::new(4096)),
        Err(LogError::NoBatch { .. })
    ));
    assert_eq!(reader.segments()[0].form, SegmentForm::Sealed);
    drop((log, reader));
    let (log2, recovery) = home.open();
    log = log2;
    assert_eq!((recovery.sealed_segments, recovery.raw_segments), (1, 2));
    assert_eq!(all(&log), batches);
    assert_eq!(recovery.last_timestamp, log.last_timestamp());
    log.sealer().seal(1, 1).unwrap();
    put(&mut log, b"and on");
    drop(log);
    assert_eq!(home.open().1.sealed_segments, 2);
}

#[test]
fn the_raw_form_is_freed_by_its_seal_only_when_nobody_reads_it() {
    let home = Home::new();
    let (log, batches) = three(&home);
    // Holds nothing, and sees what becomes of the file.
    let witness = |number| fs::File::open(home.raw(number)).unwrap();
    let (first, second) = (witness(0), witness(1));
    let whole = first.metadata().unwrap().len();
    log.sealer().seal(0, 1).unwrap();
    assert_eq!(first.metadata().unwrap().len(), whole);
    assert_eq!(batches[0], all(&log)[0]);
    drop(batches);
    log.sealer().seal(1, 1).unwrap();
    assert_eq!(second.metadata().unwrap().len(), 0);
}

#[test]
fn a_seal_is_told_while_a_cut_waits_for_it() {
    let home = Home::new();
    let (log, _) = three(&home);
    let shared = Arc::clone(&log.shared);
    let sealing = shared.files.lock().unwrap();
    assert!(!shared.is_waited_for());
    let waits = std::thread::spawn({
        let shared = Arc::clone(&shared);
        move || drop(shared.lock_soon(&shared.files))
    });
    while !shared.is_waited_for() {
        std::thread::yield_now();
    }
    drop(sealing);
    waits.join().unwrap();
    assert!(!shared.is_waited_for());
}

#[test]
fn what_is_sealed_is_told_up_to_the_first_gap_and_what_is_not_below_a_bound() {
    let home = Home::new();
    let (log, _) = three(&home);
    let reader = log.reader();
    let ends: Vec<_> = reader.segments().iter().map(|s| s.end_lsn).collect();
    assert_eq!(reader.sealed_end(), Lsn::ZERO);
    assert_eq!(reader.raw_below(0), None);
    assert_eq!(reader.raw_below(2), Some((0, 2)));
    assert_eq!(reader.raw_below(9), Some((0, 3)));
    log.sealer().seal(1, 1).unwrap();
    assert_eq!(reader.sealed_end(), Lsn::ZERO);
    assert_eq!(reader.raw_below(9), Some((0, 2)));
    log.sealer().seal(0, 1).unwrap();
    assert_eq!(reader.sealed_end(), ends[1]);
    assert_eq!(reader.raw_below(2), None);
    assert_eq!(reader.raw_below(9), Some((2, 1)));
}

#[test]
fn a_scan_from_any_batch_gives_all_behind_it_and_from_elsewhere_none() {
    let home = Home::new();
    let (log, batches) = three(&home);
    log.sealer().seal(0, 1).unwrap();
    log.sealer().seal(1, 1).unwrap();
    let reader = log.reader();
    for (number, batch) in batches.iter().enumerate() {
        let header = &batch.header;
        let place = BatchPlace {
            cluster: CLUSTER,
            lsn: header.lsn(),
            epoch: header.epoch(),
            chain: header.prev_chain(),
        };
        let mut scan = reader.scan(place);
        let behind: Vec<_> = scan.by_ref().map(Result::unwrap).collect();
        assert!(behind == batches[number..], "from batch {number}");
        assert_eq!(scan.place().lsn, log.tail().lsn);
        let inside = BatchPlace {
            lsn: place.lsn.advance(4096),
            ..place
        };
        if inside.lsn < header.end(SEGMENT) {
            let mut scan = reader.scan(inside);
            assert!(matches!(scan.next(), Some(Err(LogError::NoBatch { .. }))));
            assert!(scan.next().is_none(), "an error ends a scan");
        }
    }
}

#[test]
fn a_scan_goes_on_where_a_segment_is_sealed_under_it() {
    let home = Home::new();
    let (log, batches) = three(&home);
    let start = BatchPlace {
        cluster: CLUSTER,
        lsn: Lsn::ZERO,
        epoch: Epoch::NONE,
        chain: Tail::empty(CLUSTER).chain,
    };
    let mut scan = log.reader().scan(start);
    let mut given = vec![scan.next().unwrap().unwrap()];
    log.sealer().seal(0, 1).unwrap();
    log.sealer().seal(1, 1).unwrap();
    given.extend(scan.map(Result::unwrap));
    assert!(given == batches);
}

#[test]
fn only_full_synced_raw_segments_are_sealed() {
    let home = Home::new();
    let (mut log, _) = three(&home);
    let sealer = log.sealer();
    assert!(sealer.seal(2, 1).is_err());
    assert!(sealer.seal(9, 1).is_err());
    sealer.seal(0, 1).unwrap();
    assert!(sealer.seal(0, 1).is_err());
    end_segment(&mut log);
    assert!(sealer.seal(2, 1).is_err(), "full, but not synced");
    log.syncer().sync_to(log.tail().lsn).unwrap();
    sealer.seal(2, 1).unwrap();
    put(&mut log, b"on");
}

#[test]
fn a_crash_between_the_two_forms_leaves_the_sealed_one() {
    let home = Home::new();
    let (log, batches) = three(&home);
    let raw = fs::read(home.raw(0)).unwrap();
    log.sealer().seal(0, 1).unwrap();
    drop(log);
    fs::write(home.raw(0), raw).unwrap();
    fs::write(home.path().join("log/0000000000000001.sealed.tmp"), b"half").unwrap();
    let (log, _) = home.open();
    assert!(!home.raw(0).exists());
    assert_eq!(all(&log), batches);
}

#[test]
fn a_sealed_log_that_ends_at_its_last_segment_opens_and_goes_on() {
    let home = Home::new();
    let (mut log, _) = home.open();
    fill_to(&mut log, 2);
    let tail = log.tail();
    log.sealer().seal(0, 1).unwrap();
    log.sealer().seal(1, 1).unwrap();
    drop(log);
    let (mut log, recovery) = home.open();
    assert_eq!(recovery.tail, tail);
    put(&mut log, b"on");
    drop(log);
    assert_eq!(home.open().1.raw_segments, 1);
}

#[test]
fn a_raw_segment_below_a_sealed_one_was_durable() {
    let home = Home::new();
    let (log, _) = three(&home);
    log.sealer().seal(1, 1).unwrap();
    drop(log);
    home.open();
    let page = vec![0; 512];
    overwrite(&home.raw(0), 4096, &page);
    assert!(matches!(home.try_open(), Err(LogError::Corruption { .. })));
}

#[test]
fn a_sealed_segment_travels_to_an_empty_node_and_its_log_goes_on() {
    let home = Home::new();
    let (log, batches) = three(&home);
    log.sealer().seal(0, 3).unwrap();
    log.sealer().seal(1, 3).unwrap();
    let other = Home::new();
    let (mut replica, _) = other.open();
    replica.add_prepared(replica.preparer().prepare().unwrap());
    for number in 0..2 {
        let (mut from, len) = log.reader().sealed_file(number).unwrap().unwrap();
        let (mut to, path) = replica.install_file(number).unwrap();
        assert_eq!(copy(&mut from, &mut to).unwrap(), len);
        let tail = replica.install_sealed(number, &path).unwrap();
        assert_eq!(tail, replica.tail());
        assert_eq!(replica.syncer().synced(), tail.lsn);
    }
    assert!(log.reader().sealed_file(2).unwrap().is_none());
    let last = batches.last().unwrap();
    replica.append(&last.header, &last.payload).unwrap();
    assert_eq!(all(&replica), batches);
    assert_eq!(replica.tail(), log.tail());
    drop(replica);
    let (replica, recovery) = other.open();
    assert_eq!(recovery.sealed_segments, 2);
    assert_eq!(all(&replica), batches);
}

#[test]
fn a_sealed_segment_that_is_damaged_or_out_of_turn_is_not_installed() {
    let home = Home::in_memory();
    let (log, _) = three(&home);
    log.sealer().seal(0, 3).unwrap();
    log.sealer().seal(1, 3).unwrap();
    let whole = fs::read(home.sealed(0)).unwrap();
    let second = fs::read(home.sealed(1)).unwrap();
    let other = Home::in_memory();
    let (mut replica, _) = other.open();
    let mut offer = |number, bytes: &[u8]| {
        let (_, path) = replica.install_file(number).unwrap();
        fs::write(&path, bytes).unwrap();
        replica.install_sealed(number, &path).is_ok()
    };
    assert!(!offer(1, &second));
    assert!(!offer(0, &second));
    assert!(!offer(0, &whole[..whole.len() - 1]));
    assert!(!offer(0, &[]));
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut bad = whole.clone();
        bad[at] ^= 0x40;
        assert!(!offer(0, &bad), "byte {at} flipped unseen");
    }
    assert!(offer(0, &whole));
    assert!(!offer(0, &whole));
}

#[test]
fn a_damaged_sealed_segment_never_gives_other_bytes() {
    let home = Home::in_memory();
    let (log, batches) = three(&home);
    log.sealer().seal(0, 3).unwrap();
    drop(log);
    let bytes = fs::metadata(home.sealed(0)).unwrap().len();
    for at in (0..bytes).step_by(bytes as usize / 40) {
        flip(&home.sealed(0), at);
        if let Ok((log, _)) = home.try_open() {
            let read: Result<Vec<_>, _> = scan(&log).collect();
            assert!(read.is_err(), "byte {at} flipped unseen");
            let tail = log.tail().lsn;
            for batch in &batches {
                if let Ok(Some(found)) = log.reader().read(batch.header.lsn()) {
                    assert_eq!(&found, batch);
                }
            }
            assert_eq!(tail, batches.last().unwrap().header.end(SEGMENT));
        }
        flip(&home.sealed(0), at);
    }
}

#[test]
fn stretches_name_every_batch_once_from_wherever_they_are_asked_for() {
    let home = Home::new();
    let (mut log, batches) = three(&home);
    log.sealer().seal(0, 1).unwrap();
    let reader = log.reader();
    let starts: Vec<Lsn> = batches.iter().map(|batch| batch.header.lsn()).collect();
    let (mut at, mut found, mut last) = (Lsn::ZERO, Vec::new(), None);
    while let Some(stretch) = reader.stretch(at, None).unwrap() {
        for page in (at.get()..stretch.end.get()).step_by(4096) {
            let same = reader.stretch(Lsn::new(page), None).unwrap();
            assert_eq!(same.as_ref(), Some(&stretch), "from lsn {page}");
        }
        at = stretch.end;
        found.extend_from_slice(&stretch.starts);
        last = Some(stretch);
    }
    assert_eq!(found, starts);
    assert_eq!(at, log.tail().lsn);
    // What was written since is added to a stretch that is known.
    put(&mut log, b"one more");
    let grown = reader.stretch(at, last.clone()).unwrap().unwrap();
    assert_eq!(grown.starts.last(), Some(&at));
    let known = last.unwrap().starts;
    assert_eq!(grown.starts[..known.len()], known);
}
