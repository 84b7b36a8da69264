//! A server in the first site does the account processing; servers in the second hold the same
//! database, synchronised.

use kanjo_format::Site;
use kanjo_node::admin::{Answer, Command};
use kanjo_node::status::Status;

use crate::Scene;
use crate::harness::PATIENCE;
use crate::harness::cuts::Fault;
use crate::harness::part::{Part, SERVERS};
use crate::harness::registers::peer;

#[test]
fn a_server_in_site_1_processes_and_site_2_holds_the_same() {
    let name = "same::a_server_in_site_1_processes_and_site_2_holds_the_same";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    for _ in 0..3 {
        load.wait_requests(200);
        let statuses = scene.cloud.statuses();
        let writers = statuses.iter().filter(|(_, status)| status.serving);
        let writers: Vec<Part> = writers.map(|(&server, _)| server).collect();
        assert_eq!(writers.len(), 1, "one processes: {writers:?}");
        assert_eq!(writers[0].site(), Site::One);
    }
    load.finish();
    let status = scene.cloud.expect_equal_digests();
    assert!(status.transfers > 500, "a database with something in it");
    for server in SERVERS {
        let theirs = scene.cloud.expect(server, "says what it holds", |_| true);
        assert_eq!(theirs.trial_balance, status.trial_balance, "{server}");
        assert_eq!(theirs.accounts, status.accounts, "{server}");
    }
    scene.close();
}

#[test]
fn a_drill_on_every_replica_finds_what_a_recovery_would_have_had() {
    let name = "same::a_drill_on_every_replica_finds_what_a_recovery_would_have_had";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(200);
    let writer = scene.cloud.expect_protected();
    for server in SERVERS.into_iter().filter(|&server| server != writer) {
        let drill = Command::Drill { full: true };
        match scene.cloud.ask(server, &drill, PATIENCE) {
            Ok(Answer::Drill(report)) => {
                assert!(report.good && report.digest_equal, "{server}: {report:#?}");
            }
            other => panic!("{server}: {other:#?}"),
        }
        load.wait_requests(20);
    }
    load.finish();
    scene.close();
}

#[test]
fn a_replica_tells_of_the_writer_that_it_follows_and_claims_nothing_of_the_others() {
    let name =
        "same::a_replica_tells_of_the_writer_that_it_follows_and_claims_nothing_of_the_others";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let writer = scene.cloud.expect_protected();
    let connected = |status: &Status, part: Part| peer(status, part).map(|peer| peer.connected);
    for (server, status) in scene.cloud.statuses() {
        for part in SERVERS.into_iter().filter(|&part| part != server) {
            let told = match (server == writer, part == writer) {
                (true, _) | (_, true) => Some(true),
                (false, false) => None,
            };
            assert_eq!(connected(&status, part), Some(told), "{server} of {part}");
        }
    }
    let standby = writer.neighbour();
    scene.cloud.hit(writer, Fault::Stop);
    scene
        .cloud
        .expect(standby, "says that it is gone", |status| {
            status.role == "primary" || connected(status, writer) == Some(Some(false))
        });
    scene.cloud.undo(writer, Fault::Stop);
    scene.close();
}
