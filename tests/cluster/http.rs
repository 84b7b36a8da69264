//! What load balancers and Prometheus are told.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::Scene;
use crate::disk::small_disk;
use crate::harness::exposition::Page;
use crate::harness::http::{Answer, ask};
use crate::harness::pair::{PairOptions, alone};
use crate::harness::stranger::{half_open, talk_nonsense};
use crate::harness::{Link, LoadOptions, Node, PATIENCE};

const PROBES: [&str; 6] = [
    "/livez",
    "/readyz",
    "/primary",
    "/replica",
    "/in-sync",
    "/protected",
];
const OF_A_PRIMARY: [&str; 4] = ["/livez", "/readyz", "/primary", "/protected"];
const OF_A_REPLICA: [&str; 4] = ["/livez", "/readyz", "/replica", "/in-sync"];
/// What is no longer so must be shown within this time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Without a turn of its hot thread for so long a node counts as hung.
const HUNG: Duration = Duration::from_secs(5);

/// The node answers exactly these with yes, soon.
fn expect_yes(node: &Node, yes: &[&str]) {
    for path in yes {
        let answer = node.expect_probe(path, 200);
        assert!(answer.body.starts_with("yes: "), "{answer:?}");
    }
    for path in PROBES.iter().filter(|path| !yes.contains(path)) {
        let answer = node.expect_probe(path, 503);
        assert!(answer.body.starts_with("no: "), "{answer:?}");
    }
}

/// Waits until a probe that was yes is no; gives the answer. It must be so at once.
fn expect_fallen(node: &Node, path: &str, since: Instant) -> Answer {
    let answer = node.expect_probe(path, 503);
    let took = since.elapsed();
    assert!(took < AT_ONCE, "{path} after {took:?}: {answer:?}");
    answer
}

#[test]
fn each_node_answers_by_its_role() {
    let mut scene = Scene::open("http::each_node_answers_by_its_role");
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    expect_yes(scene.pair.replica(), &OF_A_REPLICA);
    let address = scene.pair.replica().http_address().to_owned();
    let json = [("Accept", "application/json")];
    let answer = ask(&address, "GET", "/primary", &json);
    assert_eq!(answer.status, 503);
    let line: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        line,
        serde_json::json!({ "ok": false, "message": "its role is replica" })
    );
    let head = ask(&address, "HEAD", "/in-sync", &[]);
    assert_eq!((head.status, &*head.body), (200, ""));
    let length = head.header("content-length").map(str::parse::<usize>);
    assert_eq!(
        length,
        Some(Ok(scene.pair.replica().get("/in-sync").body.len()))
    );
    let refused = ask(&address, "POST", "/in-sync", &[]);
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(scene.pair.replica().get("/elsewhere").status, 404);
    // The other way round after a promotion; the old primary follows.
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    expect_yes(scene.pair.primary(), &["/livez", "/readyz", "/primary"]);
    scene.pair.replica().start();
    scene.pair.expect_protected();
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    expect_yes(scene.pair.replica(), &OF_A_REPLICA);
    scene.close();
}

#[test]
fn a_replica_that_is_cut_off_is_not_in_sync_within_a_second() {
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let test = "http::a_replica_that_is_cut_off_is_not_in_sync_within_a_second";
    let mut scene = Scene::open_with(test, options);
    for break_it in [Link::cut, Link::hold] {
        expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
        expect_yes(scene.pair.replica(), &OF_A_REPLICA);
        let links = scene.pair.links.as_ref().expect("a linked pair");
        let since = Instant::now();
        links.iter().for_each(break_it);
        for path in ["/in-sync", "/replica", "/readyz"] {
            expect_fallen(scene.pair.replica(), path, since);
        }
        for path in ["/primary", "/protected", "/readyz"] {
            expect_fallen(scene.pair.primary(), path, since);
        }
        // The mark itself stays: this node may still be promoted.
        assert!(scene.pair.replica().status().in_sync);
        let links = scene.pair.links.as_ref().expect("a linked pair");
        links.iter().for_each(Link::restore);
    }
    scene.close();
}

