//! The change feed, as programs follow it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::done;
use crate::pair::Pair;

/// `kanjo tail` as a program follows it.
struct Tail {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Tail {
    fn start(pair: &Pair, from: u64) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .args(["tail", "--json", "--from", &from.to_string()])
            .args(["--connect", &pair.connect])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kanjo starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Ids of posted transfers up to and with `last`.
    fn transfers_through(&mut self, last: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().map(String::as_str) != Some(last) {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("a line");
            assert!(read > 0, "the tail ended behind {ids:?}");
            let row: Value = serde_json::from_str(&line).expect("JSON");
            if row["kind"] == "transfer_posted" {
                ids.push(row["transfer"]["id"].as_str().expect("an id").to_owned());
            }
        }
        ids
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The primary is stopped in the middle and the other node promoted: the tail goes on there.
#[test]
fn a_tail_has_every_record_once_over_a_promotion_and_can_be_resumed() {
    let mut pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &[]);
    let mut tail = Tail::start(&pair, 0);
    pair.post(1, 77, 10, "--id 1");
    pair.post(1, 77, 10, "--id 2 --value-date 2026-02-02");
    assert_eq!(tail.transfers_through("2"), ["1", "2"]);
    pair.stop(0);
    let admin = pair.addresses[1].admin.clone();
    done(&[
        "promote",
        "--connect",
        &admin,
        "--alone",
        "--reason",
        "a drill",
    ]);
    pair.post(1, 77, 10, "--id 3");
    assert_eq!(tail.transfers_through("3"), ["3"]);
    let all = pair.lines("tail --from 0 --no-follow");
    let posted = |rows: &[Value]| {
        let is_posted = |row: &&Value| row["kind"] == "transfer_posted";
        rows.iter().filter(is_posted).count()
    };
    assert_eq!(posted(&all), 3);
    let resume = all.last().expect("a last line")["lsn"].as_u64();
    pair.post(1, 77, 10, "--id 4");
    let rest = pair.lines(&format!(
        "tail --from {} --no-follow",
        resume.expect("an lsn")
    ));
    assert_eq!(posted(&rest), 1);
    assert_eq!(rest[0]["transfer"]["id"], "4");
    let said = pair.done("tail --from 0 --no-follow");
    assert!(said.contains("transfer 4 posted 10 from 1 to 77"), "{said}");
    assert!(said.contains("resume with --from "), "{said}");
}
