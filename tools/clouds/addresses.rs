//! The cluster file of two clouds on loopback.

use anyhow::{Context, Result};
use kanjo_format::NodeId;
use kanjo_group::Topology;
use kanjo_group::topology::{Server, ThirdWitness, Timing, Witness};

use super::Third;
use super::part::{SERVERS, THIRD_WITNESS, WITNESSES};
use crate::pair::free_addresses;

/// Four a server, one a witness, the third site's too.
const ADDRESSES: usize = SERVERS.len() * 4 + WITNESSES.len() + 1;

/// Addresses that nobody listens on, and the default times.
pub(super) fn draw(third_site: Third) -> Result<Topology> {
    let mut free = free_addresses::<ADDRESSES>()?.into_iter();
    let mut next = || free.next().map(|address| address.to_string());
    let mut draw = || next().context("an address a port");
    let mut servers = Vec::new();
    for part in SERVERS {
        servers.push(Server {
            node: NodeId::new(part.node()),
            site: part.site(),
            client: draw()?,
            replication: draw()?,
            admin: draw()?,
            register: draw()?,
            http: None,
        });
    }
    let mut witnesses = Vec::new();
    for part in WITNESSES {
        witnesses.push(Witness {
            node: NodeId::new(part.node()),
            site: part.site(),
            register: draw()?,
        });
    }
    let third = ThirdWitness {
        node: NodeId::new(THIRD_WITNESS.node()),
        register: draw()?,
    };
    let timing = Timing::default();
    Ok(Topology {
        servers,
        witnesses,
        third_witness: (third_site == Third::Witness).then_some(third),
        timing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawn_cluster_file_is_one_that_servers_take() {
        let topology = draw(Third::Witness).unwrap();
        topology.check().unwrap();
        let mut all = topology.client_addresses();
        for server in &topology.servers {
            let others = [&server.replication, &server.admin, &server.register];
            all.extend(others.map(Clone::clone));
        }
        all.extend(
            topology
                .witnesses
                .iter()
                .map(|witness| witness.register.clone()),
        );
        all.extend(topology.third_witness.map(|third| third.register));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), ADDRESSES, "no address twice");
    }
}
