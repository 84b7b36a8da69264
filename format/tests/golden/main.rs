//! The committed fixtures: what files and peers of every released version look like.
//!
//! Each is read to the values that were put into it, and those values still make exactly its
//! bytes. Nothing here writes a fixture; `examples/make_fixtures.rs` makes those of a new
//! version, and refuses to touch what is there.

mod client_frames;
mod files;
mod garbage;
mod replication_frames;
mod run;
mod samples;

/// Declares the fixtures with their bytes.
macro_rules! fixtures {
    ($($name:literal,)*) => {
        const FIXTURES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../../fixtures/", $name))),)*];
    };
}

fixtures! {
    "batch-segment-end-v1.bin",
    "batch-v1.bin",
    "batch-v2.bin",
    "checkpoint-v1.ckpt",
    "checkpoint-v2.ckpt",
    "client-v1/create-accounts-reply.frame",
    "client-v1/create-accounts-request.frame",
    "client-v1/create-transfers-reply.frame",
    "client-v1/create-transfers-request.frame",
    "client-v1/fenced-reply.frame",
    "client-v1/hello.frame",
    "client-v1/indeterminate-reply.frame",
    "client-v1/lookup-accounts-reply.frame",
    "client-v1/lookup-accounts-request.frame",
    "client-v1/lookup-transfers-reply.frame",
    "client-v1/lookup-transfers-request.frame",
    "client-v1/malformed-reply.frame",
    "client-v1/not-primary-reply.frame",
    "client-v1/overloaded-reply.frame",
    "client-v1/welcome.frame",
    "client-v2/burn-ids-reply.frame",
    "client-v2/burn-ids-request.frame",
    "client-v2/change-accounts-reply.frame",
    "client-v2/change-accounts-request.frame",
    "client-v2/close-day-reply.frame",
    "client-v2/close-day-request.frame",
    "client-v2/create-transfers-detailed-reply.frame",
    "client-v2/create-transfers-detailed-request.frame",
    "client-v2/get-account-balances-reply.frame",
    "client-v2/get-account-balances-request.frame",
    "client-v2/get-account-transfers-reply.frame",
    "client-v2/get-account-transfers-request.frame",
    "client-v2/get-balances-as-of-reply.frame",
    "client-v2/get-balances-as-of-request.frame",
    "client-v2/get-statement-reply.frame",
    "client-v2/get-statement-request.frame",
    "client-v2/get-trial-balance-reply.frame",
    "client-v2/get-trial-balance-request.frame",
    "client-v2/lookup-account-terms-reply.frame",
    "client-v2/lookup-account-terms-request.frame",
    "client-v2/lookup-outcomes-reply.frame",
    "client-v2/lookup-outcomes-request.frame",
    "client-v2/lookup-transfer-details-reply.frame",
    "client-v2/lookup-transfer-details-request.frame",
    "client-v2/query-accounts-reply.frame",
    "client-v2/query-accounts-request.frame",
    "client-v2/query-transfers-reply.frame",
    "client-v2/query-transfers-request.frame",
    "client-v2/read-feed-reply.frame",
    "client-v2/read-feed-request.frame",
    "client-v2/welcome.frame",
    "control-slot-v1.bin",
    "replication-v1/ack.frame",
    "replication-v1/applied.frame",
    "replication-v1/batch-raw.frame",
    "replication-v1/batch-zstd-dictionary-1.frame",
    "replication-v1/batch-zstd.frame",
    "replication-v1/chunk-checkpoint.frame",
    "replication-v1/chunk-segment.frame",
    "replication-v1/committed-without-digest.frame",
    "replication-v1/committed.frame",
    "replication-v1/fetch-end.frame",
    "replication-v1/fetch.frame",
    "replication-v1/follow.frame",
    "replication-v1/following.frame",
    "replication-v1/granted.frame",
    "replication-v1/hello-heartbeat.frame",
    "replication-v1/hello.frame",
    "replication-v1/mark.frame",
    "replication-v1/marked.frame",
    "replication-v1/ping.frame",
    "replication-v1/pong.frame",
    "replication-v1/read-check.frame",
    "replication-v1/read-ok.frame",
    "replication-v1/refused.frame",
    "replication-v1/seal.frame",
    "replication-v1/stored.frame",
    "replication-v1/welcome.frame",
    "results-v1.txt",
    "results-v2.txt",
    "run-v1.run",

    "segment-raw-header-v1.bin",
    "segment-v1.bin",
    "segment-v1.sealed",
}

/// The committed bytes of that name.
fn fixture(name: &str) -> &'static [u8] {
    let found = FIXTURES.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("no fixture is called {name}"))
        .1
}

#[test]
fn every_fixture_is_tested_and_has_a_checksum() {
    let listed: Vec<&str> = include_str!("../../fixtures/SHA256SUMS")
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(_, name)| name))
        .collect();
    let known: Vec<&str> = FIXTURES.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
}

#[test]
fn every_value_still_makes_the_committed_bytes() {
    for (name, bytes) in samples::plain_fixtures() {
        assert!(
            fixture(name) == bytes,
            "{name}: the layout changed; a change of layout is a new version"
        );
    }
}
