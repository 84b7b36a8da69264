//! The witness of a third site, asked by servers of both.

use kanjo_format::Site;
use kanjo_group::register::{Refusal, Third, ThirdMark};
use kanjo_group::{GroupError, RegisterPort, ThirdQuestion, ThirdReply, ThirdWitness};

use crate::harness::{Cluster, PATIENCE, until};

async fn ask(port: &RegisterPort, question: ThirdQuestion) -> ThirdReply {
    let answered = tokio::time::timeout(PATIENCE, port.ask_third(question)).await;
    answered.expect("an answer in time").expect("an answer")
}

async fn decide(port: &RegisterPort, follows: ThirdMark, site: Site) -> ThirdReply {
    ask(port, ThirdQuestion::Decide { follows, site }).await
}

async fn read(port: &RegisterPort) -> Third {
    match ask(port, ThirdQuestion::Read).await {
        ThirdReply::Stands { third } => third,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_word_is_given_to_one_site_and_outlives_a_restart() {
    let mut cluster = Cluster::new();
    let third = ThirdWitness::start(cluster.third()).unwrap();
    cluster.start(&[1, 3]);
    let (one, two) = (cluster.port(1), cluster.port(3));
    let first = read(&one).await.mark;
    assert!(matches!(
        decide(&two, first, Site::Two).await,
        ThirdReply::Stands { .. }
    ));
    third.stop().unwrap();
    assert!(matches!(
        decide(&one, first, Site::One).await,
        ThirdReply::Silent { .. }
    ));
    let third = ThirdWitness::start(cluster.third()).unwrap();
    match decide(&one, first, Site::One).await {
        ThirdReply::Refused {
            why: Refusal::Decided { decides, .. },
        } => assert_eq!(decides, Some(Site::Two)),
        other => panic!("{other:?}"),
    }
    let view = until(cluster.port(1).view(), "how it stands is known", |view| {
        view.third
            .as_ref()
            .is_some_and(|(third, _)| third.mark != first)
    });
    assert_eq!(view.await.third.unwrap().0, read(&one).await);
    third.stop().unwrap();
}

#[tokio::test]
async fn a_server_asks_for_its_own_site_only() {
    let mut cluster = Cluster::new();
    let _third = ThirdWitness::start(cluster.third()).unwrap();
    cluster.start(&[1]);
    let port = cluster.port(1);
    let first = read(&port).await.mark;
    assert!(matches!(
        decide(&port, first, Site::Two).await,
        ThirdReply::Silent { .. }
    ));
    assert_eq!(read(&port).await.mark, first);
}

#[tokio::test]
async fn another_directory_knows_nothing_of_the_words_of_the_former() {
    let mut cluster = Cluster::new();
    let third = ThirdWitness::start(cluster.third()).unwrap();
    cluster.start(&[1]);
    let port = cluster.port(1);
    let first = read(&port).await.mark;
    third.stop().unwrap();
    cluster.wipe(20);
    let _third = ThirdWitness::start(cluster.third()).unwrap();
    assert!(matches!(
        decide(&port, first, Site::One).await,
        ThirdReply::Refused { .. }
    ));
}

#[tokio::test]
async fn a_file_that_was_lost_alone_knows_nothing_of_its_words_either() {
    let mut cluster = Cluster::new();
    let third = ThirdWitness::start(cluster.third()).unwrap();
    cluster.start(&[1, 3]);
    let (one, two) = (cluster.port(1), cluster.port(3));
    let first = read(&one).await.mark;
    decide(&one, first, Site::One).await;
    third.stop().unwrap();
    std::fs::remove_file(cluster.dir(20).join("third")).unwrap();
    let third = ThirdWitness::start(cluster.third()).unwrap();
    match decide(&two, first, Site::Two).await {
        ThirdReply::Refused { why } => assert!(why.to_string().contains("lost"), "{why}"),
        other => panic!("{other:?}"),
    }
    // The new one is kept from the start.
    let second = read(&two).await.mark;
    third.stop().unwrap();
    let _third = ThirdWitness::start(cluster.third()).unwrap();
    assert_eq!(read(&two).await.mark, second);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() {
    let mut cluster = Cluster::new();
    let third = ThirdWitness::start(cluster.third()).unwrap();
    cluster.start(&[1]);
    let first = read(&cluster.port(1)).await.mark;
    decide(&cluster.port(1), first, Site::One).await;
    third.stop().unwrap();
    let file = cluster.dir(20).join("third");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let refused = ThirdWitness::start(cluster.third());
    assert!(matches!(refused, Err(GroupError::Damaged { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}
