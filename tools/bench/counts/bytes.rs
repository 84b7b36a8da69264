//! Bytes: what is sent, written and sealed by a pair that runs as it is.

use std::path::Path;

use anyhow::{Result, ensure};
use kanjo_format::limits::REQUEST_EVENTS_MAX;

use super::{WORK, post_full, post_single};
use crate::bench::rig::{Look, Rig};
use crate::bench::rounds::Figures;
use crate::bench::running;
use crate::bench::sealed::SealedPart;
use crate::pair::Which;

/// Small, so that some get sealed.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Segments that are sealed at least.
const SEALED_MIN: u64 = 3;
/// These lie in the first segment: what is left free at a segment's end is no write.
const SINGLE_COMMITS: u64 = 400;
const FULL_COMMITS: u64 = 24;
/// Fill the rest of the segments, several requests at once.
const FULL_TRANSFERS: u64 = 240 * REQUEST_EVENTS_MAX as u64;

/// Runs a pair in `dir`.
pub(super) async fn count(dir: &Path) -> Result<Figures> {
    let mut rig = Rig::start(dir, SEGMENT_BYTES, &WORK, |_| {}).await?;
    let client = rig.connect().await?;
    let begun = looked_at(&mut rig).await?;
    post_single(&rig, &client, SINGLE_COMMITS).await?;
    let single = looked_at(&mut rig).await?;
    post_full(&rig, &client, FULL_COMMITS).await?;
    let full = looked_at(&mut rig).await?;
    ensure!(
        full.nodes[0].0.tail_lsn < SEGMENT_BYTES,
        "the first segment is too small for what is counted in it"
    );
    running::post(&rig, FULL_TRANSFERS).await?;
    let ended = looked_at(&mut rig).await?;
    let figures = [
        (
            "single_shipped_bytes_per_commit",
            shipped_bytes(&begun, &single) / SINGLE_COMMITS as f64,
        ),
        (
            "single_primary_commit_writes_ratio",
            writes_ratio(&begun, &single, 0)?,
        ),
        (
            "single_auxiliary_commit_writes_ratio",
            writes_ratio(&begun, &single, 1)?,
        ),
        (
            "primary_commit_writes_ratio",
            writes_ratio(&single, &full, 0)?,
        ),
        (
            "auxiliary_commit_writes_ratio",
            writes_ratio(&single, &full, 1)?,
        ),
        ("wire_bytes_per_transfer", wire_bytes(&full, &ended)),
        (
            "disk_bytes_per_transfer",
            sealed_bytes(&rig, &full, &ended).await?,
        ),
    ];
    Ok(figures.into())
}

/// When nothing is under way.
async fn looked_at(rig: &mut Rig) -> Result<Look> {
    rig.settle().await?;
    Look::at(&mut rig.pair).await
}

fn shipped_bytes(before: &Look, after: &Look) -> f64 {
    (after.nodes[0].0.shipped_bytes - before.nodes[0].0.shipped_bytes) as f64
}

/// Of one transfer, in both directions.
fn wire_bytes(before: &Look, after: &Look) -> f64 {
    let (then, now) = (&before.nodes[0].0, &after.nodes[0].0);
    let sent = now.sent_bytes - then.sent_bytes;
    let received = now.received_bytes - then.received_bytes;
    (sent + received) as f64 / (now.transfers - then.transfers) as f64
}

/// Of one transfer, in the segments that were filled in between.
async fn sealed_bytes(rig: &Rig, before: &Look, after: &Look) -> Result<f64> {
    let (from, to) = (before.nodes[0].0.tail_lsn, after.nodes[0].0.tail_lsn);
    rig.wait_until_sealed(to).await?;
    let sealed = SealedPart::between(rig.pair.data_dir(Which::First), from, to)?;
    ensure!(
        sealed.segments >= SEALED_MIN,
        "only {} segments were filled",
        sealed.segments
    );
    Ok(sealed.bytes as f64 / sealed.records as f64)
}

fn writes_ratio(before: &Look, after: &Look, place: usize) -> Result<f64> {
    let ratio = after.commit_writes_ratio(before, place);
    ensure!(
        ratio > 0.0,
        "the kernel counts no writes here: name a directory on a disk with --dir"
    );
    Ok(ratio)
}
