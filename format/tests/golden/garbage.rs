//! Decoders and hostile bytes: any change of any fixture, under a checksum that was made right
//! again too, gets an error or other values. It never panics.

use kanjo_format::BatchHeader;
use kanjo_format::checkpoint::{self, SECTION_HEADER_BYTES};
use kanjo_format::client;
use kanjo_format::columns::Groups;
use kanjo_format::control::{CONTROL_ROW_BYTES, Control};
use kanjo_format::limits::BATCH_HEADER_BYTES;
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow,
    PendingRow, RecordKind, ReignRow, ResolvedRow, TransferRow,
};
use kanjo_format::replication;
use kanjo_format::result::CreateTransferResult;
use kanjo_format::run::{RunHeader, RunSection};
use kanjo_format::segment::{
    BLOCK_ENTRY_BYTES, SEALED_FOOTER_BYTES, SEGMENT_HEADER_BYTES, SealedFooter, SegmentHeader,
};
use proptest::prelude::*;
use proptest::sample::Index;
use zerocopy::FromBytes;

use super::{FIXTURES, fixture};

/// Bytes that are written over some of a fixture, and how much of it is kept.
fn changes() -> impl Strategy<Value = (Vec<(Index, u8)>, Option<Index>)> {
    let writes = proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6);
    (writes, proptest::option::weighted(0.2, any::<Index>()))
}

