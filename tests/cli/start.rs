//! `kanjo start`: refusals in one line, signals, and one process a directory.

use std::fs;
use std::process::Command;

use crate::node::{Addresses, Node, configure, start_refused};
use crate::{done_json, format, refused, text};

#[test]
fn an_unknown_key_is_named_in_one_line() {
    let temp = tempfile::tempdir().expect("a directory");
    let (file, data) = (temp.path().join("a.toml"), temp.path().join("a"));
    let (mine, peer) = (Addresses::draw(), Addresses::draw());
    configure(&file, &data, &mine, &peer);
    let good = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{good}sync_mode = \"off\"\n")).expect("it can be written");
    let (code, line) = refused(&["start", "--config", text(&file)]);
    assert_eq!(code, 1);
    for part in ["a.toml", "line 7", "sync_mode"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let args = ["start", "--config", text(&file), "--log-format", "json"];
    let output = crate::kanjo(&args);
    assert_eq!(output.status.code(), Some(1));
    let logged: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON only");
    assert_eq!(logged["level"], "ERROR");
    assert!(
        logged["fields"]["error"]
            .as_str()
            .expect("a text")
            .contains("sync_mode")
    );
}

#[test]
fn what_is_missing_is_named_in_one_line() {
    let temp = tempfile::tempdir().expect("a directory");
    let (file, data) = (temp.path().join("a.toml"), temp.path().join("nowhere"));
    let (code, line) = refused(&["start", "--config", text(&file)]);
    assert_eq!(code, 1);
    assert!(
        line.contains("a.toml") && line.contains("No such file"),
        "{line}"
    );
    configure(&file, &data, &Addresses::draw(), &Addresses::draw());
    let (code, line) = refused(&["start", "--config", text(&file)]);
    assert_eq!(code, 1);
    assert!(
        line.contains("nowhere") && line.contains("format it first"),
        "{line}"
    );
    assert!(!data.exists(), "nothing was made");
    let open = fs::read_to_string(&file).expect("the configuration");
    let open = open.replacen("client_listen = \"127.", "client_listen = \"10.", 1);
    fs::write(&file, open).expect("it can be written");
    let (code, line) = refused(&["start", "--config", text(&file)]);
    assert_eq!(code, 1);
    assert!(
        line.contains("client_listen") && line.contains("insecure_listen"),
        "{line}"
    );
}

#[test]
fn a_second_process_on_one_directory_is_refused_and_the_first_goes_on() {
    let temp = tempfile::tempdir().expect("a directory");
    let data = temp.path().join("a");
    format(&data, "1");
    let (mine, peer) = (Addresses::draw(), Addresses::draw());
    let first = temp.path().join("first.toml");
    configure(&first, &data, &mine, &peer);
    let node = Node::start(&first, &mine);
    let second = temp.path().join("second.toml");
    configure(&second, &data, &Addresses::draw(), &peer);
    let output = start_refused(&second);
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(
        line.contains("in use by process") && line.contains(&node.pid().to_string()),
        "{line}"
    );
    let (code, line) = refused(&["promote", "--dir", text(&data)]);
    assert!(code == 1 && line.contains("in use"), "{line}");
    // Reading is not using.
    done_json(&["log", "verify", "--dir", text(&data), "--json"]);
    done_json(&["log", "ls", "--dir", text(&data), "--json"]);
    let status = done_json(&["status", "--connect", &node.admin, "--json"]);
    assert_eq!(status["pid"], node.pid());
}

#[test]
fn a_signal_stops_it_cleanly_and_it_starts_again() {
    let temp = tempfile::tempdir().expect("a directory");
    let (file, data) = (temp.path().join("a.toml"), temp.path().join("a"));
    format(&data, "1");
    let mine = Addresses::draw();
    configure(&file, &data, &mine, &Addresses::draw());
    for signal in ["TERM", "INT"] {
        let node = Node::start(&file, &mine);
        node.signal(signal);
        let (status, log) = node.wait();
        assert!(status.success(), "{signal}: {status}\n{log}");
        assert!(log.contains("stopped cleanly"), "{signal}: {log}");
    }
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_death() {
    let temp = tempfile::tempdir().expect("a directory");
    let (file, data) = (temp.path().join("a.toml"), temp.path().join("a"));
    format(&data, "1");
    let mine = Addresses::draw();
    configure(&file, &data, &mine, &Addresses::draw());
    let mut command = Command::new("sh");
    // In blocks of 512 or 1024 bytes, as the shell counts: too small for a segment either way.
    let script = "ulimit -f 1000; exec \"$0\" start --config \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_kanjo"), text(&file)]);
    let node = Node::spawn(command, &file, &mine);
    node.wait_log("File too large");
    node.signal("TERM");
    let (status, log) = node.wait();
    assert!(status.code().is_some(), "{status}\n{log}");
    let told = log.matches("the limit on file sizes is reached").count();
    assert_eq!(told, 1, "{log}");
    let node = Node::start(&file, &mine);
    node.signal("TERM");
    assert!(node.wait().0.success(), "it starts again without the limit");
}
