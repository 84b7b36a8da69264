//! A cap on transfers while the primary answers alone.

use kanjo_client::{Client, ClientError, TransferBody, TransferFlags};

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::book::{block_on, connect};
use crate::harness::pair::PairOptions;
use crate::harness::posting::Posting;
use crate::harness::program::{kanjo, said};

/// Drawn amounts are below it.
const CAP: u64 = 1_000_000;

fn open(test: &str) -> Scene {
    let options = PairOptions {
        configure: Some(|_, config| config.degraded_transfer_max = Some(CAP)),
        ..PairOptions::default()
    };
    Scene::open_with(test, options)
}

impl Scene {
    /// A transfer that no limit rejects.
    fn draw_of(&mut self, amount: u64) -> Posting {
        self.book.draw_of(amount, &mut self.random)
    }

    fn go_alone(&mut self) {
        self.pair.replica().shut_down();
        self.pair.primary().go_alone("a disk exchange", true);
        let status = self.pair.primary().expect_that("serves alone", |status| {
            status.serving && status.protection == "DEGRADED"
        });
        assert_eq!(status.degraded_transfer_max, Some(CAP));
    }
}

/// Asks until a primary is there; what is held back ends it at once.
async fn ask(client: &Client, body: TransferBody) -> Result<bool, ClientError> {
    let results = client.create_transfers_within(&[body], PATIENCE).await?;
    Ok(results[0].created())
}

async fn expect_held_back(client: &Client, body: TransferBody) {
    match ask(client, body).await {
        Err(error @ ClientError::HeldBack { .. }) => {
            assert!(
                error.worth_repeating() && !error.outcome_unknown(),
                "{error}"
            );
            let text = error.to_string();
            assert!(text.contains("degraded_transfer_max"), "{text}");
        }
        other => panic!("{other:?} is not held back"),
    }
}

#[test]
fn a_transfer_above_the_cap_is_never_posted_alone_and_is_when_repeated_under_protection() {
    let name =
        "cap::a_transfer_above_the_cap_is_never_posted_alone_and_is_when_repeated_under_protection";
    let mut scene = open(name);
    let (early, late) = (scene.draw_of(CAP + 1), scene.draw_of(CAP + 1));
    let (whole, small) = (scene.draw_of(CAP), scene.draw_of(1));
    block_on(scene.post_one(&early));
    scene.go_alone();
    block_on(async {
        let client = connect(&scene.addresses).await;
        expect_held_back(&client, late.body()).await;
        // One above the cap takes the request with it, and uses up no id.
        let both = [small.body(), late.body()];
        let refused = client.create_transfers_within(&both, PATIENCE).await;
        let refused = refused.expect_err("one of them is above the cap");
        assert!(
            matches!(refused, ClientError::HeldBack { .. }),
            "{refused:?}"
        );
        // What is there already is told as always.
        let again = client.create_transfers(&[early.body()]).await;
        assert!(again.expect("it is answered")[0].transfer_exists());
        scene.book.post(&client, &[whole, small]).await;
    });
    let status = scene.pair.primary().status();
    assert_eq!(status.unprotected.count, 2, "{status:#?}");
    let admin = scene.pair.primary().config.admin_listen.clone();
    let shown = kanjo(&["status", "--connect", &admin]);
    assert!(
        said(&shown).contains("above 1,000,000 minor units are held back"),
        "{}",
        said(&shown)
    );
    scene.pair.replica().start();
    scene.pair.expect_protected();
    block_on(scene.post_one(&late));
    scene.close();
}

impl Scene {
    async fn post_one(&self, posting: &Posting) {
        let client = connect(&self.addresses).await;
        self.book.post(&client, &[*posting]).await;
    }
}

#[test]
fn what_is_reserved_and_what_is_posted_of_it_count_against_the_cap() {
    let mut scene = open("cap::what_is_reserved_and_what_is_posted_of_it_count_against_the_cap");
    let pending = |posting: Posting| TransferBody {
        flags: TransferFlags::PENDING.into(),
        ..posting.body()
    };
    let resolving = |posting: Posting, of: &TransferBody, flags: u16, amount: u128| TransferBody {
        id: posting.id.into(),
        pending_id: of.id,
        amount: amount.into(),
        flags: flags.into(),
        ..TransferBody::default()
    };
    let [big, other_big, small, new, a, b, c, d] =
        [CAP + 1, CAP + 1, CAP, CAP + 1, 1, 1, 1, 1].map(|amount| scene.draw_of(amount));
    let (big, other_big, small) = (pending(big), pending(other_big), pending(small));
    let (post, void) = (
        TransferFlags::POST_PENDING_TRANSFER,
        TransferFlags::VOID_PENDING_TRANSFER,
    );
    block_on(async {
        let client = connect(&scene.addresses).await;
        for body in [big, other_big, small] {
            assert!(ask(&client, body).await.expect("protected, no cap holds"));
        }
    });
    scene.go_alone();
    block_on(async {
        let client = connect(&scene.addresses).await;
        expect_held_back(&client, pending(new)).await;
        let whole = resolving(a, &big, post, u128::MAX);
        expect_held_back(&client, whole).await;
        for allowed in [
            resolving(b, &other_big, void, 0),
            resolving(c, &small, post, u128::MAX),
            resolving(d, &big, post, CAP.into()),
        ] {
            assert!(ask(&client, allowed).await.expect("nothing holds it"));
        }
    });
    scene.pair.replica().start();
    scene.pair.expect_protected();
    block_on(async {
        let client = connect(&scene.addresses).await;
        assert!(ask(&client, pending(new)).await.expect("protected again"));
    });
    scene.pair.expect_equal_digests();
    scene.pair.shut_down_and_verify();
}
