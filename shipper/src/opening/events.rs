//! What an opening is told and what it asks for.

use kanjo_format::record::Protection;
use kanjo_format::replication::Frame;
use kanjo_format::{BatchHeader, Chain, Epoch, Lsn, OpeningId, Tail};

use crate::{ForkError, LocalLog, Member};

/// Which opening is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A primary starts again, with the protection that its control file says.
    Restart {
        /// The operator's word that the former member is gone for good and its directory will
        /// never be promoted; needed when another directory answers in its place.
        member_gone: bool,
    },
    /// The primary goes on alone, by an operator's word.
    Alone {
        /// Also if the auxiliary's mark cannot be cleared because it does not answer.
        unfenced: bool,
    },
    /// A replica takes over, by an operator's word.
    Promote {
        /// Serve alone; otherwise writes are held until an auxiliary follows.
        alone: bool,
        /// Even without the mark or with an uncertain tail: answered transfers may be missing.
        forced: bool,
    },
}

/// What an opening is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The connection that [`Action::Dial`] asked for stands.
    Connected,
    /// A frame arrived on it.
    Frame(&'a Frame<'a>),
    /// The peer cannot be reached now, or the connection ended. Also said at once by a node
    /// that promotes without a peer address.
    Unreachable,
    /// [`Action::Promise`] is durable in both slots; the log ends at `tail`, all of it synced.
    Promised {
        /// The local durable tail.
        tail: Tail,
    },
    /// The answer to [`Action::CheckChain`]: the local chain there, if a batch ends there.
    ChainAt {
        /// What the local log has there.
        chain: Option<Chain>,
    },
    /// [`Action::Cut`] is done, or the log does not hold the named chain there.
    Cut {
        /// The log after the cut, or `None` if it was refused and nothing was cut.
        log: Option<&'a LocalLog>,
    },
    /// [`Action::Append`] is done; told before the next frame.
    Appended {
        /// The log's end.
        tail: Tail,
    },
    /// [`Action::Sync`] is done: everything appended is on disk.
    Synced,
}

/// What an opening asks for. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the peer's replication port (again); say `Connected` or `Unreachable`.
    Dial,
    /// Send this frame on the connection.
    Send(Frame<'static>),
    /// First `Receiver::grant_here`, which cuts off every other sender (if it refuses, drop
    /// this opening and begin a new one); then store in both slots, as one promise: granted
    /// epoch and opening, role primary, mark cleared, and in a promotion protection `Waiting`
    /// and no member; then sync the log, read its tail and say `Promised`.
    Promise {
        /// The epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
        /// For `grant_here`: an unforced promotion needs the mark at that very moment.
        needs_mark: bool,
    },
    /// Look up the local chain at this lsn (`LogReader::chain_at`); say `ChainAt`.
    CheckChain {
        /// Where.
        lsn: Lsn,
    },
    /// Cut the local log to `to`, into quarantine, if its chain there is `to.chain`; say `Cut`.
    Cut {
        /// The new end.
        to: Tail,
    },
    /// Append a fetched batch; say `Appended`.
    Append {
        /// Its header.
        header: Box<BatchHeader>,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// Sync everything that was appended; say `Synced`.
    Sync,
    /// The end: open this epoch. ORDER: protection and member go into both slots before
    /// `EpochStart` is appended, so that a restart never goes on alone by an old word.
    Open(OpenEpoch),
    /// The end: another node holds a higher epoch. Be its replica: listen, do not dial.
    BecomeReplica {
        /// Its epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
    },
    /// Not yet: stay `Resolving`, answer nobody, dial again later and say `Connected` then.
    Wait(Waiting),
    /// The end: an operator has to decide. Nothing was opened.
    Stop(StopReason),
}

/// The epoch to open: write `EpochStart` on `base`, then serve once it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// Its opening.
    pub opening: OpeningId,
    /// The durable tail that it is opened on.
    pub base: Tail,
    /// How commits are protected.
    pub protection: Protection,
    /// The in-sync set; one member if `Protected`, else none.
    pub members: Vec<Member>,
    /// The auxiliary could not be sealed, or answered transfers may be missing.
    pub unfenced: bool,
}

