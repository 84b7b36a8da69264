//! Disks that are full, nearly full, or not allowed to grow.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use kanjo_client::{Client, ClientError, TransferBody};
use kanjo_node::admin::Condition;

use crate::Scene;
use crate::harness::book::{block_on, client_config};
use crate::harness::disk::SmallDisk;
use crate::harness::load::lookup_is_answered;
use crate::harness::pair::PairOptions;
use crate::harness::{LoadOptions, PATIENCE, report};

/// Never that much free anywhere.
const FLOOR_ABOVE_EVERYTHING: u64 = 1 << 60;

#[test]
fn below_the_free_disk_floor_transfers_are_refused_and_reads_following_and_promotion_go_on() {
    let test = "disk::below_the_free_disk_floor_transfers_are_refused_and_reads_following_and_promotion_go_on";
    let mut scene = Scene::open(test);
    scene.post(200, 10);
    // The primary below its floor: it opens its epoch, reads, and refuses transfers.
    scene.pair.primary().shut_down();
    let usual = scene.pair.primary().config.free_disk_floor_bytes;
    scene.pair.primary().config.free_disk_floor_bytes = FLOOR_ABOVE_EVERYTHING;
    scene.pair.primary().start();
    scene.pair.primary().expect(Condition::Protected);
    expect_overloaded(&mut scene);
    assert!(
        lookup_is_answered(&scene.addresses, PATIENCE),
        "reads go on"
    );
    scene.pair.primary().shut_down();
    scene.pair.primary().config.free_disk_floor_bytes = usual;
    scene.pair.primary().start();
    // The replica below its floor: it follows and acks.
    scene.pair.replica().shut_down();
    scene.pair.replica().config.free_disk_floor_bytes = FLOOR_ABOVE_EVERYTHING;
    scene.pair.replica().start();
    scene.pair.expect_protected();
    scene.post(200, 10);
    // And it can be promoted.
    scene.pair.primary().kill();
    let promotion = scene
        .pair
        .replica()
        .promote(crate::harness::pair::alone("a drill"));
    assert!(promotion.changed, "{promotion:#?}");
    scene.pair.primary = 1 - scene.pair.primary;
    expect_overloaded(&mut scene);
    assert!(
        lookup_is_answered(&scene.addresses, PATIENCE),
        "reads go on"
    );
    scene.pair.replica().start();
    scene.pair.primary().expect(Condition::Protected);
    scene.pair.primary().shut_down();
    scene.pair.primary().config.free_disk_floor_bytes = usual;
    scene.pair.primary().start();
    scene.post(50, 10);
    scene.close();
}

fn expect_overloaded(scene: &mut Scene) {
    let postings = scene.book.draw_many(1, &mut scene.random);
    let bodies: Vec<TransferBody> = postings.iter().map(|posting| posting.body()).collect();
    block_on(async {
        let client = Client::connect(client_config(&scene.addresses))
            .await
            .expect("a primary is found");
        match client
            .create_transfers_within(&bodies, Duration::from_secs(10))
            .await
        {
            Err(ClientError::Overloaded { .. }) => scene.book.not_done(&postings),
            other => panic!("below the floor a transfer is refused as overloaded, not {other:?}"),
        }
    });
}

