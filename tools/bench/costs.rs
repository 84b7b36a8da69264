//! What a process costs: processor time, memory and writes, as the kernel counts them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::relay;

/// The threads of a node that prepare, mark, seal, index and write checkpoints; all others serve
/// commits.
const BESIDE_THREADS: [&str; 4] = ["kanjo-marks", "kanjo-ahead", "kanjo-derive", "kanjo-beside"];
const HOT_THREAD: &str = "kanjo-hot";

/// What a process has used since it began, or between two looks at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    /// Processor time of all threads; of another process of those that live.
    pub(super) cpu_seconds: f64,
    /// Resident memory now, pages of mapped files included.
    pub(super) rss_bytes: u64,
    /// Of this, memory of its own.
    pub(super) own_bytes: u64,
    threads: BTreeMap<String, Thread>,
}

/// All threads of one name together.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    cpu_seconds: f64,
    /// Bytes of pages that it made dirty or wrote past the page cache: what reaches the disk.
    written_bytes: u64,
}

impl Costs {
    /// Looks at a process that runs.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let status = read(&format!("{folder}/status"))?;
        let kilobytes = |name: &str| field(&status, name).unwrap_or(0) << 10;
        let mut costs = Self {
            cpu_seconds: 0.0,
            rss_bytes: kilobytes("VmRSS:"),
            own_bytes: kilobytes("RssAnon:"),
            threads: BTreeMap::new(),
        };
        for entry in std::fs::read_dir(format!("{folder}/task"))? {
            let folder = entry?.path();
            let part = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            // A thread may end while one looks; it then counts no more.
            let thread = costs
                .threads
                .entry(part("comm").trim().to_owned())
                .or_default();
            let nanos = part("schedstat");
            let nanos = nanos.split_ascii_whitespace().next();
            let nanos = nanos.and_then(|nanos| nanos.parse::<u64>().ok());
            let seconds = nanos.unwrap_or(0) as f64 / 1e9;
            thread.cpu_seconds += seconds;
            costs.cpu_seconds += seconds;
            thread.written_bytes += field(&part("io"), "write_bytes:").unwrap_or(0);
        }
        Ok(costs)
    }

    /// Of this process, with those of its threads that have ended.
    pub(super) fn own() -> Result<Self> {
        let mut costs = Self::of(std::process::id())?;
        let used = clock_gettime(ClockId::ProcessCPUTime);
        costs.cpu_seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        Ok(costs)
    }

    /// What was used since an earlier look; memory is as it is now.
    pub(super) fn since(&self, before: &Self) -> Self {
        let thread = |(name, now): (&String, &Thread)| {
            let then = before.threads.get(name).copied().unwrap_or_default();
            let thread = Thread {
                cpu_seconds: now.cpu_seconds - then.cpu_seconds,
                written_bytes: now.written_bytes.saturating_sub(then.written_bytes),
            };
            (name.clone(), thread)
        };
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            rss_bytes: self.rss_bytes,
            own_bytes: self.own_bytes,
            threads: self.threads.iter().map(thread).collect(),
        }
    }

    /// Of a node: written for commits, by all threads but those that work beside them.
    pub(super) fn commit_written_bytes(&self) -> u64 {
        let all = self.threads.iter();
        let others = all.filter(|(name, _)| !BESIDE_THREADS.contains(&name.as_str()));
        others.map(|(_, thread)| thread.written_bytes).sum()
    }

    /// Of a node: written beside the commits.
    pub(super) fn beside_written_bytes(&self) -> u64 {
        let beside = BESIDE_THREADS.iter().map(|name| self.thread(name));
        beside.map(|thread| thread.written_bytes).sum()
    }

    /// Of a node: processor time used beside the commits.
    pub(super) fn beside_cpu_seconds(&self) -> f64 {
        let beside = BESIDE_THREADS.iter().map(|name| self.thread(name));
        beside.map(|thread| thread.cpu_seconds).sum()
    }

    /// Of a node: processor time of its hot thread.
    pub(super) fn hot_cpu_seconds(&self) -> f64 {
        self.thread(HOT_THREAD).cpu_seconds
    }

    /// Of this process: processor time of the relay between the nodes, if there is one.
    pub(super) fn relay_cpu_seconds(&self) -> f64 {
        self.thread(relay::THREAD).cpu_seconds
    }

    fn thread(&self, name: &str) -> Thread {
        self.threads.get(name).copied().unwrap_or_default()
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_names() {
        let status = "Name:\tVmRSS:\nVmRSS:\t    1024 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(1024));
        assert_eq!(field(status, "RssFile:"), None);
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let before = Costs::own().unwrap();
        assert!(before.rss_bytes >= before.own_bytes && before.own_bytes > 0);
        let thread = std::thread::Builder::new().name(HOT_THREAD.into());
        let (told, tell) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let body = move || {
            let sum = (0..3_000_000_u64).fold(0, |sum, one| std::hint::black_box(sum ^ one));
            told.send(sum).unwrap();
            // It lives until it was looked at.
            let _ = ended.recv();
        };
        let thread = thread.spawn(body).unwrap();
        tell.recv().unwrap();
        let used = Costs::own().unwrap().since(&before);
        assert!(used.hot_cpu_seconds() > 0.0 && used.cpu_seconds >= used.hot_cpu_seconds());
        drop(end);
        thread.join().unwrap();
    }
}
