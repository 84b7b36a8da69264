//! Opening an epoch on this node's own log: the part that restart and promotion share, and the
//! promotion of a running or stopped replica.

use std::path::Path;
use std::time::Instant;

use kanjo_engine::ClosedBatch;
use kanjo_format::batch::{BatchFields, BatchHeader, FLAG_SEGMENT_END, stored_bytes};
use kanjo_format::columns::group_bytes_max;
use kanjo_format::control::Role;
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::{Epoch, Lsn, OpeningId, Timestamp};
use kanjo_shipper::opening::OpenEpoch;

use crate::admin::PromoteOptions;
use crate::clock::{self, ClockCheck};
use crate::config::Config;
use crate::error::NodeError;
use crate::hot::{trial_balance, unprotected};
use crate::status::Promotion;
use crate::store::{Replayed, Store};

/// Promotes the replica whose stopped data directory this is. The directory's next start goes
/// on as primary.
pub fn promote_stopped(dir: &Path, options: &PromoteOptions) -> Result<Promotion, NodeError> {
    let config = Config::new(dir.to_owned(), "", "", "", "");
    let (mut store, recovery) = Store::open(&config, std::sync::Arc::default())?;
    let began = Instant::now();
    let rebuilt = store.rebuild(recovery.confirmed)?;
    if store.dir.control().role == Role::Primary {
        store.replay(store.log.tail().lsn)?;
        return Ok(current(&store));
    }
    let (_, mut promotion) = promote(
        &mut store,
        options,
        rebuilt,
        &ClockCheck::new(config.clock_bound_ms),
    )?;
    promotion.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let tail = store.log.tail();
    store.dir.update(|control| control.durable = tail)?;
    Ok(promotion)
}

/// Checks that this node may be promoted, replays what it holds, grants itself the next site
/// term and writes its first batch, synced. What was replayed `before` counts as its work.
pub(crate) fn promote(
    store: &mut Store,
    options: &PromoteOptions,
    before: Replayed,
    clock: &ClockCheck,
) -> Result<(OpenEpoch, Promotion), NodeError> {
    let started = Instant::now();
    let control = store.dir.control();
    let may_be_missing = what_may_be_missing(store, options)?;
    clock.may_open(
        store.log.tail().epoch,
        control.log_time.max(store.ledger.log_time()),
    )?;
    let base = store.log.tail();
    let epoch = control
        .granted_epoch
        .max(control.peer_granted_epoch)
        .next_site_term(control.site)
        .ok_or_else(|| NodeError::Refused("the site terms are used up".to_owned()))?;
    let opening = draw_opening(store)?;
    // Nothing is applied that is not committed before it is certain that the epoch opens.
    let replayed = before + store.replay(base.lsn)?;
    let protection = if options.alone {
        Protection::Alone
    } else {
        Protection::Waiting
    };
    let forced = !may_be_missing.is_empty();
    let open = OpenEpoch {
        epoch,
        opening,
        base,
        protection,
        members: Vec::new(),
        unfenced: forced,
    };
    write_epoch(store, &open, &options.reason)?;
    store.syncer.sync_to(store.log.tail().lsn)?;
    let seconds = replayed.time.as_secs_f64();
    let promotion = Promotion {
        changed: true,
        epoch: epoch.to_string(),
        tail_epoch: base.epoch.to_string(),
        tail_lsn: base.lsn.get(),
        tail_chain: base.chain.to_string(),
        records_replayed: replayed.records,
        bytes_replayed: replayed.bytes,
        replay_mb_per_s: if seconds > 0.0 {
            replayed.bytes as f64 / 1e6 / seconds
        } else {
            0.0
        },
        digest: store.ledger.digest().to_string(),
        trial_balance: trial_balance(&store.ledger),
        duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        alone: options.alone,
        unprotected: unprotected(&store.ledger),
        may_be_missing,
    };
    Ok((open, promotion))
}

/// Refuses what must not be promoted; gives the warnings that an operator accepted.
fn what_may_be_missing(store: &Store, options: &PromoteOptions) -> Result<Vec<String>, NodeError> {
    let control = store.dir.control();
    let mut accepted = Vec::new();
    if options.alone && options.reason.trim().is_empty() {
        return Err(NodeError::Refused(
            "serving alone needs a reason, which is written into the log".to_owned(),
        ));
    }
    if control.awaiting_operator {
        let what = "this node's log parted from the other node's, which it was told to follow: what was answered there since is not here";
        if !options.accept_missing_transfers {
            return Err(NodeError::Refused(format!(
                "{what}; decide first which log counts, keep the other directory aside, then accept that with --accept-missing-answered-transfers"
            )));
        }
        accepted.push(what.to_owned());
    }
    if !control.in_sync && !control.awaiting_operator {
        let what = "this replica is not marked in-sync: transfers that were answered may be missing from its log";
        if !options.accept_missing_transfers {
            return Err(NodeError::Refused(format!(
                "{what}; bring the primary back, or accept that with --accept-missing-answered-transfers"
            )));
        }
        accepted.push(what.to_owned());
    }
    if control.uncertain {
        let what = "the end of this replica's log is uncertain since a crash: the last transfers that it acked may be missing";
        if !options.accept_uncertain_tail {
            return Err(NodeError::Refused(format!(
                "{what}; bring the primary back so that it can vouch for it, or accept that with --accept-uncertain-tail"
            )));
        }
        accepted.push(what.to_owned());
    }
    Ok(accepted)
}

