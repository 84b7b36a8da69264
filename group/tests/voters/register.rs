//! The record is there while a majority is, and nowhere else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use kanjo_format::{ClusterId, Epoch, NodeId, Site};
use kanjo_group::{GroupError, Outcome, Question, Refusal, Reply, Voter};

use crate::harness::*;

#[tokio::test]
async fn three_fresh_voters_begin_one_register_that_the_witness_leads() {
    let mut cluster = Cluster::new();
    let begun = Instant::now();
    cluster.start(&[1, 2, 9]);
    for node in [1, 2, 9] {
        assert_eq!(cluster.led(node).await, NodeId::new(9));
    }
    println!(
        "note: three fresh voters have a leader after {:?}",
        begun.elapsed()
    );
    let report = read(&cluster.port(1), Site::One).await;
    assert_eq!(report.voters.len(), 3);
    assert!(
        report.voters.iter().all(|voter| voter.answers),
        "{report:?}"
    );
    assert!(!report.register.holds_authority());
}

#[tokio::test]
async fn two_of_three_fresh_voters_begin_nothing() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 9]);
    match ask(&cluster.port(1), Site::One, Question::Read).await {
        Reply::Unreachable { .. } => {}
        other => panic!("{other:?}"),
    }
    cluster.start(&[2]);
    cluster.led(2).await;
}

#[tokio::test]
async fn a_command_survives_a_restart_of_all() {
    let mut cluster = Cluster::new();
    cluster.start(&[3, 4, 10]);
    cluster.led(3).await;
    let claim = cluster.claim(1, 1);
    let outcome = apply(&cluster.port(3), Site::Two, claim.clone()).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    for node in [3, 4, 10] {
        cluster.stop(node);
    }
    cluster.start(&[3, 4, 10]);
    let report = read(&cluster.port(4), Site::Two).await;
    assert_eq!(report.register.reign, cluster.reign(1, 1));
    let again = apply(&cluster.port(4), Site::Two, claim).await;
    assert!(matches!(again, Outcome::Done(_)), "{again:?}");
    let other = apply(&cluster.port(4), Site::Two, cluster.claim(1, 2)).await;
    match other {
        Outcome::Refused { why, .. } => assert!(matches!(why, Refusal::Epoch { .. })),
        Outcome::Done(_) => panic!("an epoch was given twice"),
    }
}

#[tokio::test]
async fn the_file_stays_small_and_a_voter_that_was_away_catches_up() {
    let mut cluster = Cluster::new();
    cluster.start(&[3, 4, 10]);
    cluster.led(3).await;
    cluster.stop(4);
    for term in 1..=300 {
        let outcome = apply(&cluster.port(3), Site::Two, cluster.claim(term, 1)).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    cluster.start(&[4]);
    cluster
        .own(4, "the last claim is known", |own| {
            own.register.reign.epoch == Epoch::from_terms(1, 300)
        })
        .await;
    apply(&cluster.port(4), Site::Two, cluster.claim(301, 1)).await;
    for node in [3, 4, 10] {
        let file = cluster.dir(node).join("register");
        let bytes = std::fs::metadata(file).unwrap().len();
        println!("note: after 301 changes the file of voter {node} has {bytes} bytes");
        assert!(bytes < 300 << 10);
    }
}

#[tokio::test]
async fn a_dead_leader_is_replaced_and_the_nominee_stays() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    cluster.tell(1, 5);
    cluster.tell(2, 4);
    let nominated = cluster
        .own(2, "a nominee", |own| own.register.nominee.is_some())
        .await;
    let killed = Instant::now();
    cluster.stop(9);
    let stopped = killed.elapsed();
    let report = cluster
        .own(2, "another leader", |own| {
            own.leader.is_some_and(|leader| leader != NodeId::new(9))
        })
        .await;
    println!(
        "note: another leader {:?} after the old one began to stop, which took {stopped:?}",
        killed.elapsed()
    );
    assert_eq!(report.register.nominee, nominated.register.nominee);
    assert!(report.elections >= 1);
    let report = read(&cluster.port(1), Site::One).await;
    assert_eq!(report.register.nominee, nominated.register.nominee);
    cluster
        .own(1, "the witness does not answer", |own| {
            own.voters.iter().any(|v| v.witness && !v.answers)
        })
        .await;
}

