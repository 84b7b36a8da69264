//! `kanjo start`: runs a node until it is told to stop.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::ValueEnum;
use kanjo_node::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::exit::{EXIT_CODES, Exit, Failure};

/// SIGXFSZ on all Linux architectures that Rust's tier 1 knows.
const FILE_SIZE_SIGNAL: i32 = 25;

/// What a server logs. Raft's library tells of every message that does not get through, as an
/// error; the voter itself tells what came of it.
pub(super) const SERVER_LOG: &str = "info,openraft=off";

const EXAMPLES: &str = "\
Examples:
  kanjo start --config /etc/kanjo.toml
  KANJO_LOG=debug kanjo start --config a.toml --log-format json 2>a.log

A configuration; every key is explained in docs/operating.md:
  data_dir = \"a\"
  client_listen = \"127.0.0.1:7401\"
  replication_listen = \"127.0.0.1:7402\"
  admin_listen = \"127.0.0.1:7403\"
  peer_replication = \"127.0.0.1:7502\"
  peer_client = \"127.0.0.1:7501\"

SIGTERM or SIGINT stops it cleanly: no new requests, what was answered stays answered, the log is
synced. A second one ends it at once, which the log survives as it survives a power cut.";

/// Run a node in the foreground.
///
/// What it is, primary or replica, it takes from its data directory and the other node. The log
/// of what it does goes to standard error; KANJO_LOG sets how much (error, warn, info, debug, or
/// by module as in `info,kanjo_node=debug`).
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object a line
    Json,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    start_log(args.log_format, SERVER_LOG);
    report(serve(&args), args.log_format)
}

/// Tells why a server ended, where its log is read.
pub(super) fn report(ended: Result<(), Failure>, format: LogFormat) -> Result<Exit, Failure> {
    match (ended, format) {
        // Whoever collects the log reads nothing else.
        (Err(failure), LogFormat::Json) => {
            tracing::error!(error = failure.line(), "stopped");
            Ok(failure.exit())
        }
        (ended, _) => ended.map(|()| Exit::Done),
    }
}

fn serve(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let shutdown = listen_to_signals()?;
    kanjo_node::run(config, shutdown)?;
    tracing::info!("stopped cleanly");
    Ok(())
}

/// Logs to standard error for commands that open a data directory without being a server.
pub(super) fn start_quiet_log() {
    start_log(LogFormat::Human, "warn");
}

pub(super) fn start_log(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_env("KANJO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Where standard error cannot be written, saying so there is no use.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Human => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let ansi = std::io::stderr().is_terminal() && !plain;
            log.with_ansi(ansi).init();
        }
    }
}

/// From here on signals are handled; the receiver turns true when one says stop.
pub(super) fn listen_to_signals() -> Result<watch::Receiver<bool>, Failure> {
    let failed = |error| Failure::failed(format!("cannot listen to signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        Signals {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            // Not to die of it: a write beyond the limit then fails with an error, like on a
            // full disk.
            file_size: signal(SignalKind::from_raw(FILE_SIZE_SIGNAL)).map_err(failed)?,
        }
    };
    let (stop, stopped) = watch::channel(false);
    std::thread::Builder::new()
        .name("kanjo-signals".into())
        .spawn(move || runtime.block_on(signals.wait(stop)))
        .map_err(failed)?;
    Ok(stopped)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    file_size: Signal,
}

impl Signals {
    async fn wait(mut self, stop: watch::Sender<bool>) {
        let mut limit_told = false;
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.file_size.recv() => {
                    // The writes fail one by one, and say so where they do.
                    if !std::mem::replace(&mut limit_told, true) {
                        tracing::error!("a file may not grow: the limit on file sizes is reached");
                    }
                    continue;
                }
            };
            if *stop.borrow() {
                tracing::warn!(signal = name, "a second signal: ending at once");
                std::process::exit(Exit::Failed as i32);
            }
            tracing::info!(signal = name, "stopping");
            stop.send_replace(true);
        }
    }
}
