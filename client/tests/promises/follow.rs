//! Finding the primary and following it.

use std::sync::Arc;
use std::time::Duration;

use kanjo_client::{Client, ClientError, TransferId};
use kanjo_format::ClusterId;
use kanjo_format::client::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Act, CLUSTER, Server, config, nobody, transfer};

#[tokio::test]
async fn the_primary_is_found_behind_dead_mute_and_replica_addresses() {
    let dead = nobody().await;
    let mute = Server::start(true, 1).await;
    mute.conduct.lock().unwrap().mute = true;
    let replica = Server::start(false, 1).await;
    let primary = Server::start(true, 1).await;
    let addresses = [&*dead, &mute.address, &replica.address, &primary.address];
    let client = Client::connect(config(addresses)).await.unwrap();
    assert_eq!(client.primary().unwrap().address, primary.address);
    assert_eq!(client.primary().unwrap().cluster, ClusterId::new(CLUSTER));
    client.create_transfers(&[transfer(1)]).await.unwrap();
    assert_eq!(primary.posted(), 1);
    assert_eq!(replica.requests(), 0);
}

#[tokio::test]
async fn a_hint_leads_to_a_primary_that_is_not_in_the_list() {
    let old = Server::start(true, 1).await;
    let new = Server::start(true, 2).await;
    let not_primary = Act::Refuse(Outcome::NotPrimary, new.address.clone());
    old.always(not_primary);
    let client = Client::connect(config([&old.address])).await.unwrap();
    let results = client.create_transfers(&[transfer(1)]).await.unwrap();
    assert!(results[0].created());
    assert_eq!((old.posted(), new.posted()), (0, 1));
    assert_eq!(client.primary().unwrap().address, new.address);
}

#[tokio::test]
async fn who_knows_only_a_replica_is_led_to_the_primary_by_it() {
    let primary = Server::start(true, 1).await;
    let replica = Server::start(false, 1).await;
    replica.always(Act::Refuse(Outcome::NotPrimary, primary.address.clone()));
    let client = Client::connect(config([&replica.address])).await.unwrap();
    assert_eq!(client.primary().unwrap().address, primary.address);
    client.create_transfers(&[transfer(1)]).await.unwrap();
    assert_eq!((replica.posted(), primary.posted()), (0, 1));

    // Whom it names may be gone; then that is said.
    let dead = nobody().await;
    replica.always(Act::Refuse(Outcome::NotPrimary, dead.clone()));
    let mut only = config([&replica.address]);
    only.connect_deadline = Duration::from_millis(300);
    let error = Client::connect(only).await.unwrap_err();
    let named = Some(dead);
    assert!(
        matches!(&error, ClientError::NotPrimary { hint, .. } if *hint == named),
        "{error}"
    );
}

#[tokio::test]
async fn the_client_follows_a_promotion_and_waits_for_it() {
    let old = Server::start(true, 1).await;
    let other = Server::with_book(false, 1, old.book.clone()).await;
    let book = old.book.clone();
    let client = Client::connect(config([&old.address, &other.address])).await;
    let client = client.unwrap();
    client.create_transfers(&[transfer(1)]).await.unwrap();
    drop(old);
    let waiting = tokio::spawn({
        let client = client.clone();
        let overall = Duration::from_secs(20);
        async move {
            client
                .create_transfers_resolved(&[transfer(2)], overall)
                .await
        }
    });
    // Promoted only after the client has found it still a replica.
    while other.connections() < 2 {
        tokio::task::yield_now().await;
    }
    {
        let mut conduct = other.conduct.lock().unwrap();
        (conduct.primary, conduct.epoch) = (true, 2);
    }
    assert!(waiting.await.unwrap().unwrap()[0].posted());
    assert_eq!(book.lock().unwrap().transfers.len(), 2);
    assert_eq!(client.primary().unwrap().epoch.get(), 2);
}

