//! What a primary says of itself and of its peers.

use std::time::Instant;

use kanjo_format::record::Protection;
use kanjo_format::{Lsn, NodeId};

use kanjo_group::register::Protection as RegisterProtection;

use super::Primary;
use crate::hot::Standing;
use crate::peers::PeerIndex;
use crate::published::{PeerFigures, ShippedFigures};
use crate::status::{CatchingUp, PeerStatus};

impl Primary<'_> {
    pub(crate) fn standing(&self, base: Standing) -> Standing {
        let reign = &self.reign;
        let serving = self.can_serve();
        let protection = match reign.gate.protection() {
            Protection::Protected if self.is_one_site() => RegisterProtection::OneSite.name(),
            protection => protection.name(),
        };
        Standing {
            role: "primary",
            serving,
            why_not_serving: self.why_not_serving().to_owned(),
            committed: reign.gate.committed(),
            protection,
            catching_up: self.catching_up(),
            peers: self
                .peers
                .indices()
                .map(|peer| self.peer_status(peer))
                .collect(),
            switching: reign.switch_stage(),
            ..base
        }
    }

    /// Why new transfers are not answered; empty if they are.
    pub(crate) fn why_not_serving(&self) -> &'static str {
        let in_group = self
            .reign
            .grouped
            .as_ref()
            .and_then(|grouped| grouped.why_not());
        let ended = self
            .reign
            .grouped
            .as_ref()
            .and_then(|grouped| grouped.ended);
        match self.reign.gate.protection() {
            _ if self.can_serve() => "",
            Protection::Waiting if ended.is_some() => ended.unwrap_or_default(),
            Protection::Waiting => "no auxiliary follows yet; writes are held until one does",
            _ if !self.reign.gate.is_open() => "the epoch is not committed yet",
            _ if in_group.is_some() => in_group.unwrap_or_default(),
            _ if self.size_keeps_members() => {
                "a member of the in-sync set cannot be reached, and without it the set would have fewer members than set_size_min: nothing is answered until it is back or another one has caught up"
            }
            _ if self.is_one_site() => {
                "the other server of this site cannot be reached, and the other site is not attached: nothing is answered until one of them is; `kanjo protection degraded` lets this server answer alone"
            }
            _ => "the auxiliary cannot be reached; nothing is answered without it",
        }
    }

    /// Whether there are members of the set to go on with, but fewer than `set_size_min`.
    fn size_keeps_members(&self) -> bool {
        let here = self.reign.gate.members().filter(|m| self.streams_to(*m));
        let here = here.count();
        self.reign.grouped.is_some() && here > 0 && here < self.hot.config.set_size_min
    }

    pub(crate) fn protection(&self) -> Protection {
        self.reign.gate.protection()
    }

    /// Whether commits wait for servers of the own site only.
    pub(crate) fn is_one_site(&self) -> bool {
        let grouped = self.reign.grouped.as_ref();
        let one_site = RegisterProtection::OneSite;
        self.reign.gate.protection() == Protection::Protected
            && grouped.is_some_and(|grouped| *grouped.membership.protection() == one_site)
    }

    /// While it answers alone, or nobody because nobody is in the set: the servers that follow,
    /// the one that lacks least first. Commits may wait for one of them already; protected they are once it has everything.
    fn catching_up(&self) -> Vec<CatchingUp> {
        if self.reign.gate.protection() == Protection::Protected {
            return Vec::new();
        }
        let mut found: Vec<CatchingUp> =
            self.peers.indices().filter_map(|p| self.lacks(p)).collect();
        found.sort_by_key(|one| one.lag_bytes);
        found
    }

    /// The same, of whether there is one.
    pub(crate) fn is_catching_up(&self) -> bool {
        let follows = |peer| self.lacks(peer).is_some();
        self.reign.gate.protection() != Protection::Protected && self.peers.indices().any(follows)
    }

    /// What a peer lacks that is connected and takes batches or files.
    fn lacks(&self, peer: PeerIndex) -> Option<CatchingUp> {
        let sender = &self.reign.sessions[peer.get()].sender;
        let (member, _) = sender.peer()?;
        let lag_bytes = sender
            .lag_bytes()
            .filter(|_| self.peers[peer].is_connected())?;
        let node = member.node.get();
        Some(CatchingUp { node, lag_bytes })
    }

    /// Whether commits wait for a server of another site.
    pub(crate) fn waits_for_another_site(&self) -> bool {
        let own = self.hot.site;
        let elsewhere = |peer: PeerIndex| {
            let session = &self.reign.sessions[peer.get()];
            let known = session.sender.peer();
            known.is_some_and(|(member, site)| site != own && session.live == Some(member))
        };
        self.reign.gate.protection() == Protection::Protected && self.peers.indices().any(elsewhere)
    }

    /// When the member that was silent for longest was last heard; `None` if there is none.
    pub(crate) fn member_heard_ns(&self) -> Option<u64> {
        let sessions = self.reign.sessions.iter();
        let live = sessions.filter(|session| session.live.is_some());
        live.map(|session| session.heard_ns).min()
    }

    /// What there is to tell of each peer whose number is known.
    pub(crate) fn peer_figures(&self) -> impl Iterator<Item = PeerFigures> {
        let (tail, now) = (self.hot.store.log.tail().lsn, Instant::now());
        self.peers.indices().filter_map(move |peer| {
            let session = &self.reign.sessions[peer.get()];
            let lag_bytes = session.sender.lag_bytes();
            let acked = Lsn::new(session.status.acked_lsn);
            Some(PeerFigures {
                node: NodeId::new(session.status.node?),
                connected: self.peers[peer].is_connected() && lag_bytes.is_some(),
                shipped: Some(ShippedFigures {
                    acked,
                    lag_bytes: lag_bytes.unwrap_or_else(|| tail.since(acked)),
                    lag: session.lacking.age(now),
                    round_trip_us: session.status.round_trip_us,
                }),
            })
        })
    }

    fn peer_status(&self, peer: PeerIndex) -> PeerStatus {
        let (dialer, session) = (&self.peers[peer], &self.reign.sessions[peer.get()]);
        let lag_bytes = session.sender.lag_bytes();
        let acked = Lsn::new(session.status.acked_lsn);
        let known = session.sender.peer();
        let site = self.peers.site(peer).or(known.map(|(_, site)| site));
        let node = self.peers.node(peer).map(NodeId::get);
        let lag = session.lacking.age(Instant::now()).as_micros();
        PeerStatus {
            node: node.or(session.status.node),
            site: site.map(|site| site.number()),
            member: known.is_some_and(|(member, _)| self.is_member(member)),
            address: dialer.address().to_owned(),
            connected: Some(dialer.is_connected() && lag_bytes.is_some()),
            lag_us: Some(u64::try_from(lag).unwrap_or(u64::MAX)),
            lag_bytes: lag_bytes.unwrap_or_else(|| self.hot.store.log.tail().lsn.since(acked)),
            ..session.status.clone()
        }
    }
}
