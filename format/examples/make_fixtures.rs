//! Writes the fixtures that are not there yet, and never touches one that is.
//!
//! `cargo run -p kanjo-format --example make_fixtures`
//!
//! A committed fixture is what a file or a peer of that version really looks like; it is not
//! made again. A new version of a layout gets a new name in `samples.rs`, this program writes
//! the new file, and its line goes into `SHA256SUMS`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the crate is pure, this program writes its fixtures"
)]

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use kanjo_format::replication::Encoding;

#[allow(dead_code, reason = "the tests use what this program does not")]
#[path = "../tests/golden/samples.rs"]
mod samples;

const DICTIONARY_1: &[u8] = include_bytes!("../../shipper/dictionary/v1.bin");

/// The fixtures with something in them that `zstd` compressed.
fn packed_fixtures() -> io::Result<Vec<samples::Fixture>> {
    let [first, second] = samples::sealed_blocks();
    let blocks = [
        zstd::bulk::compress(&first, 9)?,
        zstd::bulk::compress(&second, 9)?,
    ];
    let (_, payload) = samples::every_kind();
    let plain = zstd::bulk::compress(&payload, 1)?;
    let with_dictionary =
        zstd::bulk::Compressor::with_dictionary(1, DICTIONARY_1)?.compress(&payload)?;
    Ok(vec![
        ("segment-v1.sealed", samples::sealed_segment(&blocks)),
        (
            "replication-v1/batch-zstd.frame",
            samples::batch_frame(Encoding::Zstd, &plain),
        ),
        (
            "replication-v1/batch-zstd-dictionary-1.frame",
            samples::batch_frame(Encoding::ZstdDictionary1, &with_dictionary),
        ),
    ])
}

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut fixtures = samples::plain_fixtures();
    fixtures.extend(packed_fixtures()?);
    for (name, bytes) in fixtures {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a fixture has a folder"))?;
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(&bytes)?;
                println!("wrote {name}");
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => println!("kept  {name}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
