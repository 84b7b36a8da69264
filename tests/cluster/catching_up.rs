//! While a primary answers alone and another server fetches what it lacks.

use crate::Scene;
use crate::harness::exposition::Page;
use crate::harness::pair::PairOptions;
use crate::harness::program::{kanjo, said};
use crate::harness::{LOOK_AGAIN, Node, PATIENCE};

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
    scene.grow_log(6);
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
    expect_metrics(scene.pair.primary(), &["DEGRADED", "CATCHING-UP"]);
    scene.pair.primary().expect_probe("/protected", 503);

    scene.pair.replica().cont();
    let status = scene.pair.expect_protected();
    assert_eq!(status.catching_up, []);
    expect_metrics(scene.pair.primary(), &["PROTECTED"]);
    scene.close();
}

/// Waits until exactly these protections are told.
fn expect_metrics(node: &Node, told: &[&str]) {
    let all = [
        "WAITING",
        "PROTECTED",
        "ONE SITE ONLY",
        "DEGRADED",
        "CATCHING-UP",
    ];
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let page = Page::read(&node.get("/metrics").body, false);
        let is_told =
            |name: &&str| page.value(&format!("kanjo_protection{{protection=\"{name}\"}}")) == 1.0;
        let seen: Vec<&str> = all.into_iter().filter(is_told).collect();
        if seen == told {
            return;
        }
        assert!(
            std::time::Instant::now() < until,
            "{told:?} expected, told {seen:?}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}
