//! `kanjo rejoin`: an operator decides that a directory whose log parted from the primary's, with
//! answers in what is only there, gives way.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kanjo_format::control::{Control, Role};
use kanjo_format::{Incarnation, Timestamp};
use kanjo_wal::DataDir;
use serde_json::json;

use super::format::draw;
use super::promote::parse_reason;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::times::show_second;

const EXAMPLES: &str = "\
Examples:
  The server says that its log parts from the primary's at lsn 77824 and that an operator decides;
  the primary's log counts:
    kanjo rejoin --dir /srv/kanjo --reason 'site 2 went on alone by mistake, ticket 4711'
  What was answered there only, to be posted again by hand with the same ids:
    kanjo log dump --dir /srv/kanjo.given-up-… --from 77824 --json

If this directory's log is to count instead, do not use this command: see \"Two logs with answers\"
in docs/operating.md.";

/// The file that says why a directory gave way.
const DECISION: &str = "given-up.json";

/// Let a server whose log parted from the primary's give way and join again.
///
/// A server that comes back finds its place by itself: what nobody was told of is cut into
/// quarantine. Only where it may have answered for what the primary does not have, it waits for a
/// person. This command decides for the primary's log: the directory is renamed and kept as it
/// is, and an empty one takes its name, with the same cluster, node and site and an identity of
/// its own. Started, it is seeded with everything.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The data directory; no process may use it
    #[arg(long)]
    dir: PathBuf,
    /// Why; it is written down beside the log that gives way
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let dir = args.dir.as_path();
    let fresh = beside(dir, "rejoining")?;
    if !dir.exists() && fresh.exists() {
        // Interrupted between its two renames.
        rename(&fresh, dir)?;
        return tell(args, None, &DataDir::inspect(dir)?);
    }
    if !fresh.exists() {
        refuse_what_has_none(dir)?;
    }
    let old = DataDir::open(dir)?;
    let control = old.control();
    if !control.awaiting_operator {
        return Err(Failure::failed(format!(
            "{}: nothing is left to decide: start the server, it finds its place by itself",
            dir.display()
        )));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_err(|_| Failure::failed("this machine's clock stands before 1970"))?;
    let at = Timestamp::new(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    let kept = beside(dir, &format!("given-up-{}", now.as_secs()))?;
    if !fresh.exists() {
        let new = Control::fresh(
            control.cluster,
            (control.node, Incarnation::new(draw()?)),
            control.site,
            Role::Replica,
            control.segment_bytes,
        );
        DataDir::format(&fresh, &new)?;
    }
    // ORDER: the new one is whole before the old one gives up its name.
    let new = DataDir::inspect(&fresh)?;
    write_decision(dir, &args.reason, &show_second(at))?;
    rename(dir, &kept)?;
    drop(old);
    rename(&fresh, dir)?;
    tell(args, Some(&kept), &new)
}

/// A directory that gave way once is kept as it is; a witness's has no log that could part.
fn refuse_what_has_none(dir: &Path) -> Result<(), Failure> {
    let why = if dir.join(DECISION).exists() {
        "this directory gave way before and is kept for what only it has (`kanjo log dump`); the server's own one is the other one"
    } else if dir.join("identity").exists() {
        "this is a witness's directory: it has no log, and a witness finds its place by itself"
    } else {
        return Ok(());
    };
    Err(Failure::failed(format!("{}: {why}", dir.display())))
}

fn tell(args: &Args, kept: Option<&Path>, new: &Control) -> Result<Exit, Failure> {
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "dir": args.dir,
            "kept": kept,
            "node": new.node,
            "incarnation": new.incarnation.to_string(),
        }))?;
    } else {
        let mut rows = vec![
            ("empty now", args.dir.display().to_string()),
            ("node", format!("{} in site {}", new.node, new.site)),
            ("incarnation", new.incarnation.to_string()),
        ];
        if let Some(kept) = kept {
            rows.insert(0, ("kept", kept.display().to_string()));
        }
        output.line(facts(&rows))?;
        output.line(
            "\nstart the server: it is seeded by the primary. What only the kept log has: kanjo log dump --dir KEPT --from LSN --json",
        )?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

/// The same path with something behind its name.
fn beside(dir: &Path, what: &str) -> Result<PathBuf, Failure> {
    let name = dir.file_name().ok_or_else(|| {
        Failure::failed(format!(
            "{}: the directory has no name of its own to be renamed; use its full path",
            dir.display()
        ))
    })?;
    let mut name = name.to_owned();
    name.push(format!(".{what}"));
    Ok(dir.with_file_name(name))
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!(
            "cannot rename {} to {}: {error}; nothing is lost: both directories are as they were",
            from.display(),
            to.display()
        ))
    };
    fs::rename(from, to).map_err(failed)?;
    let parent = to.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|parent| parent.sync_all())
        .map_err(failed)
}

/// Who looks at the kept directory years later knows why it is there.
fn write_decision(dir: &Path, reason: &str, at: &str) -> Result<(), Failure> {
    let path = dir.join(DECISION);
    let text = format!("{:#}\n", json!({ "reason": reason, "at": at }));
    fs::write(&path, text)
        .and_then(|()| File::open(&path)?.sync_all())
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}
