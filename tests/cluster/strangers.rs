//! Garbage and half-open connections on the ports of a node that works.

use crate::Scene;
use crate::harness::LoadOptions;
use crate::harness::stranger::{half_open, talk_nonsense};

/// Most anonymous memory of a node that strangers talk to.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;

#[test]
fn garbage_and_half_open_connections_disturb_nobody() {
    let mut scene = Scene::open("strangers::garbage_and_half_open_connections_disturb_nobody");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(200);
    let mut idle = Vec::new();
    for i in 0..2 {
        let config = scene.pair.nodes[i].config.clone();
        idle.extend(half_open(&config.client_listen, 40, &mut scene.random));
        idle.extend(half_open(&config.replication_listen, 20, &mut scene.random));
        idle.extend(half_open(&config.admin_listen, 20, &mut scene.random));
    }
    for _ in 0..60 {
        for i in 0..2 {
            let config = scene.pair.nodes[i].config.clone();
            talk_nonsense(&config.client_listen, *b"KNJC", &mut scene.random);
            talk_nonsense(&config.replication_listen, *b"KNJR", &mut scene.random);
            talk_nonsense(&config.admin_listen, *b"{\"co", &mut scene.random);
        }
    }
    load.wait_answers(300);
    for node in &mut scene.pair.nodes {
        assert!(node.is_running(), "{}", node.last_words());
        assert!(
            node.resident_bytes() < RESIDENT_BYTES_MAX,
            "{} bytes",
            node.resident_bytes()
        );
        assert!(!node.log().contains("panicked"), "{}", node.last_words());
    }
    let counts = load.finish();
    assert_eq!(
        (counts.unknown, counts.not_done),
        (0, 0),
        "nobody was disturbed: {counts:#?}"
    );
    drop(idle);
    scene.close();
}

#[test]
fn a_pair_restarts_among_half_open_connections() {
    let mut scene = Scene::open("strangers::a_pair_restarts_among_half_open_connections");
    scene.post(50, 5);
    let mut idle = Vec::new();
    for i in 0..2 {
        scene.pair.nodes[i].kill();
        scene.pair.nodes[i].start();
        let config = scene.pair.nodes[i].config.clone();
        idle.extend(half_open(&config.client_listen, 40, &mut scene.random));
        idle.extend(half_open(&config.replication_listen, 20, &mut scene.random));
    }
    scene.pair.expect_protected();
    scene.post(50, 5);
    drop(idle);
    scene.close();
}
