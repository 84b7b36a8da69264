//! In the active site the standby follows the primary; in the auxiliary site every server of the
//! in-sync set has every commit on its disk before the client is answered.

use std::time::Instant;

use kanjo_format::Site;

use crate::Scene;
use crate::harness::clouds::CloudOptions;
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S3, S4};
use crate::harness::registers::peer;
use crate::harness::{Load, report};
use crate::scene::expect_quiet;

#[test]
fn the_standby_follows_and_every_member_has_it_before_the_answer() {
    let name = "members::the_standby_follows_and_every_member_has_it_before_the_answer";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let primary = scene.cloud.expect_primary();
    let standby = primary.neighbour();
    let load = scene.load();
    let mut followed = 0;
    for _ in 0..40 {
        load.wait_requests(10);
        // What is committed is asked for first: the disks can only have more by then.
        let committed = scene.cloud.expect(primary, "lives", |_| true).committed_lsn;
        for member in Part::servers_of(Site::Two) {
            let durable = scene.cloud.expect(member, "lives", |_| true).durable_lsn;
            assert!(
                durable >= committed,
                "answered through {committed}, but {member} has it only through {durable}"
            );
        }
        let has = scene.cloud.expect(standby, "lives", |_| true).applied_lsn;
        assert!(has >= followed, "the standby goes on");
        followed = has;
    }
    load.finish();
    let status = scene.cloud.expect_equal_digests();
    assert!(status.committed_lsn >= followed && followed > 0);
    scene.close();
}

/// How a member of the set falls silent.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// Batches come, but nobody hears its acks.
    AcksLost,
    /// It says that it lives, but gets no batch.
    BatchesLost,
    Stopped,
    Killed,
}

#[test]
fn nothing_is_answered_until_a_silent_member_is_out_of_the_set_and_then_it_goes_on() {
    let name =
        "members::nothing_is_answered_until_a_silent_member_is_out_of_the_set_and_then_it_goes_on";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    let silences = [
        Silence::AcksLost,
        Silence::BatchesLost,
        Silence::Stopped,
        Silence::Killed,
    ];
    for (round, silence) in silences.into_iter().enumerate() {
        let member = [S4, S3][round % 2];
        load.wait_requests(100);
        let primary = scene.cloud.expect_primary();
        let begun = Instant::now();
        begin(&mut scene, silence, primary, member);
        expect_no_answer_without(&mut scene, &load, primary, member);
        let out = begun.elapsed();
        load.wait_requests(100);
        let goes_on = begun.elapsed();
        expect_shown_as_out(&mut scene, primary, member);
        match silence {
            Silence::AcksLost | Silence::BatchesLost => scene.cloud.heal(),
            Silence::Stopped => scene.cloud.undo(member, Fault::Stop),
            Silence::Killed => scene.cloud.undo(member, Fault::Kill),
        }
        scene.cloud.expect_set(&Part::servers_of(Site::Two));
        scene.cloud.expect_protected();
        report::line(
            "note",
            &format!(
                "{member} {silence:?}: out of the set after {} ms, answers after {} ms, in again after {} ms",
                out.as_millis(),
                goes_on.as_millis(),
                begun.elapsed().as_millis()
            ),
        );
    }
    load.finish();
    scene.close();
}

fn begin(scene: &mut Scene, silence: Silence, primary: Part, member: Part) {
    match silence {
        Silence::AcksLost => scene.cloud.cut_one_way(&[member], &[primary]),
        Silence::BatchesLost => scene.cloud.cut_one_way(&[primary], &[member]),
        Silence::Stopped => scene.cloud.hit(member, Fault::Stop),
        Silence::Killed => scene.cloud.hit(member, Fault::Kill),
    }
}

