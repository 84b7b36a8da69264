//! Finding the primary: dial, greet, choose.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kanjo_format::client::{
    CLIENT_VERSION, CLIENT_VERSION_MIN, FRAME_HEADER_BYTES, Frame, FrameKind, HelloBody, Outcome,
    WelcomeBody,
};
use kanjo_format::limits::{ADDRESS_BYTES_MAX, CLIENT_FRAME_BYTES_MAX};
use kanjo_format::{ClusterId, Epoch, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};
use zerocopy::{FromBytes, IntoBytes};

use crate::client::Primary;
use crate::config::ClientConfig;

/// Frames up to this size are copied.
const COPIED_BYTES_MAX: usize = 1 << 10;
/// How long one address has a head start before the next is dialled beside it.
const STAGGER: Duration = Duration::from_millis(25);

/// A greeted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Bytes that came behind the greeting.
    pub(crate) inbox: BytesMut,
    pub(crate) codec: LengthDelimitedCodec,
    pub(crate) peer: Primary,
}

/// What a search goes by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The cluster, once known.
    pub(crate) cluster: Option<ClusterId>,
    /// A primary of this epoch or a higher one is taken at once. A lower one, which may be an
    /// old primary that does not know yet, only if the whole round finds none better.
    pub(crate) epoch: Epoch,
    /// Dialled first.
    pub(crate) hint: Option<String>,
}

/// Why a round over all addresses found no primary.
#[derive(Clone, Debug)]
pub(crate) struct SearchFailure {
    /// What each address answered.
    pub(crate) text: String,
    /// Whether some node was there and takes no writes.
    pub(crate) reached: bool,
    /// Whether no address can ever serve this client.
    pub(crate) permanent: bool,
    /// Whom a node that is not the primary named as the primary.
    pub(crate) hint: Option<String>,
}

enum DialFailure {
    /// May be better next time.
    Passing(String),
    /// Another cluster, version or protocol.
    Lasting(String),
}

/// The length-delimited frames of the client port.
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(4)
        .max_frame_length(CLIENT_FRAME_BYTES_MAX)
        .new_codec()
}

/// The rows of a frame that was decoded from these bytes. Few bytes are copied, so that the buffer that
/// they came in is used again; many are not.
pub(crate) fn body_of(frame: BytesMut) -> Bytes {
    match frame.len() <= COPIED_BYTES_MAX {
        true => Bytes::copy_from_slice(&frame[FRAME_HEADER_BYTES..]),
        false => frame.freeze().slice(FRAME_HEADER_BYTES..),
    }
}

/// Dials every address, each a little after the one before or as soon as that failed, and
/// returns the primary.
pub(crate) async fn find_primary(
    config: Arc<ClientConfig>,
    known: Known,
) -> Result<Connection, SearchFailure> {
    let mut left = candidates(&config, known.hint.as_deref()).into_iter();
    let mut dials = JoinSet::new();
    let mut round = Round::default();
    loop {
        if let Some(address) = left.next() {
            dials.spawn(dial(address, config.clone(), known.cluster));
        }
        let stagger = async {
            match left.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(STAGGER).await,
            }
        };
        tokio::select! {
            ended = dials.join_next() => match ended {
                Some(Ok((address, outcome))) => {
                    if let Some(found) = round.judge(address, outcome, known.epoch) {
                        return Ok(found);
                    }
                }
                // A dial that panicked is a bug of its own; the search goes on without it.
                Some(Err(_)) => {}
                None if left.len() == 0 => return round.end(config.dial_timeout).await,
                None => {}
            },
            () = stagger => {}
        }
    }
}

/// The hint first, then the addresses as configured, each once.
fn candidates(config: &ClientConfig, hint: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(config.addresses.len() + 1);
    for address in hint
        .into_iter()
        .chain(config.addresses.iter().map(String::as_str))
    {
        if !all.iter().any(|known| known == address) {
            all.push(address.to_owned());
        }
    }
    all
}

#[derive(Default)]
struct Round {
    best: Option<Connection>,
    /// Not the primary; of those that were reached, the one that knows the highest epoch.
    other: Option<Connection>,
    said: Vec<String>,
    reached: bool,
    passing: bool,
}

impl Round {
    /// Returns a connection that is good enough to end the round at once.
    fn judge(
        &mut self,
        address: String,
        outcome: Result<(Connection, bool), DialFailure>,
        enough: Epoch,
    ) -> Option<Connection> {
        match outcome {
            Ok((connection, true)) => {
                if connection.peer.epoch >= enough {
                    return Some(connection);
                }
                let best = self.best.as_ref().map(|best| best.peer.epoch);
                if best < Some(connection.peer.epoch) {
                    self.best = Some(connection);
                }
            }
            Ok((connection, false)) => {
                let peer = &connection.peer;
                let (node, epoch) = (peer.node, peer.epoch);
                let text = format!("{address}: node {node} is not the primary (epoch {epoch})");
                self.said.push(text);
                (self.reached, self.passing) = (true, true);
                if self.other.as_ref().map(|other| other.peer.epoch) < Some(epoch) {
                    self.other = Some(connection);
                }
            }
            Err(DialFailure::Passing(text)) => {
                self.said.push(format!("{address}: {text}"));
                self.passing = true;
            }
            Err(DialFailure::Lasting(text)) => self.said.push(format!("{address}: {text}")),
        }
        None
    }

