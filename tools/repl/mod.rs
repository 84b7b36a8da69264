//! `kanjo repl`: one JSON request a line, one JSON result a line.
//!
//! ```text
//! line ─▶ request (json, operations) ─▶ bank ─▶ reply ─▶ line
//!                                       ├ embedded: a ledger in memory, its clock moved by requests
//!                                       └ remote: the primary of a cluster
//! ```

mod bank;
mod completion;
mod embedded;
mod json;
mod operations;
mod pipe;
mod remote;
mod reply;
mod request;
mod shown;
mod terminal;

use std::io::IsTerminal;
use std::time::Duration;

use kanjo_client::ClusterId;

use crate::commands::parse_cluster;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::quantities::parse_some_time;
use bank::Bank;

const EXAMPLES: &str = r#"Examples:
  Learn on a ledger in memory, with history, completion (Tab) and `help`:
    kanjo repl --embedded

  A script: two accounts, a transfer that times out, a second that passes:
    kanjo repl --embedded <<'END'
    {"create_accounts":[{"id":1,"ledger":203,"code":10},{"id":2,"ledger":203,"code":10}]}
    {"create_transfers":[{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":500,"ledger":203,"code":1,"flags":["pending"],"timeout":1}]}
    {"tick_ns":1000000000}
    {"lookup_accounts":[1,2]}
    END

  The same requests to a cluster:
    echo '{"query_transfers":{"limit":10,"flags":["reversed"]}}' |
        kanjo repl --connect 127.0.0.1:7401,127.0.0.1:7501

Each line is an object with one request in it: {"REQUEST": …}; `{"help":null}` lists them, and
`{"help":"create_transfers"}` shows one with its fields, flags and results. Fields have the names of
the documented data model, and a missing one is zero. Integers may be strings of digits; those above
2^53 are printed so. Flags are a number, a list of names, or names joined by |.

The result has the same key. A line that is not understood gives
{"error":{"message":…,"field":"create_transfers[3].code"}}, changes nothing, and the next one is read.

The clock of --embedded starts at 0 and moves only by {"tick_ns":N}: to N nanoseconds behind itself or
behind the last record, whichever is later; what is due by then expires.

From a pipe, standard output has exactly one line for each line of standard input that is not
empty, flushed. The exit code is 2 if a line was not understood."#;

/// Type requests as JSON and see their results, on a cluster or on a ledger in memory.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct ReplArgs {
    /// Use a ledger in memory that begins empty; nothing is kept
    #[arg(long, conflicts_with = "connect")]
    embedded: bool,
    /// Client addresses (client_listen) of the nodes, HOST:PORT, with commas between; which one is
    /// primary is found out
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        required_unless_present = "embedded"
    )]
    connect: Vec<String>,
    /// The cluster that is meant: 32 hexadecimal digits [default: whichever answers]
    #[arg(long, value_name = "HEX", value_parser = parse_cluster, conflicts_with = "embedded")]
    cluster: Option<ClusterId>,
    /// How long each request may take at most: 500ms, 30s, 5m, 1h
    #[arg(long, value_parser = parse_some_time, default_value = "30s")]
    timeout: Duration,
}

impl ReplArgs {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut bank = if self.embedded {
            Bank::embedded()
        } else {
            Bank::connect(self.connect, self.cluster, self.timeout)?
        };
        if std::io::stdin().is_terminal() {
            terminal::run(&mut bank)
        } else {
            pipe::run(&mut bank)
        }
    }
}
