//! What voters and servers say to each other about the register.
//!
//! ```text
//! frame = length u32 (little-endian), then so many bytes of JSON
//! caller: Hello                  voter: Welcome | Refused, which closes the connection
//! caller: Envelope<Request> …    voter: Envelope<Answer> …, each with its request's number
//! ```

use std::io;

use kanjo_format::limits::{REGISTER_FRAME_BYTES_MAX, REGISTER_HELLO_BYTES_MAX};
use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use openraft::SnapshotMeta;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::port::{Beat, Question, Reply, SiteReport, ThirdQuestion, ThirdReply};
use crate::register::SetMember;
use crate::voter::machine::Machine;
use crate::voter::setup::{Types, Vote, VoterId, VoterInfo};

/// What every first frame begins with.
const PROTOCOL: &str = "kanjo-register";
/// Raised whenever a frame changes its meaning.
const VERSION: u32 = 1;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Raft between voters.
    Raft,
    /// Questions of a server of either site.
    Ask,
    /// Beats of a server of the own site.
    Beat,
    /// Questions of a server to the third site's witness.
    Third,
    /// A voter without state looks for the others.
    Join,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) site: Site,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

impl Caller {
    pub(crate) const fn member(&self) -> SetMember {
        SetMember {
            node: self.node,
            incarnation: self.incarnation,
        }
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: String,
    pub(crate) version: u32,
    pub(crate) cluster: ClusterId,
    /// The site whose register is meant.
    pub(crate) register: Site,
    pub(crate) purpose: Purpose,
    pub(crate) from: Caller,
    /// The directory that is meant, where it matters which one answers.
    pub(crate) to: Option<Incarnation>,
}

impl Hello {
    pub(crate) fn new(cluster: ClusterId, register: Site, purpose: Purpose, from: Caller) -> Self {
        Self {
            protocol: PROTOCOL.to_owned(),
            version: VERSION,
            cluster,
            register,
            purpose,
            from,
            to: None,
        }
    }

    /// Reads a first frame. Another version is refused as such, whatever else it says.
    pub(crate) fn read(frame: serde_json::Value) -> Result<Self, String> {
        if frame["protocol"] != PROTOCOL {
            return Err(format!("{PROTOCOL} is spoken here"));
        }
        if frame["version"] != VERSION {
            let version = &frame["version"];
            return Err(format!(
                "version {VERSION} is spoken here, not {version}: use the same kanjo everywhere"
            ));
        }
        serde_json::from_value(frame).map_err(|error| format!("that is no hello: {error}"))
    }

    /// Whether both sides are of one cluster.
    pub(crate) fn check_cluster(&self, cluster: ClusterId) -> Result<(), String> {
        match self.cluster == cluster {
            true => Ok(()),
            false => Err(format!(
                "this voter is of cluster {cluster}, the caller of {}: groups that were formatted apart never mix",
                self.cluster
            )),
        }
    }

    /// Whether both sides speak of the same.
    pub(crate) fn check(&self, cluster: ClusterId, register: Site) -> Result<(), String> {
        self.check_cluster(cluster)?;
        if self.register != register {
            return Err(format!(
                "this voter keeps site {register}'s register, not site {}'s: the addresses in the cluster file are mixed up",
                self.register
            ));
        }
        Ok(())
    }
}

/// The answer to the first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "greeting", rename_all = "kebab-case")]
pub(crate) enum Greeting {
    /// Go on.
    Welcome { member: SetMember },
    /// The connection ends here.
    Refused {
        why: String,
        /// For ever: the caller's directory was replaced by another one of the same node.
        replaced: bool,
    },
}

/// A request or an answer, with the number that ties them together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) id: u64,
    pub(crate) body: T,
}

