//! The commands on a running pair, and on what it leaves.

use std::fs;
use std::path::PathBuf;

use crate::directories::flip;
use crate::node::{Addresses, Node, configure};
use crate::{done, done_json, format, kanjo, refused, text};

pub(crate) struct Pair {
    pub(crate) temp: tempfile::TempDir,
    nodes: [Option<Node>; 2],
    pub(crate) addresses: [Addresses; 2],
    pub(crate) connect: String,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let addresses = [Addresses::draw(), Addresses::draw()];
        let connect = format!("{},{}", addresses[0].client, addresses[1].client);
        let mut pair = Self {
            temp,
            nodes: [None, None],
            addresses,
            connect,
        };
        for node in 0..2 {
            format(&pair.data(node), ["1", "2"][node]);
            let (mine, peer) = (&pair.addresses[node], &pair.addresses[1 - node]);
            configure(&pair.config(node), &pair.data(node), mine, peer);
            pair.nodes[node] = Some(Node::start(&pair.config(node), mine));
        }
        pair.node(0).wait_for("protected");
        pair
    }

    pub(crate) fn data(&self, node: usize) -> PathBuf {
        self.temp.path().join(["a", "b"][node])
    }

    pub(crate) fn config(&self, node: usize) -> PathBuf {
        self.temp.path().join(["a.toml", "b.toml"][node])
    }

    pub(crate) fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("it runs")
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let stopped = self.nodes[node].take().expect("it runs");
        stopped.signal("TERM");
        let (status, log) = stopped.wait();
        assert!(status.success(), "{log}");
    }

    /// A command with the client addresses behind it.
    pub(crate) fn args<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--connect", &self.connect]].concat()
    }

    pub(crate) fn open_account(&self, id: &str, more: &[&str]) {
        let words = [
            "account", "create", "--id", id, "--ledger", "203", "--code", "1",
        ];
        done(&self.args(&[&words[..], more].concat()));
    }
}

#[test]
fn accounts_and_transfers_by_hand_are_answered_by_name_and_exit_code() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("0x4d", &["--debits-must-not-exceed-credits"]);
    pair.open_account("1", &[]);
    let other = [
        "account", "create", "--id", "1", "--ledger", "203", "--code", "2",
    ];
    let (code, line) = refused(&pair.args(&other));
    assert!(
        code == 1 && line.contains("exists_with_different_code"),
        "{line}"
    );
    let post = [
        "transfer", "create", "--debit", "1", "--credit", "77", "--amount", "1250", "--ledger",
        "203", "--code", "1", "--id", "5", "--json",
    ];
    assert_eq!(done_json(&pair.args(&post))["result"], "created");
    assert_eq!(done_json(&pair.args(&post))["result"], "exists");
    let back = [
        "transfer", "create", "--debit", "77", "--credit", "1", "--amount", "1251", "--ledger",
        "203", "--code", "1",
    ];
    let (code, line) = refused(&pair.args(&back));
    assert!(code == 1 && line.contains("exceeds_credits"), "{line}");
    let shown = done_json(&pair.args(&["account", "show", "77", "--json"]));
    assert_eq!(shown[0]["credits_posted"], "1250");
    assert_eq!(shown[0]["flags"][0], "debits_must_not_exceed_credits");
    let shown = done_json(&pair.args(&["transfer", "show", "5", "--json"]));
    assert_eq!(shown[0]["debit_account_id"], "1");
    let (code, line) = refused(&pair.args(&["transfer", "show", "5", "6", "--json"]));
    assert!(code == 1 && line.contains("no transfer 6"), "{line}");
}

