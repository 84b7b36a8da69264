use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::DirError;
use crate::lock::is_in_use;

#[test]
fn a_second_opener_is_refused_and_told_who_holds_the_directory() {
    let home = Home::new();
    let first = home.dir();
    let Err(DirError::InUse { holder, .. }) = DataDir::open(home.path()) else {
        panic!("two openers have one directory");
    };
    assert_eq!(holder, format!("process {}", std::process::id()));
    drop(first);
    DataDir::open(home.path()).unwrap();
}

#[test]
fn a_directory_is_known_to_be_in_use_while_other_locks_come_and_go() {
    let home = Home::new();
    let directory = home.dir();
    let (many, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let seen = std::thread::scope(|threads| {
        threads.spawn(|| {
            // As many as do not fit into one part of the kernel's list.
            let mut others = std::collections::VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                let file = tempfile::tempfile().unwrap();
                kanjo_disk::hold(&file).unwrap();
                others.push_back(file);
                if others.len() > 200 {
                    many.store(true, Ordering::Relaxed);
                    others.pop_front();
                }
            }
        });
        while !many.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let seen = (0..4_000).filter(|_| is_in_use(&home.path())).count();
        over.store(true, Ordering::Relaxed);
        seen
    });
    assert_eq!(seen, 4_000);
    drop(directory);
    assert!(!is_in_use(&home.path()));
}

#[test]
fn who_looks_whether_a_directory_is_in_use_keeps_nobody_from_opening_it() {
    let home = Home::in_memory();
    let over = AtomicBool::new(false);
    let opened = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                is_in_use(&home.path());
            }
        });
        let open = |_| DataDir::open(home.path()).map(drop);
        let opened: Vec<_> = (0..500).map(open).collect();
        over.store(true, Ordering::Relaxed);
        opened
    });
    for outcome in opened {
        outcome.unwrap();
    }
}

#[test]
fn the_log_keeps_the_lock_for_as_long_as_anything_can_write() {
    let home = Home::new();
    let (log, _) = home.open();
    let syncer = log.syncer();
    drop(log);
    assert!(matches!(
        DataDir::open(home.path()),
        Err(DirError::InUse { .. })
    ));
    drop(syncer);
    DataDir::open(home.path()).unwrap();
}

#[test]
fn format_refuses_what_holds_anything_and_can_be_repeated_when_unfinished() {
    let home = Home::new();
    assert!(matches!(
        DataDir::format(home.path(), &control()),
        Err(DirError::NotEmpty { .. })
    ));
    std::fs::remove_file(home.path().join("control")).unwrap();
    assert!(matches!(
        DataDir::open(home.path()),
        Err(DirError::NotFormatted { .. })
    ));
    DataDir::format(home.path(), &control()).unwrap();
    std::fs::remove_file(home.path().join("control")).unwrap();
    std::fs::write(home.raw(0), b"a log").unwrap();
    assert!(matches!(
        DataDir::format(home.path(), &control()),
        Err(DirError::NotEmpty { .. })
    ));
}

#[test]
fn each_start_is_counted() {
    let home = Home::new();
    for start in 1..4 {
        assert_eq!(home.dir().control().start_count, start);
        assert_eq!(DataDir::inspect(home.path()).unwrap().start_count, start);
    }
}

#[test]
fn a_promise_survives_the_loss_of_either_slot_also_after_later_marks() {
    for marks in 0..4u64 {
        for slot in 0..2 {
            let home = Home::new();
            let dir = home.dir();
            let epoch = Epoch::from_terms(3, 7);
            dir.promise(|c| c.granted_epoch = epoch).unwrap();
            for mark in 1..=marks {
                dir.update(|c| c.confirmed = Lsn::new(mark * 4096)).unwrap();
            }
            drop(dir);
            overwrite(&home.path().join("control"), slot * 4096 + 100, &[0xff; 9]);
            let control = home.dir().control();
            assert_eq!(control.granted_epoch, epoch);
            assert!(control.confirmed.get() / 4096 + 1 >= marks);
        }
    }
}

#[test]
fn two_bad_slots_and_a_newer_version_are_refused() {
    let home = Home::new();
    let file = home.path().join("control");
    let whole = std::fs::read(&file).unwrap();
    flip(&file, 50);
    flip(&file, 4096 + 50);
    assert!(matches!(
        DataDir::open(home.path()),
        Err(DirError::BothSlotsBad { .. })
    ));
    std::fs::write(&file, &whole[..100]).unwrap();
    assert!(matches!(
        DataDir::open(home.path()),
        Err(DirError::BothSlotsBad { .. })
    ));
    let mut newer = whole;
    newer[4] = 9;
    let crc = crc32(&newer[..252]).to_le_bytes();
    newer[252..256].copy_from_slice(&crc);
    std::fs::write(&file, &newer).unwrap();
    assert!(matches!(
        DataDir::open(home.path()),
        Err(DirError::Version { version: 9, .. })
    ));
    assert_eq!(std::fs::read(&file).unwrap(), newer, "nothing was changed");
}

#[test]
fn a_checkpoint_is_there_whole_or_not_at_all() {
    let home = Home::new();
    let dir = home.dir();
    for lsn in [8192, 4096] {
        dir.write_checkpoint(Lsn::new(lsn), Pace::at_once(), |out| {
            out.write_all(b"state")
        })
        .unwrap();
    }
    let failed = dir.write_checkpoint(Lsn::new(12288), Pace::at_once(), |out| {
        out.write_all(b"half")?;
        Err(std::io::ErrorKind::Other.into())
    });
    assert!(failed.is_err());
    let lsns = |dir: &DataDir| -> Vec<u64> {
        let list = dir.checkpoints().unwrap();
        list.iter().map(|(lsn, _)| lsn.get()).collect()
    };
    assert_eq!(lsns(&dir), [4096, 8192]);
    dir.remove_checkpoint(Lsn::new(4096), Pace::at_once())
        .unwrap();
    dir.remove_checkpoint(Lsn::new(4096), Pace::at_once())
        .unwrap();
    assert_eq!(lsns(&dir), [8192]);
    std::fs::write(home.path().join("checkpoints/x.ckpt.tmp"), b"half").unwrap();
    drop(dir);
    home.dir();
    assert!(!home.path().join("checkpoints/x.ckpt.tmp").exists());
}

#[test]
fn nothing_in_quarantine_is_overwritten() {
    let home = Home::new();
    let dir = home.dir();
    let (mut first, path) = dir.quarantine_file("tail").unwrap();
    first.write_all(b"1").unwrap();
    let (_, other) = dir.quarantine_file("tail").unwrap();
    assert_ne!(path, other);
    assert_eq!(std::fs::read(path).unwrap(), b"1");
    assert!(dir.free_bytes().unwrap() > 0);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
