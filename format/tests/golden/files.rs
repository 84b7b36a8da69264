//! What stands on disk.

use kanjo_format::batch::{BATCH_VERSION_MIN, FLAG_SEGMENT_END, stored_bytes};
use kanjo_format::checkpoint::{
    CheckpointAccountRow, CheckpointDayRow, CheckpointPendingRow, CheckpointReader,
    CheckpointTermsRow, CheckpointWriter, EpochRow, LedgerRow, ReignSectionRow, SectionKind,
    UnprotectedRow,
};
use kanjo_format::columns::{Groups, find_row};
use kanjo_format::control::Control;
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::record::{RecordKind, Row, TransferRow};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};
use kanjo_format::segment::{BLOCK_ENTRY_BYTES, SEALED_FOOTER_BYTES, SealedFooter, SegmentHeader};
use kanjo_format::{BatchHeader, BatchPlace, Chain, Epoch, Lsn, Tail};

use super::{fixture, samples};

#[test]
fn a_batch_of_version_1_is_read_to_its_values() {
    let bytes = fixture("batch-v1.bin");
    let header = BatchHeader::decode(bytes).unwrap();
    let payload = &bytes[BATCH_HEADER_BYTES..][..header.payload_bytes()];
    let fields = samples::batch_fields();
    assert_eq!(bytes[4..6], BATCH_VERSION_MIN.to_le_bytes());
    assert_eq!(header.cluster(), fields.cluster);
    assert_eq!(header.epoch(), fields.epoch);
    assert_eq!(header.lsn(), fields.lsn);
    assert_eq!(header.flags(), fields.flags);
    assert_eq!(header.record_count(), fields.record_count);
    assert_eq!(header.timestamp(), fields.timestamp);
    assert_eq!(header.confirmed(), fields.confirmed);
    assert_eq!(header.prev_chain(), fields.prev_chain);
    let place = BatchPlace {
        cluster: fields.cluster,
        lsn: fields.lsn,
        epoch: Epoch::from_terms(1, 3),
        chain: fields.prev_chain,
    };
    assert_eq!(header.check(&place, payload), Ok(()));
    assert_eq!(bytes.len() as u64, stored_bytes(payload.len()));
    let mut groups = Groups::new(payload, header.record_count()).map(Result::unwrap);
    assert_rows(
        groups.next(),
        RecordKind::EpochStart,
        samples::epoch_start(),
    );
    assert_rows(groups.next(), RecordKind::SetChange, samples::set_changes());
    assert_rows(
        groups.next(),
        RecordKind::AccountOpened,
        samples::accounts(),
    );
    assert_rows(
        groups.next(),
        RecordKind::TransferPosted,
        samples::transfers(5),
    );
    assert_rows(
        groups.next(),
        RecordKind::TransferFailed,
        samples::failures(),
    );
    assert!(groups.next().is_none());
    let found: Option<TransferRow> = find_row(
        payload,
        header.record_count(),
        RecordKind::TransferPosted,
        8,
    )
    .unwrap();
    assert_eq!(found, Some(samples::transfers(5)[2]));
}

#[test]
fn a_batch_of_version_2_is_read_to_its_values() {
    let bytes = fixture("batch-v2.bin");
    let header = BatchHeader::decode(bytes).unwrap();
    let payload = &bytes[BATCH_HEADER_BYTES..][..header.payload_bytes()];
    assert_eq!(bytes[4..6], 2_u16.to_le_bytes());
    assert_eq!(header.check_payload(payload), Ok(()));
    let mut groups = Groups::new(payload, header.record_count()).map(Result::unwrap);
    let posted = samples::transfers(2);
    assert_rows(groups.next(), RecordKind::TransferPosted, posted);
    assert_rows(
        groups.next(),
        RecordKind::TransferPending,
        samples::pending(),
    );
    let resolved = samples::resolved;
    assert_rows(groups.next(), RecordKind::PendingPosted, resolved(0));
    assert_rows(groups.next(), RecordKind::PendingVoided, resolved(2));
    assert_rows(
        groups.next(),
        RecordKind::PendingExpired,
        samples::expired(),
    );
    assert_rows(
        groups.next(),
        RecordKind::TransferDetailed,
        samples::detailed(),
    );
    assert_rows(
        groups.next(),
        RecordKind::AccountImported,
        samples::imported(),
    );
    assert_rows(
        groups.next(),
        RecordKind::AccountChanged,
        samples::changes(),
    );
    assert_rows(groups.next(), RecordKind::DayClosed, samples::days());
    assert!(groups.next().is_none());
}

