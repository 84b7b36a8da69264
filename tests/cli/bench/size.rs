//! What size does, at the smallest sizes; and the promotion of a running auxiliary.

use super::{Run, check_fields};
use crate::kanjo;

/// Figures at every size.
const AT_A_SIZE: [&str; 12] = [
    "accounts",
    "transfers_per_s",
    "cpu_us_per_transfer",
    "wire_bytes_per_transfer",
    "rss_bytes",
    "floor_p50_us",
    "p50_us",
    "p99_us",
    "ratio_p50",
    "restart_transfers",
    "restart_primary_s",
    "restart_auxiliary_s",
];
/// Small requests, so that little of history is what finds out the floor.
const SMALL: [&str; 6] = ["--seconds", "0.3", "--batch", "50", "--accounts", "50"];

/// The figure at each size of one series.
fn sizes(series: &serde_json::Value, name: &str) -> Vec<u64> {
    let rounds = series["rounds"].as_array().expect("rounds").iter();
    rounds
        .map(|point| point[name].as_f64().expect(name) as u64)
        .collect()
}

fn is_drawn(run: &Run, name: &str) {
    let path = run.dir.path().join(name);
    let drawing = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(drawing.contains("<svg"), "{name}");
}

#[test]
fn growth_is_measured_over_transfers_and_over_accounts() {
    let options = ["growth", "--transfers-max", "1", "--accounts-max", "500"];
    let run = Run::of(&[&options[..], &SMALL].concat());
    let series = run.result["series"].as_array().expect("series");
    assert_eq!(series.len(), 2);
    series
        .iter()
        .for_each(|series| check_fields(series, &AT_A_SIZE));
    assert_eq!(series[0]["grows"], "transfers");
    let transfers = sizes(&series[0], "transfers");
    assert!(
        transfers[0] == 0 && transfers[1] > 0 && transfers.len() == 2,
        "{transfers:?}"
    );
    assert_eq!(series[1]["grows"], "accounts");
    assert_eq!(sizes(&series[1], "accounts"), [500]);
    for (name, axis) in [("throughput", "transfers"), ("restart", "accounts")] {
        is_drawn(&run, &format!("growth-{name}-{axis}.svg"));
    }
    assert_eq!(run.result["digests_equal"], true);
}

#[test]
fn history_grows_to_its_size_with_random_ids() {
    let options = ["history", "--transfers", "30000", "--ids", "random"];
    let run = Run::of(&[&options[..], &SMALL].concat());
    let series = run.result["series"].as_array().expect("series");
    assert_eq!((series.len(), &series[0]["ids"]), (1, &"random".into()));
    check_fields(&series[0], &AT_A_SIZE);
    let transfers = sizes(&series[0], "transfers");
    assert!(
        transfers.len() == 6 && transfers.is_sorted() && transfers[5] >= 30_000,
        "{transfers:?}"
    );
    is_drawn(&run, "history-memory-transfers.svg");
}

#[test]
fn a_running_auxiliary_is_promoted_there_and_back() {
    let options = ["promote", "--running", "60", "--transfers", "500"];
    let run = Run::of(&[&options[..], &["--rounds", "2"]].concat());
    assert_eq!(run.result["benchmark"], "promote-running");
    assert_eq!(run.result["accounts"], 60);
    assert_eq!(run.result["rounds"].as_array().map(Vec::len), Some(2));
    let fields = ["first_commit_ms", "promote_ms", "node_ms", "rejoin_s"];
    check_fields(&run.result, &fields);
    assert!(run.printed.contains("to the first answered commit"));
    let output = kanjo(&["bench", "promote", "--running", "--batch", "5"]);
    assert_eq!(output.status.code(), Some(2), "its log has full batches");
}
