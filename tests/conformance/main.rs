//! Cases that a banker can read: tables of requests and what they give, run through
//! `kanjo repl --embedded`. The folder's README says how to add one.
#![forbid(unsafe_code)]

mod number;
mod run;
mod table;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Every case of every table; all failures are shown together.
#[test]
fn every_line_of_every_table_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let (mut cases, mut lines, mut failures) = (0, 0, Vec::new());
    for (name, read) in table::read_all(&folder) {
        for case in &read {
            cases += 1;
            lines += case.steps.iter().map(|step| step.rows.len()).sum::<usize>();
            let mut repl = Repl::start();
            let wrong = run::run(case, &mut |line| repl.answer(line));
            failures.extend(wrong.iter().map(|w| format!("{name}:{w}")));
            repl.end();
        }
    }
    // Not by `println`, which is shown only where a test fails.
    let shown = writeln!(std::io::stderr(), "cases: {cases} in tables, {lines} lines");
    shown.expect("standard error takes a line");
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A running interpreter.
struct Repl {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Repl {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .args(["repl", "--embedded"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kanjo starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            input,
            output,
        }
    }

    fn answer(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("kanjo reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("kanjo answers");
        answer
    }

    fn end(self) {
        drop(self.input);
        let mut child = self.child;
        child.wait().expect("kanjo ends");
    }
}
