//! The link between the sites, as far as it can be cut: a relay in front of every address that
//! the other site dials.

use anyhow::Result;
use kanjo_format::Site;
use kanjo_group::Topology;

use crate::relay::{Relay, Way};

/// All relays, with the site that their targets are in.
pub(super) struct Link {
    relays: Vec<(Site, Relay)>,
}

impl Link {
    /// Puts relays between the sites; gives the cluster file as site 1 and as site 2 has it.
    pub(super) fn between(true_addresses: &Topology) -> Result<(Self, [Topology; 2])> {
        let mut relays = Vec::new();
        let mut seen_from = |site: Site| -> Result<Topology> {
            let mut topology = true_addresses.clone();
            let far = site.other();
            let mut relay = |address: &mut String| -> Result<()> {
                let relay = Relay::start(address)?;
                *address = relay.address().to_owned();
                relays.push((far, relay));
                Ok(())
            };
            for server in topology.servers.iter_mut().filter(|s| s.site == far) {
                relay(&mut server.replication)?;
                relay(&mut server.register)?;
            }
            for witness in topology.witnesses.iter_mut().filter(|w| w.site == far) {
                relay(&mut witness.register)?;
            }
            Ok(topology)
        };
        let files = [seen_from(Site::One)?, seen_from(Site::Two)?];
        Ok((Self { relays }, files))
    }

    /// From now on nothing comes from that site to the other one.
    pub(super) fn cut(&self, from: Site) {
        for (target, relay) in &self.relays {
            relay.cut(match *target == from {
                true => Way::Back,
                false => Way::There,
            });
        }
    }

    /// Everything comes through again.
    pub(super) fn heal(&self) {
        for (_, relay) in &self.relays {
            relay.heal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_reaches_itself_directly_and_the_other_one_by_relays() {
        let addresses = super::super::addresses::draw(super::super::Third::Witness).unwrap();
        let (link, files) = Link::between(&addresses).unwrap();
        assert_eq!(link.relays.len(), 2 * (2 * 2 + 1));
        for (site, file) in [Site::One, Site::Two].into_iter().zip(&files) {
            file.check().unwrap();
            for (server, truly) in file.servers.iter().zip(&addresses.servers) {
                let same = server.site == site;
                assert_eq!(server.replication == truly.replication, same);
                assert_eq!(server.register == truly.register, same);
                assert_eq!(server.client, truly.client, "clients are not cut off");
            }
            for (witness, truly) in file.witnesses.iter().zip(&addresses.witnesses) {
                assert_eq!(witness.register == truly.register, witness.site == site);
            }
        }
    }
}
