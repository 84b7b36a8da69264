//! A server in the first site does the account processing; servers in the second hold the same
//! database, synchronised.

use kanjo_format::Site;

use crate::Scene;
use crate::harness::part::{Part, SERVERS};

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
