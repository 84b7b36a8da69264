//! A witness in a third site: either site goes on without the other one by itself, and never both.

use std::time::{Duration, Instant};

use kanjo_format::Site;
use kanjo_node::AutoFailover;
use kanjo_node::admin::{Command, OperatorWord, ProtectMode, ProtectOptions};
use kanjo_node::status::Status;

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::clouds::CloudOptions;
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S1, S2, S3, S4, T21, W11};
use crate::harness::report;
use crate::scene::expect_quiet;

/// What is not to happen does not happen within this time.
const LONG: Duration = Duration::from_secs(5);

fn open(name: &str) -> Option<Scene> {
    let options = CloudOptions {
        auto_failover: AutoFailover::Both,
        third_witness: true,
        ..CloudOptions::default()
    };
    Scene::open_with(name, options)
}

fn one_site_only(status: &Status) -> bool {
    status.role == "primary" && status.serving && status.protection == "ONE SITE ONLY"
}

#[test]
fn a_cut_between_the_sites_leaves_the_active_one_processing_and_the_other_one_not() {
    let name =
        "third::a_cut_between_the_sites_leaves_the_active_one_processing_and_the_other_one_not";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let begun = Instant::now();
    scene.cloud.cut_sites();
    expect_quiet(&load);
    scene.cloud.look("site 1 goes on", PATIENCE, |cloud| {
        let [first, second] = [S1, S2].map(|server| cloud.status(server));
        let alone = [first, second]
            .into_iter()
            .flatten()
            .any(|s| one_site_only(&s));
        alone.then_some(())
    });
    load.wait_requests(50);
    let took = begun.elapsed().as_millis();
    report::line("note", &format!("a cut link: answers {took} ms after it"));
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        for server in [S3, S4] {
            let status = scene.cloud.status(server).expect("it runs");
            assert_ne!(status.role, "primary", "{status:#?}");
        }
        load.wait_requests(1);
    }
    scene.cloud.heal();
    assert_eq!(scene.cloud.expect_protected().site(), Site::One);
    load.finish();
    scene.close();
}

#[test]
fn each_site_goes_on_by_itself_without_the_other_one() {
    let name = "third::each_site_goes_on_by_itself_without_the_other_one";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    for (lost, stays) in [
        (Site::Two, Site::One),
        (Site::One, Site::Two),
        // By now site 2 is the active one.
        (Site::One, Site::Two),
    ] {
        let begun = Instant::now();
        for part in Part::all_of(lost) {
            scene.cloud.hit(part, Fault::Kill);
        }
        expect_quiet(&load);
        scene.cloud.expect_primary_in(stays);
        load.wait_requests(50);
        let took = begun.elapsed().as_millis();
        report::line(
            "note",
            &format!("site {lost} lost: site {stays} answers {took} ms after it"),
        );
        for part in Part::all_of(lost) {
            scene.cloud.undo(part, Fault::Kill);
        }
        assert_eq!(scene.cloud.expect_protected().site(), stays);
    }
    load.finish();
    scene.close();
}

/// Its connections stay, and nothing is said on them any more.
#[test]
fn a_site_that_stands_still_is_taken_over_from() {
    let name = "third::a_site_that_stands_still_is_taken_over_from";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let begun = Instant::now();
    for part in Part::all_of(Site::One) {
        scene.cloud.hit(part, Fault::Stop);
    }
    expect_quiet(&load);
    scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    let took = begun.elapsed().as_millis();
    report::line(
        "note",
        &format!("site 1 stands still: site 2 answers {took} ms after it"),
    );
    for part in Part::all_of(Site::One) {
        scene.cloud.undo(part, Fault::Stop);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}

#[test]
fn without_the_third_witness_nothing_stops_and_nobody_goes_on_without_the_other_site() {
    let name =
        "third::without_the_third_witness_nothing_stops_and_nobody_goes_on_without_the_other_site";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    scene.cloud.hit(T21, Fault::Kill);
    // A local fail-over goes on without it, and back into an epoch that it knows with it.
    let first = scene.cloud.expect_primary();
    scene.cloud.hit(first, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(first, Fault::Kill);
    scene.cloud.undo(T21, Fault::Kill);
    scene.cloud.expect_protected();
    let second = scene.cloud.expect_primary();
    scene.cloud.hit(second, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(second, Fault::Kill);
    scene.cloud.expect_protected();

    scene.cloud.hit(T21, Fault::Kill);
    scene.cloud.cut_sites();
    expect_quiet(&load);
    assert!(!load.answers_within(1, LONG), "nobody gave the word");
    let primary = scene.cloud.writers()[0];
    let word = OperatorWord {
        operator: "a test".into(),
        reason: "the link is cut".into(),
    };
    let nominee = scene.cloud.nominee(Site::Two);
    let refused = scene.cloud.refused(nominee, &Command::Failover(word));
    assert!(refused.contains("third witness"), "{refused}");
    let degraded = Command::Protect(ProtectOptions {
        mode: ProtectMode::Degraded,
        operator: "a test".into(),
        reason: "the link is cut".into(),
        expires_ms: 3_600_000,
        other_site_is_off: true,
        certainly_off: true,
    });
    let refused = scene.cloud.refused(primary, &degraded);
    assert!(refused.contains("third witness"), "{refused}");

    // It comes back, remembers, and one of the two goes on.
    scene.cloud.undo(T21, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.heal();
    scene.cloud.expect_protected();
    load.finish();
    scene.close();
}

/// The active site lives, cut off from everybody; the auxiliary one takes over and answers; then
/// only the third witness is heard from there again.
#[test]
fn a_site_that_was_passed_by_gets_no_word() {
    let name = "third::a_site_that_was_passed_by_gets_no_word";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let everybody_else = [S3, S4, Part::witness_of(Site::Two), T21];
    scene.cloud.cut(&[S1, S2, W11], &everybody_else);
    scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    scene.cloud.cut_sites();
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        for server in [S1, S2] {
            let status = scene.cloud.status(server).expect("it runs");
            assert!(!status.serving, "{status:#?}");
        }
        load.wait_requests(1);
    }
    scene.cloud.heal();
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}