#[test]
fn a_disk_that_falls_below_the_floor_and_is_cleared_again_loses_nothing() {
    let name = "disk::a_disk_that_falls_below_the_floor_and_is_cleared_again_loses_nothing";
    let Some(disk) = small_disk(name) else { return };
    let options = PairOptions {
        first_dir: Some(disk.path().join("node-1")),
        configure: Some(|_, config| config.free_disk_floor_bytes = 12 << 20),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(name, options);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(200);
    disk.fill(10 << 20);
    load.wait_until("refusals", |counts| counts.not_done > 0);
    assert!(
        lookup_is_answered(&scene.addresses, PATIENCE),
        "reads go on"
    );
    disk.clear();
    load.wait_answers(200);
    let counts = load.finish();
    assert_eq!(
        counts.unknown, 0,
        "refused or answered, nothing between: {counts:#?}"
    );
    scene.close();
    drop(disk);
}

#[test]
fn a_full_disk_of_the_primary_loses_nothing() {
    full_disk("disk::a_full_disk_of_the_primary_loses_nothing", 0);
}

#[test]
fn a_full_disk_of_the_replica_loses_nothing() {
    full_disk("disk::a_full_disk_of_the_replica_loses_nothing", 1);
}

/// Fills the disk of node `victim` to the last byte under load, with no floor to warn of it.
fn full_disk(name: &str, victim: usize) {
    let Some(disk) = small_disk(name) else { return };
    let dirs = [0, 1].map(|i| (i == victim).then(|| disk.path().join("data")));
    let [first_dir, second_dir]: [Option<PathBuf>; 2] = dirs;
    let options = PairOptions {
        first_dir,
        second_dir,
        configure: Some(|_, config| config.free_disk_floor_bytes = 0),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(name, options);
    let load = scene.load(LoadOptions {
        deadline: Duration::from_secs(3),
        ..LoadOptions::default()
    });
    load.wait_answers(200);
    disk.fill(0);
    expect_no_more_answers(&load);
    end_of_victim(&mut scene, victim);
    disk.clear();
    bring_back(&mut scene, victim);
    load.wait_answers(300);
    load.finish();
    scene.close();
    drop(disk);
}

#[test]
fn a_file_size_limit_on_the_primary_loses_nothing() {
    file_size_limit("disk::a_file_size_limit_on_the_primary_loses_nothing", 0);
}

#[test]
fn a_file_size_limit_on_the_replica_loses_nothing() {
    file_size_limit("disk::a_file_size_limit_on_the_replica_loses_nothing", 1);
}

/// No new segment can be made: `fallocate` fails, and SIGXFSZ is sent.
fn file_size_limit(name: &str, victim: usize) {
    let configure = |_: usize, config: &mut kanjo_node::Config| config.free_disk_floor_bytes = 0;
    let options = PairOptions {
        configure: Some(configure),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(name, options);
    let load = scene.load(LoadOptions {
        deadline: Duration::from_secs(3),
        ..LoadOptions::default()
    });
    load.wait_answers(200);
    scene.pair.nodes[victim].limit_file_size(Some(1 << 20));
    expect_no_more_answers(&load);
    end_of_victim(&mut scene, victim);
    bring_back(&mut scene, victim);
    load.wait_answers(300);
    load.finish();
    scene.close();
}

/// The load goes on until the node can take no more.
fn expect_no_more_answers(load: &crate::harness::Load) {
    let before = load.counts();
    load.wait_until("an end of answers", |counts| {
        counts.not_done > before.not_done || counts.unknown > before.unknown
    });
}

/// A node that can write no more stops with a message or goes on refusing; no signal kills it.
fn end_of_victim(scene: &mut Scene, victim: usize) {
    let node = &mut scene.pair.nodes[victim];
    match node.wait_within(Duration::from_secs(2)) {
        None => node.shut_down_or_kill(),
        Some(status) => {
            assert_eq!(
                status.signal(),
                None,
                "killed by a signal ({status})\n{}",
                node.last_words()
            );
            assert!(!status.success(), "it stopped for a reason: {status}");
            assert!(!node.log().contains("panicked"), "{}", node.last_words());
        }
    }
}

fn bring_back(scene: &mut Scene, victim: usize) {
    scene.pair.nodes[victim].start();
    scene.pair.expect_protected();
}

/// One of 64 MiB; `None`, with a line that says so, where none can be mounted.
pub(crate) fn small_disk(name: &str) -> Option<SmallDisk> {
    match SmallDisk::mount(64) {
        Ok(disk) => Some(disk),
        Err(why) => {
            report::skipped(name, &why);
            None
        }
    }
}
