//! A planned switch loses nothing that was answered, and leaves no request indeterminate but
//! those in flight past their deadline.

use std::time::{Duration, Instant};

use kanjo_format::Site;
use kanjo_group::register::Authority;
use kanjo_node::AutoFailover;
use kanjo_node::admin::{Answer, Command, FailoverOptions, OperatorWord};

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::clouds::{Cloud, CloudOptions};
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S3, S4};
use crate::harness::program::{kanjo, said};
use crate::harness::registers::epoch_of;
use crate::harness::report;
use crate::scene::PACED;

#[test]
fn a_planned_switch_and_the_way_back_leave_no_request_without_an_answer() {
    let name = "planned::a_planned_switch_and_the_way_back_leave_no_request_without_an_answer";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    // Patient, and asking once: whatever is not answered shows.
    let load = scene.load_with(PACED);
    let mut from = Site::One;
    let mut epoch = (0, 0);
    for _ in 0..4 {
        load.wait_requests(200);
        let primary = scene.cloud.expect_protected();
        assert_eq!(primary.site(), from);
        let begun = Instant::now();
        let message = scene.cloud.switch_over("maintenance");
        let said = begun.elapsed();
        let now = scene.cloud.expect_primary_in(from.other());
        load.wait_requests(20);
        report::line(
            "note",
            &format!(
                "{primary} to {now}: {message}; word to end {} ms, answers after {} ms",
                said.as_millis(),
                begun.elapsed().as_millis()
            ),
        );
        let status = scene.cloud.status(now).expect("it serves");
        assert!(epoch_of(&status).0 > epoch.0, "a switch opens a site term");
        epoch = epoch_of(&status);
        from = from.other();
    }
    let counts = load.finish();
    assert_eq!(
        (counts.unknown, counts.not_done),
        (0, 0),
        "every request was answered: {counts:#?}"
    );
    scene.close();
}

#[test]
fn a_switch_to_a_site_that_is_not_whole_is_refused_and_changes_nothing() {
    let name = "planned::a_switch_to_a_site_that_is_not_whole_is_refused_and_changes_nothing";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(50);
    let primary = scene.cloud.expect_primary();
    let before = scene.cloud.status(primary).expect("it serves").epoch;
    for server in [S3, S4] {
        scene.cloud.hit(server, Fault::Stop);
    }
    // Asked before anybody knows, it would be undecided for as long as they stand still.
    scene
        .cloud
        .expect(primary, "knows that nobody acks", |status| !status.serving);
    let why = scene.cloud.refused(primary, &switchover());
    assert!(!why.is_empty());
    for server in [S3, S4] {
        scene.cloud.undo(server, Fault::Stop);
    }
    load.wait_requests(50);
    assert_eq!(scene.cloud.expect_protected(), primary);
    let after = scene.cloud.status(primary).expect("it serves").epoch;
    assert_eq!(before, after, "no epoch was opened");
    load.finish();
    scene.close();
}

#[test]
fn a_switch_that_meets_a_cut_ends_in_one_site_or_the_other_and_loses_nothing() {
    let name = "planned::a_switch_that_meets_a_cut_ends_in_one_site_or_the_other_and_loses_nothing";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    let mut ends = Vec::new();
    for round in 0..ROUNDS {
        load.wait_requests(50);
        let primary = scene.cloud.expect_protected();
        // The cut takes some 20 ms to be there, the switch as long to be over: they meet anywhere.
        let moment = Duration::from_millis(scene.random.below(30));
        let word = scene.cloud.begin(primary, &switchover(), moment);
        match round % 3 {
            0 => scene.cloud.cut_sites(),
            1 => scene.cloud.cut_sites_one_way(Site::One),
            _ => scene.cloud.cut_sites_one_way(Site::Two),
        }
        // Long enough that silence is noticed, and by everybody.
        std::thread::sleep(Duration::from_millis(1_500));
        scene.cloud.heal();
        let said = word.join().expect("the admin port answers");
        load.wait_requests(50);
        let now = scene.cloud.expect_protected();
        let switched = matches!(said, Ok(Answer::Done { .. }));
        assert!(
            !switched || now.site() != primary.site(),
            "said to be done: {said:?}, but {now} serves"
        );
        ends.push(format!("{primary} to {now}"));
    }
    report::line(
        "note",
        &format!("switches that met a cut: {}", ends.join(", ")),
    );
    load.finish();
    scene.close();
}