#[test]
fn who_is_not_reached_or_not_the_primary_has_an_exit_code_of_its_own() {
    let mut pair = Pair::start();
    let replica = pair.addresses[1].client.clone();
    let show = |address: &str| {
        let args = [
            "account",
            "show",
            "1",
            "--timeout",
            "300ms",
            "--connect",
            address,
        ];
        refused(&args)
    };
    let (code, line) = show(&replica);
    assert!(
        code == 1 && line.contains("no account 1"),
        "the replica leads to the primary: {line}"
    );
    pair.stop(0);
    let (code, line) = show(&replica);
    assert!(code == 4 && line.contains(&replica), "{line}");
    let nobody = Addresses::draw();
    let (code, line) = show(&nobody.client);
    assert!(code == 4 && line.contains(&nobody.client), "{line}");
    let (code, line) = refused(&["status", "--connect", &nobody.admin]);
    assert!(code == 4 && line.contains(&nobody.admin), "{line}");
    let late = [
        "status",
        "--connect",
        &pair.node(1).admin,
        "--wait",
        "serving",
        "--timeout",
        "200ms",
    ];
    let output = kanjo(&late);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("replica"),
        "the status all the same"
    );
}

#[test]
fn an_import_sends_nothing_unless_it_can_send_all_and_is_repeated_safely() {
    let pair = Pair::start();
    let file = pair.temp.path().join("rows.csv");
    let head = "id,debit_account_id,credit_account_id,amount,ledger,code";
    let import = ["import", text(&file), "--json"];
    fs::write(
        &file,
        format!("{head}\n1,10,11,5,203,1\n2,10,11,five,203,1\n"),
    )
    .expect("a file");
    let (code, line) = refused(&pair.args(&import));
    assert!(
        code == 1 && line.contains("rows.csv: line 3, column amount"),
        "{line}"
    );
    fs::write(&file, format!("{head}\n1,10,11,5,203,1\n2,10,12,5,203,1\n")).expect("a file");
    let (code, line) = refused(&pair.args(&import));
    assert!(
        code == 1 && line.contains("3 accounts do not exist: 10, 11, 12"),
        "{line}"
    );
    let status = done_json(&["status", "--connect", &pair.node(0).admin, "--json"]);
    assert_eq!(
        (&status["accounts"], &status["transfers"]),
        (&0.into(), &0.into())
    );
    let opening = [
        &import[..],
        &["--create-accounts", "203/10", "--batch", "1"],
    ]
    .concat();
    let first = done_json(&pair.args(&opening));
    assert_eq!(
        (&first["accounts_created"], &first["results"]["created"]),
        (&3.into(), &2.into())
    );
    let second = done_json(&pair.args(&opening));
    assert_eq!(
        (&second["accounts_created"], &second["results"]["exists"]),
        (&0.into(), &2.into())
    );
    fs::write(&file, format!("{head}\n3,10,11,5,203,1\n4,10,12,5,204,1\n")).expect("a file");
    let (code, line) = refused(&pair.args(&import));
    let named = "line 3: transfer_must_have_the_same_ledger_as_accounts";
    assert!(
        code == 1 && line.contains("1 of 2") && line.contains(named),
        "{line}"
    );
}

#[test]
fn the_bank_is_imported_and_its_log_listed_dumped_and_verified_beside_the_nodes() {
    let mut pair = Pair::start();
    // Small batches, so that segments fill and are sealed.
    let bank = done_json(&pair.args(&["import", "--preset", "berka", "--batch", "40", "--json"]));
    assert_eq!(
        (&bank["rows"], &bank["results"]["created"]),
        (&28_205.into(), &28_205.into())
    );
    pair.node(0).wait_for("idle");
    let ledger =
        &done_json(&["status", "--connect", &pair.node(0).admin, "--json"])["trial_balance"][0];
    assert_eq!(
        (&ledger["ledger"], &ledger["difference"]),
        (&203.into(), &"0".into())
    );
    pair.stop(0);
    for node in 0..2 {
        let dir = pair.data(node);
        let verified = done_json(&["log", "verify", "--dir", text(&dir), "--json"]);
        assert_eq!(verified["good"], true);
        let lines = done(&["log", "dump", "--dir", text(&dir), "--json"]);
        let posted = lines.matches("\"kind\":\"transfer_posted\"").count();
        assert_eq!(posted, 28_205);
        let batches = lines.matches("\"kind\":\"batch\"").count();
        assert_eq!(verified["batches"], batches);
        for line in lines.lines().step_by(997) {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON in every line");
        }
        a_dump_from_the_middle_goes_on_where_it_should(text(&dir), &lines);
    }
    let dir = pair.data(0);
    let listed = done_json(&["log", "ls", "--dir", text(&dir), "--json"]);
    let segments = listed["segments"].as_array().expect("a list");
    assert!(segments.len() > 1, "{listed}");
    let last = segments
        .iter()
        .rfind(|one| one["data_bytes"] != 0)
        .expect("data");
    assert_eq!(last["end_lsn"], listed["durable_lsn"]);
    let raw = segments
        .iter()
        .rfind(|one| one["form"] == "raw" && one["data_bytes"] != 0);
    let raw = raw.expect("the log ends in a raw segment");
    flip(raw["file"].as_str().expect("a path").as_ref(), 4096 + 200);
    let (code, line) = refused(&["log", "verify", "--dir", text(&dir), "--json"]);
    assert!(
        code == 1 && line.contains("first bad byte") && line.contains("offset 4096 "),
        "{line}"
    );
    let at = format!("lsn {}", raw["first_lsn"]);
    assert!(line.contains(&at), "{at}: {line}");
    let (code, line) = refused(&["log", "dump", "--dir", text(&dir), "--from", "0"]);
    assert!(
        code == 1 && line.contains("offset 4096 ") && line.contains(&at),
        "{line}"
    );
}

