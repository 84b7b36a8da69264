//! What a sender is told and what it asks for.

use kanjo_format::replication::{Frame, RefusalCode, SeedFile};
use kanjo_format::{Digest, Epoch, Incarnation, Lsn, NodeId, OpeningId, Tail};

use crate::gate::ReadToken;
use crate::{Identity, LocalLog, Member};

/// What a sender starts from: a reign whose `EpochStart` was appended.
#[derive(Clone, Debug)]
pub struct SenderStart {
    /// This node.
    pub identity: Identity,
    /// The reign's epoch.
    pub epoch: Epoch,
    /// The reign's opening.
    pub opening: OpeningId,
    /// The own log; its history ends with `epoch`. `confirmed` is the committed lsn.
    pub log: LocalLog,
    /// What the own disk has of it.
    pub durable: Lsn,
    /// The gate's set from the start; which of them the replica is, if any, shows when it greets.
    pub members: Vec<Member>,
    /// Nanoseconds between pings.
    pub ping_every_ns: u64,
    /// Nanoseconds without any frame after which the connection is given up.
    pub silent_after_ns: u64,
}

/// What a sender is told. `now_ns` is any clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A connection to the replica stands.
    Connected {
        /// Now.
        now_ns: u64,
    },
    /// A frame arrived on it.
    Frame {
        /// Now.
        now_ns: u64,
        /// The frame.
        frame: &'a Frame<'a>,
    },
    /// The connection ended. Members stay members: commits stall.
    Closed,
    /// A batch was appended to the own log.
    Appended {
        /// The log's end.
        tail: Tail,
    },
    /// The own disk has everything below `lsn`.
    Synced {
        /// The end of a batch.
        lsn: Lsn,
    },
    /// The own log holds this tail's chain at its lsn, or not: answers [`Action::CheckPlace`].
    PlaceChecked {
        /// Whether it does.
        holds: bool,
    },
    /// One batch of what [`Action::SendBatches`] asked for was sent.
    Sent {
        /// The log's end behind that batch.
        tail: Tail,
    },
    /// [`Action::SendBatches`] is done; less than asked is fine, at least one batch if any.
    SendDone,
    /// [`Action::SendChunk`] is done.
    ChunkSent {
        /// Offset behind the chunk.
        next_offset: u64,
        /// Bytes of the whole file.
        total_bytes: u64,
        /// The log's end behind this sealed segment; of a checkpoint its own tail.
        end: Tail,
    },
    /// The file of [`Action::SendChunk`] cannot be sent; batches are sent instead.
    FileGone,
    /// Everything below `lsn` lies in sealed segments.
    SealedTo {
        /// A segment boundary.
        lsn: Lsn,
    },
    /// The newest checkpoint is of this lsn.
    CheckpointAt {
        /// Its lsn.
        lsn: Lsn,
    },
    /// The gate's committed lsn moved, or it is time to say it again.
    Committed {
        /// The committed lsn.
        lsn: Lsn,
        /// Digest exactly there, if it is known.
        digest: Option<Digest>,
    },
    /// A read arrived: exchange this token.
    ReadCheck {
        /// From the gate.
        token: ReadToken,
    },
    /// After [`Action::CaughtUp`] the node let every commit wait for this replica
    /// (`CommitGate::add_member`), appended the `SetChange` that says so, and stored it in both
    /// slots: protection `Protected`, this member. The sender asks for the durable mark once the
    /// replica has everything up to `through`.
    ///
    /// ORDER: gate, record, control file, then mark. A primary that served alone and restarts
    /// while the replica is marked must not go on alone by its old word; and one that is
    /// replaced must find in the new log where it ceased to answer alone.
    Joined {
        /// End of the `SetChange` batch; everything committed before lies below.
        through: Lsn,
    },
    /// The node wants to go on without this replica: have its mark cleared.
    ClearMark,
    /// No commit waits for this member any more, whoever it is: said to every session. If it is
    /// this one's replica its mark is cleared, now or when it comes back.
    Dropped {
        /// The former member.
        member: Member,
    },
    /// Time passed.
    Tick {
        /// Now.
        now_ns: u64,
    },
}

