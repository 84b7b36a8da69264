//! The whole ledger by hand, on a running pair.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::pair::Pair;
use crate::{done, done_json, refused, text};

impl Pair {
    /// What the command of these words prints, read as one JSON value.
    pub(crate) fn json(&self, line: &str) -> Value {
        done_json(&self.words(&format!("{line} --json")))
    }

    /// What it prints, read as one JSON object a line.
    pub(crate) fn lines(&self, line: &str) -> Vec<Value> {
        let printed = done(&self.words(&format!("{line} --json")));
        let read = |line: &str| serde_json::from_str(line).expect("JSON");
        printed.lines().map(read).collect()
    }

    pub(crate) fn done(&self, line: &str) -> String {
        done(&self.words(line))
    }

    /// It must fail with exit code 1 and that in its message.
    pub(crate) fn refused(&self, line: &str, why: &str) {
        let (code, said) = refused(&self.words(line));
        assert!(code == 1 && said.contains(why), "{line}: {said}");
    }

    pub(crate) fn words<'a>(&'a self, line: &'a str) -> Vec<&'a str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.args(&words)
    }

    pub(crate) fn post(&self, debit: u32, credit: u32, amount: u32, more: &str) {
        self.done(&format!(
            "transfer create --debit {debit} --credit {credit} --amount {amount} --ledger 203 \
             --code 9 {more}"
        ));
    }
}

#[test]
fn a_pending_transfer_is_posted_in_part_and_resolved_once() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &["--history"]);
    pair.post(1, 77, 1_000, "--id 5 --pending --expires-after 1h");
    let shown = pair.json("account show 77");
    assert_eq!(shown[0]["credits_pending"], "1000");
    assert_eq!(shown[0]["flags"], serde_json::json!(["history"]));
    pair.done("transfer post 5 --amount 400 --id 6");
    pair.refused("transfer void 5", "pending_transfer_already_posted");
    let shown = pair.json("account show 77");
    assert_eq!(shown[0]["credits_pending"], "0");
    assert_eq!(shown[0]["credits_posted"], "400");
    let shown = pair.json("transfer show 5 6");
    assert_eq!(shown[0]["flags"], serde_json::json!(["pending"]));
    assert_eq!(shown[0]["timeout"], 3_600);
    assert_eq!(
        (&shown[1]["pending_id"], &shown[1]["amount"]),
        (&"5".into(), &"400".into())
    );
    let balances = pair.lines("account balances 77");
    assert_eq!(balances.len(), 2);
    assert_eq!(balances[1]["credits_posted"], "400");
    pair.refused("account balances 1", "without --history");
    let said = pair.done("transfer show 6 --decimals 2");
    assert!(
        said.contains("4.00") && said.contains("post_pending_transfer"),
        "{said}"
    );
}

#[test]
fn terms_of_an_account_decide_what_it_may_do() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &["--overdraft-limit", "500"]);
    pair.post(77, 1, 500, "");
    pair.refused(
        "transfer create --debit 77 --credit 1 --amount 1 --ledger 203 --code 9",
        "exceeds_overdraft_limit",
    );
    pair.done("account set 77 --overdraft-limit none --freeze credits");
    let terms = &pair.json("account show 77")[0]["terms"];
    assert_eq!(
        (&terms["overdraft_limit"], &terms["freeze"][0]),
        (&Value::Null, &"credits".into())
    );
    pair.refused(
        "transfer create --debit 1 --credit 77 --amount 1 --ledger 203 --code 9",
        "credit_account_frozen",
    );
    let same = pair.done("account set 77 --freeze credits");
    assert!(same.contains("unchanged"), "{same}");
    pair.done("account set 77 --freeze none");
    pair.post(1, 77, 1, "");
    pair.refused(
        "account set 78 --freeze none",
        "account 78: account_not_found",
    );
}

#[test]
fn a_transfer_is_reversed_once_and_not_beyond_its_amount() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &[]);
    pair.post(1, 77, 1_000, "--id 5 --value-date 2026-02-02");
    pair.refused(
        "transfer reverse 5 --amount 1001",
        "exceeds_reversed_transfer_amount",
    );
    pair.done("transfer reverse 5 --id 6");
    pair.refused("transfer reverse 5", "transfer_already_reversed");
    let shown = pair.json("transfer show 5 6");
    assert_eq!(shown[0]["value_date"], "2026-02-02");
    assert_eq!(
        (&shown[1]["reverses"], &shown[1]["debit_account_id"]),
        (&"5".into(), &"77".into())
    );
    let balance = pair.json("account show 77");
    assert_eq!(balance[0]["debits_posted"], "1000");
}