fn assert_rows<R: Row + PartialEq + std::fmt::Debug>(
    group: Option<kanjo_format::columns::Group<'_>>,
    kind: RecordKind,
    expected: Vec<R>,
) {
    let group = group.expect("one more group");
    assert_eq!(group.kind, kind);
    let mut rows = Vec::<R>::new();
    group.read_rows(&mut rows);
    assert_eq!(rows, expected);
}

#[test]
fn a_segment_end_of_version_1_is_read_to_its_values() {
    let bytes = fixture("batch-segment-end-v1.bin");
    let header = BatchHeader::decode(bytes).unwrap();
    assert_eq!(bytes.len() as u64, PAGE_BYTES);
    assert_eq!(header.flags(), FLAG_SEGMENT_END);
    assert_eq!((header.record_count(), header.payload_bytes()), (0, 0));
    assert_eq!(header.check_payload(&[]), Ok(()));
    assert_eq!(
        header.end(samples::SEGMENT_BYTES),
        Lsn::new(samples::SEGMENT_BYTES)
    );
}

#[test]
fn a_raw_segment_header_of_version_1_is_read_to_its_values() {
    let bytes = fixture("segment-raw-header-v1.bin");
    let header = SegmentHeader::decode(bytes).unwrap();
    assert_eq!(header, samples::raw_header());
    assert_eq!(header.first_lsn(), Lsn::new(5 * samples::SEGMENT_BYTES));
}

#[test]
fn a_control_slot_of_version_1_is_read_to_its_values() {
    let bytes = fixture("control-slot-v1.bin");
    assert_eq!(Control::decode(bytes), Ok(samples::control()));
}

/// The stored blocks of the sealed fixture.
pub(crate) fn sealed_blocks() -> [Vec<u8>; 2] {
    let file = fixture("segment-v1.sealed");
    let (footer, entries) = read_sealed(file);
    assert_eq!(entries.len(), 2);
    assert_eq!(footer.block_count, 2);
    [0, 1].map(|n| {
        let entry = &entries[n];
        let stored = &file[entry.offset as usize..][..entry.stored_bytes as usize];
        assert_eq!(
            entry.check_block(footer.cluster, footer.number, stored),
            Ok(())
        );
        stored.to_vec()
    })
}

fn read_sealed(file: &[u8]) -> (SealedFooter, Vec<kanjo_format::segment::BlockEntry>) {
    let footer_at = file.len() - SEALED_FOOTER_BYTES;
    let footer = SealedFooter::decode(&file[footer_at..], file.len() as u64).unwrap();
    let index_bytes = footer.block_count as usize * BLOCK_ENTRY_BYTES;
    let index = &file[footer.index_offset as usize..][..index_bytes];
    (footer, footer.decode_index(index).unwrap())
}

#[test]
fn a_sealed_segment_of_version_1_is_read_to_its_values() {
    let file = fixture("segment-v1.sealed");
    let header = SegmentHeader::decode(file).unwrap();
    assert_eq!(header, samples::sealed_header());
    let stored = sealed_blocks();
    let (footer, entries) = read_sealed(file);
    assert_eq!(footer, samples::sealed_footer(&stored));
    assert_eq!(footer.check(&header), Ok(()));
    assert_eq!(entries, samples::sealed_entries(&stored));
    for (stored, raw) in stored.iter().zip(samples::sealed_blocks()) {
        assert_eq!(zstd::bulk::decompress(stored, raw.len()).unwrap(), raw);
    }
    assert!(
        samples::sealed_segment(&stored) == file,
        "the layout changed"
    );
}

/// The chain binds the bytes of every batch before it: a change of how it is computed would
/// make every log of version 1 unreadable.
#[test]
fn the_chain_of_version_1_comes_out_the_same() {
    let mut tail = Tail::empty(samples::cluster());
    for (header, payload) in samples::sealed_batches() {
        let place = BatchPlace {
            cluster: samples::cluster(),
            lsn: tail.lsn,
            epoch: tail.epoch,
            chain: tail.chain,
        };
        assert_eq!(header.check(&place, &payload), Ok(()));
        tail = Tail {
            epoch: header.epoch(),
            lsn: header.end(samples::SEGMENT_BYTES),
            chain: header.chain_after(&payload),
        };
    }
    assert_eq!(Chain::genesis(samples::cluster()).to_string(), GENESIS);
    assert_eq!(tail.chain.to_string(), AFTER_THREE_BATCHES);
}

