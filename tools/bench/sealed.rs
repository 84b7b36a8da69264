//! What transfers take on disk once their segments are sealed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use kanjo_format::segment::{SEALED_FOOTER_BYTES, SealedFooter};

/// Sealed segments of one stretch of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SealedPart {
    /// How many.
    pub(super) segments: u64,
    /// Their files.
    pub(super) bytes: u64,
    /// What is in them.
    pub(super) records: u64,
}

impl SealedPart {
    /// Those in a data directory that lie between these two lsns.
    pub(super) fn between(data: &Path, from: u64, to: u64) -> Result<Self> {
        let mut part = Self::default();
        for entry in std::fs::read_dir(data.join("log"))? {
            let path = entry?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != "sealed")
            {
                continue;
            }
            let (footer, bytes) =
                read_footer(&path).with_context(|| format!("reading {}", path.display()))?;
            if footer.base.lsn.get() >= from && footer.end.lsn.get() <= to {
                part.segments += 1;
                part.bytes += bytes;
                part.records += footer.record_count;
            }
        }
        Ok(part)
    }
}

fn read_footer(path: &Path) -> Result<(SealedFooter, u64)> {
    let file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    let at = file_bytes.saturating_sub(SEALED_FOOTER_BYTES as u64);
    let mut bytes = [0; SEALED_FOOTER_BYTES];
    file.read_exact_at(&mut bytes, at)?;
    Ok((SealedFooter::decode(&bytes, file_bytes)?, file_bytes))
}
