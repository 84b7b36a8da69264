//! The auxiliary takes over.

use std::time::Duration;

use kanjo_client::TransferBody;
use kanjo_node::admin::{Answer, Command, Condition, PromoteOptions};

use crate::Scene;
use crate::harness::book::{block_on, client_config, connect};
use crate::harness::damage::{raw_batches, zero};
use crate::harness::pair::{PairOptions, SEGMENT_BYTES, alone};
use crate::harness::program::{kanjo, said};
use crate::harness::{LoadOptions, PATIENCE, Pair, report};

#[test]
fn a_promotion_under_load_loses_nothing_and_posts_each_id_once() {
    let mut scene =
        Scene::open("promotion::a_promotion_under_load_loses_nothing_and_posts_each_id_once");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(1_000);
    scene.pair.primary().kill();
    let at_kill = load.counts().in_flight;
    scene.pair.promote_alone();
    load.wait_answers(500);
    let degraded = scene.pair.primary().status();
    assert_eq!(degraded.protection, "DEGRADED", "{degraded:#?}");
    assert!(
        degraded.unprotected.count > 0,
        "what is answered alone is counted: {degraded:#?}"
    );
    scene.pair.replica().start();
    scene.pair.expect_protected();
    load.wait_answers(200);
    let counts = load.finish();
    assert!(
        counts.unknown > 0,
        "the kill met no request in flight: {at_kill} {counts:#?}"
    );
    let unknown = scene.book.unknown_count();
    let resolution = scene.book.resolve_unknown(&scene.addresses);
    assert_eq!(
        resolution.existed + resolution.created + resolution.rejected,
        unknown,
        "{resolution:?}"
    );
    report::line(
        "note",
        &format!("promotion under load: {unknown} with unknown outcome, {resolution:?}"),
    );
    scene.close();
}

#[test]
fn a_living_old_primary_is_fenced_by_a_promotion_and_follows() {
    let mut scene =
        Scene::open("promotion::a_living_old_primary_is_fenced_by_a_promotion_and_follows");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(500);
    scene.pair.promote_alone();
    scene.pair.replica().expect(Condition::Replica);
    scene.pair.expect_protected();
    load.wait_answers(500);
    load.finish();
    scene.close();
}

#[test]
fn a_primary_that_slept_through_a_promotion_answers_nobody() {
    let mut scene =
        Scene::open("promotion::a_primary_that_slept_through_a_promotion_answers_nobody");
    scene.post(100, 10);
    let old_address = [scene.pair.primary().config.client_listen.clone()];
    // A connection from before, on which the old primary could still answer.
    let postings = scene.book.draw_many(1, &mut scene.random);
    block_on(async {
        let client = connect(&old_address).await;
        scene.pair.primary().stop();
        scene.pair.promote_alone();
        scene
            .book
            .post(
                &connect(&scene.addresses).await,
                &scene.book.draw_many(50, &mut scene.random),
            )
            .await;
        scene.pair.replica().cont();
        let bodies: Vec<TransferBody> = postings.iter().map(|posting| posting.body()).collect();
        let posted = client
            .create_transfers_within(&bodies, Duration::from_secs(2))
            .await;
        match posted {
            // The old primary named the new one and the client went there.
            Ok(results) => scene.book.answered(&postings, &results, false),
            Err(error) if error.outcome_unknown() => scene.book.unknown(&postings),
            Err(_) => scene.book.not_done(&postings),
        }
    });
    scene.pair.replica().expect(Condition::Replica);
    scene.close();
}

#[test]
fn a_client_follows_the_primary_over_a_promotion() {
    let mut scene = Scene::open("promotion::a_client_follows_the_primary_over_a_promotion");
    let (old, new) = (scene.pair.primary, 1 - scene.pair.primary);
    block_on(async {
        let mut config = client_config(&scene.addresses);
        config.deadline = Duration::from_secs(2);
        let client = kanjo_client::Client::connect(config)
            .await
            .expect("a primary is found");
        let before = client.primary().expect("connected");
        assert_eq!(before.address, scene.pair.nodes[old].config.client_listen);
        for round in 0..30 {
            if round == 10 {
                let admin = scene.pair.replica().config.admin_listen.clone();
                let output = kanjo(&[
                    "promote", "--admin", &admin, "--alone", "--reason", "a drill",
                ]);
                assert!(output.status.success(), "{}", said(&output));
                scene.pair.primary = new;
            }
            let postings = scene.book.draw_many(3, &mut scene.random);
            let bodies: Vec<TransferBody> = postings.iter().map(|posting| posting.body()).collect();
            let resolved = client
                .create_transfers_resolved(&bodies, PATIENCE)
                .await
                .expect("an answer comes");
            let results: Vec<_> = resolved.iter().map(|one| one.result).collect();
            scene
                .book
                .answered(&postings, &results, resolved[0].repeated);
        }
        let after = client.primary().expect("connected");
        assert_eq!(after.address, scene.pair.nodes[new].config.client_listen);
        assert!(after.epoch > before.epoch);
    });
    scene.close();
}

#[test]
fn promoting_a_primary_changes_nothing_and_says_so() {
    let mut scene = Scene::open("promotion::promoting_a_primary_changes_nothing_and_says_so");
    scene.post(20, 5);
    let before = scene.pair.primary().status();
    match scene
        .pair
        .primary()
        .ask(&Command::Promote(alone("by mistake")))
    {
        Answer::Promotion(promotion) => assert!(!promotion.changed, "{promotion:#?}"),
        Answer::Refused { message } => assert!(message.contains("primary"), "{message}"),
        other => panic!("{other:#?}"),
    }
    let admin = scene.pair.primary().config.admin_listen.clone();
    let output = kanjo(&[
        "promote",
        "--admin",
        &admin,
        "--alone",
        "--reason",
        "by mistake",
    ]);
    assert!(said(&output).contains("already"), "{}", said(&output));
    let after = scene.pair.primary().expect(Condition::Idle);
    assert_eq!(
        (after.epoch, after.protection),
        (before.epoch, before.protection)
    );
    scene.close();
}

