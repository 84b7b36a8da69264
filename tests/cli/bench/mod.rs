//! `kanjo bench` at its shortest: it measures what it says, and its results have their fields.

mod compare;
mod size;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::{done, kanjo, refused, text};

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

/// A run in a directory of its own, which is open to every user of the machine.
struct Run {
    dir: tempfile::TempDir,
    result: Value,
    printed: String,
}

impl Run {
    /// Runs a benchmark to its end; it must leave nothing but its results.
    fn of(words: &[&str]) -> Self {
        let dir = open_folder();
        let json = dir.path().join("result.json");
        let to = ["--dir", text(dir.path()), "--json", text(&json)];
        let printed = done(&[&["bench"], words, &to].concat());
        let result = fs::read(&json).expect("it was written");
        let result = serde_json::from_slice(&result).expect("the result is JSON");
        assert!(!dir.path().join("data").exists(), "nothing is left");
        Self {
            dir,
            result,
            printed,
        }
    }
}

/// A folder that servers can reach which run as somebody else.
fn open_folder() -> tempfile::TempDir {
    let mode = fs::Permissions::from_mode(0o755);
    let made = tempfile::Builder::new().permissions(mode).tempdir();
    made.expect("a directory")
}

/// Runs a benchmark of a load on a pair with a short log; gives its JSON and what it printed.
fn bench(name: &str, options: &[&str]) -> (Value, String) {
    let common = [
        name,
        "--rounds",
        "1",
        "--accounts",
        "50",
        "--segment-size",
        "2MiB",
    ];
    let Run {
        result, printed, ..
    } = Run::of(&[&common[..], options].concat());
    for case in result["cases"].as_array().expect("cases") {
        check_figures(case);
    }
    check_figures(&result);
    assert_eq!(result["digests_equal"], true);
    (result, printed)
}

fn check_figures(result: &Value) {
    check_fields(result, &FIELDS);
}

/// Each of these is there in every round and in the median, and above zero.
fn check_fields(result: &Value, fields: &[&str]) {
    let rounds = result["rounds"].as_array().expect("rounds");
    for figures in rounds.iter().chain([&result["median"]]) {
        for field in fields {
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
fn a_link_of_some_length_is_measured_beside_one_without_delay() {
    // Long enough for many commits: the kernel counts pages as written when they are made ready,
    // eight at a time.
    let options = ["--seconds", "2", "--batch", "100", "--in-flight", "2"];
    let options = [&options[..], &["--delay-ms", "10"]].concat();
    let (result, _) = bench("link", &options);
    let names: Vec<_> = result["cases"].as_array().expect("cases").iter().collect();
    let names = names
        .iter()
        .map(|case| case["name"].as_str().expect("a name"));
    let names: Vec<_> = names.collect();
    assert_eq!(
        names,
        [
            "0 ms: 1 × 1",
            "0 ms: 1 × 100",
            "10 ms: 1 × 1",
            "10 ms: 1 × 100"
        ]
    );
    let delayed = &result["delays"][0];
    assert_eq!(delayed["delay_ms"], 10);
    let p50 = delayed["median"]["p50_us"].as_f64().expect("p50");
    assert!(p50 >= 20_000.0, "{p50} µs are less than the round trip");
    assert!(delayed["median"]["p50_allowed_us"].as_f64().expect("a bar") > 20_000.0);
    let rested = delayed["min"]["rested_after_s"].as_f64();
    let rested = rested.expect("the nodes were waited for before one client");
    assert!(rested >= 0.5, "{rested} s are less than one look");
}

#[test]
fn a_disk_that_stands_still_is_seen_and_gone_on_from() {
    let mut strace = std::process::Command::new("strace");
    let strace = strace.args(["-f", "--seccomp-bpf", "-qq", "true"]).output();
    if !strace.is_ok_and(|output| output.status.success()) {
        let (_, line) = refused(&["bench", "disk"]);
        assert!(line.contains("strace"), "{line}");
        return;
    }
    let options = ["--seconds", "2", "--batch", "10", "--connections", "2"];
    let (result, _) = bench("disk", &[&options[..], &["--stop-ms", "400"]].concat());
    let figure = |case: usize, name: &str| {
        let figure = &result["cases"][case]["median"][name];
        figure
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {result}"))
    };
    assert!(
        figure(2, "p50_us") >= 5_000.0,
        "every sync takes 5 ms longer"
    );
    assert!(figure(3, "max_us") >= 400_000.0, "one takes 400 ms longer");
    assert!(figure(3, "requests_outstanding_max") <= 2.0);
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
