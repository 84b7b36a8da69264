//! The default time-outs survive a stop of five seconds of any one process: nothing is lost, and
//! what was answered before stays so.

use std::time::Duration;

use kanjo_format::Site;

use crate::Scene;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;

const STOP: Duration = Duration::from_secs(5);

#[test]
fn a_five_second_stop_of_any_process_of_site_1_loses_nothing() {
    stop_each(
        "stopped::a_five_second_stop_of_any_process_of_site_1_loses_nothing",
        Site::One,
    );
}

#[test]
fn a_five_second_stop_of_any_process_of_site_2_loses_nothing() {
    stop_each(
        "stopped::a_five_second_stop_of_any_process_of_site_2_loses_nothing",
        Site::Two,
    );
}

fn stop_each(name: &str, site: Site) {
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    // The servers in the order of their numbers: one of them processes at the start, and the one
    // that took over is stopped next.
    for part in Part::all_of(site) {
        load.wait_requests(50);
        let before = rebuilt(&mut scene, part);
        scene.cloud.hit(part, Fault::Stop);
        // The stop itself is what is tested: it lasts as long as it is said to.
        std::thread::sleep(STOP);
        load.wait_requests(50);
        scene.cloud.undo(part, Fault::Stop);
        load.wait_requests(50);
        scene.cloud.expect_protected();
        // Both servers that follow another one now tell it so; one word is enough.
        let times = rebuilt(&mut scene, part) - before;
        assert!(times <= 1, "{part} built its memory anew {times} times");
    }
    load.finish();
    scene.close();
}

/// How often a process has built its memory anew.
fn rebuilt(scene: &mut Scene, part: Part) -> usize {
    let log = scene.cloud.process(part).log();
    log.matches("memory rebuilt").count()
}
