//! Every bound of the system, in one place.

/// Batches start on multiples of this, so acked bytes never share a sector with a write in flight.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes of one batch header.
pub const BATCH_HEADER_BYTES: usize = 128;
/// Most payload bytes of one batch.
pub const BATCH_PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most records of one batch.
pub const BATCH_RECORDS_MAX: usize = 8_192;
/// Smallest segment that a cluster can be formatted with; it holds at least one full batch.
pub const SEGMENT_BYTES_MIN: u64 = 2 << 20;
/// Largest segment that a cluster can be formatted with.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Segment size unless formatted otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Most events of one client request: what fits into a message of 1 MiB beside its header.
pub const REQUEST_EVENTS_MAX: usize = 8_189;
/// Most bytes of one client frame, its header included.
pub const CLIENT_FRAME_BYTES_MAX: usize = (1 << 20) + 4096;
/// Most bytes of one replication frame, its header included.
pub const REPLICATION_FRAME_BYTES_MAX: usize = (1 << 20) + 64 * 1024;
/// Most client connections of one node.
pub const CLIENT_CONNECTIONS_MAX: usize = 4_096;
/// Most requests that one connection may have outstanding.
pub const CONNECTION_REQUESTS_MAX: usize = 1_024;
/// Most bytes of requests that a node holds unanswered, over all connections.
pub const QUEUED_REQUEST_BYTES_MAX: usize = 256 << 20;
/// Most queries that a node has under way or waiting, feeds that wait for something new included.
pub const QUERIES_MAX: usize = 1_024;
/// Most bytes of batches sent to a replica and not yet acked.
pub const SEND_WINDOW_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of committed log that a replica may have yet to apply before it stops acking.
pub const APPLY_LAG_BYTES_MAX: u64 = 256 << 20;
/// Most members of an in-sync set that a reign record can name.
pub const SET_MEMBERS_MAX: usize = 4;
/// Most epochs that one handshake can carry.
pub const EPOCH_HISTORY_MAX: usize = 4_096;
/// Most bytes of an operator's reason.
pub const REASON_BYTES_MAX: usize = 128;
/// Most accounts of one ledger store; the dense number is a `u32`.
pub const ACCOUNTS_MAX: usize = u32::MAX as usize;
/// Bytes of one chunk of a file that is sent whole (checkpoint, sealed segment).
pub const FILE_CHUNK_BYTES: usize = 256 << 10;
/// Most bytes that one block of a sealed segment may hold before compression.
pub const SEALED_BLOCK_BYTES_MAX: usize = 2 << 20;
/// Most bytes of a client address that a handshake carries.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Most bytes of the text that says why a replication session was refused.
pub const REFUSAL_BYTES_MAX: usize = 512;
/// Most bytes of pages that a node holds until they may be answered; then queries are refused.
pub const HELD_PAGE_BYTES_MAX: usize = 256 << 20;
/// Most bytes of one frame between voters, and from a server to a voter.
pub const REGISTER_FRAME_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the first frame of a connection to a voter, before it is known who calls.
pub const REGISTER_HELLO_BYTES_MAX: usize = 4 << 10;
/// Most connections to one voter at once.
pub const REGISTER_CONNECTIONS_MAX: usize = 128;
/// Most questions that one connection to a voter may have outstanding.
pub const REGISTER_QUESTIONS_MAX: usize = 32;
/// Most bytes of one change of the register, as it stands in a voter's file.
pub const REGISTER_COMMAND_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a voter's file.
pub const REGISTER_FILE_BYTES_MAX: usize = 8 << 20;
/// Most replaced voters that a register remembers, to refuse them; the oldest are forgotten.
pub const REGISTER_REPLACED_MAX: usize = 256;
