//! `kanjo fence`: certificates that a former writer is cut off, on the disk of who replaced it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kanjo_format::Timestamp;
use kanjo_node::FenceFile;
use kanjo_wal::LogFiles;
use serde_json::json;

use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, table};
use crate::times::show_second;

/// Show and check fence certificates: proof that a former writer is cut off.
#[derive(Debug, Subcommand)]
pub(crate) enum FenceCommand {
    Ls(LsArgs),
    Verify(VerifyArgs),
}

/// List the certificates that a data directory keeps.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct LsArgs {
    /// The data directory; its node may run
    #[arg(long, value_name = "DATA")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Check a certificate against a data directory, offline.
///
/// The directory may be of any server: of who granted it, its control file must refuse
/// everything below the epoch; of everybody whose log holds the base, the chain there must be
/// the certificate's, and the first batch above must be of the epoch that was opened, or higher.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct VerifyArgs {
    /// The certificate
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
    /// The data directory of a node, which may run
    #[arg(long, value_name = "DATA")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: FenceCommand) -> Result<Exit, Failure> {
    match command {
        FenceCommand::Ls(args) => list(&args),
        FenceCommand::Verify(args) => verify(&args),
    }
}

fn list(args: &LsArgs) -> Result<Exit, Failure> {
    let unread = |error| Failure::failed(format!("cannot read {}: {error}", args.dir.display()));
    let found = FenceFile::all(&args.dir).map_err(unread)?;
    let mut output = Output::new();
    if args.json {
        let all: Vec<_> = found.iter().map(|file| &file.certificate).collect();
        output.json(&all)?;
    } else {
        let mut rows = table(
            &["opened", "fenced", "base lsn", "granted by", "when", "file"],
            &[2],
        );
        for file in &found {
            let one = &file.certificate;
            let by = one.grants.iter().map(|grant| grant.member.node.to_string());
            rows.add_row([
                one.opened.to_string(),
                one.fenced.to_string(),
                one.base.lsn.to_string(),
                by.collect::<Vec<_>>().join(", "),
                show_second(Timestamp::new(one.at_ms.saturating_mul(1_000_000))),
                file.path.display().to_string(),
            ]);
        }
        output.line(rows)?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let path = args.certificate.display();
    let file = FenceFile::read(&args.certificate)
        .map_err(|error| Failure::failed(format!("cannot read {path}: {error}")))?;
    let (disputes, seen) = against(&file, &args.dir)?;
    let mut output = Output::new();
    match args.json {
        true => output.json(&json!({
            "certificate": file.certificate, "log": seen, "disputes": disputes,
        }))?,
        false => {
            output.line(&file.certificate)?;
            output.line(seen)?;
        }
    }
    output.finish()?;
    match disputes.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Failure::failed(format!(
            "{} does not bear the certificate out: {}",
            args.dir.display(),
            disputes.join("; ")
        ))),
    }
}

/// What control file and log say against it, and what the log has there.
fn against(file: &FenceFile, dir: &Path) -> Result<(Vec<String>, String), Failure> {
    let files = LogFiles::list(dir)?;
    let mut disputes = file.disputes(files.control());
    let said = &file.certificate;
    let mut found = None;
    files.batches(said.base.lsn, &mut |_, header, _| {
        found = Some(*header);
        false
    })?;
    let Some(header) = found else {
        let text = "the log has nothing above the base: it says nothing of it".to_owned();
        return Ok((disputes, text));
    };
    if header.lsn() != said.base.lsn {
        disputes.push(format!(
            "no batch of the log begins at lsn {}",
            said.base.lsn
        ));
    } else if header.prev_chain() != said.base.chain {
        disputes.push(format!(
            "at lsn {} the log's chain is {}, the certificate's {}",
            said.base.lsn,
            header.prev_chain().short(),
            said.base.chain.short()
        ));
    }
    if header.epoch() < said.opened {
        disputes.push(format!(
            "the log goes on at lsn {} in epoch {}, below {}",
            header.lsn(),
            header.epoch(),
            said.opened
        ));
    }
    let text = format!(
        "the log holds the base and goes on in epoch {}",
        header.epoch()
    );
    Ok((disputes, text))
}
