//! A client as the tests of this crate play one: bytes on a socket, in the thread of the node.

use kanjo_format::ClusterId;
use kanjo_format::client::{
    CLIENT_VERSION, CLIENT_VERSION_MIN, Frame, FrameKind, HelloBody, Outcome,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zerocopy::IntoBytes;

use crate::server::read_frame;

/// Runs a test whose nodes and clients are tasks of one thread.
pub(crate) fn in_one_thread<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A connection to this client port that was welcomed.
pub(crate) async fn connect(address: &str, cluster: ClusterId) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let hello = HelloBody {
        cluster: cluster.get().into(),
        version_min: CLIENT_VERSION_MIN.into(),
        version_max: CLIENT_VERSION.into(),
        reserved: 0.into(),
    };
    send(&mut stream, FrameKind::Hello, 0, hello.as_bytes()).await;
    read_frame(&mut stream).await.unwrap();
    stream
}

/// Sends one frame.
pub(crate) async fn send(stream: &mut TcpStream, kind: FrameKind, count: u32, body: &[u8]) {
    let mut out = Vec::new();
    Frame {
        kind,
        outcome: Outcome::Done,
        request: 1,
        deadline_ms: 0,
        count,
        body,
    }
    .encode(&mut out);
    stream.write_all(&out).await.unwrap();
}
