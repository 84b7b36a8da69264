//! What two nodes say to each other about the log.
//!
//! Every frame is a `u32` length (of what follows it), a header with the sender's epoch, and a
//! body. The dialer (opener, primary) sends Hello, Seal, Fetch, Follow, then batches; the
//! listener answers. Body layouts are drawn field by field in `rows`.
//!
//! ```text
//! length  u32 of header and body
//! header  0 magic "KNJR"  4 kind  5 flags = 0  6 version (u16)  8 epoch (u64)  16 crc (u32)
//! body    fixed part of the kind, then its lists, texts or bytes
//! ```
//!
//! The checksum covers header and body; of a batch only its fixed part, because the payload has
//! its own checksum under the batch header, which the receiver rebuilds and verifies. The
//! layouts of Hello and Refused never change, so that any two versions can part politely.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::batch::{BatchFields, BatchHeader, BatchPlace};
use crate::control::Role;
use crate::ids::{
    ClusterId, Digest, Epoch, Incarnation, Lsn, NodeId, OpeningId, Site, Tail, Timestamp,
};
use crate::limits::{
    ADDRESS_BYTES_MAX, BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, EPOCH_HISTORY_MAX, PAGE_BYTES,
    REFUSAL_BYTES_MAX, REPLICATION_FRAME_BYTES_MAX,
};

mod codec;
mod decode;
mod encode;
mod rows;
#[cfg(test)]
mod tests;

use rows::{BatchRow, HeaderRow};

/// First bytes of every frame, behind the length.
pub const REPLICATION_MAGIC: [u8; 4] = *b"KNJR";
/// Version of the protocol that this code speaks.
pub const REPLICATION_VERSION: u16 = 1;
/// Oldest version of the protocol that this code speaks.
pub const REPLICATION_VERSION_MIN: u16 = 1;
/// Bytes of the length in front of a frame.
pub const REPLICATION_LENGTH_BYTES: usize = 4;
/// Bytes of a frame's header.
pub const REPLICATION_HEADER_BYTES: usize = size_of::<HeaderRow>();
/// What a batch frame takes beside its body, the length in front included.
pub const BATCH_FRAME_OVERHEAD_BYTES: usize =
    REPLICATION_LENGTH_BYTES + REPLICATION_HEADER_BYTES + size_of::<BatchRow>();

/// An epoch of a log, and where it begins in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: Epoch,
    /// The tail of the log before its first batch.
    pub base: Tail,
}

/// One frame: the sender's epoch and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// A writer's or opener's own epoch; the listener repeats the epoch that it answers.
    /// In Hello, Welcome, Refused and Pong the highest that the sender knows.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body<'a>,
}

/// What a dialer wants from the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// To open an epoch or to ship batches.
    Replicate = 1,
    /// Only pings, on a connection of their own so that no sync delays them.
    Heartbeat = 2,
}

