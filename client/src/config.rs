//! What a client is told at its start.

use std::time::Duration;

use kanjo_format::ClusterId;

use crate::ClientError;

/// Most addresses that one client dials.
pub(crate) const ADDRESSES_MAX: usize = 64;

/// How a client finds its cluster and how long it waits.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Client ports of the nodes, `host:port`, in any order; which one is primary is found out.
    pub addresses: Vec<String>,
    /// The cluster that is meant. `None` takes whichever answers first and stays with it.
    pub cluster: Option<ClusterId>,
    /// How long a request may take, unless its call says otherwise.
    pub deadline: Duration,
    /// How long [`crate::Client::connect`] looks for a primary.
    pub connect_deadline: Duration,
    /// How long one node may take to accept a connection and greet.
    pub dial_timeout: Duration,
    /// First pause between two fruitless searches for a primary; it doubles each time.
    pub backoff_min: Duration,
    /// Longest pause between two fruitless searches for a primary.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults, with these addresses: 5 s a request, 10 s to connect.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            cluster: None,
            deadline: Duration::from_secs(5),
            connect_deadline: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(100),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ClientError> {
        if self.addresses.is_empty() {
            return Err(ClientError::Config("no address is given".into()));
        }
        if self.addresses.len() > ADDRESSES_MAX {
            let given = self.addresses.len();
            let text = format!("{given} addresses are over the limit of {ADDRESSES_MAX}");
            return Err(ClientError::Config(text));
        }
        Ok(())
    }
}
