//! While the primary answers alone: transfers above the configured cap are held back.
//!
//! It is decided before anything of a request is executed, so that neither the log nor a replay
//! knows of it, and by whole requests: a chain is never torn, and nothing of what is refused was
//! done.

use kanjo_engine::{HistoryError, HistoryReader, Ledger, OpenBatch};
use kanjo_format::TransferId;
use kanjo_format::client::{FrameKind, HELD_BACK, TransferBody, TransferDetailBody, TransferFlags};

use super::execute::rows;
use crate::front::Request;

/// Looks at requests before they are executed.
pub(super) struct Holding<'a> {
    /// Most minor units that one transfer may move or reserve.
    pub(super) cap: u128,
    pub(super) ledger: &'a Ledger,
    pub(super) open: &'a OpenBatch,
    pub(super) history: &'a mut dyn HistoryReader,
}

impl Holding<'_> {
    /// What to answer to a request that is held back; `None` for one to be executed.
    pub(super) fn refusal(&mut self, request: &Request) -> Result<Option<String>, HistoryError> {
        let over = match request.kind {
            FrameKind::CreateTransfers => {
                self.first_over(rows::<TransferBody>(request).iter().map(|body| (body, 0)))?
            }
            FrameKind::CreateTransfersDetailed => {
                let rows = rows::<TransferDetailBody>(request).iter();
                self.first_over(rows.map(|row| (&row.transfer, row.reverses.get())))?
            }
            _ => None,
        };
        Ok(over.map(|(event, id, amount)| {
            format!(
                "{HELD_BACK}transfer {id} (event {event}) of {amount} is above degraded_transfer_max = {} and this server answers alone; nothing of the request was done, repeat it with the same ids once commits are protected",
                self.cap
            )
        }))
    }

    /// The first transfer above the cap that is not in the log already: its event, id and amount.
    fn first_over<'r>(
        &mut self,
        events: impl Iterator<Item = (&'r TransferBody, u128)>,
    ) -> Result<Option<(usize, TransferId, u128)>, HistoryError> {
        for (event, (body, reverses)) in events.enumerate() {
            if body.amount.get() <= self.cap {
                continue;
            }
            let amount = self.moved_at_most(body, reverses)?;
            let id = TransferId::new(body.id.get());
            // What became of a known id is told as always: nothing new is posted.
            if amount > self.cap && self.ledger.find_id(id, self.history)?.is_none() {
                return Ok(Some((event, id, amount)));
            }
        }
        Ok(None)
    }

    /// What an event moves or reserves at most.
    fn moved_at_most(&mut self, body: &TransferBody, reverses: u128) -> Result<u128, HistoryError> {
        let flags = body.flags.get();
        if flags & TransferFlags::VOID_PENDING_TRANSFER != 0 {
            return Ok(0);
        }
        let related = match flags & TransferFlags::POST_PENDING_TRANSFER {
            0 => reverses,
            _ => body.pending_id.get(),
        };
        if related == 0 || body.amount.get() != u128::MAX {
            return Ok(body.amount.get());
        }
        // As much as the other one. One that is not there yet is looked at by itself, or refused.
        let mut found = Vec::new();
        let (ids, open) = ([TransferId::new(related)], Some(self.open));
        self.ledger
            .lookup_transfers(ids, open, self.history, &mut found)?;
        Ok(found.first().map_or(0, |other| other.amount.get()))
    }
}