/// What a frame says. D marks what the dialer sends, L what the listener sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// D: who dials, and what it has.
    Hello(Box<Hello>),
    /// L: who answers, and what it has and has granted.
    Welcome(Box<Welcome>),
    /// L: no, and why. The listener closes the connection behind it.
    Refused(Refused),
    /// D: refuse every lower epoch from now on, and tell the tail. The epoch is the header's.
    Seal {
        /// The opening that the epoch belongs to.
        opening: OpeningId,
    },
    /// L: the epoch is granted, durably.
    Granted(Granted),
    /// D: send the log from here to your tail.
    Fetch {
        /// Where the opener's log ends.
        from: Lsn,
    },
    /// L: everything was sent.
    FetchEnd {
        /// The sender's durable tail, behind the last batch.
        tail: Tail,
    },
    /// D: follow this log; cut what is not in it.
    Follow(Follow),
    /// L: following, after any cut.
    Following {
        /// The durable tail; batches are expected from here.
        tail: Tail,
    },
    /// Either way: one batch.
    Batch(WireBatch<'a>),
    /// D: everything below is committed and may be applied.
    Committed {
        /// The committed lsn.
        lsn: Lsn,
        /// Digest of all accounts exactly there, if the sender knows it.
        digest: Option<Digest>,
    },
    /// D: is the header's epoch still the highest that you granted?
    ReadCheck {
        /// Returned as it is.
        token: u64,
    },
    /// L: it is.
    ReadOk {
        /// As asked.
        token: u64,
    },
    /// D: set or clear the durable in-set mark.
    Mark(Mark),
    /// L: the mark is durably so.
    Marked(Mark),
    /// L: synced through this tail. The epoch is the writer's.
    Ack {
        /// The durable tail.
        tail: Tail,
        /// Who acks.
        node: NodeId,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// L: applied through here, with this result.
    Applied {
        /// End of the last applied batch.
        lsn: Lsn,
        /// Digest of all accounts there.
        digest: Digest,
    },
    /// D: are you there?
    Ping {
        /// Returned as it is.
        nonce: u64,
    },
    /// L: yes.
    Pong {
        /// As asked.
        nonce: u64,
        /// Durable here.
        durable: Lsn,
        /// Applied here.
        applied: Lsn,
        /// Whether a sync is running.
        syncing: bool,
    },
    /// D: a piece of a file that is sent whole.
    Chunk {
        /// Which file.
        file: SeedFile,
        /// Bytes of the whole file.
        total_bytes: u64,
        /// Where the piece belongs; pieces come in order.
        offset: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// L: the file is whole, verified and durable.
    Stored {
        /// Which file.
        file: SeedFile,
        /// The durable tail of the log after it.
        tail: Tail,
    },
}

/// A file that is sent whole to seed a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedFile {
    /// The checkpoint of this lsn.
    Checkpoint(Lsn),
    /// The sealed segment of this number.
    Segment(u64),
}

/// Who dials, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest protocol version that the dialer speaks.
    pub version_min: u16,
    /// Newest protocol version that the dialer speaks.
    pub version_max: u16,
    /// What the connection is for.
    pub purpose: Purpose,
    /// The dialer's cluster.
    pub cluster: ClusterId,
    /// The dialer.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its cloud.
    pub site: Site,
    /// What its control file says it is.
    pub role: Role,
    /// Segment size of its log.
    pub segment_bytes: u64,
    /// How often its directory was opened.
    pub start_count: u64,
    /// The highest epoch that it knows of.
    pub highest_epoch: Epoch,
    /// Its opening, once it has one.
    pub opening: Option<OpeningId>,
    /// Where its durable log ends.
    pub tail: Tail,
    /// Epochs of its log, oldest first; only the newest [`EPOCH_HISTORY_MAX`] are sent.
    pub history: Vec<EpochEntry>,
    /// Where clients reach it; may be empty.
    pub client_address: String,
}

/// Who answers, and what it has and has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u16,
    /// The listener's cluster.
    pub cluster: ClusterId,
    /// The listener.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its cloud.
    pub site: Site,
    /// What its control file says it is.
    pub role: Role,
    /// Segment size of its log.
    pub segment_bytes: u64,
    /// How often its directory was opened.
    pub start_count: u64,
    /// The highest epoch that it ever granted.
    pub granted_epoch: Epoch,
    /// To which opening.
    pub granted_opening: OpeningId,
    /// Where its durable log ends.
    pub tail: Tail,
    /// What it knows to be committed.
    pub confirmed: Lsn,
    /// Its durable in-set mark.
    pub in_sync: bool,
    /// Where the mark was set.
    pub in_sync_lsn: Lsn,
    /// Its log was cut above its mark and nobody vouched for the end yet.
    pub uncertain: bool,
    /// It waits for an operator's decision about a divergent tail.
    pub awaiting_operator: bool,
    /// Epochs of its log, oldest first; only the newest [`EPOCH_HISTORY_MAX`] are sent.
    pub history: Vec<EpochEntry>,
    /// Where clients reach it; may be empty.
    pub client_address: String,
}

