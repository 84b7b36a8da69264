use super::*;
use crate::ids::Chain;
use proptest::prelude::*;

fn tail(n: u64) -> Tail {
    Tail {
        epoch: Epoch::new(n),
        lsn: Lsn::new(n * PAGE_BYTES),
        chain: Chain::new([n as u8; 32]),
    }
}

fn opening() -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: Incarnation::new(0x1111),
        random: 77,
    }
}

fn history() -> Vec<EpochEntry> {
    (1..4)
        .map(|n| EpochEntry {
            epoch: Epoch::new(n + 1),
            base: tail(n),
        })
        .collect()
}

fn handshake_frames() -> Vec<Body<'static>> {
    let hello = Hello {
        version_min: 1,
        version_max: 2,
        purpose: Purpose::Replicate,
        cluster: ClusterId::new(7),
        node: NodeId::new(1),
        incarnation: Incarnation::new(9),
        site: Site::One,
        role: Role::Primary,
        segment_bytes: 1 << 26,
        start_count: 3,
        highest_epoch: Epoch::from_terms(1, 4),
        opening: Some(opening()),
        tail: tail(5),
        history: history(),
        client_address: "10.0.0.1:7400".to_owned(),
    };
    let welcome = Welcome {
        version: 1,
        cluster: ClusterId::new(7),
        node: NodeId::new(2),
        incarnation: Incarnation::new(10),
        site: Site::Two,
        role: Role::Replica,
        segment_bytes: 1 << 26,
        start_count: 2,
        granted_epoch: Epoch::from_terms(1, 3),
        granted_opening: opening(),
        tail: tail(4),
        confirmed: Lsn::new(8192),
        in_sync: true,
        in_sync_lsn: Lsn::new(4096),
        uncertain: false,
        awaiting_operator: false,
        history: history(),
        client_address: String::new(),
    };
    vec![
        Body::Hello(Box::new(hello)),
        Body::Welcome(Box::new(welcome)),
        Body::Refused(Refused {
            code: RefusalCode::LowerEpoch,
            granted_epoch: Epoch::from_terms(2, 1),
            granted_opening: opening(),
            text: "fenced by epoch 2.1".to_owned(),
        }),
        Body::Seal { opening: opening() },
        Body::Granted(Granted {
            opening: opening(),
            tail: tail(4),
            confirmed: Lsn::new(4096),
            in_sync: true,
            in_sync_lsn: Lsn::new(4096),
            uncertain: true,
        }),
        Body::Fetch {
            from: Lsn::new(4096),
        },
        Body::FetchEnd { tail: tail(6) },
        Body::Follow(Follow {
            opening: opening(),
            tail: tail(9),
            committed: Lsn::new(4096),
            history: history(),
        }),
        Body::Following { tail: tail(8) },
    ]
}

fn session_frames() -> Vec<Body<'static>> {
    let mark = Mark {
        turn: 3,
        in_sync: true,
        lsn: Lsn::new(8192),
    };
    vec![
        Body::Committed {
            lsn: Lsn::new(4096),
            digest: Some(Digest::new(5)),
        },
        Body::Committed {
            lsn: Lsn::new(4096),
            digest: None,
        },
        Body::ReadCheck { token: 9 },
        Body::ReadOk { token: 9 },
        Body::Mark(mark),
        Body::Marked(mark),
        Body::Ack {
            tail: tail(3),
            node: NodeId::new(2),
            incarnation: Incarnation::new(10),
        },
        Body::Applied {
            lsn: Lsn::new(4096),
            digest: Digest::new(6),
        },
        Body::Ping { nonce: 5 },
        Body::Pong {
            nonce: 5,
            durable: Lsn::new(8192),
            applied: Lsn::new(4096),
            syncing: true,
        },
        Body::Chunk {
            file: SeedFile::Segment(4),
            total_bytes: 90,
            offset: 80,
            bytes: b"ten bytes.",
        },
        Body::Stored {
            file: SeedFile::Checkpoint(Lsn::new(4096)),
            tail: tail(1),
        },
    ]
}

fn encoded(body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let epoch = Epoch::from_terms(1, 4);
    Frame { epoch, body }.encode(&mut bytes);
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(length as usize, bytes.len() - REPLICATION_LENGTH_BYTES);
    bytes.split_off(REPLICATION_LENGTH_BYTES)
}

