//! What the command line says of itself.

use crate::{done, kanjo};

const COMMANDS: [&[&str]; 35] = [
    &["format"],
    &["start"],
    &["status"],
    &["promote"],
    &["alone"],
    &["drill"],
    &["quorum", "explain"],
    &["account", "create"],
    &["account", "set"],
    &["account", "show"],
    &["account", "list"],
    &["account", "transfers"],
    &["account", "balances"],
    &["account", "balance"],
    &["account", "statement"],
    &["transfer", "create"],
    &["transfer", "post"],
    &["transfer", "void"],
    &["transfer", "reverse"],
    &["transfer", "show"],
    &["transfer", "list"],
    &["transfer", "outcome"],
    &["transfer", "burn"],
    &["trial-balance"],
    &["day", "show"],
    &["day", "close"],
    &["tail"],
    &["import"],
    &["log", "ls"],
    &["log", "dump"],
    &["log", "verify"],
    &["index", "ls"],
    &["index", "rebuild"],
    &["index", "verify"],
    &["completions"],
];

#[test]
fn every_command_teaches_by_example_and_names_its_exit_codes() {
    for command in COMMANDS {
        let help = done(&[command, &["--help"]].concat());
        for part in ["Usage: kanjo", "Examples:", "Exit codes:"] {
            assert!(help.contains(part), "{command:?} lacks {part:?}:\n{help}");
        }
        let name = command.join(" ");
        let example = format!("kanjo {name}");
        let examples = help.split("Examples:").nth(1).expect("examples");
        assert!(examples.contains(&example), "{command:?}:\n{help}");
        let longest = examples.lines().map(|line| line.chars().count()).max();
        assert!(
            longest <= Some(100),
            "{command:?} has a line of {longest:?}"
        );
    }
}

#[test]
fn the_first_help_lists_every_command_and_the_first_steps() {
    let help = done(&["--help"]);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {} ", command[0])), "{help}");
    }
    assert!(help.contains("First steps"), "{help}");
    let short = done(&["-h"]);
    assert!(short.len() < help.len() && short.contains("Exit codes:"));
}

#[test]
fn wrong_arguments_exit_with_2_and_change_nothing() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    let dir = crate::text(&dir);
    let cluster = "0123456789abcdef0123456789abcdef";
    let node = ["--node", "1", "--site", "1"];
    let cases: [&[&str]; 12] = [
        &[],
        &["launch"],
        &["format", "--dir", dir],
        &[&["format", "--dir", dir, "--cluster", "123"], &node[..]].concat(),
        &[
            &[
                "format",
                "--dir",
                dir,
                "--new-cluster",
                "--cluster",
                cluster,
            ],
            &node[..],
        ]
        .concat(),
        &[
            &[
                "format",
                "--dir",
                dir,
                "--new-cluster",
                "--segment-size",
                "1MiB",
            ],
            &node[..],
        ]
        .concat(),
        &[
            "format",
            "--dir",
            dir,
            "--new-cluster",
            "--node",
            "1",
            "--site",
            "3",
        ],
        &["status", "--connect", "127.0.0.1:1", "--timeout", "1s"],
        &["promote", "--connect", "127.0.0.1:1", "--dir", dir],
        &["promote", "--dir", dir, "--alone"],
        &["promote", "--dir", dir, "--alone", "--reason", " "],
        &[
            "transfer",
            "create",
            "--connect",
            "127.0.0.1:1",
            "--debit",
            "1",
            "--credit",
            "2",
            "--amount",
            "12.50",
            "--ledger",
            "1",
            "--code",
            "1",
        ],
    ];
    for args in cases {
        let output = kanjo(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    assert!(!std::path::Path::new(dir).exists());
}

/// Each is wrong in one way, which the message names; nobody listens at the address.
#[test]
fn an_argument_that_cannot_be_meant_is_named() {
    let cases: [(&str, &str); 21] = [
        ("account set 7", "--overdraft-limit"),
        ("account set 7 --overdraft-limit 1.5", "--overdraft-limit"),
        ("account set 7 --overdraft-limit some", "not a whole number"),
        ("account set 7 --freeze all", "neither debits, credits"),
        ("account set --freeze none", "<ID>"),
        (
            "account create --id 1 --ledger 1 --code 1 --imported",
            "--timestamp",
        ),
        (
            "account create --id 1 --ledger 1 --code 1 --timestamp 5",
            "--imported",
        ),
        ("account list --from 2026-02-30", "calendar"),
        ("account list --to yesterday", "no time"),
        ("account list --limit 0", "--limit"),
        ("account transfers 7 --debits --credits", "--credits"),
        ("account balance 7", "--at"),
        ("account balance 7 --at lsn:x", "no whole number"),
        ("account statement 7 --by month", "business-date"),
        (
            "account statement 7 --from 2026-02-01 --to 2026-01-01",
            "before",
        ),
        (
            "account statement 7 --by business-date --from 2026-01-01T00:00:00Z",
            "dates like",
        ),
        (
            "transfer create --debit 1 --credit 2 --amount 1 --ledger 1 --code 1 --expires-after 1h",
            "--pending",
        ),
        ("transfer post 0", "zero is no id"),
        ("transfer void 5 --amount 3", "--amount"),
        ("day close --date 2026-01-32 --next 2026-02-02", "calendar"),
        ("tail --from end", "--from"),
    ];
    for (line, named) in cases {
        let words: Vec<&str> = line.split(' ').collect();
        let output = kanjo(&[&words[..], &["--connect", "127.0.0.1:1"]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        assert!(text.contains(named), "{line}: {text}");
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(&["completions", shell]);
        for word in ["promote", "accept-uncertain-tail", "create-accounts"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}
