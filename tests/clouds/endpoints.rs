//! One endpoint list with which a client finds the writer wherever it is.

use std::time::{Duration, Instant};

use kanjo_client::{Client, TransferBody};
use kanjo_format::Site;

use crate::Scene;
use crate::harness::book::{block_on, client_config};
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S1, S2, W11};
use crate::harness::{PATIENCE, report};

#[test]
fn one_endpoint_list_finds_the_writer_wherever_it_is() {
    let name = "endpoints::one_endpoint_list_finds_the_writer_wherever_it_is";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    block_on(async {
        let mut config = client_config(&scene.addresses);
        config.deadline = Duration::from_secs(1);
        // The same handle over everything that follows.
        let client = Client::connect(config).await.expect("a writer is found");
        let first = scene.cloud.expect_primary();
        expect_answer_of(&mut scene, &client, first).await;

        scene.cloud.hit(first, Fault::Kill);
        let second = scene.cloud.expect_other_primary(first);
        assert_eq!(second, first.neighbour(), "the other server of the site");
        expect_answer_of(&mut scene, &client, second).await;
        scene.cloud.undo(first, Fault::Kill);
        scene.cloud.expect_protected();

        for part in [S1, S2, W11] {
            scene.cloud.hit(part, Fault::Kill);
        }
        scene.cloud.fail_over(Site::Two, "site 1 is dark");
        let third = scene.cloud.expect_primary_in(Site::Two);
        expect_answer_of(&mut scene, &client, third).await;
        let group = scene
            .cloud
            .expect(third, "says how it is protected", |status| {
                let group = status.group.as_ref();
                group.is_some_and(|group| group.protection == "ONE SITE ONLY" && !group.attached)
            });
        assert!(group.serving);
        for part in [W11, S1, S2] {
            scene.cloud.undo(part, Fault::Kill);
        }
        assert_eq!(scene.cloud.expect_protected().site(), Site::Two);

        scene.cloud.switch_over("back to where it belongs");
        let last = scene.cloud.expect_primary_in(Site::One);
        expect_answer_of(&mut scene, &client, last).await;
    });
    let counts = load.finish();
    report::line("note", &format!("one list: {} answers", counts.answered));
    scene.close();
}

/// The client, which was told nothing, gets an answer, and from this server.
async fn expect_answer_of(scene: &mut Scene, client: &Client, server: Part) {
    let begun = Instant::now();
    let postings = scene.book.draw_many(3, &mut scene.random);
    let bodies: Vec<TransferBody> = postings.iter().map(|posting| posting.body()).collect();
    let resolved = client
        .create_transfers_resolved(&bodies, PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", scene.cloud.describe()));
    let results: Vec<_> = resolved.iter().map(|one| one.result).collect();
    let repeated = resolved[0].repeated;
    scene.book.answered(&postings, &results, repeated);
    let primary = client.primary().expect("it was answered");
    assert_eq!(primary.address, server.client(), "who answered");
    report::line(
        "note",
        &format!("{server} found in {} ms", begun.elapsed().as_millis()),
    );
}
