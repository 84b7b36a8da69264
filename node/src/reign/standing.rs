//! What a primary says of itself and of its peers.

use kanjo_format::Lsn;
use kanjo_format::record::Protection;

use super::Primary;
use crate::hot::Standing;
use crate::peers::PeerIndex;
use crate::status::PeerStatus;

impl Primary<'_> {
    pub(crate) fn standing(&self, base: Standing) -> Standing {
        let reign = &self.reign;
        let serving = self.can_serve();
        let one_site = reign.grouped.as_ref().is_some_and(|grouped| {
            *grouped.membership.protection() == kanjo_group::register::Protection::OneSite
        });
        let protection = match reign.gate.protection() {
            Protection::Protected if one_site => "ONE SITE ONLY",
            protection => protection.name(),
        };
        let in_group = reign.grouped.as_ref().and_then(|grouped| grouped.why_not());
        let why = match reign.gate.protection() {
            _ if serving => "",
            Protection::Waiting => "no auxiliary follows yet; writes are held until one does",
            _ if !reign.gate.is_open() => "the epoch is not committed yet",
            _ if in_group.is_some() => in_group.unwrap_or_default(),
            _ => "the auxiliary cannot be reached; nothing is answered without it",
        };
        Standing {
            role: "primary",
            serving,
            why_not_serving: why.to_owned(),
            committed: reign.gate.committed(),
            protection,
            peers: self
                .peers
                .indices()
                .map(|peer| self.peer_status(peer))
                .collect(),
            ..base
        }
    }

    fn peer_status(&self, peer: PeerIndex) -> PeerStatus {
        let (dialer, session) = (&self.peers[peer], &self.reign.sessions[peer.get()]);
        let lag_bytes = session.sender.lag_bytes();
        let acked = Lsn::new(session.status.acked_lsn);
        let known = session.sender.peer();
        PeerStatus {
            site: known.map(|(_, site)| site.number()),
            member: known.is_some_and(|(member, _)| self.is_member(member)),
            address: dialer.address().to_owned(),
            connected: dialer.is_connected() && lag_bytes.is_some(),
            lag_bytes: lag_bytes.unwrap_or_else(|| self.hot.store.log.tail().lsn.since(acked)),
            ..session.status.clone()
        }
    }
}
