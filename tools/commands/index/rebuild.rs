//! `kanjo index rebuild`: throws the index away and builds it from the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use kanjo_disk::Pace;
use kanjo_format::{BatchHeader, Lsn};
use kanjo_index::{RunBuilder, RunError, RunSet, merge};
use kanjo_wal::{DataDir, LogFiles};
use serde_json::json;

use super::{params, progress_bar, sealed_end};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::{show_count, show_size};

const EXAMPLES: &str = "\
Examples:
  kanjo index rebuild --dir /srv/kanjo
  kanjo index rebuild --dir /srv/kanjo --json | jq .seconds

Stop the node first: it holds the directory. The old runs are removed, then the sealed segments are
read from lsn 0 on, checked, and indexed. Interrupted, it leaves an index over a part of the log,
which is good as far as it goes; the node builds the rest beside its work.";

/// Throw the index away and build it anew from the sealed segments.
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
    let _lock = DataDir::lock(&args.dir)?;
    let files = LogFiles::list(&args.dir)?;
    let end = sealed_end(&files)?;
    let params = params(&args.dir, &files)?;
    let begun = Instant::now();
    let old: Vec<PathBuf> = match std::fs::read_dir(&params.dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    let set = RunSet::empty(params);
    if !old.is_empty() {
        set.remove(old.iter().map(PathBuf::as_path))?;
    }
    let mut rebuild = Rebuild {
        builder: RunBuilder::new(Arc::new(set.clone())),
        set,
        bar: progress_bar(end),
        failed: None,
    };
    if end > Lsn::ZERO {
        files.batches(Lsn::ZERO, &mut |path, header, payload| {
            header.lsn() < end && rebuild.take(path, header, payload)
        })?;
    }
    rebuild.bar.finish_and_clear();
    if let Some(failure) = rebuild.failed {
        return Err(failure.into());
    }
    if rebuild.set.end() != end {
        let text = format!(
            "the log ended at lsn {}, before {end}",
            rebuild.builder.end()
        );
        return Err(Failure::failed(text).with("run `kanjo log verify`"));
    }
    let mut output = Output::new();
    show(
        &rebuild.set,
        begun.elapsed().as_secs_f64(),
        args.json,
        &mut output,
    )?;
    output.finish()?;
    Ok(Exit::Done)
}

struct Rebuild {
    set: RunSet,
    builder: RunBuilder,
    bar: ProgressBar,
    failed: Option<RunError>,
}

impl Rebuild {
    /// Takes the next batch; whether to go on.
    fn take(&mut self, path: &Path, header: &BatchHeader, payload: &[u8]) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.bar.set_message(name.to_string_lossy().into_owned());
        self.failed = self.index(header, payload).err();
        self.bar.set_position(self.builder.end().get());
        self.failed.is_none()
    }

    fn index(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), RunError> {
        self.builder.add_batch(header, payload)?;
        if !self.builder.is_complete() {
            return Ok(());
        }
        let next = RunBuilder::new(Arc::new(self.set.clone()));
        let run = std::mem::replace(&mut self.builder, next).finish()?;
        self.set = self.set.with(&run)?;
        while let Some(due) = self.set.next_merge() {
            let merged = merge(&due, Pace::at_once())?;
            self.set = self.set.with_merged(&merged)?;
            self.set.remove(due.runs.iter().map(|run| run.path()))?;
        }
        self.builder = RunBuilder::new(Arc::new(self.set.clone()));
        Ok(())
    }
}

fn show(set: &RunSet, seconds: f64, json: bool, output: &mut Output) -> Result<(), Failure> {
    let counts = set.counts();
    if json {
        return output.json(&json!({
            "end_lsn": set.end().get(),
            "runs": set.runs().len(),
            "transfers": counts.transfers,
            "failed": counts.failed,
            "bytes": set.bytes(),
            "seconds": seconds,
        }));
    }
    let rate = counts.transfers as f64 / seconds.max(1e-9);
    output.line(facts(&[
        ("covers", format!("lsn 0 to {}", set.end())),
        ("runs", set.runs().len().to_string()),
        ("transfers", show_count(counts.transfers)),
        ("size", show_size(set.bytes())),
        (
            "took",
            format!("{seconds:.1} s, {} transfers/s", show_count(rate as u64)),
        ),
    ]))
}
