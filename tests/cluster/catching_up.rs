//! While a primary answers alone, or not yet, and another server fetches what it lacks.

use kanjo_node::admin::PromoteOptions;

use crate::Scene;
use crate::harness::exposition::Page;
use crate::harness::pair::PairOptions;
use crate::harness::program::{kanjo, said};
use crate::harness::{Node, PATIENCE};

/// Of log that a server lacks.
const SEGMENTS: u64 = 6;

#[test]
fn a_primary_alone_says_who_catches_up_and_how_much_it_lacks_and_is_not_protected_by_that() {
    let options = PairOptions {
        // A replica that stands still counts as connected for as long as the test looks.
        configure: Some(|_, config| config.peer_timeout_ms = PATIENCE.as_millis() as u64),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "catching_up::a_primary_alone_says_who_catches_up_and_how_much_it_lacks_and_is_not_protected_by_that",
        options,
    );
    scene.pair.replica().shut_down();
    scene.pair.primary().go_alone("a disk exchange", true);
    assert!(scene.pair.primary().status().catching_up.is_empty());
    // Enough that it does not arrive before it is seen and stopped.
    scene.grow_log(SEGMENTS);
    expect_sealed(scene.pair.primary());
    scene.pair.replica().spawn();
    scene
        .pair
        .primary()
        .expect_that("sees who catches up", |status| {
            !status.catching_up.is_empty()
        });
    scene.pair.replica().stop();

    let status = scene.pair.primary().status();
    assert_eq!(status.protection, "DEGRADED", "{status:#?}");
    let [behind] = &status.catching_up[..] else {
        panic!("one server catches up: {status:#?}");
    };
    assert_eq!(behind.node, 2);
    assert!(behind.lag_bytes > 0, "{status:#?}");
    let admin = scene.pair.primary().config.admin_listen.clone();
    let shown = said(&kanjo(&["status", "--connect", &admin]));
    assert!(
        shown.contains("DEGRADED, catching-up: node 2 lacks"),
        "{shown}"
    );
    expect_metrics(scene.pair.primary(), &["CATCHING-UP", "DEGRADED"]);
    expect_told(scene.pair.primary(), "/protected", 2);
    scene.pair.primary().expect_probe("/primary", 200);

    scene.pair.replica().cont();
    let status = scene.pair.expect_protected();
    assert_eq!(status.catching_up, []);
    expect_metrics(scene.pair.primary(), &["PROTECTED"]);
    scene.close();
}

#[test]
fn a_primary_that_waits_says_who_catches_up_and_answers_nothing_before_it_has() {
    let options = PairOptions {
        configure: Some(|_, config| config.peer_timeout_ms = PATIENCE.as_millis() as u64),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "catching_up::a_primary_that_waits_says_who_catches_up_and_answers_nothing_before_it_has",
        options,
    );
    scene.grow_log(SEGMENTS);
    // Its directory is lost with the primary, which comes back with an empty one.
    let lost = scene.pair.primary;
    scene.pair.primary().kill();
    std::fs::remove_dir_all(scene.pair.nodes[lost].data_dir()).expect("a directory can be wiped");
    scene.pair.format_node_as_replica(lost);
    scene.pair.replica().promote(PromoteOptions {
        reason: "the primary is lost".into(),
        ..PromoteOptions::default()
    });
    scene.pair.primary = 1 - lost;
    assert!(scene.pair.primary().status().catching_up.is_empty());
    expect_sealed(scene.pair.primary());
    scene.pair.replica().spawn();
    scene
        .pair
        .primary()
        .expect_that("sees who catches up", |status| {
            !status.catching_up.is_empty()
        });
    scene.pair.replica().stop();

    let status = scene.pair.primary().status();
    assert_eq!(status.protection, "WAITING", "{status:#?}");
    assert!(!status.serving, "{status:#?}");
    let [behind] = &status.catching_up[..] else {
        panic!("one server catches up: {status:#?}");
    };
    assert!(behind.node == 1 && behind.lag_bytes > 0, "{status:#?}");
    expect_metrics(scene.pair.primary(), &["CATCHING-UP", "WAITING"]);
    for path in ["/primary", "/readyz", "/protected"] {
        expect_told(scene.pair.primary(), path, 1);
    }

    scene.pair.replica().cont();
    scene.pair.expect_protected();
    expect_metrics(scene.pair.primary(), &["PROTECTED"]);
    scene.close();
}

/// Waits until what a server lacks is sent in files, one after the other, each of them acked: that
/// takes long enough for it to be seen and stopped. Batches all go at once.
fn expect_sealed(primary: &mut Node) {
    primary.expect_that("sealed what is full", |status| {
        status.sealed_segments >= SEGMENTS - 1
    });
}

/// The probe says no, and soon who catches up and by how much.
fn expect_told(node: &Node, path: &str, behind: u32) {
    node.look("say who catches up", || {
        let answer = node.expect_probe(path, 503);
        let told = format!("; catching-up: node {behind} lacks ");
        answer.body.contains(&told).then_some(())
    });
}

/// Waits until exactly these protections are told, named in alphabetical order.
fn expect_metrics(node: &Node, told: &[&str]) {
    node.look(&format!("tell {told:?}"), || {
        let page = Page::read(&node.get("/metrics").body, false);
        (page.protections() == told).then_some(())
    });
}