const GENESIS: &str = "e3baa77fa8c84ffc7182ecc4d6de47e1ff341e45807bf6994ab0dccccf074e92";
const AFTER_THREE_BATCHES: &str =
    "64ca18f40df8491ff5031496ceacc72a1779bfd17bbbc2b6604cc059abe8878a";

/// Rows of a checkpoint, section by section.
#[derive(Default)]
struct Rows {
    reign: Vec<ReignSectionRow>,
    epochs: Vec<EpochRow>,
    ledgers: Vec<LedgerRow>,
    unprotected: Vec<UnprotectedRow>,
    accounts: Vec<CheckpointAccountRow>,
    pendings: Vec<CheckpointPendingRow>,
    terms: Vec<CheckpointTermsRow>,
    days: Vec<CheckpointDayRow>,
}

/// Reads a checkpoint, writes what was read, and compares. The values are the engine's, whose own
/// tests restore ledgers from these files.
fn read_and_written_back(bytes: &[u8]) -> Rows {
    let mut input = bytes;
    let mut reader = CheckpointReader::start(&mut input).unwrap();
    let mut rows = Rows::default();
    while let Some(section) = reader.next_section().unwrap() {
        match section.kind {
            SectionKind::Reign => rows.reign.extend_from_slice(section.rows()),
            SectionKind::Epochs => rows.epochs.extend_from_slice(section.rows()),
            SectionKind::Ledgers => rows.ledgers.extend_from_slice(section.rows()),
            SectionKind::Unprotected => rows.unprotected.extend_from_slice(section.rows()),
            SectionKind::Accounts => rows.accounts.extend_from_slice(section.rows()),
            SectionKind::Pendings => rows.pendings.extend_from_slice(section.rows()),
            SectionKind::Terms => rows.terms.extend_from_slice(section.rows()),
            SectionKind::Days => rows.days.extend_from_slice(section.rows()),
            SectionKind::End => unreachable!("the reader keeps the end to itself"),
        }
    }
    let header = *reader.header();
    assert_eq!(rows.reign.len(), 1);
    assert!(!rows.epochs.is_empty() && !rows.ledgers.is_empty());
    assert!(!rows.unprotected.is_empty() && !rows.accounts.is_empty());
    let mut again = Vec::new();
    let mut writer = CheckpointWriter::start(&mut again, &header).unwrap();
    writer.rows(&rows.reign).unwrap();
    writer.rows(&rows.epochs).unwrap();
    writer.rows(&rows.ledgers).unwrap();
    writer.rows(&rows.unprotected).unwrap();
    writer.rows(&rows.accounts).unwrap();
    writer.rows(&rows.pendings).unwrap();
    writer.rows(&rows.terms).unwrap();
    writer.rows(&rows.days).unwrap();
    writer.finish().unwrap();
    assert!(again == bytes, "the layout changed");
    rows
}

#[test]
fn a_checkpoint_of_version_1_is_read_and_written_back_alike() {
    let rows = read_and_written_back(fixture("checkpoint-v1.ckpt"));
    assert!(rows.pendings.is_empty() && rows.terms.is_empty() && rows.days.is_empty());
}

#[test]
fn a_checkpoint_of_version_2_is_read_and_written_back_alike() {
    let rows = read_and_written_back(fixture("checkpoint-v2.ckpt"));
    assert!(!rows.pendings.is_empty() && !rows.terms.is_empty() && !rows.days.is_empty());
}

/// A later version may add results; what stands in the file keeps number and name.
#[test]
fn results_of_every_version_keep_their_numbers_and_names() {
    let texts =
        ["results-v1.txt", "results-v2.txt"].map(|name| str::from_utf8(fixture(name)).unwrap());
    for line in texts.into_iter().flat_map(str::lines) {
        let mut words = line.split(' ');
        let (Some(request), Some(number), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            panic!("{line:?} is not request, number, name");
        };
        let number: u32 = number.parse().unwrap();
        let known = match request {
            "create_accounts" => CreateAccountResult::from_number(number).map(|r| r.name()),
            "create_transfers" => CreateTransferResult::from_number(number).map(|r| r.name()),
            "change_accounts" => ChangeAccountResult::from_number(number).map(|r| r.name()),
            "close_day" => CloseDayResult::from_number(number).map(|r| r.name()),
            "burn" => BurnResult::from_number(number).map(|r| r.name()),
            _ => panic!("{line:?} names no request"),
        };
        assert_eq!(known, Some(name));
    }
}
