//! What an opening in a group is told and what it asks for.

use kanjo_format::control::Control;
use kanjo_format::replication::Frame;
use kanjo_format::{BatchHeader, Chain, Epoch, Lsn, NodeId, OpeningId, Tail};

use crate::opening::OpenEpoch;
use crate::{ForkError, LocalLog, Member};

/// What an opening in a group starts from.
#[derive(Clone, Debug)]
pub struct GroupOpeningStart {
    /// The control file.
    pub control: Control,
    /// The own durable log.
    pub log: LocalLog,
    /// Where clients reach this node.
    pub client_address: String,
    /// Drawn anew for each opening.
    pub random: u128,
    /// The highest epoch that was read from the register.
    pub register_epoch: Epoch,
    /// Opens the next site term, not the next epoch of the own one.
    pub takes_over: bool,
    /// So long after the claim a member that has not granted counts as not answering.
    pub seal_patience_ns: u64,
    /// Now, by any clock that never goes back.
    pub now_ns: u64,
}

/// What an opening in a group is told. A question to the register is answered once; the next one
/// is asked after that.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// [`Action::Promise`] is durable in both slots; the log ends at `tail`, all of it synced.
    Promised {
        /// The own durable tail.
        tail: Tail,
    },
    /// [`Action::Claim`] was written. The set is the one of that same write.
    Claimed {
        /// Everything that was answered is on the disk of each; empty if nothing ever was.
        set: Vec<Member>,
        /// The epoch before.
        former: Epoch,
    },
    /// The register knows a higher epoch; nothing was written.
    ClaimRefused {
        /// That epoch.
        highest: Epoch,
    },
    /// It may have been written or not.
    ClaimUnknown,
    /// This node is not the one to open any more; nothing was written.
    ClaimLost {
        /// Why.
        why: String,
    },
    /// [`Action::ChangeSet`] was written.
    SetChanged,
    /// Somebody claimed a higher epoch; the set was not changed.
    SetRefused {
        /// That epoch.
        highest: Epoch,
    },
    /// It may have been written or not.
    SetUnknown,
    /// A new connection to that node stands.
    Connected {
        /// Which.
        node: NodeId,
    },
    /// A frame arrived on it.
    Frame {
        /// From whom.
        node: NodeId,
        /// The frame.
        frame: &'a Frame<'a>,
    },
    /// The node cannot be reached now, or its connection ended.
    Unreachable {
        /// Which.
        node: NodeId,
    },
    /// The answer to [`Action::CheckChain`].
    ChainAt {
        /// What the own log has there, if a batch ends there.
        chain: Option<Chain>,
    },
    /// [`Action::Cut`] is done, or nothing was cut because the log does not hold the place.
    Cut {
        /// The log after the cut.
        log: Option<&'a LocalLog>,
    },
    /// [`Action::Append`] is done; told before the next frame.
    Appended {
        /// The log's end.
        tail: Tail,
    },
    /// [`Action::Sync`] is done.
    Synced,
    /// Time passed.
    Tick {
        /// Now.
        now_ns: u64,
    },
}

/// What an opening in a group asks for. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// First `Receiver::grant_here`, then both slots: granted epoch and opening; then sync the
    /// log and say `Promised`.
    Promise {
        /// The epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
    },
    /// Compare-and-set the epoch into the register that holds the authority.
    Claim {
        /// The epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
    },
    /// Compare-and-set the set in that register.
    ChangeSet {
        /// The epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
        /// Who remains.
        set: Vec<Member>,
    },
    /// Connect to that node, anew if there is a connection, after a pause if the last one led
    /// nowhere; say `Connected` or `Unreachable`.
    Dial {
        /// Which.
        node: NodeId,
    },
    /// Send this frame to it.
    Send {
        /// To whom.
        node: NodeId,
        /// The frame.
        frame: Frame<'static>,
    },
    /// Look up the own chain at this lsn; say `ChainAt`.
    CheckChain {
        /// Where.
        lsn: Lsn,
    },
    /// Cut the own log to `to`, into quarantine, if its chain there is `to.chain`; say `Cut`.
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
    /// Nobody of the set whose log can be relied on has answered so far: nothing is opened without
    /// one of them. Said again when others are missing.
    Wait {
        /// Who does not answer.
        missing: Vec<Member>,
    },
    /// The end: open this epoch.
    Open(OpenedGroup),
    /// The end: a higher epoch exists. Be a replica, and keep the epoch as the highest that a peer
    /// granted: the next opening here goes above it.
    Fenced {
        /// That epoch.
        epoch: Epoch,
    },
    /// The end: nothing was opened.
    Stop(StopReason),
}

/// The epoch to open, and the evidence that the one before is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedGroup {
    /// Epoch, base, set without this node.
    pub open: OpenEpoch,
    /// The epoch before.
    pub former: Epoch,
    /// Who granted, each with the tail that it had then.
    pub grants: Vec<(Member, Tail)>,
}

/// Why nothing was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The epochs are used up.
    #[error("no epoch is left for this site")]
    EpochsUsedUp,
    /// Others were faster each time.
    #[error("the register had a higher epoch each of {0} times")]
    Outrun(u32),
    /// This node is not the one to open any more.
    #[error("not opened: {0}")]
    NotChosen(String),
    /// The register says that nothing was ever answered, and this log knows better.
    #[error(
        "the register says that nothing was ever answered, but lsn {confirmed} is known to be committed here: all its voters were wiped, or it is of another time; an operator decides who has everything"
    )]
    RegisterForgot {
        /// What is known to be committed.
        confirmed: Lsn,
    },
    /// The logs of all members were cut after a crash.
    #[error(
        "the logs of all members of the in-sync set were cut after a crash, and nobody vouches for their ends: transfers that were answered may be missing; keep their directories and their quarantine folders, and bring back the directory of a member whose log is whole"
    )]
    Uncertain,
    /// Every member lacks what is known to be committed.
    #[error(
        "the best log of the in-sync set, of node {}, ends at lsn {has}, but lsn {confirmed} is known to be committed: its directory is older than it was; keep it aside and bring another member of the set back",
        member.node
    )]
    MemberOlder {
        /// Who had the best tail.
        member: Member,
        /// Where it ends.
        has: Lsn,
        /// What is known to be committed.
        confirmed: Lsn,
    },
    /// A member's log changed although it had granted.
    #[error(
        "node {} granted with a log up to lsn {had} and came back with another one, up to lsn {has}: its disk lost what it had synced, or its directory was replaced; keep it aside and bring another member of the set back",
        member.node
    )]
    TailGone {
        /// Who.
        member: Member,
        /// Where its log ended.
        had: Lsn,
        /// Where it ends.
        has: Lsn,
    },
    /// The own tail has to be cut, but may have been answered.
    #[error(
        "this log parts from the in-sync set's at {fork}, and transfers above may have been answered; an operator decides"
    )]
    DivergentAnswered {
        /// Where they part.
        fork: Tail,
    },
    /// The logs cannot be compared or are damaged.
    #[error("the logs do not fit together: {0}")]
    Logs(String),
}

impl From<ForkError> for StopReason {
    fn from(error: ForkError) -> Self {
        Self::Logs(error.to_string())
    }
}