#[test]
fn protected_falls_when_the_auxiliary_dies() {
    let mut scene = Scene::open("http::protected_falls_when_the_auxiliary_dies");
    scene.post(20, 5);
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    let since = Instant::now();
    scene.pair.replica().kill();
    for path in ["/protected", "/primary", "/readyz"] {
        let answer = expect_fallen(scene.pair.primary(), path, since);
        assert!(answer.body.contains("cannot be reached"), "{answer:?}");
    }
    assert_eq!(scene.pair.primary().get("/livez").status, 200);
    // Alone it answers, and says that nobody else has what it answers.
    let reason = alone("a test").reason;
    scene.pair.primary().go_alone(&reason, true);
    expect_yes(scene.pair.primary(), &["/livez", "/readyz", "/primary"]);
    scene.post(20, 5);
    let tail_lsn = scene.pair.primary().status().tail_lsn;
    let page = settled_metrics(scene.pair.primary(), tail_lsn);
    assert_eq!(page.value("kanjo_protection{protection=\"DEGRADED\"}"), 1.0);
    assert!(page.value("kanjo_unprotected_transfers") > 0.0);
    scene.pair.replica().start();
    scene.pair.expect_protected();
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    scene.close();
}

#[test]
fn a_primary_whose_disk_is_nearly_full_is_not_offered_to_writers() {
    let options = PairOptions {
        configure: Some(|node, config| {
            if node == 1 {
                config.free_disk_floor_bytes = 1 << 60;
            }
        }),
        ..PairOptions::default()
    };
    let test = "http::a_primary_whose_disk_is_nearly_full_is_not_offered_to_writers";
    crate::harness::Random::seeded("cluster", test);
    let mut pair = crate::harness::Pair::start_with("cluster", options);
    let answer = pair.primary().expect_probe("/primary", 503);
    assert!(answer.body.contains("of disk are free"), "{answer:?}");
    expect_yes(pair.primary(), &["/livez", "/protected"]);
    pair.shut_down_and_verify();
}

/// The hot thread writes into a file system that holds whoever writes: it hangs, as it would on a
/// disk that stopped to answer.
#[test]
fn livez_says_no_while_the_hot_thread_hangs_and_yes_when_it_goes_on() {
    let test = "http::livez_says_no_while_the_hot_thread_hangs_and_yes_when_it_goes_on";
    let Some(disk) = small_disk(test) else { return };
    let options = PairOptions {
        first_dir: Some(disk.path().join("node-1")),
        ..PairOptions::default()
    };
    let mut scene = Scene::open_with(test, options);
    let load = scene.load(LoadOptions::default());
    load.wait_answers(200);
    let (held, since) = (disk.hold(), Instant::now());
    for path in ["/primary", "/readyz", "/protected"] {
        expect_fallen(scene.pair.primary(), path, since);
    }
    let answer = scene.pair.primary().get("/livez");
    assert_eq!(answer.status, 200, "a short stall restarts nobody");
    let answer = scene.pair.primary().expect_probe("/livez", 503);
    let took = since.elapsed();
    assert!(answer.body.contains("has not turned"), "{answer:?}");
    // It turned last a little before, and on a busy machine this is seen late.
    assert!(
        (HUNG - AT_ONCE..HUNG + 2 * AT_ONCE).contains(&took),
        "{took:?}"
    );
    let page = metrics(scene.pair.primary());
    assert_eq!(page.value("kanjo_probe{probe=\"livez\"}"), 0.0);
    let age = page.value("kanjo_hot_thread_turn_age_seconds");
    assert!(age > HUNG.as_secs_f64(), "{age}");
    let moment = Duration::from_millis(300);
    assert!(!load.answers_within(1, moment), "answered without a sync");
    // Its replica is well, and says that nobody speaks to it.
    assert_eq!(scene.pair.replica().get("/livez").status, 200);
    scene.pair.replica().expect_probe("/in-sync", 503);

    drop(held);
    scene.pair.expect_protected();
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    load.wait_answers(200);
    let counts = load.finish();
    assert_eq!((counts.unknown, counts.not_done), (0, 0), "{counts:#?}");
    scene.close();
    drop(disk);
}

/// A page of metrics, which must fit the grammar in both formats.
fn metrics(node: &Node) -> Page {
    let open = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let answer = ask(node.http_address(), "GET", "/metrics", &open);
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    // Bounds of buckets are written differently there, so only its grammar is looked at.
    Page::read(&answer.body, true);
    let answer = node.get("/metrics");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    Page::read(&answer.body, false)
}

/// Waits until the figures of a node are those of a log that ends there and is all applied.
fn settled_metrics(node: &Node, tail_lsn: u64) -> Page {
    let until = Instant::now() + PATIENCE;
    let at_the_end = |page: &Page, position: &str| {
        let series = format!("kanjo_log_position_bytes{{position=\"{position}\"}}");
        page.value(&series) == tail_lsn as f64
    };
    loop {
        let page = metrics(node);
        if ["tail", "committed", "applied"]
            .iter()
            .all(|p| at_the_end(&page, p))
        {
            return page;
        }
        assert!(Instant::now() < until, "never at lsn {tail_lsn}: {page:#?}");
    }
}

