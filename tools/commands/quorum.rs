//! `kanjo quorum`: who may process, by the rules and a cluster file.

use std::path::PathBuf;

use clap::Subcommand;
use kanjo_format::Site;
use kanjo_group::explain::{Explanation, Line, Verdict, explain};

use super::group::load;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, table};

/// Where standard output is no terminal, so wide.
const WIDTH: u16 = 120;

const EXAMPLES: &str = "\
Examples:
  What happens if something fails, in this cluster?
    kanjo quorum explain --cluster-file /etc/kanjo/cluster.toml
  After a switch to site 2:
    kanjo quorum explain --cluster-file /etc/kanjo/cluster.toml --site-active 2
  What would a witness in a third site change?
    kanjo quorum explain --cluster-file /etc/kanjo/cluster.toml --third-witness
  All cases, for a script:
    kanjo quorum explain --cluster-file cluster.toml --json | jq '.cases[] | select(.verdict == \"stops\")'

It asks nobody: it applies the rules to the file. For how the cluster is now, ask `kanjo status`.

Verdicts in --json:
  goes-on                      the primary goes on
  other-server                 another server of the active site takes over by itself
  alone-by-third-witness       the primary goes on without the other site, recorded there
  other-site-by-third-witness  the other site takes over, recorded there
  stalls                       the primary lives and answers nothing
  stops                        nobody may process until a person acts";

/// Who may process, and why
#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    Explain(Args),
}

/// Explain who may process in every way in which the parts can fail or be cut off.
///
/// Each server and witness alone, lost or cut off from a site, in one direction or both; several
/// of a site; a whole site; the link between the sites: who goes on, by which rule, and what a
/// person can do. Equal cases share a line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The cluster file, the same on every machine
    #[arg(long, value_name = "FILE", alias = "cluster")]
    cluster_file: PathBuf,
    /// The site that processes
    #[arg(long, value_name = "SITE", value_parser = parse_site, default_value = "1")]
    site_active: Site,
    /// Assume a witness in a third site although the file names none
    #[arg(long)]
    third_witness: bool,
    /// Print JSON, with every case by itself
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: QuorumCommand) -> Result<Exit, Failure> {
    let QuorumCommand::Explain(args) = command;
    let topology = load(&args.cluster_file)?;
    let explanation = explain(
        &topology,
        args.site_active,
        args.third_witness || topology.third_witness.is_some(),
    );
    let mut output = Output::new();
    match args.json {
        true => output.json(&explanation)?,
        false => show(&explanation, &mut output)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn show(explanation: &Explanation, output: &mut Output) -> Result<(), Failure> {
    for fact in &explanation.facts {
        output.line(fact)?;
    }
    let mut lines = table(&["lost or cut off", "then", "why", "what to do"], &[]);
    if lines.width().is_none() {
        lines.set_width(WIDTH);
    }
    for line in &explanation.lines {
        lines.add_row([&line.what, &then(line), &line.why, &line.to_do]);
    }
    output.line(format!("\n{lines}"))
}

fn then(line: &Line) -> String {
    let mut then = line.then.clone();
    if line.verdict == Verdict::Stalls {
        then.push_str(": nothing is answered");
    }
    if !line.one_after_the_other.is_empty() {
        then = format!("{then}; {}", line.one_after_the_other);
    }
    then
}

fn parse_site(text: &str) -> Result<Site, String> {
    let site = text.parse().ok().and_then(Site::from_number);
    site.ok_or_else(|| "is neither 1 nor 2".to_owned())
}
