//! The model keeps what the tables of `tests/conformance` say.

use std::path::Path;

use crate::answer::Modelled;
use crate::conformance::{run, table};
use crate::repl::reply::error_line;
use crate::repl::request::Request;

fn answer(bank: &mut Modelled, line: &str) -> String {
    let answered = Request::read(line)
        .and_then(|(name, request)| bank.answer(&request).map(|reply| reply.line(name)));
    answered.unwrap_or_else(|wrong| error_line(&wrong))
}

#[test]
fn every_line_of_every_table_holds_for_the_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut failures = Vec::new();
    for (name, cases) in table::read_all(&folder) {
        for case in &cases {
            let mut bank = Modelled::default();
            let wrong = run::run(case, &mut |line| answer(&mut bank, line));
            failures.extend(wrong.iter().map(|w| format!("{name}:{w}")));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
