//! A witness in a third site: either site goes on without the other one by itself, and never both.

use std::time::{Duration, Instant};

use kanjo_format::Site;
use kanjo_group::VoterSeen;
use kanjo_node::AutoFailover;
use kanjo_node::admin::{
    Answer, Command, FailoverOptions, OperatorWord, ProtectMode, ProtectOptions,
};
use kanjo_node::status::Status;

use crate::Scene;
use crate::alone::degraded;
use crate::harness::PATIENCE;
use crate::harness::clouds::CloudOptions;
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, S1, S2, S3, S4, T21, W11};
use crate::harness::program::{kanjo, said};
use crate::harness::report;
use crate::scene::expect_quiet;

/// What is not to happen does not happen within this time.
const LONG: Duration = Duration::from_secs(5);

fn open(name: &str) -> Option<Scene> {
    let options = CloudOptions {
        auto_failover: AutoFailover::Both,
        third_witness: true,
        ..CloudOptions::default()
    };
    Scene::open_with(name, options)
}

fn one_site_only(status: &Status) -> bool {
    status.role == "primary" && status.serving && status.protection == "ONE SITE ONLY"
}

#[test]
fn a_cut_between_the_sites_leaves_the_active_one_processing_and_the_other_one_not() {
    let name =
        "third::a_cut_between_the_sites_leaves_the_active_one_processing_and_the_other_one_not";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let begun = Instant::now();
    scene.cloud.cut_sites();
    expect_quiet(&load);
    scene.cloud.look("site 1 goes on", PATIENCE, |cloud| {
        let [first, second] = [S1, S2].map(|server| cloud.status(server));
        let alone = [first, second]
            .into_iter()
            .flatten()
            .any(|s| one_site_only(&s));
        alone.then_some(())
    });
    load.wait_requests(50);
    let took = begun.elapsed().as_millis();
    report::line("note", &format!("a cut link: answers {took} ms after it"));
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        for server in [S3, S4] {
            let status = scene.cloud.status(server).expect("it runs");
            assert_ne!(status.role, "primary", "{status:#?}");
        }
        load.wait_requests(1);
    }
    scene.cloud.heal();
    assert_eq!(scene.cloud.expect_protected().site(), Site::One);
    load.finish();
    scene.close();
}

/// The other server is chosen to process in its place, and loses the link as well: the register
/// carries out no seizure of the former, and the latter cannot open. The auxiliary site takes over.
#[test]
fn a_link_that_one_server_loses_before_the_other_leaves_one_site_processing() {
    let name = "third::a_link_that_one_server_loses_before_the_other_leaves_one_site_processing";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    // Who has just begun to hear the other site is chosen by nobody for that.
    scene
        .cloud
        .look("both hear site 2 for a while", PATIENCE, |cloud| {
            let own = cloud.status(primary)?.group?.own?;
            let beats = own.servers.iter().map(|seen| seen.beat.other_heard_for_ms);
            (beats.filter(|ms| *ms >= 3_000).count() == 2).then_some(())
        });
    let begun = Instant::now();
    scene.cloud.cut(&[primary], &Part::all_of(Site::Two));
    // What is tested is that one loses it so much before the other.
    std::thread::sleep(Duration::from_millis(1_200));
    scene.cloud.cut_sites();
    expect_quiet(&load);
    load.wait_requests(50);
    let (took, now) = (begun.elapsed().as_millis(), scene.cloud.expect_primary());
    let text = format!("a link lost in steps: {now} answers {took} ms after it, {primary} before");
    report::line("note", &text);
    scene.cloud.heal();
    scene.cloud.expect_protected();
    load.finish();
    scene.close();
}

#[test]
fn each_site_goes_on_by_itself_without_the_other_one() {
    let name = "third::each_site_goes_on_by_itself_without_the_other_one";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    for (lost, stays) in [
        (Site::Two, Site::One),
        (Site::One, Site::Two),
        // By now site 2 is the active one.
        (Site::One, Site::Two),
    ] {
        let begun = Instant::now();
        for part in Part::all_of(lost) {
            scene.cloud.hit(part, Fault::Kill);
        }
        expect_quiet(&load);
        scene.cloud.expect_primary_in(stays);
        load.wait_requests(50);
        let took = begun.elapsed().as_millis();
        report::line(
            "note",
            &format!("site {lost} lost: site {stays} answers {took} ms after it"),
        );
        for part in Part::all_of(lost) {
            scene.cloud.undo(part, Fault::Kill);
        }
        assert_eq!(scene.cloud.expect_protected().site(), stays);
    }
    load.finish();
    scene.close();
}

