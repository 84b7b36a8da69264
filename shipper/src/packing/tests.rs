use super::*;
use kanjo_format::batch::BatchFields;
use kanjo_format::columns::push_group;
use kanjo_format::record::{RecordKind, TransferRow};
use kanjo_format::replication::REPLICATION_LENGTH_BYTES;
use kanjo_format::{Chain, ClusterId, Lsn, Timestamp};
use proptest::prelude::*;

const EPOCH: Epoch = Epoch::from_terms(1, 2);

fn place() -> BatchPlace {
    let cluster = ClusterId::new(7);
    BatchPlace {
        cluster,
        lsn: Lsn::new(8192),
        epoch: Epoch::from_terms(1, 1),
        chain: Chain::genesis(cluster),
    }
}

fn header(payload: &[u8], record_count: u32) -> BatchHeader {
    let place = place();
    let fields = BatchFields {
        cluster: place.cluster,
        epoch: EPOCH,
        lsn: place.lsn,
        flags: 0,
        record_count,
        timestamp: Timestamp::new(1_780_000_000_000_000_000),
        confirmed: Lsn::new(4096),
        prev_chain: place.chain,
    };
    BatchHeader::build(&fields, payload)
}

fn transfers(count: u64) -> Vec<u8> {
    let rows: Vec<_> = (0..count)
        .map(|n| TransferRow {
            id: (0x0192_f3a1_0000_0000_u128 << 64
                | u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .into(),
            amount: u128::from(100 + n * 37 % 1000).into(),
            debit_account: (n as u32 * 31 % 5000).into(),
            credit_account: (n as u32 * 17 % 5000).into(),
            code: 1.into(),
            ..TransferRow::default()
        })
        .collect();
    let mut payload = Vec::new();
    push_group(&mut payload, RecordKind::TransferPosted, &rows);
    payload
}

fn unpack(frame: &[u8]) -> Result<(BatchHeader, Vec<u8>), String> {
    let frame = Frame::decode(frame).map_err(|e| e.to_string())?;
    let Body::Batch(batch) = frame.body else {
        return Err("another kind".to_owned());
    };
    let mut out = Vec::new();
    let header = Unpacker::new()
        .unpack(&batch, &place(), &mut out)
        .map_err(|e| e.to_string())?;
    Ok((header, out))
}

fn packed(payload: &[u8], count: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    Packer::new().pack(EPOCH, &header(payload, count), payload, &mut frame);
    frame
}

#[test]
fn a_batch_comes_out_as_it_was_appended_and_never_takes_more_than_it_did() {
    for count in [1, 2, 7, 100, 8_189] {
        let payload = transfers(count);
        let frame = packed(&payload, count as u32);
        assert!(frame.len() <= BATCH_HEADER_BYTES + payload.len());
        let (rebuilt, out) = unpack(&frame[REPLICATION_LENGTH_BYTES..]).unwrap();
        assert_eq!((rebuilt, out), (header(&payload, count as u32), payload));
    }
}

#[test]
fn some_transfers_shrink_by_the_dictionary_and_a_single_one_does_not_wait_for_it() {
    let body = |count| {
        let payload = transfers(count);
        let packed = packed(&payload, count as u32).len() - BATCH_FRAME_OVERHEAD_BYTES;
        (packed, payload.len())
    };
    let (packed, payload) = body(1);
    assert_eq!(packed, payload);
    let (packed, payload) = body(20);
    assert!(packed < payload, "{packed} of {payload}");
}

#[test]
fn small_batches_travel_raw_for_a_while_once_one_hardly_shrank() {
    // Ids and amounts of random bits: SplitMix64.
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let row = |id: u64, amount: u64| TransferRow {
        id: u128::from(id).into(),
        amount: u128::from(amount).into(),
        ..TransferRow::default()
    };
    let vain: Vec<_> = (0..40).map(|_| row(random(), random())).collect();
    let worth = |rows| -> Vec<_> { (0..rows).map(|n| row(n, n % 3 * 1_000)).collect() };
    let payload = |rows: &[TransferRow]| {
        let mut payload = Vec::new();
        push_group(&mut payload, RecordKind::TransferPosted, rows);
        assert!(payload.len() <= DICTIONARY_PAYLOAD_BYTES_MAX);
        payload
    };
    let (vain, larger) = (payload(&vain), payload(&worth(900)));
    let worth = payload(&worth(200));
    assert!(worth.len() <= 2 * vain.len() && larger.len() > 2 * vain.len());
    let mut packer = Packer::new();
    let mut is_raw = |payload: &[u8]| packer.compress(payload) == Encoding::Raw;
    for _ in 0..3 {
        assert!((0..100).all(|_| !is_raw(&worth)));
        is_raw(&vain);
        assert!(
            !is_raw(&larger),
            "it says nothing of one more than twice as large"
        );
        assert!((0..RAW_AFTER_VAIN).all(|_| is_raw(&worth)));
    }
}

#[test]
fn an_empty_batch_travels() {
    let frame = packed(b"", 0);
    let (rebuilt, out) = unpack(&frame[REPLICATION_LENGTH_BYTES..]).unwrap();
    assert_eq!((rebuilt, out), (header(b"", 0), Vec::new()));
}

/// A flipped bit in a `zstd` frame may unfold to the same bytes; then nothing was harmed.
#[test]
fn a_flipped_bit_never_lets_another_batch_through() {
    let payload = transfers(20);
    let frame = packed(&payload, 20);
    for bit in REPLICATION_LENGTH_BYTES * 8..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok((rebuilt, out)) = unpack(&bad[REPLICATION_LENGTH_BYTES..]) {
            assert_eq!((rebuilt, &out), (header(&payload, 20), &payload));
        }
    }
}

