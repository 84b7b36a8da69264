//! The end of the primary and the promotion of its auxiliary.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kanjo_node::admin::PromoteOptions;
use kanjo_node::status::{Promotion, Unprotected};

use super::post::Poster;
use super::{AUXILIARY, PRIMARY};
use crate::pair::Pair;

/// Shorter than a batch of many requests takes, longer than sending them.
const AMID_BATCH: Duration = Duration::from_millis(1);

/// What the take-over showed.
pub(super) struct TakeOver {
    /// Requests without an answer when the primary was killed.
    pub(super) in_flight: usize,
    /// What the promotion did.
    pub(super) promotion: Promotion,
    /// Transfers answered by the new primary alone.
    pub(super) unprotected: Unprotected,
    /// Of the old primary, at the last look before its end.
    pub(super) shipping: Shipping,
}

/// Bytes that a primary appended and shipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shipping {
    /// To its log, batches rounded up to pages.
    pub(super) appended_bytes: u64,
    /// Of these, headers and payloads.
    pub(super) payload_bytes: u64,
    /// To its auxiliary.
    pub(super) shipped_bytes: u64,
}

/// Kills the primary while requests are in flight and promotes the auxiliary.
pub(super) async fn take_over(pair: &mut Pair, poster: &Poster) -> Result<TakeOver> {
    let status = pair.status(PRIMARY).await?;
    // The status came between two batches. A moment later requests are in the middle of one:
    // executed here, shipped or not, synced on one disk or on both, answered or not.
    tokio::time::sleep(AMID_BATCH).await;
    let in_flight = poster.in_flight();
    let killed = Instant::now();
    poster.note_kill(killed);
    pair.kill(PRIMARY)?;
    let options = PromoteOptions {
        alone: true,
        reason: "demo: the primary was killed".to_owned(),
        ..PromoteOptions::default()
    };
    let promotion = pair.promote(AUXILIARY, options).await?;
    Ok(TakeOver {
        in_flight,
        unprotected: promotion.unprotected.clone(),
        promotion,
        shipping: Shipping {
            appended_bytes: status.appended_bytes,
            payload_bytes: status.payload_bytes,
            shipped_bytes: status.shipped_bytes,
        },
    })
}

/// Transfers that stand in the reports of cut tails.
pub(super) fn quarantined(data_dir: &Path) -> Result<usize> {
    let mut transfers = 0;
    for entry in std::fs::read_dir(data_dir.join("quarantine"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            transfers += text.lines().filter(|line| line.starts_with("lsn ")).count();
        }
    }
    Ok(transfers)
}
