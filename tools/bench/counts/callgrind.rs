//! Instructions and allocations, as `valgrind --tool=callgrind` counts them in user mode.
//!
//! A running node is told by `vgdb` to dump what it counted since the last dump. Files are
//! `OUT.1`, `OUT.2` … in that order. Which instructions are run also depends on what the processor
//! offers (AVX2 for the chain's hash).

use std::ffi::OsString;
use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kanjo_format::limits::REQUEST_EVENTS_MAX;

use super::{look_for_program, post_full, post_single, start_under};
use crate::bench::rig::Rig;
use crate::bench::rounds::Figures;
use crate::pair::{PATIENCE, Which};

const WARM_UP_SINGLE: u64 = 100;
const WARM_UP_FULL: u64 = 2;
const SINGLE_BLOCKS: u32 = 10;
/// Of each block: few, so that some hold little that comes with the time.
const SINGLE_COMMITS: u64 = 60;
const FULL_BLOCKS: u32 = 4;
const FULL_COMMITS: u64 = 6;
/// Numbers of the dumps that end what is counted; those before each end what is not.
const SINGLE_PARTS: Range<u32> = 2..2 + SINGLE_BLOCKS;
const FULL_PARTS: Range<u32> = 3 + SINGLE_BLOCKS..3 + SINGLE_BLOCKS + FULL_BLOCKS;
/// Functions that give memory.
const ALLOCATORS: [&str; 6] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
];

/// What a node did between two dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    instructions: u64,
    allocations: u64,
}

/// Where `valgrind` puts things.
struct Files<'a> {
    dir: &'a Path,
}

/// Whether it is there and may be used.
pub(super) fn look_for() -> Result<()> {
    look_for_program("valgrind", &["--tool=callgrind", "--version"], "valgrind")
}

/// Runs a pair in `dir`, both nodes under `valgrind`.
pub(super) async fn count(dir: &Path) -> Result<Figures> {
    let files = Files { dir };
    let mut rig = start_under(dir, |which| files.program(which)).await?;
    let client = rig.connect().await?;
    post_full(&rig, &client, WARM_UP_FULL).await?;
    post_single(&rig, &client, WARM_UP_SINGLE).await?;
    // The auxiliary applies later than it acks, and a full batch is more than many single ones.
    rig.settle().await?;
    files.dump(&mut rig).await?;
    for _ in 0..SINGLE_BLOCKS {
        post_single(&rig, &client, SINGLE_COMMITS).await?;
        files.dump(&mut rig).await?;
    }
    // The auxiliary is one batch behind where the blocks begin, and where they end.
    post_full(&rig, &client, 1).await?;
    files.dump(&mut rig).await?;
    for _ in 0..FULL_BLOCKS {
        post_full(&rig, &client, FULL_COMMITS).await?;
        files.dump(&mut rig).await?;
    }
    rig.settle().await?;
    let mut figures = Figures::new();
    for which in [Which::First, Which::Second] {
        rig.pair.stop(which).await?;
        figures.extend(files.figures(which)?);
    }
    Ok(figures)
}