    /// All addresses were dialled. If none is the primary, one that was reached may know it.
    async fn end(self, patience: Duration) -> Result<Connection, SearchFailure> {
        if let Some(best) = self.best {
            return Ok(best);
        }
        let hint = match self.other {
            Some(other) => timeout(patience, ask_for_primary(other))
                .await
                .ok()
                .flatten(),
            None => None,
        };
        Err(SearchFailure {
            text: self.said.join("; "),
            reached: self.reached,
            permanent: !self.passing,
            hint,
        })
    }
}

type Dialled = (String, Result<(Connection, bool), DialFailure>);

async fn dial(address: String, config: Arc<ClientConfig>, cluster: Option<ClusterId>) -> Dialled {
    let greeting = greet(&address, cluster);
    let outcome = match timeout(config.dial_timeout, greeting).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let limit = config.dial_timeout;
            Err(DialFailure::Passing(format!(
                "no greeting within {limit:?}"
            )))
        }
    };
    (address, outcome)
}

async fn greet(
    address: &str,
    cluster: Option<ClusterId>,
) -> Result<(Connection, bool), DialFailure> {
    let passing = |error: std::io::Error| DialFailure::Passing(error.to_string());
    let mut stream = TcpStream::connect(address).await.map_err(passing)?;
    stream.set_nodelay(true).map_err(passing)?;
    stream
        .write_all(&encode_hello(cluster))
        .await
        .map_err(passing)?;

    let (mut codec, mut inbox) = (codec(), BytesMut::new());
    let frame = next_frame(&mut stream, &mut codec, &mut inbox).await?;
    let (peer, primary) = read_welcome(address, &frame, cluster)?;
    let connection = Connection {
        stream,
        inbox,
        codec,
        peer,
    };
    Ok((connection, primary))
}

async fn next_frame(
    stream: &mut TcpStream,
    codec: &mut LengthDelimitedCodec,
    inbox: &mut BytesMut,
) -> Result<BytesMut, DialFailure> {
    loop {
        match codec.decode(inbox) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(DialFailure::Lasting(error.to_string())),
        }
        let read = stream.read_buf(inbox).await;
        if read.map_err(|error| DialFailure::Passing(error.to_string()))? == 0 {
            let text = "closed the connection instead of answering".to_owned();
            return Err(DialFailure::Passing(text));
        }
    }
}

/// Asks a node that is not the primary for its address, with a look-up of nothing that it refuses.
async fn ask_for_primary(mut node: Connection) -> Option<String> {
    let question = Frame {
        kind: FrameKind::LookupAccounts,
        outcome: Outcome::Done,
        request: 1,
        deadline_ms: 0,
        count: 0,
        body: &[],
    };
    let mut bytes = Vec::new();
    question.encode(&mut bytes);
    node.stream.write_all(&bytes).await.ok()?;
    let answer = next_frame(&mut node.stream, &mut node.codec, &mut node.inbox).await;
    let answer = answer.ok()?;
    let answer = Frame::decode(&answer).ok()?;
    match answer.outcome {
        Outcome::NotPrimary => primary_named_by(std::str::from_utf8(answer.body).ok()?),
        _ => None,
    }
}

/// The address in the text of a `NotPrimary`, if it names one.
pub(crate) fn primary_named_by(text: &str) -> Option<String> {
    let is_named = (1..=ADDRESS_BYTES_MAX).contains(&text.len());
    is_named.then(|| text.to_owned())
}

fn encode_hello(cluster: Option<ClusterId>) -> Vec<u8> {
    let hello = HelloBody {
        cluster: cluster.unwrap_or_default().get().into(),
        version_min: CLIENT_VERSION_MIN.into(),
        version_max: CLIENT_VERSION.into(),
        reserved: 0.into(),
    };
    let frame = Frame {
        kind: FrameKind::Hello,
        outcome: Outcome::Done,
        request: 0,
        deadline_ms: 0,
        count: 1,
        body: hello.as_bytes(),
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn read_welcome(
    address: &str,
    bytes: &[u8],
    cluster: Option<ClusterId>,
) -> Result<(Primary, bool), DialFailure> {
    let lasting = DialFailure::Lasting;
    let frame = Frame::decode(bytes).map_err(|error| lasting(error.to_string()))?;
    let text = String::from_utf8_lossy(frame.body);
    match frame.outcome {
        Outcome::Done => {}
        Outcome::Malformed => return Err(lasting(format!("refused the greeting: {text}"))),
        Outcome::NotPrimary => return Err(DialFailure::Passing(format!("not primary: {text}"))),
        other => return Err(DialFailure::Passing(format!("{other:?}: {text}"))),
    }
    if frame.kind != FrameKind::Welcome {
        return Err(lasting(format!("greets with a {:?} frame", frame.kind)));
    }
    frame
        .check_request()
        .map_err(|error| lasting(error.to_string()))?;
    let welcome = WelcomeBody::read_from_bytes(frame.body)
        .map_err(|_| lasting(format!("greets with {} rows, not one", frame.count)))?;
    let found = ClusterId::new(welcome.cluster.get());
    if cluster.is_some_and(|meant| meant != found) {
        let meant = cluster.unwrap_or_default();
        return Err(lasting(format!("belongs to cluster {found}, not {meant}")));
    }
    let peer = Primary {
        address: address.to_owned(),
        cluster: found,
        node: NodeId::new(welcome.node.get()),
        epoch: Epoch::new(welcome.epoch.get()),
        version: welcome.agreed_version().min(CLIENT_VERSION),
    };
    Ok((peer, welcome.primary == 1))
}
