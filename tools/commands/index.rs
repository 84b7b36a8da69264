//! `kanjo index`: the sorted runs beside the log, which are derived from it.

mod ls;
mod rebuild;
mod verify;

use std::path::Path;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use kanjo_format::Lsn;
use kanjo_format::segment::SegmentForm;
use kanjo_index::SetParams;
use kanjo_wal::LogFiles;

use crate::exit::{Exit, Failure};

/// Look at the index over old log, check it against the log, or build it anew
///
/// It holds ids, lists by account and balances of the past for all sealed segments. A node builds
/// it by itself; whatever is lost of it can be built from the log.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    Ls(ls::Args),
    Rebuild(rebuild::Args),
    Verify(verify::Args),
}

pub(crate) fn run(command: IndexCommand) -> Result<Exit, Failure> {
    match command {
        IndexCommand::Ls(args) => ls::run(args),
        IndexCommand::Rebuild(args) => rebuild::run(args),
        IndexCommand::Verify(args) => verify::run(args),
    }
}

/// The index of a data directory; filters stay on the disk.
fn params(dir: &Path, files: &LogFiles) -> Result<SetParams, Failure> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::failed(format!("no random bytes: {error}")))?;
    let control = files.control();
    Ok(SetParams {
        dir: dir.join("index"),
        cluster: control.cluster,
        segment_bytes: control.segment_bytes,
        seed: u64::from_le_bytes(seed),
        filter_bytes_max: 0,
    })
}

/// Where the sealed segments end: what an index may cover.
fn sealed_end(files: &LogFiles) -> Result<Lsn, Failure> {
    let segments = files.segments()?;
    let sealed = segments
        .iter()
        .take_while(|one| one.form == SegmentForm::Sealed);
    Ok(sealed.last().map_or(Lsn::ZERO, |last| last.end_lsn))
}

/// Counts bytes of log. On a terminal; elsewhere nothing is drawn.
fn progress_bar(end: Lsn) -> ProgressBar {
    let template = "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}  {msg}";
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(end.get());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