/// What is asked after the greeting.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    Append {
        rpc: AppendEntriesRequest<Types>,
    },
    Vote {
        rpc: VoteRequest<VoterId>,
    },
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta<VoterId, VoterInfo>,
        machine: Box<Machine>,
    },
    Ask {
        question: Question,
    },
    Third {
        question: ThirdQuestion,
    },
    Beat {
        beat: Beat,
    },
    /// Who answers, and does it know the register yet?
    Who,
    /// Take this voter in.
    Join {
        voter: VoterInfo,
    },
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    Append {
        rpc: AppendEntriesResponse<VoterId>,
    },
    Vote {
        rpc: VoteResponse<VoterId>,
    },
    Snapshot {
        rpc: SnapshotResponse<VoterId>,
    },
    Reply {
        reply: Reply,
    },
    Third {
        reply: ThirdReply,
    },
    /// Nothing was done: another voter leads, or none.
    NotLeader {
        leader: Option<NodeId>,
        report: Box<SiteReport>,
    },
    Noted,
    Who {
        voter: VoterInfo,
        /// Without state: it has promised nothing and knows nothing.
        blank: bool,
        /// Checksum of its cluster file.
        topology: u32,
        leader: Option<NodeId>,
    },
    Joined,
    /// Nothing was done, or nothing that counts.
    Declined {
        why: String,
    },
}

/// Reads frames; a read that is given up loses nothing.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    stream: R,
    bytes: Vec<u8>,
    bound: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Reads a first frame, which is short, before longer ones are allowed.
    pub(crate) const fn new(stream: R) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            bound: REGISTER_HELLO_BYTES_MAX,
        }
    }

    /// From here on frames of any size are read.
    pub(crate) const fn greeted(&mut self) {
        self.bound = REGISTER_FRAME_BYTES_MAX;
    }

    /// The next frame; `None` where the stream ends between two.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((head, rest)) = self.bytes.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*head) as usize;
                if length > self.bound {
                    let bound = self.bound;
                    return Err(io::Error::other(format!(
                        "a frame of {length} bytes is over the limit of {bound}"
                    )));
                }
                if let Some(body) = rest.get(..length) {
                    let parsed = serde_json::from_slice(body).map_err(io::Error::other);
                    self.bytes.drain(..4 + length);
                    return parsed.map(Some);
                }
            }
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return match self.bytes.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

/// Writes one frame.
pub(crate) async fn send<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &T,
) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, body)?;
    let length = frame.len() - 4;
    if length > REGISTER_FRAME_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes is over the limit of {REGISTER_FRAME_BYTES_MAX}"
        )));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    stream.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_were_formatted_apart_never_mix() {
        let from = Caller {
            site: Site::One,
            node: NodeId::new(1),
            incarnation: Incarnation::new(7),
        };
        let (cluster, site) = (ClusterId::new(1), Site::One);
        let hello = Hello::new(cluster, site, Purpose::Ask, from);
        assert!(hello.check(cluster, site).is_ok());
        assert!(hello.check(ClusterId::new(2), site).is_err());
        assert!(hello.check(cluster, Site::Two).is_err());
    }

    #[test]
    fn another_version_is_refused_as_such() {
        let newer = serde_json::json!({"protocol": PROTOCOL, "version": 2, "purpose": "dance"});
        let refused = Hello::read(newer).unwrap_err();
        assert!(
            refused.contains("version 1 is spoken here, not 2"),
            "{refused}"
        );
        let strange = serde_json::json!({"version": 1});
        assert!(Hello::read(strange).unwrap_err().contains(PROTOCOL));
        let short = serde_json::json!({"protocol": PROTOCOL, "version": 1});
        assert!(Hello::read(short).unwrap_err().contains("no hello"));
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let long = ((REGISTER_HELLO_BYTES_MAX + 1) as u32).to_le_bytes();
        let mut frames = Frames::new(&long[..]);
        let error = frames.next::<Hello>().await.unwrap_err();
        assert!(error.to_string().contains("over the limit"), "{error}");
        let mut garbage = Frames::new(&b"\x02\0\0\0{]"[..]);
        assert!(garbage.next::<Hello>().await.is_err());
        let mut nothing = Frames::new(&b""[..]);
        assert!(nothing.next::<Hello>().await.unwrap().is_none());
    }
}