/// A grant, and what the granter had at that moment; nothing lower is accepted after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The opening that it was granted to.
    pub opening: OpeningId,
    /// The granter's durable tail.
    pub tail: Tail,
    /// What it knows to be committed.
    pub confirmed: Lsn,
    /// Its durable in-set mark.
    pub in_sync: bool,
    /// Where the mark was set.
    pub in_sync_lsn: Lsn,
    /// Its log was cut above its mark and nobody vouched for the end yet.
    pub uncertain: bool,
}

/// The log that is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The opening of the writer's epoch.
    pub opening: OpeningId,
    /// The writer's tail.
    pub tail: Tail,
    /// What is committed.
    pub committed: Lsn,
    /// Epochs of the writer's log, its own included, oldest first.
    pub history: Vec<EpochEntry>,
}

/// The in-set mark, or the wish for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Counts the wishes of one connection; an answer repeats it, an old one is ignored.
    pub turn: u64,
    /// Whether every commit waits for the replica.
    pub in_sync: bool,
    /// Everything below was committed when the mark was asked for.
    pub lsn: Lsn,
}

/// Why a listener says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalCode {
    /// A higher epoch was granted: the sender is fenced.
    LowerEpoch = 1,
    /// That epoch was granted to another opening.
    OtherOpening = 2,
    /// An epoch that was not granted here, or a site that may not open it.
    NotGranted = 3,
    /// No version that both speak.
    Version = 4,
    /// Another cluster, or the listener's own data directory.
    Cluster = 5,
    /// Segments of another size.
    SegmentBytes = 6,
    /// The listener's log ends differently, and its node may have answered for what would be
    /// cut: an operator decides.
    DivergentAnswered = 7,
    /// The two histories cannot be compared, or disagree where they must not.
    History = 8,
    /// A frame that has no place at this point of the dialogue.
    Dialogue = 9,
    /// The listener cannot go on: its disk failed, or it is stopping.
    Unable = 10,
}

/// No, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub code: RefusalCode,
    /// The highest epoch that the listener ever granted.
    pub granted_epoch: Epoch,
    /// To which opening.
    pub granted_opening: OpeningId,
    /// The same for people.
    pub text: String,
}

/// How a batch's payload travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// As it is.
    Raw = 0,
    /// One `zstd` frame.
    Zstd = 1,
    /// One `zstd` frame over dictionary version 1.
    ZstdDictionary1 = 2,
}

/// A batch on the wire: what the receiver cannot know by itself, and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireBatch<'a> {
    /// Where it stands.
    pub lsn: Lsn,
    /// Epoch of its writer; lower than the frame's where old batches are caught up.
    pub epoch: Epoch,
    /// The header's flags.
    pub flags: u16,
    /// Bytes of the payload, unpacked.
    pub payload_bytes: u32,
    /// Records in the payload.
    pub record_count: u32,
    /// Time of the first record.
    pub timestamp: Timestamp,
    /// The committed lsn that its writer knew.
    pub confirmed: Lsn,
    /// The payload's checksum.
    pub payload_crc: u32,
    /// The header's checksum; it covers the chain before, which is not sent.
    pub header_crc: u32,
    /// How `body` is packed.
    pub encoding: Encoding,
    /// The payload as it travels.
    pub body: &'a [u8],
}

/// Why bytes are not a frame of this protocol. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header or its fixed part.
    #[error("a replication frame of {0} bytes is too short for what it says it is")]
    Short(usize),
    /// Longer than the limit.
    #[error("a frame of {0} bytes is over the limit of {REPLICATION_FRAME_BYTES_MAX}")]
    Long(usize),
    /// Another protocol.
    #[error("not a Kanjo replication frame: it starts with {0:02x?}")]
    Magic([u8; 4]),
    /// Damaged on its way.
    #[error("frame checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// As sent.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A version that this code does not speak.
    #[error(
        "replication version {0} is not spoken here, only {REPLICATION_VERSION_MIN} to {REPLICATION_VERSION}"
    )]
    Version(u16),
    /// A kind that this version does not know.
    #[error("replication frame kind {0} is unknown: use a newer kanjo")]
    Kind(u8),
    /// A field with a value that it cannot have.
    #[error("replication frame field {field} is {value}, which it cannot be")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// More or fewer bytes than the lists and texts take.
    #[error("replication frame of kind {kind} has {bytes} bytes that do not fit what it says")]
    Size {
        /// Number of the kind.
        kind: u8,
        /// Bytes of the body.
        bytes: usize,
    },
}

