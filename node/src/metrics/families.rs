//! The families of `/metrics` that show what the hot thread told last.

use std::fmt;
use std::time::Duration;

use kanjo_engine::WideAmount;
use kanjo_format::record::Protection;

use super::page::{Page, flag};
use kanjo_group::register::Protection as RegisterProtection;

use crate::published::{Figures, Health, PeerFigures, Role, Snapshot};

/// Every protection there is.
const PROTECTIONS: [Protection; 3] = [
    Protection::Waiting,
    Protection::Protected,
    Protection::Alone,
];

/// How the node stands.
pub(super) fn health(page: &mut Page<'_>, health: &Health) -> fmt::Result {
    page.gauges(
        "kanjo_role",
        "1 at the role that the node has",
        "role",
        Role::ALL.map(|(role, name)| (name, flag(role == health.role))),
    )?;
    page.gauges(
        "kanjo_protection",
        "1 at how commits are protected; beside DEGRADED or WAITING also at CATCHING-UP while another server fetches what it lacks; as replica, what the log last said",
        "protection",
        protections(health),
    )?;
    for (name, help, holds) in [
        (
            "kanjo_serving",
            "As primary: new transfers are answered",
            health.serving,
        ),
        (
            "kanjo_protected",
            "As primary: every commit waits for a server of another site",
            health.protected,
        ),
        (
            "kanjo_following",
            "As replica: a primary is followed",
            health.following,
        ),
        (
            "kanjo_in_set",
            "As replica: every commit waits for this node, by its mark or by the register",
            health.in_set,
        ),
    ] {
        page.gauge(name, help, flag(holds))?;
    }
    page.gauges(
        "kanjo_epoch",
        "Both terms of the epoch that was granted here",
        "term",
        [
            ("site", u64::from(health.epoch.site_term())),
            ("local", u64::from(health.epoch.local_term())),
        ],
    )
}

/// Every protection, and what else is told of it.
fn protections(health: &Health) -> impl Iterator<Item = (&'static str, u64)> {
    let is = |p: Protection| {
        health.protection == Some(p) && !(health.one_site && p == Protection::Protected)
    };
    let names = PROTECTIONS.map(|p| (p.name(), flag(is(p))));
    names.into_iter().chain([
        (RegisterProtection::OneSite.name(), flag(health.one_site)),
        ("CATCHING-UP", flag(health.catching_up)),
    ])
}

/// Positions in the log.
pub(super) fn positions(page: &mut Page<'_>, figures: &Figures) -> fmt::Result {
    page.gauges(
        "kanjo_log_position_bytes",
        "Positions in the log",
        "position",
        [
            ("tail", figures.tail.get()),
            ("durable", figures.durable.get()),
            ("committed", figures.committed.get()),
            ("applied", figures.applied.get()),
            ("checkpoint", figures.checkpoint.get()),
            ("indexed", figures.indexed.get()),
        ],
    )
}

/// Bytes that went somewhere.
pub(super) fn volumes(page: &mut Page<'_>, figures: &Figures) -> fmt::Result {
    let counters = &figures.counters;
    for (name, help, n) in [
        (
            "kanjo_log_appended_bytes",
            "Bytes appended to the log, padding included",
            counters.appended_bytes,
        ),
        (
            "kanjo_log_payload_bytes",
            "Headers and payloads appended to the log",
            counters.payload_bytes,
        ),
        (
            "kanjo_shipped_bytes",
            "Bytes of batches and files sent to peers",
            counters.shipped_bytes,
        ),
        (
            "kanjo_peer_sent_bytes",
            "Bytes sent to peers in all",
            figures.sent_bytes,
        ),
        (
            "kanjo_peer_received_bytes",
            "Bytes received from peers in all",
            figures.received_bytes,
        ),
        (
            "kanjo_segments_sealed",
            "Segments that were recompressed",
            counters.sealed_segments,
        ),
        (
            "kanjo_sealed_bytes",
            "Bytes of the files that they became",
            counters.sealed_bytes,
        ),
        (
            "kanjo_prepared_bytes",
            "Bytes of segments zeroed ahead",
            counters.prepared_bytes,
        ),
        (
            "kanjo_checkpoint_bytes",
            "Bytes of checkpoints written",
            counters.checkpoint_bytes,
        ),
    ] {
        page.counter(name, help, n)?;
    }
    Ok(())
}

