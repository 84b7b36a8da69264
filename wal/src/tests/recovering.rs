use std::fs;

use super::*;
use crate::LogError;

const SIZES: [usize; 6] = [300, 5_000, 200, 9_000, 1_500, 4_000];

/// A closed log of six batches, its control mark behind the first two.
fn six(home: &Home, role: Role, confirmed: Lsn) -> Vec<Lsn> {
    let (mut log, _) = home.open();
    let mut ends = vec![Lsn::ZERO];
    let mut mark = log.tail();
    for (number, size) in SIZES.into_iter().enumerate() {
        let last = number == SIZES.len() - 1;
        let confirmed = if last { confirmed } else { Lsn::ZERO };
        let tail = put_confirmed(&mut log, &payload(number as u64, size), confirmed);
        ends.push(tail.lsn);
        if number == 1 {
            mark = tail;
        }
    }
    log.syncer().sync_to(log.tail().lsn).unwrap();
    let dir = Arc::clone(&log.shared.dir);
    dir.update(|c| {
        c.durable = mark;
        c.role = role;
    })
    .unwrap();
    ends
}

/// Sectors of batch `number` that hold something.
fn sectors(ends: &[Lsn], number: usize) -> Vec<u64> {
    let bytes = 128 + SIZES[number] as u64;
    let start = offset(ends[number]);
    (0..bytes.div_ceil(512)).map(|s| start + s * 512).collect()
}

#[test]
fn any_mix_of_lost_sectors_above_the_mark_is_cut_at_the_first_hole_and_kept() {
    let home = Home::in_memory();
    let ends = six(&home, Role::Primary, Lsn::ZERO);
    let whole = fs::read(home.raw(0)).unwrap();
    let marked = fs::read(home.path().join("control")).unwrap();
    for seed in 0..40u64 {
        fs::write(home.raw(0), &whole).unwrap();
        fs::write(home.path().join("control"), &marked).unwrap();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let keep_of_8 = random() % 9;
        let (mut first_hole, mut last_kept) = (None, None);
        for number in 2..SIZES.len() {
            for at in sectors(&ends, number) {
                if random() % 8 >= keep_of_8 {
                    overwrite(&home.raw(0), at, &[0; 512]);
                    first_hole = first_hole.or(Some(number));
                } else {
                    last_kept = Some(at);
                }
            }
        }
        let torn = fs::read(home.raw(0)).unwrap();
        let end = first_hole.map_or(ends[SIZES.len()], |n| ends[n]);
        let is_cut = first_hole.is_some() && last_kept.is_some_and(|at| at >= offset(end));
        let (log, recovery) = home.open();
        assert_eq!(recovery.tail.lsn, end, "seed {seed}");
        assert_eq!(recovery.uncertain, is_cut, "seed {seed}");
        assert_eq!(recovery.cut.is_some(), is_cut, "seed {seed}");
        if let Some(cut) = &recovery.cut {
            let (from, to) = (offset(cut.from) as usize, offset(cut.to) as usize);
            assert_eq!(fs::read(&cut.path).unwrap(), torn[from..to]);
            assert!(last_kept.unwrap() < to as u64);
        }
        drop(log);
        let after = fs::read(home.raw(0)).unwrap();
        let cut_at = offset(end) as usize;
        assert!(after[..cut_at] == whole[..cut_at], "seed {seed}");
        assert!(crate::raw::all_zero(&after[cut_at..]), "seed {seed}");
        // The log is clean from here on, and the word stays until somebody vouches.
        let (mut log, again) = home.open();
        assert_eq!(again.cut, None);
        assert_eq!(again.uncertain, is_cut);
        put(&mut log, b"goes on");
        drop(log);
        assert_eq!(home.open().1.cut, None);
    }
}

#[test]
fn a_hole_below_the_mark_is_corruption_and_changes_nothing() {
    for number in 0..2 {
        for (at, zeros) in [(0, 512), (0, 128), (8, 1), (130, 1), (0, 4096)] {
            let home = Home::in_memory();
            let ends = six(&home, Role::Primary, Lsn::ZERO);
            overwrite(&home.raw(0), offset(ends[number]) + at, &vec![0; zeros]);
            refused_as_corrupt(&home, ends[number]);
        }
    }
}

