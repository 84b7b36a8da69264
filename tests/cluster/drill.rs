//! A recovery on a copy, while replication goes on.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use kanjo_node::admin::{self, Answer, Command};
use kanjo_node::status::DrillReport;

use crate::Scene;
use crate::harness::damage::{files, flip_bit};
use crate::harness::program::{kanjo, said};
use crate::harness::{LoadOptions, Node, PATIENCE};

/// `kanjo drill --json` on a node, with more words.
fn drill_of(node: &Node, more: &[&str]) -> (Option<i32>, String, Option<DrillReport>) {
    let words = ["drill", "--connect", &node.config.admin_listen, "--json"];
    let output = kanjo(&[&words[..], more].concat());
    let report = serde_json::from_slice(&output.stdout).ok();
    (output.status.code(), said(&output), report)
}

fn good_drill(node: &Node, more: &[&str]) -> DrillReport {
    let (code, said, report) = drill_of(node, more);
    assert_eq!(code, Some(0), "{said}");
    report.unwrap_or_else(|| panic!("no report: {said}"))
}

/// Asks for a drill from a thread of its own; the answer comes at its end.
fn begin(node: &Node) -> std::thread::JoinHandle<Answer> {
    let address = node.config.admin_listen.clone();
    std::thread::spawn(move || {
        admin::ask(&address, &Command::Drill { full: true }, PATIENCE).expect("an answer comes")
    })
}

fn ask_without_waiting(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(&node.config.admin_listen).expect("it listens");
    stream
        .write_all(b"{\"command\":\"drill\",\"full\":true}\n")
        .expect("a line is sent");
    stream
}

