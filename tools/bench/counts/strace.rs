//! System calls, as `strace` sees them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::{look_for_program, post_single, start_under};
use crate::bench::rounds::Figures;
use crate::pair::Which;

const WARM_UP_COMMITS: u64 = 100;
/// Of each block: few, so that some hold nothing that comes with the time.
const COMMITS: u64 = 25;
const BLOCKS: u32 = 30;
/// Names that a line about one node shows.
const SHOWN: usize = 8;

/// How often a commit makes each system call.
pub(super) type Calls = BTreeMap<String, f64>;

/// System calls of primary and auxiliary.
pub(super) struct CallsOfNodes {
    nodes: [Calls; 2],
}

/// Whether it is there and may be used.
pub(super) fn look_for() -> Result<()> {
    look_for_program(
        "strace",
        &["-f", "-qq", "-o", "/dev/null", "true"],
        "strace",
    )
}

/// Runs a pair in `dir`, both nodes under `strace`.
pub(super) async fn count(dir: &Path) -> Result<CallsOfNodes> {
    let trace = |which: Which| dir.join(format!("strace-{}.txt", which.number()));
    let mut rig = start_under(dir, |which| program(&trace(which))).await?;
    let client = rig.connect().await?;
    post_single(&rig, &client, WARM_UP_COMMITS).await?;
    let mut blocks = Vec::new();
    for _ in 0..BLOCKS {
        let begun = seconds_now()?;
        post_single(&rig, &client, COMMITS).await?;
        blocks.push(begun..seconds_now()?);
    }
    rig.settle().await?;
    drop(client);
    let mut nodes = [Calls::new(), Calls::new()];
    for (calls, which) in nodes.iter_mut().zip([Which::First, Which::Second]) {
        // Once it has ended, all lines are written.
        rig.pair.stop(which).await?;
        *calls = read(&trace(which), &blocks)?;
    }
    Ok(CallsOfNodes { nodes })
}

fn program(trace: &Path) -> Vec<OsString> {
    let words = [
        "strace",
        "-f",
        "-qq",
        "-ttt",
        "-s",
        "0",
        "-e",
        "signal=none",
        "-o",
    ];
    let mut words: Vec<OsString> = words.map(OsString::from).into();
    words.push(trace.into());
    words
}

/// By the same clock as `strace -ttt`.
fn seconds_now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// Of the block with the fewest calls.
fn read(trace: &Path, blocks: &[Range<f64>]) -> Result<Calls> {
    let text = std::fs::read(trace).with_context(|| format!("reading {}", trace.display()))?;
    let text = String::from_utf8_lossy(&text);
    let blocks = blocks.iter().map(|block| calls_within(&text, block));
    let fewest = blocks.min_by_key(|calls| calls.values().sum::<u64>());
    let fewest = fewest
        .filter(|calls| !calls.is_empty())
        .with_context(|| format!("{} lacks calls of the measured time", trace.display()))?;
    let each = |(name, count): (&str, u64)| (name.to_owned(), count as f64 / COMMITS as f64);
    Ok(fewest.into_iter().map(each).collect())
}

/// Of lines `THREAD SECONDS NAME(…`; one that was interrupted by others is resumed in a line
/// `THREAD SECONDS <... NAME resumed>…`, which is the same call.
fn calls_within<'a>(text: &'a str, block: &Range<f64>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let time = words.next().and_then(|time| time.parse::<f64>().ok());
        let name = words.next().and_then(|call| call.split_once('('));
        let (Some(time), Some((name, _))) = (time, name) else {
            continue;
        };
        if block.contains(&time) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

impl CallsOfNodes {
    /// All of a commit together.
    pub(super) fn figures(&self) -> Figures {
        let [primary, auxiliary] = &self.nodes;
        Figures::from([
            (
                "single_primary_system_calls_per_commit",
                primary.values().sum(),
            ),
            (
                "single_auxiliary_system_calls_per_commit",
                auxiliary.values().sum(),
            ),
        ])
    }

    /// The most frequent ones of each node.
    pub(super) fn describe(&self) -> String {
        let line = |(node, calls): (&str, &Calls)| {
            let mut sorted: Vec<_> = calls.iter().collect();
            sorted.sort_by(|a, b| b.1.total_cmp(a.1));
            let shown = sorted.iter().take(SHOWN);
            let shown: Vec<_> = shown
                .map(|(name, each)| format!("{name} {each:.2}"))
                .collect();
            format!("system calls a commit, {node}: {}", shown.join(", "))
        };
        let nodes = ["primary", "auxiliary"].into_iter().zip(&self.nodes);
        nodes.map(line).collect::<Vec<_>>().join("\n")
    }

    /// Of each node what has fewer in all.
    pub(super) fn take_least(&mut self, again: Self) {
        for (calls, again) in self.nodes.iter_mut().zip(again.nodes) {
            if again.values().sum::<f64>() < calls.values().sum() {
                *calls = again;
            }
        }
    }

    /// Of primary and auxiliary.
    pub(super) fn into_nodes(self) -> [Calls; 2] {
        self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_once_when_it_began_in_the_measured_time() {
        let text = "7 10.5 futex(0x1) = 0\n\
                    7 11.0 epoll_wait(3,  <unfinished ...>\n\
                    12 11.1 sendto(4, \"\"..., 9) = 9\n\
                    7 11.2 <... epoll_wait resumed>[], 8, 2) = 0\n\
                    7 11.9 epoll_wait(3, [], 8, 2) = 0\n\
                    12 11.95 +++ exited with 0 +++\n\
                    7 12.0 msync(0x1, 4096, MS_SYNC) = 0\n\
                    torn";
        let counts = calls_within(text, &(11.0..12.0));
        assert_eq!(counts, BTreeMap::from([("epoll_wait", 2), ("sendto", 1)]));
    }
}
