//! One voter of a site's register: a replicated record on `openraft`, kept by the site's servers
//! and its witness.
//!
//! ```text
//! handle    the thread, and the port by which a server asks
//! setup, machine, file, store    who votes, what is kept, and how it gets to the disk
//! wire, link, network, server    what is said between voters and by servers, and how
//! pace      heartbeats and elections          bootstrap   the first start, and who comes later
//! hearing, governor    which servers live, and who is nominated
//! sight                whether the other site is heard
//! asking, report       questions and their answers; the view
//! ```

mod asking;
mod beats;
mod bootstrap;
mod contacts;
mod file;
mod governor;
pub(crate) mod handle;
mod hearing;
mod join;
mod link;
mod machine;
mod network;
mod pace;
mod report;
mod server;
mod setup;
mod sight;
mod store;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kanjo_format::NodeId;
use openraft::ServerState;
use tokio::sync::watch;

pub use handle::Voter;
pub use setup::Setup;

use crate::port::View;
use setup::VoterInfo;

/// What the tasks of one voter share.
pub(crate) type Core = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) info: VoterInfo,
    pub(crate) raft: setup::Raft,
    pub(crate) store: store::Store,
    pub(crate) links: Arc<link::Links>,
    pub(crate) contacts: Arc<contacts::Contacts>,
    pub(crate) hearing: hearing::Hearing,
    pub(crate) pulse: pace::Pulse,
    pub(crate) view: watch::Sender<View>,
    /// How often this voter saw the leader change.
    pub(crate) elections: AtomicU64,
    /// Held while who votes is being changed.
    pub(crate) joining: tokio::sync::Mutex<()>,
    /// Turned when the other site's register should be read at once.
    pub(crate) look_over: tokio::sync::Notify,
}

impl Shared {
    /// Whether this voter leads and a majority confirmed it of late.
    pub(crate) fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow();
        let lost_ms = self.setup.lost().as_millis();
        let confirmed = now.millis_since_quorum_ack;
        now.state == ServerState::Leader && confirmed.is_some_and(|ms| u128::from(ms) <= lost_ms)
    }

    /// Who leads, as far as this voter knows; nobody without a majority.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        if self.leads() {
            return Some(self.setup.node);
        }
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow();
        let leader = now.current_leader.filter(|id| *id != self.info.id())?;
        if !self.pulse.leader_within(self.setup.lost()) {
            return None;
        }
        let known = now.membership_config.membership();
        known.get_node(&leader).map(|info| info.node)
    }
}
