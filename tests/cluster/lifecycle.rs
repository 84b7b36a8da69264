//! Starting, stopping, and who may have a directory.

use crate::Scene;
use crate::harness::pair::PairOptions;
use crate::harness::{LoadOptions, Node, Pair};

#[test]
fn a_second_process_on_a_directory_is_refused_and_the_first_goes_on() {
    let mut scene =
        Scene::open("lifecycle::a_second_process_on_a_directory_is_refused_and_the_first_goes_on");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(100);
    // Ports of its own, so that only the directory is shared.
    let spare = Pair::format("spare", PairOptions::default());
    for i in 0..2 {
        let mut config = spare.nodes[i].config.clone();
        config.data_dir = scene.pair.nodes[i].data_dir().to_owned();
        let mut second = Node::new(&format!("second-{i}"), scene.pair.folder(), config);
        let (_, text) = second.start_refused();
        let pid = scene.pair.nodes[i].pid().as_raw_nonzero().to_string();
        assert!(
            text.contains("in use") && text.contains(&pid),
            "it says by whom: {text}"
        );
    }
    load.wait_answers(100);
    let counts = load.finish();
    assert_eq!((counts.unknown, counts.not_done), (0, 0), "{counts:#?}");
    scene.close();
}

#[test]
fn a_second_process_on_the_ports_is_refused_by_name() {
    let mut scene = Scene::open("lifecycle::a_second_process_on_the_ports_is_refused_by_name");
    let spare = Pair::format("spare", PairOptions::default());
    let mut config = scene.pair.primary().config.clone();
    config.data_dir = spare.nodes[0].data_dir().to_owned();
    let address = config.client_listen.clone();
    let mut second = Node::new("second", scene.pair.folder(), config);
    let (_, text) = second.start_refused();
    assert!(text.contains(&address), "{text}");
    scene.close();
}

#[test]
fn sigterm_under_load_answers_what_it_took_and_exits_with_0() {
    let mut scene =
        Scene::open("lifecycle::sigterm_under_load_answers_what_it_took_and_exits_with_0");
    for round in 0..3 {
        let load = scene.load(LoadOptions::default());
        load.wait_answers(300);
        // `shut_down` panics unless the exit is clean.
        if round == 1 {
            scene.pair.replica().shut_down();
            scene.pair.replica().start();
        } else {
            scene.pair.primary().shut_down();
            scene.pair.primary().start();
        }
        load.wait_answers(100);
        load.finish();
        scene.settle();
    }
    scene.close();
}

#[test]
fn a_stalled_primary_stops_on_sigterm_without_answering() {
    let mut scene = Scene::open("lifecycle::a_stalled_primary_stops_on_sigterm_without_answering");
    scene.post(50, 5);
    scene.pair.replica().stop();
    let load = scene.load(LoadOptions::default());
    scene
        .pair
        .primary()
        .expect_that("appended", |status| status.tail_lsn > status.committed_lsn);
    scene.pair.primary().shut_down();
    assert_eq!(
        load.counts().answered,
        0,
        "nothing that only one disk has is answered"
    );
    scene.pair.replica().cont();
    scene.pair.primary().start();
    load.wait_answers(100);
    load.finish();
    scene.close();
}

#[test]
fn sigint_stops_as_cleanly_as_sigterm() {
    let mut scene = Scene::open("lifecycle::sigint_stops_as_cleanly_as_sigterm");
    scene.post(50, 5);
    for i in [scene.pair.primary, 1 - scene.pair.primary] {
        scene.pair.nodes[i].interrupt();
        let status = scene.pair.nodes[i].wait();
        assert!(status.success(), "{status}");
    }
    scene.pair.start_both();
    scene.close();
}
