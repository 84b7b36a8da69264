//! Who is who in a cluster, and what an explanation takes for granted.

use kanjo_format::{NodeId, Site};

use super::words::Words;
use super::{Case, Fault};

impl Words<'_> {
    /// Who is who, and what was taken for granted.
    pub(super) fn facts(&self, cases: &[Case]) -> Vec<String> {
        let (active, auxiliary) = (self.active(), self.active().other());
        let topology = self.judge.topology;
        let servers = |site| topology.servers_of(site).map(|server| server.node);
        let witness = |site| topology.witnesses.iter().find(|one| one.site == site);
        let votes = |site: Site| {
            let count = topology.voters_of(site).count();
            let witness = witness(site).map(|one| format!(", witness {} votes", one.node));
            let most = count / 2 + 1;
            format!(
                "{}; {most} of {count} are a majority",
                witness.unwrap_or_default()
            )
        };
        let standbys: Vec<NodeId> = servers(active).skip(1).collect();
        let standby = match standbys.as_slice() {
            [] => String::new(),
            [one] => format!(", {} stands by", self.name(*one)),
            more => format!(", {} stand by", self.names(more, "and")),
        };
        let members: Vec<NodeId> = servers(auxiliary).collect();
        let third = match self.third_witness {
            true => {
                "a witness in a third site gives one of the two the word to go on without the other one; it is taken to be reachable for both, and auto_failover to be \"both\""
            }
            false => {
                "no witness in a third site: two sites alone cannot tell a lost site from a cut link"
            }
        };
        vec![
            format!(
                "site {active} is active: {} is taken for the primary{standby}{}",
                self.name(self.primary),
                votes(active)
            ),
            format!(
                "site {auxiliary} is auxiliary: every commit waits for {}{}; its register has the authority",
                self.names(&members, "and"),
                votes(auxiliary)
            ),
            third.to_owned(),
            self.single_losses(cases),
            "lost: stopped, or cut off from everybody, in one direction or both; at once, unless it says otherwise".to_owned(),
            "assumed: every server of the auxiliary site is in the in-sync set, and set_size_min is 1; a greater one stalls where fewer are left".to_owned(),
        ]
    }

    fn single_losses(&self, cases: &[Case]) -> String {
        let fatal: Vec<NodeId> = cases
            .iter()
            .filter_map(|case| match &case.fault {
                Fault::Lost { nodes } if nodes.len() == 1 && !case.verdict.serves() => {
                    Some(nodes[0])
                }
                _ => None,
            })
            .collect();
        match fatal.as_slice() {
            [] => {
                "any single server or witness may be lost: processing goes on by itself".to_owned()
            }
            fatal => format!(
                "the loss of one of these alone ends processing: {}",
                self.names(fatal, "or")
            ),
        }
    }
}