#[test]
fn a_promotion_without_a_reason_or_of_a_directory_in_use_is_refused() {
    let mut scene =
        Scene::open("promotion::a_promotion_without_a_reason_or_of_a_directory_in_use_is_refused");
    scene.post(20, 5);
    let message = scene.pair.replica().promote_refused(alone(" "));
    assert!(message.contains("reason"), "{message}");
    for i in 0..2 {
        let dir = scene.pair.nodes[i]
            .data_dir()
            .to_str()
            .expect("a plain path")
            .to_owned();
        let output = kanjo(&[
            "promote",
            "--dir",
            &dir,
            "--alone",
            "--reason",
            "by mistake",
        ]);
        assert!(!output.status.success(), "{}", said(&output));
        let pid = scene.pair.nodes[i].pid().as_raw_nonzero().to_string();
        assert!(
            said(&output).contains("in use") && said(&output).contains(&pid),
            "{}",
            said(&output)
        );
    }
    scene.close();
}

#[test]
fn a_replica_without_the_mark_is_promoted_only_with_words_that_say_so() {
    // Never met its primary: nobody ever waited for it.
    let mut pair = Pair::format("unmarked", PairOptions::default());
    pair.nodes[1].start();
    let message = pair.nodes[1].promote_refused(alone("nobody else is there"));
    assert!(message.contains("in-sync"), "{message}");
    pair.nodes[1].shut_down();
    let dir = pair.nodes[1]
        .data_dir()
        .to_str()
        .expect("a plain path")
        .to_owned();
    let words = [
        "promote",
        "--dir",
        &dir,
        "--alone",
        "--reason",
        "nobody else is there",
    ];
    let output = kanjo(&words);
    assert!(
        !output.status.success() && said(&output).contains("in-sync"),
        "{}",
        said(&output)
    );
    pair.nodes[1].start();
    let options = PromoteOptions {
        accept_missing_transfers: true,
        ..alone("nobody else is there")
    };
    let promotion = pair.nodes[1].promote(options);
    assert!(
        promotion.changed && !promotion.may_be_missing.is_empty(),
        "{promotion:#?}"
    );
    pair.nodes[1].expect(Condition::Serving);
}

#[test]
fn a_stopped_directory_is_promoted_and_serves_what_was_answered() {
    let mut scene =
        Scene::open("promotion::a_stopped_directory_is_promoted_and_serves_what_was_answered");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(300);
    scene.pair.primary().kill();
    scene.pair.replica().shut_down();
    let dir = scene
        .pair
        .replica()
        .data_dir()
        .to_str()
        .expect("a plain path")
        .to_owned();
    let words = [
        "promote",
        "--dir",
        &dir,
        "--alone",
        "--reason",
        "the primary burned",
    ];
    let output = kanjo(&words);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    for part in ["epoch", "lsn", "digest"] {
        assert!(text.to_lowercase().contains(part), "it says {part}: {text}");
    }
    let again = kanjo(&words);
    assert!(said(&again).contains("already"), "{}", said(&again));
    scene.pair.primary = 1 - scene.pair.primary;
    scene.pair.primary().start();
    scene.pair.primary().expect(Condition::Serving);
    load.wait_answers(100);
    scene.pair.replica().start();
    load.finish();
    scene.close();
}

#[test]
fn a_replica_that_lost_its_unsynced_end_is_promoted_only_with_words_that_say_so() {
    let mut scene = Scene::open(
        "promotion::a_replica_that_lost_its_unsynced_end_is_promoted_only_with_words_that_say_so",
    );
    let dir = scene.pair.replica().data_dir().to_owned();
    let load = scene.load(LoadOptions::default());
    // Above its mark: the mark is written once a second, the kill comes between two.
    let torn = loop {
        load.wait_answers(400);
        scene.pair.replica().kill();
        let mark = kanjo_wal::DataDir::inspect(&dir)
            .expect("a control file")
            .durable
            .lsn;
        let confirmed = kanjo_wal::DataDir::inspect(&dir)
            .expect("a control file")
            .confirmed;
        let last = raw_batches(&dir).pop().expect("batches in the log");
        if last.header.lsn() >= mark.max(confirmed) && last.header.payload_bytes() > 0 {
            break last;
        }
        scene.pair.replica().start();
        scene.pair.expect_protected();
    };
    scene.pair.primary().kill();
    // The whole batch never reached the disk, as after a power cut of this node.
    zero(&torn.file, torn.offset, torn.bytes as usize);
    // Bytes behind it did, so that the end is known to be torn.
    let behind = torn.offset + torn.bytes.next_multiple_of(4096);
    let segment_end = 4096 + SEGMENT_BYTES;
    let text = b"written later, kept by chance";
    if behind + 4096 <= segment_end {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&torn.file)
            .expect("the segment");
        file.write_all_at(text, behind + 512)
            .expect("bytes can be written");
    }
    let path = dir.to_str().expect("a plain path");
    let words = [
        "promote",
        "--dir",
        path,
        "--alone",
        "--reason",
        "both lost power",
    ];
    let output = kanjo(&words);
    assert!(
        !output.status.success() && said(&output).contains("uncertain"),
        "{}",
        said(&output)
    );
    let forced = [&words[..], &["--accept-uncertain-tail"]].concat();
    let output = kanjo(&forced);
    assert!(
        output.status.success() && said(&output).contains("uncertain"),
        "{}",
        said(&output)
    );
    load.ask_to_stop();
}