/// Why an opening goes no further for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The in-sync replica has to be asked and does not answer.
    Peer,
    /// The peer waits for an operator's decision about its own tail.
    PeerOperator,
}

/// Why an opening stopped, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The epochs are used up.
    #[error("no epoch is left for this site")]
    EpochsUsedUp,
    /// The peer is of another cluster, this same directory, or another segment size.
    #[error("the peer does not belong here: {0}")]
    Peer(String),
    /// The peer refused for a reason that trying again does not mend.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// The peer recorded more of this directory than it has: an old disk image.
    #[error(
        "this directory is older than it was: the peer granted it epoch {peer}, it knows {here}; wipe it and let it follow"
    )]
    OlderThanItWas {
        /// What the peer recorded.
        peer: Epoch,
        /// What is known here.
        here: Epoch,
    },
    /// Another directory answers where the in-sync member was.
    #[error(
        "commits waited for node {} with incarnation {}, but incarnation {found} answers; if the former directory is gone for good, say so",
        member.node, member.incarnation
    )]
    MemberReplaced {
        /// The former member.
        member: Member,
        /// Who answers now.
        found: kanjo_format::Incarnation,
    },
    /// The in-sync replica lacks what was committed with its ack.
    #[error(
        "the auxiliary's log ends at lsn {has}, but lsn {confirmed} was committed with its ack: its directory is older than it was and counts as wiped; keep it aside, format a new one, and let this node go on alone until that is in sync"
    )]
    MemberOlder {
        /// Where its log ends.
        has: Lsn,
        /// What is known to be committed.
        confirmed: Lsn,
    },
    /// The peer knows committed transfers that this log lacks, and has no mark.
    #[error("the peer knows that lsn {peer} is committed, this log holds only {here} in common")]
    PeerHasMore {
        /// What the peer knows.
        peer: Lsn,
        /// What both have.
        here: Lsn,
    },
    /// The local tail has to be cut, but may have been answered for.
    #[error(
        "this log parts from the in-sync replica's at {fork}, and transfers above may have been answered; an operator decides"
    )]
    DivergentAnswered {
        /// Where they part.
        fork: Tail,
    },
    /// The logs cannot be compared or are damaged.
    #[error("the logs do not fit together: {0}")]
    Logs(String),
    /// Promotion of what is a primary already. Nothing changed.
    #[error("this node is already the primary of epoch {0}")]
    AlreadyPrimary(Epoch),
    /// Only a primary goes on alone; a replica is promoted.
    #[error("this node is a replica: promote it instead")]
    NotPrimary,
    /// Promotion without the mark.
    #[error(
        "this replica is not in the in-sync set: answered transfers may be missing; force it only if the primary's disk is lost"
    )]
    NotInSync,
    /// Promotion with a tail that was cut after a crash.
    #[error(
        "this log was cut after a crash and nobody vouched for its end: answered transfers may be missing"
    )]
    Uncertain,
    /// Promotion of a node that waits for an operator's decision about its own tail.
    #[error("this node waits for a decision about a divergent tail first")]
    AwaitingOperator,
    /// Promotion while the peer has opened or granted a higher epoch.
    #[error("the peer is already at epoch {0}, above what this replica follows")]
    PeerIsAhead(Epoch),
    /// Going alone needs the auxiliary's mark cleared, and it does not answer.
    #[error(
        "the auxiliary does not answer, so its mark cannot be cleared; going on alone unfenced needs an operator's word"
    )]
    AuxiliaryUnreachable,
}

impl From<ForkError> for StopReason {
    fn from(error: ForkError) -> Self {
        Self::Logs(error.to_string())
    }
}
