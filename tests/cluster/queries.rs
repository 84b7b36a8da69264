//! Questions about the past, to a primary that goes on, and to the one that took over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kanjo_client::{
    AccountBody, AccountFilterBody, AccountFilterFlags, AccountFlags, AccountId, BalanceAsOfBody,
    Client, FeedRowBody, Lsn, QueryFilterBody, QueryFilterFlags, RecordKind, Span, StatementBody,
    TransferBody, TransferFlags,
};

use crate::Scene;
use crate::harness::book::{block_on, connect};
use crate::harness::pair::PairOptions;
use crate::harness::{Link, LoadOptions, PATIENCE};

const LEDGER: u32 = 77;
const EVERYTHING: u32 = u32::MAX;

/// Accounts of the test's own, and every transfer between them.
struct Till {
    client: Client,
    posted: Vec<TransferBody>,
}

impl Till {
    async fn open(addresses: &[String]) -> Self {
        let client = connect(addresses).await;
        let account = |id: u128, flags| AccountBody {
            id: id.into(),
            ledger: LEDGER.into(),
            code: 5.into(),
            flags,
            ..AccountBody::default()
        };
        let accounts = [
            account(1, AccountFlags::HISTORY.into()),
            account(2, AccountFlags::HISTORY.into()),
            account(3, 0.into()),
        ];
        let created = client.create_accounts(&accounts).await.unwrap();
        assert!(created.iter().all(|result| result.result == u32::MAX));
        Self {
            client,
            posted: Vec::new(),
        }
    }

    /// Posts around the three accounts, and keeps what was posted with its time.
    async fn post(&mut self, count: u128) {
        let first = self.posted.len() as u128;
        let bodies: Vec<TransferBody> = (first..first + count)
            .map(|n| TransferBody {
                id: (1_000 + n).into(),
                debit_account_id: (1 + n % 3).into(),
                credit_account_id: (1 + (n + 1) % 3).into(),
                amount: (1 + n % 50).into(),
                user_data_64: (n as u64 % 4).into(),
                ledger: LEDGER.into(),
                code: (1 + n as u16 % 3).into(),
                ..TransferBody::default()
            })
            .collect();
        let results = self.client.create_transfers(&bodies).await.unwrap();
        for (mut body, result) in bodies.into_iter().zip(results) {
            body.timestamp = result.timestamp.into();
            self.posted.push(body);
        }
    }

    fn of(&self, account: u128) -> Vec<TransferBody> {
        let is_of = |body: &&TransferBody| {
            body.debit_account_id.get() == account || body.credit_account_id.get() == account
        };
        self.posted.iter().filter(is_of).copied().collect()
    }

    /// Posted debits and credits of an account after each of its transfers.
    fn balances(&self, account: u128) -> Vec<(u64, u128, u128)> {
        let (mut debits, mut credits) = (0, 0);
        let after = |body: &TransferBody| {
            match body.debit_account_id.get() == account {
                true => debits += body.amount.get(),
                false => credits += body.amount.get(),
            }
            (body.timestamp.get(), debits, credits)
        };
        self.of(account).iter().map(after).collect()
    }

    /// Asks for everything in every way, and compares.
    async fn check(&self) {
        let both = AccountFilterFlags::DEBITS | AccountFilterFlags::CREDITS;
        let filter = AccountFilterBody {
            account_id: 1.into(),
            limit: EVERYTHING.into(),
            flags: both.into(),
            ..AccountFilterBody::default()
        };
        let mine = self.of(1);
        let client = &self.client;
        assert_eq!(client.get_account_transfers(&filter).await.unwrap(), mine);
        let last = AccountFilterBody {
            limit: 100.into(),
            flags: (both | AccountFilterFlags::REVERSED).into(),
            code: 2.into(),
            ..filter
        };
        let is_two = |body: &&TransferBody| body.code.get() == 2;
        let expected: Vec<TransferBody> = mine
            .iter()
            .rev()
            .filter(is_two)
            .take(100)
            .copied()
            .collect();
        assert_eq!(client.get_account_transfers(&last).await.unwrap(), expected);
        let of_ledger = QueryFilterBody {
            ledger: LEDGER.into(),
            limit: EVERYTHING.into(),
            flags: QueryFilterFlags::REVERSED.into(),
            ..QueryFilterBody::default()
        };
        let mut all = client.query_transfers(&of_ledger).await.unwrap();
        all.reverse();
        assert_eq!(all, self.posted);
        let accounts = client.query_accounts(&of_ledger).await.unwrap();
        let ids: Vec<u128> = accounts.iter().map(|account| account.id.get()).collect();
        assert_eq!(ids, [3, 2, 1]);
        self.check_balances(&filter).await;
        self.check_statement().await;
    }

