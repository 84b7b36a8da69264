//! `kanjo log ls`: what a data directory holds.

use std::path::{Path, PathBuf};

use kanjo_format::segment::SegmentForm;
use kanjo_wal::{LogFiles, SegmentInfo};
use serde::Serialize;

use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts, table};
use crate::quantities::show_size;

const EXAMPLES: &str = "\
Examples:
  kanjo log ls --dir /srv/kanjo
  kanjo log ls --dir /srv/kanjo --json | jq '.segments[] | select(.form == \"sealed\")'

A raw segment that is empty was prepared ahead. A sealed one is recompressed and never changes
again. Everything from lsn 0 on is kept: the log is the transfers.";

/// List the segments, checkpoints and quarantined files of a data directory.
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

#[derive(Serialize)]
struct Listing {
    cluster: String,
    node: u32,
    site: u8,
    role: &'static str,
    incarnation: String,
    granted_epoch: String,
    segment_bytes: u64,
    durable_lsn: u64,
    confirmed_lsn: u64,
    segments: Vec<Segment>,
    checkpoints: Vec<SideFile>,
    quarantine: Vec<SideFile>,
}

#[derive(Serialize)]
struct Segment {
    number: u64,
    form: &'static str,
    first_lsn: u64,
    end_lsn: u64,
    data_bytes: u64,
    bytes_on_disk: u64,
    file: PathBuf,
}

#[derive(Serialize)]
struct SideFile {
    name: String,
    bytes: u64,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let files = LogFiles::list(&args.dir)?;
    let control = files.control();
    let listing = Listing {
        cluster: control.cluster.to_string(),
        node: control.node.get(),
        site: control.site.number(),
        role: control.role.name(),
        incarnation: control.incarnation.to_string(),
        granted_epoch: control.granted_epoch.to_string(),
        segment_bytes: control.segment_bytes,
        durable_lsn: control.durable.lsn.get(),
        confirmed_lsn: control.confirmed.get(),
        segments: files.segments()?.into_iter().map(segment).collect(),
        checkpoints: side_files(&args.dir.join("checkpoints"))?,
        quarantine: side_files(&args.dir.join("quarantine"))?,
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&listing)?,
        false => show(&listing, &mut output)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn segment(info: SegmentInfo) -> Segment {
    Segment {
        number: info.number,
        form: match info.form {
            SegmentForm::Raw => "raw",
            SegmentForm::Sealed => "sealed",
        },
        first_lsn: info.first_lsn.get(),
        end_lsn: info.end_lsn.get(),
        data_bytes: info.end_lsn.since(info.first_lsn),
        bytes_on_disk: info.bytes_on_disk,
        file: info.path,
    }
}

fn side_files(folder: &Path) -> Result<Vec<SideFile>, Failure> {
    let failed =
        |error| Failure::failed(format!("{}: cannot be listed: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Gone since it was listed: a server replaces its checkpoints.
        if let Ok(metadata) = entry.metadata() {
            let bytes = metadata.len();
            found.push(SideFile { name, bytes });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn show(listing: &Listing, output: &mut Output) -> Result<(), Failure> {
    output.line(facts(&[
        ("cluster", listing.cluster.clone()),
        (
            "node",
            format!(
                "{} in site {}, {}",
                listing.node, listing.site, listing.role
            ),
        ),
        ("incarnation", listing.incarnation.clone()),
        ("granted epoch", listing.granted_epoch.clone()),
        ("durable mark", format!("lsn {}", listing.durable_lsn)),
        ("confirmed", format!("lsn {}", listing.confirmed_lsn)),
    ]))?;
    let header = ["segment", "form", "first lsn", "end lsn", "data", "on disk"];
    let mut segments = table(&header, &[0, 2, 3, 4, 5]);
    for one in &listing.segments {
        segments.add_row([
            one.number.to_string(),
            one.form.to_owned(),
            one.first_lsn.to_string(),
            one.end_lsn.to_string(),
            show_size(one.data_bytes),
            show_size(one.bytes_on_disk),
        ]);
    }
    output.line(format!("\n{segments}"))?;
    for (what, files) in [
        ("checkpoint", &listing.checkpoints),
        ("quarantine", &listing.quarantine),
    ] {
        for file in files {
            output.line(format!("{what}  {}  {}", file.name, show_size(file.bytes)))?;
        }
    }
    Ok(())
}