/// What a sender asks for. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this frame.
    Send(Frame<'static>),
    /// Does the own log have this chain at this lsn (`LogReader::chain_at`)? Say `PlaceChecked`.
    CheckPlace {
        /// The replica's tail.
        tail: Tail,
    },
    /// Pack and send batches from `from` on, those that begin within `bytes_max` log bytes, from
    /// the log or from what was just packed; say `Sent` for each, then `SendDone` when the
    /// connection takes more.
    SendBatches {
        /// The first one's lsn.
        from: Lsn,
        /// Log bytes that the window still takes.
        bytes_max: u64,
    },
    /// Send a `Chunk` frame of the file from `offset`, at most `FILE_CHUNK_BYTES`; say
    /// `ChunkSent` when the connection takes more, or `FileGone`.
    SendChunk {
        /// Which file.
        file: SeedFile,
        /// From where.
        offset: u64,
    },
    /// The replica's disk has everything up to `tail`, checked against the own log: tell the
    /// gate.
    Acked {
        /// The replica.
        member: Member,
        /// What it acked.
        tail: Tail,
    },
    /// Everything that it may get was sent, and all but 8 MiB of it acked. If it is to be a member, add it to the gate
    /// now, store that, then say `Joined`.
    CaughtUp {
        /// The replica.
        member: Member,
        /// What it has acked.
        acked: Lsn,
    },
    /// The durable mark is set: let the gate be `Protected`. Said again in each session; the
    /// second time it changes nothing.
    InSync {
        /// The replica.
        member: Member,
        /// Where the mark was set.
        lsn: Lsn,
    },
    /// The durable mark is cleared, after `ClearMark`: the gate may go on without it.
    MarkCleared {
        /// The replica.
        member: Member,
    },
    /// A read exchange ended: tell the gate.
    ReadOk {
        /// The replica.
        member: Member,
        /// The token.
        token: ReadToken,
    },
    /// The replica's state at an lsn, to be compared with the own.
    PeerApplied {
        /// Where.
        lsn: Lsn,
        /// Its digest.
        digest: Digest,
    },
    /// A ping came back.
    PeerStatus {
        /// Round trip.
        round_trip_ns: u64,
        /// Durable there.
        durable: Lsn,
        /// Applied there.
        applied: Lsn,
        /// Whether a sync is running there.
        syncing: bool,
    },
    /// A higher epoch was granted: stop committing for good, drop the memory, be a replica.
    Fenced {
        /// The higher epoch.
        epoch: Epoch,
    },
    /// Close the connection; connect again later.
    Close(CloseReason),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// Nothing was heard for too long.
    #[error("nothing heard from the replica for {0} ns")]
    Silent(u64),
    /// A frame that has no place at this point.
    #[error("the replica sent a frame out of turn")]
    Dialogue,
    /// The peer does not belong to this reign.
    #[error("the peer does not belong here: {0}")]
    Peer(String),
    /// The replica refused.
    #[error("the replica refused ({code:?}): {text}")]
    Refused {
        /// Its code.
        code: RefusalCode,
        /// Its words.
        text: String,
    },
    /// The replica acked or follows from what the own log does not have.
    #[error("node {node} ({incarnation}) has {found}, which is not in this log")]
    Diverged {
        /// The replica.
        node: NodeId,
        /// Its directory.
        incarnation: Incarnation,
        /// What it has.
        found: Tail,
    },
    /// The replica lacks what it acked: a disk image was restored.
    #[error(
        "node {} ({}) acked lsn {acked} and has less now: its directory is older than it was and counts as wiped; keep it aside, format a new one, and let this primary go on alone until it is in sync",
        member.node, member.incarnation
    )]
    OlderThanItWas {
        /// The replica.
        member: Member,
        /// What it once acked.
        acked: Lsn,
    },
}