#[tokio::test]
async fn requests_that_a_deposed_node_refused_are_sent_to_the_new_primary_in_order() {
    let old = Server::start(true, 1).await;
    let new = Server::with_book(true, 2, old.book.clone()).await;
    let hint = Act::Refuse(Outcome::NotPrimary, new.address.clone());
    old.will([Act::Serve]);
    old.always(hint);
    let client = Client::connect(config([&old.address])).await.unwrap();
    client.create_transfers(&[transfer(1)]).await.unwrap();
    let calls = (2..50).map(|id| {
        let client = client.clone();
        tokio::spawn(async move { client.create_transfers(&[transfer(id)]).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap()[0].created());
    }
    let book = new.book.lock().unwrap();
    let times = book.transfers.values().map(|row| row.timestamp.get());
    assert!(times.is_sorted(), "sent again in another order");
    assert_eq!(book.transfers.len(), 49);
}

#[tokio::test]
async fn a_primary_of_a_higher_epoch_replaces_one_that_only_gives_unknown_outcomes() {
    // Cut off from its auxiliary, which was promoted, the old primary cannot know.
    let old = Server::start(true, 1).await;
    let new = Server::with_book(true, 2, old.book.clone()).await;
    new.conduct.lock().unwrap().primary = false;
    let client = Client::connect(config([&old.address, &new.address])).await;
    let client = client.unwrap();
    new.conduct.lock().unwrap().primary = true;
    old.always(Act::Refuse(Outcome::Indeterminate, String::new()));
    let resolved = client
        .create_transfers_resolved(&[transfer(1)], Duration::from_secs(20))
        .await
        .unwrap();
    assert!(resolved[0].posted() && resolved[0].repeated);
    assert_eq!(client.primary().unwrap().address, new.address);
}

#[tokio::test]
async fn a_silent_primary_is_left_for_one_of_a_higher_epoch() {
    let old = Server::start(true, 1).await;
    let new = Server::with_book(true, 2, Arc::default()).await;
    new.conduct.lock().unwrap().primary = false;
    let mut config = config([&old.address, &new.address]);
    config.deadline = Duration::from_millis(50);
    let client = Client::connect(config).await.unwrap();
    new.conduct.lock().unwrap().primary = true;
    old.always(Act::Ignore);
    old.conduct.lock().unwrap().mute = true;
    let resolved = client
        .create_transfers_resolved(&[transfer(1)], Duration::from_secs(20))
        .await
        .unwrap();
    assert!(resolved[0].posted() && resolved[0].repeated);
    assert_eq!(new.posted(), 1);
}

#[tokio::test]
async fn a_read_is_sent_again_when_the_connection_is_lost() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    client.create_transfers(&[transfer(1)]).await.unwrap();
    let fenced = Act::Refuse(Outcome::Fenced, String::new());
    server.will([Act::Close, fenced, Act::Close]);
    let found = client
        .lookup_transfers(&[TransferId::new(1)])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn another_cluster_is_refused_by_name() {
    let server = Server::start(true, 1).await;
    let mut config = config([&server.address]);
    config.cluster = Some(ClusterId::new(0xbad));
    let error = Client::connect(config).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::Refused(_)), "{text}");
    assert!(text.contains("bad") && text.contains("c1"), "{text}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let error = Client::connect(config([&address])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    server.abort();
}

#[tokio::test]
async fn connecting_without_any_primary_ends_at_its_deadline_and_says_what_it_found() {
    let replica = Server::start(false, 1).await;
    let dead = nobody().await;
    let mut both = config([&replica.address, &dead]);
    both.connect_deadline = Duration::from_millis(200);
    let error = Client::connect(both).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::NotPrimary { .. }), "{text}");
    assert!(
        text.contains(&replica.address) && text.contains(&dead),
        "{text}"
    );

    let mut none = config([&dead]);
    none.connect_deadline = Duration::from_millis(100);
    let error = Client::connect(none).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    let error = Client::connect(config([])).await.unwrap_err();
    assert!(matches!(error, ClientError::Config(_)), "{error}");
}
