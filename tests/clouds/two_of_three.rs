//! Two of the three parts of a site are gone: a primary that lives goes on while the auxiliary
//! acks, and says that nobody could replace it; if the primary is among the two, processing
//! stops, and the survivor says why.

use std::time::Duration;

use kanjo_format::Site;

use crate::Scene;
use crate::harness::Load;
use crate::harness::cuts::{FAULTS, Fault};
use crate::harness::part::{Part, S3, S4, W12};
use crate::scene::expect_quiet;

/// Longer than any time-out of the cluster file and than two elections.
const LONG: Duration = Duration::from_millis(2_500);

#[test]
fn a_primary_alone_in_its_site_goes_on_and_says_that_nobody_could_replace_it() {
    let name =
        "two_of_three::a_primary_alone_in_its_site_goes_on_and_says_that_nobody_could_replace_it";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for fault in FAULTS {
        let primary = scene.cloud.expect_protected();
        let gone = [primary.neighbour(), Part::witness_of(primary.site())];
        hit_both(&mut scene, gone, fault);
        load.wait_requests(100);
        scene
            .cloud
            .expect(primary, "says that nobody could replace it", |status| {
                let group = status.group.as_ref();
                status.serving && group.is_some_and(|group| group.why.contains("replace"))
            });
        load.wait_requests(100);
        undo_both(&mut scene, gone, fault);
        let now = scene.cloud.expect_protected();
        assert_eq!(now, primary, "a living primary stays");
    }
    load.finish();
    scene.close();
}

#[test]
fn without_primary_and_witness_processing_stops_and_the_standby_says_why() {
    let name =
        "two_of_three::without_primary_and_witness_processing_stops_and_the_standby_says_why";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for fault in FAULTS {
        let primary = scene.cloud.expect_protected();
        let gone = [primary, Part::witness_of(primary.site())];
        load.wait_requests(50);
        hit_both(&mut scene, gone, fault);
        expect_stop(&load, fault);
        let standby = primary.neighbour();
        scene
            .cloud
            .expect(standby, "says that there is no majority", |status| {
                let group = status.group.as_ref();
                !status.serving && group.is_some_and(|group| group.why.contains("majority"))
            });
        undo_both(&mut scene, gone, fault);
        load.wait_requests(50);
    }
    load.finish();
    scene.close();
}

#[test]
fn without_both_servers_processing_stops_and_nobody_else_takes_over() {
    let name = "two_of_three::without_both_servers_processing_stops_and_nobody_else_takes_over";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for fault in FAULTS {
        scene.cloud.expect_protected();
        let gone = Part::servers_of(Site::One);
        let witness = Part::witness_of(Site::One);
        let logged = scene.cloud.process(witness).log().len();
        load.wait_requests(50);
        hit_both(&mut scene, gone, fault);
        expect_stop(&load, fault);
        // The witness has no port where it could be asked: it says so in its log.
        let words = scene.cloud.process(witness).log().split_off(logged);
        assert!(words.contains("majority"), "the survivor says why: {words}");
        // The other site is whole, but nobody told it that this one is lost.
        for server in Part::servers_of(Site::Two) {
            scene
                .cloud
                .expect(server, "says why it does not process", |status| {
                    let group = status.group.as_ref();
                    status.role == "replica" && group.is_some_and(|group| !group.why.is_empty())
                });
        }
        undo_both(&mut scene, gone, fault);
        load.wait_requests(50);
    }
    load.finish();
    scene.close();
}

#[test]
fn an_auxiliary_server_without_its_majority_still_acks_but_cannot_be_dropped() {
    let name =
        "two_of_three::an_auxiliary_server_without_its_majority_still_acks_but_cannot_be_dropped";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    // One server and the witness: what is left has no majority, so that nobody can be dropped.
    for fault in FAULTS {
        let primary = scene.cloud.expect_protected();
        load.wait_requests(50);
        hit_both(&mut scene, [S4, W12], fault);
        expect_stop(&load, fault);
        let writers = scene.cloud.writers();
        assert_eq!(writers, [primary], "nobody takes over");
        undo_both(&mut scene, [S4, W12], fault);
        load.wait_requests(50);
    }
    // The witness alone changes nothing, nor does a witness that comes back to one server.
    scene.cloud.expect_protected();
    scene.cloud.hit(W12, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.hit(S3, Fault::Kill);
    expect_stop(&load, Fault::Kill);
    scene.cloud.undo(W12, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(S3, Fault::Kill);
    load.finish();
    scene.close();
}

/// The witness first, which is named last: with it and one server a site changes its register, so
/// that between the two hits it would elect the other server, or drop the one that is gone.
fn hit_both(scene: &mut Scene, parts: [Part; 2], fault: Fault) {
    for part in parts.into_iter().rev() {
        scene.cloud.hit(part, fault);
    }
}

fn undo_both(scene: &mut Scene, parts: [Part; 2], fault: Fault) {
    for part in parts {
        scene.cloud.undo(part, fault);
    }
}

/// Nothing is answered any more, however long one waits, but at most what was under way: what was
/// acked before the parts were hit is answered once the primary's own disk has it, which may stand
/// still for longer than the quiet that is waited for first.
fn expect_stop(load: &Load, fault: Fault) {
    expect_quiet(load);
    let quiet = load.counts();
    while load.answers_within(1, LONG) {
        let late = load.counts().answered - quiet.answered;
        assert!(
            late <= quiet.in_flight as u64,
            "{late} answered after a {fault:?} of two of three, {} were under way",
            quiet.in_flight
        );
    }
}
