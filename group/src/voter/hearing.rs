//! The servers of the own site, as their beats tell of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kanjo_format::NodeId;
use tokio::sync::watch;

use crate::port::{Beat, Seen};
use crate::voter::governor::Listened;

/// Who was heard, when, and whose connection ended.
#[derive(Debug)]
pub(crate) struct Hearing {
    servers: Mutex<BTreeMap<NodeId, Heard>>,
    changed: watch::Sender<u64>,
}

/// A place in which beats of one connection are written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    node: NodeId,
    number: u64,
}

#[derive(Debug)]
struct Heard {
    beat: Option<Beat>,
    at: Instant,
    /// The newest connection; an older one that ends says nothing.
    number: u64,
    closed: Option<Instant>,
    /// Nothing listens any more where it did.
    gone: bool,
}

impl Default for Hearing {
    fn default() -> Self {
        let (changed, _) = watch::channel(0);
        let servers = Mutex::default();
        Self { servers, changed }
    }
}

impl Hearing {
    /// Turns when a server comes, goes, or says something new about itself.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A connection for beats of that server begins.
    pub(crate) fn open(&self, node: NodeId) -> Seat {
        let mut servers = self.lock();
        let heard = servers.entry(node).or_insert(Heard {
            beat: None,
            at: Instant::now(),
            number: 0,
            closed: None,
            gone: false,
        });
        heard.number += 1;
        let number = heard.number;
        Seat { node, number }
    }

    /// A beat came.
    pub(crate) fn hear(&self, seat: Seat, beat: Beat) {
        let mut servers = self.lock();
        let Some(heard) = servers.get_mut(&seat.node) else {
            return;
        };
        if heard.number != seat.number {
            return;
        }
        let told = heard
            .beat
            .as_ref()
            .is_none_or(|old| differs(old, &beat) || heard.closed.is_some());
        heard.beat = Some(beat);
        heard.at = Instant::now();
        (heard.closed, heard.gone) = (None, false);
        drop(servers);
        if told {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// The connection ended. Whether it was the newest of its server.
    pub(crate) fn close(&self, seat: Seat) -> bool {
        let mut servers = self.lock();
        let newest = servers
            .get_mut(&seat.node)
            .filter(|heard| heard.number == seat.number);
        let Some(heard) = newest else {
            return false;
        };
        heard.closed = Some(Instant::now());
        drop(servers);
        self.changed.send_modify(|count| *count += 1);
        true
    }

    /// Its process is no more: nothing listens at its address.
    pub(crate) fn gone(&self, seat: Seat) {
        let mut servers = self.lock();
        if let Some(heard) = servers.get_mut(&seat.node)
            && heard.number == seat.number
        {
            heard.gone = true;
        }
        drop(servers);
        self.changed.send_modify(|count| *count += 1);
    }

    /// For the view.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let servers = self.lock();
        let seen = servers.values().filter_map(|heard| {
            Some(Seen {
                beat: heard.beat.clone()?,
                silent_ms: heard.at.elapsed().as_millis().try_into().ok()?,
                connected: heard.closed.is_none(),
            })
        });
        seen.collect()
    }

    /// For the governor.
    pub(crate) fn listened(&self) -> Vec<Listened> {
        let servers = self.lock();
        let listened = servers.values().filter_map(|heard| {
            Some(Listened {
                beat: heard.beat.clone()?,
                silent: heard.at.elapsed(),
                closed: heard.closed.map(|at| at.elapsed()),
                gone: heard.gone,
            })
        });
        listened.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Heard>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a beat says more than that the log went on.
pub(crate) fn differs(old: &Beat, new: &Beat) -> bool {
    let still = Beat {
        tail: old.tail,
        committed: old.committed,
        applied: old.applied,
        other_silent_ms: old.other_silent_ms,
        other_heard_for_ms: old.other_heard_for_ms,
        ..new.clone()
    };
    still != *old
}
