//! `kanjo index ls`: the runs of a data directory.

use std::path::PathBuf;

use kanjo_format::run::RunSection;
use kanjo_index::{Dropped, Run, RunSet};
use kanjo_wal::LogFiles;
use serde_json::{Value, json};

use super::{params, sealed_end};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts, table};
use crate::quantities::{show_count, show_size};

const EXAMPLES: &str = "\
Examples:
  kanjo index ls --dir /srv/kanjo
  kanjo index ls --dir /srv/kanjo --json | jq .bytes_per_transfer

Reads headers and footers only, beside a running node too. A run of tier 0 covers one segment, one
of a higher tier eight of the tier below. What is left out is not used: the node builds anew what
is missing.";

/// List the runs of the index.
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
    let files = LogFiles::list(&args.dir)?;
    let (set, dropped) = RunSet::open(params(&args.dir, &files)?)?;
    let sealed = sealed_end(&files)?.get();
    let mut output = Output::new();
    match args.json {
        true => output.json(&as_json(&set, &dropped, sealed))?,
        false => show(&set, &dropped, sealed, &mut output)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn bytes_per_transfer(bytes: u64, transfers: u64) -> f64 {
    bytes as f64 / transfers.max(1) as f64
}

fn show(
    set: &RunSet,
    dropped: &[Dropped],
    sealed: u64,
    output: &mut Output,
) -> Result<(), Failure> {
    let header = [
        "run",
        "tier",
        "first lsn",
        "end lsn",
        "transfers",
        "failed",
        "accounts",
        "size",
        "a transfer",
    ];
    let mut runs = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for run in set.runs() {
        let footer = run.footer();
        runs.add_row([
            name(run),
            footer.tier.to_string(),
            footer.first_lsn.to_string(),
            footer.end_lsn.to_string(),
            show_count(footer.transfers),
            show_count(footer.failed),
            show_count(footer.accounts),
            show_size(run.bytes()),
            format!("{:.1} B", bytes_per_transfer(run.bytes(), footer.transfers)),
        ]);
    }
    output.line(runs)?;
    let counts = set.counts();
    let each = bytes_per_transfer(set.bytes(), counts.transfers);
    output.line(facts(&[
        (
            "covers",
            format!("lsn 0 to {}, sealed segments end at {sealed}", set.end()),
        ),
        ("transfers", show_count(counts.transfers)),
        (
            "size",
            format!("{}, {each:.1} bytes a transfer", show_size(set.bytes())),
        ),
    ]))?;
    for one in dropped {
        output.line(format!("left out  {}: {}", one.file.display(), one.reason))?;
    }
    Ok(())
}

fn name(run: &Run) -> String {
    let name = run.path().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn as_json(set: &RunSet, dropped: &[Dropped], sealed: u64) -> Value {
    let run = |run: &Run| {
        let footer = run.footer();
        let sections = RunSection::ALL.map(|section| {
            let bytes = footer.section(section).bytes;
            (section.name().to_owned(), json!(bytes))
        });
        json!({
            "file": run.path(),
            "tier": footer.tier,
            "first_lsn": footer.first_lsn.get(),
            "end_lsn": footer.end_lsn.get(),
            "records": footer.records,
            "transfers": footer.transfers,
            "failed": footer.failed,
            "accounts": footer.accounts,
            "bytes": run.bytes(),
            "section_bytes": Value::Object(sections.into_iter().collect()),
        })
    };
    let left_out = |one: &Dropped| json!({ "file": one.file, "reason": one.reason, "leftover": one.is_leftover });
    let counts = set.counts();
    json!({
        "end_lsn": set.end().get(),
        "sealed_end_lsn": sealed,
        "transfers": counts.transfers,
        "failed": counts.failed,
        "bytes": set.bytes(),
        "bytes_per_transfer": bytes_per_transfer(set.bytes(), counts.transfers),
        "runs": set.runs().iter().map(|one| run(one)).collect::<Vec<_>>(),
        "left_out": dropped.iter().map(left_out).collect::<Vec<_>>(),
    })
}
