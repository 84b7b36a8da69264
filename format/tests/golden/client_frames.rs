//! What clients and servers of every version say.

use std::fmt::Debug;

use kanjo_format::client::{
    AccountBody, Frame, HelloBody, LENGTH_BYTES, PageBody, ResultRun, TransferBody, WelcomeBody,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::samples::client_v2 as v2;
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

#[test]
fn every_frame_of_version_2_is_read_to_its_values() {
    for (name, sample) in v2::frames() {
        let frame = Frame::decode(frame_bytes(name)).unwrap();
        assert_eq!(frame, sample.frame(), "{name}");
        let checked = match name.ends_with("-reply.frame") {
            true => frame.check_reply(),
            false => frame.check_request(),
        };
        assert_eq!(checked, Ok(()), "{name}");
    }
    let welcome = rows::<WelcomeBody>("client-v2/welcome.frame")[0];
    assert_eq!(welcome, v2::welcome());
    assert_eq!(welcome.agreed_version(), 2);
    assert_eq!(samples::client_welcome().agreed_version(), 1);
}

/// The rows of a request and of its reply, where a page stands in front of them.
fn assert_rows<Q, R>(name: &str, asked: &[Q], answered: &[R])
where
    Q: FromBytes + Immutable + KnownLayout + Copy + PartialEq + Debug,
    R: FromBytes + Immutable + KnownLayout + Copy + PartialEq + Debug,
{
    let request = format!("client-v2/{name}-request.frame");
    assert_eq!(rows::<Q>(&request), asked, "{name}");
    let reply = format!("client-v2/{name}-reply.frame");
    let frame = Frame::decode(frame_bytes(&reply)).unwrap();
    let rows_bytes = match frame.kind.is_paged() {
        true => {
            let (page, rest) = PageBody::read_from_prefix(frame.body).unwrap();
            assert_eq!(page, v2::page(), "{name}");
            rest
        }
        false => frame.body,
    };
    let found = <[R]>::ref_from_bytes(rows_bytes).unwrap();
    assert_eq!(found, answered, "{name}");
}

#[test]
fn every_row_of_version_2_is_read_to_its_values() {
    let ids: Vec<[u8; 16]> = samples::lookup_ids()
        .iter()
        .map(|id| id.to_le_bytes())
        .collect();
    let [posted, changed, closed, burnt] = v2::results();
    assert_rows("create-transfers-detailed", &v2::details(), &posted);
    assert_rows("change-accounts", &v2::changes(), &changed);
    assert_rows("close-day", &v2::close_day(), &closed);
    assert_rows("burn-ids", &ids, &burnt);
    assert_rows("lookup-outcomes", &ids, &v2::outcomes());
    assert_rows("lookup-transfer-details", &ids, &v2::details());
    assert_rows("lookup-account-terms", &ids, &v2::terms());
    let (account, query) = (v2::account_filter(), v2::query_filter());
    let transfers = samples::transfer_bodies();
    assert_rows("get-account-transfers", &account, &transfers);
    assert_rows("get-account-balances", &account, &v2::balances());
    assert_rows("query-accounts", &query, &samples::account_bodies());
    assert_rows("query-transfers", &query, &transfers);
    assert_rows("get-statement", &v2::statement(), &v2::lines());
    assert_rows("get-balances-as-of", &v2::as_of(), &v2::balances());
    assert_rows("read-feed", &v2::feed(), &v2::feed_rows());
    let request = Frame::decode(frame_bytes("client-v2/get-trial-balance-request.frame"));
    assert_eq!(request.unwrap().body, []);
    let reply = Frame::decode(frame_bytes("client-v2/get-trial-balance-reply.frame")).unwrap();
    let rows_bytes = &reply.body[size_of::<PageBody>()..];
    assert_eq!(rows_bytes, v2::trial_balance().as_bytes());
}
