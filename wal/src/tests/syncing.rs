use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{DeviceWrap, LogDevice, LogError};

/// Fails one call for ever after a number of good ones.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn LogDevice>,
    writes: AtomicU32,
    syncs: AtomicU32,
}

fn spend(left: &AtomicU32) -> io::Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Ok(()),
        // One failure, and good again: as a disk whose pages Linux has marked clean.
        Err(_) => {
            left.store(u32::MAX, Ordering::SeqCst);
            Err(io::Error::from_raw_os_error(5))
        }
    }
}

impl LogDevice for Faulty {
    fn write(&self, offset: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        spend(&self.writes)?;
        self.inner.write(offset, parts)
    }

    fn sync(&self, offset: u64, len: u64) -> io::Result<()> {
        spend(&self.syncs)?;
        self.inner.sync(offset, len)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.inner.read(offset, len)
    }
}

fn faulty(writes: u32, syncs: u32) -> Option<DeviceWrap> {
    Some(Arc::new(move |_, inner| {
        Arc::new(Faulty {
            inner,
            writes: AtomicU32::new(writes),
            syncs: AtomicU32::new(syncs),
        })
    }))
}

#[test]
fn after_one_failed_sync_nothing_is_synced_or_appended_again() {
    let home = Home::new();
    let (mut log, _) = Log::open_with(home.dir(), DeviceKind::Mapped, faulty(u32::MAX, 1)).unwrap();
    let syncer = log.syncer();
    let good = put(&mut log, b"good");
    assert_eq!(syncer.sync_to(good.lsn).unwrap(), good.lsn);
    let lost = put(&mut log, b"lost");
    assert!(matches!(syncer.sync_to(lost.lsn), Err(LogError::Io { .. })));
    assert!(syncer.poisoned());
    assert_eq!(syncer.synced(), good.lsn);
    for _ in 0..3 {
        assert!(matches!(
            syncer.sync_to(lost.lsn),
            Err(LogError::Poisoned { .. })
        ));
    }
    assert!(matches!(
        syncer.sync_to(good.lsn),
        Err(LogError::Poisoned { .. })
    ));
    let header = BatchHeader::build(&fields(&log.place(), 0), b"x");
    assert!(matches!(
        log.append(&header, b"x"),
        Err(LogError::Poisoned { .. })
    ));
    assert!(log.cut(good.lsn, "no").is_err());
    assert!(log.preparer().prepare().is_err());
    drop((log, syncer));
    let (log, _) = home.open();
    assert!(log.tail().lsn >= good.lsn);
}

#[test]
fn a_failed_write_closes_the_log_too() {
    let home = Home::new();
    let (mut log, _) = Log::open_with(home.dir(), DeviceKind::Pwrite, faulty(1, u32::MAX)).unwrap();
    let good = put(&mut log, b"good");
    let header = BatchHeader::build(&fields(&log.place(), 0), b"x");
    assert!(matches!(
        log.append(&header, b"x"),
        Err(LogError::Io { .. })
    ));
    assert!(log.syncer().poisoned());
    assert_eq!(log.tail(), good);
    assert!(log.append(&header, b"x").is_err());
}

#[test]
fn one_sync_covers_all_that_was_appended_over_segments() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let first = put(&mut log, b"one");
    let syncer = log.syncer();
    end_segment(&mut log);
    let last = put(&mut log, b"two");
    assert_eq!(syncer.synced(), Lsn::ZERO);
    assert_eq!(syncer.sync_to(first.lsn).unwrap(), last.lsn);
    assert_eq!(syncer.synced(), last.lsn);
    assert_eq!(syncer.sync_to(first.lsn).unwrap(), last.lsn);
    assert!(syncer.sync_to(last.lsn.advance(4096)).is_err());
    assert!(!syncer.poisoned());
}

#[test]
fn many_threads_sync_and_read_while_one_appends() {
    let home = Home::new();
    let (mut log, _) = home.open();
    let (syncer, reader) = (log.syncer(), log.reader());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while syncer.synced().get() < SEGMENT + 4096 {
                    let end = reader.tail().lsn;
                    assert!(syncer.sync_to(end).unwrap() >= end);
                    std::thread::yield_now();
                }
            });
        }
        threads.spawn(|| {
            let mut scan = scan_of(&reader);
            while scan.place().lsn.get() < SEGMENT + 4096 {
                for batch in scan.by_ref() {
                    batch.unwrap();
                }
                std::thread::yield_now();
            }
        });
        let mut seed = 0;
        while log.tail().lsn.get() < SEGMENT + 4096 {
            seed += 1;
            put(&mut log, &payload(seed, 30_000));
        }
    });
}

fn scan_of(reader: &crate::LogReader) -> crate::Scan {
    let empty = Tail::empty(CLUSTER);
    reader.scan(BatchPlace {
        cluster: CLUSTER,
        lsn: empty.lsn,
        epoch: empty.epoch,
        chain: empty.chain,
    })
}
