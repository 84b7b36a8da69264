//! The auxiliary site is lost: nobody goes on without it but by a person's word, said twice, and
//! only for a while.

use std::time::Duration;

use kanjo_format::Site;
use kanjo_node::admin::{Answer, Command, ProtectMode, ProtectOptions};

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;
use crate::harness::program::{kanjo, said};
use crate::scene::expect_quiet;

/// Goes on alone for an hour; `words` says twice that the other site is off.
pub(crate) fn degraded(words: bool) -> Command {
    degraded_for(Duration::from_secs(3_600), words)
}

fn degraded_for(expires: Duration, words: bool) -> Command {
    Command::Protect(ProtectOptions {
        mode: ProtectMode::Degraded,
        operator: "a test".into(),
        reason: "site 2 burned".into(),
        expires_ms: expires.as_millis() as u64,
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
    // A new word holds again, also after the server was started anew.
    let answer = scene.cloud.ask(primary, &degraded(false), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    load.wait_requests(50);
    scene.cloud.hit(primary, Fault::Kill);
    scene.cloud.undo(primary, Fault::Kill);
    scene.cloud.expect(primary, "opens and waits", |status| {
        status.role == "primary" && status.protection == "WAITING"
    });
    let answer = scene.cloud.ask(primary, &degraded(false), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    load.wait_requests(50);

    scene.cloud.undo(standby, Fault::Kill);
    for part in Part::all_of(Site::Two) {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::One);
    load.wait_requests(50);
    load.finish();
    scene.close();
}

#[test]
fn going_alone_ends_when_its_time_is_over_and_the_words_say_so() {
    let name = "alone::going_alone_ends_when_its_time_is_over_and_the_words_say_so";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    let standby = primary.neighbour();
    let lost = Part::all_of(Site::Two).into_iter().chain([standby]);
    for part in lost.clone() {
        scene.cloud.hit(part, Fault::Kill);
    }
    expect_quiet(&load);
    let expires = Duration::from_secs(5);
    // Refused as long as the other site is not silent for long enough.
    scene.cloud.look("it goes alone", PATIENCE, |cloud| {
        let answer = cloud.ask(primary, &degraded_for(expires, true), PATIENCE);
        matches!(answer, Ok(Answer::Done { .. })).then_some(())
    });
    load.wait_requests(20);
    let status = scene
        .cloud
        .expect(primary, "says why nothing is answered", |status| {
            status
                .why_not_serving
                .contains("time for answering alone is over")
        });
    assert!(!status.serving, "{status:#?}");
    assert_eq!(status.protection, "WAITING");
    assert!(status.unprotected.count > 0, "still told: {status:#?}");
    expect_quiet(&load);
    assert!(
        !load.answers_within(1, Duration::from_secs(2)),
        "answered alone after its time"
    );
    for part in lost {
        scene.cloud.undo(part, Fault::Kill);
    }
    scene.cloud.expect_protected();
    load.wait_requests(50);
    load.finish();
    expect_told(&mut scene, primary, status.unprotected.count);
    scene.close();
}

/// Long over, it is told by whom and why it was allowed, and how much was answered.
fn expect_told(scene: &mut Scene, primary: Part, count: u64) {
    let status = scene.cloud.status(primary).expect("it lives");
    let [spell] = &status.spells[..] else {
        panic!("one time alone: {status:#?}");
    };
    assert!(spell.over && spell.until_ns > spell.since_ns, "{spell:?}");
    assert_eq!(spell.operator.as_deref(), Some("a test"), "{spell:?}");
    assert_eq!(spell.reason, "site 2 burned");
    assert_eq!(spell.unprotected.count, count, "{spell:?}");
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let shown = said(&kanjo(&["protection", "show", "--cluster-file", file]));
    for word in ["PROTECTED", "site 2 burned", "a test", &spell.epoch] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}
