//! Lines that a run shows even where its tests pass.

use std::io::Write;

/// Prints `kind: text` past the test harness, which keeps what passing tests print to itself.
pub(crate) fn line(kind: &str, text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading.
    let _ = writeln!(out, "{kind}: {text}");
}

/// A test that cannot run here, by name and with the reason.
pub(crate) fn skipped(name: &str, why: &str) {
    line("skipped", &format!("{name}: {why}"));
}
