//! Without its auxiliary the primary waits.

use std::time::Duration;

use crate::Scene;
use crate::harness::load::{Load, lookup_is_answered};
use crate::harness::pair::PairOptions;
use crate::harness::{Link, LoadOptions};

#[test]
fn a_stopped_replica_stalls_the_primary_and_nothing_is_lost() {
    stall(
        "stall::a_stopped_replica_stalls_the_primary_and_nothing_is_lost",
        PairOptions::default(),
    );
}

#[test]
fn a_replica_stopped_beyond_the_peer_timeout_catches_up() {
    let options = PairOptions {
        configure: Some(impatient),
        ..PairOptions::default()
    };
    stall(
        "stall::a_replica_stopped_beyond_the_peer_timeout_catches_up",
        options,
    );
}

/// So many wait that the primary gathers them until an ack that does not come.
#[test]
fn a_crowd_goes_on_each_time_that_a_frozen_auxiliary_thaws() {
    const CROWD: usize = 96;
    let mut scene = Scene::open("stall::a_crowd_goes_on_each_time_that_a_frozen_auxiliary_thaws");
    let load = scene.load(LoadOptions {
        workers: CROWD,
        ..LoadOptions::default()
    });
    for _ in 0..5 {
        load.wait_requests(1 + scene.random.below(500));
        scene.pair.replica().stop();
        while load.answers_within(1, Duration::from_millis(100)) {}
        load.wait_until("all of them wait", |counts| counts.in_flight == CROWD);
        scene.pair.replica().cont();
    }
    load.wait_requests(500);
    finish_with_all_answered(load);
    scene.close();
}

#[test]
fn a_link_that_is_cut_again_and_again_loses_nothing() {
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "stall::a_link_that_is_cut_again_and_again_loses_nothing",
        options,
    );
    let load = scene.load(LoadOptions::default());
    for _ in 0..25 {
        load.wait_answers(1 + scene.random.below(150));
        for link in scene.pair.links.as_ref().expect("a linked pair") {
            link.cut();
            link.restore();
        }
    }
    load.wait_answers(200);
    finish_with_all_answered(load);
    scene.close();
}

#[test]
fn a_link_that_swallows_everything_for_a_while_loses_nothing() {
    let options = PairOptions {
        linked: true,
        configure: Some(impatient),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "stall::a_link_that_swallows_everything_for_a_while_loses_nothing",
        options,
    );
    let load = scene.load(LoadOptions::default());
    for _ in 0..4 {
        load.wait_answers(100);
        let links = scene.pair.links.as_ref().expect("a linked pair");
        links.iter().for_each(Link::hold);
        // Nobody is told, but the silence is noticed.
        scene
            .pair
            .primary()
            .expect_that("noticed the silence", |status| {
                status.peer.connected == Some(false)
            });
        let links = scene.pair.links.as_ref().expect("a linked pair");
        links.iter().for_each(Link::restore);
    }
    load.wait_answers(200);
    finish_with_all_answered(load);
    scene.close();
}

/// Both nodes lived: every request is answered in the end, none with an unknown outcome.
fn finish_with_all_answered(load: Load) {
    let counts = load.finish();
    assert_eq!(
        (counts.unknown, counts.not_done),
        (0, 0),
        "both lived: all is answered: {counts:#?}"
    );
}

fn impatient(_: usize, config: &mut kanjo_node::Config) {
    config.heartbeat_ms = 20;
    config.peer_timeout_ms = 200;
}

fn stall(test: &str, options: PairOptions) {
    let mut scene = Scene::open_with(test, options);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(300);
    scene.pair.replica().stop();
    // What was acked before may still be answered; then comes nothing at all.
    while load.answers_within(1, Duration::from_millis(100)) {}
    let stalled = load.counts();
    assert!(stalled.in_flight > 0);
    assert!(
        !load.answers_within(1, Duration::from_millis(700)),
        "answered without the auxiliary"
    );
    let primary = [scene.pair.primary().config.client_listen.clone()];
    assert!(
        !lookup_is_answered(&primary, Duration::from_millis(300)),
        "a read needs the auxiliary too"
    );
    let status = scene.pair.primary().status();
    assert!(
        status.tail_lsn > status.committed_lsn,
        "it appends, but does not commit: {status:#?}"
    );
    scene.pair.replica().cont();
    load.wait_answers(500);
    finish_with_all_answered(load);
    scene.close();
}
