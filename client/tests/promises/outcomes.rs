//! What callers are told when there is no plain result, and how a repetition settles it.

use std::time::Duration;

use kanjo_client::{Client, ClientError, TransferId};
use kanjo_format::client::Outcome;
use kanjo_format::limits::REQUEST_EVENTS_MAX;

use crate::server::{Act, ID_ALREADY_FAILED, Server, config, transfer};

const OVERALL: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_lost_after_sending_is_an_unknown_outcome() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.will([Act::ServeThenClose, Act::Close]);
    for id in [1, 2] {
        let error = client.create_transfers(&[transfer(id)]).await.unwrap_err();
        assert!(
            matches!(error, ClientError::Indeterminate { .. }),
            "{error}"
        );
        assert!(error.outcome_unknown() && error.worth_repeating());
    }
    let again = [transfer(1), transfer(2)];
    let results = client.create_transfers(&again).await.unwrap();
    assert!(results[0].transfer_exists(), "the first attempt had posted");
    assert!(results[1].created(), "the first attempt had not");
}

#[tokio::test]
async fn repeating_until_resolved_posts_exactly_once() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.will([
        Act::Refuse(Outcome::Overloaded, "queues are full".into()),
        Act::Close,
        Act::Refuse(Outcome::Fenced, String::new()),
        Act::ServeUnseen,
        Act::ServeThenClose,
        Act::Misanswer,
    ]);
    let batch = [transfer(1), transfer(2)];
    let resolved = client.create_transfers_resolved(&batch, OVERALL).await;
    for one in resolved.unwrap() {
        assert!(one.posted() && one.result.transfer_exists() && one.repeated);
    }
    assert_eq!((server.posted(), server.requests()), (2, 7));
}

#[tokio::test]
async fn an_id_that_failed_in_an_attempt_of_unknown_outcome_is_resolved_as_rejected() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.will([Act::FailUnseen]);
    let resolved = client
        .create_transfers_resolved(&[transfer(1)], OVERALL)
        .await
        .unwrap();
    assert!(!resolved[0].posted() && resolved[0].repeated);
    assert_eq!(resolved[0].result.result, ID_ALREADY_FAILED);
    assert_eq!(server.posted(), 0);
}

#[tokio::test]
async fn what_was_unknown_once_stays_unknown_at_the_overall_deadline() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let overloaded = Act::Refuse(Outcome::Overloaded, String::new());
    let overall = Duration::from_millis(150);
    server.always(overloaded.clone());
    let error = client
        .create_transfers_resolved(&[transfer(1)], overall)
        .await;
    let error = error.unwrap_err();
    assert!(!error.outcome_unknown(), "nothing was done: {error}");
    server.will([Act::ServeUnseen]);
    let error = client
        .create_transfers_resolved(&[transfer(1)], overall)
        .await;
    assert!(error.unwrap_err().outcome_unknown());
}

#[tokio::test]
async fn a_deadline_without_an_answer_is_unknown_for_writes_and_plain_for_reads() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.always(Act::Ignore);
    let short = Duration::from_millis(50);
    let error = client.create_transfers_within(&[transfer(1)], short).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, ClientError::Indeterminate { .. }),
        "{error}"
    );
    let ids = [TransferId::new(1)];
    let error = client
        .lookup_transfers_within(&ids, short)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    server.always(Act::Serve);
    client.create_transfers(&[transfer(1)]).await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_left_is_known_to_have_done_nothing() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.will([Act::Close]);
    let first = client.create_transfers(&[transfer(1)]).await;
    assert!(first.unwrap_err().outcome_unknown());
    server.conduct.lock().unwrap().primary = false;
    let short = Duration::from_millis(100);
    // The client may not have seen the end of the old connection at the first call only.
    let error = client.create_transfers_within(&[transfer(2)], short).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::NotPrimary { .. }), "{error}");
    assert!(!error.outcome_unknown());
    server.conduct.lock().unwrap().primary = true;
    client.create_transfers(&[transfer(3)]).await.unwrap();
    assert_eq!(server.posted(), 1, "a request that was given up was sent");
}

#[tokio::test]
async fn refusals_keep_their_kind_and_their_text() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let refuse = |outcome| Act::Refuse(outcome, "because".into());
    server.will([Outcome::Overloaded, Outcome::Malformed, Outcome::Fenced].map(refuse));
    let batch = [transfer(1)];
    let error = client.create_transfers(&batch).await.unwrap_err();
    assert!(matches!(&error, ClientError::Overloaded { text } if text == "because"));
    let error = client.create_transfers(&batch).await.unwrap_err();
    assert!(matches!(&error, ClientError::Malformed { text } if text == "because"));
    assert!(!error.worth_repeating() && !error.outcome_unknown());
    let error = client.create_transfers(&batch).await.unwrap_err();
    assert!(matches!(&error, ClientError::Fenced { text } if text == "because"));
    assert!(error.outcome_unknown());
    client.create_transfers(&batch).await.unwrap();
}

#[tokio::test]
async fn what_is_held_back_while_a_node_answers_alone_is_told_apart_and_worth_repeating() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let text = "held back: it answers alone".to_owned();
    server.will([Act::Refuse(Outcome::Overloaded, text)]);
    let error = client.create_transfers(&[transfer(1)]).await.unwrap_err();
    assert!(matches!(&error, ClientError::HeldBack { text } if text == "it answers alone"));
    assert!(error.worth_repeating() && !error.outcome_unknown());
    client.create_transfers(&[transfer(1)]).await.unwrap();
    assert_eq!(server.posted(), 1);
}

#[tokio::test]
async fn a_split_call_keeps_the_answers_that_it_has() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    let overloaded = Act::Refuse(Outcome::Overloaded, String::new());
    server.will([Act::Serve, overloaded]);
    let count = REQUEST_EVENTS_MAX + 1;
    let batch: Vec<_> = (1..=count as u128).map(transfer).collect();
    match client.create_transfers(&batch).await.unwrap_err() {
        ClientError::Partial { answered, error } => {
            assert_eq!(answered.len(), REQUEST_EVENTS_MAX);
            assert!(matches!(*error, ClientError::Overloaded { .. }), "{error}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(server.posted(), REQUEST_EVENTS_MAX);
}

#[tokio::test]
async fn a_done_that_cannot_be_read_is_an_unknown_outcome() {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    server.will([Act::Misanswer]);
    let error = client.create_transfers(&[transfer(1)]).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Indeterminate { .. }),
        "{error}"
    );
}
