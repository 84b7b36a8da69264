//! An old primary comes back with a log that nobody else has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_node::admin::{Condition, PromoteOptions};

use crate::Scene;
use crate::harness::damage::{files, raw_batches};
use crate::harness::pair::{PairOptions, alone};
use crate::harness::posting::Posting;
use crate::harness::program::{kanjo, said};
use crate::harness::{Book, LoadOptions, Node, PATIENCE};

/// Requests that end soon where nothing is acked.
const IMPATIENT: LoadOptions = LoadOptions {
    workers: 8,
    deadline: Duration::from_millis(400),
    resolve: false,
    pause: Duration::ZERO,
};

#[test]
fn an_unshipped_tail_lies_in_quarantine_and_its_node_follows() {
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(
        "rejoin::an_unshipped_tail_lies_in_quarantine_and_its_node_follows",
        options,
    );
    scene.post(300, 10);
    let old = scene.pair.primary;
    let unknown = append_unshipped(&mut scene);
    scene.pair.promote_alone();
    restore_links(&scene);
    let sure = unknown.iter().filter(|posting| !posting.may_be_rejected());
    let ids: Vec<u128> = sure.map(|posting| posting.id).collect();
    let survived = Book::posted_among(&scene.addresses, &ids);
    let lost: Vec<u128> = ids
        .iter()
        .copied()
        .filter(|id| !survived.contains(id))
        .collect();
    assert!(
        !lost.is_empty(),
        "the tail of the old primary was to be its own"
    );
    // What was in doubt is posted again before the old primary returns.
    scene.book.resolve_unknown(&scene.addresses);
    scene.post(100, 10);
    scene.pair.nodes[old].start();
    scene.settle();

    let dir = scene.pair.nodes[old].data_dir().to_owned();
    let reports = files(&dir, "quarantine", ".txt");
    let told: String = reports
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a readable report"))
        .collect();
    for id in &lost {
        assert!(
            told.contains(&id.to_string()),
            "transfer {id} is not in the report:\n{told}"
        );
    }
    assert!(told.contains("was posted again"), "{told}");
    let kept: u64 = files(&dir, "quarantine", ".log")
        .iter()
        .map(|path| path.metadata().expect("kept").len())
        .sum();
    assert!(kept >= 4096, "the bytes that were cut are kept: {kept}");
    scene.close();
}

#[test]
fn a_tail_that_was_answered_alone_and_unfenced_is_not_cut_without_an_operator() {
    let test = "rejoin::a_tail_that_was_answered_alone_and_unfenced_is_not_cut_without_an_operator";
    let (mut scene, old) = two_histories(test);
    // The operator decides for this log after all, with words that say what goes.
    let first = [scene.pair.nodes[old].config.client_listen.clone()];
    let node = &mut scene.pair.nodes[old];
    node.start();
    let message = node.promote_refused(alone("this log counts"));
    assert!(message.contains("parted"), "{message}");
    scene.pair.nodes[1 - old].kill();
    let node = &mut scene.pair.nodes[old];
    let options = PromoteOptions {
        accept_missing_transfers: true,
        ..alone("this log counts")
    };
    let promotion = node.promote(options);
    assert!(
        promotion.changed && !promotion.may_be_missing.is_empty(),
        "{promotion:#?}"
    );
    node.expect(Condition::Serving);
    scene.book.check_from_the_start(&first);
}

