//! The primary's disk no longer answers: nothing is closed, nobody dies, but nothing is written.

use std::time::Instant;

use crate::Scene;
use crate::harness::clouds::CloudOptions;
use crate::harness::disk::SmallDisk;
use crate::harness::part::{S1, S2};
use crate::harness::report;

#[test]
fn a_primary_whose_disk_no_longer_answers_is_replaced_in_its_site_and_loses_nothing() {
    let name = "held_disk::a_primary_whose_disk_no_longer_answers_is_replaced_in_its_site_and_loses_nothing";
    let disk = match SmallDisk::mount(64) {
        Ok(disk) => disk,
        Err(why) => return report::skipped(name, &why),
    };
    let options = CloudOptions {
        first_dir: Some(disk.path().join("s1")),
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(50);
    assert_eq!(
        scene.cloud.expect_primary(),
        S1,
        "it holds the first nomination"
    );
    let (held, begun) = (disk.hold(), Instant::now());
    // Whoever asked the other one would wait for it.
    scene.cloud.expect(S2, "serves", |status| status.serving);
    let serves = begun.elapsed();
    load.wait_requests(50);
    let answers = begun.elapsed();
    drop(held);
    scene.cloud.expect_protected();
    let note = format!(
        "disk of {S1} held: {S2} serves after {} ms, answers after {} ms, whole again after {} ms",
        serves.as_millis(),
        answers.as_millis(),
        begun.elapsed().as_millis()
    );
    report::line("note", &note);
    load.finish();
    scene.close();
    drop(disk);
}