fn read_answer(stream: TcpStream) -> Answer {
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("an answer comes");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_drill_beside_replication_has_the_live_digest_and_holds_nobody_up() {
    let test = "drill::a_drill_beside_replication_has_the_live_digest_and_holds_nobody_up";
    let mut scene = Scene::open(test);
    scene.grow_log(3);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(200);
    let before = load.counts();
    // The whole log, then as a start would recover it; both while transfers are answered.
    let full = good_drill(scene.pair.replica(), &["--full"]);
    let during = load.counts();
    let quick = good_drill(scene.pair.replica(), &[]);
    assert!(
        during.answered > before.answered && full.lag_bytes > 0,
        "replication went on during the drill: {before:#?} {during:#?} {full:#?}"
    );
    for report in [&full, &quick] {
        assert!(report.good && report.digest_equal, "{report:#?}");
        assert_eq!(report.digest, report.live_digest);
        assert_eq!(report.trial_balance.len(), 2, "{report:#?}");
        for ledger in &report.trial_balance {
            assert_eq!(ledger.difference, "0", "{report:#?}");
            assert_ne!(ledger.debits, "0");
        }
        assert!(report.recovery_us > 0 && report.transfers > 0);
        assert_eq!(report.node, 2);
        assert!(report.tail_lsn >= report.lsn);
    }
    assert_eq!((full.checkpoint_lsn, full.log_bytes), (0, full.lsn));
    assert!(full.records > full.transfers && full.records_per_s > 0.0);
    assert!(quick.checkpoint_lsn > 0 && quick.log_bytes < full.log_bytes);
    assert!(quick.lsn > full.lsn, "the position moves with the ledger");
    load.wait_answers(100);
    let counts = load.finish();
    assert_eq!((counts.unknown, counts.not_done), (0, 0), "{counts:#?}");
    // What the drill counted is what the book has at the end, if it ends there.
    scene.settle();
    let last = good_drill(scene.pair.replica(), &[]);
    let status = scene.pair.replica().status();
    assert_eq!((last.lsn, last.lag_bytes), (status.applied_lsn, 0));
    assert_eq!(last.digest, scene.pair.primary().status().digest);
    assert_eq!(last.transfers, status.transfers);
    assert_eq!(last.trial_balance, status.trial_balance);
    scene.close();
}

#[test]
fn a_primary_refuses_a_drill_and_says_where_to_run_it() {
    let mut scene = Scene::open("drill::a_primary_refuses_a_drill_and_says_where_to_run_it");
    scene.post(50, 10);
    let before = scene.pair.primary().status();
    let (code, said, _) = drill_of(scene.pair.primary(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("primary") && said.contains("on an auxiliary") && said.contains("--connect"),
        "{said}"
    );
    assert_eq!(scene.pair.primary().status().epoch, before.epoch);
    scene.close();
}

#[test]
fn a_second_drill_is_refused_while_one_is_under_way_and_the_last_one_is_kept() {
    let test = "drill::a_second_drill_is_refused_while_one_is_under_way_and_the_last_one_is_kept";
    let mut scene = Scene::open(test);
    scene.grow_log(2);
    let (_, said, _) = drill_of(scene.pair.replica(), &["--last"]);
    assert!(said.contains("\"last\": null"), "{said}");
    // Both wait at the node before it looks at one of them.
    scene.pair.replica().stop();
    let asked = [(); 2].map(|()| ask_without_waiting(scene.pair.replica()));
    scene.pair.replica().cont();
    let mut reports = 0;
    let mut refusals = 0;
    for answer in asked.map(read_answer) {
        match answer {
            Answer::Drill(report) => {
                assert!(report.good, "{report:#?}");
                reports += 1;
            }
            Answer::Refused { message } => {
                assert!(message.contains("one at a time"), "{message}");
                refusals += 1;
            }
            other => panic!("{other:#?}"),
        }
    }
    assert_eq!((reports, refusals), (1, 1));
    let (code, said, _) = drill_of(scene.pair.replica(), &["--last"]);
    assert_eq!(code, Some(0), "{said}");
    let last: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(last["last"]["good"], true, "{said}");
    assert!(last["running"].is_null(), "{said}");
    scene.close();
}

#[test]
fn a_promotion_ends_a_drill_and_does_not_wait_for_it() {
    let mut scene = Scene::open("drill::a_promotion_ends_a_drill_and_does_not_wait_for_it");
    scene.grow_log(2);
    scene.pair.primary().kill();
    let asked = begin(scene.pair.replica());
    wait_until_begun(scene.pair.replica());
    scene.pair.promote_alone();
    match asked.join().expect("an answer comes") {
        Answer::Refused { message } => assert!(message.contains("given up"), "{message}"),
        // It was quicker than the promotion.
        Answer::Drill(report) => assert!(report.good, "{report:#?}"),
        other => panic!("{other:#?}"),
    }
    scene.post(100, 10);
    scene.pair.replica().start();
    scene.close();
}

#[test]
fn a_node_that_is_stopped_during_a_drill_stops_cleanly() {
    let mut scene = Scene::open("drill::a_node_that_is_stopped_during_a_drill_stops_cleanly");
    scene.grow_log(2);
    let address = scene.pair.replica().config.admin_listen.clone();
    let asked = std::thread::spawn(move || {
        // The node may go away before it answers.
        let _ = admin::ask(&address, &Command::Drill { full: true }, PATIENCE);
    });
    wait_until_begun(scene.pair.replica());
    scene.pair.replica().shut_down();
    asked.join().expect("it ended");
    scene.pair.replica().start();
    scene.close();
}

#[test]
fn a_drill_names_damage_that_the_live_ledger_has_not_met_and_changes_nothing() {
    let test = "drill::a_drill_names_damage_that_the_live_ledger_has_not_met_and_changes_nothing";
    let mut scene = Scene::open(test);
    scene.grow_log(3);
    scene.settle();
    let dir = scene.pair.replica().data_dir().to_owned();
    // Until nothing that is derived is still being written.
    let checkpoint = |lsn: u64| dir.join(format!("checkpoints/{lsn:016x}.ckpt"));
    let status = scene.pair.replica().expect_that("is done", |status| {
        let since = status.applied_lsn - status.checkpoint_lsn;
        since < 4 << 20 && checkpoint(status.checkpoint_lsn).exists() && status.indexed_lsn > 0
    });
    let newest = checkpoint(status.checkpoint_lsn);
    flip_bit(&newest, 100, 3);
    let report = good_drill(scene.pair.replica(), &[]);
    let named = report.unusable_checkpoints.first().expect("it is named");
    assert!(named.contains(newest.to_str().expect("plain")), "{named}");
    assert!(report.checkpoint_lsn < status.checkpoint_lsn);
    flip_bit(&newest, 100, 3);
    // Sealed, and in the index: nobody reads it but a drill of the whole log.
    let sealed = files(&dir, "log", ".sealed").swap_remove(0);
    flip_bit(&sealed, 5_000, 1);
    let (code, said, _) = drill_of(scene.pair.replica(), &["--full"]);
    assert_eq!(code, Some(1), "{said}");
    let name = sealed.file_name().and_then(|name| name.to_str());
    assert!(
        said.contains("THE DRILL FAILED") && said.contains(name.expect("plain")),
        "{said}"
    );
    let log = scene.pair.replica().log();
    assert!(log.contains("THE DRILL FAILED"), "loudly: {log}");
    scene.post(50, 10);
    flip_bit(&sealed, 5_000, 1);
    let report = good_drill(scene.pair.replica(), &["--full"]);
    assert_eq!(report.unusable_checkpoints, Vec::<String>::new());
    scene.close();
}

/// Waits until a drill is under way there, or has been.
fn wait_until_begun(node: &mut Node) {
    let address = node.config.admin_listen.clone();
    node.expect_that("began a drill", |_| {
        match admin::ask(&address, &Command::DrillStatus, PATIENCE).expect("an answer comes") {
            Answer::DrillStatus(status) => status.running.is_some() || status.last.is_some(),
            other => panic!("{other:#?}"),
        }
    });
}
