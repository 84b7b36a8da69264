//! `kanjo status`: how a node is, and waiting until it is as it should be.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use kanjo_node::admin::{Answer, Command, Condition};
use kanjo_node::status::{LedgerStatus, PeerStatus, Status};

use super::{admin, group, spells};
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

  Both sites of a group, again every second:
    kanjo status --cluster-file cluster.toml --watch

Protection:
  PROTECTED  every commit waits until the auxiliary has it on its disk
  WAITING    nothing is answered until an auxiliary follows
  DEGRADED   the primary serves alone by an operator's word; unprotected transfers are counted
  Beside the last two stands catching-up, with which node and how much it lacks, while another
  server fetches what it needs before commits are protected by it.";

/// Show how a node is, or wait until it is as it should be.
///
/// Ask it on its `admin_listen` address. With --wait the node may even be not up yet; when the
/// time is over, the status as it then is is printed and the exit code is 3.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(group = clap::ArgGroup::new("which").required(true).args(["connect", "cluster_file"]))]
pub(crate) struct Args {
    /// The node's admin_listen address, HOST:PORT
    #[arg(long, value_name = "ADDR", visible_alias = "admin")]
    connect: Option<String>,
    /// Both sites of a group: the cluster file that every server has
    #[arg(long, value_name = "FILE")]
    cluster_file: Option<PathBuf>,
    /// Show it again every second
    #[arg(long, requires = "cluster_file")]
    watch: bool,
    /// Wait until this holds
    #[arg(
        long,
        value_enum,
        value_name = "CONDITION",
        conflicts_with = "cluster_file"
    )]
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
    if let Some(file) = &args.cluster_file {
        return group::whole::run(file, args.watch, args.json);
    }
    let Some(connect) = &args.connect else {
        return Err(Failure::usage("give --connect ADDR or --cluster-file FILE"));
    };
    let answer = match args.wait {
        Some(wait) => admin::wait_for(connect, condition(wait), args.timeout)?,
        None => admin::ask_once(connect, &Command::Status, PATIENCE)?,
    };
    let (status, in_time) = match answer {
        Answer::Status(status) => (status, true),
        Answer::TimedOut(status) => (status, false),
        other => return Err(admin::refused(connect, other)),
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&status)?,
        false => output.line(shown(&status))?,
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
    let text = format!("{connect} was not {wait} within {waited}{why}");
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

/// What people see, in blocks with an empty line between them.
fn shown(status: &Status) -> String {
    let mut parts = vec![node_facts(status), log_facts(status)];
    let several = status.peers.len() > 1;
    if !several {
        parts.push(peer_facts(status));
    }
    let mut blocks = vec![facts(&parts.join(&("", String::new())))];
    if several {
        blocks.push(peer_table(&status.peers).to_string());
    }
    if status.unprotected.count > 0 {
        blocks.push(unprotected(status));
    }
    if !status.spells.is_empty() {
        // What the primary does now, another server does not know.
        let answering = status.role != "primary" || status.protection == "DEGRADED";
        blocks.push(spells::spells(&status.spells, answering).to_string());
    }
    if !status.trial_balance.is_empty() {
        blocks.push(trial_balance(&status.trial_balance).to_string());
    }
    blocks.join("\n\n")
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
        ("protection", protection_text(status)),
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
    if let Some(cap) = status.degraded_transfer_max {
        facts.insert(4, ("cap when alone", cap_text(cap)));
    }
    if status.uncertain {
        let text = "UNCERTAIN since a crash: not promoted without words that accept it";
        facts.insert(4, ("log end", text.to_owned()));
    }
    facts
}

/// How commits are protected, and who is about to make it more.
pub(super) fn protection_text(status: &Status) -> String {
    match catching_up(status) {
        Some(who) => format!("{}, {who}", status.protection),
        None => status.protection.clone(),
    }
}

/// Who is about to make commits more protected, and how much that one lacks.
pub(super) fn catching_up(status: &Status) -> Option<String> {
    let lacking = status.catching_up.iter().map(|one| {
        let lag = show_size(one.lag_bytes);
        format!("node {} lacks {lag}", one.node)
    });
    let lacking: Vec<String> = lacking.collect();
    (!lacking.is_empty()).then(|| format!("catching-up: {}", lacking.join(", ")))
}

