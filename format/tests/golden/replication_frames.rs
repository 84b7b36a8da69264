//! What two nodes of version 1 say.

use kanjo_format::replication::{Body, Encoding, Frame, REPLICATION_LENGTH_BYTES, WireBatch};
use kanjo_format::{BatchHeader, BatchPlace, Epoch};

use super::{fixture, samples};

const DICTIONARY_1: &[u8] = include_bytes!("../../../shipper/dictionary/v1.bin");

/// A fixture without its length, which is checked.
fn frame(name: &str) -> Frame<'static> {
    let (length, rest) = fixture(name).split_at(REPLICATION_LENGTH_BYTES);
    assert_eq!(length, (rest.len() as u32).to_le_bytes(), "{name}");
    let frame = Frame::decode(rest).unwrap();
    assert_eq!(frame.epoch, samples::REPLICATION_EPOCH, "{name}");
    frame
}

fn batch(name: &str) -> WireBatch<'static> {
    match frame(name).body {
        Body::Batch(batch) => batch,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_frame_of_version_1_is_read_to_its_values() {
    for (name, body) in samples::replication_frames() {
        assert_eq!(frame(name).body, body, "{name}");
    }
}

#[test]
fn every_encoding_of_a_batch_unfolds_to_the_same_batch() {
    let (_, payload) = samples::every_kind();
    let fields = samples::batch_fields();
    let header = BatchHeader::build(&fields, &payload);
    let place = BatchPlace {
        cluster: fields.cluster,
        lsn: fields.lsn,
        epoch: Epoch::from_terms(1, 3),
        chain: fields.prev_chain,
    };
    let mut dictionary = zstd::bulk::Decompressor::with_dictionary(DICTIONARY_1).unwrap();
    for (name, encoding) in [
        ("replication-v1/batch-raw.frame", Encoding::Raw),
        ("replication-v1/batch-zstd.frame", Encoding::Zstd),
        (
            "replication-v1/batch-zstd-dictionary-1.frame",
            Encoding::ZstdDictionary1,
        ),
    ] {
        let batch = batch(name);
        assert_eq!(batch.encoding, encoding);
        let unfolded = match encoding {
            Encoding::Raw => batch.body.to_vec(),
            Encoding::Zstd => zstd::bulk::decompress(batch.body, payload.len()).unwrap(),
            Encoding::ZstdDictionary1 => dictionary.decompress(batch.body, payload.len()).unwrap(),
        };
        assert!(unfolded == payload, "{name}");
        assert_eq!(batch.rebuild(&place, &unfolded), Ok(header));
        assert!(
            samples::batch_frame(encoding, batch.body) == fixture(name),
            "{name}: the layout changed"
        );
    }
}
