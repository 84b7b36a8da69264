//! Any one of the three parts of a site is killed, stops, or is cut off: processing goes on, by
//! itself, with nothing answered lost.

use std::time::Instant;

use kanjo_format::Site;

use crate::Scene;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;
use crate::harness::report;

#[test]
fn any_one_part_of_the_active_site_is_killed_and_processing_goes_on() {
    let name = "one_of_three::any_one_part_of_the_active_site_is_killed_and_processing_goes_on";
    in_turn(name, active, &[Fault::Kill]);
}

#[test]
fn any_one_part_of_the_active_site_stops_and_processing_goes_on() {
    let name = "one_of_three::any_one_part_of_the_active_site_stops_and_processing_goes_on";
    in_turn(name, active, &[Fault::Stop]);
}

#[test]
fn any_one_part_of_the_active_site_is_cut_off_and_processing_goes_on() {
    let name = "one_of_three::any_one_part_of_the_active_site_is_cut_off_and_processing_goes_on";
    in_turn(name, active, &[Fault::Cut]);
}

#[test]
fn any_one_part_of_the_active_site_is_cut_one_way_and_processing_goes_on() {
    let name =
        "one_of_three::any_one_part_of_the_active_site_is_cut_one_way_and_processing_goes_on";
    in_turn(name, active, &[Fault::Mute, Fault::Deaf]);
}

#[test]
fn any_one_part_of_the_active_site_is_cut_off_from_the_other_site_and_processing_goes_on() {
    let name = "one_of_three::any_one_part_of_the_active_site_is_cut_off_from_the_other_site_and_processing_goes_on";
    in_turn(name, active, &[Fault::CutFromOtherSite]);
}

#[test]
fn any_one_part_of_the_auxiliary_site_fails_and_processing_goes_on() {
    let name = "one_of_three::any_one_part_of_the_auxiliary_site_fails_and_processing_goes_on";
    in_turn(name, auxiliary, &[Fault::Kill, Fault::Stop, Fault::Cut]);
}

#[test]
fn any_one_part_of_the_auxiliary_site_is_cut_one_way_and_processing_goes_on() {
    let name =
        "one_of_three::any_one_part_of_the_auxiliary_site_is_cut_one_way_and_processing_goes_on";
    in_turn(name, auxiliary, &[Fault::Mute, Fault::Deaf]);
}

/// Primary, standby, witness.
/// What its voter knows from before names it still.
#[test]
fn a_server_that_comes_back_cuts_off_nobody_who_opened_meanwhile() {
    let name = "one_of_three::a_server_that_comes_back_cuts_off_nobody_who_opened_meanwhile";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for _ in 0..4 {
        load.wait_requests(50);
        let primary = scene.cloud.expect_protected();
        let before = local_term(&mut scene, primary);
        scene.cloud.hit(primary, Fault::Kill);
        scene.cloud.expect_other_primary(primary);
        scene.cloud.undo(primary, Fault::Kill);
        let now = scene.cloud.expect_protected();
        let after = local_term(&mut scene, now);
        assert_eq!(after, before + 1, "one epoch was opened");
    }
    load.finish();
    scene.close();
}

fn local_term(scene: &mut Scene, primary: Part) -> u32 {
    let status = scene.cloud.status(primary).expect("it serves");
    let term = status.epoch.split('.').next_back();
    term.expect("site and local term")
        .parse()
        .expect("a number")
}

fn active(primary: Part) -> [Part; 3] {
    [
        primary,
        primary.neighbour(),
        Part::witness_of(primary.site()),
    ]
}

fn auxiliary(primary: Part) -> [Part; 3] {
    Part::all_of(primary.site().other())
}

/// Each part, one after the other, with each fault; in between all are whole.
fn in_turn(name: &str, parts: fn(Part) -> [Part; 3], faults: &[Fault]) {
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for &fault in faults {
        for place in 0..3 {
            load.wait_requests(50);
            let primary = scene.cloud.expect_protected();
            let part = parts(primary)[place];
            let begun = Instant::now();
            scene.cloud.hit(part, fault);
            let now = match part == primary {
                true => scene.cloud.expect_other_primary(primary),
                false => primary,
            };
            assert_eq!(now.site(), Site::One, "the site goes on by itself");
            let serves = begun.elapsed();
            load.wait_requests(50);
            let answers = begun.elapsed();
            scene.cloud.undo(part, fault);
            scene.cloud.expect_protected();
            report::line(
                "note",
                &format!(
                    "{fault:?} of {part}{}: {now} serves after {} ms, answers after {} ms, whole again after {} ms",
                    if part == primary { ", the primary" } else { "" },
                    serves.as_millis(),
                    answers.as_millis(),
                    begun.elapsed().as_millis()
                ),
            );
        }
    }
    load.finish();
    scene.close();
}
