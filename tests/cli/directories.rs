//! Commands on data directories that no node has open.

use std::fs;
use std::path::Path;

use crate::{done, done_json, format, refused, text};

#[test]
fn a_directory_that_holds_anything_is_not_formatted() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("notes.txt");
    fs::write(&file, "mine").expect("a file");
    let args = [
        "format",
        "--dir",
        text(temp.path()),
        "--new-cluster",
        "--node",
        "1",
        "--site",
        "1",
    ];
    let (code, line) = refused(&args);
    assert_eq!(code, 1);
    assert!(
        line.contains("notes.txt") && line.contains("nothing was changed"),
        "{line}"
    );
    let names = fs::read_dir(temp.path()).expect("it can be listed");
    assert_eq!(names.count(), 1);
    fs::remove_file(&file).expect("it can be removed");
    done(&args);
    let (code, line) = refused(&args);
    assert_eq!(code, 1);
    assert!(line.contains("control"), "formatted twice: {line}");
}

#[test]
fn a_new_cluster_draws_an_id_that_the_other_node_takes() {
    let temp = tempfile::tempdir().expect("a directory");
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    let first = done_json(&[
        "format",
        "--dir",
        text(&a),
        "--new-cluster",
        "--node",
        "1",
        "--site",
        "1",
        "--json",
    ]);
    let cluster = first["cluster"].as_str().expect("a cluster id");
    assert_eq!(first["role"], "primary");
    let second = done_json(&[
        "format",
        "--dir",
        text(&b),
        "--cluster",
        cluster,
        "--node",
        "2",
        "--site",
        "2",
        "--json",
    ]);
    assert_eq!(second["role"], "replica");
    assert_eq!(first["cluster"], second["cluster"]);
    assert_ne!(first["incarnation"], second["incarnation"]);
    let listed = done_json(&["log", "ls", "--dir", text(&b), "--json"]);
    assert_eq!(listed["incarnation"], second["incarnation"]);
    assert_eq!(listed["segments"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_formatted_directory_verifies_and_a_flipped_byte_is_named() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    format(&dir, "1");
    let verify = ["log", "verify", "--dir", text(&dir)];
    assert!(done(&verify).contains("every byte verifies"));
    let control = dir.join("control");
    // In the second slot; then in the zeros behind the first.
    for (offset, named) in [(4096 + 17, "offset 4096"), (3000, "offset 3000")] {
        flip(&control, offset);
        let (code, line) = refused(&verify);
        assert_eq!(code, 1);
        assert!(
            line.contains("first bad byte") && line.contains(named),
            "{line}"
        );
        let json = [&verify[..], &["--json"]].concat();
        let output = crate::kanjo(&json);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["good"], false);
        assert!(
            named.ends_with(&report["first_bad_byte"]["offset"].to_string()),
            "{report}"
        );
        flip(&control, offset);
    }
    done(&verify);
}

#[test]
fn what_is_no_data_directory_is_called_so_by_every_command() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = text(temp.path());
    for args in [
        &["log", "ls", "--dir", dir][..],
        &["log", "dump", "--dir", dir],
        &["log", "verify", "--dir", dir],
        &["index", "ls", "--dir", dir],
        &["index", "rebuild", "--dir", dir],
        &["index", "verify", "--dir", dir],
        &["promote", "--dir", dir],
    ] {
        let (code, line) = refused(args);
        assert_eq!(code, 1, "{args:?}");
        assert!(line.contains("not a kanjo data directory"), "{line}");
        assert!(line.contains(dir), "{line}");
    }
    assert_eq!(
        fs::read_dir(temp.path()).expect("it can be listed").count(),
        0
    );
}

#[test]
fn a_fresh_replica_is_not_promoted_without_words_that_say_what_may_be_missing() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    format(&dir, "2");
    let promote = [
        "promote",
        "--dir",
        text(&dir),
        "--alone",
        "--reason",
        "a drill",
    ];
    let (code, line) = refused(&promote);
    assert_eq!(code, 1);
    assert!(
        line.contains("--accept-missing-answered-transfers"),
        "{line}"
    );
    let forced = [&promote[..], &["--accept-missing-answered-transfers"]].concat();
    let said = done(&forced);
    for part in [
        "epoch 2.1",
        "lsn 0",
        "chain",
        "digest",
        "MAY BE MISSING",
        "took",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let again = done_json(&[&promote[..], &["--json"]].concat());
    assert_eq!(
        (&again["changed"], &again["epoch"]),
        (&false.into(), &"2.1".into())
    );
}

/// Turns one bit of a file.
pub(crate) fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).expect("the file");
    bytes[offset] ^= 1;
    fs::write(file, bytes).expect("the file can be written");
}
