//! Opening an epoch on this node's own log: the part that restart and promotion share, and the
//! promotion of a running or stopped replica.

use std::path::Path;
use std::time::Instant;

use kanjo_engine::ClosedBatch;
use kanjo_format::batch::{BatchFields, BatchHeader, FLAG_SEGMENT_END};
use kanjo_format::columns::group_bytes_max;
use kanjo_format::control::Role;
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::{Epoch, Lsn, OpeningId, Timestamp};

use crate::admin::PromoteOptions;
use crate::clock::{self, ClockCheck};
use crate::config::Config;
use crate::error::NodeError;
use crate::hot::{trial_balance, unprotected};
use crate::status::Promotion;
use crate::store::Store;

/// Promotes the replica whose stopped data directory this is. The directory's next start goes
/// on as primary.
pub fn promote_stopped(dir: &Path, options: &PromoteOptions) -> Result<Promotion, NodeError> {
    let config = Config::new(dir.to_owned(), "", "", "", "");
    let (mut store, recovery) = Store::open(&config)?;
    store.rebuild(recovery.confirmed)?;
    promote(&mut store, options, &ClockCheck::new(config.clock_bound_ms))
}

/// Checks that this node may be promoted, replays what it holds, grants itself the next site
/// term and writes its first batch, synced. Promoting a primary changes nothing.
pub(crate) fn promote(store: &mut Store, options: &PromoteOptions, clock: &ClockCheck) -> Result<Promotion, NodeError> {
    let started = Instant::now();
    let control = store.dir.control();
    if control.role == Role::Primary {
        return already_primary(store);
    }
    let may_be_missing = what_may_be_missing(store, options)?;
    clock.may_open(store.log.tail().epoch, control.log_time.max(store.ledger.log_time()))?;
    let replayed = store.replay(store.log.tail().lsn)?;
    let base = store.log.tail();
    let epoch = control
        .granted_epoch
        .max(control.peer_granted_epoch)
        .next_site_term(control.site)
        .ok_or_else(|| NodeError::Refused("the site terms are used up".to_owned()))?;
    let opening = draw_opening(store)?;
    let protection = if options.alone { Protection::Alone } else { Protection::Waiting };
    // ORDER: the grant is in both slots before the log holds a batch of the epoch; from here on
    // every sender of a lower epoch is refused for ever.
    store.dir.promise(|control| {
        control.granted_epoch = epoch;
        control.granted_opening = opening;
        control.role = Role::Primary;
        control.protection = protection;
        control.member = None;
        control.in_sync = false;
        control.uncertain = false;
        control.confirmed = control.confirmed.max(base.lsn);
    })?;
    let row = ReignRow::new(opening, base, protection).with_reason(&options.reason);
    write_reign(store, epoch, control.confirmed, RecordKind::EpochStart, row)?;
    store.syncer.sync_to(store.log.tail().lsn)?;
    let seconds = replayed.time.as_secs_f64();
    Ok(Promotion {
        changed: true,
        epoch: epoch.to_string(),
        tail_epoch: base.epoch.to_string(),
        tail_lsn: base.lsn.get(),
        tail_chain: base.chain.to_string(),
        records_replayed: replayed.records,
        bytes_replayed: replayed.bytes,
        replay_mb_per_s: if seconds > 0.0 { replayed.bytes as f64 / 1e6 / seconds } else { 0.0 },
        digest: store.ledger.digest().to_string(),
        trial_balance: trial_balance(&store.ledger),
        duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        alone: options.alone,
        unprotected: unprotected(&store.ledger),
        may_be_missing,
    })
}

/// Refuses what must not be promoted; gives the warnings that an operator accepted.
fn what_may_be_missing(store: &Store, options: &PromoteOptions) -> Result<Vec<String>, NodeError> {
    let control = store.dir.control();
    let mut accepted = Vec::new();
    if options.alone && options.reason.trim().is_empty() {
        return Err(NodeError::Refused("serving alone needs a reason, which is written into the log".to_owned()));
    }
    if control.awaiting_operator {
        return Err(NodeError::Refused(
            "this node's log ends differently from the primary's and it may have answered for what would be cut; decide first which log counts".to_owned(),
        ));
    }
    if !control.in_sync {
        let what = "this replica is not marked in-sync: transfers that were answered may be missing from its log";
        if !options.accept_missing_transfers {
            return Err(NodeError::Refused(format!("{what}; bring the primary back, or accept that with --accept-missing-answered-transfers")));
        }
        accepted.push(what.to_owned());
    }
    if control.uncertain {
        let what = "the end of this replica's log is uncertain since a crash: the last transfers that it acked may be missing";
        if !options.accept_uncertain_tail {
            return Err(NodeError::Refused(format!("{what}; bring the primary back so that it can vouch for it, or accept that with --accept-uncertain-tail")));
        }
        accepted.push(what.to_owned());
    }
    Ok(accepted)
}

fn already_primary(store: &mut Store) -> Result<Promotion, NodeError> {
    store.replay(store.log.tail().lsn)?;
    Ok(current(store))
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
    getrandom::fill(&mut random).map_err(|error| NodeError::System { what: "draw random bytes", source: std::io::Error::other(error.to_string()) })?;
    Ok(OpeningId { node: control.node, incarnation: control.incarnation, random: u128::from_le_bytes(random) })
}

/// Appends a batch of one reign record, executed on the ledger and not yet synced. A batch that
/// ends the segment may come before it.
pub(crate) fn write_reign(
    store: &mut Store,
    epoch: Epoch,
    confirmed: Lsn,
    kind: RecordKind,
    row: ReignRow,
) -> Result<(), NodeError> {
    let mut payload = Vec::new();
    if !store.log.fits(group_bytes_max(kind.row_bytes(), 1)) {
        write_segment_end(store, epoch, confirmed)?;
    }
    let place = store.log.place();
    let mut open = store.ledger.open_batch(place.lsn, clock::now());
    store.ledger.append_reign(&mut open, kind, epoch, row);
    let closed = store.ledger.close_batch(open, &mut payload);
    append(store, epoch, confirmed, &closed, &payload).map(drop)
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
