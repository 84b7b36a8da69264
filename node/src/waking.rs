//! What seldom wakes the hot thread, gathered into one place.
//!
//! A commit wakes the hot thread several times, and each time it asks everything that could have
//! happened. All that is seldom is waited for by a task of its own, so that one question is enough
//! for it.

use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use crate::group::{GroupEvent, GroupEvents};
use crate::hot::AdminRequest;
use crate::query::Answered;
use crate::server::Inbound;
use crate::threads::JobDone;

/// Something that happens less often than commits.
pub(crate) enum Seldom {
    /// The node is to stop.
    Shutdown,
    /// A job ended.
    Job(JobDone),
    /// A query was answered.
    Query(Answered),
    /// An operator asks.
    Admin(AdminRequest),
    /// Another node connected.
    Inbound(Inbound),
    /// News of the registers.
    Group(GroupEvent),
}

/// Where it comes from.
pub(crate) struct Sources {
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) jobs: UnboundedReceiver<JobDone>,
    pub(crate) queries: UnboundedReceiver<Answered>,
    pub(crate) admin: Receiver<AdminRequest>,
    pub(crate) inbound: Receiver<Inbound>,
    pub(crate) group: Option<GroupEvents>,
}

impl Sources {
    /// Tells the hot thread, of which this is a task, until that one has ended.
    pub(crate) async fn tell(mut self, hot: UnboundedSender<Seldom>) {
        let mut stopping = false;
        loop {
            let seldom = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    Seldom::Shutdown
                }
                Some(answered) = self.queries.recv() => Seldom::Query(answered),
                Some(done) = self.jobs.recv() => Seldom::Job(done),
                Some(request) = self.admin.recv() => Seldom::Admin(request),
                Some(inbound) = self.inbound.recv() => Seldom::Inbound(inbound),
                Some(event) = next(self.group.as_mut()) => Seldom::Group(event),
                else => return,
            };
            if hot.send(seldom).is_err() {
                return;
            }
        }
    }
}

/// The next news of the registers; none where there are none.
async fn next(group: Option<&mut GroupEvents>) -> Option<GroupEvent> {
    match group {
        Some(group) => Some(group.next().await),
        None => None,
    }
}
