//! `kanjo quorum explain`: the rules applied to a cluster file.

use std::fs;

use crate::{done, done_json, refused, text};

/// Two servers and a witness a site.
fn cluster_file() -> String {
    let server = |node: u32, site: u32| {
        format!(
            "[[server]]\nnode = {node}\nsite = {site}\nclient = \"h{node}:1\"\nreplication = \"h{node}:2\"\n\
             admin = \"h{node}:3\"\nregister = \"h{node}:4\"\n"
        )
    };
    let witness = |node: u32, site: u32| {
        format!("[[witness]]\nnode = {node}\nsite = {site}\nregister = \"h{node}:4\"\n")
    };
    let servers = [server(1, 1), server(2, 1), server(3, 2), server(4, 2)];
    servers.concat() + &witness(11, 1) + &witness(12, 2)
}

#[test]
fn an_explanation_names_who_may_process_in_every_case_and_why() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("cluster.toml");
    fs::write(&file, cluster_file()).expect("a file");
    let explain = ["quorum", "explain", "--cluster-file", text(&file)];
    let table = done(&explain);
    for part in [
        "server 1 is taken for the primary",
        "STOPS",
        "STALLS",
        "server 2 takes over",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let longest = table.lines().skip(6).map(|line| line.chars().count()).max();
    assert!(longest <= Some(120), "{table}");
    let json = done_json(&[&explain[..], &["--json"]].concat());
    assert_eq!(json["primary"], 1);
    let cases = json["cases"].as_array().expect("a list");
    let case = |fault: &str| {
        let found = cases.iter().find(|case| case["fault"] == fault);
        found.unwrap_or_else(|| panic!("{fault}: {json}"))
    };
    assert_eq!(case("lost")["verdict"], "other-server");
    assert_eq!(case("lost")["processes"], 2);
    assert_eq!(case("link-cut")["verdict"], "stalls");
    let other = done_json(&[&explain[..], &["--json", "--site-active", "2"]].concat());
    assert_eq!(
        (&other["active"], &other["primary"]),
        (&2.into(), &3.into())
    );
    let third = done(&[&explain[..], &["--third-witness"]].concat());
    assert!(third.contains("ONE SITE ONLY"), "{third}");
}

#[test]
fn a_cluster_file_that_cannot_be_used_is_refused_by_name() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("cluster.toml");
    let explain = ["quorum", "explain", "--cluster-file", text(&file)];
    let (code, line) = refused(&explain);
    assert!(code == 2 && line.contains("cluster.toml"), "{line}");
    fs::write(&file, cluster_file().replace("node = 12", "node = 4")).expect("a file");
    let (code, line) = refused(&explain);
    assert!(
        code == 2 && line.contains("node 4 stands there twice"),
        "{line}"
    );
}
