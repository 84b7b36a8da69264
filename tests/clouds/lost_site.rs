//! The active site is lost: nobody takes over who was not told to, or configured to.

use std::time::{Duration, Instant};

use kanjo_format::Site;
use kanjo_node::AutoFailover;

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::clouds::CloudOptions;
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S1, S2, W11};
use crate::harness::report;
use crate::scene::expect_quiet;

#[test]
fn a_lost_site_is_replaced_only_when_an_operator_says_so() {
    let name = "lost_site::a_lost_site_is_replaced_only_when_an_operator_says_so";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    lose_site_1(&mut scene);
    expect_quiet(&load);
    assert!(
        !load.answers_within(1, Duration::from_secs(4)),
        "nobody told site 2 to take over"
    );
    let begun = Instant::now();
    let message = scene.cloud.fail_over(Site::Two, "site 1 burned");
    load.wait_requests(20);
    report::line(
        "note",
        &format!(
            "{message}; answers {} ms after the word",
            begun.elapsed().as_millis()
        ),
    );
    bring_back(&mut scene);
    load.finish();
    scene.close();
}

#[test]
fn a_lost_site_is_replaced_at_once_where_the_configuration_says_so() {
    let name = "lost_site::a_lost_site_is_replaced_at_once_where_the_configuration_says_so";
    let options = CloudOptions {
        auto_failover: AutoFailover::TakeOver,
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let begun = Instant::now();
    lose_site_1(&mut scene);
    scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(20);
    report::line(
        "note",
        &format!(
            "auto_failover: answers {} ms after the loss",
            begun.elapsed().as_millis()
        ),
    );
    bring_back(&mut scene);
    load.finish();
    scene.close();
}

/// The register of the lost site has no majority yet, so that the set stays where it is; a server of
/// that site is a member already when the writer dies.
#[test]
fn a_site_that_is_half_back_is_attached_by_the_next_writer_too() {
    let name = "lost_site::a_site_that_is_half_back_is_attached_by_the_next_writer_too";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    lose_site_1(&mut scene);
    scene.cloud.fail_over(Site::Two, "site 1 burned");
    load.wait_requests(20);
    scene.cloud.undo(S1, Fault::Kill);
    scene
        .cloud
        .look("server 1 is in the set", PATIENCE, |cloud| {
            cloud.set().contains(&S1).then_some(())
        });
    let writer = scene.cloud.expect_primary_in(Site::Two);
    scene.cloud.hit(writer, Fault::Kill);
    assert_eq!(scene.cloud.expect_other_primary(writer).site(), Site::Two);
    load.wait_requests(20);
    // Its majority is there with the witness, and nobody new to be taken in.
    scene.cloud.undo(W11, Fault::Kill);
    scene.cloud.look("site 1 is attached", PATIENCE, |cloud| {
        let register = cloud.authority()?;
        (register.site == Site::One && register.set.len() == 1).then_some(())
    });
    for part in [writer, S2] {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}

fn lose_site_1(scene: &mut Scene) {
    for part in Part::all_of(Site::One) {
        scene.cloud.hit(part, Fault::Kill);
    }
}

/// The lost site comes back and becomes the auxiliary one by itself.
fn bring_back(scene: &mut Scene) {
    for part in Part::all_of(Site::One) {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
}