/// Why a batch that arrived is not the one that belongs in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// Another position.
    #[error("batch at lsn {found} arrived where lsn {expected} is next")]
    Place {
        /// The batch's.
        found: Lsn,
        /// Where the log ends.
        expected: Lsn,
    },
    /// The epoch is lower than that of the batch before.
    #[error("batch at lsn {lsn} is of epoch {found}, lower than {before} before it")]
    EpochFell {
        /// Where.
        lsn: Lsn,
        /// The batch's.
        found: Epoch,
        /// The one before.
        before: Epoch,
    },
    /// The payload is not the one that its writer appended.
    #[error("batch at lsn {lsn}: payload checksum is {found:08x}, its bytes give {computed:08x}")]
    Payload {
        /// Where.
        lsn: Lsn,
        /// As sent.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// The header does not come out the same: the batch continues another history.
    #[error("batch at lsn {lsn} continues another history than the one that ends here")]
    History {
        /// Where.
        lsn: Lsn,
    },
}

impl<'a> WireBatch<'a> {
    /// A batch's wire form.
    pub fn new(header: &BatchHeader, encoding: Encoding, body: &'a [u8]) -> Self {
        Self {
            lsn: header.lsn(),
            epoch: header.epoch(),
            flags: header.flags(),
            payload_bytes: header.payload_bytes() as u32,
            record_count: header.record_count(),
            timestamp: header.timestamp(),
            confirmed: header.confirmed(),
            payload_crc: header.payload_crc(),
            header_crc: header.header_crc(),
            encoding,
            body,
        }
    }

    /// Checks that the batch may stand in `place`, before anything is unpacked.
    pub fn check_place(&self, place: &BatchPlace) -> Result<(), RebuildError> {
        let lsn = self.lsn;
        if lsn != place.lsn {
            return Err(RebuildError::Place {
                found: lsn,
                expected: place.lsn,
            });
        }
        if self.epoch < place.epoch {
            return Err(RebuildError::EpochFell {
                lsn,
                found: self.epoch,
                before: place.epoch,
            });
        }
        Ok(())
    }

    /// The exact header that the writer appended, if the batch with this unpacked payload
    /// belongs in `place`. The header checksum covers the chain before, so a batch of another
    /// history does not pass.
    pub fn rebuild(&self, place: &BatchPlace, payload: &[u8]) -> Result<BatchHeader, RebuildError> {
        self.check_place(place)?;
        let lsn = self.lsn;
        if payload.len() > BATCH_PAYLOAD_BYTES_MAX
            || self.record_count as usize > BATCH_RECORDS_MAX
            || !lsn.get().is_multiple_of(PAGE_BYTES)
        {
            return Err(RebuildError::History { lsn });
        }
        let fields = BatchFields {
            cluster: place.cluster,
            epoch: self.epoch,
            lsn,
            flags: self.flags,
            record_count: self.record_count,
            timestamp: self.timestamp,
            confirmed: self.confirmed,
            prev_chain: place.chain,
        };
        let header = BatchHeader::build(&fields, payload);
        if header.payload_crc() != self.payload_crc {
            return Err(RebuildError::Payload {
                lsn,
                found: self.payload_crc,
                computed: header.payload_crc(),
            });
        }
        if header.header_crc() != self.header_crc {
            return Err(RebuildError::History { lsn });
        }
        Ok(header)
    }
}
