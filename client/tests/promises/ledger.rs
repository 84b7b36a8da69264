//! Requests of protocol version 2: chains, pages, the feed, and fates made final.

use std::time::Duration;

use kanjo_client::{
    AccountBody, AccountChangeBody, AccountFilterBody, AccountFilterFlags, AccountId,
    BalanceAsOfBody, BurnResult, ChangeAccountResult, Client, ClientError, CloseDayResult, Fate,
    Lsn, QueryFilterBody, QueryFilterFlags, StatementBody, TransferBody, TransferDetailBody,
    TransferFlags, TransferId,
};
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use kanjo_format::result::CreateTransferResult;

use crate::server::{Act, Server, config, transfer};

const OVERALL: Duration = Duration::from_secs(20);

fn linked(id: u128) -> TransferBody {
    TransferBody {
        flags: TransferFlags::LINKED.into(),
        ..transfer(id)
    }
}

async fn pair() -> (Server, Client) {
    let server = Server::start(true, 1).await;
    let client = Client::connect(config([&server.address])).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn every_kind_of_request_is_answered_by_name() {
    let (_server, client) = pair().await;
    assert_eq!(client.primary().unwrap().version, 2);
    let detailed = TransferDetailBody {
        transfer: transfer(1),
        ..TransferDetailBody::default()
    };
    let posted = client.create_transfers_detailed(&[detailed]).await.unwrap();
    assert_eq!(posted[0].of_transfer(), Some(CreateTransferResult::Created));
    let changes = [AccountChangeBody::default(); 2];
    let changed = client.change_accounts(&changes).await.unwrap();
    assert_eq!(changed[1].result, ChangeAccountResult::Changed);
    assert_eq!(changed[1].timestamp, changed[0].timestamp + 1);
    let closed = client.close_day(20_260_131, 20_260_201).await.unwrap();
    assert_eq!(closed.result, CloseDayResult::Closed);
    let ids = [1, 2].map(TransferId::new);
    let details = client.lookup_transfer_details(&ids).await.unwrap();
    assert_eq!(details[0].value_date.get(), 20_260_131);
    let terms = client.lookup_account_terms(&[AccountId::new(7)]).await;
    assert_eq!(terms.unwrap()[0].id.get(), 7);
    let book = client.trial_balance().await.unwrap();
    assert_eq!((book.rows.len(), book.lsn()), (1, Lsn::new(1)));
}

#[tokio::test]
async fn a_call_that_is_split_keeps_every_chain_in_one_request() {
    let (server, client) = pair().await;
    let last = REQUEST_EVENTS_MAX as u128;
    let mut batch: Vec<_> = (1..=last + 1).map(transfer).collect();
    batch[REQUEST_EVENTS_MAX - 1] = linked(last);
    let results = client.create_transfers(&batch).await.unwrap();
    assert!(results.iter().all(|one| one.created()));
    assert_eq!(server.requests(), 2);

    let chain: Vec<_> = (1..=last + 1).map(|id| linked(last + 1 + id)).collect();
    let before = server.requests();
    let error = client.create_transfers(&chain).await.unwrap_err();
    assert!(matches!(error, ClientError::Unsplittable { .. }), "{error}");
    let error = client.create_transfers_resolved(&chain, OVERALL).await;
    let error = error.unwrap_err();
    assert!(!error.worth_repeating() && !error.outcome_unknown());
    assert_eq!(server.requests(), before, "nothing was sent");
}

/// The first attempt posts the chain and its answer is lost. Repeated, the first transfer exists,
/// which breaks the chain: the others answer as failed although they are posted.
#[tokio::test]
async fn a_chain_whose_answer_was_lost_is_resolved_as_posted() {
    let (server, client) = pair().await;
    server.will([Act::ServeUnseen]);
    let batch = [linked(1), linked(2), transfer(3), transfer(4)];
    let resolved = client.create_transfers_resolved(&batch, OVERALL).await;
    for one in resolved.unwrap() {
        assert!(one.posted() && one.result.transfer_exists(), "{one:?}");
    }
    assert_eq!((server.posted(), server.requests()), (4, 3));
    // So it is for a program that is started again and asks the same.
    let again = Client::connect(config([&server.address])).await.unwrap();
    let resolved = again.create_transfers_resolved(&batch, OVERALL).await;
    assert!(resolved.unwrap().iter().all(|one| one.posted()));
}

#[tokio::test]
async fn a_chain_that_failed_before_its_answer_was_lost_is_resolved_as_rejected() {
    let (server, client) = pair().await;
    server.book.lock().unwrap().failed.insert(2, ());
    server.will([Act::ServeUnseen]);
    let batch = [linked(1), transfer(2)];
    let resolved = client.create_transfers_resolved(&batch, OVERALL).await;
    assert!(resolved.unwrap().iter().all(|one| !one.posted()));
    assert_eq!(server.posted(), 0);
}

#[tokio::test]
async fn a_burnt_id_stays_without_a_transfer_and_a_committed_one_is_not_burnt() {
    let (server, client) = pair().await;
    server.will([Act::ServeUnseen, Act::Close]);
    for id in [1, 2] {
        let error = client.create_transfers(&[transfer(id)]).await.unwrap_err();
        assert!(error.outcome_unknown());
    }
    let ids = [1, 2].map(TransferId::new);
    let fates = client.lookup_outcomes(&ids).await.unwrap();
    let committed = Fate::Committed { timestamp: 1 };
    assert_eq!(fates, [committed, Fate::Unknown]);
    // The burn is repeated as well, until it is answered.
    server.will([Act::ServeThenClose]);
    let fates = client.settle(&ids, OVERALL).await.unwrap();
    let why = CreateTransferResult::Burned;
    assert_eq!(fates, [committed, Fate::Rejected { why }]);
    // The delayed duplicate arrives.
    let late = client.create_transfers(&[transfer(2)]).await.unwrap();
    assert!(!late[0].created());
    let burnt = client.burn(&ids).await.unwrap();
    assert_eq!(burnt[0].result, BurnResult::Exists);
    assert_eq!(burnt[1].result, BurnResult::AlreadyFailed);
    let error = client.settle(&[TransferId::new(0)], OVERALL).await;
    assert!(error.is_err(), "zero is no id");
}

#[tokio::test]
async fn a_query_goes_on_over_pages_up_to_its_own_limit_in_both_directions() {
    let (server, client) = pair().await;
    let batch: Vec<_> = (1..=25).map(transfer).collect();
    client.create_transfers(&batch).await.unwrap();
    server.book.lock().unwrap().page_rows = 10;
    let forward = AccountFilterBody {
        limit: u32::MAX.into(),
        flags: AccountFilterFlags::CREDITS.into(),
        ..AccountFilterBody::default()
    };
    let ids = |rows: &[TransferBody]| rows.iter().map(|row| row.id.get()).collect::<Vec<_>>();
    let all = client.get_account_transfers(&forward).await.unwrap();
    assert!(ids(&all).into_iter().eq(1..=25));
    let balances = client.get_account_balances(&forward).await.unwrap();
    assert_eq!(balances.len(), 25);
    let backward = QueryFilterBody {
        limit: 13.into(),
        timestamp_max: 20.into(),
        flags: QueryFilterFlags::REVERSED.into(),
        ..QueryFilterBody::default()
    };
    let latest = client.query_transfers(&backward).await.unwrap();
    assert!(ids(&latest).into_iter().eq((8..=20).rev()));
    let accounts: Vec<AccountBody> = client.query_accounts(&backward).await.unwrap();
    assert_eq!(accounts.len(), 13);
    let page = client.query_transfers_page(&backward).await.unwrap();
    assert_eq!((page.rows.len(), page.next()), (10, Some(10)));

    let statement = StatementBody {
        from: 3.into(),
        limit: u32::MAX.into(),
        ..StatementBody::default()
    };
    let lines = client.statement(&statement).await.unwrap();
    assert!(lines.iter().map(|line| line.timestamp.get()).eq(3..=25));
    let opening = client.opening_balance(&statement).await.unwrap();
    assert_eq!(opening.timestamp.get(), 2, "the moment before");
    let asked: Vec<_> = (1..=25)
        .map(|at: u64| BalanceAsOfBody {
            at: at.into(),
            ..BalanceAsOfBody::default()
        })
        .collect();
    let balances = client.balances_as_of(&asked).await.unwrap();
    assert!(balances.iter().map(|one| one.timestamp.get()).eq(1..=25));
}

#[tokio::test]
async fn a_node_of_version_1_gets_what_it_knows_and_nothing_else() {
    let server = Server::start(true, 1).await;
    server.conduct.lock().unwrap().version = 0;
    let client = Client::connect(config([&server.address])).await.unwrap();
    client.create_transfers(&[transfer(1)]).await.unwrap();
    let error = client.close_day(20_260_131, 20_260_201).await.unwrap_err();
    assert!(matches!(error, ClientError::Unsupported { .. }), "{error}");
    assert!(!error.outcome_unknown() && !error.worth_repeating());
    let text = error.to_string();
    assert!(
        text.contains("the node speaks protocol version 1"),
        "{text}"
    );
    assert_eq!(server.requests(), 1);
    // The connection goes on.
    client.create_transfers(&[transfer(2)]).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_feed_has_every_record_once_over_a_promotion() {
    let old = Server::start(true, 1).await;
    let new = Server::with_book(false, 1, old.book.clone()).await;
    old.book.lock().unwrap().page_rows = 3;
    let client = Client::connect(config([&old.address, &new.address])).await;
    let client = client.unwrap();
    let batch: Vec<_> = (1..=10).map(transfer).collect();
    client.create_transfers(&batch).await.unwrap();
    let mut feed = client.feed(Lsn::ZERO);
    let mut seen = Vec::new();
    let ids = |rows: &[kanjo_client::FeedRowBody]| -> Vec<u8> {
        rows.iter().map(|row| row.body[0]).collect()
    };
    for _ in 0..2 {
        seen.extend(ids(&feed.next().await.unwrap().rows));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    // The connection is lost in the middle of a page, and another node takes over.
    old.will([Act::Close]);
    {
        let mut conduct = new.conduct.lock().unwrap();
        (conduct.primary, conduct.epoch) = (true, 2);
    }
    old.conduct.lock().unwrap().primary = false;
    while seen.len() < 10 {
        seen.extend(ids(&feed.next().await.unwrap().rows));
    }
    assert_eq!(seen, (1..=10).collect::<Vec<u8>>());
    let nothing = feed.read(Duration::ZERO).await.unwrap();
    assert!(nothing.rows.is_empty());
    assert_eq!(nothing.resume, feed.position());
    // Another feed goes on where this one was.
    client.create_transfers(&[transfer(11)]).await.unwrap();
    let mut resumed = client.feed(nothing.resume);
    assert_eq!(ids(&resumed.next().await.unwrap().rows), [11]);
}

/// A node that answers random bytes gets an error, or is believed; nothing panics, and no page
/// goes on for ever.
#[tokio::test]
async fn random_answers_are_errors_or_values() {
    let (server, client) = pair().await;
    let ids = [1, 2].map(TransferId::new);
    let (account, query) = (
        AccountFilterBody {
            limit: 5.into(),
            ..AccountFilterBody::default()
        },
        QueryFilterBody {
            limit: 5.into(),
            ..QueryFilterBody::default()
        },
    );
    let statement = StatementBody {
        from: 20_260_101.into(),
        unit: 1.into(),
        limit: 5.into(),
        ..StatementBody::default()
    };
    let mut errors = 0;
    for seed in 1..300_u64 {
        let rows = (seed % 4) as u32;
        server.always(Act::Garble(rows, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        // A page without rows may go on: only those with some end at the limit.
        if rows > 0 {
            errors += u32::from(client.get_account_transfers(&account).await.is_err());
            errors += u32::from(client.get_account_balances(&account).await.is_err());
            errors += u32::from(client.query_accounts(&query).await.is_err());
            errors += u32::from(client.query_transfers(&query).await.is_err());
            errors += u32::from(client.statement(&statement).await.is_err());
        }
        let short = client.with_deadline(Duration::from_millis(50));
        if rows <= 2 {
            errors += u32::from(short.lookup_outcomes(&ids).await.is_err());
            errors += u32::from(short.burn(&ids).await.is_err());
            errors += u32::from(short.lookup_transfer_details(&ids).await.is_err());
        }
        errors += u32::from(client.opening_balance(&statement).await.is_err());
        errors += u32::from(client.trial_balance().await.is_err());
        let mut feed = client.feed(Lsn::new(4_096));
        errors += u32::from(feed.read(Duration::ZERO).await.is_err());
    }
    assert!(errors > 1_000, "only {errors} of all were refused");
    server.always(Act::Serve);
    client.create_transfers(&[transfer(1)]).await.unwrap();
}

/// What a multi-threaded runtime must be able to run.
#[tokio::test]
async fn calls_can_be_spawned() {
    fn spawnable<T: Send>(_: &T) {}
    let (_server, client) = pair().await;
    let ids = [TransferId::new(1)];
    let filter = AccountFilterBody::default();
    let mut feed = client.feed(Lsn::ZERO);
    spawnable(&client.settle(&ids, OVERALL));
    spawnable(&client.get_account_transfers(&filter));
    spawnable(&client.statement(&StatementBody::default()));
    spawnable(&client.create_transfers_detailed_resolved(&[], OVERALL));
    spawnable(&feed.next());
}
