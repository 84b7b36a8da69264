//! `kanjo tail`: follows what is committed.

mod rows;

use std::io::Write;
use std::time::Duration;

use kanjo_client::{Feed, FeedBatch, Lsn};
use serde_json::json;

use self::rows::{row_line, shown};
use super::cluster::ClusterArgs;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::Output;

/// How long a node may wait for something new before it says that there is nothing.
const WAIT: Duration = Duration::from_secs(1);
/// Between two tries while no node can answer.
const PAUSE: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  What is committed from now on, until Ctrl-C:
    kanjo tail --connect 127.0.0.1:7401,127.0.0.1:7501
  All of history, to its present end:
    kanjo tail --connect 127.0.0.1:7401,127.0.0.1:7501 --from 0 --no-follow
  For a program that keeps up with every record and remembers where it was:
    kanjo tail --connect 127.0.0.1:7401,127.0.0.1:7501 --from 1048576 --json |
      jq -c 'select(.kind == \"transfer_posted\" or .kind == \"resume\")'

Only committed records are shown, each once and in the order of the log, over a promotion too: the
command goes on at its own position with whichever node is primary. Behind each group of records
JSON has a line of kind `resume`: once everything before it was dealt with, --from with its lsn
goes on without a gap and without a duplicate. For people it is printed at the end.";

/// Print committed records as they come.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Begin with the batch at or behind this position [default: what comes from now on]
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Wait for more at the end (the default)
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// End where the committed log ends
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let from = match args.from {
            Some(from) => Lsn::new(from),
            None => client.position().await?.lsn(),
        };
        let mut tail = Tail {
            feed: client.feed(from),
            output: Output::new(),
            json: args.json,
            resume: None,
        };
        let printed = match args.no_follow {
            true => tail.print_to_end().await,
            false => tail.follow().await,
        };
        // Where to resume is said whatever ended it.
        tail.end()?;
        printed.map(|()| Exit::Done)
    })
}

struct Tail {
    feed: Feed,
    output: Output,
    json: bool,
    /// The last position that was printed.
    resume: Option<Lsn>,
}

impl Tail {
    /// Up to where the log ends now.
    async fn print_to_end(&mut self) -> Result<(), Failure> {
        loop {
            let batch = self.feed.read(Duration::ZERO).await?;
            if batch.rows.is_empty() {
                return Ok(());
            }
            self.print(&batch)?;
        }
    }

    /// Until it is interrupted. Waits out a time without a primary, and says so once.
    async fn follow(&mut self) -> Result<(), Failure> {
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut waits = false;
        loop {
            let read = tokio::select! {
                read = self.feed.read(WAIT) => read,
                _ = &mut interrupted => return Ok(()),
            };
            match read {
                Ok(batch) => {
                    waits = false;
                    if !batch.rows.is_empty() {
                        self.print(&batch)?;
                    }
                }
                Err(error) if error.worth_repeating() => {
                    if !waits {
                        let _ = writeln!(std::io::stderr(), "kanjo: {error}; waiting");
                    }
                    waits = true;
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        _ = &mut interrupted => return Ok(()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn print(&mut self, batch: &FeedBatch) -> Result<(), Failure> {
        for row in &batch.rows {
            match self.json {
                true => self.output.json_line(&shown(row))?,
                false => self.output.line(row_line(row))?,
            }
        }
        if self.json {
            self.resume()?;
        }
        self.output.flush()
    }

    fn resume(&mut self) -> Result<(), Failure> {
        let lsn = self.feed.position();
        if self.resume.replace(lsn) == Some(lsn) {
            return Ok(());
        }
        let resume = json!({ "kind": "resume", "lsn": lsn.get() });
        self.output.json_line(&resume)
    }

    fn end(mut self) -> Result<(), Failure> {
        match self.json {
            true => self.resume()?,
            false => {
                let lsn = self.feed.position();
                self.output.line(format!("resume with --from {lsn}"))?;
            }
        }
        self.output.finish()
    }
}
