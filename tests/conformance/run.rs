//! Runs a case and compares.

use std::collections::BTreeMap;

use serde_json::Value;

use super::number;
use super::table::{Case, Row, Step};

/// A case under way.
struct Run<'a> {
    /// Answers a line with a line.
    bank: &'a mut dyn FnMut(&str) -> String,
    /// Timestamps of what was created, by what it is and its id.
    times: BTreeMap<(char, u128), u64>,
}

/// Everything that differs, each with its line.
pub(crate) fn run(case: &Case, bank: &mut dyn FnMut(&str) -> String) -> Vec<String> {
    let mut run = Run {
        bank,
        times: BTreeMap::new(),
    };
    let mut wrong = Vec::new();
    for step in &case.steps {
        let found = run.step(step);
        wrong.extend(
            found
                .into_iter()
                .map(|w| format!("{w}  (case: {})", case.name)),
        );
    }
    wrong
}

impl Run<'_> {
    /// The reply to one request.
    fn ask(&mut self, request: &str, body: &str) -> Value {
        let line = (self.bank)(&format!("{{\"{request}\":{body}}}"));
        let mut reply: Value = serde_json::from_str(&line).expect("an answer is JSON");
        match reply.get_mut(request) {
            Some(reply) => reply.take(),
            None => reply,
        }
    }

    fn step(&mut self, step: &Step) -> Vec<String> {
        let request = match step.kind.as_str() {
            "accounts" => "create_accounts",
            "transfers" => "create_transfers",
            "changes" => "change_accounts",
            "account_transfers" => "get_account_transfers",
            "account_balances" => "get_account_balances",
            "balances" => "lookup_accounts",
            "details" => "lookup_transfer_details",
            "terms" => "lookup_account_terms",
            "outcomes" => "lookup_outcome",
            "totals" => "trial_balance",
            other => other,
        };
        match request {
            "tick" => self.tick(step),
            "create_accounts" | "create_transfers" | "change_accounts" | "balances_as_of" => {
                self.rows(step, request)
            }
            "burn" | "lookup_outcome" => self.ids_in_order(step, request),
            "lookup_accounts"
            | "lookup_transfers"
            | "lookup_transfer_details"
            | "lookup_account_terms" => self.lookup(step, request),
            "get_account_transfers"
            | "query_accounts"
            | "query_transfers"
            | "get_account_balances"
            | "statement"
            | "close_day" => self.one_a_row(step, request),
            "trial_balance" => self.totals(step),
            _ => vec![format!(
                "{}: `{}` is nothing that can be done",
                step.line, step.kind
            )],
        }
    }

    /// `tick 5ns`, `tick 1s`, `tick 2^63-1s`.
    fn tick(&mut self, step: &Step) -> Vec<String> {
        let (number, unit) = match step.argument.strip_suffix("ns") {
            Some(number) => (number, 1),
            None => (step.argument.trim_end_matches('s'), 1_000_000_000),
        };
        match self.number(number) {
            Some(number) => {
                let reply = self.ask("tick_ns", &(number * unit).to_string());
                match reply.get("clock") {
                    Some(_) => Vec::new(),
                    None => vec![format!("{}: {reply}", step.line)],
                }
            }
            None => vec![format!("{}: how long?", step.line)],
        }
    }

    fn number(&self, cell: &str) -> Option<u128> {
        let time = |what: char, id: u128| self.times.get(&(what, id)).copied();
        number::read(cell, &time)
    }

    /// A row as JSON. What the table does not name is left out, but for ledger and code, which
    /// are 1 then.
    fn object(&self, step: &Step, row: &Row) -> String {
        let mut fields = Vec::new();
        let creates = matches!(step.kind.as_str(), "accounts" | "transfers");
        for name in ["ledger", "code"] {
            let place = step.given.iter().position(|column| column == name);
            if creates && place.is_none_or(|place| row.given[place] == "-") {
                fields.push(format!("\"{name}\":1"));
            }
        }
        for (column, cell) in step.given.iter().zip(&row.given).filter(|(_, c)| *c != "-") {
            let name = match column.as_str() {
                "debit" => "debit_account_id",
                "credit" => "credit_account_id",
                name => name,
            };
            let value = match self.number(cell) {
                Some(number) => format!("\"{number}\""),
                None if cell == "none" && name == "overdraft_limit" => "null".to_owned(),
                None if cell == "none" => "[]".to_owned(),
                None => format!("\"{cell}\""),
            };
            fields.push(format!("\"{name}\":{value}"));
        }
        format!("{{{}}}", fields.join(","))
    }

    /// One request of all rows, one result a row.
    fn rows(&mut self, step: &Step, request: &str) -> Vec<String> {
        let objects: Vec<String> = step.rows.iter().map(|row| self.object(step, row)).collect();
        let reply = self.ask(request, &format!("[{}]", objects.join(",")));
        self.compare_in_order(step, &reply)
    }

    fn ids_in_order(&mut self, step: &Step, request: &str) -> Vec<String> {
        let reply = self.ask(request, &self.ids(step));
        self.compare_in_order(step, &reply)
    }

    fn ids(&self, step: &Step) -> String {
        let ids = step.rows.iter().map(|row| self.number(&row.given[0]));
        let ids: Vec<String> = ids.map(|id| format!("\"{}\"", id.unwrap_or(0))).collect();
        format!("[{}]", ids.join(","))
    }

    fn compare_in_order(&mut self, step: &Step, reply: &Value) -> Vec<String> {
        let Some(results) = reply.as_array().filter(|all| all.len() == step.rows.len()) else {
            return vec![format!("{}: {reply}", step.line)];
        };
        let mut wrong = Vec::new();
        for (row, result) in step.rows.iter().zip(results) {
            wrong.extend(self.compare(step, row, result));
            self.remember(step, row, result);
        }
        wrong
    }

    /// Keeps when something was created.
    fn remember(&mut self, step: &Step, row: &Row, result: &Value) {
        let what = match step.kind.as_str() {
            "accounts" => 'a',
            "transfers" => 't',
            _ => return,
        };
        let place = step.given.iter().position(|column| column == "id");
        let id = place.and_then(|place| self.number(&row.given[place]));
        let time = result
            .get("timestamp")
            .map(plain)
            .and_then(|t| t.parse().ok());
        if let (Some(id), Some(time), Some("created")) = (id, time, result["status"].as_str()) {
            self.times.insert((what, id), time);
        }
    }

    /// One request for all ids; what does not exist is not in the reply.
    fn lookup(&mut self, step: &Step, request: &str) -> Vec<String> {
        let reply = self.ask(request, &self.ids(step));
        let mut left = reply.as_array().cloned().unwrap_or_default();
        let mut wrong = Vec::new();
        for row in &step.rows {
            let id = self.number(&row.given[0]).unwrap_or(0).to_string();
            let found = left.first().is_some_and(|first| plain(&first["id"]) == id);
            let is_missing = row.expected.first().is_some_and(|cell| cell == "missing");
            match (found, is_missing) {
                (true, false) => wrong.extend(self.compare(step, row, &left.remove(0))),
                (false, true) => {}
                (true, true) => {
                    left.remove(0);
                    wrong.push(format!("{}: {id} is there", row.line));
                }
                (false, false) => wrong.push(format!("{}: {id} is missing", row.line)),
            }
        }
        wrong
    }

    /// A request a row.
    fn one_a_row(&mut self, step: &Step, request: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for row in &step.rows {
            let reply = self.ask(request, &self.object(step, row));
            wrong.extend(self.compare(step, row, &reply));
        }
        wrong
    }

    fn totals(&mut self, step: &Step) -> Vec<String> {
        let reply = self.ask("trial_balance", "{}");
        let rows = reply.as_array().cloned().unwrap_or_default();
        let mut wrong = Vec::new();
        for row in &step.rows {
            let is_it = |total: &&Value| {
                let mut columns = step.given.iter().zip(&row.given);
                columns.all(|(column, cell)| plain(&total[column]) == *cell)
            };
            match rows.iter().find(is_it) {
                Some(total) => wrong.extend(self.compare(step, row, total)),
                None => wrong.push(format!("{}: no such total in {reply}", row.line)),
            }
        }
        wrong
    }

    fn compare(&self, step: &Step, row: &Row, result: &Value) -> Option<String> {
        let mut different = Vec::new();
        for (column, cell) in step.expected.iter().zip(&row.expected) {
            let found = match column.as_str() {
                "ids" => joined(result, |one| plain(&one["id"])),
                "balances" => joined(result, quad),
                "lines" => joined(&result["lines"], statement_line),
                "opening" | "closing" => quad(&result[column]),
                _ => plain(&result[column]),
            };
            let expected = match self.number(cell) {
                Some(number) => number.to_string(),
                None => cell.clone(),
            };
            if cell != "-" && found != expected {
                different.push(format!("{column} is {found}, expected {expected}"));
            }
        }
        let is_error = result.get("error").is_some();
        match different.is_empty() {
            true => None,
            false if is_error => Some(format!("{}: {result}", row.line)),
            false => Some(format!("{}: {}", row.line, different.join("; "))),
        }
    }
}

/// A list's values with commas between, `none` where there are none.
fn joined(list: &Value, show: impl Fn(&Value) -> String) -> String {
    let values: Vec<String> = list.as_array().into_iter().flatten().map(show).collect();
    match values.is_empty() {
        true => "none".to_owned(),
        false => values.join(","),
    }
}

/// Pending and posted debits, pending and posted credits.
fn quad(balance: &Value) -> String {
    let sides = [
        "debits_pending",
        "debits_posted",
        "credits_pending",
        "credits_posted",
    ];
    sides.map(|side| plain(&balance[side])).join("/")
}

/// The transfer's id, with an `x` where it expired.
fn statement_line(line: &Value) -> String {
    let expired = if line["kind"] == "expiry" { "x" } else { "" };
    format!("{}{expired}", plain(&line["transfer"]["id"]))
}

/// A value as a cell writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("|"),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
