//! The `kanjo` command line.
#![forbid(unsafe_code)]

mod bank;
mod bench;
mod berka;
mod demo;
mod floor;
mod machine;
mod pair;
mod plot;
mod random;
// Its caller, the command `import`, is not here yet.
#[allow(dead_code)]
mod transfer_csv;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Double-entry accounts that answer only what two clouds have on disk.
#[derive(Debug, Parser)]
#[command(name = "kanjo", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    /// Measure
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    #[command(hide = true)]
    Leash(pair::LeashArgs),
    /// Stand-in until the command line is merged.
    Format {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        cluster: kanjo_format::ClusterId,
        #[arg(long)]
        node: u32,
        #[arg(long)]
        site: u8,
        #[arg(long)]
        role: String,
        #[arg(long)]
        segment_bytes: u64,
    },
    /// Stand-in until the command line is merged.
    Start {
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Demo(args) => args.run(),
        Command::Bench(command) => command.run(),
        Command::Leash(args) => args.run().map(|()| ExitCode::SUCCESS),
        Command::Format {
            dir,
            cluster,
            node,
            site,
            role,
            segment_bytes,
        } => format(dir, cluster, node, site, &role, segment_bytes),
        Command::Start { config } => start(config),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("kanjo: {error:#}");
        ExitCode::FAILURE
    })
}

fn format(
    dir: PathBuf,
    cluster: kanjo_format::ClusterId,
    node: u32,
    site: u8,
    role: &str,
    segment_bytes: u64,
) -> anyhow::Result<ExitCode> {
    use kanjo_format::control::{Control, Role};
    use kanjo_format::*;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("{e}"))?;
    let control = Control {
        sequence: 0,
        cluster,
        incarnation: Incarnation::new(u128::from_le_bytes(random)),
        node: NodeId::new(node),
        site: Site::from_number(site).ok_or_else(|| anyhow::anyhow!("site"))?,
        role: if role == "primary" {
            Role::Primary
        } else {
            Role::Replica
        },
        segment_bytes,
        start_count: 0,
        granted_epoch: Epoch::NONE,
        granted_opening: OpeningId::default(),
        protection: record::Protection::Waiting,
        member: None,
        in_sync: false,
        in_sync_lsn: Lsn::ZERO,
        uncertain: false,
        awaiting_operator: false,
        durable: Tail::empty(cluster),
        confirmed: Lsn::ZERO,
        peer_granted_epoch: Epoch::NONE,
        log_time: Timestamp::new(0),
    };
    kanjo_wal::DataDir::format(&dir, &control)?;
    Ok(ExitCode::SUCCESS)
}

fn start(config: PathBuf) -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let config = kanjo_node::Config::load(&config)?;
    let (tx, rx) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut term = signal(SignalKind::terminate()).expect("a handler");
            term.recv().await;
            let _ = tx.send(true);
            std::future::pending::<()>().await;
        });
    });
    kanjo_node::run(config, rx)?;
    Ok(ExitCode::SUCCESS)
}
