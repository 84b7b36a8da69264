//! What clients and servers of version 1 say.

use kanjo_format::client::{
    AccountBody, Frame, HelloBody, LENGTH_BYTES, ResultRun, TransferBody, WelcomeBody,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{fixture, samples};

/// A fixture without its length, which is checked.
fn frame_bytes(name: &str) -> &'static [u8] {
    let (length, rest) = fixture(name).split_at(LENGTH_BYTES);
    assert_eq!(length, (rest.len() as u32).to_le_bytes(), "{name}");
    rest
}

fn rows<R: FromBytes + Immutable + KnownLayout + Copy>(name: &str) -> Vec<R> {
    let frame = Frame::decode(frame_bytes(name)).unwrap();
    let rows = <[R]>::ref_from_bytes(frame.body).unwrap();
    assert_eq!(rows.len(), frame.count as usize);
    rows.to_vec()
}

#[test]
fn every_frame_of_version_1_is_read_to_its_values() {
    for (name, sample) in samples::client_frames() {
        assert_eq!(
            Frame::decode(frame_bytes(name)),
            Ok(sample.frame()),
            "{name}"
        );
        if name.ends_with("-request.frame") || name.ends_with("hello.frame") {
            assert_eq!(sample.frame().check_request(), Ok(()), "{name}");
        }
    }
}

#[test]
fn every_row_of_version_1_is_read_to_its_values() {
    assert_eq!(
        rows::<HelloBody>("client-v1/hello.frame"),
        [samples::client_hello()]
    );
    assert_eq!(
        rows::<WelcomeBody>("client-v1/welcome.frame"),
        [samples::client_welcome()]
    );
    for name in ["create-accounts-request", "lookup-accounts-reply"] {
        let name = format!("client-v1/{name}.frame");
        assert_eq!(rows::<AccountBody>(&name), samples::account_bodies());
    }
    for name in ["create-transfers-request", "lookup-transfers-reply"] {
        let name = format!("client-v1/{name}.frame");
        assert_eq!(rows::<TransferBody>(&name), samples::transfer_bodies());
    }
    assert_eq!(
        rows::<ResultRun>("client-v1/create-accounts-reply.frame"),
        samples::account_results()
    );
    assert_eq!(
        rows::<ResultRun>("client-v1/create-transfers-reply.frame"),
        samples::transfer_results()
    );
    for name in ["lookup-accounts-request", "lookup-transfers-request"] {
        let ids = rows::<[u8; 16]>(&format!("client-v1/{name}.frame"));
        let ids: Vec<u128> = ids.into_iter().map(u128::from_le_bytes).collect();
        assert_eq!(ids, samples::lookup_ids());
    }
}
