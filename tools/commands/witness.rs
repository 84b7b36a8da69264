//! `kanjo witness`: runs a site's quorum device, or the third site's, until it is told to stop.

use std::path::{Path, PathBuf};

use kanjo_format::NodeId;
use kanjo_group::{
    GroupError, Setup, ThirdSetup, ThirdWitness, Topology, Voter, witness_incarnation,
};
use serde::Deserialize;
use tokio::sync::watch;

use super::format::parse_cluster;
use super::start::{LogFormat, SERVER_LOG, listen_to_signals, report, start_log};
use crate::exit::{EXIT_CODES, Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  kanjo witness --config /etc/kanjo-witness.toml

A configuration; paths are relative to it:
  data_dir = \"witness\"
  cluster = \"5f0c…e1\"              as `kanjo format --new-cluster` printed it
  node = 9                         its number in the cluster file
  cluster_file = \"cluster.toml\"    the same file as on the servers; its address stands there
  insecure_listen = true           only if that address is not a loopback one

The witness of a third site, [third_witness] in the cluster file, is started the same way. It
gives one of two sites that cannot hear each other the word to go on; see docs/two-clouds.md.
If its disk is lost, start it with an empty directory: it gives no word on what it does not know,
until the writer has opened its next epoch, which it does by itself within a minute.

At its first start the directory gets an identity of its own, which it never changes. A witness
whose disk is lost starts with an empty directory and joins by itself while the site's servers
live; the lost directory, if it turns up again, is refused for ever.

SIGTERM or SIGINT stops it cleanly. A second one ends it at once, which its file survives as it
survives a power cut.";

/// Run a site's witness in the foreground.
///
/// The witness is the third vote of a site with two servers: with it the site knows which server
/// processes, although one of them, or the witness itself, is lost. It holds no account and no
/// transfer, only the register: who may write. Run it on a machine of its own in the same cloud,
/// so that it is not lost together with a server.
///
/// It needs a few megabytes of memory and less than a megabyte of disk, but a disk that syncs
/// within a few milliseconds: elections and nominations wait for it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The configuration file (TOML); unknown keys are refused
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How the log looks
    #[arg(long, value_enum, default_value = "human")]
    log_format: LogFormat,
}

/// What an operator tells a witness.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessConfig {
    data_dir: PathBuf,
    cluster: String,
    node: u32,
    cluster_file: PathBuf,
    #[serde(default)]
    insecure_listen: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    start_log(args.log_format, SERVER_LOG);
    report(serve(&args), args.log_format)
}

fn serve(args: &Args) -> Result<(), Failure> {
    let setup = load(&args.config)?;
    let shutdown = listen_to_signals()?;
    match setup {
        Role::Voter(setup) => {
            let voter = Voter::start(setup)?;
            wait(shutdown, voter.ended())?;
            voter.stop()?;
        }
        Role::Third(setup) => {
            let third = ThirdWitness::start(setup)?;
            wait(shutdown, third.ended())?;
            third.stop()?;
        }
    }
    tracing::info!("stopped cleanly");
    Ok(())
}

/// What the cluster file has this node for.
enum Role {
    /// A site's witness.
    Voter(Setup),
    /// The third site's.
    Third(ThirdSetup),
}

/// Waits until a signal says stop, or the voter has ended by itself.
fn wait(
    mut shutdown: watch::Receiver<bool>,
    mut ended: watch::Receiver<Option<GroupError>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            // Errors are ends, too.
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = ended.wait_for(Option::is_some) => {}
        }
    });
    Ok(())
}

fn load(path: &Path) -> Result<Role, Failure> {
    let wrong = |what: String| Failure::failed(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("cannot read the configuration: {error}")))?;
    let config: WitnessConfig = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let cluster = parse_cluster(&config.cluster).map_err(|why| wrong(format!("cluster: {why}")))?;
    let topology = Topology::load(&base.join(&config.cluster_file)).map_err(Failure::failed)?;
    let node = NodeId::new(config.node);
    let listed = topology.witnesses.iter().find(|w| w.node == node);
    let third = topology.third_witness.as_ref();
    let third = third.filter(|third| third.node == node);
    let (site, address) = match (listed, third) {
        (Some(listed), _) => (Some(listed.site), &listed.register),
        (None, Some(third)) => (None, &third.register),
        (None, None) => {
            let why = match topology.server(node) {
                Some(_) => "is a server in the cluster file: start it with `kanjo start`",
                None => {
                    "is not in the cluster file: add it there as a [[witness]], or as [third_witness], on every machine"
                }
            };
            return Err(wrong(format!("node {node} {why}")));
        }
    };
    if !config.insecure_listen && !is_loopback(address) {
        return Err(wrong(format!(
            "{address} is not a loopback address and nothing is encrypted yet; set insecure_listen = true to accept that"
        )));
    }
    let data_dir = base.join(&config.data_dir);
    let incarnation = witness_incarnation(&data_dir, cluster, site, node)?;
    Ok(match site {
        Some(site) => Role::Voter(Setup {
            cluster,
            site,
            node,
            incarnation,
            witness: true,
            dir: data_dir.join("register"),
            topology,
        }),
        None => Role::Third(ThirdSetup {
            cluster,
            node,
            incarnation,
            dir: data_dir,
            topology,
        }),
    })
}

/// Whether only this machine can connect; an address that names nothing fails when it is bound.
fn is_loopback(address: &str) -> bool {
    use std::net::ToSocketAddrs;
    match address.to_socket_addrs() {
        Ok(mut named) => named.all(|address| address.ip().is_loopback()),
        Err(_) => true,
    }
}
