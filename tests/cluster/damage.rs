//! Bits that flip on the disk of a stopped node: found, named, never served, never cut.

use std::path::Path;

use kanjo_format::Lsn;
use kanjo_node::admin::Condition;
use kanjo_wal::DataDir;

use crate::Scene;
use crate::harness::damage::{files, flip_bit, raw_batches_below};
use crate::harness::pair::alone;
use crate::harness::program::{kanjo, read, said};

#[test]
fn a_flipped_bit_in_the_log_is_refused_by_place_and_the_other_node_serves() {
    let test = "damage::a_flipped_bit_in_the_log_is_refused_by_place_and_the_other_node_serves";
    let mut scene = Scene::open(test);
    scene.post(20_000, 2_000);
    scene.post(300, 1);
    scene.pair.primary().shut_down();
    let dir = scene.pair.primary().data_dir().to_owned();
    let mark = DataDir::inspect(&dir).expect("a control file").durable.lsn;
    let batches = raw_batches_below(&dir, mark);
    assert!(
        batches.len() > 10,
        "raw batches below the mark: {}",
        batches.len()
    );
    for round in 0..8 {
        let batch = &batches[scene.random.below(batches.len() as u64) as usize];
        let offset = batch.offset + scene.random.below(batch.bytes);
        let bit = scene.random.next();
        flip_bit(&batch.file, offset, bit);
        let expected = Place {
            file: &batch.file,
            offset: batch.offset,
            lsn: batch.header.lsn(),
        };
        let (_, text) = scene.pair.primary().start_refused();
        expected.expect_in(&text);
        let output = kanjo(&[
            "log",
            "verify",
            "--dir",
            dir.to_str().expect("a plain path"),
        ]);
        assert!(
            !output.status.success(),
            "round {round}: verify finds it: {}",
            said(&output)
        );
        expected.expect_in(&said(&output));
        let output = kanjo(&[
            "promote",
            "--dir",
            dir.to_str().expect("a plain path"),
            "--reason",
            "no",
        ]);
        assert!(
            !output.status.success(),
            "a damaged log is not promoted: {}",
            said(&output)
        );
        // The same bit again, and the log is as it was: nothing was cut or repaired meanwhile.
        flip_bit(&batch.file, offset, bit);
    }
    expect_no_quarantine(&dir);
    // For good now. The other node has the same bytes and takes over.
    let batch = &batches[batches.len() / 2];
    flip_bit(&batch.file, batch.offset + batch.bytes - 1, 3);
    scene.pair.primary().start_refused();
    scene.pair.promote_alone();
    scene.post(100, 10);
    // The damaged directory comes back as a new one.
    let i = 1 - scene.pair.primary;
    std::fs::remove_dir_all(&dir).expect("a directory can be wiped");
    scene.pair.format_node_as_replica(i);
    scene.pair.nodes[i].start();
    scene.close();
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_found_and_named() {
    let mut scene = Scene::open("damage::a_flipped_bit_in_a_sealed_segment_is_found_and_named");
    scene.grow_log(3);
    scene
        .pair
        .primary()
        .expect_that("sealed segments", |status| status.sealed_segments >= 2);
    scene.pair.replica().shut_down();
    let dir = scene.pair.replica().data_dir().to_owned();
    let sealed = files(&dir, "log", ".sealed");
    assert!(!sealed.is_empty(), "the replica seals too");
    for _ in 0..6 {
        let file = &sealed[scene.random.below(sealed.len() as u64) as usize];
        let length = read(file).len() as u64;
        // Behind the header page, whose rest is zeros that mean nothing.
        let offset = 4096 + scene.random.below(length - 4096);
        let bit = scene.random.next();
        flip_bit(file, offset, bit);
        let output = kanjo(&[
            "log",
            "verify",
            "--dir",
            dir.to_str().expect("a plain path"),
        ]);
        let name = file.file_name().expect("a file").to_str().expect("plain");
        assert!(
            !output.status.success(),
            "a flip at {offset} of {name} is found: {}",
            said(&output)
        );
        assert!(said(&output).contains(name), "{}", said(&output));
        flip_bit(file, offset, bit);
    }
    scene.pair.replica().start();
    scene.close();
}

#[test]
fn one_bad_control_slot_is_survived_and_two_are_a_new_incarnation() {
    let mut scene =
        Scene::open("damage::one_bad_control_slot_is_survived_and_two_are_a_new_incarnation");
    scene.post(100, 10);
    for slot in 0..2 {
        scene.pair.replica().shut_down();
        let control = scene.pair.replica().data_dir().join("control");
        flip_bit(&control, slot * 4096 + scene.random.below(256), slot + 2);
        scene.pair.replica().start();
        scene.pair.expect_protected();
        scene.post(20, 5);
    }
    scene.pair.replica().shut_down();
    let dir = scene.pair.replica().data_dir().to_owned();
    for slot in 0..2 {
        flip_bit(
            &dir.join("control"),
            slot * 4096 + scene.random.below(256),
            slot,
        );
    }
    let before = read(&dir.join("control"));
    let (_, text) = scene.pair.replica().start_refused();
    assert!(
        text.contains("incarnation") && text.contains("control"),
        "{text}"
    );
    assert_eq!(read(&dir.join("control")), before, "nothing was changed");
    let output = kanjo(&[
        "promote",
        "--dir",
        dir.to_str().expect("a plain path"),
        "--reason",
        "no",
    ]);
    assert!(!output.status.success(), "{}", said(&output));
}

#[test]
fn a_damaged_checkpoint_is_set_aside_with_a_warning_and_the_log_replayed() {
    let test = "damage::a_damaged_checkpoint_is_set_aside_with_a_warning_and_the_log_replayed";
    let mut scene = Scene::open_with(
        test,
        crate::harness::pair::PairOptions {
            configure: Some(|_, config| config.checkpoint_every_bytes = 1 << 20),
            ..Default::default()
        },
    );
    scene.grow_log(1);
    for node in &mut scene.pair.nodes {
        node.expect_that("wrote a checkpoint", |status| status.checkpoint_lsn > 0);
    }
    scene.settle();
    for i in 0..2 {
        scene.pair.nodes[i].shut_down();
        let dir = scene.pair.nodes[i].data_dir().to_owned();
        let checkpoints = files(&dir, "checkpoints", ".ckpt");
        assert!(!checkpoints.is_empty(), "a checkpoint is there");
        for file in &checkpoints {
            let length = read(file).len() as u64;
            flip_bit(file, scene.random.below(length), 5);
        }
        let before = scene.pair.nodes[i].log().len();
        scene.pair.nodes[i].start();
        scene.pair.expect_protected();
        let text = scene.pair.nodes[i].log().split_off(before);
        assert!(text.contains("checkpoint"), "it warns: {text}");
        for file in &checkpoints {
            let kept = scene.pair.nodes[i].data_dir().join("quarantine");
            let aside = !file.exists()
                || !files(kept.parent().expect("a data directory"), "quarantine", "").is_empty();
            assert!(aside, "{} is set aside", file.display());
        }
        scene.post(20, 5);
    }
    scene.close();
}

#[test]
fn a_replica_promoted_over_a_damaged_checkpoint_has_every_balance() {
    let test = "damage::a_replica_promoted_over_a_damaged_checkpoint_has_every_balance";
    let options = crate::harness::pair::PairOptions {
        configure: Some(|_, config| config.checkpoint_every_bytes = 1 << 20),
        ..Default::default()
    };
    let mut scene = Scene::open_with(test, options);
    scene.grow_log(1);
    scene
        .pair
        .replica()
        .expect_that("wrote a checkpoint", |status| status.checkpoint_lsn > 0);
    scene.pair.primary().kill();
    scene.pair.replica().kill();
    let dir = scene.pair.replica().data_dir().to_owned();
    for file in files(&dir, "checkpoints", ".ckpt") {
        let length = read(&file).len() as u64;
        flip_bit(&file, scene.random.below(length), 1);
    }
    scene.pair.replica().start();
    let promotion = scene.pair.replica().promote(alone("the primary is gone"));
    assert!(promotion.changed, "{promotion:#?}");
    scene.pair.primary = 1 - scene.pair.primary;
    scene.pair.primary().expect(Condition::Serving);
    scene.pair.replica().start();
    scene.close();
}

struct Place<'a> {
    file: &'a Path,
    /// Of the batch: the unit that fails to verify.
    offset: u64,
    lsn: Lsn,
}

impl Place<'_> {
    /// File, offset and lsn are named.
    fn expect_in(&self, text: &str) {
        let name = self
            .file
            .file_name()
            .expect("a file")
            .to_str()
            .expect("plain");
        assert!(text.contains(name), "{name} is not named: {text}");
        for number in [self.offset, self.lsn.get()] {
            assert!(
                text.contains(&number.to_string()),
                "{number} is not named: {text}"
            );
        }
    }
}

fn expect_no_quarantine(dir: &Path) {
    let kept = files(dir, "quarantine", "");
    assert!(kept.is_empty(), "nothing was cut: {kept:?}");
}
