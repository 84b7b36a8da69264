//! Power cuts: the disks keep what was synced and nothing else.
//!
//! A SIGKILL leaves the page cache; here it goes too. Both data directories lie on one small file
//! system, whose image is taken at the moment of the kill, before anything else is written to it.

use std::sync::Arc;
use std::time::Instant;

use kanjo_node::admin::PromoteOptions;

use crate::harness::damage::raw_batches;
use crate::harness::disk::SmallDisk;
use crate::harness::pair::{PairOptions, alone};
use crate::harness::{Book, Load, LoadOptions, Pair, Random, report};

/// Power cuts of each test.
const CUTS: u64 = 8;

#[test]
fn answered_transfers_survive_a_power_cut_of_both_sites_at_once() {
    let name = "power::answered_transfers_survive_a_power_cut_of_both_sites_at_once";
    cut_power(name, [true, true]);
}

#[test]
fn answered_transfers_survive_a_power_cut_of_the_primary() {
    let name = "power::answered_transfers_survive_a_power_cut_of_the_primary";
    cut_power(name, [true, false]);
}

#[test]
fn answered_transfers_survive_a_power_cut_of_the_replica() {
    let name = "power::answered_transfers_survive_a_power_cut_of_the_replica";
    cut_power(name, [false, true]);
}

/// `on_disk`: whose data lie on the disk that loses power.
fn cut_power(name: &str, on_disk: [bool; 2]) {
    let disk = match SmallDisk::mount(192) {
        Ok(disk) => disk,
        Err(why) => return report::skipped(name, &why),
    };
    let begun = Instant::now();
    let mut random = Random::seeded("crash", name);
    let [first_dir, second_dir] =
        [0, 1].map(|i| on_disk[i].then(|| disk.path().join(format!("node-{}", i + 1))));
    let options = PairOptions {
        first_dir,
        second_dir,
        ..PairOptions::default()
    };
    let mut pair = Pair::start_with("power", options);
    let addresses = pair.client_addresses();
    let book = Arc::new(Book::open(&addresses, pair.folder(), &mut random));
    let (mut met_in_flight, mut answered, mut lost_batches, mut promotions) = (0, 0, 0, 0);
    for _ in 0..CUTS {
        let load = Load::start(
            &book,
            addresses.clone(),
            LoadOptions::default(),
            random.fork(),
        );
        load.wait_answers(1_000 + random.below(400));
        crate::wait_for_a_random_moment(&mut random);
        let victims: Vec<usize> = (0..2).filter(|&i| on_disk[i]).collect();
        for &i in &victims {
            pair.nodes[i].kill();
        }
        let before = batches_of(&pair, &victims);
        disk.cut_power();
        lost_batches += before.saturating_sub(batches_of(&pair, &victims));
        met_in_flight += u64::from(load.counts().in_flight > 0);
        if victims.len() == 2 && random.chance(50) {
            promotions += 1;
            promote_what_is_left(&mut pair);
        }
        for &i in &victims {
            if !pair.nodes[i].is_running() {
                pair.nodes[i].spawn();
            }
        }
        load.wait_answers(50);
        answered += load.finish().answered;
        pair.expect_protected();
        book.resolve_unknown(&addresses);
        book.check(&addresses);
    }
    let posted = book.check_from_the_start(&addresses);
    let status = pair.expect_equal_digests();
    assert_eq!(
        status.transfers, posted,
        "every posting was answered once, and only those"
    );
    pair.shut_down_and_verify();
    assert!(met_in_flight > 0, "no cut met a request in flight");
    let seconds = begun.elapsed().as_secs_f64();
    report::line(
        "rounds",
        &format!(
            "{name}: {CUTS} power cuts, {met_in_flight} of them met requests in flight, {promotions} promotions, {lost_batches} batches \
             were written but not synced and are gone; \
             {answered} transfers answered, {posted} posted, 0 lost, {seconds:.1} s"
        ),
    );
    drop(pair);
    drop(disk);
}

/// The replica takes over after it lost power itself: what it acked must be on its disk. An end
/// that was torn above that makes it uncertain, which an operator has to accept.
fn promote_what_is_left(pair: &mut Pair) {
    pair.replica().start();
    let options = PromoteOptions {
        accept_uncertain_tail: true,
        ..alone("both lost power, one is back")
    };
    let promotion = pair.replica().promote(options);
    assert!(promotion.changed, "{promotion:#?}");
    pair.primary = 1 - pair.primary;
}

/// Batches that can be read in the raw segments of these nodes.
fn batches_of(pair: &Pair, nodes: &[usize]) -> usize {
    nodes
        .iter()
        .map(|&i| raw_batches(pair.nodes[i].data_dir()).len())
        .sum()
}
