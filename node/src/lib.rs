//! The server: the only place where log, ledger and shipping meet.
//!
//! ```text
//! main thread  admin and http ports, first frame of replication connections, heartbeats
//! hot thread   client port, execution, append, shipping or following, replies
//! sync thread  one sync of the log at a time
//! job threads  segments ahead and marks; sealing, the index and checkpoints
//! ```
//!
//! The hot thread owns all state; the others get values and give values back. It must never
//! answer what is not committed, nor serve in an epoch that it has not opened.
#![forbid(unsafe_code)]

pub mod admin;
#[cfg(test)]
mod caller;
mod clock;
mod config;
mod dial;
mod drill;
mod error;
mod following;
mod front;
mod group;
mod history;
mod hot;
mod http;
mod indexing;
mod link;
mod metrics;
mod node;
mod opening;
mod operator;
mod peers;
mod promotion;
mod published;
mod quarantine;
mod query;
mod reign;
mod replay;
mod restore;
mod seed_files;
mod server;
mod sessions;
mod spells;
pub mod status;
mod store;
mod telling;
mod threads;
mod waking;

pub use config::{AutoFailover, Config, Device};
pub use error::NodeError;
pub use group::FenceFile;
pub use peers::PeerAddress;
pub use promotion::promote_stopped;
pub use server::run;
