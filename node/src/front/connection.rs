//! One client connection: bytes in, bytes out, nothing blocks.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;

use bytes::{Buf, BytesMut};
use kanjo_format::limits::CLIENT_FRAME_BYTES_MAX;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::codec::LengthDelimitedCodec;

/// Bytes asked of a socket at a time; a frame that needs more makes room for itself.
const READ_BYTES: usize = 16 << 10;

/// A client's socket, for writing, with the replies that wait for it.
pub(super) struct Connection {
    writer: OwnedWriteHalf,
    pub(super) out: RefCell<BytesMut>,
    /// Requests that were accepted and not yet answered.
    pub(super) outstanding: Cell<usize>,
    poke: Notify,
    closed: Cell<bool>,
}

impl Connection {
    pub(super) fn new(writer: OwnedWriteHalf) -> Self {
        Self {
            writer,
            out: RefCell::default(),
            outstanding: Cell::new(0),
            poke: Notify::new(),
            closed: Cell::new(false),
        }
    }

    /// Told when there is something to look at; waits in line once, not anew at each turn.
    pub(super) fn poked(&self) -> Notified<'_> {
        self.poke.notified()
    }

    /// Waits until something has come and reads it; writes meanwhile. `poked` is of this
    /// connection and is kept over its turns.
    pub(super) async fn turn<'a>(
        &'a self,
        reader: &mut OwnedReadHalf,
        buffer: &mut BytesMut,
        mut poked: Pin<&mut Notified<'a>>,
    ) -> io::Result<()> {
        loop {
            if self.closed.get() {
                return Err(io::Error::other("the client does not read its replies"));
            }
            let blocked = !self.out.borrow().is_empty();
            buffer.reserve(READ_BYTES);
            tokio::select! {
                biased;
                read = reader.read_buf(buffer) => match read? {
                    0 => return Err(closed_by_client(buffer.len())),
                    _ => {
                        if blocked {
                            // Who sends without pause gets its replies all the same.
                            self.write_out();
                        }
                        return Ok(());
                    }
                },
                () = poked.as_mut() => poked.set(self.poke.notified()),
                writable = self.writer.writable(), if blocked => {
                    writable?;
                    self.write_out();
                }
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn write_out(&self) {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            match self.writer.try_write(&out) {
                // Mostly all of it: the buffer is used again from its start.
                Ok(written) if written == out.len() => out.clear(),
                Ok(written) => out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.poke.notify_one();
                    return;
                }
                Err(_) => {
                    // The reader sees the broken socket and closes the connection.
                    out.clear();
                    return;
                }
            }
        }
    }

    /// Ends the connection at its task's next turn.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.poke.notify_one();
    }
}

/// The client closed its side with so many bytes of a frame before that.
fn closed_by_client(bytes: usize) -> io::Error {
    match bytes {
        0 => io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the client"),
        _ => io::Error::other(format!(
            "closed by the client {bytes} bytes into a frame, which is not executed"
        )),
    }
}

/// Whether a connection ended because its client was done with it.
pub(super) fn is_orderly(end: &io::Error) -> bool {
    end.kind() == io::ErrorKind::UnexpectedEof
}

/// The framing of the client port.
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(4)
        .max_frame_length(CLIENT_FRAME_BYTES_MAX)
        .new_codec()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// How a connection ends whose client sends `bytes` and closes.
    async fn end_after(bytes: &[u8]) -> io::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (mut reader, writer) = stream.into_split();
        let connection = Connection::new(writer);
        let (mut buffer, mut poked) = (BytesMut::new(), pin!(connection.poked()));
        client.write_all(bytes).await.unwrap();
        drop(client);
        loop {
            let turn = connection.turn(&mut reader, &mut buffer, poked.as_mut());
            if let Err(end) = turn.await {
                return end;
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_closes_between_two_frames_ends_in_order_and_one_within_a_frame_does_not()
    {
        assert!(is_orderly(&end_after(b"").await));
        let end = end_after(b"abc").await;
        assert!(!is_orderly(&end) && end.to_string().contains("3 bytes"));
    }
}