fn a_dump_from_the_middle_goes_on_where_it_should(dir: &str, lines: &str) {
    let batches: Vec<&str> = lines
        .lines()
        .filter(|line| line.contains("\"kind\":\"batch\""))
        .collect();
    let middle = batches[batches.len() / 2];
    let parsed: serde_json::Value = serde_json::from_str(middle).expect("JSON");
    let lsn = parsed["lsn"].as_u64().expect("an lsn");
    // Also from a position within the batch before.
    for from in [lsn, lsn - 1] {
        let args = [
            "log",
            "dump",
            "--dir",
            dir,
            "--json",
            "--limit",
            "3",
            "--from",
            &from.to_string(),
        ];
        let part = done(&args);
        assert_eq!(part.lines().next(), Some(middle));
        assert_eq!(
            part.lines()
                .filter(|line| !line.contains("\"kind\":\"batch\""))
                .count(),
            3
        );
    }
}

#[test]
fn a_command_given_another_port_is_known_not_to_have_reached_a_node() {
    let pair = Pair::start();
    let addresses = &pair.addresses[1];
    for wrong in [&addresses.client, &addresses.replication] {
        for command in [
            &["promote"][..],
            &["alone", "--reason", "a drill"],
            &["drill"],
        ] {
            let words = [command, &["--connect", wrong]].concat();
            let (code, line) = refused(&words);
            assert_eq!(code, 4, "{words:?}: {line}");
            assert!(line.contains("not sent") && line.contains(wrong), "{line}");
        }
    }
}

#[test]
fn a_promotion_prints_what_it_did_and_a_second_one_that_it_did_nothing() {
    let mut pair = Pair::start();
    pair.open_account("1", &[]);
    let admin = pair.addresses[1].admin.clone();
    let (code, line) = refused(&["alone", "--connect", &admin, "--reason", "not the primary"]);
    assert!(code == 1 && line.contains(&admin), "{line}");
    pair.stop(0);
    let promote = [
        "promote",
        "--connect",
        &admin,
        "--alone",
        "--reason",
        "a drill",
        "--json",
    ];
    let first = done_json(&promote);
    assert_eq!(
        (&first["changed"], &first["epoch"]),
        (&true.into(), &"2.1".into())
    );
    assert_eq!(first["may_be_missing"], serde_json::json!([]));
    assert_eq!(done_json(&promote)["changed"], false);
    done(&["status", "--connect", &admin, "--wait", "serving"]);
    pair.open_account("2", &[]);
    let said = done(&["promote", "--connect", &admin]);
    assert!(said.contains("already primary"), "{said}");
    let dump = done(&["log", "dump", "--dir", text(&pair.data(1))]);
    assert!(
        dump.contains("DEGRADED") && dump.contains("\"a drill\""),
        "{dump}"
    );
    assert!(
        dump.contains("account 2 (#1) opened ledger 203 code 1"),
        "{dump}"
    );
}
