//! Ports of one pair.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result};
use kanjo_node::Config;

use super::Which;

/// Client, replication and admin address of both nodes.
pub(super) struct Addresses {
    nodes: [[String; 3]; 2],
}

impl Addresses {
    /// Finds free ports by binding port 0.
    pub(super) fn draw() -> Result<Self> {
        let [a, b, c, d, e, f] = free_addresses()?.map(|address| address.to_string());
        Ok(Self {
            nodes: [[a, b, c], [d, e, f]],
        })
    }

    /// The configuration of one node with the other as its peer.
    pub(super) fn config(&self, which: Which, data: PathBuf) -> Config {
        let [first, second] = &self.nodes;
        let (own, peer) = match which {
            Which::First => (first, second),
            Which::Second => (second, first),
        };
        let [client, replication, admin] = own;
        let [peer_client, peer_replication, _] = peer;
        let mut config = Config::new(data, client, replication, admin, peer_replication);
        config.peer_client = Some(peer_client.clone());
        config
    }
}

/// Addresses on loopback that nobody listens on, all different.
pub(crate) fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT]> {
    let host = own_loopback();
    let mut addresses = [SocketAddr::from((host, 0)); COUNT];
    let mut held = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("finding a free port")?;
        *address = listener.local_addr()?;
        // All are held until all are drawn, so that they differ.
        held.push(listener);
    }
    Ok(addresses)
}

/// A loopback address of this process's own, 127.b.c.d. The kernel takes ports of outgoing
/// connections on 127.0.0.1; elsewhere a port that was free stays free, also while its node is
/// down for a while.
fn own_loopback() -> Ipv4Addr {
    let number = std::process::id();
    let (d, c, b) = (
        1 + number % 250,
        number / 250 % 256,
        1 + number / 64_000 % 250,
    );
    let host = Ipv4Addr::new(127, b as u8, c as u8, d as u8);
    match TcpListener::bind((host, 0)) {
        Ok(_) => host,
        // Elsewhere than on Linux only this one may be there.
        Err(_) => Ipv4Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_of_a_pair_name_each_other_and_share_no_port() {
        let addresses = Addresses::draw().unwrap();
        let first = addresses.config(Which::First, "a".into());
        let second = addresses.config(Which::Second, "b".into());
        assert_eq!(first.peer_replication, second.replication_listen);
        assert_eq!(second.peer_replication, first.replication_listen);
        assert_eq!(first.peer_client.as_ref(), Some(&second.client_listen));
        let mut all: Vec<_> = addresses.nodes.iter().flatten().collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        first.check().unwrap();
    }
}
