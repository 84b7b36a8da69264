//! Damage to the files of a stopped node, and where to do it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::{BatchHeader, Lsn};

use super::program::{names, read};

/// A batch in a raw segment file.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) file: PathBuf,
    /// Offset of the header.
    pub(crate) offset: u64,
    /// Header and payload.
    pub(crate) bytes: u64,
    pub(crate) header: BatchHeader,
}

/// All batches in the raw segments of a data directory, in order.
pub(crate) fn raw_batches(data_dir: &Path) -> Vec<Placed> {
    let log = data_dir.join("log");
    let segments = names(&log)
        .into_iter()
        .filter(|name| name.ends_with(".seg"));
    let mut batches: Vec<Placed> = Vec::new();
    for name in segments {
        let file = log.join(name);
        let content = read(&file);
        let mut offset = PAGE_BYTES;
        while let Some(Ok(header)) = content.get(offset as usize..).map(BatchHeader::decode) {
            let bytes = (BATCH_HEADER_BYTES + header.payload_bytes()) as u64;
            batches.push(Placed {
                file: file.clone(),
                offset,
                bytes,
                header,
            });
            offset += bytes.next_multiple_of(PAGE_BYTES);
        }
    }
    batches.sort_by_key(|batch| batch.header.lsn());
    batches
}

/// The batches that end at or below `mark`.
pub(crate) fn raw_batches_below(data_dir: &Path, mark: Lsn) -> Vec<Placed> {
    let ends = |batch: &Placed| {
        batch
            .header
            .lsn()
            .advance(batch.bytes.next_multiple_of(PAGE_BYTES))
    };
    raw_batches(data_dir)
        .into_iter()
        .filter(|batch| ends(batch) <= mark)
        .collect()
}

/// Files of a subdirectory whose name ends so.
pub(crate) fn files(data_dir: &Path, folder: &str, suffix: &str) -> Vec<PathBuf> {
    let folder = data_dir.join(folder);
    let matching = names(&folder)
        .into_iter()
        .filter(|name| name.ends_with(suffix));
    matching.map(|name| folder.join(name)).collect()
}

/// Flips one bit.
pub(crate) fn flip_bit(file: &Path, offset: u64, bit: u64) {
    let opened = open(file);
    let mut byte = [0];
    opened
        .read_exact_at(&mut byte, offset)
        .expect("a byte can be read");
    byte[0] ^= 1 << (bit % 8);
    opened
        .write_all_at(&byte, offset)
        .expect("a byte can be written");
}

/// Overwrites a range with zeros, as if it had never reached the disk.
pub(crate) fn zero(file: &Path, offset: u64, bytes: usize) {
    open(file)
        .write_all_at(&vec![0; bytes], offset)
        .expect("zeros can be written");
}

fn open(file: &Path) -> std::fs::File {
    let opened = OpenOptions::new().read(true).write(true).open(file);
    opened.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Copies a directory with all it holds.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for name in names(from) {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy_directory(&source, &target);
        } else {
            std::fs::copy(&source, &target).expect("a file can be copied");
        }
    }
}