    async fn check_balances(&self, filter: &AccountFilterBody) {
        let client = &self.client;
        let balances = client.get_account_balances(filter).await.unwrap();
        let found: Vec<(u64, u128, u128)> = balances
            .iter()
            .map(|b| {
                (
                    b.timestamp.get(),
                    b.debits_posted.get(),
                    b.credits_posted.get(),
                )
            })
            .collect();
        assert_eq!(found, self.balances(1));
        let keeps_none = AccountFilterBody {
            account_id: 3.into(),
            ..*filter
        };
        assert!(
            client
                .get_account_balances(&keeps_none)
                .await
                .unwrap()
                .is_empty()
        );
        let moments: Vec<(u64, u128, u128)> = found.iter().step_by(97).copied().collect();
        let asked: Vec<BalanceAsOfBody> = moments
            .iter()
            .map(|(timestamp, ..)| BalanceAsOfBody {
                account_id: 1.into(),
                at: (*timestamp).into(),
                ..BalanceAsOfBody::default()
            })
            .collect();
        let then = client.balances_as_of(&asked).await.unwrap();
        let then = then.iter().map(|b| {
            (
                b.timestamp.get(),
                b.debits_posted.get(),
                b.credits_posted.get(),
            )
        });
        assert_eq!(then.collect::<Vec<_>>(), moments);
    }

    async fn check_statement(&self) {
        let expected = self.balances(3);
        let (from, to) = (expected.len() / 4, expected.len() * 3 / 4);
        let body = StatementBody {
            account_id: 3.into(),
            unit: (Span::Timestamp as u32).into(),
            limit: EVERYTHING.into(),
            from: expected[from].0.into(),
            to: expected[to].0.into(),
            ..StatementBody::default()
        };
        let lines = self.client.statement(&body).await.unwrap();
        let found: Vec<(u64, u128, u128)> = lines
            .iter()
            .map(|l| {
                (
                    l.timestamp.get(),
                    l.debits_posted.get(),
                    l.credits_posted.get(),
                )
            })
            .collect();
        assert_eq!(found, expected[from..=to]);
        let opening = self.client.opening_balance(&body).await.unwrap();
        let opening = (
            opening.timestamp.get(),
            opening.debits_posted.get(),
            opening.credits_posted.get(),
        );
        assert_eq!(opening, expected[from - 1]);
    }
}

/// Reads the feed until it has told everything that is committed now.
async fn feed_to_the_end(client: &Client, from: Lsn) -> (Vec<FeedRowBody>, Lsn) {
    let (mut feed, mut rows) = (client.feed(from), Vec::new());
    loop {
        let batch = feed.read(Duration::ZERO).await.unwrap();
        let before = rows.len();
        rows.extend(batch.rows);
        if rows.len() == before {
            return (rows, batch.resume);
        }
    }
}

fn places(rows: &[FeedRowBody]) -> Vec<(u64, u32)> {
    rows.iter()
        .map(|row| (row.lsn.get(), row.index.get()))
        .collect()
}

#[test]
fn pages_are_complete_over_sealed_and_raw_segments_and_after_a_promotion() {
    let mut scene = Scene::open(
        "queries::pages_are_complete_over_sealed_and_raw_segments_and_after_a_promotion",
    );
    let mut till = block_on(Till::open(&scene.addresses));
    for _ in 0..4 {
        till = block_on(async {
            let mut till = Till {
                client: connect(&scene.addresses).await,
                posted: till.posted,
            };
            till.post(700).await;
            till
        });
        scene.grow_log(1);
    }
    let sealed = |status: &kanjo_node::status::Status| status.sealed_segments >= 2;
    scene
        .pair
        .primary()
        .expect_that("two sealed segments", sealed);
    let checked = |addresses: &[String], till: &mut Till| {
        block_on(async {
            till.client = connect(addresses).await;
            till.check().await;
            totals(&till.client).await
        })
    };
    let before = checked(&scene.addresses, &mut till);
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    let after = checked(&scene.addresses, &mut till);
    assert_eq!(before, after, "the same book after a promotion");
    scene.pair.replica().start();
    scene.pair.expect_equal_digests();
    scene.pair.shut_down_and_verify();
}