fn changed(bytes: &[u8], (writes, cut): &(Vec<(Index, u8)>, Option<Index>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in writes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

/// Everything that reads bytes, on these bytes.
fn read_with_every_decoder(bytes: &[u8]) {
    read_batch(bytes);
    let _ = SegmentHeader::decode(bytes);
    read_sealed_end(bytes);
    let _ = Control::decode(bytes);
    let _ = checkpoint::verify(&mut &*bytes);
    let _ = RunHeader::decode(bytes);
    for section in RunSection::ALL {
        let _ = super::run::remade(section, bytes);
    }
    for bytes in [bytes, bytes.get(4..).unwrap_or_default()] {
        if let Ok(frame) = client::Frame::decode(bytes) {
            read_client_frame(&frame);
        }
        let _ = replication::Frame::decode(bytes);
    }
}

/// As a node reads a request, and as a client reads a reply.
fn read_client_frame(frame: &client::Frame<'_>) {
    if frame.check_request().is_ok() {
        let row_bytes = frame.kind.request_row_bytes();
        assert_eq!(frame.body.len(), frame.count as usize * row_bytes);
    }
    if frame.check_reply().is_err() {
        return;
    }
    let front_bytes = match frame.kind.is_paged() {
        true => size_of::<client::PageBody>(),
        false => 0,
    };
    let (front, rows) = frame.body.split_at(front_bytes);
    if frame.kind.is_paged() {
        client::PageBody::read_from_bytes(front).expect("checked");
    }
    let row_bytes = frame.kind.reply_row_bytes();
    // A kind without rows has none, whatever it counts.
    let rest = rows.len().checked_rem(row_bytes).unwrap_or(rows.len());
    assert!(frame.count == 0 || rest == 0);
    if frame.kind == client::FrameKind::ReadFeed {
        for row in <[client::FeedRowBody]>::ref_from_bytes(rows).expect("checked") {
            let _ = RecordKind::from_number(row.kind.get());
            let _ = client::TransferDetailBody::read_from_bytes(&row.body);
            let _ = client::AccountBody::read_from_prefix(&row.body);
        }
    }
    if frame.kind == client::FrameKind::LookupOutcomes {
        for row in <[client::OutcomeBody]>::ref_from_bytes(rows).expect("checked") {
            let _ = client::OutcomeState::from_number(row.state.get());
            let _ = CreateTransferResult::from_number(row.result.get());
        }
    }
}

fn read_batch(bytes: &[u8]) {
    let Ok(header) = BatchHeader::decode(bytes) else {
        return;
    };
    let payload = &bytes[BATCH_HEADER_BYTES..];
    let payload = &payload[..header.payload_bytes().min(payload.len())];
    let _ = header.check_payload(payload);
    read_groups(payload, header.record_count());
}

/// A payload as it is read once its checksum was found right.
fn read_groups(payload: &[u8], record_count: u32) {
    for group in Groups::new(payload, record_count).flatten() {
        match group.kind {
            RecordKind::EpochStart | RecordKind::SetChange => {
                let mut rows = Vec::<ReignRow>::new();
                group.read_rows(&mut rows);
                for row in rows {
                    let _ = (row.opening(), row.base(), row.protection(), row.reason());
                    assert!(row.members().count() <= 4);
                }
            }
            RecordKind::AccountOpened => group.read_rows::<AccountRow>(&mut Vec::new()),
            RecordKind::TransferPosted => group.read_rows::<TransferRow>(&mut Vec::new()),
            RecordKind::TransferFailed => group.read_rows::<FailedRow>(&mut Vec::new()),
            RecordKind::AccountImported => group.read_rows::<ImportedAccountRow>(&mut Vec::new()),
            RecordKind::AccountChanged => group.read_rows::<AccountChangeRow>(&mut Vec::new()),
            RecordKind::DayClosed => group.read_rows::<DayRow>(&mut Vec::new()),
            RecordKind::TransferPending => group.read_rows::<PendingRow>(&mut Vec::new()),
            RecordKind::PendingPosted | RecordKind::PendingVoided => {
                group.read_rows::<ResolvedRow>(&mut Vec::new());
            }
            RecordKind::PendingExpired => group.read_rows::<ExpiredRow>(&mut Vec::new()),
            RecordKind::TransferDetailed => group.read_rows::<DetailedRow>(&mut Vec::new()),
        }
    }
}

fn read_sealed_end(bytes: &[u8]) {
    let Some(at) = bytes.len().checked_sub(SEALED_FOOTER_BYTES) else {
        return;
    };
    let Ok(footer) = SealedFooter::decode(&bytes[at..], bytes.len() as u64) else {
        return;
    };
    let index_bytes = footer.block_count as usize * BLOCK_ENTRY_BYTES;
    let index = &bytes[footer.index_offset as usize..][..index_bytes];
    let _ = footer.decode_index(index);
}

fn put_crc(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksums right again that a hostile writer could.
fn repaired(name: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if name.starts_with("batch") && bytes.len() >= BATCH_HEADER_BYTES {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[8..40]);
        hasher.update(&bytes[..BATCH_HEADER_BYTES - 4]);
        put_crc(&mut bytes, BATCH_HEADER_BYTES - 4, hasher.finalize());
    } else if name.starts_with("segment-raw") && bytes.len() >= SEGMENT_HEADER_BYTES {
        let crc = crc32fast::hash(&bytes[..SEGMENT_HEADER_BYTES - 4]);
        put_crc(&mut bytes, SEGMENT_HEADER_BYTES - 4, crc);
    } else if name.ends_with(".sealed") && bytes.len() >= SEALED_FOOTER_BYTES {
        let (at, end) = (bytes.len() - SEALED_FOOTER_BYTES, bytes.len() - 4);
        let crc = crc32fast::hash(&bytes[at..end]);
        put_crc(&mut bytes, end, crc);
    } else if name.starts_with("control") && bytes.len() >= CONTROL_ROW_BYTES {
        let crc = crc32fast::hash(&bytes[..CONTROL_ROW_BYTES - 4]);
        put_crc(&mut bytes, CONTROL_ROW_BYTES - 4, crc);
    } else if name.starts_with("client") && bytes.len() >= 36 {
        put_crc(&mut bytes, 28, 0);
        let crc = crc32fast::hash(&bytes[4..]);
        put_crc(&mut bytes, 28, crc);
    } else if name.starts_with("replication") && bytes.len() >= 24 {
        let covered = if bytes[8] == 10 {
            bytes.len().min(24 + 52)
        } else {
            bytes.len()
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[4..20]);
        hasher.update(&bytes[24..covered]);
        put_crc(&mut bytes, 20, hasher.finalize());
    }
    bytes
}

/// The checkpoint's header and each of its sections with a right checksum.
fn repaired_checkpoint(mut bytes: Vec<u8>) -> Vec<u8> {
    const HEADER_BYTES: usize = 160;
    /// Bytes of a row, by kind.
    const ROW_BYTES: [usize; 7] = [0, 296, 56, 48, 32, 128, 32];
    if bytes.len() < HEADER_BYTES {
        return bytes;
    }
    put_crc(&mut bytes, HEADER_BYTES - 4, 0);
    let crc = crc32fast::hash(&bytes[..HEADER_BYTES]);
    put_crc(&mut bytes, HEADER_BYTES - 4, crc);
    let mut at = HEADER_BYTES;
    while at + SECTION_HEADER_BYTES <= bytes.len() {
        let kind = usize::from(bytes[at]);
        let count =
            u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]);
        let rows = ROW_BYTES.get(kind).unwrap_or(&0) * count as usize;
        let end = at + SECTION_HEADER_BYTES + rows;
        if rows == 0 || end > bytes.len() {
            break;
        }
        put_crc(&mut bytes, at + 8, 0);
        let crc = crc32fast::hash(&bytes[at..end]);
        put_crc(&mut bytes, at + 8, crc);
        at = end;
    }
    bytes
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        read_with_every_decoder(&bytes);
    }

    #[test]
    fn a_changed_fixture_never_panics(pick: Index, changes in changes()) {
        let (_, bytes) = pick.get(FIXTURES);
        read_with_every_decoder(&changed(bytes, &changes));
    }

    #[test]
    fn a_changed_fixture_under_right_checksums_never_panics(pick: Index, changes in changes()) {
        let (name, bytes) = pick.get(FIXTURES);
        read_with_every_decoder(&repaired(name, changed(bytes, &changes)));
    }

    #[test]
    fn a_changed_control_slot_under_a_right_checksum_never_panics(changes in changes()) {
        let slot = &fixture("control-slot-v1.bin")[..CONTROL_ROW_BYTES];
        if let Ok(control) = Control::decode(&repaired("control", changed(slot, &changes))) {
            prop_assert_eq!(Control::decode(&control.encode()), Ok(control));
        }
    }

    #[test]
    fn a_changed_footer_under_a_right_checksum_never_panics(changes in changes()) {
        let file = fixture("segment-v1.sealed");
        let (front, footer) = file.split_at(file.len() - SEALED_FOOTER_BYTES);
        let mut bytes = front.to_vec();
        bytes.extend(changed(footer, &changes));
        read_sealed_end(&repaired(".sealed", bytes));
    }

    #[test]
    fn a_changed_index_never_panics(changes in changes()) {
        let file = fixture("segment-v1.sealed");
        let (front, footer) = file.split_at(file.len() - SEALED_FOOTER_BYTES);
        let index = &front[front.len() - 2 * BLOCK_ENTRY_BYTES..];
        let mut footer = SealedFooter::decode(footer, file.len() as u64).unwrap();
        let index = changed(index, &changes);
        footer.index_crc = kanjo_format::segment::index_crc(footer.cluster, footer.number, &index);
        let _ = footer.decode_index(&index);
    }

    #[test]
    fn a_changed_payload_never_panics(changes in changes(), second: bool) {
        let batch = fixture(if second { "batch-v2.bin" } else { "batch-v1.bin" });
        let header = BatchHeader::decode(batch).unwrap();
        let payload = &batch[BATCH_HEADER_BYTES..][..header.payload_bytes()];
        read_groups(&changed(payload, &changes), header.record_count());
    }

    #[test]
    fn a_changed_checkpoint_is_refused_under_right_checksums_too(
        changes in changes(),
        second: bool,
    ) {
        let good = fixture(if second { "checkpoint-v2.ckpt" } else { "checkpoint-v1.ckpt" });
        let bytes = changed(good, &changes);
        prop_assume!(bytes != good);
        prop_assert!(checkpoint::verify(&mut bytes.as_slice()).is_err());
        let repaired = repaired_checkpoint(bytes);
        prop_assume!(repaired != good);
        prop_assert!(checkpoint::verify(&mut repaired.as_slice()).is_err());
    }
}