#[test]
fn metrics_are_well_formed_and_grow_with_the_load() {
    let mut scene = Scene::open("http::metrics_are_well_formed_and_grow_with_the_load");
    let before = [0, 1].map(|i| metrics(&scene.pair.nodes[i]));
    let load = scene.load(LoadOptions::default());
    load.wait_answers(500);
    let during = [0, 1].map(|i| metrics(&scene.pair.nodes[i]));
    load.wait_answers(500);
    let counts = load.finish();
    scene.settle();
    let status = scene.pair.primary().status();
    let after = [0, 1].map(|i| settled_metrics(&scene.pair.nodes[i], status.tail_lsn));
    for i in 0..2 {
        during[i].expect_no_counter_fell(&before[i]);
        after[i].expect_no_counter_fell(&during[i]);
    }
    let grown = |node: usize, series: &str| after[node].value(series) - before[node].value(series);
    let requests = "kanjo_requests_total{kind=\"create_transfers\",outcome=\"done\"}";
    assert!(grown(0, requests) >= counts.requests as f64);
    let created = "kanjo_events_total{kind=\"create_transfer\",result=\"created\"}";
    assert_eq!(after[0].value(created), status.transfers as f64);
    assert_eq!(after[0].value("kanjo_transfers"), status.transfers as f64);
    let stages = |names: &[&str]| -> Vec<String> {
        let stage = |name| format!("kanjo_commit_stage_seconds_count{{stage=\"{name}\"}}");
        names.iter().map(stage).collect()
    };
    for series in stages(&["queue", "execute", "compress", "local_sync", "wire"]) {
        assert!(grown(0, &series) > 0.0, "{series}");
    }
    for series in stages(&["remote_sync", "apply"]) {
        assert!(grown(1, &series) > 0.0, "{series}");
        assert_eq!(after[0].value(&series), 0.0, "{series}");
    }
    assert!(grown(0, "kanjo_commit_seconds_count") >= counts.requests as f64);
    assert!(grown(0, "kanjo_peer_ack_seconds_count{peer=\"2\"}") > 0.0);
    assert_eq!(after[0].value("kanjo_peer_lag_bytes{peer=\"2\"}"), 0.0);
    assert_eq!(after[0].value("kanjo_role{role=\"primary\"}"), 1.0);
    assert_eq!(after[1].value("kanjo_in_set"), 1.0);
    scene.close();
}

#[test]
fn garbage_on_the_http_port_closes_only_that_connection() {
    let mut scene = Scene::open("http::garbage_on_the_http_port_closes_only_that_connection");
    let load = scene.load(LoadOptions::default());
    load.wait_answers(100);
    let addresses = [0, 1].map(|i| scene.pair.nodes[i].http_address().to_owned());
    let mut idle = Vec::new();
    for address in &addresses {
        idle.extend(half_open(address, 40, &mut scene.random));
    }
    for _ in 0..40 {
        for address in &addresses {
            talk_nonsense(address, *b"GET ", &mut scene.random);
        }
        expect_yes(&scene.pair.nodes[0], &OF_A_PRIMARY);
    }
    for address in &addresses {
        let long = "x".repeat(64 << 10);
        let answer = ask_anything(address, &format!("GET /{long} HTTP/1.1\r\n\r\n"));
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
        let answer = ask_anything(address, "GET /livez HTTP/1.1\r\n: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    // Whoever says nothing is sent away, even while more wait than there are places.
    for address in &addresses {
        idle.extend(half_open(address, 80, &mut scene.random));
    }
    for mut stream in idle {
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        // An end or a reset, and before it perhaps that the request took too long.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            let waited = matches!(error.kind(), TimedOut | WouldBlock);
            assert!(!waited, "a silent connection is kept for ever");
        }
    }
    load.wait_answers(100);
    let counts = load.finish();
    assert_eq!((counts.unknown, counts.not_done), (0, 0), "{counts:#?}");
    for node in &scene.pair.nodes {
        assert!(!node.log().contains("panicked"), "{}", node.last_words());
    }
    expect_yes(scene.pair.primary(), &OF_A_PRIMARY);
    scene.close();
}

/// What comes back for these bytes until the node closes.
fn ask_anything(address: &str, bytes: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("the port accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    // The node may close before it has read all.
    let _ = stream.write_all(bytes.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
