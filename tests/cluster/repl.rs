//! `kanjo repl` says the same of a cluster as of its ledger in memory.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::Pair;

/// Every request but the ones that need a time of the past, or move the clock.
const LINES: &str = r#"
{"create_accounts":[{"id":1,"ledger":1,"code":1,"flags":["history"]},{"id":2,"ledger":1,"code":2},{"id":3,"ledger":1,"code":1,"flags":["debits_must_not_exceed_credits"]}]}
{"create_transfers":[{"id":1,"debit_account_id":1,"credit_account_id":2,"amount":500,"ledger":1,"code":1},{"id":2,"debit_account_id":3,"credit_account_id":2,"amount":1,"ledger":1,"code":1},{"id":3,"debit_account_id":1,"credit_account_id":3,"amount":70,"ledger":1,"code":1,"flags":["pending"],"user_data_64":9}]}
{"create_transfers":[{"id":4,"pending_id":3,"amount":"340282366920938463463374607431768211455","flags":"post_pending_transfer"}]}
{"close_day":{"date":0,"next":20260105}}
{"create_transfers":[{"id":5,"reverses":1,"amount":20,"value_date":20260106}]}
{"change_accounts":[{"id":3,"overdraft_limit":30,"freeze":["credits"]}]}
{"create_transfers":[{"id":6,"debit_account_id":3,"credit_account_id":2,"amount":101,"ledger":1,"code":1},{"id":7,"debit_account_id":3,"credit_account_id":2,"amount":100,"ledger":1,"code":1}]}
{"burn":[8,1]}
{"lookup_accounts":[3,2,1,9]}
{"lookup_transfers":[1,2,3,4]}
{"lookup_account_terms":[3,1]}
{"lookup_transfer_details":[5,1]}
{"lookup_outcome":[1,2,8,99]}
{"get_account_transfers":{"account_id":1,"limit":10,"flags":["debits","credits","reversed"]}}
{"get_account_balances":{"account_id":1,"limit":10,"flags":["debits","credits"]}}
{"query_accounts":{"code":1,"limit":10}}
{"query_transfers":{"user_data_64":9,"limit":10}}
{"statement":{"account_id":3,"limit":10}}
{"statement":{"account_id":3,"limit":1,"unit":"business_date","from":20260105,"to":20260105}}
{"balances_as_of":[{"account_id":2,"at":"18446744073709551615"},{"account_id":2,"at":20260104,"unit":"business_date"}]}
{"trial_balance":{}}
"#;

#[test]
fn a_cluster_answers_as_the_ledger_in_memory_does() {
    let pair = Pair::start("repl");
    let embedded = answers(&["repl", "--embedded"]);
    let addresses = pair.client_addresses().join(",");
    let cluster = answers(&["repl", "--connect", &addresses]);
    assert_eq!(embedded.len(), LINES.trim().lines().count());
    for (asked, (one, other)) in LINES.trim().lines().zip(embedded.iter().zip(&cluster)) {
        assert_eq!(one, other, "{asked}");
    }
}

/// What `kanjo` says to the lines, without the times.
fn answers(args: &[&str]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kanjo starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(LINES.trim().as_bytes())
        .expect("kanjo reads");
    drop(input);
    let output = child.wait_with_output().expect("kanjo ends");
    assert!(output.status.success(), "{args:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let read = |line: &str| {
        let mut answer: Value = serde_json::from_str(line).expect("JSON");
        forget_times(&mut answer);
        answer
    };
    text.lines().map(read).collect()
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("timestamp");
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}
