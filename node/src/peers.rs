//! The other nodes of the cluster as this one dials them, in the order of its configuration. In a
//! pair there is one.

use std::future::poll_fn;
use std::ops::{Index, IndexMut};
use std::rc::Rc;
use std::task::{Context, Poll};

use kanjo_format::{NodeId, Site};

use crate::dial::{DialEvent, Dialer};
use crate::link::Traffic;

/// Where a peer is, and in a group who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its replication port.
    pub replication: String,
    /// In a group: its number and its cloud.
    pub who: Option<(NodeId, Site)>,
}

/// Which of the peers, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerIndex(usize);

impl PeerIndex {
    /// The only peer of a pair.
    pub(crate) const FIRST: Self = Self(0);

    /// Its place in a list with one entry a peer.
    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// All of `count` peers, in order.
    pub(crate) fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(Self)
    }
}

/// The dialled side of every peer. There is at least one.
pub(crate) struct Peers {
    dialers: Vec<Dialer>,
    /// In a group: number and cloud of each.
    who: Vec<Option<(NodeId, Site)>>,
    /// Who is asked first for an event: whoever had one goes to the end of the line.
    first_in_line: usize,
}

impl Peers {
    /// Nobody is dialled yet.
    pub(crate) fn new(addresses: Vec<PeerAddress>, traffic: &Rc<Traffic>) -> Self {
        assert!(!addresses.is_empty(), "a node has a peer");
        let who = addresses.iter().map(|address| address.who).collect();
        let dialers = addresses
            .into_iter()
            .map(|address| Dialer::new(address.replication, Rc::clone(traffic)))
            .collect();
        Self {
            dialers,
            who,
            first_in_line: 0,
        }
    }

    /// All of them, in order.
    pub(crate) fn indices(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        PeerIndex::all(self.dialers.len())
    }

    /// In a group: which server a peer is.
    pub(crate) fn node(&self, peer: PeerIndex) -> Option<NodeId> {
        self.who[peer.0].map(|(node, _)| node)
    }

    /// In a group: its cloud.
    pub(crate) fn site(&self, peer: PeerIndex) -> Option<Site> {
        self.who[peer.0].map(|(_, site)| site)
    }

    /// In a group: the peer that is this server.
    pub(crate) fn of_node(&self, node: NodeId) -> Option<PeerIndex> {
        self.indices().find(|peer| self.node(*peer) == Some(node))
    }

    /// The only peer of a pair.
    pub(crate) fn first(&mut self) -> &mut Dialer {
        &mut self[PeerIndex::FIRST]
    }

    /// Dials every peer anew.
    pub(crate) fn redial(&mut self) {
        self.dialers.iter_mut().for_each(Dialer::redial);
    }

    /// Wants a connection to every peer.
    pub(crate) fn want(&mut self) {
        self.dialers.iter_mut().for_each(Dialer::want);
    }

    /// Ends all connections; none is wanted any more.
    pub(crate) fn stop(&mut self) {
        self.dialers.iter_mut().for_each(Dialer::stop);
    }

    /// Waits for the next thing to happen with one of them.
    pub(crate) async fn event(&mut self) -> (PeerIndex, DialEvent) {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<(PeerIndex, DialEvent)> {
        let count = self.dialers.len();
        for at in (self.first_in_line..count).chain(0..self.first_in_line) {
            if let Poll::Ready(event) = self.dialers[at].poll_event(context) {
                self.first_in_line = if at + 1 == count { 0 } else { at + 1 };
                return Poll::Ready((PeerIndex(at), event));
            }
        }
        Poll::Pending
    }
}

impl Index<PeerIndex> for Peers {
    type Output = Dialer;

    fn index(&self, peer: PeerIndex) -> &Dialer {
        &self.dialers[peer.0]
    }
}

impl IndexMut<PeerIndex> for Peers {
    fn index_mut(&mut self, peer: PeerIndex) -> &mut Dialer {
        &mut self.dialers[peer.0]
    }
}