#[test]
fn a_log_that_ends_below_its_mark_is_corruption() {
    let home = Home::in_memory();
    let ends = six(&home, Role::Primary, Lsn::ZERO);
    let zeros = vec![0; SEGMENT as usize - ends[1].get() as usize];
    overwrite(&home.raw(0), offset(ends[1]), &zeros);
    refused_as_corrupt(&home, ends[1]);
}

#[test]
fn a_damaged_batch_that_has_all_its_sectors_is_corruption_above_the_mark_too() {
    for number in 2..SIZES.len() {
        for at in [0, 5, 44, 127, 128, 200] {
            let home = Home::in_memory();
            let ends = six(&home, Role::Replica, Lsn::ZERO);
            flip(&home.raw(0), offset(ends[number]) + at);
            refused_as_corrupt(&home, ends[number]);
        }
    }
}

#[test]
fn a_batch_in_the_wrong_place_is_corruption() {
    let home = Home::in_memory();
    let ends = six(&home, Role::Primary, Lsn::ZERO);
    let whole = fs::read(home.raw(0)).unwrap();
    let from = offset(ends[2]) as usize;
    overwrite(&home.raw(0), offset(ends[4]), &whole[from..from + 4096]);
    refused_as_corrupt(&home, ends[4]);
}

#[test]
fn what_a_later_header_confirms_was_durable_where_this_disk_counted() {
    // The last batch says that everything before it is committed; batch 3 is lost.
    let confirmed = Lsn::new(5 * 4096);
    let home = Home::in_memory();
    let ends = six(&home, Role::Primary, confirmed);
    assert!(ends[3] < confirmed);
    overwrite(&home.raw(0), offset(ends[3]), &[0; 512]);
    refused_as_corrupt(&home, ends[3]);
    // A replica that nobody waited for gets such batches unsynced.
    let home = Home::in_memory();
    six(&home, Role::Replica, confirmed);
    overwrite(&home.raw(0), offset(ends[3]), &[0; 512]);
    let (_, recovery) = home.open();
    assert_eq!(recovery.tail.lsn, ends[3]);
    assert!(recovery.uncertain);
    // In the in-sync set its disk counts.
    let home = Home::in_memory();
    six(&home, Role::Replica, confirmed);
    home.dir().promise(|c| c.in_sync = true).unwrap();
    overwrite(&home.raw(0), offset(ends[3]), &[0; 512]);
    refused_as_corrupt(&home, ends[3]);
}

#[test]
fn another_history_than_the_marked_one_is_refused() {
    let home = Home::in_memory();
    let ends = six(&home, Role::Primary, Lsn::ZERO);
    let dir = home.dir();
    dir.update(|c| c.durable.chain = Default::default())
        .unwrap();
    drop(dir);
    refused_as_corrupt(&home, ends[2]);
    home.dir()
        .update(|c| c.durable.lsn = Lsn::new(8192))
        .unwrap();
    assert!(matches!(home.try_open(), Err(LogError::Corruption { .. })));
}

#[test]
fn a_torn_tail_over_two_segments_is_cut_whole() {
    let home = Home::in_memory();
    let (mut log, _) = home.open();
    put(&mut log, b"stays");
    let hole = put(&mut log, b"and this").lsn;
    put(&mut log, &payload(1, 100));
    end_segment(&mut log);
    put(&mut log, &payload(2, 100));
    drop(log);
    overwrite(&home.raw(0), offset(hole), &[0; 4096]);
    let (mut log, recovery) = home.open();
    assert_eq!(recovery.tail.lsn, hole);
    assert_eq!(recovery.cut.unwrap().to.get(), SEGMENT + 4096);
    assert!(!home.raw(1).exists());
    fill_to(&mut log, 2);
    drop(log);
    assert_eq!(home.open().1.cut, None);
}