/// The trial balance by ledger and code; debits equal credits, and ledgers what their codes add up to.
async fn totals(client: &Client) -> BTreeMap<(u32, u16), (u64, u128, u128)> {
    let page = client.trial_balance().await.unwrap();
    let mut by_code = BTreeMap::new();
    for row in &page.rows {
        let key = (row.ledger.get(), row.code.get());
        let (debits, credits) = (row.debits_posted.get(), row.credits_posted.get());
        if key.1 == 0 {
            assert_eq!(debits, credits, "ledger {}", key.0);
        }
        by_code.insert(key, (row.accounts.get(), debits, credits));
    }
    for ((ledger, code), sums) in &by_code {
        let of_ledger = by_code.iter().filter(|((l, c), _)| l == ledger && *c != 0);
        let added = of_ledger.fold((0, 0, 0), |sum, (_, s)| {
            (sum.0 + s.0, sum.1 + s.1, sum.2 + s.2)
        });
        assert!(*code != 0 || added == *sums, "ledger {ledger}");
    }
    assert_eq!(by_code[&(LEDGER, 0)].0, 3);
    by_code
}

#[test]
fn the_feed_tells_every_record_once_over_a_promotion_under_load() {
    let mut scene =
        Scene::open("queries::the_feed_tells_every_record_once_over_a_promotion_under_load");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(500);
    let addresses = scene.addresses.clone();
    let follower = std::thread::spawn(move || {
        block_on(async {
            let client = connect(&addresses).await;
            let (mut feed, mut rows) = (client.feed(Lsn::ZERO), Vec::new());
            let until = Instant::now() + PATIENCE;
            let mut epochs = 0;
            // The end of the story: a hundred batches of the third epoch or later.
            while epochs < 2 || rows.len() < 2_000 {
                assert!(Instant::now() < until, "the feed stands still");
                let batch = feed.next().await.unwrap();
                let starts = RecordKind::EpochStart as u16;
                epochs += batch.rows.iter().filter(|r| r.kind.get() == starts).count();
                rows.extend(batch.rows);
            }
            rows
        })
    });
    load.wait_answers(1_000);
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    load.wait_answers(500);
    let followed = follower.join().expect("the follower saw no gap");
    load.finish();
    scene.pair.replica().start();
    scene.pair.expect_protected();
    let all = block_on(async {
        let client = connect(&scene.addresses).await;
        feed_to_the_end(&client, Lsn::ZERO).await.0
    });
    assert_eq!(places(&followed), places(&all)[..followed.len()]);
    assert!(places(&all).is_sorted_by(|a, b| a < b), "each place once");
    let posted = RecordKind::TransferPosted as u16;
    let told = all.iter().filter(|row| row.kind.get() == posted).count() as u64;
    assert_eq!(told, scene.pair.primary().status().transfers);
    scene.close();
}

#[test]
fn a_feed_waits_for_what_is_new_and_says_so_when_there_is_nothing() {
    let mut scene =
        Scene::open("queries::a_feed_waits_for_what_is_new_and_says_so_when_there_is_nothing");
    block_on(async {
        let mut till = Till::open(&scene.addresses).await;
        let (_, end) = feed_to_the_end(&till.client, Lsn::ZERO).await;
        let mut feed = till.client.feed(end);
        let began = Instant::now();
        let nothing = feed.read(Duration::from_millis(300)).await.unwrap();
        assert!(nothing.rows.is_empty());
        assert!(began.elapsed() >= Duration::from_millis(300));
        let began = Instant::now();
        let patient = Duration::from_secs(20);
        let (found, ()) = tokio::join!(feed.read(patient), till.post(3));
        assert_eq!(found.unwrap().rows.len(), 3);
        assert!(began.elapsed() < patient, "woken by the commit");
        // A position within a batch that is larger than a page is gone on from.
        till.post(6_000).await;
        let (rows, _) = feed_to_the_end(&till.client, end).await;
        assert_eq!(rows.len(), 6_003);
        assert!(places(&rows).is_sorted_by(|a, b| a < b));
    });
    scene.pair.shut_down_and_verify();
}

