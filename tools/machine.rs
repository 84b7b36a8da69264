//! What a figure depends on: the file system, its sync, the processor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// A sync slower than this makes everything that waits for one slow.
pub(crate) const SYNC_EXPECTED_MAX: Duration = Duration::from_micros(500);
const PROBES: usize = 200;
/// A very slow disk is known after fewer.
const PROBING_MAX: Duration = Duration::from_secs(2);
const PROBE_BYTES: usize = 4096;

/// Names of file systems by the number that `statfs` gives, and whether a sync on them means
/// that data survives a power cut.
const FILE_SYSTEMS: [(u32, &str, Durability); 17] = [
    (0x0000_ef53, "ext4", Durability::Durable),
    (0x5846_5342, "xfs", Durability::Durable),
    (0x9123_683e, "btrfs", Durability::Durable),
    (0x2fc1_2fc1, "zfs", Durability::Durable),
    (0xf2f5_2010, "f2fs", Durability::Durable),
    (0xca45_1a4e, "bcachefs", Durability::Durable),
    (0x3153_464a, "jfs", Durability::Durable),
    (0x0102_1994, "tmpfs", Durability::Memory),
    (0x8584_58f6, "ramfs", Durability::Memory),
    (0x794c_7630, "overlayfs", Durability::Unknown),
    (0x6573_5546, "fuse", Durability::Unknown),
    (0x0000_6969, "nfs", Durability::Unknown),
    (0x0102_1997, "9p", Durability::Unknown),
    (0xff53_4d42, "cifs", Durability::Unknown),
    (0xfe53_4d42, "smb2", Durability::Unknown),
    (0x0000_4d44, "vfat", Durability::Durable),
    (0x2011_bab0, "exfat", Durability::Durable),
];

/// What a finished sync on a file system is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// It is on a disk, as far as the disk is honest.
    Durable,
    /// It lies in memory: a power cut takes it.
    Memory,
    /// It depends on what lies below.
    Unknown,
}

/// The file system that a directory is on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileSystem {
    /// Its name, or the number of its type.
    pub(crate) name: String,
    /// Whether it keeps what was synced.
    pub(crate) durability: Durability,
}

impl FileSystem {
    /// Looks it up.
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let stat = rustix::fs::statfs(dir)
            .with_context(|| format!("asking for the file system of {}", dir.display()))?;
        Ok(Self::from_type(stat.f_type as u32))
    }

    fn from_type(number: u32) -> Self {
        let known = FILE_SYSTEMS.iter().find(|(known, ..)| *known == number);
        match known {
            Some((_, name, durability)) => Self {
                name: (*name).to_owned(),
                durability: *durability,
            },
            None => Self {
                name: format!("type {number:#x}"),
                durability: Durability::Unknown,
            },
        }
    }

    /// For a table.
    pub(crate) fn describe(&self) -> String {
        match self.durability {
            Durability::Durable => format!("{} (durable)", self.name),
            Durability::Memory => format!(
                "{} (NOT DURABLE: memory; a power cut takes everything)",
                self.name
            ),
            Durability::Unknown => {
                format!("{} (durable only if what lies below it is)", self.name)
            }
        }
    }
}

/// What one `fdatasync` of 4 KiB takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SyncProbe {
    /// Median.
    pub(crate) p50_us: f64,
    /// Slow ones.
    pub(crate) p99_us: f64,
}

impl SyncProbe {
    /// Measures in `dir`, into blocks that were written before, as a prepared log segment's are.
    pub(crate) fn measure(dir: &Path) -> Result<Self> {
        let path = dir.join("sync-probe");
        let probed = probe(&path).with_context(|| format!("probing syncs in {}", dir.display()));
        // The probe's error says more than that of its removal.
        let _ = std::fs::remove_file(&path);
        let mut times = probed?;
        times.sort_unstable();
        let at = |share: usize| {
            let place = (times.len() * share / 100).min(times.len() - 1);
            times[place].as_secs_f64() * 1e6
        };
        Ok(Self {
            p50_us: at(50),
            p99_us: at(99),
        })
    }

    /// Whether the disk is as fast as the times that are promised assume.
    pub(crate) fn as_expected(&self) -> bool {
        self.p50_us <= SYNC_EXPECTED_MAX.as_secs_f64() * 1e6
    }
}

fn probe(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut options = File::options();
    let file = options.create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&vec![1; PROBES * PROBE_BYTES], 0)?;
    file.sync_all()?;
    let block = [2; PROBE_BYTES];
    let begun = Instant::now();
    let mut times = Vec::with_capacity(PROBES);
    for place in 0..PROBES as u64 {
        let started = Instant::now();
        file.write_all_at(&block, place * PROBE_BYTES as u64)?;
        file.sync_data()?;
        times.push(started.elapsed());
        if begun.elapsed() > PROBING_MAX {
            break;
        }
    }
    Ok(times)
}

/// The machine, as results describe it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Processor, as the system names it.
    pub(crate) processor: String,
    /// Threads that can run at once.
    pub(crate) cores: usize,
    /// Version of the kernel.
    pub(crate) kernel: String,
    /// Where the data lay.
    pub(crate) file_system: FileSystem,
    /// What a sync took there before the measurement.
    pub(crate) sync: SyncProbe,
}

impl Machine {
    /// Describes the machine and the disk under `dir`.
    pub(crate) fn describe(dir: &Path) -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':'));
        Ok(Self {
            processor: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: FileSystem::of(dir)?,
            sync: SyncProbe::measure(dir)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_durability_is_named() {
        let memory = FileSystem::from_type(0x0102_1994);
        assert_eq!(memory.durability, Durability::Memory);
        assert!(memory.describe().starts_with("tmpfs (NOT DURABLE"));
        let disk = FileSystem::from_type(0xef53);
        assert_eq!(disk.describe(), "ext4 (durable)");
        let other = FileSystem::from_type(0x1234);
        assert_eq!(other.name, "type 0x1234");
    }

    #[test]
    fn a_sync_is_measured_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let probe = SyncProbe::measure(dir.path()).unwrap();
        assert!(probe.p50_us > 0.0 && probe.p50_us <= probe.p99_us);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
