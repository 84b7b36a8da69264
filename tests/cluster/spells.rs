//! Times alone are written down, and told when they are long over.

use kanjo_node::status::Spell;

use crate::Scene;
use crate::harness::program::{kanjo, said};

#[test]
fn former_times_alone_are_told_with_their_begin_end_reason_and_sums() {
    let mut scene =
        Scene::open("spells::former_times_alone_are_told_with_their_begin_end_reason_and_sums");
    scene.post(10, 5);
    assert_eq!(scene.pair.primary().status().spells, []);
    for (place, reason) in ["the first time", "the second time"]
        .into_iter()
        .enumerate()
    {
        scene.pair.replica().shut_down();
        scene.pair.primary().go_alone(reason, true);
        scene.post(20, 5);
        let status = scene.pair.primary().status();
        let spell = &status.spells[place];
        assert_eq!(
            spell.unprotected, status.unprotected,
            "counted as it goes on"
        );
        assert!(!spell.over && spell.until_ns.is_none(), "{spell:?}");
        scene.pair.replica().start();
        scene.pair.expect_protected();
    }
    scene.post(10, 5);
    let status = scene.pair.primary().status();
    let [first, second] = &status.spells[..] else {
        panic!("two times alone: {status:#?}");
    };
    for (spell, reason) in [(first, "the first time"), (second, "the second time")] {
        expect_whole(spell, reason);
    }
    assert_eq!(second.unprotected, status.unprotected);
    assert!(first.until_lsn < Some(second.since_lsn));

    // A restart remembers, also after a line that a crash cut short.
    scene.pair.primary().kill();
    let path = scene.pair.primary().data_dir().join("protection.log");
    let mut bytes = std::fs::read(&path).expect("it is there");
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 4);
    bytes.extend_from_slice(b"{\"epoch\":\"1.");
    std::fs::write(&path, bytes).expect("a file is written");
    scene.pair.primary().start();
    let again = scene.pair.expect_protected();
    assert_eq!(again.spells, status.spells);
    let admin = scene.pair.primary().config.admin_listen.clone();
    let shown = said(&kanjo(&["status", "--connect", &admin]));
    assert!(shown.contains("the first time"), "{shown}");
    scene.close();
}

/// All of it was seen by the server that answered alone.
fn expect_whole(spell: &Spell, reason: &str) {
    assert!(spell.over, "{spell:?}");
    assert_eq!(spell.reason, reason);
    assert!(spell.unprotected.count > 0, "{spell:?}");
    assert!(!spell.unprotected.amounts.is_empty(), "{spell:?}");
    assert!(
        spell.since_ns.is_some() && spell.since_ns < spell.until_ns,
        "{spell:?}"
    );
    assert!(Some(spell.since_lsn) < spell.until_lsn, "{spell:?}");
}