/// As long as the writer says that every commit waits for the member, none passes its last ack.
fn expect_no_answer_without(scene: &mut Scene, load: &Load, primary: Part, member: Part) {
    let mut seen = None;
    scene.cloud.look(
        &format!("{member} is dropped from the set"),
        crate::harness::PATIENCE,
        |cloud| {
            let answered = load.counts().answered;
            let status = cloud.status(primary)?;
            let silent = peer(&status, member)?;
            if !silent.member {
                return Some(());
            }
            assert!(
                status.committed_lsn <= silent.acked_lsn,
                "committed through {}, but {member}, which every commit waits for, acked only {}",
                status.committed_lsn,
                silent.acked_lsn
            );
            // Its acks are lost, so what it acked stands still, and with it the answers.
            if let Some((acked, before)) = seen
                && acked == silent.acked_lsn
                && answered != before
            {
                let more = answered - before;
                assert!(more <= IN_FLIGHT, "{more} answers without {member}");
            }
            seen.get_or_insert((silent.acked_lsn, answered));
            None
        },
    );
}

/// Most transfers that were committed, but not yet counted, when acks stopped: eight workers with
/// a large request each.
const IN_FLIGHT: u64 = 8 * 400;

/// Nobody says any more that this member has everything: the writer at once, itself as soon as
/// it hears.
fn expect_shown_as_out(scene: &mut Scene, primary: Part, member: Part) {
    let status = scene.cloud.status(primary).expect("the writer lives");
    let member_still = peer(&status, member).is_some_and(|peer| peer.member);
    assert!(!member_still, "{status:#?}");
    assert!(
        !scene.cloud.set().contains(&member),
        "the register still names {member}"
    );
    if scene.cloud.status(member).is_some() {
        scene
            .cloud
            .expect(member, "knows that it is out", |status| !status.in_sync);
    }
}

#[test]
fn without_any_member_nothing_is_answered_and_the_writer_does_not_quietly_go_alone() {
    let name =
        "members::without_any_member_nothing_is_answered_and_the_writer_does_not_quietly_go_alone";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    scene.cloud.hit(S3, Fault::Kill);
    scene.cloud.hit(S4, Fault::Kill);
    let answered = expect_quiet(&load);
    // Long past every time-out of the cluster file.
    assert!(
        !load.answers_within(1, std::time::Duration::from_secs(3)),
        "answered without the auxiliary site"
    );
    let status = scene.cloud.status(primary).expect("the writer lives");
    assert_ne!(status.protection, "DEGRADED", "{status:#?}");
    assert!(
        status.committed_lsn < status.tail_lsn || !status.serving,
        "{status:#?}"
    );
    assert!(
        !scene.cloud.set().is_empty(),
        "the last member stays in the set"
    );
    for server in [S3, S4] {
        scene.cloud.undo(server, Fault::Kill);
    }
    load.wait_requests(100);
    assert!(load.counts().answered > answered);
    load.finish();
    scene.close();
}

#[test]
fn with_fewer_members_than_set_size_min_nothing_is_answered_and_the_words_say_so() {
    let name =
        "members::with_fewer_members_than_set_size_min_nothing_is_answered_and_the_words_say_so";
    let options = CloudOptions {
        set_size_min: Some(2),
        ..CloudOptions::default()
    };
    let Some(mut scene) = Scene::open_with(name, options) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    scene.cloud.hit(S4, Fault::Kill);
    expect_quiet(&load);
    // Long past the time after which one of two members is dropped by a set of one.
    assert!(
        !load.answers_within(1, std::time::Duration::from_secs(3)),
        "answered with one member"
    );
    expect_kept_by_size(&mut scene, primary);
    let both = Part::servers_of(Site::Two);
    scene.cloud.expect_set(&both);

    // Nor in the next epoch, which is opened with the one that is left.
    scene.cloud.hit(primary, Fault::Kill);
    let next = primary.neighbour();
    expect_kept_by_size(&mut scene, next);
    assert!(
        !load.answers_within(1, std::time::Duration::from_secs(1)),
        "answered with one member"
    );
    scene.cloud.undo(S4, Fault::Kill);
    load.wait_requests(100);
    scene.cloud.expect_set(&both);
    scene.cloud.undo(primary, Fault::Kill);
    load.finish();
    scene.close();
}

fn expect_kept_by_size(scene: &mut Scene, primary: Part) {
    scene
        .cloud
        .expect(primary, "says why nothing is answered", |status| {
            status.role == "primary"
                && !status.serving
                && status.why_not_serving.contains("set_size_min")
        });
}
