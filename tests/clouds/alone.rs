//! The auxiliary site is lost: nobody goes on without it but by a person's word, said twice, and
//! only for a while.

use std::time::Duration;

use kanjo_format::Site;
use kanjo_node::admin::{Answer, Command, ProtectMode, ProtectOptions};

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;
use crate::scene::expect_quiet;

fn degraded(words: bool) -> Command {
    Command::Protect(ProtectOptions {
        mode: ProtectMode::Degraded,
        operator: "a test".into(),
        reason: "site 2 burned".into(),
        expires_ms: 3_600_000,
        other_site_is_off: words,
        certainly_off: words,
    })
}

#[test]
fn a_site_goes_on_alone_only_by_a_word_said_twice_and_joins_the_other_one_again() {
    let name =
        "alone::a_site_goes_on_alone_only_by_a_word_said_twice_and_joins_the_other_one_again";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    let standby = primary.neighbour();
    let refused = scene.cloud.refused(primary, &degraded(true));
    assert!(refused.contains("other site answers"), "{refused}");

    for part in Part::all_of(Site::Two) {
        scene.cloud.hit(part, Fault::Kill);
    }
    expect_quiet(&load);
    // As soon as the other site counts as silent, what is lacking are the words.
    scene
        .cloud
        .look("it asks for the words", PATIENCE, |cloud| {
            let refused = cloud.refused(primary, &degraded(false));
            refused.contains("say so twice").then_some(())
        });
    let answer = scene.cloud.ask(primary, &degraded(true), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    let one_site = |status: &kanjo_node::status::Status| status.protection == "ONE SITE ONLY";
    scene
        .cloud
        .expect(primary, "waits for its standby", one_site);
    load.wait_requests(50);

    // The standby dies too: the same again, and each answer is counted.
    scene.cloud.hit(standby, Fault::Kill);
    expect_quiet(&load);
    assert!(
        !load.answers_within(1, Duration::from_secs(2)),
        "nobody said so"
    );
    let answer = scene.cloud.ask(primary, &degraded(false), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    load.wait_requests(50);
    let status = scene.cloud.status(primary).expect("the primary lives");
    assert_eq!(status.protection, "DEGRADED");
    assert!(status.unprotected.count > 0, "{status:#?}");

    let maximum = Command::Protect(ProtectOptions::default());
    let answer = scene.cloud.ask(primary, &maximum, PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    expect_quiet(&load);
    assert!(
        !load.answers_within(1, Duration::from_secs(2)),
        "nothing alone any more"
    );

    scene.cloud.undo(standby, Fault::Kill);
    for part in Part::all_of(Site::Two) {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::One);
    load.wait_requests(50);
    load.finish();
    scene.close();
}