/// What a promotion of a node that already is primary says.
pub(crate) fn current(store: &Store) -> Promotion {
    let (control, tail) = (store.dir.control(), store.log.tail());
    Promotion {
        changed: false,
        epoch: control.granted_epoch.to_string(),
        tail_epoch: tail.epoch.to_string(),
        tail_lsn: tail.lsn.get(),
        tail_chain: tail.chain.to_string(),
        digest: store.ledger.digest().to_string(),
        trial_balance: trial_balance(&store.ledger),
        alone: control.protection == Protection::Alone,
        unprotected: unprotected(&store.ledger),
        ..Promotion::default()
    }
}

/// Names a new attempt to open an epoch.
pub(crate) fn draw_opening(store: &Store) -> Result<OpeningId, NodeError> {
    let control = store.dir.control();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| NodeError::System {
        what: "draw random bytes",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(OpeningId {
        node: control.node,
        incarnation: control.incarnation,
        random: u128::from_le_bytes(random),
    })
}

/// Makes an epoch this node's own: promised in both slots, then begun in the log. The first
/// batch is not synced yet.
pub(crate) fn write_epoch(
    store: &mut Store,
    open: &OpenEpoch,
    reason: &str,
) -> Result<(), NodeError> {
    // ORDER: the grant is in both slots before the log holds a batch of the epoch; from here on
    // every sender of a lower epoch is refused for ever.
    store.dir.promise(|control| {
        control.granted_epoch = open.epoch;
        control.granted_opening = open.opening;
        control.role = Role::Primary;
        control.protection = open.protection;
        control.member = open.members.first().map(|m| (m.node, m.incarnation));
        control.in_sync = false;
        control.uncertain = false;
        control.awaiting_operator = false;
    })?;
    let mut row = ReignRow::new(open.opening, open.base, open.protection).with_reason(reason);
    row.unfenced = open.unfenced.into();
    for member in &open.members {
        row = row.with_member(member.node, member.incarnation);
    }
    let confirmed = store.dir.control().confirmed;
    let now = clock::now();
    write_reign(
        store,
        open.epoch,
        confirmed,
        RecordKind::EpochStart,
        row,
        now,
    )
    .map(drop)
}

/// Appends a batch of one reign record, executed on the ledger and not yet synced. It takes one
/// page, and one is always left in a segment.
pub(crate) fn write_reign(
    store: &mut Store,
    epoch: Epoch,
    confirmed: Lsn,
    kind: RecordKind,
    row: ReignRow,
    now: Timestamp,
) -> Result<BatchHeader, NodeError> {
    const { assert!(stored_bytes(group_bytes_max(size_of::<ReignRow>(), 1)) == PAGE_BYTES) };
    let mut payload = Vec::new();
    let place = store.log.place();
    let mut open = store.ledger.open_batch(place.lsn, now);
    store.ledger.append_reign(&mut open, kind, epoch, row);
    let closed = store.ledger.close_batch(open, &mut payload);
    append(store, epoch, confirmed, &closed, &payload)
}

/// Appends the batch without records that sends the log on to its next segment.
pub(crate) fn write_segment_end(
    store: &mut Store,
    epoch: Epoch,
    confirmed: Lsn,
) -> Result<BatchHeader, NodeError> {
    let fields = BatchFields {
        flags: FLAG_SEGMENT_END,
        timestamp: store.ledger.log_time(),
        ..next_fields(store, epoch, confirmed)
    };
    let header = BatchHeader::build(&fields, &[]);
    let tail = store.log.append(&header, &[])?;
    store.executed(&header, tail);
    Ok(header)
}

/// Appends a batch that the ledger just closed.
pub(crate) fn append(
    store: &mut Store,
    epoch: Epoch,
    confirmed: Lsn,
    closed: &ClosedBatch,
    payload: &[u8],
) -> Result<BatchHeader, NodeError> {
    let fields = BatchFields {
        record_count: closed.record_count,
        timestamp: closed.timestamp,
        ..next_fields(store, epoch, confirmed)
    };
    let header = BatchHeader::build(&fields, payload);
    let tail = store.log.append(&header, payload)?;
    store.executed(&header, tail);
    Ok(header)
}

fn next_fields(store: &Store, epoch: Epoch, confirmed: Lsn) -> BatchFields {
    let place = store.log.place();
    BatchFields {
        cluster: place.cluster,
        epoch,
        lsn: place.lsn,
        flags: 0,
        record_count: 0,
        timestamp: Timestamp::new(0),
        confirmed,
        prev_chain: place.chain,
    }
}
