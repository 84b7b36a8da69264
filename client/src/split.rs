//! Cutting many events into requests, so that the cuts change no result.

use kanjo_format::client::{
    AccountBody, AccountFlags, FrameKind, TransferBody, TransferDetailBody, TransferFlags,
};
use zerocopy::{Immutable, IntoBytes};

use crate::ClientError;

/// What a cut must respect of an event.
pub(crate) trait Event: IntoBytes + Immutable {
    /// Whether it succeeds or fails together with the next one.
    fn is_linked(&self) -> bool;
    /// Whether it brings a timestamp of the past.
    fn is_imported(&self) -> bool;
}

impl Event for AccountBody {
    fn is_linked(&self) -> bool {
        self.flags.get() & AccountFlags::LINKED != 0
    }

    fn is_imported(&self) -> bool {
        self.flags.get() & AccountFlags::IMPORTED != 0
    }
}

impl Event for TransferBody {
    fn is_linked(&self) -> bool {
        self.flags.get() & TransferFlags::LINKED != 0
    }

    fn is_imported(&self) -> bool {
        self.flags.get() & TransferFlags::IMPORTED != 0
    }
}

impl Event for TransferDetailBody {
    fn is_linked(&self) -> bool {
        self.transfer.is_linked()
    }

    fn is_imported(&self) -> bool {
        self.transfer.is_imported()
    }
}

/// An event that posts a transfer.
pub(crate) trait Posting: Event {
    /// The kind of request that posts it.
    const KIND: FrameKind;

    /// Without what only a detailed request has.
    fn transfer(&self) -> &TransferBody;

    /// Whether it names another transfer, which stands in for what is zero.
    fn is_related(&self) -> bool;
}

impl Posting for TransferBody {
    const KIND: FrameKind = FrameKind::CreateTransfers;

    fn transfer(&self) -> &TransferBody {
        self
    }

    fn is_related(&self) -> bool {
        let resolves = TransferFlags::POST_PENDING_TRANSFER | TransferFlags::VOID_PENDING_TRANSFER;
        self.flags.get() & resolves != 0
    }
}

impl Posting for TransferDetailBody {
    const KIND: FrameKind = FrameKind::CreateTransfersDetailed;

    fn transfer(&self) -> &TransferBody {
        &self.transfer
    }

    fn is_related(&self) -> bool {
        self.transfer.is_related() || self.reverses.get() != 0
    }
}

/// Requests of at most `most` events. None of them cuts a chain of linked events. Whether a
/// request imports is decided by its first event, so events of both sorts are never spread over
/// several requests: an error says so, and one that a chain is too long.
pub(crate) fn split<E: Event>(
    events: &[E],
    most: usize,
) -> Result<impl Iterator<Item = &[E]>, ClientError> {
    let last = (!events.is_empty()).then_some(events.len());
    let mut begin = 0;
    let request = move |end| {
        let request = &events[begin..end];
        begin = end;
        request
    };
    let ends = cuts(events, most)?.into_iter().chain(last);
    Ok(ends.map(request))
}

/// Where events are cut; nowhere if they fit one request.
fn cuts<E: Event>(events: &[E], most: usize) -> Result<Vec<usize>, ClientError> {
    let mut cuts = Vec::new();
    if events.len() <= most {
        return Ok(cuts);
    }
    let imports = events[0].is_imported();
    if let Some(other) = events.iter().position(|one| one.is_imported() != imports) {
        let text = format!(
            "event {other} and event 0 differ in the flag imported, which all events of a request \
             share, and {} events do not fit one request of {most}",
            events.len()
        );
        return Err(ClientError::Unsplittable { text });
    }
    let mut begin = 0;
    while events.len() - begin > most {
        let window = &events[begin..begin + most];
        let Some(last) = window.iter().rposition(|one| !one.is_linked()) else {
            let text = format!(
                "the chain of linked events that begins with event {begin} is longer than the \
                 {most} events of a request"
            );
            return Err(ClientError::Unsplittable { text });
        };
        begin += last + 1;
        cuts.push(begin);
    }
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(flags: &[u16]) -> Vec<TransferBody> {
        let event = |&flags: &u16| TransferBody {
            flags: flags.into(),
            ..TransferBody::default()
        };
        flags.iter().map(event).collect()
    }

    fn lengths(flags: &[u16], most: usize) -> Result<Vec<usize>, ClientError> {
        let events = events(flags);
        let requests = split(&events, most)?;
        Ok(requests.map(|request| request.len()).collect())
    }

    const LINKED: u16 = TransferFlags::LINKED;
    const IMPORTED: u16 = TransferFlags::IMPORTED;

    #[test]
    fn a_cut_is_only_made_behind_an_event_that_is_not_linked() {
        assert_eq!(lengths(&[], 3).unwrap(), []);
        assert_eq!(lengths(&[0; 3], 3).unwrap(), [3]);
        assert_eq!(lengths(&[0; 7], 3).unwrap(), [3, 3, 1]);
        assert_eq!(lengths(&[0, 0, LINKED, 0, 0], 3).unwrap(), [2, 3]);
        assert_eq!(lengths(&[LINKED, LINKED, 0, 0], 3).unwrap(), [3, 1]);
        // A chain that is open at the end is the node's to refuse.
        assert_eq!(lengths(&[0, 0, 0, LINKED, LINKED], 3).unwrap(), [3, 2]);
    }

    #[test]
    fn a_chain_longer_than_a_request_is_refused_before_anything_is_sent() {
        let flags = [0, LINKED, LINKED, LINKED, 0];
        let text = lengths(&flags, 3).unwrap_err().to_string();
        assert!(text.contains("begins with event 1 is longer"), "{text}");
        assert!(lengths(&[LINKED; 4], 3).is_err());
    }

    #[test]
    fn imported_events_are_not_spread_over_requests_together_with_others() {
        assert_eq!(lengths(&[IMPORTED; 4], 3).unwrap(), [3, 1]);
        assert_eq!(lengths(&[IMPORTED, 0, IMPORTED], 3).unwrap(), [3]);
        let text = lengths(&[IMPORTED, IMPORTED, 0, IMPORTED], 3).unwrap_err();
        assert!(text.to_string().contains("event 2 and event 0"), "{text}");
    }
}
