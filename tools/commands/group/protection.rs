//! `kanjo protection`: how commits are protected, and an operator's word to change it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use kanjo_format::Timestamp;
use kanjo_group::Register;
use kanjo_group::register::Protection;
use kanjo_node::admin::{Command, ProtectMode, ProtectOptions};
use kanjo_node::status::Status;
use serde_json::json;

use super::super::spells;
use super::super::status::{cap_text, protection_text};
use super::{DecisionArgs, EXIT_CODES, Heard, ask_all, load};
use crate::exit::{Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::{parse_some_time, show_count};
use crate::times::show_second;

const EXAMPLES: &str = "\
Examples:
  kanjo protection show --cluster-file cluster.toml
  Site 2 burnt down, which somebody went to see; site 1 goes on without it for two hours:
    kanjo protection degraded --cluster-file cluster.toml --expires 2h \\
      --other-site-is-off --certainly --reason 'site 2 burnt down, ticket 4711'
  Nothing is answered any more without the in-sync set:
    kanjo protection maximum --cluster-file cluster.toml --reason 'enough'

Two sites alone cannot know of each other whether the other one lives. A primary that goes on
without its auxiliary while that one is made to process gives two answers to one question, and
one of the two is lost. That is why it takes a person who knows that the other site is off.";

/// Show how commits are protected, or let the primary go on without the other site for a while.
#[derive(Debug, Subcommand)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) enum ProtectionCommand {
    Show(ShowArgs),
    Maximum(MaximumArgs),
    Degraded(DegradedArgs),
}

/// Show how commits are protected, and what was answered without protection.
///
/// Beside DEGRADED or WAITING it says catching-up, with which node and how many bytes it lacks,
/// while another server fetches what it needs before commits are protected by it.
/// Below stand the times alone that the servers saw, former ones too: since and until when, the
/// epoch in which each began, how much was answered, and by whose word and why, where that is known.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The cluster file, the same that every server has
    #[arg(long, value_name = "FILE")]
    cluster_file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Answer nothing without the in-sync set.
#[derive(Debug, clap::Args)]
pub(crate) struct MaximumArgs {
    #[command(flatten)]
    decision: DecisionArgs,
}

/// Let the primary go on without the other site, for a while.
///
/// Its own site's register takes the authority, an epoch is opened, and while the standby follows
/// every commit waits for it (ONE SITE ONLY); alone, the primary shows DEGRADED, and every
/// transfer is counted. It ends by itself when another server has caught up, or the time is over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct DegradedArgs {
    #[command(flatten)]
    decision: DecisionArgs,
    /// After this long nothing is answered alone any more: 30m, 2h
    #[arg(long, value_parser = parse_some_time)]
    expires: Duration,
    /// The other site is off: no server of it runs, and none will without your word
    #[arg(long)]
    other_site_is_off: bool,
    /// Said a second time
    #[arg(long, requires = "other_site_is_off")]
    certainly: bool,
}

pub(crate) fn run(command: ProtectionCommand) -> Result<Exit, Failure> {
    match command {
        ProtectionCommand::Show(args) => show(&args),
        ProtectionCommand::Maximum(args) => change(&args.decision, ProtectOptions::default()),
        ProtectionCommand::Degraded(args) => {
            let options = ProtectOptions {
                mode: ProtectMode::Degraded,
                expires_ms: u64::try_from(args.expires.as_millis()).unwrap_or(u64::MAX),
                other_site_is_off: args.other_site_is_off,
                certainly_off: args.certainly,
                ..ProtectOptions::default()
            };
            change(&args.decision, options)
        }
    }
}

fn change(decision: &DecisionArgs, options: ProtectOptions) -> Result<Exit, Failure> {
    let topology = decision.topology()?;
    let heard = ask_all(&topology);
    let primary = primary(&heard)?;
    let word = decision.word();
    let options = ProtectOptions {
        operator: word.operator,
        reason: word.reason,
        ..options
    };
    let message = decision.have_done(&primary.server, &Command::Protect(options))?;
    let mut output = Output::new();
    match decision.json {
        true => output.json(&json!({ "message": message, "node": primary.server.node }))?,
        false => output.line(message)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn primary(heard: &[Heard]) -> Result<&Heard, Failure> {
    let is_primary = |one: &&Heard| one.status.as_ref().is_ok_and(|s| s.role == "primary");
    heard.iter().find(is_primary).ok_or_else(|| {
        Failure::new(Exit::Unreached, "no server says that it is the primary")
            .with("only a primary knows that it has everything that was answered; if it is lost, use `kanjo failover`")
    })
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let topology = load(&args.cluster_file)?;
    let heard = ask_all(&topology);
    let one = primary(&heard)?;
    let Ok(status) = &one.status else {
        return Err(Failure::new(Exit::Unreached, "the primary does not answer"));
    };
    let group = status.group.as_ref();
    let reports = group
        .into_iter()
        .flat_map(|group| group.own.iter().chain(&group.other));
    let holder = reports
        .map(|report| &report.register)
        .find(|register| register.holds_authority());
    let told = heard.iter().filter_map(|one| one.status.as_ref().ok());
    let spells = spells::merged(told.map(|status| status.spells.as_slice()));
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "node": status.node,
            "protection": status.protection,
            "catching_up": status.catching_up,
            "serving": status.serving,
            "register": holder.map(|register| &register.protection),
            "set": holder.map(|register| &register.set),
            "unprotected": status.unprotected,
            "spells": spells,
            "degraded_transfer_max": status.degraded_transfer_max,
        }))?;
        output.finish()?;
        return Ok(Exit::Done);
    }
    output.line(facts(&protection_facts(status, holder)))?;
    if !spells.is_empty() {
        output.line("")?;
        output.line(spells::spells(&spells, status.protection == "DEGRADED"))?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn protection_facts(status: &Status, holder: Option<&Register>) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("protection", protection_text(status)),
        (
            "serving",
            if status.serving {
                "yes".to_owned()
            } else {
                status.why_not_serving.clone()
            },
        ),
    ];
    if let Some(register) = holder {
        let set: Vec<String> = register.set.iter().map(|m| m.node.to_string()).collect();
        rows.push(("in-sync set", format!("node {}", set.join(", "))));
        if let Protection::Degraded(word) = &register.protection {
            let time = |ms: u64| show_second(Timestamp::new(ms.saturating_mul(1_000_000)));
            rows.push((
                "decided",
                format!(
                    "{} by {}: {}",
                    time(word.since_ms),
                    word.operator,
                    word.reason
                ),
            ));
            let until = time(word.until_ms);
            let ends = match status.protection == "DEGRADED" {
                true => until,
                false => format!("ended before {until}: nothing more is answered alone"),
            };
            rows.push(("ends", ends));
        }
    }
    let cap = status.degraded_transfer_max;
    rows.push(("cap", cap.map_or_else(|| "none".to_owned(), cap_text)));
    rows.push((
        "unprotected",
        format!("{} transfers", show_count(status.unprotected.count)),
    ));
    for (ledger, amount) in &status.unprotected.amounts {
        rows.push(("", format!("{amount} in ledger {ledger}")));
    }
    rows
}
