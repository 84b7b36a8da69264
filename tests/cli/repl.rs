//! `kanjo repl --embedded` from a pipe: one line a line, and an exit code for what was not understood.

use std::process::Output;

use crate::refused;

fn piped(lines: &str) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_kanjo"));
    command.args(["repl", "--embedded"]).write_stdin(lines);
    command.output().expect("kanjo runs")
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_script_gets_one_line_for_each_of_its_lines() {
    let output = piped(
        "{\"create_accounts\":[{\"id\":1,\"ledger\":1,\"code\":1},{\"id\":\"2\",\"ledger\":1,\"code\":1}]}\n\
         {\"create_transfers\":[{\"id\":7,\"debit_account_id\":1,\"credit_account_id\":2,\
         \"amount\":\"18446744073709551616\",\"ledger\":1,\"code\":1,\"flags\":[\"pending\"],\"timeout\":1}]}\n\
         {\"tick_ns\":999999999}\n\
         \n\
         {\"lookup_accounts\":[2]}\n\
         {\"tick_ns\":1}\n\
         {\"lookup_accounts\":[2,9]}\n",
    );
    assert_eq!(output.status.code(), Some(0));
    let account = |pending: &str| {
        format!(
            "{{\"lookup_accounts\":[{{\"id\":2,\"debits_pending\":0,\"debits_posted\":0,\
             \"credits_pending\":{pending},\"credits_posted\":0,\"user_data_128\":0,\
             \"user_data_64\":0,\"user_data_32\":0,\"ledger\":1,\"code\":1,\"flags\":[],\
             \"timestamp\":2}}]}}"
        )
    };
    let expected = [
        "{\"create_accounts\":[{\"timestamp\":1,\"status\":\"created\"},\
         {\"timestamp\":2,\"status\":\"created\"}]}",
        "{\"create_transfers\":[{\"timestamp\":3,\"status\":\"created\"}]}",
        "{\"tick_ns\":{\"clock\":1000000002}}",
        &account("\"18446744073709551616\""),
        "{\"tick_ns\":{\"clock\":1000000003}}",
        &account("0"),
    ];
    assert_eq!(lines(&output), expected);
}

#[test]
fn a_line_that_is_not_understood_names_the_field_and_the_next_one_is_read() {
    let output = piped(
        "{\"create_transfers\":[{},{\"code\":70000}]}\n\
         nonsense\n\
         {\"lookup_accounts\":[]}\n",
    );
    assert_eq!(output.status.code(), Some(2));
    let lines = lines(&output);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let error: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!(error["error"]["field"], "create_transfers[1].code");
    assert!(lines[1].starts_with("{\"error\":"), "{}", lines[1]);
    assert_eq!(lines[2], "{\"lookup_accounts\":[]}");
}

#[test]
fn a_request_to_a_cluster_that_is_not_there_is_refused() {
    let (code, line) = refused(&["repl", "--connect", "127.0.0.1:1", "--timeout", "100ms"]);
    assert_eq!(code, 4, "{line}");
    let output = crate::kanjo(&["repl"]);
    assert_eq!(output.status.code(), Some(2));
}
