//! `kanjo failover`: the active site is lost, the auxiliary takes over.

use kanjo_node::admin::{Command, FailoverOptions};
use serde_json::json;

use super::{DecisionArgs, EXIT_CODES, Heard, ask_all, is_nominee};
use crate::exit::{Exit, Failure};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  Site 1 does not answer any more; site 2 takes over:
    kanjo failover --cluster-file cluster.toml --reason 'site 1 is dark, ticket 4711'

It loses nothing that was answered, alive or not as the old site may be: every answer was on the
disk of every server of the in-sync set before it was given, and these refuse the old epoch from
then on. What it costs is that the old site's servers cannot answer any more. They find their
place by themselves when they come back. Where one site cannot know whether the other one is
alive, a person decides: that is this command. With auto_failover = true the auxiliary does it
by itself.

With a witness in a third site its word is needed as well: it has let the active site go on alone,
or it will not. Where that witness is lost together with the active site, and both for good, only
a person can decide:
    kanjo failover --cluster-file cluster.toml --accept-missing-answered-transfers --reason …";

/// The active site is lost: let the auxiliary site take over.
///
/// Asks all servers of the cluster file, finds the one that processes for the auxiliary site,
/// and has it open the next site term. Refused while that site has no majority, or its register
/// does not hold the authority, with words that say what is missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    decision: DecisionArgs,
    /// Which site takes over [default: the one that is auxiliary]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    to_site: Option<u8>,
    /// Also without the word of the third site's witness, which is gone for good like the active
    /// site: what that site answered after it went on without this one is lost
    #[arg(long)]
    accept_missing_answered_transfers: bool,
    /// The other site is off, although the third witness is heard and has let it go on alone: no
    /// server of it runs, and none will without your word
    #[arg(long, requires = "accept_missing_answered_transfers")]
    other_site_is_off: bool,
    /// Said a second time
    #[arg(long, requires = "other_site_is_off")]
    certainly: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let topology = args.decision.topology()?;
    let heard = ask_all(&topology);
    let server = choose(&heard, args.to_site)?;
    let command = Command::Failover(FailoverOptions {
        accept_missing_answered_transfers: args.accept_missing_answered_transfers,
        other_site_is_off: args.other_site_is_off,
        certainly_off: args.certainly,
        ..args.decision.word().into()
    });
    let message = args.decision.have_done(&server.server, &command)?;
    let mut output = Output::new();
    match args.decision.json {
        true => output.json(&json!({ "message": message, "node": server.server.node }))?,
        false => output.line(message)?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

/// The server to ask: it processes for its site, and does not serve already.
fn choose(heard: &[Heard], to_site: Option<u8>) -> Result<&Heard, Failure> {
    let known = |one: &Heard| one.status.as_ref().ok().is_some_and(|s| is_nominee(s));
    let wanted = |one: &&Heard| {
        let status = one.status.as_ref().ok();
        let here = to_site.is_none_or(|site| one.server.site.number() == site);
        here && known(one) && status.is_some_and(|s| s.role != "primary")
    };
    let candidates: Vec<&Heard> = heard.iter().filter(wanted).collect();
    let active = |one: &&&Heard| {
        let status = one.status.as_ref().ok();
        let group = status.and_then(|status| status.group.as_ref());
        let own = group.and_then(|group| group.own.as_ref());
        own.is_some_and(|report| report.register.active == one.server.site)
    };
    if let Some(one) = candidates.iter().find(|one| !active(one)) {
        return Ok(one);
    }
    let serves = |one: &&Heard| one.status.as_ref().is_ok_and(|s| s.serving);
    let serving = heard.iter().find(serves).map(|one| &one.server);
    if let Some(server) = serving.filter(|s| to_site.is_some_and(|to| s.site.number() == to)) {
        return Err(Failure::failed(format!(
            "site {} processes already: node {} serves",
            server.site, server.node
        )));
    }
    if let Some(one) = candidates.first() {
        return Ok(one);
    }
    let unreached = heard.iter().filter(|one| one.status.is_err()).count();
    let text = format!(
        "no server can take over: {unreached} of {} do not answer, and none of the others processes for the auxiliary site",
        heard.len()
    );
    Err(Failure::new(Exit::Unreached, text)
        .with("`kanjo status --cluster-file FILE` shows what each says"))
}