#[test]
fn a_decompression_bomb_is_refused_within_the_promised_size() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let honest = header(&vec![0; 1 << 20], 0);
    let batch = WireBatch::new(&honest, Encoding::Zstd, &bomb);
    let mut out = Vec::new();
    let verdict = Unpacker::new().unpack(&batch, &place(), &mut out);
    assert!(matches!(verdict, Err(UnpackError::Packed { .. })));
    assert!(out.capacity() <= 1 << 20);
}

proptest! {
    #[test]
    fn any_payload_travels_unchanged(payload in proptest::collection::vec(any::<u8>(), 0..6000)) {
        let frame = packed(&payload, 1);
        prop_assert!(frame.len() <= BATCH_HEADER_BYTES + payload.len());
        let (rebuilt, out) = unpack(&frame[REPLICATION_LENGTH_BYTES..]).unwrap();
        prop_assert_eq!((rebuilt, out), (header(&payload, 1), payload));
    }

    #[test]
    fn garbage_bodies_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        dictionary in any::<bool>(),
    ) {
        let encoding = if dictionary { Encoding::ZstdDictionary1 } else { Encoding::Zstd };
        let promised = header(&[0; 400], 1);
        let batch = WireBatch::new(&promised, encoding, &body);
        let _ = Unpacker::new().unpack(&batch, &place(), &mut Vec::new());
    }
}

/// What a peer of version 1 sends: the committed frames were packed once and are never packed
/// again, so a dictionary that changed, or a `zstd` that no longer reads them, is found here.
#[test]
fn batches_that_a_version_1_peer_packed_are_unpacked_to_the_same_batch() {
    let raw = include_bytes!("../../../format/fixtures/replication-v1/batch-raw.frame");
    let packed: [&[u8]; 2] = [
        include_bytes!("../../../format/fixtures/replication-v1/batch-zstd.frame"),
        include_bytes!("../../../format/fixtures/replication-v1/batch-zstd-dictionary-1.frame"),
    ];
    let place = BatchPlace {
        cluster: ClusterId::new(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        lsn: Lsn::new(3 << 12),
        epoch: Epoch::from_terms(1, 3),
        chain: Chain::new([3; 32]),
    };
    let unpacked = |frame: &[u8]| {
        let Body::Batch(batch) = Frame::decode(&frame[REPLICATION_LENGTH_BYTES..])
            .unwrap()
            .body
        else {
            panic!("another kind");
        };
        let mut payload = Vec::new();
        let header = Unpacker::new()
            .unpack(&batch, &place, &mut payload)
            .unwrap();
        (header, payload)
    };
    let expected = unpacked(raw);
    for frame in packed {
        assert_eq!(unpacked(frame), expected);
    }
}
