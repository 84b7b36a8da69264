//! `kanjo promote`: makes a replica the primary.

use std::path::PathBuf;
use std::time::Duration;

use kanjo_format::limits::REASON_BYTES_MAX;
use kanjo_node::admin::{Answer, Command, PromoteOptions};
use kanjo_node::status::Promotion;

use super::{admin, start, status};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::{parse_some_time, show_count, show_size};
use crate::times::show_duration;

const EXAMPLES: &str = "\
Examples:
  The primary's site is lost. Take over and serve without waiting for a new auxiliary; it is
  recorded, shows as DEGRADED, and ends by itself once an auxiliary has caught up:
    kanjo promote --connect 127.0.0.1:7503 --alone --reason 'site 1 burns'
  Take over, but answer nothing until an auxiliary follows:
    kanjo promote --connect 127.0.0.1:7503
  The same on the directory of a replica that is stopped; then start it:
    kanjo promote --dir /srv/kanjo --alone --reason 'site 1 burns'

From the moment it is promoted no older primary can commit, alive or not: it gets no ack. A second
promotion of the same node changes nothing and says so. It is refused where the directory is in
use, the log is corrupt, the replica is not marked in-sync, or its tail is uncertain; the last two
can be forced with options that say what may be missing then.";

/// Make a replica the primary: open the next site term on what it holds.
///
/// Works on a running replica over its admin port, or on a stopped replica's data directory.
/// Prints what it did: epoch, tail, records replayed, digest, trial balance, and whether
/// anything that was answered could be missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(group = clap::ArgGroup::new("which").required(true).args(["connect", "dir"]))]
pub(crate) struct Args {
    /// The running replica's admin_listen address, HOST:PORT
    #[arg(long, value_name = "ADDR", visible_alias = "admin")]
    connect: Option<String>,
    /// The stopped replica's data directory
    #[arg(long, value_name = "DATA")]
    dir: Option<PathBuf>,
    /// Also serve without an auxiliary: recorded, DEGRADED, and counted
    #[arg(long, requires = "reason")]
    alone: bool,
    /// Why; it is written into the log (at most 128 bytes)
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: Option<String>,
    /// Promote a replica without the in-sync mark: transfers that were answered may be missing
    #[arg(long)]
    accept_missing_answered_transfers: bool,
    /// Promote although its log was cut at an uncertain end: the last transfers may be missing
    #[arg(long)]
    accept_uncertain_tail: bool,
    /// How long to wait for the node's answer; it replays first
    #[arg(long, value_parser = parse_some_time, default_value = "10m")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let options = PromoteOptions {
        alone: args.alone,
        reason: args.reason.unwrap_or_default(),
        accept_missing_transfers: args.accept_missing_answered_transfers,
        accept_uncertain_tail: args.accept_uncertain_tail,
    };
    let promotion = match (&args.connect, &args.dir) {
        (Some(address), _) => promote_running(address, options, args.timeout)?,
        (None, Some(dir)) => {
            start::start_quiet_log();
            kanjo_node::promote_stopped(dir, &options)?
        }
        (None, None) => return Err(Failure::usage("give --connect ADDR or --dir DATA")),
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&promotion)?,
        false => show(&promotion, &mut output)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn promote_running(
    address: &str,
    options: PromoteOptions,
    timeout: Duration,
) -> Result<Promotion, Failure> {
    match admin::have_done(address, &Command::Promote(options), timeout) {
        Ok(Answer::Promotion(promotion)) => Ok(*promotion),
        Ok(other) => Err(admin::refused(address, other)),
        Err(failure) if failure.exit() == Exit::Unknown => {
            Err(failure
                .with("it may still be promoted: ask again, a second promotion changes nothing"))
        }
        Err(failure) => Err(failure),
    }
}

fn show(promotion: &Promotion, output: &mut Output) -> Result<(), Failure> {
    let tail = format!(
        "(epoch {}, lsn {}, chain {})",
        promotion.tail_epoch, promotion.tail_lsn, promotion.tail_chain
    );
    if !promotion.changed {
        output.line("already primary: nothing was changed")?;
        output.line(facts(&[
            ("epoch", promotion.epoch.clone()),
            ("tail", tail),
            ("digest", promotion.digest.clone()),
        ]))?;
    } else {
        let replayed = format!(
            "{} records, {}, {:.0} MB/s",
            show_count(promotion.records_replayed),
            show_size(promotion.bytes_replayed),
            promotion.replay_mb_per_s
        );
        let serves = match promotion.alone {
            true => "alone, DEGRADED, until an auxiliary has caught up",
            false => "once an auxiliary follows",
        };
        let missing = match promotion.may_be_missing.as_slice() {
            [] => vec![("missing", "nothing that was answered".to_owned())],
            accepted => accepted
                .iter()
                .map(|what| ("MAY BE MISSING", what.clone()))
                .collect(),
        };
        let took = Duration::from_micros(promotion.duration_us);
        let mut shown = vec![
            ("promoted", format!("epoch {}", promotion.epoch)),
            ("on tail", tail),
            ("replayed", replayed),
            ("digest", promotion.digest.clone()),
            ("took", show_duration(took)),
            ("serves", serves.to_owned()),
        ];
        shown.extend(missing);
        output.line(facts(&shown))?;
    }
    if promotion.alone {
        let count = show_count(promotion.unprotected.count);
        output.line(format!("unprotected transfers so far: {count}"))?;
    }
    if !promotion.trial_balance.is_empty() {
        let table = status::trial_balance(&promotion.trial_balance);
        output.line(format!("\n{table}"))?;
    }
    Ok(())
}

/// A reason that the log can hold whole.
pub(super) fn parse_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason has words".to_owned()),
        reason if reason.len() > REASON_BYTES_MAX => Err(format!(
            "has {} bytes, the log keeps {REASON_BYTES_MAX}",
            reason.len()
        )),
        // It is shown on terminals, in a line.
        reason if reason.contains(char::is_control) => {
            Err("is one line of text, without control characters".to_owned())
        }
        reason => Ok(reason.to_owned()),
    }
}
