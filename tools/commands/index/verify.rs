//! `kanjo index verify`: compares the index with the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use kanjo_format::{BatchHeader, Lsn};
use kanjo_index::{RunBuilder, RunError, RunSet, same_content};
use kanjo_wal::LogFiles;
use serde_json::json;

use super::{params, progress_bar, sealed_end};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::show_count;

const EXAMPLES: &str = "\
Examples:
  kanjo index verify --dir /srv/kanjo
  kanjo index verify --dir /srv/kanjo --json | jq .problems

Indexes the log once more, run by run, into the folder index-verify.tmp of the data directory,
which is removed again, and compares all that the runs hold. Nothing else is changed; the node may
run. If the index is wrong: stop the node, then `kanjo index rebuild`.";

/// Check every byte of the index, and all that it says against the log.
///
/// Names every problem, and then exits with 1.
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

/// The folder of the runs that are built to be compared; gone with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let files = LogFiles::list(&args.dir)?;
    let (set, dropped) = RunSet::open(params(&args.dir, &files)?)?;
    let sealed = sealed_end(&files)?;
    let scratch = Scratch(args.dir.join("index-verify.tmp"));
    let mut problems: Vec<String> = dropped
        .iter()
        .filter(|one| !one.is_leftover)
        .map(|one| one.reason.clone())
        .collect();
    let mut verify = Verify::new(&set, &scratch.0);
    if set.end() > Lsn::ZERO {
        files.batches(Lsn::ZERO, &mut |_, header, payload| {
            verify.take(header, payload)
        })?;
    }
    verify.bar.finish_and_clear();
    problems.append(&mut verify.problems);
    if verify.checked < set.runs().len() && problems.is_empty() {
        problems.push(format!(
            "the log ends before the index, which ends at lsn {}",
            set.end()
        ));
    }
    let mut output = Output::new();
    show(&set, sealed, &problems, args.json, &mut output)?;
    output.finish()?;
    match problems.first() {
        None => Ok(Exit::Done),
        Some(first) => {
            let text = format!("{} problems; the first: {first}", problems.len());
            Err(Failure::failed(text))
        }
    }
}

struct Verify<'a> {
    set: &'a RunSet,
    /// Runs that were compared.
    checked: usize,
    /// Those runs, and the ones that were built behind them.
    built: RunSet,
    builder: RunBuilder,
    bar: ProgressBar,
    problems: Vec<String>,
}

impl<'a> Verify<'a> {
    fn new(set: &'a RunSet, scratch: &Path) -> Self {
        let built = set.prefix(0, scratch.to_path_buf());
        Self {
            set,
            checked: 0,
            builder: RunBuilder::new(Arc::new(built.clone())),
            built,
            bar: progress_bar(set.end()),
            problems: Vec::new(),
        }
    }

    /// Takes the next batch; whether to go on.
    fn take(&mut self, header: &BatchHeader, payload: &[u8]) -> bool {
        if let Err(error) = self.index(header, payload) {
            self.problems.push(error.to_string());
            return false;
        }
        self.bar.set_position(self.builder.end().get());
        self.checked < self.set.runs().len()
    }

    fn index(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), RunError> {
        self.builder.add_batch(header, payload)?;
        if !self.builder.is_complete() {
            return Ok(());
        }
        let next = RunBuilder::new(Arc::new(self.built.clone()));
        let part = std::mem::replace(&mut self.builder, next).finish()?;
        self.built = self.built.with(&part)?;
        let run = &self.set.runs()[self.checked];
        if self.built.end() >= run.footer().end_lsn {
            let parts = &self.built.runs()[self.checked..];
            if let Err(error) = same_content(run, parts) {
                self.problems.push(error.to_string());
            }
            let old: Vec<PathBuf> = parts.iter().map(|run| run.path().to_path_buf()).collect();
            self.checked += 1;
            let scratch = self.built.params().dir.clone();
            self.built = self.set.prefix(self.checked, scratch);
            self.built.remove(old.iter().map(PathBuf::as_path))?;
        }
        self.builder = RunBuilder::new(Arc::new(self.built.clone()));
        Ok(())
    }
}

fn show(
    set: &RunSet,
    sealed: Lsn,
    problems: &[String],
    json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if json {
        return output.json(&json!({
            "good": problems.is_empty(),
            "end_lsn": set.end().get(),
            "sealed_end_lsn": sealed.get(),
            "runs": set.runs().len(),
            "transfers": set.counts().transfers,
            "problems": problems,
        }));
    }
    for problem in problems {
        output.line(format!("BAD  {problem}"))?;
    }
    let verdict = match problems.len() {
        0 => "the index says what the log says".to_owned(),
        count => format!("{count} problems"),
    };
    output.line(facts(&[
        (
            "covers",
            format!("lsn 0 to {}, sealed segments end at {sealed}", set.end()),
        ),
        ("runs", set.runs().len().to_string()),
        ("transfers", show_count(set.counts().transfers)),
        ("verdict", verdict),
    ]))
}
