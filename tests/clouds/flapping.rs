//! A link that goes and comes: it elects not more than once a second, and loses nothing.

use std::time::{Duration, Instant};

use kanjo_format::Site;

use crate::Scene;
use crate::harness::part::Part;
use crate::harness::registers::own_report;
use crate::harness::report;

/// How long a link flaps.
const FLAPS: Duration = Duration::from_secs(8);

#[test]
fn the_flapping_link_of_a_primary_elects_at_most_once_a_second() {
    let name = "flapping::the_flapping_link_of_a_primary_elects_at_most_once_a_second";
    flap(name, |scene, up| {
        // Whoever it is now: the link of one machine flaps, not the writer's wherever it goes.
        let machine = Part::servers_of(Site::One)[0];
        scene.cloud.net().set_link(&machine.name(), up);
    });
}

#[test]
fn a_flapping_link_between_the_sites_elects_nobody() {
    let name = "flapping::a_flapping_link_between_the_sites_elects_nobody";
    flap(name, |scene, up| match up {
        true => scene.cloud.heal(),
        false => scene.cloud.cut_sites(),
    });
}

/// Nominations of both sites.
fn nominations(scene: &mut Scene) -> u64 {
    let statuses = scene.cloud.statuses();
    let of_site = |site: Site| {
        let own = statuses.iter().filter(|(server, _)| server.site() == site);
        let nominees = own.filter_map(|(_, status)| own_report(status)?.register.nominee);
        nominees.map(|nominee| nominee.number).max().unwrap_or(0)
    };
    of_site(Site::One) + of_site(Site::Two)
}

fn flap(name: &str, set: fn(&Scene, bool)) {
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let before = nominations(&mut scene);
    let begun = Instant::now();
    let mut changes = 0;
    while begun.elapsed() < FLAPS {
        for up in [false, true] {
            set(&scene, up);
            changes += 1;
            // Long enough that some are noticed, and short enough that most are not.
            std::thread::sleep(Duration::from_millis(20 + scene.random.below(700)));
        }
    }
    let seconds = begun.elapsed().as_secs() + 1;
    load.wait_requests(100);
    scene.cloud.expect_protected();
    let more = nominations(&mut scene) - before;
    report::line(
        "note",
        &format!("{changes} changes of a link in {seconds} s: {more} nominations"),
    );
    assert!(more <= seconds, "{more} nominations in {seconds} s");
    load.finish();
    scene.close();
}