#[test]
fn missing_files_are_named() {
    let home = Home::in_memory();
    let (mut log, _) = home.open();
    fill_to(&mut log, 2);
    put(&mut log, b"third");
    drop(log);
    let kept = fs::read(home.raw(1)).unwrap();
    fs::remove_file(home.raw(1)).unwrap();
    let Err(LogError::MissingSegment { file, .. }) = home.try_open() else {
        panic!("a hole of a whole segment was not seen");
    };
    assert_eq!(file, home.raw(1));
    fs::write(home.raw(1), kept).unwrap();
    home.open();
    // The last one is missing, and the mark knows that it was there.
    let (log, _) = home.open();
    let tail = log.tail();
    let dir = Arc::clone(&log.shared.dir);
    drop(log);
    dir.update(|c| c.durable = tail).unwrap();
    drop(dir);
    fs::remove_file(home.raw(2)).unwrap();
    assert!(matches!(
        home.try_open(),
        Err(LogError::MissingSegment { .. })
    ));
}

#[test]
fn empty_segments_behind_a_gap_are_removed() {
    let home = Home::in_memory();
    let (mut log, _) = home.open();
    for _ in 0..3 {
        log.add_prepared(log.preparer().prepare().unwrap());
    }
    put(&mut log, b"one");
    drop(log);
    fs::remove_file(home.raw(1)).unwrap();
    let (mut log, _) = home.open();
    assert!(!home.raw(2).exists());
    fill_to(&mut log, 3);
}

#[test]
fn segments_of_another_cluster_version_or_size_are_refused() {
    let stranger = Home::in_memory();
    {
        let other = Control {
            cluster: ClusterId::new(77),
            durable: Tail::empty(ClusterId::new(77)),
            ..control()
        };
        fs::remove_dir_all(stranger.path()).unwrap();
        DataDir::format(stranger.path(), &other).unwrap();
        let (log, _) = stranger.open();
        log.preparer().prepare().unwrap();
    }
    let home = Home::in_memory();
    fs::copy(stranger.raw(0), home.raw(0)).unwrap();
    assert!(matches!(
        home.try_open(),
        Err(LogError::OtherCluster { .. })
    ));
    let home = Home::in_memory();
    six(&home, Role::Primary, Lsn::ZERO);
    let file = OpenOptions::new().write(true).open(home.raw(0)).unwrap();
    for len in [SEGMENT, 4095, 0, SEGMENT + 4097] {
        file.set_len(len).unwrap();
        assert!(matches!(home.try_open(), Err(LogError::Corruption { .. })));
    }
    let home = Home::in_memory();
    six(&home, Role::Primary, Lsn::ZERO);
    flip(&home.raw(0), 100);
    assert!(matches!(
        home.try_open(),
        Err(LogError::Corruption { offset: 0, .. })
    ));
    // A segment under another number.
    let home = Home::in_memory();
    let (log, _) = home.open();
    log.preparer().prepare().unwrap();
    drop(log);
    fs::rename(home.raw(0), home.raw(1)).unwrap();
    assert!(home.try_open().is_err());
}

#[test]
fn temporary_files_go_and_strange_ones_stay() {
    let home = Home::in_memory();
    let half = home.path().join("log/0000000000000000.seg.tmp");
    let strange = home.path().join("log/README");
    fs::write(&half, b"half").unwrap();
    fs::write(&strange, b"mine").unwrap();
    home.open();
    assert!(!half.exists());
    assert!(strange.exists());
}

fn refused_as_corrupt(home: &Home, bad: Lsn) {
    let before = fs::read(home.raw(0)).unwrap();
    match home.try_open() {
        Err(LogError::Corruption { file, lsn, .. }) => {
            assert_eq!(file, home.raw(0));
            assert_eq!(lsn, bad);
        }
        other => panic!("not refused as corrupt: {other:?}"),
    }
    assert!(fs::read(home.raw(0)).unwrap() == before);
    let quarantine = fs::read_dir(home.path().join("quarantine")).unwrap();
    assert_eq!(quarantine.count(), 0);
}
