//! A site that is left alone: what its pages tell meanwhile, and which transfers wait.

use kanjo_client::ClientError;
use kanjo_format::Site;
use kanjo_node::admin::Answer;

use crate::Scene;
use crate::alone::degraded;
use crate::harness::PATIENCE;
use crate::harness::book::{block_on, connect};
use crate::harness::clouds::CloudOptions;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;
use crate::harness::posting::Posting;
use crate::harness::program::{kanjo, said};

/// Drawn amounts are below it.
const CAP: u64 = 1_000_000;

#[test]
fn a_site_left_alone_tells_how_far_and_a_server_left_alone_holds_large_transfers_back() {
    let name = "degraded::a_site_left_alone_tells_how_far_and_a_server_left_alone_holds_large_transfers_back";
    let options = CloudOptions {
        degraded_transfer_max: Some(CAP),
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let [first, second, third] = [(); 3].map(|()| scene.book.draw_of(CAP + 1, &mut scene.random));
    let small = scene.book.draw_of(CAP, &mut scene.random);
    let primary = scene.cloud.expect_primary();
    let standby = primary.neighbour();
    scene.cloud.expect_protections(primary, &["PROTECTED"]);
    scene.cloud.expect_probe(primary, "/protected", 200);
    scene.expect_posted(&first);

    // Two servers of the own site have everything: nothing is held back.
    for part in Part::all_of(Site::Two) {
        scene.cloud.hit(part, Fault::Kill);
    }
    scene.cloud.look("it goes on alone", PATIENCE, |cloud| {
        let answer = cloud.ask(primary, &degraded(true), PATIENCE);
        matches!(answer, Ok(Answer::Done { .. })).then_some(())
    });
    scene.cloud.expect_protections(primary, &["ONE SITE ONLY"]);
    scene.expect_without_other_site(primary);
    scene.expect_posted(&second);

    scene.cloud.hit(standby, Fault::Kill);
    scene.cloud.expect_probe(primary, "/primary", 503);
    let answer = scene.cloud.ask(primary, &degraded(false), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    scene.cloud.expect_protections(primary, &["DEGRADED"]);
    scene.expect_without_other_site(primary);
    scene.expect_held_back(&third);
    scene.expect_posted(&small);
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let shown = said(&kanjo(&["protection", "show", "--cluster-file", file]));
    for word in ["DEGRADED", "transfers above 1,000,000 minor units"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    // As soon as another server has everything.
    scene.cloud.undo(standby, Fault::Kill);
    scene.cloud.expect_protections(primary, &["ONE SITE ONLY"]);
    scene.expect_posted(&third);
    for part in Part::all_of(Site::Two) {
        scene.cloud.undo(part, Fault::Kill);
    }
    let primary = scene.cloud.expect_protected();
    scene.cloud.expect_protections(primary, &["PROTECTED"]);
    scene.cloud.expect_probe(primary, "/protected", 200);
    for member in Part::servers_of(Site::Two) {
        scene.cloud.expect_probe(member, "/in-sync", 200);
    }
    scene.close();
}

impl Scene {
    fn expect_posted(&self, posting: &Posting) {
        block_on(async {
            let client = connect(&self.addresses).await;
            self.book.post(&client, &[*posting]).await;
        });
    }

    fn expect_held_back(&self, posting: &Posting) {
        let answer = block_on(async {
            let client = connect(&self.addresses).await;
            let bodies = [posting.body()];
            client.create_transfers_within(&bodies, PATIENCE).await
        });
        assert!(
            matches!(answer, Err(ClientError::HeldBack { .. })),
            "{answer:?}"
        );
    }

    /// It answers, and says that no other site has what it answers.
    fn expect_without_other_site(&mut self, primary: Part) {
        self.cloud.expect_probe(primary, "/primary", 200);
        let answer = self.cloud.page(primary, "/protected");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(
            answer.body.contains("no server of another site"),
            "{answer:?}"
        );
    }
}