fn sample_batch(payload: &[u8]) -> (BatchHeader, BatchPlace) {
    let cluster = ClusterId::new(7);
    let place = BatchPlace {
        cluster,
        lsn: Lsn::new(8192),
        epoch: Epoch::from_terms(1, 3),
        chain: Chain::genesis(cluster),
    };
    let fields = BatchFields {
        cluster,
        epoch: Epoch::from_terms(1, 4),
        lsn: place.lsn,
        flags: 0,
        record_count: 1,
        timestamp: Timestamp::new(5),
        confirmed: Lsn::new(4096),
        prev_chain: place.chain,
    };
    (BatchHeader::build(&fields, payload), place)
}

#[test]
fn every_frame_is_read_as_it_was_written() {
    for body in handshake_frames().into_iter().chain(session_frames()) {
        let bytes = encoded(body.clone());
        let frame = Frame::decode(&bytes).unwrap();
        assert_eq!(frame.body, body);
        assert_eq!(frame.epoch, Epoch::from_terms(1, 4));
    }
}

#[test]
fn every_flipped_bit_of_a_frame_is_found() {
    for body in handshake_frames().into_iter().chain(session_frames()) {
        let bytes = encoded(body);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bad).is_err(), "bit {bit} flipped unseen");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_raw_batch_frame_is_found() {
    let payload = b"twelve bytes";
    let (header, place) = sample_batch(payload);
    let bytes = encoded(Body::Batch(WireBatch::new(&header, Encoding::Raw, payload)));
    let rebuilt = |bytes: &[u8]| match Frame::decode(bytes).ok()?.body {
        Body::Batch(batch) => batch.rebuild(&place, batch.body).ok(),
        _ => None,
    };
    assert_eq!(rebuilt(&bytes), Some(header));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(rebuilt(&bad), None, "bit {bit} flipped unseen");
    }
}

#[test]
fn a_batch_is_rebuilt_in_its_place_only() {
    let payload = b"twelve bytes";
    let (header, place) = sample_batch(payload);
    let batch = WireBatch::new(&header, Encoding::Raw, payload);
    let elsewhere = BatchPlace {
        lsn: Lsn::new(4096),
        ..place
    };
    let later = BatchPlace {
        epoch: Epoch::from_terms(2, 1),
        ..place
    };
    let forked = BatchPlace {
        chain: Chain::default(),
        ..place
    };
    let stranger = BatchPlace {
        cluster: ClusterId::new(8),
        ..place
    };
    for wrong in [elsewhere, later, forked, stranger] {
        assert!(batch.rebuild(&wrong, payload).is_err());
    }
    assert!(batch.rebuild(&place, b"other bytes!").is_err());
}

#[test]
fn every_frame_cut_short_is_refused() {
    for body in handshake_frames().into_iter().chain(session_frames()) {
        let bytes = encoded(body);
        for end in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..end]).is_err());
        }
    }
}

/// Wraps a body in a header with the right checksum, as a hostile peer would.
fn forged(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = REPLICATION_MAGIC.to_vec();
    bytes.extend([kind, 0, 1, 0]);
    bytes.extend([0; 8]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    let covered = if kind == 10 {
        body.len().min(52)
    } else {
        body.len()
    };
    hasher.update(&body[..covered]);
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_longer_history_than_a_handshake_carries_keeps_its_newest_epochs() {
    let long: Vec<EpochEntry> = (0..EPOCH_HISTORY_MAX as u64 + 10)
        .map(|n| EpochEntry {
            epoch: Epoch::new(n + 1),
            base: tail(n),
        })
        .collect();
    let follow = Follow {
        opening: opening(),
        tail: tail(9),
        committed: Lsn::ZERO,
        history: long.clone(),
    };
    let bytes = encoded(Body::Follow(follow));
    let Body::Follow(read) = Frame::decode(&bytes).unwrap().body else {
        panic!("another kind");
    };
    assert_eq!(read.history, long[10..]);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn garbage_under_a_right_checksum_never_panics(
        kind in 0_u8..24,
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        if let Ok(frame) = Frame::decode(&forged(kind, &body)) {
            let mut again = Vec::new();
            frame.encode(&mut again);
        }
    }

    #[test]
    fn a_mutated_frame_never_panics_even_under_a_right_checksum(
        pick in 0_usize..21,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let body = handshake_frames().into_iter().chain(session_frames()).nth(pick).unwrap();
        let bytes = encoded(body);
        let mut inner = bytes[REPLICATION_HEADER_BYTES..].to_vec();
        let at = at.index(inner.len());
        inner[at] = value;
        let _ = Frame::decode(&forged(bytes[4], &inner));
    }
}
