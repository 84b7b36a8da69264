//! One connection to the other node: whole frames in, whole frames out, nothing blocks.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use kanjo_format::limits::REPLICATION_FRAME_BYTES_MAX;
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};
use tokio_util::io::poll_read_buf;

/// Bytes asked of the socket at a time; a frame that needs more makes room for itself.
const READ_BYTES: usize = 64 << 10;
/// Most bytes read before other connections have their turn.
const TURN_BYTES: usize = 1 << 20;

/// Bytes that the other machine's TCP does not acknowledge for this long end the connection.
const UNACKNOWLEDGED_MS_MAX: u32 = 20_000;

/// Bytes of all connections to the other node, in each direction, as TCP carries them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl Traffic {
    pub(crate) const fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(crate) const fn received(&self) -> u64 {
        self.received.get()
    }

    pub(crate) fn note_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    pub(crate) fn note_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }
}

/// A framed, non-blocking connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    codec: LengthDelimitedCodec,
    input: BytesMut,
    output: Vec<u8>,
    written: usize,
    /// Why nothing more can be read.
    ended: Option<io::Error>,
    traffic: Rc<Traffic>,
}

impl Link {
    pub(crate) fn new(stream: TcpStream, traffic: Rc<Traffic>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS_MAX)?;
        Ok(Self {
            stream,
            codec: codec(),
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            ended: None,
            traffic,
        })
    }

    /// Reads what has come, or waits for room to write if something waits to be written. Ready
    /// once either happened; [`Self::next_frame`] then gives what was read.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = self.poll_input(context);
        if read.is_ready() || !self.has_output() {
            return read;
        }
        self.stream.poll_write_ready(context)
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut turn = 0;
        while self.ended.is_none() {
            self.input.reserve(READ_BYTES);
            let room = self.input.capacity() - self.input.len();
            let stream = Pin::new(&mut self.stream);
            let read = match poll_read_buf(stream, context, &mut self.input) {
                Poll::Pending if turn > 0 => break,
                polled => ready!(polled),
            };
            match read {
                Ok(0) => {
                    let why = (io::ErrorKind::UnexpectedEof, "closed by the peer");
                    self.ended = Some(io::Error::new(why.0, why.1));
                }
                // Less than there was room for: the socket is empty, no need to ask again.
                Ok(bytes) if bytes < room => {
                    self.traffic.note_received(bytes);
                    break;
                }
                Ok(bytes) => {
                    self.traffic.note_received(bytes);
                    turn += bytes;
                }
                Err(error) => self.ended = Some(error),
            }
            if turn >= TURN_BYTES {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits only for room to write; for ever if nothing waits to be written.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_output() {
            return Poll::Pending;
        }
        self.stream.poll_write_ready(context)
    }

    /// The next whole frame that was read, without its length. `None` when there is no more; an
    /// error once the connection has ended.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<BytesMut>> {
        match self.codec.decode(&mut self.input)? {
            Some(frame) => Ok(Some(frame)),
            None => self.ended.take().map_or(Ok(None), Err),
        }
    }

    /// Where encoded frames are appended, each with its length in front; [`Self::flush`] sends.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Bytes that wait for the socket.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output.len() - self.written
    }

    fn has_output(&self) -> bool {
        self.output_bytes() > 0
    }

    /// Writes as much as the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.has_output() {
            match self.stream.try_write(&self.output[self.written..]) {
                Ok(written) => {
                    self.traffic.note_sent(written);
                    self.written += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !self.has_output() {
            self.output.clear();
            self.written = 0;
        } else if self.written > self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

/// The framing of the replication port.
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(4)
        .max_frame_length(REPLICATION_FRAME_BYTES_MAX)
        .new_codec()
}
