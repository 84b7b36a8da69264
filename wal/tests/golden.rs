//! Files of released versions, as a log finds them on its disk.

use std::fs;
use std::sync::Arc;

use kanjo_format::control::{Control, Role};
use kanjo_format::{BatchPlace, ClusterId, Epoch, Incarnation, Lsn, NodeId, Site, Tail};
use kanjo_wal::{DataDir, DeviceKind, Log};

/// The whole of segment 0: a reign, accounts with transfers, the segment's end.
const SEALED: &[u8] = include_bytes!("../../format/fixtures/segment-v1.sealed");
const CLUSTER: ClusterId = ClusterId::new(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
const SEGMENT_BYTES: u64 = 2 << 20;
/// Chain value behind its last batch.
const END_CHAIN: &str = "64ca18f40df8491ff5031496ceacc72a1779bfd17bbbc2b6604cc059abe8878a";

fn control() -> Control {
    Control::fresh(
        CLUSTER,
        (NodeId::new(2), Incarnation::new(9)),
        Site::Two,
        Role::Replica,
        SEGMENT_BYTES,
    )
}

#[test]
fn a_sealed_segment_of_version_1_is_opened_and_read_to_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    DataDir::format(&path, &control()).unwrap();
    fs::write(path.join("log/0000000000000000.sealed"), SEALED).unwrap();
    let dir = Arc::new(DataDir::open(&path).unwrap());
    let (log, recovery) = Log::open(dir, DeviceKind::Mapped).unwrap();
    assert!(recovery.cut.is_none());
    assert_eq!(log.tail().lsn, Lsn::new(SEGMENT_BYTES));
    assert_eq!(log.tail().chain.to_string(), END_CHAIN);
    let start = BatchPlace {
        cluster: CLUSTER,
        lsn: Lsn::ZERO,
        epoch: Epoch::NONE,
        chain: Tail::empty(CLUSTER).chain,
    };
    let batches: Vec<_> = log.reader().scan(start).map(Result::unwrap).collect();
    let records: Vec<u32> = batches.iter().map(|b| b.header.record_count()).collect();
    assert_eq!(records, [1, 203, 0]);
    let last = batches.last().unwrap();
    assert_eq!(last.chain_after().to_string(), END_CHAIN);
}
