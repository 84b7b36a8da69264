//! Pending transfers that time out, and whether a request may still go into a batch.
//!
//! Nothing is executed at or after a time at which a pending transfer is due before its expiry is
//! recorded. A request that would reach such a time goes into a batch behind it: only a batch
//! that is still empty can be moved in time, by a few microseconds at most.

use kanjo_format::client::FrameKind;
use kanjo_format::movement::Expired;
use kanjo_format::record::ExpiredRow;
use kanjo_format::{RecordAt, Timestamp};

use crate::batch::OpenBatch;
use crate::ledger::{Ledger, TIMESTAMP_MAX};

impl Ledger {
    /// Records the expiry of every pending transfer that is due, in order of due time, then of
    /// place. Whether all are recorded: if not, the batch is full, and the caller goes on in the
    /// next one before it executes anything.
    pub fn expire_due(&mut self, open: &mut OpenBatch) -> bool {
        while let Some((due, at)) = self.books.pendings.first_due() {
            if due > open.next_timestamp().get() {
                break;
            }
            if !open.has_room_for_expiry() {
                return false;
            }
            self.expire(open, at);
        }
        true
    }

    fn expire(&mut self, open: &mut OpenBatch, pending: RecordAt) {
        let transfer = self.books.expire(pending).transfer;
        let expired = Expired {
            pending,
            debit: transfer.debit,
            credit: transfer.credit,
        };
        self.index.note_expiry(open.next_at(), &expired);
        open.push_expired(ExpiredRow {
            pending: pending.packed().into(),
            debit_account: expired.debit.get().into(),
            credit_account: expired.credit.get().into(),
        });
    }

    /// Records what is due (see [`Self::expire_due`]), and says whether a request of so many
    /// events may be executed in this batch: it has room in records and bytes, and no pending
    /// transfer falls due on the way. If not, the caller closes the batch and asks again of the
    /// next one. Of reads it says whether what they show is without anything that is due.
    pub fn fits_request(&mut self, open: &mut OpenBatch, kind: FrameKind, events: usize) -> bool {
        let events = if kind.is_write() { events } else { 0 };
        if !self.expire_due(open) {
            return false;
        }
        loop {
            // Asked again behind each expiry: what was just recorded takes room too.
            if !open.has_room(kind, events) {
                return false;
            }
            let end = open.next_timestamp().get() + (events as u64).max(1) - 1;
            let Some(due) = self.books.pendings.last_due_by(end) else {
                return true;
            };
            if !open.is_empty() {
                return false;
            }
            open.first = Timestamp::new(due);
            if !self.expire_due(open) {
                return false;
            }
        }
    }

    /// Panics unless [`Self::fits_request`] is so as far as records and time go.
    pub(super) fn assert_fits(&self, open: &OpenBatch, events: usize) {
        assert!(events <= open.room(), "more events than room");
        assert!(
            open.next_timestamp().get() + events as u64 <= TIMESTAMP_MAX + 1,
            "log time ends in the year 2262"
        );
        let due = self.next_expiry();
        assert!(
            due.is_none_or(|due| is_before(open, events, due)),
            "what is due is recorded first"
        );
    }
}

/// Whether so many more records all happen before `due`.
fn is_before(open: &OpenBatch, events: usize, due: Timestamp) -> bool {
    open.next_timestamp().get() + (events as u64).max(1) <= due.get()
}