impl Files<'_> {
    fn out(&self, which: Which) -> PathBuf {
        self.dir.join(format!("callgrind-{}", which.number()))
    }

    /// Prefix of the pipes over which a node is told something.
    fn pipes(&self) -> OsString {
        let mut option = OsString::from("--vgdb-prefix=");
        option.push(self.dir.join("vgdb"));
        option
    }

    fn program(&self, which: Which) -> Vec<OsString> {
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(self.out(which));
        let words = [
            "valgrind",
            "-q",
            "--tool=callgrind",
            // What runs first becomes the node by `exec`.
            "--trace-children=yes",
            "--compress-strings=no",
            "--compress-pos=no",
        ];
        let mut words: Vec<OsString> = words.map(OsString::from).into();
        words.extend([out, self.pipes()]);
        words
    }

    /// Both nodes write a file each.
    async fn dump(&self, rig: &mut Rig) -> Result<()> {
        let [first, second] = rig.pair.pids()[..] else {
            anyhow::bail!("a node under valgrind has ended");
        };
        tokio::try_join!(self.dump_node(first), self.dump_node(second))?;
        Ok(())
    }

    async fn dump_node(&self, pid: u32) -> Result<()> {
        let mut command = tokio::process::Command::new("vgdb");
        command
            .arg(self.pipes())
            .args([&format!("--pid={pid}"), "dump"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output
            .context("vgdb does not end")?
            .context("running vgdb")?;
        ensure!(
            output.status.success(),
            "vgdb: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn part(&self, which: Which, number: u32) -> Result<Part> {
        let mut path = self.out(which).into_os_string();
        path.push(format!(".{number}"));
        let path = PathBuf::from(path);
        let file = std::fs::File::open(&path);
        let part = file
            .map_err(Into::into)
            .and_then(|file| Part::read(std::io::BufReader::new(file)));
        part.with_context(|| format!("reading {}", path.display()))
    }

    fn parts(&self, which: Which, numbers: Range<u32>) -> Result<Vec<Part>> {
        numbers.map(|number| self.part(which, number)).collect()
    }

    fn figures(&self, which: Which) -> Result<Figures> {
        let single = self.parts(which, SINGLE_PARTS)?;
        let full = self.parts(which, FULL_PARTS)?;
        let names = match which {
            Which::First => [
                "single_primary_instructions_per_commit",
                "single_primary_allocations_per_commit",
                "primary_instructions_per_transfer",
                "primary_allocations_per_commit",
            ],
            Which::Second => [
                "single_auxiliary_instructions_per_commit",
                "single_auxiliary_allocations_per_commit",
                "auxiliary_instructions_per_transfer",
                "auxiliary_allocations_per_commit",
            ],
        };
        // Of full batches all blocks: an index that is sorted now and then is part of the work.
        let instructions: u64 = full.iter().map(|part| part.instructions).sum();
        let transfers = u64::from(FULL_BLOCKS) * FULL_COMMITS * REQUEST_EVENTS_MAX as u64;
        let values = [
            (least(&single, |part| part.instructions), SINGLE_COMMITS),
            (least(&single, |part| part.allocations), SINGLE_COMMITS),
            (instructions, transfers),
            (least(&full, |part| part.allocations), FULL_COMMITS),
        ];
        let each = values.map(|(count, of)| count as f64 / of as f64);
        Ok(names.into_iter().zip(each).collect())
    }
}

fn least(parts: &[Part], count: fn(&Part) -> u64) -> u64 {
    parts.iter().map(count).min().unwrap_or(0)
}

impl Part {
    /// From a profile whose names are not compressed: `cfn=NAME` names who is called, the line
    /// `calls=COUNT …` behind it how often; `totals:` are the instructions.
    fn read(text: impl BufRead) -> Result<Self> {
        let mut totals = None;
        let mut allocations = 0;
        let mut caller_allocates = false;
        let mut called_allocates = false;
        let allocates = |name: &str| ALLOCATORS.contains(&name);
        for line in text.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if let Some(name) = line.strip_prefix("fn=") {
                caller_allocates = allocates(name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called_allocates = allocates(name);
            } else if let Some(calls) = line.strip_prefix("calls=") {
                // One that calls another one for its work is the same allocation.
                if called_allocates && !caller_allocates {
                    allocations += first_number(calls).context("calls without a number")?;
                }
            } else if let Some(count) = line.strip_prefix("totals:") {
                totals = first_number(count);
            }
        }
        Ok(Self {
            instructions: totals.context("it has no totals")?,
            allocations,
        })
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_calls_from_outside_of_the_allocator() {
        let text = "events: Ir\n\nfn=kanjo::a\n3 10\ncob=libc.so\ncfi=malloc.c\ncfn=malloc\ncalls=3 9\n3 90\n\
                    cfn=kanjo::b\ncalls=50 1\n3 5\ncfn=realloc\ncalls=2 9\n\n\
                    fn=realloc\n9 1\ncfn=malloc\ncalls=2 9\ncfn=_int_malloc\ncalls=7 9\n\ntotals: 4711\n";
        let part = Part::read(text.as_bytes()).unwrap();
        assert_eq!((part.instructions, part.allocations), (4_711, 5));
    }

    #[test]
    fn a_profile_that_was_cut_off_is_none() {
        assert!(Part::read(&b"fn=a\n3 10\n"[..]).is_err());
    }
}