#[tokio::test]
async fn a_minority_answers_nothing_and_says_so() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    cluster.stop(2);
    cluster.stop(9);
    cluster
        .own(1, "no leader", |own| own.leader.is_none())
        .await;
    let port = cluster.port(1);
    for question in [
        Question::Read,
        Question::Apply {
            command: Box::new(cluster.claim(1, 1)),
        },
    ] {
        match ask(&port, Site::One, question).await {
            Reply::Unreachable { why } => assert!(why.contains("majority"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    cluster.start(&[9]);
    cluster.led(1).await;
    let report = read(&port, Site::One).await;
    assert_eq!(report.register.version, 0, "nothing was changed");
}

#[tokio::test]
async fn the_other_site_is_asked_and_watched() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9, 3, 4, 10]);
    let port = cluster.port(1);
    let outcome = apply(&port, Site::Two, cluster.claim(1, 1)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let here = apply(&port, Site::One, cluster.claim(1, 1)).await;
    match here {
        Outcome::Refused { why, .. } => assert!(matches!(why, Refusal::NotHeld { .. })),
        Outcome::Done(_) => panic!("site 1's register does not hold the authority"),
    }
    let seen = |term| {
        move |view: &kanjo_group::View| {
            view.other
                .as_ref()
                .is_some_and(|(other, _)| other.register.reign.epoch.local_term() == term)
        }
    };
    until(port.view(), "the other site's reign", seen(1)).await;
    // Any of its voters is enough to find the leader, and the leader may change.
    cluster.stop(10);
    let outcome = apply(&port, Site::Two, cluster.claim(2, 1)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    until(port.view(), "the other site's second reign", seen(2)).await;
    // Without a majority nothing is answered, and the view says that nobody leads.
    cluster.stop(4);
    match ask(&port, Site::Two, Question::Read).await {
        Reply::Unreachable { .. } => {}
        other => panic!("{other:?}"),
    }
    until(port.view(), "the other site leads nobody", |view| {
        view.other
            .as_ref()
            .is_some_and(|(other, _)| other.leader.is_none())
    })
    .await;
}

#[tokio::test]
async fn a_voter_of_another_cluster_is_refused_in_the_handshake() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 9]);
    let mut setup = cluster.setup(2);
    setup.cluster = ClusterId::new(0xbad);
    let stranger = Voter::start(setup).unwrap();
    let reply = ask(&stranger.port(), Site::One, Question::Read).await;
    match reply {
        Reply::Unreachable { why } => assert!(why.contains("formatted apart"), "{why}"),
        other => panic!("{other:?}"),
    }
    let view = cluster.port(1).view();
    assert!(
        view.borrow()
            .own
            .as_ref()
            .is_none_or(|own| own.leader.is_none())
    );
}

#[tokio::test]
async fn garbage_closes_only_its_own_connection() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    let address = &cluster.topology.witnesses[0].register;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x04\0\0\0nope",
        &[0xff; 64],
    ] {
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(garbage).unwrap();
        // Closed or reset, and nothing said.
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    let report = read(&cluster.port(1), Site::One).await;
    assert_eq!(report.leader, Some(NodeId::new(9)));
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_by_name() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    let in_use = Voter::start(cluster.setup(1)).unwrap_err();
    assert!(matches!(in_use, GroupError::InUse { .. }), "{in_use}");
    for node in [1, 2, 9] {
        cluster.stop(node);
    }
    let file = cluster.dir(1).join("register");
    let whole = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = Voter::start(cluster.setup(1)).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "nothing was changed");
        assert!(error.to_string().contains("register"), "{error}");
        error
    };
    for at in [0, 5, 9, 30, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        refused(&bytes);
    }
    refused(b"");
    refused(&whole[..whole.len() - 1]);
    let error = refused(&std::fs::read(cluster.dir(2).join("register")).unwrap());
    match error {
        GroupError::Foreign { field, .. } => assert_eq!(field, "node"),
        other => panic!("{other}"),
    }
    std::fs::write(&file, &whole).unwrap();
    cluster.start(&[1]);
}

/// A file that cannot be written once is not written again: what a voter could not keep it does
/// not promise, and its voter ends by name while the others go on.
#[tokio::test]
async fn the_first_failed_write_ends_the_voter_and_only_it() {
    let mut cluster = Cluster::new();
    cluster.start(&[3, 4, 10]);
    cluster.led(3).await;
    // In the way of the temporary file.
    let obstacle = cluster.dir(4).join("register.tmp");
    let in_the_way = async {
        // While the voter writes, its file is there; it goes with the end of the write.
        while let Err(error) = std::fs::create_dir(&obstacle) {
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, in_the_way)
        .await
        .expect("a write ends");
    let outcome = apply(&cluster.port(3), Site::Two, cluster.claim(1, 1)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let error = end_of(cluster.voter(4)).await;
    match &error {
        GroupError::Io { file, .. } => assert_eq!(*file, obstacle),
        other => panic!("{other}"),
    }
    assert!(
        cluster
            .port(4)
            .ask(Site::Two, Question::Read)
            .await
            .is_err(),
        "an ended voter answers nothing"
    );
    let outcome = apply(&cluster.port(3), Site::Two, cluster.claim(2, 1)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}
