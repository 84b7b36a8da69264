//! The open pending transfers, by their place in the log, and the order in which they expire.
//!
//! ```text
//! slots   pages of whole transfers      shared with snapshots, as accounts are
//! index   hash of the place → slot
//! queue   (due time, place)             only those that expire
//! ```
//!
//! Each is kept whole, so that to resolve one needs no look into the log.

use std::collections::BTreeSet;

use hashbrown::hash_table::Entry;
use kanjo_format::RecordAt;
use kanjo_format::movement::Transfer;

use crate::account::{Pages, SharedPage};
use crate::hash::{IdHasher, Sharded};

const SHARD_BITS: u32 = 6;
const SECOND_NS: u64 = 1_000_000_000;

/// An open pending transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Where it was recorded.
    pub(crate) at: RecordAt,
    pub(crate) transfer: Transfer,
}

impl Pending {
    /// When it expires, in nanoseconds.
    pub(crate) fn due(&self) -> Option<u64> {
        due(&self.transfer)
    }
}

/// When a pending transfer expires, in nanoseconds. That its time is in range was checked.
pub(crate) fn due(transfer: &Transfer) -> Option<u64> {
    let timeout_ns = u64::from(transfer.timeout) * SECOND_NS;
    (transfer.timeout != 0).then(|| transfer.timestamp.get() + timeout_ns)
}

#[derive(Debug)]
pub(crate) struct Pendings {
    slots: Pages<Option<Pending>>,
    /// Slots given out so far.
    end: u32,
    free: Vec<u32>,
    index: Sharded<u32>,
    queue: BTreeSet<(u64, RecordAt)>,
    count: u32,
    hasher: IdHasher,
}

impl Pendings {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            slots: Pages::new(),
            end: 0,
            free: Vec::new(),
            index: Sharded::new(SHARD_BITS),
            queue: BTreeSet::new(),
            count: 0,
            hasher,
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    fn hash(&self, at: RecordAt) -> u64 {
        self.hasher.hash(u128::from(at.packed()))
    }

    fn slot(&self, at: RecordAt) -> Option<u32> {
        let slots = &self.slots;
        let is = |slot: &u32| slots.at(*slot).is_some_and(|p| p.at == at);
        self.index.find(self.hash(at), is).copied()
    }

    /// The open pending transfer that was recorded there.
    pub(crate) fn get(&self, at: RecordAt) -> Option<&Pending> {
        self.slots.at(self.slot(at)?).as_ref()
    }

    /// Takes one in. Panics if one of its place is open, which only a bug can cause.
    pub(crate) fn insert(&mut self, pending: Pending) {
        let slot = self.free.pop().unwrap_or(self.end);
        if slot == self.end {
            self.end += 1;
            self.slots.push(slot, Some(pending));
        } else {
            *self.slots.at_mut(slot) = Some(pending);
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let at = |slot: u32| slots.at(slot).map(|p| p.at);
        let hash = |at: RecordAt| hasher.hash(u128::from(at.packed()));
        let place = self.index.entry(
            hash(pending.at),
            |other| *other != slot && at(*other) == Some(pending.at),
            |slot| hash(at(*slot).expect("only full slots are in the index")),
        );
        match place {
            Entry::Vacant(place) => place.insert(slot),
            Entry::Occupied(_) => panic!("{} is open already", pending.at),
        };
        if let Some(due) = pending.due() {
            self.queue.insert((due, pending.at));
        }
        self.count += 1;
    }

    /// Takes one out; `None` if none of that place is open.
    pub(crate) fn remove(&mut self, at: RecordAt) -> Option<Pending> {
        let hash = self.hash(at);
        let slots = &self.slots;
        let is = |slot: &u32| slots.at(*slot).is_some_and(|p| p.at == at);
        let slot = self.index.remove(hash, is)?;
        let pending = self.slots.at_mut(slot).take()?;
        self.free.push(slot);
        if let Some(due) = pending.due() {
            self.queue.remove(&(due, at));
        }
        self.count -= 1;
        Some(pending)
    }

    /// The one that expires first, and when.
    pub(crate) fn first_due(&self) -> Option<(u64, RecordAt)> {
        self.queue.first().copied()
    }

    /// The last due time up to `end`.
    pub(crate) fn last_due_by(&self, end: u64) -> Option<u64> {
        let until = self.queue.range(..=(end, RecordAt::MAX));
        until.map(|(due, _)| *due).next_back()
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        (0..self.end).filter_map(|slot| self.slots.at(slot).as_ref())
    }

    /// The open ones as they are now, shared until written.
    pub(crate) fn share(&mut self) -> SharedPendings {
        SharedPendings {
            slots: self.slots.share(),
            end: self.end as usize,
        }
    }
}

/// All open pending transfers as they were at one moment.
#[derive(Debug)]
pub(crate) struct SharedPendings {
    slots: Vec<SharedPage<Option<Pending>>>,
    end: usize,
}

impl SharedPendings {
    /// In order of place. Takes time and memory with their number.
    pub(crate) fn sorted(&self) -> Vec<&Pending> {
        let slots = self.slots.iter().flat_map(|page| page.iter());
        let mut all: Vec<&Pending> = slots.take(self.end).flatten().collect();
        all.sort_unstable_by_key(|pending| pending.at);
        all
    }
}

#[cfg(test)]
mod tests {
    use kanjo_format::movement::{Form, posted};
    use kanjo_format::record::TransferRow;
    use kanjo_format::{Lsn, Timestamp};

    use super::*;

    fn pending(n: u64, timeout: u32) -> Pending {
        Pending {
            at: RecordAt::new(Lsn::new(n / 100 * 4_096), n as usize % 100),
            transfer: Transfer {
                form: Form::Reserves,
                timeout,
                ..posted(&TransferRow::default(), Timestamp::new(n))
            },
        }
    }

    #[test]
    fn they_expire_in_order_of_due_time_and_then_of_place() {
        let mut pendings = Pendings::new(IdHasher::new(1));
        let all = [
            pending(1, 3),
            pending(2, 1),
            pending(3, 0),
            pending(1_000_000_001, 2),
        ];
        for one in all {
            pendings.insert(one);
        }
        assert_eq!(pendings.get(all[2].at), Some(&all[2]));
        let mut order = Vec::new();
        while let Some((due, at)) = pendings.first_due() {
            assert_eq!(pendings.remove(at).unwrap().due(), Some(due));
            order.push(at);
        }
        assert_eq!(order, [all[1].at, all[0].at, all[3].at]);
        assert_eq!(pendings.count(), 1);
    }

    #[test]
    fn slots_are_used_again_and_a_shared_state_stays() {
        let mut pendings = Pendings::new(IdHasher::new(1));
        for n in 0..2_000 {
            pendings.insert(pending(n, 1));
        }
        let shared = pendings.share();
        for n in 0..2_000 {
            assert_eq!(pendings.remove(pending(n, 1).at), Some(pending(n, 1)));
            assert_eq!(pendings.remove(pending(n, 1).at), None);
        }
        for n in 2_000..4_000 {
            pendings.insert(pending(n, 0));
        }
        assert_eq!(pendings.end, 2_000);
        let kept: Vec<Pending> = shared.sorted().into_iter().copied().collect();
        assert_eq!(kept, (0..2_000).map(|n| pending(n, 1)).collect::<Vec<_>>());
        assert_eq!(pendings.share().sorted().len(), 2_000);
    }
}