#[test]
fn a_day_is_closed_and_its_statement_adds_up() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &[]);
    assert_eq!(pair.json("day show")["business_date"], Value::Null);
    pair.done("day close --date none --next 2026-01-30");
    assert_eq!(pair.json("day show")["business_date"], "2026-01-30");
    pair.post(1, 77, 1_000, "--id 5");
    pair.post(77, 1, 300, "--id 6");
    let close = "day close --date 2026-01-30 --next 2026-02-02";
    assert!(pair.done(close).contains("2026-01-30: closed"));
    assert!(pair.done(close).contains("already_closed"));
    pair.refused(
        "day close --date 2026-01-30 --next 2026-02-03",
        "date_is_not_current",
    );
    pair.refused(
        "transfer create --debit 1 --credit 77 --amount 1 --ledger 203 --code 9 \
         --business-date 2026-01-30",
        "business_date_closed",
    );
    pair.post(1, 77, 50, "--id 7");
    let january = pair.lines("account statement 77 --by business-date --to 2026-01-31");
    let kinds: Vec<&str> = january
        .iter()
        .filter_map(|line| line["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["opening", "transfer", "transfer", "closing"]);
    assert_eq!(january[3]["credits_posted"], "1000");
    assert_eq!(
        (&january[3]["debits"], &january[3]["lines"]),
        (&"300".into(), &2.into())
    );
    let february = pair.lines("account statement 77 --by business-date --from 2026-02-01");
    assert_eq!(
        february[0]["credits_posted"], "1000",
        "opens as January closed"
    );
    assert_eq!(february[1]["transfer"]["business_date"], "2026-02-02");
    let said = pair.done("account statement 77 --decimals 2");
    for part in [
        "opening balance",
        "0.00",
        "from 1",
        "to 1",
        "closing balance",
        "7.50",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let then = pair.json("account balance 77 --at 2026-01-30");
    assert_eq!(
        (&then[0]["credits_posted"], &then[0]["debits_posted"]),
        (&"1000".into(), &"300".into())
    );
}

#[test]
fn the_book_is_balanced_at_one_position_and_balances_can_be_had_there() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &[]);
    pair.post(1, 77, 1_000, "");
    let book = pair.json("trial-balance");
    let rows = book["rows"].as_array().expect("rows");
    assert_eq!(rows[0]["debits_posted"], "1000");
    assert_eq!(
        (&rows[0]["code"], &rows[0]["accounts"]),
        (&Value::Null, &2.into())
    );
    pair.post(1, 77, 234, "");
    let lsn = book["lsn"].as_u64().expect("an lsn");
    let then = pair.json(&format!("account balance 77 1 --at lsn:{lsn}"));
    assert_eq!(then[0]["credits_posted"], "1000");
    assert_eq!(then[1]["debits_posted"], "1000");
    assert_eq!(pair.json("account show 77")[0]["credits_posted"], "1234");
    let said = pair.done("trial-balance --ledger 203");
    assert!(
        said.contains("balanced") && said.contains("1,234"),
        "{said}"
    );
    pair.refused(
        "account balance 78 --at 2026-01-30",
        "there is no account 78",
    );
}

#[test]
fn lists_filter_turn_round_and_end_at_their_limit() {
    let pair = Pair::start();
    for id in ["1", "77", "78"] {
        pair.open_account(id, &[]);
    }
    for (n, debit) in [(1, 1), (2, 77), (3, 1), (4, 78)] {
        let credit = if debit == 77 { 1 } else { 77 };
        pair.post(
            debit,
            credit,
            100 * n,
            &format!("--id {n} --user-data-64 {}", n % 2),
        );
    }
    let ids = |lines: Vec<Value>| -> Vec<String> {
        let id = |line: &Value| line["id"].as_str().expect("an id").to_owned();
        lines.iter().map(id).collect()
    };
    assert_eq!(ids(pair.lines("transfer list")), ["1", "2", "3", "4"]);
    assert_eq!(
        ids(pair.lines("transfer list --user-data-64 1 --reversed")),
        ["3", "1"]
    );
    assert_eq!(
        ids(pair.lines("transfer list --ledger 7")),
        Vec::<String>::new()
    );
    assert_eq!(ids(pair.lines("account transfers 77 --debits")), ["2"]);
    assert_eq!(
        ids(pair.lines("account transfers 77 --reversed --limit 2")),
        ["4", "3"]
    );
    assert_eq!(
        ids(pair.lines("account list --reversed --limit 2")),
        ["78", "77"]
    );
    assert_eq!(
        ids(pair.lines("account list --code 1 --to 2020-01-01")),
        Vec::<String>::new()
    );
    let table = pair.done("account transfers 78");
    assert!(
        table.contains("400") && table.contains("user data"),
        "{table}"
    );
    pair.refused("account transfers 79", "there is no account 79");
}

