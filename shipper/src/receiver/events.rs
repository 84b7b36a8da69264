//! What a receiver is told and what it asks for.

use kanjo_format::control::Role;
use kanjo_format::replication::{Frame, SeedFile};
use kanjo_format::{BatchHeader, Digest, Epoch, Lsn, OpeningId, Tail};

use crate::{Identity, LocalLog};

/// One accepted connection, numbered by the node; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What a receiver starts from: the control file and the recovered log.
#[derive(Clone, Debug)]
pub struct ReceiverStart {
    /// This node.
    pub identity: Identity,
    /// What the control file says it is.
    pub role: Role,
    /// The highest epoch ever granted here.
    pub granted_epoch: Epoch,
    /// To which opening.
    pub granted_opening: OpeningId,
    /// The durable in-set mark.
    pub in_sync: bool,
    /// Where it was set.
    pub in_sync_lsn: Lsn,
    /// The log was cut above its mark, and nobody vouched for its end yet.
    pub uncertain: bool,
    /// An operator has to decide about a divergent tail first.
    pub awaiting_operator: bool,
    /// The recovered log, all of it synced.
    pub log: LocalLog,
    /// What the ledger has applied.
    pub applied: Lsn,
}

/// What a receiver is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A frame arrived on a connection.
    Frame {
        /// Which.
        session: SessionId,
        /// The frame.
        frame: &'a Frame<'a>,
    },
    /// A connection ended.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// No further frame is at hand: sync what has come.
    ReadDone,
    /// [`Action::Append`] is done; told before the next frame.
    Appended {
        /// The log's end.
        tail: Tail,
    },
    /// [`Action::Sync`] is done: the disk has everything up to the batch boundary `lsn`.
    Synced {
        /// How far.
        lsn: Lsn,
    },
    /// [`Action::PersistGrant`] of this epoch is durable in both slots.
    GrantPersisted {
        /// The epoch.
        epoch: Epoch,
    },
    /// The oldest outstanding [`Action::PersistMark`] is durable in both slots.
    MarkPersisted,
    /// [`Action::Cut`] is done, or the log does not hold the named chain there.
    Cut {
        /// The log after the cut, or `None` if nothing was cut.
        log: Option<&'a LocalLog>,
    },
    /// [`Action::SendLog`] is done through here; told when the connection takes more.
    LogSent {
        /// Which connection.
        session: SessionId,
        /// Through where.
        lsn: Lsn,
    },
    /// The file of [`Action::InstallFile`] is verified and durable.
    FileStored {
        /// The log's durable end; unchanged by a checkpoint.
        tail: Tail,
    },
    /// The ledger applied everything below `lsn`.
    Applied {
        /// How far.
        lsn: Lsn,
        /// Digest there.
        digest: Digest,
    },
    /// A reign that served alone was found in the log (see [`LocalLog::alone_to`]).
    AloneTo {
        /// Its end so far.
        lsn: Lsn,
    },
    /// As primary: the own durable log moved (told before a Hello or Seal is, at least). After
    /// [`Action::StepDown`]: the log is at rest, all of it synced, and ends here.
    LogMoved {
        /// The log.
        log: &'a LocalLog,
    },
}

/// What a receiver asks for. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this frame on that connection.
    Send {
        /// Which.
        session: SessionId,
        /// The frame.
        frame: Frame<'static>,
    },
    /// Store in both slots: granted epoch and opening, role replica. Then say `GrantPersisted`.
    PersistGrant {
        /// The epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
    },
    /// A higher epoch was granted to another while this node was primary: stop serving for
    /// good, drop the memory, sync the log, rebuild; then say `LogMoved`.
    StepDown {
        /// The higher epoch.
        epoch: Epoch,
    },
    /// Append this batch; say `Appended` before the next frame.
    Append {
        /// Its header.
        header: Box<BatchHeader>,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// Sync everything that was appended; say `Synced`. At most one is asked for at a time.
    Sync,
    /// Store the mark in both slots; say `MarkPersisted`.
    PersistMark {
        /// Set or cleared.
        in_sync: bool,
        /// Where.
        lsn: Lsn,
    },
    /// Cut the log to `to`, into quarantine, if its chain there is `to.chain`, clearing the
    /// in-set mark in both slots first; rebuild the ledger if it had applied more; say `Cut`.
    Cut {
        /// The new end.
        to: Tail,
    },
    /// The tail may have been answered for: store `awaiting_operator` and show it.
    AwaitOperator {
        /// Where the logs part.
        fork: Tail,
    },
    /// Pack and send batches from `from` up to `to`, some of them at least; say `LogSent`.
    SendLog {
        /// Which connection.
        session: SessionId,
        /// The first one's lsn.
        from: Lsn,
        /// The durable end.
        to: Lsn,
        /// The epoch to pack them under.
        epoch: Epoch,
    },
    /// Write a piece of a file into a temporary one; a piece at offset 0 begins it anew.
    WriteChunk {
        /// Which file.
        file: SeedFile,
        /// Where.
        offset: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// The temporary file is whole: verify and install it durably; say `FileStored`.
    InstallFile {
        /// Which file.
        file: SeedFile,
    },
    /// Everything below `lsn` is committed and on this disk: apply it.
    ApplyTo {
        /// How far.
        lsn: Lsn,
    },
    /// The primary's digest at an lsn: compare it when exactly that is applied.
    CompareDigest {
        /// Where.
        lsn: Lsn,
        /// Its digest.
        digest: Digest,
    },
    /// The writer vouched for the log's end: store that it is no longer uncertain.
    Vouched,
    /// This node follows that session's writer now.
    Following {
        /// Its epoch.
        epoch: Epoch,
        /// The opening.
        opening: OpeningId,
        /// Where clients reach it; may be empty.
        client_address: String,
    },
    /// Close that connection, behind what was sent on it.
    Close {
        /// Which.
        session: SessionId,
        /// Why.
        why: String,
    },
}

/// Why this node's own opening cannot be promised now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// A higher epoch was granted in the meantime.
    #[error("epoch {0} was granted in the meantime")]
    Higher(Epoch),
    /// The in-set mark was cleared, or is being changed.
    #[error("the in-set mark was cleared in the meantime")]
    MarkGone,
}
