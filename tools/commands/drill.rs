//! `kanjo drill`: recovers a copy of an auxiliary's ledger and says what that took.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kanjo_node::admin::{Answer, Command};
use kanjo_node::status::{DrillProgress, DrillReport, DrillStatus};

use super::{admin, status};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::{parse_some_time, show_count, show_size};
use crate::times::show_duration;

/// How often the progress is asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A node answers at once how far its drill is.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  What would it take to promote this auxiliary, and would everything be right?
    kanjo drill --connect 127.0.0.1:7503
  For a monitor: fails unless the copy has the live ledger's digest and debits equal credits
    kanjo drill --connect 127.0.0.1:7503 --json | jq '.recovery_us, .lag_bytes'
  Once a month: the whole log from its first batch on, every checksum and the whole chain
    kanjo drill --connect 127.0.0.1:7503 --full
  How far is the one that somebody else began, and what did the last one find?
    kanjo drill --connect 127.0.0.1:7503 --last

The node builds a second ledger as a start would: it reads the newest checkpoint, replays the log up
to where its live ledger was when the drill began, and compares the two digests; then it adds up all
accounts. It goes on following meanwhile, and the drill yields to that. It needs as much memory again
as the ledger has; without that much it is refused. One drill at a time; a promotion ends it early.

The recovery time is what a stopped auxiliary would need, measured at low priority and with whatever
of its files is in the page cache. A running one has its ledger ready and replays only what came last.
Nothing is changed. If the digests differ, the exit code is 1: do not promote that node.";

/// Recover a copy of an auxiliary's ledger while replication goes on, and compare it.
///
/// Reports what a real promotion would have had: recovery time, records a second, digest, trial
/// balance, log that came meanwhile. Run it on an auxiliary; a primary refuses.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The auxiliary's admin_listen address, HOST:PORT
    #[arg(long, value_name = "ADDR", visible_alias = "admin")]
    connect: String,
    /// Replay the whole log from lsn 0, without a checkpoint
    #[arg(long, conflicts_with = "last")]
    full: bool,
    /// Begin no drill: show how far the one under way is, or what the last one found
    #[arg(long)]
    last: bool,
    /// How long to wait for the report; the drill goes on afterwards
    #[arg(long, value_parser = parse_some_time, default_value = "1h")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let mut output = Output::new();
    let report = match args.last {
        true => match last(&args, &mut output)? {
            Some(report) => report,
            None => {
                output.finish()?;
                return Ok(Exit::Done);
            }
        },
        false => {
            let report = drill(&args)?;
            match args.json {
                true => output.json(&report)?,
                false => show(&report, &mut output)?,
            }
            report
        }
    };
    output.finish()?;
    match report.problems.first() {
        None => Ok(Exit::Done),
        Some(first) => Err(Failure::failed(format!(
            "THE DRILL FAILED with {} problems; the first: {first}",
            report.problems.len()
        ))),
    }
}

/// Shows how things are, and gives the last report unless a newer drill is under way.
fn last(args: &Args, output: &mut Output) -> Result<Option<DrillReport>, Failure> {
    let status = ask_status(&args.connect)?;
    if args.json {
        output.json(&status)?;
        return Ok(status.last);
    }
    if let Some(running) = &status.running {
        output.line(facts(&[
            ("under way", running.phase.clone()),
            ("done", percent(running)),
            ("records", show_count(running.records)),
            ("for", time(running.elapsed_us)),
        ]))?;
    }
    match &status.last {
        Some(report) => show(report, output)?,
        None if status.running.is_none() => {
            output.line("no drill has come to its end since this node was started")?;
        }
        None => {}
    }
    Ok(status.last)
}

fn drill(args: &Args) -> Result<DrillReport, Failure> {
    let (tell, report) = sync_channel(1);
    let (address, full, timeout) = (args.connect.clone(), args.full, args.timeout);
    std::thread::spawn(move || {
        let answer = admin::have_done(&address, &Command::Drill { full }, timeout);
        // Whoever waited may have been ended.
        let _ = tell.send(answer);
    });
    let bar = progress_bar();
    let answer = loop {
        match report.recv_timeout(LOOK_AGAIN) {
            Ok(answer) => break answer,
            // Without a terminal there is nothing to draw.
            Err(RecvTimeoutError::Timeout) if bar.is_hidden() => {}
            Err(RecvTimeoutError::Timeout) => {
                // A picture that is missed is no failure: the report comes, or its error.
                if let Ok(DrillStatus {
                    running: Some(running),
                    ..
                }) = ask_status(&args.connect)
                {
                    draw(&bar, &running);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Exit::Unknown, "the question ended unasked"));
            }
        }
    };
    bar.finish_and_clear();
    match answer {
        Ok(Answer::Drill(report)) => Ok(*report),
        Ok(other) => Err(admin::refused(&args.connect, other)),
        Err(failure) if failure.exit() == Exit::Unknown => {
            Err(failure
                .with("the drill goes on unless the node ended: `kanjo drill --last` shows it"))
        }
        Err(failure) => Err(failure),
    }
}

fn ask_status(address: &str) -> Result<DrillStatus, Failure> {
    match admin::ask_once(address, &Command::DrillStatus, PATIENCE)? {
        Answer::DrillStatus(status) => Ok(*status),
        other => Err(admin::refused(address, other)),
    }
}

