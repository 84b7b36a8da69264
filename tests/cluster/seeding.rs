//! A wiped replica comes back as somebody else.

use std::time::Duration;

use kanjo_node::admin::Condition;

use crate::Scene;
use crate::harness::LoadOptions;
use crate::harness::pair::alone;

#[test]
fn a_wiped_replica_is_seeded_while_the_primary_serves_and_its_old_mark_does_not_count() {
    let test = "seeding::a_wiped_replica_is_seeded_while_the_primary_serves_and_its_old_mark_does_not_count";
    let mut scene = Scene::open(test);
    // Several segments, some of them sealed, and a checkpoint.
    scene.grow_log(3);
    scene
        .pair
        .primary()
        .expect_that("sealed segments", |status| status.sealed_segments >= 2);
    let i = 1 - scene.pair.primary;
    let before = scene.pair.replica().status();
    assert!(before.in_sync);
    scene.pair.replica().kill();
    std::fs::remove_dir_all(scene.pair.nodes[i].data_dir()).expect("a directory can be wiped");
    scene.pair.format_node(i);

    // Whoever it was, it holds nothing now and may not take over.
    let address = scene.pair.primary().config.replication_listen.clone();
    scene.pair.primary().stop();
    scene.pair.nodes[i].start();
    let wiped = scene.pair.nodes[i].status();
    assert_ne!(
        wiped.incarnation, before.incarnation,
        "a new data directory is a new incarnation"
    );
    assert!(!wiped.in_sync, "the old mark does not count: {wiped:#?}");
    let message = scene.pair.nodes[i].promote_refused(alone("by mistake"));
    assert!(message.contains("in-sync"), "{message} ({address})");
    scene.pair.primary().cont();

    // The member of the set is gone for good: an operator says so, and the primary serves alone.
    scene
        .pair
        .primary()
        .go_alone("the replica's disk was wiped", true);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(200);
    scene.pair.expect_protected();
    load.wait_answers(200);
    load.finish();
    let status = scene.pair.primary().expect(Condition::Protected);
    assert_eq!(status.protection, "PROTECTED", "it ended by itself");
    // Also the node that was seeded can take over, with all of history.
    scene.settle();
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    scene.pair.replica().start();
    scene.close();
}

#[test]
fn a_replica_that_fell_far_behind_catches_up_while_the_primary_serves() {
    let test = "seeding::a_replica_that_fell_far_behind_catches_up_while_the_primary_serves";
    let mut scene = Scene::open(test);
    scene.post(200, 10);
    scene.pair.replica().kill();
    scene
        .pair
        .primary()
        .go_alone("the other cloud is down", true);
    scene.pair.primary().expect(Condition::Serving);
    scene.grow_log(4);
    scene
        .pair
        .primary()
        .expect_that("sealed segments", |status| status.sealed_segments >= 3);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(100);
    scene.pair.replica().start();
    scene.pair.expect_protected();
    load.wait_answers(100);
    load.finish();
    scene.close();
}

#[test]
fn a_replica_that_dies_again_and_again_while_it_is_seeded_gets_there() {
    let test = "seeding::a_replica_that_dies_again_and_again_while_it_is_seeded_gets_there";
    let mut scene = Scene::open(test);
    scene.grow_log(4);
    scene
        .pair
        .primary()
        .expect_that("sealed segments", |status| status.sealed_segments >= 3);
    let i = 1 - scene.pair.primary;
    scene.pair.replica().kill();
    std::fs::remove_dir_all(scene.pair.nodes[i].data_dir()).expect("a directory can be wiped");
    scene.pair.format_node(i);
    scene
        .pair
        .primary()
        .go_alone("the replica's disk was wiped", true);
    let load = scene.load(LoadOptions::default());
    for _ in 0..8 {
        scene.pair.nodes[i].start();
        // Somewhere between the first chunk and the last batch.
        std::thread::sleep(Duration::from_millis(scene.random.below(60)));
        scene.pair.nodes[i].kill();
    }
    scene.pair.nodes[i].start();
    scene.pair.expect_protected();
    load.wait_answers(100);
    load.finish();
    scene.close();
}