#[test]
fn what_times_out_expires_without_a_request_and_after_a_promotion() {
    let mut scene =
        Scene::open("queries::what_times_out_expires_without_a_request_and_after_a_promotion");
    let pending = |id: u128, seconds: u32| TransferBody {
        id: id.into(),
        debit_account_id: 1.into(),
        credit_account_id: 2.into(),
        amount: 10.into(),
        ledger: LEDGER.into(),
        code: 1.into(),
        flags: TransferFlags::PENDING.into(),
        timeout: seconds.into(),
        ..TransferBody::default()
    };
    let reserved = |addresses: &[String]| {
        block_on(async {
            let client = connect(addresses).await;
            let found = client.lookup_accounts(&[AccountId::new(1)]).await.unwrap();
            found[0].debits_pending.get()
        })
    };
    block_on(async {
        let till = Till::open(&scene.addresses).await;
        till.client
            .create_transfers(&[pending(1, 1)])
            .await
            .unwrap();
    });
    let before = scene.pair.primary().status().tail_lsn;
    // Nobody asks for anything: the record comes by itself.
    let grown = |status: &kanjo_node::status::Status| status.tail_lsn > before;
    scene.pair.primary().expect_that("an expiry", grown);
    assert_eq!(reserved(&scene.addresses), 0);
    block_on(async {
        let client = connect(&scene.addresses).await;
        client.create_transfers(&[pending(2, 6)]).await.unwrap();
    });
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    assert_eq!(reserved(&scene.addresses), 10, "it is not due yet");
    let before = scene.pair.primary().status().tail_lsn;
    let grown = |status: &kanjo_node::status::Status| status.tail_lsn > before;
    scene.pair.primary().expect_that("an expiry", grown);
    assert_eq!(reserved(&scene.addresses), 0);
    let kinds = block_on(async {
        let client = connect(&scene.addresses).await;
        let (rows, _) = feed_to_the_end(&client, Lsn::ZERO).await;
        let expired = RecordKind::PendingExpired as u16;
        rows.iter().filter(|row| row.kind.get() == expired).count()
    });
    assert_eq!(kinds, 2);
    scene.pair.replica().start();
    scene.pair.expect_equal_digests();
    scene.pair.shut_down_and_verify();
}

#[test]
fn filters_that_are_not_valid_find_nothing() {
    let mut scene = Scene::open("queries::filters_that_are_not_valid_find_nothing");
    block_on(async {
        let mut till = Till::open(&scene.addresses).await;
        till.post(10).await;
        let good = AccountFilterBody {
            account_id: 1.into(),
            limit: 10.into(),
            flags: AccountFilterFlags::DEBITS.into(),
            ..AccountFilterBody::default()
        };
        let bad = [
            AccountFilterBody {
                flags: 0.into(),
                ..good
            },
            AccountFilterBody {
                flags: 16.into(),
                ..good
            },
            AccountFilterBody {
                limit: 0.into(),
                ..good
            },
            AccountFilterBody {
                account_id: 99.into(),
                ..good
            },
            AccountFilterBody {
                reserved: [1; 58],
                ..good
            },
        ];
        let client = &till.client;
        assert!(
            !client
                .get_account_transfers_page(&good)
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        for filter in bad {
            let page = client.get_account_transfers_page(&filter).await.unwrap();
            assert!(page.rows.is_empty() && page.next().is_none(), "{filter:?}");
        }
    });
    scene.pair.shut_down_and_verify();
}

#[test]
fn a_query_that_waits_when_its_primary_is_fenced_is_answered_by_the_new_one() {
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "queries::a_query_that_waits_when_its_primary_is_fenced_is_answered_by_the_new_one",
        options,
    );
    let till = block_on(async {
        let mut till = Till::open(&scene.addresses).await;
        till.post(100).await;
        till
    });
    let links = scene.pair.links.as_ref().expect("a linked pair");
    links.iter().for_each(Link::hold);
    let (addresses, waiting) = (scene.addresses.clone(), scene.pair.primary().status());
    let asker = std::thread::spawn(move || {
        block_on(async {
            let client = connect(&addresses).await.with_deadline(PATIENCE);
            let filter = QueryFilterBody {
                ledger: LEDGER.into(),
                limit: EVERYTHING.into(),
                ..QueryFilterBody::default()
            };
            client.query_transfers(&filter).await.unwrap()
        })
    });
    let asked = waiting.requests_outstanding;
    scene
        .pair
        .primary()
        .expect_that("the query", |status| status.requests_outstanding > asked);
    let new = [scene.pair.replica().config.client_listen.clone()];
    scene.pair.promote_alone();
    block_on(async {
        let mut later = Till {
            client: connect(&new).await,
            posted: till.posted,
        };
        later.post(1).await;
    });
    let links = scene.pair.links.as_ref().expect("a linked pair");
    links.iter().for_each(Link::restore);
    let found = asker.join().expect("an answer");
    assert_eq!(found.len(), 101, "the old primary could not answer");
    scene.pair.expect_equal_digests();
    scene.pair.shut_down_and_verify();
}