/// On a terminal; elsewhere nothing is drawn.
fn progress_bar() -> ProgressBar {
    let template = "{bar:40} {bytes}/{total_bytes}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn draw(bar: &ProgressBar, running: &DrillProgress) {
    bar.set_length(running.total_bytes);
    bar.set_position(running.done_bytes);
    let mut message = running.phase.clone();
    if let Some(about) = records_in_all(running) {
        message = format!(
            "{message}: {} of about {} records",
            show_count(running.records),
            show_count(about)
        );
    }
    bar.set_message(message);
}

/// How many records the replay will have, if the rest of the log is like what was read.
fn records_in_all(running: &DrillProgress) -> Option<u64> {
    if running.phase != "replay" || running.done_bytes == 0 {
        return None;
    }
    let records = u128::from(running.records) * u128::from(running.total_bytes);
    u64::try_from(records / u128::from(running.done_bytes)).ok()
}

fn percent(running: &DrillProgress) -> String {
    match running.total_bytes {
        0 => "no size known".to_owned(),
        total => format!(
            "{} of {} ({:.0} %)",
            show_size(running.done_bytes),
            show_size(total),
            running.done_bytes as f64 * 100.0 / total as f64
        ),
    }
}

fn show(report: &DrillReport, output: &mut Output) -> Result<(), Failure> {
    for problem in &report.problems {
        output.line(format!("BAD  {problem}"))?;
    }
    for checkpoint in &report.unusable_checkpoints {
        output.line(format!("UNUSABLE CHECKPOINT  {checkpoint}"))?;
    }
    let parts = [what_it_found(report), what_it_took(report), on_top(report)];
    output.line(facts(&parts.join(&("", String::new()))))?;
    if !report.trial_balance.is_empty() {
        let table = status::trial_balance(&report.trial_balance);
        output.line(format!("\n{table}"))?;
    }
    Ok(())
}

fn what_it_found(report: &DrillReport) -> Vec<(&'static str, String)> {
    let verdict = match (report.good, report.digest_equal) {
        (true, _) => "the copy is equal to the live ledger; everything that was read verifies",
        (false, true) => "BAD, although the digests are equal",
        (false, false) => "BAD",
    };
    let digest = match (report.digest.as_str(), report.digest_equal) {
        ("", _) => "none: the copy did not get so far".to_owned(),
        (digest, true) => format!("{digest}, equal to the live ledger's"),
        (digest, false) => format!("{digest}, THE LIVE LEDGER HAS {}", report.live_digest),
    };
    let position = format!(
        "lsn {} epoch {} chain {}",
        report.lsn,
        report.epoch,
        report.chain.get(..16).unwrap_or(&report.chain)
    );
    let holds = format!(
        "{} accounts, {} transfers",
        show_count(report.accounts),
        show_count(report.transfers)
    );
    vec![
        ("drill", verdict.to_owned()),
        ("node", format!("{} in site {}", report.node, report.site)),
        ("position", position),
        ("digest", digest),
        ("copy", holds),
    ]
}

fn what_it_took(report: &DrillReport) -> Vec<(&'static str, String)> {
    let begin = match report.checkpoint_lsn {
        0 => "lsn 0, without a checkpoint".to_owned(),
        lsn => format!("the checkpoint of lsn {lsn}"),
    };
    let recovery = format!(
        "{}: restore {}, ids {}, replay {}",
        time(report.recovery_us),
        time(report.restore_us),
        time(report.index_us),
        time(report.replay_us)
    );
    let replayed = format!(
        "{} records, {} of log, {} records/s, {:.0} MB/s",
        show_count(report.records),
        show_size(report.log_bytes),
        show_count(report.records_per_s as u64),
        report.replay_mb_per_s
    );
    let lag = format!(
        "{} of log came during the drill, {} of them not applied yet",
        show_size(report.lag_bytes),
        show_size(report.unapplied_bytes)
    );
    let mut facts = vec![
        ("from", begin),
        ("recovery", recovery),
        ("replayed", replayed),
        ("added up in", time(report.audit_us)),
        ("took", time(report.took_us)),
        ("meanwhile", lag),
    ];
    if let (Some(all), Some(more)) = (report.process_memory_bytes, report.memory_bytes) {
        let (all, more) = (show_size(all), show_size(more));
        facts.push((
            "memory",
            format!("{all} with the copy, {more} more than before"),
        ));
    }
    facts
}

/// What a promotion does beside, and what nobody measured.
fn on_top(report: &DrillReport) -> Vec<(&'static str, String)> {
    let told = |us: Option<u64>| us.map_or_else(|| "not known".to_owned(), time);
    let promotion = format!(
        "{} of this running node; {} of a stopped one",
        told(report.running_promotion_us),
        told(report.stopped_promotion_us)
    );
    let mut facts = vec![("promotion", promotion)];
    for part in &report.on_top {
        let line = format!("{}: {} ({})", part.part, time(part.us), part.measured);
        facts.push(("measured", line));
    }
    for part in &report.not_measured {
        facts.push(("not measured", part.clone()));
    }
    facts
}

fn time(micros: u64) -> String {
    show_duration(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_all_follow_from_what_was_read_and_only_in_the_replay() {
        let mut running = DrillProgress {
            phase: "replay".to_owned(),
            done_bytes: 25,
            total_bytes: 100,
            records: 10,
            elapsed_us: 0,
        };
        assert_eq!(records_in_all(&running), Some(40));
        running.done_bytes = 0;
        assert_eq!(records_in_all(&running), None);
        running.phase = "restore".to_owned();
        assert_eq!(records_in_all(&running), None);
    }
}
