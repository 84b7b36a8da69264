//! What is under way on one connection. Bytes and calls in, bytes and answers out; the driver
//! does the reading, writing and waiting.

use std::collections::BTreeMap;

use bytes::BytesMut;
use kanjo_format::client::{Frame, HELD_BACK, Outcome};
use kanjo_format::limits::{CLIENT_FRAME_BYTES_MAX, CONNECTION_REQUESTS_MAX};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::ClientError;
use crate::call::{Answer, Call};
use crate::dial::{body_of, primary_named_by};
use crate::outbox::Outbox;

/// No new request is framed while this much waits to be written.
const OUTBOX_BYTES_MAX: usize = 2 * CLIENT_FRAME_BYTES_MAX;

/// Requests outstanding on one connection and the bytes on their way.
#[derive(Debug)]
pub(crate) struct Session {
    codec: LengthDelimitedCodec,
    pub(crate) inbox: BytesMut,
    /// Framed and not yet written.
    pub(crate) outbox: Outbox,
    outstanding: BTreeMap<u64, Call>,
    /// Refused without being done, by request number, to be sent to another node.
    returned: BTreeMap<u64, Call>,
    last_request: u64,
    /// The version that both sides speak.
    version: u16,
}

/// What replies say about the node, beside what callers are told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Requests were executed: the node is what it said.
    pub(crate) served: bool,
    /// An outcome was unknown: another node may have taken over.
    pub(crate) doubtful: bool,
    /// The node is not, or no longer, the primary.
    pub(crate) deposed: bool,
    /// The address that it names instead.
    pub(crate) hint: Option<String>,
}

impl Session {
    pub(crate) fn new(codec: LengthDelimitedCodec, inbox: BytesMut, version: u16) -> Self {
        Self {
            codec,
            inbox,
            outbox: Outbox::default(),
            outstanding: BTreeMap::new(),
            returned: BTreeMap::new(),
            last_request: 0,
            version,
        }
    }

    /// Whether another request may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.outstanding.len() < CONNECTION_REQUESTS_MAX && self.outbox.len() < OUTBOX_BYTES_MAX
    }

    /// Whether every request has its reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Frames the call, unless nobody wants it any more or the node does not know its kind.
    pub(crate) fn send(&mut self, call: Call) {
        if call.kind.version_min() > self.version {
            let (kind, version) = (call.kind, self.version);
            call.finish(Err(ClientError::Unsupported { kind, version }));
            return;
        }
        if !call.start() {
            return;
        }
        self.last_request += 1;
        let request = self.last_request;
        let frame = Frame {
            kind: call.kind,
            outcome: Outcome::Done,
            request,
            deadline_ms: call.deadline_ms(),
            count: call.count,
            body: &call.body,
        };
        self.outbox.push(&frame.encode_head(), &call.body);
        self.outstanding.insert(request, call);
    }

    /// Hands every whole reply in the inbox to its caller. An error means that the connection
    /// cannot be used any further.
    pub(crate) fn receive(&mut self) -> Result<Signs, String> {
        let mut signs = Signs::default();
        loop {
            match self.codec.decode(&mut self.inbox) {
                Ok(Some(bytes)) => self.take_reply(bytes, &mut signs)?,
                Ok(None) => return Ok(signs),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn take_reply(&mut self, bytes: BytesMut, signs: &mut Signs) -> Result<(), String> {
        let frame = Frame::decode(&bytes).map_err(|error| error.to_string())?;
        let (kind, outcome, request) = (frame.kind, frame.outcome, frame.request);
        let Some(call) = self.outstanding.get(&request) else {
            let text = String::from_utf8_lossy(frame.body);
            return Err(match outcome {
                Outcome::Done => format!("an answer to request {request}, which is not open"),
                other => format!("{other:?}: {text}"),
            });
        };
        if outcome == Outcome::Done {
            if kind != call.kind {
                let asked = call.kind;
                return Err(format!("a {kind:?} answer to a {asked:?} request"));
            }
            let checked = frame.check_reply();
            checked.map_err(|error| error.to_string())?;
            if !kind.is_paged() && frame.count > call.count {
                let (rows, asked) = (frame.count, call.count);
                return Err(format!("{rows} rows answer a request of {asked}"));
            }
            signs.served = true;
            let body = body_of(bytes);
            self.finish(request, Ok(Answer { body }));
            return Ok(());
        }
        let text = String::from_utf8_lossy(frame.body).into_owned();
        self.take_refusal(request, outcome, text, signs);
        Ok(())
    }

    fn take_refusal(&mut self, request: u64, outcome: Outcome, text: String, signs: &mut Signs) {
        let only_reads = self.outstanding[&request].only_reads();
        match outcome {
            Outcome::Done => unreachable!("taken above"),
            Outcome::Indeterminate => {
                signs.doubtful = true;
                let cause = match text.is_empty() {
                    true => "the node's deadline passed before the commit".to_owned(),
                    false => text,
                };
                let error = match only_reads {
                    true => ClientError::Deadline { text: cause },
                    false => ClientError::Indeterminate { cause },
                };
                self.finish(request, Err(error));
            }
            Outcome::NotPrimary => {
                signs.deposed = true;
                signs.hint = primary_named_by(&text).or(signs.hint.take());
                self.give_back(request);
            }
            Outcome::Fenced => {
                signs.deposed = true;
                match only_reads {
                    true => self.give_back(request),
                    false => self.finish(request, Err(ClientError::Fenced { text })),
                }
            }
            Outcome::Overloaded => {
                let error = match text.strip_prefix(HELD_BACK) {
                    Some(why) => ClientError::HeldBack { text: why.into() },
                    None => ClientError::Overloaded { text },
                };
                self.finish(request, Err(error));
            }
            Outcome::Malformed => self.finish(request, Err(ClientError::Malformed { text })),
        }
    }

    fn finish(&mut self, request: u64, result: Result<Answer, ClientError>) {
        if let Some(call) = self.outstanding.remove(&request) {
            call.finish(result);
        }
    }

    fn give_back(&mut self, request: u64) {
        if let Some(call) = self.outstanding.remove(&request)
            && call.take_back()
        {
            self.returned.insert(request, call);
        }
    }

    /// Ends the session: reads go back to be sent elsewhere, of everything else the outcome is
    /// unknown. Returns what may be sent again, in the order in which it was sent before.
    pub(crate) fn end(mut self, cause: &str) -> impl DoubleEndedIterator<Item = Call> {
        for (request, call) in std::mem::take(&mut self.outstanding) {
            if call.only_reads() {
                if call.take_back() {
                    self.returned.insert(request, call);
                }
            } else {
                let cause = cause.to_owned();
                call.finish(Err(ClientError::Indeterminate { cause }));
            }
        }
        self.returned.into_values()
    }
}
