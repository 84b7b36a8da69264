//! Stand-in command line of the tests branch, until the real one is merged.
use clap::{Parser, Subcommand};
use kanjo_format::control::*;
use kanjo_format::*;
use kanjo_node::admin::*;
use std::path::PathBuf;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}
#[derive(Subcommand)]
enum Cmd {
    Format {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        cluster: Option<String>,
        #[arg(long)]
        node: u32,
        #[arg(long)]
        site: u8,
        #[arg(long)]
        role: String,
        #[arg(long, default_value_t = 64 << 20)]
        segment_bytes: u64,
    },
    Start {
        #[arg(long)]
        config: PathBuf,
    },
    Promote {
        #[arg(long)]
        admin: Option<String>,
        #[arg(long)]
        dir: Option<PathBuf>,
        #[arg(long)]
        alone: bool,
        #[arg(long, default_value = "")]
        reason: String,
        #[arg(long)]
        accept_missing_answered_transfers: bool,
        #[arg(long)]
        accept_uncertain_tail: bool,
    },
    Log {
        #[command(subcommand)]
        command: LogCmd,
    },
}
#[derive(Subcommand)]
enum LogCmd {
    Verify {
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("KANJO_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .init();
    match Cli::parse().command {
        Cmd::Format {
            dir,
            cluster,
            node,
            site,
            role,
            segment_bytes,
        } => {
            let r = || {
                let mut b = [0u8; 16];
                getrandom::fill(&mut b).unwrap();
                u128::from_le_bytes(b)
            };
            let cluster = match cluster {
                Some(c) => c.parse()?,
                None => ClusterId::new(r()),
            };
            let control = Control {
                sequence: 0,
                cluster,
                incarnation: Incarnation::new(r()),
                node: NodeId::new(node),
                site: Site::from_number(site).unwrap(),
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
            println!("cluster {cluster}");
        }
        Cmd::Start { config } => {
            let config = kanjo_node::Config::load(&config)?;
            let (tx, rx) = tokio::sync::watch::channel(false);
            std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                    use tokio::signal::unix::{SignalKind, signal};
                    let mut term = signal(SignalKind::terminate()).unwrap();
                    let mut int = signal(SignalKind::interrupt()).unwrap();
                    let mut xfsz = signal(SignalKind::from_raw(25)).unwrap();
                    loop {
                        tokio::select! { _ = term.recv() => { let _ = tx.send(true); } _ = int.recv() => { let _ = tx.send(true); } _ = xfsz.recv() => {} }
                    }
                });
            });
            kanjo_node::run(config, rx)?;
        }
        Cmd::Promote {
            admin,
            dir,
            alone,
            reason,
            accept_missing_answered_transfers,
            accept_uncertain_tail,
        } => {
            let options = PromoteOptions {
                alone,
                reason,
                accept_missing_transfers: accept_missing_answered_transfers,
                accept_uncertain_tail,
            };
            let p = if let Some(admin) = admin {
                match ask(
                    &admin,
                    &Command::Promote(options),
                    std::time::Duration::from_secs(60),
                )? {
                    Answer::Promotion(p) => *p,
                    Answer::Refused { message } => anyhow::bail!(message),
                    other => anyhow::bail!("{other:?}"),
                }
            } else {
                kanjo_node::promote_stopped(&dir.unwrap(), &options)?
            };
            println!(
                "{}{p:#?}",
                if p.changed {
                    ""
                } else {
                    "already primary; nothing changed\n"
                }
            );
        }
        Cmd::Log {
            command: LogCmd::Verify { dir },
        } => {
            let r = kanjo_wal::verify(&dir, &mut |_| {})?;
            for p in &r.problems {
                println!("{p}");
            }
            if !r.problems.is_empty() {
                std::process::exit(1);
            }
        }
    }
    Ok(())
}
