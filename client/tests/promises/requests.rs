//! Requests that go well: results, batches, pipelining.

use kanjo_client::{AccountBody, AccountId, Client, TransferId, new_transfer_id};
use kanjo_format::limits::{CONNECTION_REQUESTS_MAX, REQUEST_EVENTS_MAX};
use tokio::task::JoinSet;

use crate::server::{Act, CREATED, EXISTS, Server, config, transfer};

#[tokio::test]
async fn every_event_gets_its_own_result_in_order() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let opened = client
        .create_accounts(&[AccountBody::default(); 2])
        .await
        .unwrap();
    assert!(opened.iter().all(|one| one.created()));
    let batch = [transfer(7), transfer(8), transfer(7)];
    let results = client.create_transfers(&batch).await.unwrap();
    let numbers: Vec<u32> = results.iter().map(|one| one.result).collect();
    assert_eq!(numbers, [CREATED, CREATED, EXISTS]);
    assert_eq!(results[1].timestamp, results[0].timestamp + 1);
    assert_eq!(results[2].timestamp, results[0].timestamp);

    let ids = [9, 8, 7].map(TransferId::new);
    let found = client.lookup_transfers(&ids).await.unwrap();
    let found: Vec<u128> = found.iter().map(|row| row.id.get()).collect();
    assert_eq!(found, [8, 7], "the one that is not there is left out");
    let accounts = client.lookup_accounts(&[AccountId::new(3)]).await.unwrap();
    assert_eq!(accounts[0].id.get(), 3);
    assert_eq!(client.create_transfers(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_batch_over_the_limit_is_split_and_its_results_joined() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let count = 2 * REQUEST_EVENTS_MAX + 5;
    let batch: Vec<_> = (1..=count as u128).map(transfer).collect();
    let results = client.create_transfers(&batch).await.unwrap();
    assert_eq!(results.len(), count);
    assert!(results.iter().all(|one| one.created()));
    assert!(results.is_sorted_by_key(|one| one.timestamp));
    assert_eq!((server.requests(), server.posted()), (3, count));
    let ids: Vec<_> = (1..=count as u128).map(TransferId::new).collect();
    assert_eq!(client.lookup_transfers(&ids).await.unwrap().len(), count);
}

#[tokio::test]
async fn requests_are_pipelined_over_one_connection_within_its_bound() {
    let server = Server::start(true, 1).await;
    // No reply before the connection is full, then all at once and in reverse.
    server.always(Act::Gather(CONNECTION_REQUESTS_MAX));
    let client = Client::connect(config([&server.address])).await.unwrap();
    let count = 2 * CONNECTION_REQUESTS_MAX;
    let mut calls = JoinSet::new();
    for id in 1..=count as u128 {
        let client = client.clone();
        calls.spawn(async move {
            let results = client.create_transfers(&[transfer(id)]).await.unwrap();
            (id, results[0].timestamp)
        });
    }
    while let Some(ended) = calls.join_next().await {
        let (id, timestamp) = ended.unwrap();
        let row = server.book.lock().unwrap().transfers[&id];
        assert_eq!(
            row.timestamp.get(),
            timestamp,
            "the answer of another request"
        );
    }
    assert_eq!((server.requests(), server.connections()), (count, 1));
    let open_max = server.conduct.lock().unwrap().open_max;
    assert_eq!(open_max, CONNECTION_REQUESTS_MAX);
}

#[test]
fn drawn_transfer_ids_differ_and_are_valid() {
    let mut ids: Vec<u128> = (0..1_000).map(|_| new_transfer_id().get()).collect();
    assert!(ids.iter().all(|id| *id != 0 && *id != u128::MAX));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
}
