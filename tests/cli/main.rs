//! The command line as scripts meet it: words, exit codes, one line on a failure.

mod bench;
mod directories;
mod feed;
mod help;
mod index;
mod ledger;
mod node;
mod pair;
mod quorum;
mod repl;
mod start;
mod witness;

use std::path::Path;
use std::process::Output;

/// Runs `kanjo` with these arguments to its end.
fn kanjo(args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_kanjo"));
    command.args(args).env("NO_COLOR", "1");
    command.output().expect("kanjo runs")
}

/// The exit code, and standard error, which must be one line of `kanjo`'s own.
fn refused(args: &[&str]) -> (i32, String) {
    let output = kanjo(args);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(text.starts_with("kanjo: "), "{args:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
    (output.status.code().expect("it exits"), text)
}

/// What a command that must succeed prints.
fn done(args: &[&str]) -> String {
    let output = kanjo(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The same, read as JSON.
fn done_json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&done(args)).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A directory formatted with the smallest segments.
fn format(dir: &Path, node: &str) {
    let cluster = "0123456789abcdef0123456789abcdef";
    done(&[
        "format",
        "--dir",
        text(dir),
        "--cluster",
        cluster,
        "--node",
        node,
        "--site",
        node,
        "--segment-size",
        "2MiB",
    ]);
}
