//! `kanjo bench promote`: how fast a stopped replica's log becomes a ledger again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use kanjo_client::Client;
use kanjo_format::limits::{REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use kanjo_node::admin::PromoteOptions;
use kanjo_node::promote_stopped;
use kanjo_node::status::Status;
use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::rounds::{Figures, Summary};
use super::running;
use super::workload::{WorkArgs, Workload};
use super::{OutputArgs, bar, say};
use crate::machine::Machine;
use crate::pair::{Pair, Which, Workspace};

/// So far apart that none is written: the whole log is replayed.
const NO_CHECKPOINT: u64 = 1 << 60;
/// Requests outstanding while the log is made.
const WRITERS: usize = 3;

/// Measure how fast a stopped replica replays its log when it is promoted
///
/// A pair writes the log, in full batches unless told otherwise, both nodes stop, the page cache of the auxiliary's
/// files is dropped, and its directory is promoted: every checksum and the whole chain are
/// verified, no checkpoint helps. Chain and totals must be those that the running pair had.
#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// Transfers in the log
    #[arg(long, value_name = "N", default_value_t = 2_000_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    transfers: u64,
    /// Transfers in each batch of the log. Below the default one client writes one batch after
    /// the other, which takes a commit's time each
    #[arg(long, value_name = "N", default_value_t = REQUEST_EVENTS_MAX as u64,
        value_parser = clap::value_parser!(u64).range(1..=REQUEST_EVENTS_MAX as u64))]
    batch: u64,
    /// How often the same log is promoted
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Promote a running, caught-up auxiliary instead, with so many accounts: from the command to
    /// the first answered commit after the primary was killed
    #[arg(long, value_name = "ACCOUNTS", num_args = 0..=1, default_missing_value = "1000000",
        conflicts_with_all = ["accounts", "batch"], value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    running: Option<u64>,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    transfers: u64,
    batch: u64,
    #[serde(flatten)]
    work: WorkArgs,
    log: LogFiles,
    tail_chain: String,
    #[serde(flatten)]
    summary: Summary,
}

/// What the replica's log consists of.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct LogFiles {
    /// Through the tail, as batches were first appended.
    log_bytes: u64,
    raw_segments: u64,
    sealed_segments: u64,
    sealed_bytes: u64,
}

/// Measures, prints and writes JSON.
pub(super) async fn run(args: PromoteArgs) -> Result<()> {
    if let Some(accounts) = args.running {
        let work = WorkArgs {
            accounts,
            ..args.work
        };
        return running::run(work, args.transfers, args.rounds, &args.output).await;
    }
    let workspace = Workspace::claim(&args.output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let tune = |config: &mut kanjo_node::Config| config.checkpoint_every_bytes = NO_CHECKPOINT;
    let mut pair = Pair::format(workspace.path(), SEGMENT_BYTES_DEFAULT, tune)?;
    let status = write_log(&args, &mut pair).await?;
    ensure!(
        status.transfers == args.transfers,
        "the log holds {} transfers, not {}",
        status.transfers,
        args.transfers
    );
    let data = pair.data_dir(Which::Second).to_owned();
    ensure!(
        names(&data.join("checkpoints"))?.is_empty(),
        "there is a checkpoint, which would shorten the replay"
    );
    let log = LogFiles::of(&data, status.tail_lsn)?;
    let kept = Kept::copy(&data, &workspace.path().join("kept"))?;
    let progress = bar(args.rounds, "promotions");
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        kept.restore()?;
        drop_cache(&data)?;
        let cpu_before = cpu_seconds()?;
        let seconds = promote_once(&data, &status).await?;
        progress.inc(1);
        rounds.push(Figures::from([
            ("seconds", seconds),
            ("cpu_seconds", cpu_seconds()? - cpu_before),
            ("replay_transfers_per_s", args.transfers as f64 / seconds),
            ("replay_mb_per_s", log.log_bytes as f64 / 1e6 / seconds),
            (
                "log_bytes_per_transfer",
                log.log_bytes as f64 / args.transfers as f64,
            ),
        ]));
    }
    progress.finish_and_clear();
    let outcome = Outcome {
        benchmark: "promote",
        machine,
        transfers: args.transfers,
        batch: args.batch,
        work: args.work,
        log,
        tail_chain: status.tail_chain,
        summary: Summary::of(rounds),
    };
    outcome.print();
    args.output.write_json("promote.json", &outcome)
}

/// Fills the logs of a running pair and stops both nodes.
async fn write_log(args: &PromoteArgs, pair: &mut Pair) -> Result<Status> {
    pair.start_protected().await?;
    let client = pair.connect().await?;
    let workload = Workload::open(&client, &args.work).await?;
    let progress = bar(args.transfers, "writing the log");
    fill(&client, workload, args, &progress).await?;
    progress.finish_and_clear();
    let [_, status] = pair.settle().await?;
    drop(client);
    pair.stop(Which::First).await?;
    pair.stop(Which::Second).await?;
    Ok(status)
}