/// The operator decides for the primary's log: the other directory gives way, whole.
#[test]
fn a_directory_that_gives_way_is_kept_and_its_node_is_seeded_anew() {
    let test = "rejoin::a_directory_that_gives_way_is_kept_and_its_node_is_seeded_anew";
    let (mut scene, old) = two_histories(test);
    let dir = scene.pair.nodes[old].data_dir().to_owned();
    let before = raw_batches(&dir).len();
    let text = dir.to_str().expect("a plain path");
    let rejoin = [
        "rejoin",
        "--dir",
        text,
        "--reason",
        "the primary's counts",
        "--json",
    ];
    let output = kanjo(&rejoin);
    assert!(output.status.success(), "{}", said(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kept = PathBuf::from(told["kept"].as_str().expect("a path"));
    assert_eq!(raw_batches(&kept).len(), before, "nothing of it is lost");
    let why = std::fs::read_to_string(kept.join("given-up.json")).expect("the reason is kept");
    assert!(why.contains("the primary's counts"), "{why}");
    // The kept one is not given up once more, by mistake.
    let kept_text = kept.to_str().expect("a plain path");
    let output = kanjo(&["rejoin", "--dir", kept_text, "--reason", "once more"]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("gave way before"),
        "{}",
        said(&output)
    );
    scene.pair.nodes[old].start();
    scene.pair.primary = 1 - old;
    let equal = scene.pair.expect_equal_digests();
    assert_eq!(equal.protection, "PROTECTED");
    // A second time there is nothing to decide.
    scene.pair.nodes[old].shut_down();
    let output = kanjo(&rejoin);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("nothing is left to decide"),
        "{}",
        said(&output)
    );
}

/// A primary went on alone and unfenced and answered; the other node was promoted without that.
/// Gives which one waits for an operator now; it does not run.
fn two_histories(test: &str) -> (Scene, usize) {
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(test, options);
    scene.post(100, 10);
    let old = scene.pair.primary;
    cut_links(&scene);
    scene
        .pair
        .primary()
        .go_alone("the other cloud is unreachable", true);
    let status = scene.pair.primary().expect(Condition::Serving);
    assert_eq!(status.protection, "DEGRADED");
    // These are answered, by one disk.
    let only_here = Arc::clone(&scene.book);
    let first = [scene.pair.primary().config.client_listen.clone()];
    only_here.post_random(&first, 50, 5, &mut scene.random);
    scene.pair.primary().kill();
    // The other side knows nothing of it and takes over: two histories.
    scene.pair.promote_alone();
    restore_links(&scene);
    let dir = scene.pair.nodes[old].data_dir().to_owned();
    let before = raw_batches(&dir).len();
    for _ in 0..2 {
        expect_a_call_for_an_operator(&mut scene.pair.nodes[old]);
        let after = raw_batches(&dir).len();
        assert!(
            after >= before,
            "nothing was cut: {before} batches before, {after} after"
        );
    }
    (scene, old)
}

/// The node refuses to go on, by ending or by standing aside, and says what it waits for.
fn expect_a_call_for_an_operator(node: &mut Node) {
    let before = node.log().len();
    node.spawn();
    let until = Instant::now() + PATIENCE;
    let mut says = String::new();
    while node.wait_within(Duration::from_millis(20)).is_none() {
        if node.is_running() {
            says = node.status().why_not_serving;
        }
        if says.contains("decision") {
            node.kill();
            break;
        }
        assert!(
            Instant::now() < until,
            "it neither ends nor waits for a decision\n{}",
            node.last_words()
        );
    }
    let text = node.log().split_off(before) + &says;
    assert!(
        text.contains("operator") || text.contains("decision"),
        "{text}"
    );
}

/// The replica stands still, its link delivers nothing, the primary appends what it never
/// answers and is killed. Then the replica goes on, without a byte of it. Gives transfers that
/// were surely appended: the primary was given up on long after they were sent.
fn append_unshipped(scene: &mut Scene) -> Vec<Posting> {
    let links = scene.pair.links.as_ref().expect("a linked pair");
    for link in links {
        link.hold();
    }
    scene.pair.replica().stop();
    let before = scene.pair.primary().status();
    let load = scene.load(IMPATIENT);
    load.wait_until("unknown outcomes", |counts| counts.unknown >= 40);
    let appended = scene.book.unknown_postings();
    let ahead = scene
        .pair
        .primary()
        .expect_that("synced a tail of its own", |status| {
            status.durable_lsn > before.tail_lsn
        });
    assert_eq!(
        ahead.committed_lsn, before.committed_lsn,
        "nothing commits without the auxiliary"
    );
    scene.pair.primary().kill();
    cut_links(scene);
    let counts = load.finish();
    assert_eq!(counts.answered, 0, "nothing was answered: {counts:#?}");
    scene.pair.replica().cont();
    appended
}

fn cut_links(scene: &Scene) {
    for link in scene.pair.links.as_ref().expect("a linked pair") {
        link.cut();
    }
}

fn restore_links(scene: &Scene) {
    for link in scene.pair.links.as_ref().expect("a linked pair") {
        link.restore();
    }
}