/// What the cap on transfers does.
pub(super) fn cap_text(cap: u64) -> String {
    let cap = show_count(cap);
    format!("while DEGRADED transfers above {cap} minor units are held back")
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
        ("connected", connected(peer)),
    ];
    if let Some(node) = peer.node {
        facts.push(("peer node", node.to_string()));
    }
    facts.push(("acked", peer.acked_lsn.to_string()));
    facts.push(("lag", lag(peer)));
    if let Some(micros) = peer.round_trip_us {
        let time = show_duration(Duration::from_micros(micros));
        facts.push(("round trip", time));
    }
    if let Some(error) = &peer.last_error {
        facts.push(("last error", error.clone()));
    }
    facts
}

/// One row a peer, where there are several.
fn peer_table(peers: &[PeerStatus]) -> Table {
    let header = [
        "peer",
        "node",
        "site",
        "member",
        "connected",
        "acked",
        "lag",
        "round trip",
        "last error",
    ];
    let mut table = table(&header, &[1, 2, 5, 6, 7]);
    for peer in peers {
        let round_trip = peer.round_trip_us.map(Duration::from_micros);
        table.add_row([
            peer.address.clone(),
            peer.node.map_or_else(String::new, |node| node.to_string()),
            peer.site.map_or_else(String::new, |site| site.to_string()),
            yes_no(peer.member),
            connected(peer),
            peer.acked_lsn.to_string(),
            lag(peer),
            round_trip.map_or_else(String::new, show_duration),
            peer.last_error.clone().unwrap_or_default(),
        ]);
    }
    table
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

/// Nobody asks a replica's other peers.
fn connected(peer: &PeerStatus) -> String {
    peer.connected.map_or_else(|| "unknown".to_owned(), yes_no)
}

/// How far a peer is behind, in bytes and in time.
pub(super) fn lag(peer: &PeerStatus) -> String {
    if peer.connected == Some(false) && peer.acked_lsn == 0 {
        // The writer of this epoch has not heard it yet.
        return "not known".to_owned();
    }
    let bytes = show_size(peer.lag_bytes);
    match peer.lag_us {
        Some(micros) if peer.lag_bytes > 0 => {
            format!("{bytes}, {}", show_duration(Duration::from_micros(micros)))
        }
        _ => bytes,
    }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use kanjo_node::status::CatchingUp;

    use super::*;

    fn status_of(nodes: &[u32]) -> Status {
        let peer = |node: &u32| PeerStatus {
            address: format!("127.0.0.1:{node}"),
            node: Some(*node),
            site: Some(2),
            ..PeerStatus::default()
        };
        let peers: Vec<PeerStatus> = nodes.iter().map(peer).collect();
        Status {
            peer: peers[0].clone(),
            peers,
            ..Status::default()
        }
    }

    #[test]
    fn every_peer_has_a_row_where_there_are_several() {
        let text = shown(&status_of(&[7502, 7503]));
        for address in ["127.0.0.1:7502", "127.0.0.1:7503"] {
            assert_eq!(text.matches(address).count(), 1, "{text}");
        }
        assert!(text.contains("round trip") && text.contains("member"));
    }

    #[test]
    fn who_catches_up_stands_beside_the_protection() {
        let mut status = status_of(&[7502]);
        status.protection = "DEGRADED".to_owned();
        assert_eq!(protection_text(&status), "DEGRADED");
        let (node, lag_bytes) = (2, 3 << 20);
        status.catching_up = vec![CatchingUp { node, lag_bytes }];
        let text = protection_text(&status);
        assert_eq!(text, "DEGRADED, catching-up: node 2 lacks 3 MiB");
    }

    #[test]
    fn a_peer_that_lacks_something_shows_how_old_that_is() {
        let mut peer = status_of(&[7502]).peer;
        (peer.lag_bytes, peer.lag_us) = (8192, Some(1_500_000));
        assert_eq!(lag(&peer), "8 KiB, 1.50 s");
        (peer.lag_bytes, peer.lag_us) = (0, Some(0));
        assert_eq!(lag(&peer), "0 B");
    }

    #[test]
    fn of_a_peer_that_nobody_asks_nothing_is_claimed() {
        let mut status = status_of(&[7502, 7503]);
        status.peers[0].connected = Some(true);
        let text = shown(&status);
        assert!(text.contains("yes") && text.contains("unknown"), "{text}");
    }

    #[test]
    fn a_pair_shows_its_peer_among_the_facts() {
        let text = shown(&status_of(&[7502]));
        assert!(
            text.contains("peer node") && !text.contains("member"),
            "{text}"
        );
    }
}
