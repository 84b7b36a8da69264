//! A wiped directory is another voter, and the one that it was never votes again.

use kanjo_format::Site;
use kanjo_group::{GroupError, Outcome, SetMember, SiteReport, Voter};

use crate::harness::*;

fn has(member: SetMember) -> impl Fn(&SiteReport) -> bool {
    move |own| {
        own.leader.is_some()
            && own
                .voters
                .iter()
                .any(|v| (v.node, v.incarnation) == (member.node, member.incarnation))
            && own.voters.len() == 3
    }
}

#[tokio::test]
async fn a_wiped_voter_joins_as_another_one_and_the_old_directory_is_refused_for_ever() {
    let mut cluster = Cluster::new();
    cluster.start(&[3, 4, 10]);
    cluster.led(4).await;
    let first = apply(&cluster.port(3), Site::Two, cluster.claim(1, 1)).await;
    assert!(matches!(first, Outcome::Done(_)), "{first:?}");
    cluster.stop(4);
    cluster.wipe(4);
    cluster.start(&[4]);
    let report = cluster
        .own(4, "it has joined", has(cluster.member(4)))
        .await;
    assert_eq!(report.register.reign, cluster.reign(1, 1));
    cluster
        .own(3, "the others know it", has(cluster.member(4)))
        .await;
    // It counts: with the witness gone, it and the other server are the majority.
    cluster.stop(10);
    let second = apply(&cluster.port(4), Site::Two, cluster.claim(2, 1)).await;
    assert!(matches!(second, Outcome::Done(_)), "{second:?}");
    cluster.start(&[10]);
    cluster.stop(4);
    cluster.restore(4);
    for _ in 0..2 {
        let old = Voter::start(cluster.setup(4)).unwrap();
        let error = end_of(&old).await;
        match &error {
            GroupError::Replaced { why } => assert!(why.contains("was replaced"), "{why}"),
            other => panic!("{other}"),
        }
        assert!(error.to_string().contains("for ever"), "{error}");
    }
    let third = apply(&cluster.port(3), Site::Two, cluster.claim(3, 1)).await;
    assert!(matches!(third, Outcome::Done(_)), "{third:?}");
}

#[tokio::test]
async fn a_wiped_witness_joins_as_another_one() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    cluster.stop(9);
    cluster.wipe(9);
    cluster.start(&[9]);
    cluster
        .own(1, "it has joined", has(cluster.member(9)))
        .await;
    cluster.own(9, "it knows", has(cluster.member(9))).await;
}

#[tokio::test]
async fn two_wiped_voters_of_three_do_not_begin_another_register() {
    let mut cluster = Cluster::new();
    cluster.start(&[3, 4, 10]);
    cluster.led(3).await;
    let first = apply(&cluster.port(3), Site::Two, cluster.claim(1, 1)).await;
    assert!(matches!(first, Outcome::Done(_)), "{first:?}");
    // The other two are a majority: it could be done without this one.
    let knows = |own: &SiteReport| own.register.version == 1;
    cluster.own(3, "it knows what was done", knows).await;
    for node in [4, 10] {
        cluster.stop(node);
        cluster.wipe(node);
    }
    cluster.start(&[4, 10]);
    let alone = |own: &SiteReport| own.leader.is_none() && own.register.version == 1;
    cluster
        .own(3, "the one that knows has no majority", alone)
        .await;
    match ask(&cluster.port(4), Site::Two, kanjo_group::Question::Read).await {
        kanjo_group::Reply::Unreachable { .. } => {}
        other => panic!("{other:?}"),
    }
    // The old directories are all that is needed.
    for node in [4, 10] {
        cluster.stop(node);
        cluster.restore(node);
    }
    cluster.start(&[4, 10]);
    let report = read(&cluster.port(4), Site::Two).await;
    assert_eq!(report.register.reign, cluster.reign(1, 1));
}
