//! Writes the fixture of a run file if it is not there yet.
//!
//! `cargo run -p kanjo-index --example make_fixture`
//!
//! A committed fixture is never made again. A new version of the layout gets a new name here, and
//! its line in `SHA256SUMS`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the test uses what this program does not"
)]
#[path = "../tests/golden/sample.rs"]
mod sample;

const NAME: &str = "run-v1.run";

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let bytes = std::fs::read(sample::build(folder.path()).path)?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/fixtures");
    let target = fixtures.join(NAME);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&target)?;
    file.write_all(&bytes)?;
    println!("{} bytes to {}", bytes.len(), target.display());
    Ok(())
}
