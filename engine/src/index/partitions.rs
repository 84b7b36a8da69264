//! Frozen tables of ids that came in order of time, found by their range.

use super::arrivals::{Arrivals, Row, Span};

/// Ids of one range. Rows outside of it may stand in its table too; they are never found there.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) span: Span,
    pub(super) ids: Arrivals,
}

/// Partitions in ascending order, by both ends of their ranges. One that is put above all others
/// may reach into the last one, for ids of several clients arrive a little out of order, but not
/// beyond it: an id lies in two of them at most.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    list: Vec<Partition>,
    /// No id above it is in any partition.
    top: u128,
}

impl Partitions {
    /// No id above it is in any partition.
    pub(super) fn top(&self) -> u128 {
        self.top
    }

    /// What of `span` a new partition may cover; `None` if nothing.
    pub(super) fn room(&self, span: Span) -> Option<Span> {
        let after = self.after(span.high);
        let below = after.checked_sub(1).map(|n| self.list[n].span);
        let mut room = span;
        match self.list.get(after) {
            Some(above) => {
                room.high = room.high.min(above.span.low - 1);
                room.low = room.low.max(below.map_or(0, |below| below.high + 1));
            }
            None => {
                let beyond = after.checked_sub(2).map(|n| self.list[n].span);
                room.low = room.low.max(beyond.map_or(0, |beyond| beyond.high + 1));
                room.low = room.low.max(below.map_or(0, |below| below.low + 1));
            }
        }
        (room.low <= room.high).then_some(room)
    }

    /// Whether ids of a range within [`Self::room`] keep the order of the list.
    pub(super) fn fits(&self, span: Span) -> bool {
        span.low <= span.high && self.room(span) == Some(span)
    }

    /// Takes a partition whose range fits.
    pub(super) fn insert(&mut self, partition: Partition) {
        self.top = self.top.max(partition.span.high);
        self.list.insert(self.after(partition.span.high), partition);
    }

    /// How many end below `high`.
    fn after(&self, high: u128) -> usize {
        self.list.partition_point(|p| p.span.high < high)
    }

    /// Ids above all others, as new ones are, cost one comparison.
    #[inline]
    pub(super) fn find(&self, hash: u64, id: u128) -> Option<&Row> {
        if id > self.top {
            return None;
        }
        self.find_below(hash, id)
    }

    fn find_below(&self, hash: u64, id: u128) -> Option<&Row> {
        let from = &self.list[self.after(id)..];
        let near = from.iter().take_while(|p| p.span.low <= id);
        near.filter_map(|p| p.ids.find(hash, id)).next()
    }

    pub(super) fn remove(&mut self, hash: u64, id: u128) -> bool {
        let after = self.after(id);
        let from = &mut self.list[after..];
        let mut near = from.iter_mut().take_while(|p| p.span.low <= id);
        near.any(|p| p.ids.remove(hash, id))
    }

    #[cfg(test)]
    pub(super) fn list(&self) -> &[Partition] {
        &self.list
    }
}