#[test]
fn a_witness_that_was_away_for_an_opening_is_told_of_the_epoch_when_it_is_back() {
    let name = "third::a_witness_that_was_away_for_an_opening_is_told_of_the_epoch_when_it_is_back";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    scene.cloud.hit(T21, Fault::Kill);
    let first = scene.cloud.expect_primary();
    scene.cloud.hit(first, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(first, Fault::Kill);
    scene.cloud.expect_protected();
    scene.cloud.undo(T21, Fault::Kill);
    // No word is needed for what it knows; the link is cut only then.
    scene.cloud.look("it knows the epoch", PATIENCE, |cloud| {
        let primary = cloud.writers().first().copied()?;
        let group = cloud.status(primary)?.group?;
        let reports = group.own.into_iter().chain(group.other);
        let holder = reports
            .map(|report| report.register)
            .find(|r| r.holds_authority());
        (holder?.reign.third? == group.third?.mark).then_some(())
    });
    scene.cloud.expect_protected();
    scene.cloud.cut_sites();
    expect_quiet(&load);
    load.wait_requests(50);
    scene.cloud.heal();
    scene.cloud.expect_protected();
    load.finish();
    scene.close();
}

#[test]
fn a_server_that_is_all_that_is_left_answers_by_an_operators_word_only() {
    let name = "third::a_server_that_is_all_that_is_left_answers_by_an_operators_word_only";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let primary = scene.cloud.expect_primary();
    let lost: Vec<Part> = Part::all_of(Site::Two)
        .into_iter()
        .chain([primary.neighbour()])
        .collect();
    for part in &lost {
        scene.cloud.hit(*part, Fault::Kill);
    }
    expect_quiet(&load);
    // Its site has the authority by itself, and there is nobody who follows.
    scene
        .cloud
        .expect(primary, "waits for its standby", |status| {
            let group = status.group.as_ref();
            let own = group.and_then(|group| group.own.as_ref());
            status.role == "primary" && own.is_some_and(|own| own.register.holds_authority())
        });
    assert!(!load.answers_within(1, Duration::from_secs(2)), "one disk");
    let answer = scene.cloud.ask(primary, &degraded(false), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    load.wait_requests(50);
    for part in lost {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::One);
    load.finish();
    scene.close();
}

#[test]
fn an_operator_takes_over_although_site_and_third_witness_are_gone_for_good() {
    let name = "third::an_operator_takes_over_although_site_and_third_witness_are_gone_for_good";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let lost: Vec<Part> = Part::all_of(Site::One).into_iter().chain([T21]).collect();
    for part in &lost {
        scene.cloud.hit(*part, Fault::Kill);
    }
    expect_quiet(&load);
    let nominee = scene.cloud.nominee(Site::Two);
    let mut word = FailoverOptions {
        operator: "a test".into(),
        reason: "site 1 and the third witness burnt down".into(),
        ..FailoverOptions::default()
    };
    let refused = scene
        .cloud
        .refused(nominee, &Command::Failover(word.clone()));
    assert!(refused.contains("third witness"), "{refused}");
    word.accept_missing_answered_transfers = true;
    let answer = scene.cloud.ask(nominee, &Command::Failover(word), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    load.wait_requests(50);
    for part in lost {
        scene.cloud.undo(part, Fault::Kill);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}

/// It had gone on by the witness's word before it was lost; what it comes back with counts less
/// than an operator's word.
#[test]
fn a_site_that_comes_back_does_not_take_over_from_one_that_an_operator_let_go_on() {
    let name =
        "third::a_site_that_comes_back_does_not_take_over_from_one_that_an_operator_let_go_on";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    // What is answered between the cut and the loss would be lost with the site.
    load.finish();
    scene.cloud.cut_sites();
    scene.cloud.look("site 1 goes on", PATIENCE, |cloud| {
        let both = [S1, S2].map(|server| cloud.status(server));
        both.into_iter()
            .flatten()
            .any(|s| one_site_only(&s))
            .then_some(())
    });
    let nominee = scene.cloud.nominee(Site::Two);
    let word = |accept, off| {
        Command::Failover(FailoverOptions {
            operator: "a test".into(),
            reason: "site 1 burnt down".into(),
            accept_missing_answered_transfers: accept,
            other_site_is_off: off,
            certainly_off: off,
        })
    };
    let refused = scene.cloud.refused(nominee, &word(true, false));
    assert!(refused.contains("--other-site-is-off"), "{refused}");
    for part in Part::all_of(Site::One) {
        scene.cloud.hit(part, Fault::Kill);
    }
    let answer = scene.cloud.ask(nominee, &word(true, true), PATIENCE);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:#?}");
    let load = scene.load();
    load.wait_requests(100);
    scene.cloud.heal();
    for part in Part::all_of(Site::One) {
        scene.cloud.undo(part, Fault::Kill);
    }
    // Nothing of its own history is cut before a person decides.
    for server in [S1, S2] {
        scene
            .cloud
            .expect(server, "waits for a decision", |status| {
                status.why_not_serving.contains("stopped for a decision")
            });
    }
    assert_eq!(scene.cloud.expect_primary().site(), Site::Two);
    load.wait_requests(50);
    for server in [S1, S2] {
        scene.cloud.hit(server, Fault::Kill);
        let dir = scene.cloud.data_dir(server);
        let dir = dir.to_str().expect("a plain path");
        let output = kanjo(&["rejoin", "--dir", dir, "--reason", "site 2 went on"]);
        assert!(output.status.success(), "{}", said(&output));
        scene.cloud.undo(server, Fault::Kill);
        // Its voter is another one, too: the next server comes when it has joined.
        scene.cloud.look("its voter joins", PATIENCE, |cloud| {
            let status = cloud.status(server)?;
            let own = status.group?.own?;
            let is_new = |voter: &VoterSeen| {
                voter.answers && voter.incarnation.to_string() == status.incarnation
            };
            (own.leader.is_some() && own.voters.iter().any(is_new)).then_some(())
        });
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}

/// Its connections stay, and nothing is said on them any more.
#[test]
fn a_site_that_stands_still_is_taken_over_from() {
    let name = "third::a_site_that_stands_still_is_taken_over_from";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let begun = Instant::now();
    for part in Part::all_of(Site::One) {
        scene.cloud.hit(part, Fault::Stop);
    }
    expect_quiet(&load);
    scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    let took = begun.elapsed().as_millis();
    report::line(
        "note",
        &format!("site 1 stands still: site 2 answers {took} ms after it"),
    );
    for part in Part::all_of(Site::One) {
        scene.cloud.undo(part, Fault::Stop);
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}

#[test]
fn without_the_third_witness_nothing_stops_and_nobody_goes_on_without_the_other_site() {
    let name =
        "third::without_the_third_witness_nothing_stops_and_nobody_goes_on_without_the_other_site";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    scene.cloud.hit(T21, Fault::Kill);
    // A local fail-over goes on without it, and back into an epoch that it knows with it.
    let first = scene.cloud.expect_primary();
    scene.cloud.hit(first, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(first, Fault::Kill);
    scene.cloud.undo(T21, Fault::Kill);
    scene.cloud.expect_protected();
    let second = scene.cloud.expect_primary();
    scene.cloud.hit(second, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.undo(second, Fault::Kill);
    scene.cloud.expect_protected();

    scene.cloud.hit(T21, Fault::Kill);
    scene.cloud.cut_sites();
    expect_quiet(&load);
    assert!(!load.answers_within(1, LONG), "nobody gave the word");
    let primary = scene.cloud.writers()[0];
    let word = OperatorWord {
        operator: "a test".into(),
        reason: "the link is cut".into(),
    };
    let nominee = scene.cloud.nominee(Site::Two);
    let refused = scene
        .cloud
        .refused(nominee, &Command::Failover(word.into()));
    assert!(refused.contains("third witness"), "{refused}");
    let degraded = Command::Protect(ProtectOptions {
        mode: ProtectMode::Degraded,
        operator: "a test".into(),
        reason: "the link is cut".into(),
        expires_ms: 3_600_000,
        other_site_is_off: true,
        certainly_off: true,
    });
    let refused = scene.cloud.refused(primary, &degraded);
    assert!(refused.contains("third witness"), "{refused}");

    // It comes back, remembers, and one of the two goes on.
    scene.cloud.undo(T21, Fault::Kill);
    load.wait_requests(50);
    scene.cloud.heal();
    scene.cloud.expect_protected();
    load.finish();
    scene.close();
}

/// The active site lives, cut off from everybody; the auxiliary one takes over and answers; then
/// only the third witness is heard from there again.
#[test]
fn a_site_that_was_passed_by_gets_no_word() {
    let name = "third::a_site_that_was_passed_by_gets_no_word";
    let Some(mut scene) = open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let everybody_else = [S3, S4, Part::witness_of(Site::Two), T21];
    scene.cloud.cut(&[S1, S2, W11], &everybody_else);
    scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    scene.cloud.cut_sites();
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        for server in [S1, S2] {
            let status = scene.cloud.status(server).expect("it runs");
            assert!(!status.serving, "{status:#?}");
        }
        load.wait_requests(1);
    }
    scene.cloud.heal();
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.finish();
    scene.close();
}
