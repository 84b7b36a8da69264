//! `kanjo bench` at its shortest: it measures what it says, and its results have their fields.

use std::fs;

use serde_json::Value;

use crate::{done, kanjo, text};

/// Fields that every result of a load on a pair has, in `median` and in each of `rounds`.
const FIELDS: [&str; 12] = [
    "floor_p50_us",
    "floor_p99_us",
    "p50_us",
    "p99_us",
    "ratio_p50",
    "ratio_p99",
    "transfers_per_s",
    "wire_bytes_per_transfer",
    "log_bytes_per_transfer",
    "rss_bytes",
    "cpu_us_per_transfer",
    "primary_commit_writes_ratio",
];

/// Runs a benchmark in a directory of its own, with a short log; gives its JSON and what it
/// printed.
fn bench(name: &str, options: &[&str]) -> (Value, String) {
    let temp = tempfile::tempdir().expect("a directory");
    let json = temp.path().join("result.json");
    let common = [
        "bench",
        name,
        "--dir",
        text(temp.path()),
        "--json",
        text(&json),
        "--rounds",
        "1",
        "--accounts",
        "50",
        "--segment-size",
        "2MiB",
    ];
    let printed = done(&[&common[..], options].concat());
    let result: Value = serde_json::from_slice(&fs::read(&json).expect("it was written"))
        .expect("the result is JSON");
    assert!(!temp.path().join("data").exists(), "nothing is left");
    for case in result["cases"].as_array().expect("cases") {
        check_figures(case);
    }
    check_figures(&result);
    assert_eq!(result["digests_equal"], true);
    (result, printed)
}

fn check_figures(result: &Value) {
    let rounds = result["rounds"].as_array().expect("rounds");
    for figures in rounds.iter().chain([&result["median"]]) {
        for field in FIELDS {
            let value = figures[field].as_f64();
            assert!(value.is_some_and(|value| value > 0.0), "{field}: {figures}");
        }
    }
}

#[test]
fn throughput_is_measured_beside_the_floor_with_equal_digests_at_the_end() {
    let options = ["--seconds", "0.5", "--batch", "200", "--connections", "2"];
    let (result, printed) = bench("throughput", &options);
    assert_eq!(result["benchmark"], "throughput");
    assert_eq!(
        result["full_length"], false,
        "half a second is said to be short"
    );
    assert!(
        printed.contains("not a measurement of lasting throughput"),
        "{printed}"
    );
    let case = &result["cases"][0];
    assert_eq!(case["connections"], 2);
    assert_eq!(case["frame_bytes"]["request"], 32 + 4 + 200 * 128);
    let median = &result["median"];
    // Ids of 80 random bits cannot be packed into less; pages and frames take more.
    let wire = median["wire_bytes_per_transfer"].as_f64();
    assert!(
        wire.is_some_and(|bytes| (12.0..60.0).contains(&bytes)),
        "{median}"
    );
    let written = median["primary_commit_writes_ratio"].as_f64();
    assert!(written.is_some_and(|ratio| ratio < 3.0), "{median}");
}

#[test]
fn an_open_loop_posts_what_is_due_and_no_more() {
    let options = [
        "--seconds",
        "1",
        "--batch",
        "5",
        "--connections",
        "3",
        "--rate",
        "500",
        "--zipf",
    ];
    let (result, _) = bench("throughput", &options);
    assert_eq!(result["zipf"], 1.0);
    let rate = result["median"]["transfers_per_s"]
        .as_f64()
        .expect("a rate");
    assert!(
        (300.0..600.0).contains(&rate),
        "{rate} a second, 500 were due"
    );
}

#[test]
fn a_load_that_cannot_be_is_refused() {
    for options in [
        &["--batch", "8190"][..],
        &["--preset", "clients", "--batch", "5"],
    ] {
        let output = kanjo(&[&["bench", "throughput"], options].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("--batch"), "{errors}");
    }
}