/// What there is at this moment.
pub(super) fn sizes(page: &mut Page<'_>, figures: &Figures) -> fmt::Result {
    for (name, help, n) in [
        (
            "kanjo_client_connections",
            "Client connections that are open",
            figures.connections,
        ),
        (
            "kanjo_requests_outstanding",
            "Requests that are not answered yet",
            figures.requests_outstanding,
        ),
        (
            "kanjo_requests_queued",
            "Of these, requests that are not executed yet",
            figures.requests_queued,
        ),
        (
            "kanjo_events_queued",
            "Events of the requests that are not executed yet",
            figures.events_queued,
        ),
        (
            "kanjo_free_disk_bytes",
            "Free bytes on the data directory's file system",
            figures.free_disk_bytes,
        ),
        ("kanjo_index_runs", "Files of the index", figures.index_runs),
        (
            "kanjo_index_bytes",
            "Bytes of the index on disk",
            figures.index_bytes,
        ),
        (
            "kanjo_young_ids",
            "Transfer ids that are still looked up in memory",
            figures.young_ids,
        ),
        ("kanjo_accounts", "Accounts", figures.accounts),
        (
            "kanjo_transfers",
            "Transfers posted since the log began",
            figures.transfers,
        ),
        (
            "kanjo_pending_transfers",
            "Pending transfers that are not resolved",
            figures.pending,
        ),
    ] {
        page.gauge(name, help, n)?;
    }
    Ok(())
}

/// The other servers.
pub(super) fn peers(page: &mut Page<'_>, peers: &[PeerFigures]) -> fmt::Result {
    let shipped = || {
        let told = peers.iter();
        told.filter_map(|peer| Some((peer.node.get(), peer.shipped?)))
    };
    page.gauges(
        "kanjo_peer_connected",
        "As primary: batches flow to that peer; as replica: that primary is followed",
        "peer",
        peers
            .iter()
            .map(|peer| (peer.node.get(), flag(peer.connected))),
    )?;
    page.gauges(
        "kanjo_peer_acked_bytes",
        "As primary: position that the peer said is on its disk",
        "peer",
        shipped().map(|(node, shipped)| (node, shipped.acked.get())),
    )?;
    page.gauges(
        "kanjo_peer_lag_bytes",
        "As primary: bytes that the peer has yet to ack",
        "peer",
        shipped().map(|(node, shipped)| (node, shipped.lag_bytes)),
    )?;
    page.gauges(
        "kanjo_peer_lag_seconds",
        "As primary: how old the oldest thing is that the peer has yet to ack",
        "peer",
        shipped().map(|(node, shipped)| (node, shipped.lag.as_secs_f64())),
    )?;
    let round_trips = shipped().filter_map(|(node, shipped)| {
        let round_trip = Duration::from_micros(shipped.round_trip_us?);
        Some((node, round_trip.as_secs_f64()))
    });
    page.gauges(
        "kanjo_peer_round_trip_seconds",
        "Round trip of the last heartbeat",
        "peer",
        round_trips,
    )
}

/// Transfers that only one disk had.
pub(super) fn unprotected(page: &mut Page<'_>, told: &Snapshot) -> fmt::Result {
    page.gauge(
        "kanjo_unprotected_transfers",
        "Transfers answered by one disk only, of the last time alone",
        told.figures.unprotected,
    )?;
    let sums = told.unprotected.iter();
    page.gauges(
        "kanjo_unprotected_amount",
        "Their sum in minor units, rounded to a float",
        "ledger",
        sums.map(|(ledger, sum)| (ledger.get(), rounded(*sum))),
    )
}

fn rounded(sum: WideAmount) -> f64 {
    sum.high() as f64 * 2_f64.powi(128) + sum.low() as f64
}
