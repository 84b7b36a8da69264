//! What every opener says first, and with whom it goes on talking.

use kanjo_format::control::{Control, Role};
use kanjo_format::replication::{
    Body, Hello, Purpose, REPLICATION_VERSION, REPLICATION_VERSION_MIN, Welcome,
};
use kanjo_format::{Epoch, OpeningId};

use crate::{Identity, LocalLog};

impl Identity {
    /// Who the node of this control file is.
    pub(crate) fn new(control: &Control, client_address: String) -> Self {
        Self {
            cluster: control.cluster,
            node: control.node,
            incarnation: control.incarnation,
            site: control.site,
            segment_bytes: control.segment_bytes,
            start_count: control.start_count,
            client_address,
        }
    }

    /// The first frame of a dialogue.
    pub(crate) fn hello(
        &self,
        role: Role,
        highest_epoch: Epoch,
        opening: Option<OpeningId>,
        log: &LocalLog,
    ) -> Body<'static> {
        Body::Hello(Box::new(Hello {
            version_min: REPLICATION_VERSION_MIN,
            version_max: REPLICATION_VERSION,
            purpose: Purpose::Replicate,
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            site: self.site,
            role,
            segment_bytes: self.segment_bytes,
            start_count: self.start_count,
            highest_epoch,
            opening,
            tail: log.tail,
            history: log.history.clone(),
            client_address: self.client_address.clone(),
        }))
    }

    /// Whether that peer can be of this cluster at all.
    pub(crate) fn check_peer(&self, welcome: &Welcome) -> Result<(), String> {
        if welcome.cluster != self.cluster {
            return Err(format!("it is of cluster {}", welcome.cluster));
        }
        if welcome.incarnation == self.incarnation || welcome.node == self.node {
            return Err("it is this node itself".to_owned());
        }
        if welcome.segment_bytes != self.segment_bytes {
            return Err(format!(
                "its segments have {} bytes, these {}",
                welcome.segment_bytes, self.segment_bytes
            ));
        }
        Ok(())
    }
}
