//! A pair whose nodes are in namespaces of their own: what the network of the scenes does to it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kanjo_node::Config;
use kanjo_node::admin::Condition;

use crate::Turn;
use crate::harness::netns::{Inside, Net};
use crate::harness::pair::format_directory;
use crate::harness::{Book, Load, LoadOptions, Node, Random};
use crate::scene::expect_quiet;

/// Fields are dropped in this order.
struct NamespacedPair {
    nodes: [Node; 2],
    _inside: Inside,
    net: Net,
    folder: tempfile::TempDir,
    _turn: Turn,
}

const NAMES: [&str; 2] = ["node-1", "node-2"];

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, node as u8, 1)
}

impl NamespacedPair {
    fn start(test: &str) -> Option<Self> {
        let turn = Turn::take(test)?;
        let folder = tempfile::Builder::new()
            .prefix("clouds-pair-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made under target/tmp");
        let mut net = Net::new();
        net.add("client", Ipv4Addr::new(10, 77, 9, 1));
        for (i, name) in NAMES.iter().enumerate() {
            net.add(name, address(i + 1));
        }
        let inside = net.enter("client");
        let nodes = [0, 1].map(|i| Node::new(NAMES[i], folder.path(), config(i, folder.path())));
        let cluster = u128::from(getrandom::u64().expect("random bytes")) << 64 | 0x7e57;
        let mut pair = Self {
            nodes,
            _inside: inside,
            net,
            folder,
            _turn: turn,
        };
        for (i, role) in ["primary", "auxiliary"].into_iter().enumerate() {
            format_directory(pair.nodes[i].data_dir(), cluster, i + 1, role);
            let _inside = pair.net.enter(NAMES[i]);
            pair.nodes[i].spawn();
        }
        pair.nodes[0].expect(Condition::Protected);
        pair.nodes[0].expect(Condition::Serving);
        Some(pair)
    }
}

fn config(i: usize, folder: &Path) -> Config {
    let port = |node: usize, port: u16| format!("{}:{port}", address(node));
    let (me, peer) = (i + 1, 2 - i);
    let mut config = Config::new(
        folder.join(NAMES[i]),
        &port(me, 7001),
        &port(me, 7002),
        &port(me, 7003),
        &port(peer, 7002),
    );
    config.insecure_listen = true;
    config.free_disk_floor_bytes = 1 << 20;
    config.heartbeat_ms = 20;
    config.peer_timeout_ms = 300;
    config
}

#[test]
fn nothing_is_answered_over_a_link_that_is_cut_one_way_and_nothing_is_lost() {
    let name = "pair::nothing_is_answered_over_a_link_that_is_cut_one_way_and_nothing_is_lost";
    let Some(mut pair) = NamespacedPair::start(name) else {
        return;
    };
    let mut random = Random::seeded("clouds", name);
    let addresses = vec![pair.nodes[0].config.client_listen.clone()];
    let book = Arc::new(Book::open(&addresses, pair.folder.path(), &mut random));
    let load = Load::start(
        &book,
        addresses.clone(),
        LoadOptions::default(),
        random.fork(),
    );
    let [there, back] = [("node-1", "node-2"), ("node-2", "node-1")];
    let cuts: [&[(&str, &str)]; 3] = [&[there], &[back], &[there, back]];
    for cut in cuts {
        load.wait_answers(200);
        pair.net.drop_between(cut.iter().copied());
        expect_quiet(&load);
        assert!(
            !load.answers_within(1, Duration::from_millis(500)),
            "answered although {cut:?} is cut"
        );
        pair.nodes[0].expect_that("noticed the silence", |status| {
            status.peer.connected == Some(false)
        });
        pair.net.drop_nothing();
    }
    pair.net.set_link("node-2", false);
    expect_quiet(&load);
    pair.net.set_link("node-2", true);
    load.wait_answers(200);
    let counts = load.finish();
    assert_eq!(
        (counts.unknown, counts.not_done),
        (0, 0),
        "both lived: all is answered: {counts:#?}"
    );
    book.check_from_the_start(&addresses);
}
