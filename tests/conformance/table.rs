//! Reads tables: cases, their steps, and the lines of each step.

use std::path::{Path, PathBuf};

/// A ledger that begins empty, and what is done with it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One request, or one a line where it is a query.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    /// What is done: `accounts`, `transfers`, `balances` …
    pub(crate) kind: String,
    /// What stands behind it, as in `tick 1s`.
    pub(crate) argument: String,
    pub(crate) given: Vec<String>,
    pub(crate) expected: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) given: Vec<String>,
    pub(crate) expected: Vec<String>,
}

/// All tables of a folder: each file's name and its cases.
pub(crate) fn read_all(folder: &Path) -> Vec<(String, Vec<Case>)> {
    let files = std::fs::read_dir(folder).expect("the folder of the tables");
    let mut files: Vec<_> = files
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    files.sort();
    let read_one = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(path).expect("a table is text");
        let cases = read(&text).unwrap_or_else(|wrong| panic!("{name}:{wrong}"));
        assert!(!cases.is_empty(), "{name} has no case");
        (name, cases)
    };
    files.iter().map(read_one).collect()
}

/// Reads a file. The error begins with the number of the line.
fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::<Case>::new();
    for (number, text) in text.lines().enumerate() {
        let line = number + 1;
        let text = text.split('#').next().unwrap_or("").trim_end();
        if text.is_empty() {
            continue;
        }
        let wrong = |what: &str| Err(format!("{line}: {what}"));
        if let Some(name) = text.strip_prefix("case ") {
            cases.push(Case {
                name: name.trim().to_owned(),
                steps: Vec::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            return wrong("a file begins with `case NAME`");
        };
        if !text.starts_with(' ') {
            let (kind, argument) = text.split_once(' ').unwrap_or((text, ""));
            case.steps.push(Step {
                line,
                kind: kind.to_owned(),
                argument: argument.trim().to_owned(),
                given: Vec::new(),
                expected: Vec::new(),
                rows: Vec::new(),
            });
            continue;
        }
        let Some(step) = case.steps.last_mut() else {
            return wrong("a line of a table stands below what is done, as `transfers`");
        };
        let (given, expected) = text.split_once("=>").unwrap_or((text, ""));
        let cells = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (given, expected) = (cells(given), cells(expected));
        if step.given.is_empty() && step.expected.is_empty() {
            (step.given, step.expected) = (given, expected);
            continue;
        }
        if given.len() != step.given.len() || expected.len() != step.expected.len() {
            return wrong(&format!(
                "{} cells => {} where the heading has {} => {}",
                given.len(),
                expected.len(),
                step.given.len(),
                step.expected.len()
            ));
        }
        step.rows.push(Row {
            line,
            given,
            expected,
        });
    }
    Ok(cases)
}