/// What it handed over is lost with it, as far as anybody can know.
#[test]
fn a_site_that_is_lost_in_the_middle_of_a_switch_leaves_a_way_out() {
    let name = "planned::a_site_that_is_lost_in_the_middle_of_a_switch_leaves_a_way_out";
    let options = CloudOptions {
        auto_failover: AutoFailover::Both,
        third_witness: true,
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let load = scene.load();
    let mut taken_back = 0;
    for _ in 0..LOST_ROUNDS {
        load.wait_requests(50);
        let primary = scene.cloud.expect_protected();
        let (lost, stays) = (primary.site(), primary.site().other());
        let word = scene.cloud.begin(primary, &switchover(), Duration::ZERO);
        let [watched, _] = Part::servers_of(stays);
        let handed_over = |cloud: &mut Cloud| {
            let own = cloud.status(watched)?.group?.own?;
            matches!(own.register.authority, Authority::HandedOver(_)).then_some(())
        };
        let until = Instant::now() + Duration::from_secs(1);
        while handed_over(&mut scene.cloud).is_none() && Instant::now() < until {}
        for part in Part::all_of(lost) {
            scene.cloud.hit(part, Fault::Stop);
        }
        let word_to = |accepts| {
            Command::Failover(FailoverOptions {
                operator: "a test".into(),
                reason: "the other site is lost".into(),
                accept_missing_answered_transfers: accepts,
                other_site_is_off: accepts,
                certainly_off: accepts,
            })
        };
        scene.cloud.look("the other site serves", PATIENCE, |cloud| {
            let servers = Part::servers_of(stays);
            let mut statuses = servers.into_iter().filter_map(|server| cloud.status(server));
            if statuses.any(|status| status.serving) {
                return Some(());
            }
            let nominee = cloud.nominee(stays);
            let said = cloud.ask(nominee, &word_to(false), PATIENCE);
            if matches!(said, Ok(Answer::Refused { message }) if message.contains("handed over")) {
                let said = cloud.ask(nominee, &word_to(true), PATIENCE);
                assert!(matches!(said, Ok(Answer::Done { .. })), "{said:#?}");
                taken_back += 1;
            }
            None
        });
        load.wait_requests(50);
        for part in Part::all_of(lost) {
            scene.cloud.undo(part, Fault::Stop);
        }
        // What the switch says then does not matter; that it is heard does.
        let _ = word.join().expect("the admin port answers");
        assert_eq!(scene.cloud.expect_protected().site(), stays);
    }
    report::line(
        "note",
        &format!("{taken_back} of {LOST_ROUNDS} hand-overs were taken back by a word"),
    );
    load.finish();
    scene.close();
}

/// Sites lost in a switch.
const LOST_ROUNDS: u64 = 2;

/// Switches that meet a cut.
const ROUNDS: u64 = 6;

fn switchover() -> Command {
    Command::Switchover(OperatorWord {
        operator: "a test".to_owned(),
        reason: "maintenance".to_owned(),
    })
}

/// What is looked at before the word is said.
const CHECKS: [&str; 8] = [
    "writer",
    "registers",
    "destination",
    "in-sync set",
    "lag",
    "chain",
    "clock",
    "disk",
];

/// The steps of a switch, each told when it is done.
const STEPS: [&str; 6] = [
    "checked by the server",
    "drained",
    "prepared",
    "handed over",
    "activated",
    "opened by node",
];

/// A command that does what it should and says all this, in this order.
fn expect_said(output: &std::process::Output, words: &[&str]) {
    let text = said(output);
    assert!(output.status.success(), "{text}");
    let mut rest = &text[..];
    for word in words {
        let Some(at) = rest.find(word) else {
            panic!("{word:?} is missing, or not in its place: {text}");
        };
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn a_switch_to_a_server_without_disk_is_refused_with_the_figures_before_anything_stops() {
    let name = "planned::a_switch_to_a_server_without_disk_is_refused_with_the_figures_before_anything_stops";
    let options = CloudOptions {
        full: Some(Site::Two),
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let load = scene.load_with(PACED);
    load.wait_requests(50);
    let primary = scene.cloud.expect_primary();
    let before = scene.cloud.status(primary).expect("it serves").epoch;
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let words = [
        "--cluster-file",
        file,
        "--operator",
        "a test",
        "--reason",
        "drill",
    ];
    let output = kanjo(&[&["switchover"], &words[..]].concat());
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in ["NO", "not switched, disk: node", " and needs ", "make room"] {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    let output = kanjo(&[&["switchover", "--json"], &words[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["switched"], false);
    let checks = told["checks"].as_array().expect("a list");
    let fails: Vec<_> = checks
        .iter()
        .filter(|check| check["holds"] == false)
        .collect();
    assert!(fails.len() == 1 && fails[0]["check"] == "disk", "{told:#}");
    load.wait_requests(50);
    let status = scene.cloud.status(primary).expect("it serves");
    assert_eq!(status.epoch, before, "no epoch was opened");
    let counts = load.finish();
    assert_eq!((counts.unknown, counts.not_done), (0, 0), "{counts:#?}");
    scene.close();
}

#[test]
fn the_commands_of_a_person_find_the_right_server_by_themselves() {
    let name = "planned::the_commands_of_a_person_find_the_right_server_by_themselves";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(50);
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let words = [
        "--cluster-file",
        file,
        "--operator",
        "a test",
        "--reason",
        "drill",
    ];
    let output = kanjo(&[&["switchover", "--check-only"], &words[..]].concat());
    expect_said(&output, &CHECKS);
    let former = scene.cloud.expect_primary_in(Site::One);
    let output = kanjo(&[&["switchover"], &words[..]].concat());
    expect_said(&output, &CHECKS);
    expect_said(&output, &STEPS);
    let primary = scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    scene.cloud.expect_protected();
    let knows = "tells for how long nobody was answered";
    scene.cloud.expect(former, knows, |status| {
        let group = status.group.as_ref();
        let switch = group.and_then(|group| group.last_switch.as_ref());
        switch.is_some_and(|switch| switch.unanswered_us.is_some())
    });
    let shown = kanjo(&["status", "--cluster-file", file]);
    expect_said(
        &shown,
        &["PROTECTED", "last switch: epoch 1.", "nobody answered for"],
    );
    let last = format!("on node {}", primary.node());
    expect_said(&shown, &[&last, ", planned, "]);
    let output = kanjo(&[&["failover"], &words[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let primary = scene.cloud.expect_primary_in(Site::One);
    let knows = "wrote down that the former writer is cut off";
    scene.cloud.expect(primary, knows, |status| {
        let group = status.group.as_ref();
        let switch = group.and_then(|group| group.last_switch.as_ref());
        switch.is_some_and(|switch| switch.to == status.epoch)
    });
    let shown = kanjo(&["status", "--cluster-file", file]);
    expect_said(&shown, &["last switch: epoch ", ", not planned, "]);
    load.wait_requests(50);
    load.finish();
    scene.close();
}
