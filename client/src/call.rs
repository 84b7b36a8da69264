//! One request on its way from a caller to the driver and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use kanjo_format::client::FrameKind;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ClientError;

const WAITING: u8 = 0;
const SENT: u8 = 1;
const ABANDONED: u8 = 2;

/// Whether a request may have reached a node. Caller and driver both decide on it, each by one
/// atomic step, so a caller whose deadline passes knows for certain that an unsent request
/// never will be sent.
#[derive(Debug, Default)]
pub(crate) struct SendState(AtomicU8);

impl SendState {
    fn step(&self, from: u8, to: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.compare_exchange(from, to, success, failure).is_ok()
    }

    /// The caller's: gives the request up. False if it may have been sent already.
    pub(crate) fn abandon(&self) -> bool {
        self.step(WAITING, ABANDONED) || self.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Whether the request may be on its way.
    pub(crate) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire) == SENT
    }

    /// The driver's: takes the right to send. False if the caller gave it up.
    fn send(&self) -> bool {
        self.step(WAITING, SENT)
    }

    /// The driver's: the request certainly did nothing, it may be sent again.
    fn take_back(&self) -> bool {
        self.step(SENT, WAITING)
    }
}

/// Rows of a reply that was `Done`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
}

/// A request with all that is needed to send it, again if need be, and to answer its caller.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) kind: FrameKind,
    pub(crate) count: u32,
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
    pub(crate) state: Arc<SendState>,
    pub(crate) answer: oneshot::Sender<Result<Answer, ClientError>>,
}

impl Call {
    /// Whether somebody still waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && self.state.0.load(Ordering::Acquire) != ABANDONED
    }

    /// Takes the right to send it. False if nobody wants it any more.
    pub(crate) fn start(&self) -> bool {
        !self.answer.is_closed() && self.state.send()
    }

    /// Makes it sendable again. Only for a request that did nothing, or that only reads.
    pub(crate) fn take_back(&self) -> bool {
        self.state.take_back()
    }

    /// Whether it only reads, so that sending it twice changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        only_reads(self.kind)
    }

    /// Milliseconds left, at least one: zero would mean "no deadline" to the server.
    pub(crate) fn deadline_ms(&self) -> u32 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    pub(crate) fn finish(self, result: Result<Answer, ClientError>) {
        // The caller may be gone; its answer then has no reader.
        let _ = self.answer.send(result);
    }
}

/// Whether requests of this kind only read.
pub(crate) const fn only_reads(kind: FrameKind) -> bool {
    !kind.is_write()
}
