//! `kanjo log verify`: checks every byte of a data directory.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use kanjo_format::checkpoint::{self, CheckpointError};
use kanjo_format::{ClusterId, Lsn};
use kanjo_wal::{DataDir, VerifyReport, verify_with};
use serde_json::json;

use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts, table};
use crate::quantities::{show_count, show_size};

const EXAMPLES: &str = "\
Examples:
  kanjo log verify --dir /srv/kanjo
  kanjo log verify --dir /srv/kanjo --json | jq .first_bad_byte

Every file is read from the disk, not from the cache: control slots, raw and sealed segments,
checkpoints. Every checksum and the whole chain from lsn 0 on are computed. Where a checksum
fails, the first bad byte is the start of what it covers. A bad checkpoint is derived data and can
be removed; a bad segment is repaired from the other node's copy of that file, or the directory is
moved away, formatted anew and seeded.";

/// Check every file, every checksum and the whole chain of a data directory.
///
/// Names every problem, the first bad byte first, and then exits with 1. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DATA")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = DataDir::inspect(&args.dir)?.cluster;
    let bar = progress_bar();
    let report = verify_with(
        &args.dir,
        &mut |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            let name = progress.file.file_name().unwrap_or_default();
            bar.set_message(name.to_string_lossy().into_owned());
        },
        &mut |lsn, path| check_checkpoint(cluster, lsn, path),
    )?;
    bar.finish_and_clear();
    let mut output = Output::new();
    match args.json {
        true => output.json(&as_json(&report))?,
        false => show(&report, &mut output)?,
    }
    output.finish()?;
    match report.problems.first() {
        None => Ok(Exit::Done),
        Some(first) => {
            let count = report.problems.len();
            let text = format!("{count} problems; first bad byte: {first}");
            Err(Failure::failed(text))
        }
    }
}

/// Reads all of a checkpoint: offset and kind of the first thing that is wrong.
fn check_checkpoint(cluster: ClusterId, lsn: Lsn, path: &Path) -> Result<(), (u64, String)> {
    let file = kanjo_disk::open(path).map_err(|error| (0, error.to_string()))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let header = checkpoint::verify(&mut input).map_err(|e| (bad_offset(&e), e.to_string()))?;
    if header.cluster != cluster {
        let what = format!("checkpoint of cluster {}, not {cluster}", header.cluster);
        return Err((0, what));
    }
    if header.tail.lsn != lsn {
        let what = format!("checkpoint of lsn {}, by its name {lsn}", header.tail.lsn);
        return Err((0, what));
    }
    Ok(())
}

const fn bad_offset(error: &CheckpointError) -> u64 {
    match error {
        CheckpointError::Read { at, .. }
        | CheckpointError::Checksum { at, .. }
        | CheckpointError::Section { at, .. }
        | CheckpointError::Trailing { at } => *at,
        // The whole file is what does not fit.
        CheckpointError::Magic(_)
        | CheckpointError::Version(_)
        | CheckpointError::Rows { .. }
        | CheckpointError::Hash => 0,
    }
}

fn show(report: &VerifyReport, output: &mut Output) -> Result<(), Failure> {
    let header = ["file", "size", "batches", "records", "problems"];
    let mut files = table(&header, &[1, 2, 3, 4]);
    for one in &report.files {
        files.add_row([
            one.file.display().to_string(),
            show_size(one.bytes),
            show_count(one.batches),
            show_count(one.records),
            one.problems.to_string(),
        ]);
    }
    output.line(files)?;
    for problem in &report.problems {
        output.line(format!("BAD  {problem}"))?;
    }
    let verdict = match (report.problems.len(), report.in_use) {
        (0, false) => "every byte verifies".to_owned(),
        (0, true) => "every byte verifies, up to where the running node had come".to_owned(),
        (count, _) => format!("{count} problems"),
    };
    output.line(facts(&[
        ("tail", report.tail.to_string()),
        ("batches", show_count(report.batches)),
        ("records", show_count(report.records)),
        ("verdict", verdict),
    ]))
}

fn as_json(report: &VerifyReport) -> serde_json::Value {
    let problem = |one: &kanjo_wal::Problem| {
        json!({
            "file": one.file,
            "offset": one.offset,
            "lsn": one.lsn.map(Lsn::get),
            "what": one.what,
        })
    };
    let file = |one: &kanjo_wal::VerifiedFile| {
        json!({
            "file": one.file,
            "bytes": one.bytes,
            "batches": one.batches,
            "records": one.records,
            "problems": one.problems,
        })
    };
    json!({
        "good": report.problems.is_empty(),
        "in_use": report.in_use,
        "tail": {
            "epoch": report.tail.epoch.to_string(),
            "lsn": report.tail.lsn.get(),
            "chain": report.tail.chain.to_string(),
        },
        "batches": report.batches,
        "records": report.records,
        "first_bad_byte": report.problems.first().map(problem),
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
    })
}

/// On a terminal; elsewhere nothing is drawn.
fn progress_bar() -> ProgressBar {
    let template = "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
