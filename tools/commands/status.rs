//! `kanjo status`: how a node is, and waiting until it is as it should be.

use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use kanjo_node::admin::{Answer, Command, Condition};
use kanjo_node::status::{LedgerStatus, Status};

use super::admin;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts, table};
use crate::quantities::{parse_duration, show_count, show_size};
use crate::times::show_duration;

/// A node answers its status at once, but may be in a long sync.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  kanjo status --connect 127.0.0.1:7403
  kanjo status --connect 127.0.0.1:7403 --json | jq .committed_lsn
  Until every commit is on both disks:
    kanjo status --connect 127.0.0.1:7403 --wait protected --timeout 30s || echo 'not in time'

Protection:
  PROTECTED  every commit waits until the auxiliary has it on its disk
  WAITING    nothing is answered until an auxiliary follows
  DEGRADED   the primary serves alone by an operator's word; unprotected transfers are counted";

/// Show how a node is, or wait until it is as it should be.
///
/// Ask it on its `admin_listen` address. With --wait the node may even be not up yet; when the
/// time is over, the status as it then is is printed and the exit code is 3.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The node's admin_listen address, HOST:PORT
    #[arg(long, value_name = "ADDR", visible_alias = "admin")]
    connect: String,
    /// Wait until this holds
    #[arg(long, value_enum, value_name = "CONDITION")]
    wait: Option<WaitFor>,
    /// How long to wait at most: 500ms, 30s, 5m, 1h
    #[arg(long, value_parser = parse_duration, default_value = "30s", requires = "wait")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WaitFor {
    /// New transfers are answered
    Serving,
    /// It is the primary, and every commit waits for a connected auxiliary
    Protected,
    /// It is a replica that every commit waits for: it may be promoted
    InSync,
    /// All that it accepted is committed, answered and in the ledger
    Idle,
    /// It is a replica
    Replica,
    /// New transfers are not answered
    NotServing,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let answer = match args.wait {
        Some(wait) => admin::wait_for(&args.connect, condition(wait), args.timeout)?,
        None => admin::ask_once(&args.connect, &Command::Status, PATIENCE)?,
    };
    let (status, in_time) = match answer {
        Answer::Status(status) => (status, true),
        Answer::TimedOut(status) => (status, false),
        other => return Err(admin::refused(&args.connect, other)),
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&status)?,
        false => show(&status, &mut output)?,
    }
    output.finish()?;
    if in_time {
        return Ok(Exit::Done);
    }
    let wait = args.wait.and_then(|wait| wait.to_possible_value());
    let wait = wait.map_or_else(String::new, |value| value.get_name().to_owned());
    let waited = show_duration(args.timeout);
    let why = match status.why_not_serving.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    let text = format!("{} was not {wait} within {waited}{why}", args.connect);
    Err(Failure::new(Exit::Unknown, text))
}

const fn condition(wait: WaitFor) -> Condition {
    match wait {
        WaitFor::Serving => Condition::Serving,
        WaitFor::Protected => Condition::Protected,
        WaitFor::InSync => Condition::InSync,
        WaitFor::Idle => Condition::Idle,
        WaitFor::Replica => Condition::Replica,
        WaitFor::NotServing => Condition::NotServing,
    }
}

fn show(status: &Status, output: &mut Output) -> Result<(), Failure> {
    let parts = [node_facts(status), log_facts(status), peer_facts(status)];
    output.line(facts(&parts.join(&("", String::new()))))?;
    if status.unprotected.count > 0 {
        output.line(format!("\n{}", unprotected(status)))?;
    }
    if !status.trial_balance.is_empty() {
        output.line(format!("\n{}", trial_balance(&status.trial_balance)))?;
    }
    Ok(())
}

fn node_facts(status: &Status) -> Vec<(&'static str, String)> {
    let serving = match (status.serving, status.why_not_serving.as_str()) {
        (true, _) => "yes".to_owned(),
        (false, "") => "no".to_owned(),
        (false, why) => format!("no: {why}"),
    };
    let uptime = show_duration(Duration::from_micros(status.uptime_us));
    let mut facts = vec![
        ("node", format!("{} in site {}", status.node, status.site)),
        ("role", status.role.clone()),
        ("epoch", status.epoch.clone()),
        ("protection", status.protection.clone()),
        ("serving", serving),
        ("cluster", status.cluster.clone()),
        ("incarnation", status.incarnation.clone()),
        ("process", format!("{}, up {uptime}", status.pid)),
        (
            "clients",
            format!(
                "{} connected, {} requests open",
                status.connections, status.requests_outstanding
            ),
        ),
        ("free disk", show_size(status.free_disk_bytes)),
    ];
    if status.role == "replica" {
        facts.insert(4, ("in-sync mark", yes_no(status.in_sync)));
    }
    if status.uncertain {
        let text = "UNCERTAIN since a crash: not promoted without words that accept it";
        facts.insert(4, ("log end", text.to_owned()));
    }
    facts
}

fn log_facts(status: &Status) -> Vec<(&'static str, String)> {
    let tail = format!(
        "lsn {} epoch {} chain {}",
        status.tail_lsn,
        status.tail_epoch,
        status.tail_chain.get(..16).unwrap_or(&status.tail_chain)
    );
    vec![
        ("tail", tail),
        ("durable", status.durable_lsn.to_string()),
        ("committed", status.committed_lsn.to_string()),
        ("applied", status.applied_lsn.to_string()),
        ("digest", status.digest.clone()),
        ("accounts", show_count(status.accounts)),
        ("transfers", show_count(status.transfers)),
        ("appended", show_size(status.appended_bytes)),
        ("shipped", show_size(status.shipped_bytes)),
        (
            "checkpoint",
            format!(
                "lsn {}; {} segments sealed",
                status.checkpoint_lsn, status.sealed_segments
            ),
        ),
    ]
}

fn peer_facts(status: &Status) -> Vec<(&'static str, String)> {
    let peer = &status.peer;
    let mut facts = vec![
        ("peer", peer.address.clone()),
        ("connected", yes_no(peer.connected)),
    ];
    if let Some(node) = peer.node {
        facts.push(("peer node", node.to_string()));
    }
    facts.push(("acked", peer.acked_lsn.to_string()));
    facts.push(("lag", show_size(peer.lag_bytes)));
    if let Some(micros) = peer.round_trip_us {
        let time = show_duration(Duration::from_micros(micros));
        facts.push(("round trip", time));
    }
    if let Some(error) = &peer.last_error {
        facts.push(("last error", error.clone()));
    }
    facts
}

fn unprotected(status: &Status) -> String {
    let amounts = status.unprotected.amounts.iter();
    let amounts = amounts.map(|(ledger, amount)| format!("{amount} in ledger {ledger}"));
    format!(
        "UNPROTECTED: {} transfers were answered without an auxiliary: {}",
        show_count(status.unprotected.count),
        amounts.collect::<Vec<_>>().join(", ")
    )
}

/// Debits and credits of each ledger; the last column is 0, or the book is broken.
pub(super) fn trial_balance(ledgers: &[LedgerStatus]) -> Table {
    let header = ["ledger", "debits", "credits", "difference"];
    let mut table = table(&header, &[0, 1, 2, 3]);
    for one in ledgers {
        let ledger = one.ledger.to_string();
        let sums = [&one.debits, &one.credits, &one.difference];
        let mut row = vec![ledger];
        row.extend(sums.map(show_count));
        table.add_row(row);
    }
    table
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
