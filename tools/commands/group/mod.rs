//! Commands for servers in groups: all of them are asked, the right one is found.

mod checks;
pub(super) mod failover;
pub(super) mod fence;
mod last_switch;
pub(super) mod protection;
pub(super) mod switchover;
pub(super) mod whole;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use kanjo_group::Topology;
use kanjo_group::topology::Server;
use kanjo_node::admin::{Answer, Command, OperatorWord, ask};
use kanjo_node::status::Status;

use super::admin;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::quantities::parse_some_time;

/// A server that does not tell its status within this time is taken for unreachable.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// Where the servers are, and who decides.
#[derive(Debug, clap::Args)]
pub(crate) struct DecisionArgs {
    /// The cluster file, the same that every server has
    #[arg(long, value_name = "FILE")]
    pub(super) cluster_file: PathBuf,
    /// Who decides; it is written down [default: the user's number, where USER is not set]
    #[arg(long, value_name = "NAME", env = "USER")]
    operator: Option<String>,
    /// Why; it is written into the log (at most 128 bytes)
    #[arg(long, value_name = "TEXT", value_parser = super::promote::parse_reason)]
    reason: String,
    /// How long to wait for the end
    #[arg(long, value_parser = parse_some_time, default_value = "1m")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl DecisionArgs {
    pub(super) fn topology(&self) -> Result<Topology, Failure> {
        load(&self.cluster_file)
    }

    fn word(&self) -> OperatorWord {
        OperatorWord {
            operator: match &self.operator {
                Some(name) if !name.trim().is_empty() => name.clone(),
                _ => format!("uid {}", rustix::process::getuid().as_raw()),
            },
            reason: self.reason.clone(),
        }
    }

    /// Has one server do it, and gives its words.
    fn have_done(&self, server: &Server, command: &Command) -> Result<String, Failure> {
        let answer =
            admin::ask_once(&server.admin, command, self.timeout).map_err(|failure| match failure
                .exit()
            {
                Exit::Unknown => failure
                    .with("it may go on: `kanjo status --cluster-file FILE` shows how it ended"),
                _ => failure,
            });
        match answer? {
            Answer::Done { message } => Ok(message),
            other => Err(admin::refused(&server.admin, other)),
        }
    }
}

/// A server of the cluster file with what it says of itself, or why it does not.
pub(super) struct Heard {
    pub(super) server: Server,
    pub(super) status: Result<Box<Status>, String>,
    /// Its clock, if it answered.
    pub(super) clock: Option<ClockSeen>,
}

/// A server's clock as it was read over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockSeen {
    /// How far it is ahead, in microseconds, of a clock that is the same for all that were asked
    /// together.
    pub(super) ahead_us: i64,
    /// How much less or more it may be: half of the time that the answer took.
    pub(super) unsure: Duration,
}

pub(super) fn load(path: &std::path::Path) -> Result<Topology, Failure> {
    Topology::load(path).map_err(|error| Failure::new(Exit::Usage, error))
}

/// Asks all servers at once how they are.
pub(super) fn ask_all(topology: &Topology) -> Vec<Heard> {
    let start = Instant::now();
    thread::scope(|scope| {
        let asked: Vec<_> = topology
            .servers
            .iter()
            .map(|server| (server, scope.spawn(move || hear(server, start))))
            .collect();
        asked
            .into_iter()
            .map(|(server, thread)| {
                thread.join().unwrap_or_else(|_| Heard {
                    server: server.clone(),
                    status: Err("could not be asked".to_owned()),
                    clock: None,
                })
            })
            .collect()
    })
}

/// Asks one server; its clock is compared with the time since `start`.
fn hear(server: &Server, start: Instant) -> Heard {
    let asked = start.elapsed();
    let status = ask_status(&server.admin);
    let answered = start.elapsed();
    let clock = status.as_ref().ok().map(|status| {
        // It read its clock at some moment between the two.
        let unsure = (answered - asked) / 2;
        let between = i64::try_from((asked + unsure).as_micros()).unwrap_or(i64::MAX);
        let clock_us = i64::try_from(status.clock_us).unwrap_or(i64::MAX);
        ClockSeen {
            ahead_us: clock_us.saturating_sub(between),
            unsure,
        }
    });
    Heard {
        server: server.clone(),
        status,
        clock,
    }
}

fn ask_status(address: &str) -> Result<Box<Status>, String> {
    match ask(address, &Command::Status, STATUS_PATIENCE) {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(other) => Err(format!("answered something else: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a server is who processes for its site, by its own site's register.
pub(super) fn is_nominee(status: &Status) -> bool {
    let own = status.group.as_ref().and_then(|group| group.own.as_ref());
    own.and_then(|report| report.register.nominee)
        .is_some_and(|nominee| nominee.node.get() == status.node)
}