async fn fill(
    client: &Client,
    workload: Workload,
    args: &PromoteArgs,
    progress: &ProgressBar,
) -> Result<()> {
    let workload = Arc::new(Mutex::new(workload));
    let left = Arc::new(AtomicU64::new(args.transfers));
    let batch = args.batch;
    // Requests that wait together share a batch: where each is to have one of its own, none waits.
    let writers_count = match batch == REQUEST_EVENTS_MAX as u64 {
        true => WRITERS,
        false => 1,
    };
    let mut writers = JoinSet::new();
    for _ in 0..writers_count {
        let (client, workload) = (client.clone(), workload.clone());
        let (left, progress) = (left.clone(), progress.clone());
        writers.spawn(async move {
            loop {
                let mut some = Vec::new();
                {
                    let mut workload = workload.lock().await;
                    let before = left.load(Ordering::Relaxed);
                    let count = before.min(batch);
                    left.store(before - count, Ordering::Relaxed);
                    some.extend((0..count).map(|_| workload.next()));
                }
                if some.is_empty() {
                    return Ok(());
                }
                let results = client.create_transfers(&some).await?;
                let created = results.iter().all(|result| result.created());
                ensure!(created, "a transfer of the log was not created");
                progress.inc(some.len() as u64);
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Promotes the directory; gives the seconds from opening it to the epoch being open. It must
/// have replayed the very history and come to the very totals that the running node had.
async fn promote_once(data: &Path, running: &Status) -> Result<f64> {
    let path = data.to_owned();
    let begun = Instant::now();
    // On a thread of its own, so that Ctrl-C is heard.
    let options = PromoteOptions::default();
    let promoting = tokio::task::spawn_blocking(move || promote_stopped(&path, &options));
    let promotion = promoting.await?.context("promoting")?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(promotion.changed, "it was primary already");
    ensure!(
        promotion.tail_chain == running.tail_chain,
        "the log ends in chain {}, it ended in {}",
        promotion.tail_chain,
        running.tail_chain
    );
    ensure!(
        promotion.trial_balance == running.trial_balance,
        "the totals after the replay are {:?}, they were {:?}",
        promotion.trial_balance,
        running.trial_balance
    );
    Ok(seconds)
}

/// Processor time of this process so far, which does nothing but promote meanwhile: beside the
/// time by the clock it tells a slow disk or a busy machine from slow code.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold anything; after it come the state and numbers.
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let ticks = numbers.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|number| number.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// What a promotion changes: the control file and the raw segments.
struct Kept {
    data: PathBuf,
    folder: PathBuf,
}

impl Kept {
    fn copy(data: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder)?;
        for name in changing(data)? {
            let to = folder.join(name.file_name().context("a file has a name")?);
            std::fs::copy(&name, &to).with_context(|| format!("copying {}", name.display()))?;
        }
        Ok(Self {
            data: data.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Makes the directory a stopped replica's again.
    fn restore(&self) -> Result<()> {
        for path in changing(&self.data)? {
            std::fs::remove_file(path)?;
        }
        for kept in names(&self.folder)? {
            let name = kept.file_name().context("a file has a name")?;
            let folder = match kept.extension().is_some_and(|extension| extension == "seg") {
                true => self.data.join("log"),
                false => self.data.clone(),
            };
            std::fs::copy(&kept, folder.join(name))?;
        }
        Ok(())
    }
}

fn changing(data: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = names(&data.join("log"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.push(data.join("control"));
    Ok(paths)
}

fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("listing {}", folder.display()))?;
    Ok(entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?)
}

/// Has every file on the disk and none in memory.
fn drop_cache(data: &Path) -> Result<()> {
    let mut paths = names(&data.join("log"))?;
    paths.push(data.join("control"));
    for path in paths {
        let file = File::open(&path)?;
        // Only what is on the disk can be dropped.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .with_context(|| format!("dropping {} from the page cache", path.display()))?;
    }
    Ok(())
}

impl LogFiles {
    fn of(data: &Path, tail_lsn: u64) -> Result<Self> {
        let mut files = Self {
            log_bytes: tail_lsn,
            ..Self::default()
        };
        for path in names(&data.join("log"))? {
            let bytes = path.metadata()?.len();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("seg") => files.raw_segments += 1,
                Some("sealed") => {
                    files.sealed_segments += 1;
                    files.sealed_bytes += bytes;
                }
                _ => {}
            }
        }
        Ok(files)
    }
}

impl Outcome {
    fn print(&self) {
        let summary = &self.summary;
        say(format!(
            "promotion of a stopped replica with {} transfers in batches of {}, {} MB of log ({} \
             sealed segments, {} raw), no checkpoint, page cache dropped; median (least to most) of \
             {} rounds:",
            self.transfers,
            self.batch,
            self.log.log_bytes / 1_000_000,
            self.log.sealed_segments,
            self.log.raw_segments,
            summary.rounds.len()
        ));
        for (name, decimals) in [
            ("seconds", 3),
            ("cpu_seconds", 2),
            ("replay_transfers_per_s", 0),
            ("replay_mb_per_s", 1),
            ("log_bytes_per_transfer", 1),
        ] {
            say(format!("  {name:24} {}", summary.range(name, decimals)));
        }
        say(format!(
            "chain {} and totals as before the stop",
            self.tail_chain
        ));
    }
}
