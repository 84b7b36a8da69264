//! The client gets its result only after the auxiliary site answered that the database is
//! synchronised.

use std::time::Duration;

use kanjo_format::Site;

use crate::Scene;
use crate::harness::cuts::Fault;
use crate::harness::load::lookup_is_answered;
use crate::harness::part::{CLIENT, Part};
use crate::scene::expect_quiet;

/// Longer than the times after which anybody is given up on.
const LONG: Duration = Duration::from_secs(3);

#[test]
fn the_answer_comes_after_the_auxiliary_site() {
    let name = "after::the_answer_comes_after_the_auxiliary_site";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    for server in Part::servers_of(Site::Two) {
        scene.cloud.hit(server, Fault::Stop);
    }
    expect_quiet(&load);
    let address = [primary.client()];
    assert!(
        !lookup_is_answered(&address, Duration::from_millis(500)),
        "a read needs the auxiliary site too"
    );
    assert!(!load.answers_within(1, LONG), "answered without it");
    let status = scene.cloud.status(primary).expect("the writer lives");
    assert!(
        status.committed_lsn < status.tail_lsn,
        "it appends, but does not commit: {status:#?}"
    );
    for server in Part::servers_of(Site::Two) {
        scene.cloud.undo(server, Fault::Stop);
    }
    load.wait_requests(200);
    load.finish();
    scene.close();
}

#[test]
fn nothing_is_answered_while_the_sites_are_cut_from_each_other_one_way_or_both() {
    let name = "after::nothing_is_answered_while_the_sites_are_cut_from_each_other_one_way_or_both";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    let cuts: [fn(&Scene); 3] = [
        |scene| scene.cloud.cut_sites_one_way(Site::One),
        |scene| scene.cloud.cut_sites_one_way(Site::Two),
        |scene| scene.cloud.cut_sites(),
    ];
    for (number, cut) in cuts.into_iter().enumerate() {
        load.wait_requests(100);
        cut(&scene);
        expect_quiet(&load);
        assert!(!load.answers_within(1, LONG), "answered over cut {number}");
        // Clients reach both sites all the time: it is the sites that wait.
        for server in [
            Part::servers_of(Site::One)[0],
            Part::servers_of(Site::Two)[0],
        ] {
            scene.cloud.expect(server, "lives", |_| true);
        }
        scene.cloud.heal();
        load.wait_requests(100);
        scene.cloud.expect_protected();
    }
    // Clients that are cut off see nothing; the servers do not mind.
    scene.cloud.cut(&[CLIENT], &Part::servers_of(Site::One));
    expect_quiet(&load);
    scene.cloud.heal();
    load.wait_requests(100);
    load.finish();
    scene.close();
}