/// 28,205 transfers are several pages in every command.
#[test]
fn what_is_listed_over_many_pages_is_everything_and_once() {
    let pair = Pair::start();
    pair.done("import --preset berka");
    let ids = |lines: &[Value]| -> Vec<String> {
        let id = |line: &Value| line["id"].as_str().expect("an id").to_owned();
        lines.iter().map(id).collect()
    };
    let all = pair.lines("transfer list");
    let forward = ids(&all);
    assert_eq!(forward.len(), 28_205);
    assert_eq!(forward.iter().collect::<BTreeSet<_>>().len(), 28_205);
    let mut backward = ids(&pair.lines("transfer list --reversed"));
    backward.reverse();
    assert!(forward == backward, "the same in both directions");
    let tail = pair.lines("tail --from 0 --no-follow");
    let posted: Vec<String> = tail
        .iter()
        .filter(|row| row["kind"] == "transfer_posted")
        .map(|row| row["transfer"]["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(posted == forward, "the feed has them all in the same order");

    // The bank's own account in most of them.
    let busy = "4294967297";
    let is_of = |row: &&Value| row["debit_account_id"] == busy || row["credit_account_id"] == busy;
    let count = all.iter().filter(is_of).count();
    assert!(count > 8_189, "more than a page");
    let listed = pair.lines(&format!("account transfers {busy}"));
    assert_eq!(listed.len(), count);
    let statement = pair.lines(&format!("account statement {busy}"));
    assert_eq!(statement.len(), count + 2);
    let (closing, shown) = (
        &statement[count + 1],
        &pair.json(&format!("account show {busy}"))[0],
    );
    for field in ["debits_posted", "credits_posted"] {
        assert_eq!(closing[field], shown[field]);
    }
    let half = &listed[count / 2];
    let at = half["timestamp"].as_u64().expect("a timestamp");
    let then = &pair.json(&format!("account balance {busy} --at {at}"))[0];
    let until = pair.lines(&format!("account statement {busy} --to {at}"));
    let closing = until.last().expect("a closing balance");
    assert_eq!(closing["lines"], count / 2 + 1);
    for field in ["debits_posted", "credits_posted"] {
        assert_eq!(closing[field], then[field]);
    }
}

#[test]
fn the_truth_about_an_id_can_be_had_and_made_final() {
    let pair = Pair::start();
    pair.open_account("1", &[]);
    pair.open_account("77", &["--debits-must-not-exceed-credits"]);
    pair.post(1, 77, 100, "--id 5");
    pair.refused(
        "transfer create --debit 77 --credit 1 --amount 101 --ledger 203 --code 9 --id 6",
        "exceeds_credits",
    );
    let (code, line) = refused(&pair.words("transfer outcome 5 6 8"));
    assert!(
        code == 3 && line.contains("transfer 8 is not final"),
        "{line}"
    );
    let told = pair.json("transfer outcome 5 6");
    assert_eq!(
        (&told[0]["outcome"], &told[1]["outcome"]),
        (&"committed".into(), &"rejected".into())
    );
    assert_eq!(told[1]["result"], "exceeds_credits");
    let burned = pair.json("transfer burn 5 6 8");
    assert_eq!(
        (&burned[0]["outcome"], &burned[2]["result"]),
        (&"committed".into(), &"burned".into())
    );
    pair.refused(
        "transfer create --debit 1 --credit 77 --amount 1 --ledger 203 --code 9 --id 8",
        "id_already_failed",
    );
}

#[test]
fn a_file_with_chains_pending_transfers_and_dates_is_imported() {
    let pair = Pair::start();
    pair.done("day close --date none --next 2026-01-30");
    let file = pair.temp.path().join("rows.csv");
    let head = "id,debit_account_id,credit_account_id,amount,ledger,code,flags,pending_id,\
                business_date,value_date";
    let rows = "1,1,2,10,203,1,linked,,,\n2,2,3,10,203,1,,,,2026-03-01\n3,1,3,7,203,1,pending,,,\n\
                4,0,0,7,203,1,post_pending_transfer,3,2026-02-15,\n";
    std::fs::write(&file, format!("{head}\n{rows}")).expect("a file is written");
    let import = format!("import {} --create-accounts 203/1 --batch 1", text(&file));
    assert_eq!(pair.json(&import)["results"]["created"], 4);
    assert_eq!(pair.json(&import)["results"]["exists"], 4);
    let shown = pair.json("transfer show 2 4");
    assert_eq!(shown[0]["value_date"], "2026-03-01");
    assert_eq!(shown[1]["business_date"], "2026-02-15");
}
