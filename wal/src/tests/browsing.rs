use std::fs;

use super::*;
use crate::{LogError, LogFiles};

type Seen = Vec<(Lsn, Vec<u8>)>;

fn seen(home: &Home, from: u64) -> Result<Seen, LogError> {
    let mut seen = Vec::new();
    LogFiles::list(home.path())?.batches(Lsn::new(from), &mut |_, header, payload| {
        seen.push((header.lsn(), payload.to_vec()));
        true
    })?;
    Ok(seen)
}

fn expected(batches: &[Batch<Bytes>], from: u64) -> Seen {
    let behind = batches.iter().filter(|b| b.header.lsn().get() >= from);
    behind
        .map(|b| (b.header.lsn(), b.payload.to_vec()))
        .collect()
}

/// Two full segments, one of them sealed, and a third with one batch; the log stays open.
fn both_forms(home: &Home) -> (Log, Vec<Batch<Bytes>>) {
    let (mut log, _) = home.open();
    fill_to(&mut log, 2);
    put(&mut log, b"the tail");
    log.syncer().sync_to(log.tail().lsn).unwrap();
    log.sealer().seal(0, 1).unwrap();
    let batches = all(&log);
    (log, batches)
}

#[test]
fn an_open_log_is_browsed_in_both_forms_from_any_position() {
    let home = Home::new();
    let (log, batches) = both_forms(&home);
    let tail = log.tail().lsn.get();
    let middle = batches[batches.len() / 2].header.lsn().get();
    let early = batches[3].header.lsn().get();
    for from in [
        0,
        1,
        early,
        early + 1,
        SEGMENT - 1,
        SEGMENT,
        middle,
        tail - 1,
        tail,
    ] {
        assert_eq!(
            seen(&home, from).unwrap(),
            expected(&batches, from),
            "{from}"
        );
    }
    assert_eq!(seen(&home, 99 * SEGMENT).unwrap(), []);
    let listed = LogFiles::list(home.path()).unwrap().segments().unwrap();
    let with_data = listed.into_iter().filter(|s| s.end_lsn > s.first_lsn);
    assert_eq!(with_data.collect::<Vec<_>>(), log.reader().segments());
}

#[test]
fn browsing_changes_nothing_and_stops_when_told() {
    let home = Home::new();
    let (log, batches) = both_forms(&home);
    drop(log);
    let before = fs::read(home.path().join("control")).unwrap();
    // What an unsynced write left behind the end; opening would cut it.
    let behind = offset(batches[batches.len() - 1].header.lsn()) + 4096;
    overwrite(&home.raw(2), behind, b"torn");
    let raw = fs::read(home.raw(2)).unwrap();
    let mut count = 0;
    let files = LogFiles::list(home.path()).unwrap();
    files
        .batches(Lsn::ZERO, &mut |_, _, _| {
            count += 1;
            count < 5
        })
        .unwrap();
    assert_eq!(count, 5);
    assert!(matches!(seen(&home, 0), Err(LogError::Corruption { .. })));
    assert_eq!(fs::read(home.path().join("control")).unwrap(), before);
    assert_eq!(fs::read(home.raw(2)).unwrap(), raw);
}

#[test]
fn a_bad_batch_or_a_missing_segment_is_named_behind_what_is_good() {
    let home = Home::new();
    let (log, batches) = both_forms(&home);
    drop(log);
    let bad = batches
        .iter()
        .find(|b| b.header.lsn().get() > SEGMENT)
        .unwrap();
    let lsn = bad.header.lsn();
    flip(&home.raw(1), offset(lsn) + 200);
    let mut last = Lsn::ZERO;
    let files = LogFiles::list(home.path()).unwrap();
    let error = files
        .batches(Lsn::ZERO, &mut |_, header, _| {
            last = header.lsn();
            true
        })
        .unwrap_err();
    match error {
        LogError::Corruption {
            file,
            offset: at,
            lsn: named,
            ..
        } => assert_eq!((file, at, named), (home.raw(1), offset(lsn), lsn)),
        other => panic!("{other}"),
    }
    assert!(last < lsn && last.get() >= SEGMENT);
    fs::remove_file(home.raw(1)).unwrap();
    for from in [0, SEGMENT] {
        match seen(&home, from) {
            Err(LogError::MissingSegment { file, .. }) => assert_eq!(file, home.raw(1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen(&home, 2 * SEGMENT).unwrap().len(), 1);
}
