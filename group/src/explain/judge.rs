//! The rules: who processes, given who reaches whom.
//!
//! The other site's register has the authority over the in-sync set. So the primary needs an ack of
//! every member, or that site's majority to leave a member out; a new primary needs its own site's
//! majority to be chosen, the other site's to claim its epoch, and the grant of a member.

use kanjo_format::{NodeId, Site};

use super::Verdict;
use super::wires::Wires;
use crate::topology::Topology;

/// The rules, for one cluster.
pub(super) struct Judge<'a> {
    pub(super) topology: &'a Topology,
    pub(super) active: Site,
}

/// What the registers and the primary hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The active site's nominee, which writes.
    pub(super) writer: NodeId,
    /// Members of the in-sync set.
    pub(super) set: Vec<NodeId>,
}

/// Which rule decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Every member acks.
    AllAck,
    /// Those do not, and were left out.
    LeftOut,
    /// The site's majority chose another server; these are as good.
    Chosen(Vec<NodeId>),
    /// No member acks, and the last one is never left out.
    NoMember,
    /// These do not ack, and nobody can leave them out.
    CannotLeaveOut(Vec<NodeId>),
    /// The primary is lost, and its site has no majority to choose another one.
    NoMajority,
    /// Another server was chosen and cannot open its epoch.
    CannotOpen,
}

/// What the rules say.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    /// What holds afterwards.
    pub(super) state: State,
}

impl Judge<'_> {
    /// A cluster in which nothing is lost.
    pub(super) fn start(&self) -> State {
        let servers = |site| self.topology.servers_of(site).map(|server| server.node);
        let writer = servers(self.active).next();
        State {
            writer: writer.expect("a checked topology has a server in each site"),
            set: servers(self.active.other()).collect(),
        }
    }

    /// What comes of these wires, once everybody has noticed and acted.
    pub(super) fn settle(&self, before: &State, wires: &Wires<'_>) -> Judged {
        let judged = self.by_two_sites(before, wires);
        if judged.verdict.serves() || !wires.third_witness {
            return judged;
        }
        let verdict = if self.may_go_on_alone(&judged.state, wires) {
            Verdict::AloneByThirdWitness
        } else if let Some(writer) = self.may_take_over(&judged.state, wires) {
            let state = State {
                writer,
                set: self.others_of(writer, self.active.other(), wires),
            };
            return Judged {
                verdict: Verdict::OtherSiteByThirdWitness,
                state,
                ..judged
            };
        } else {
            return judged;
        };
        let state = State {
            writer: judged.state.writer,
            set: self.others_of(judged.state.writer, self.active, wires),
        };
        Judged {
            verdict,
            state,
            ..judged
        }
    }

    fn by_two_sites(&self, before: &State, wires: &Wires<'_>) -> Judged {
        let stopped = |reason| Judged {
            verdict: Verdict::Stops,
            reason,
            state: before.clone(),
        };
        match wires.majority(self.active) {
            // A living nominee stays, unless it alone has lost the other site.
            Some(majority) if majority.contains(&before.writer) => {
                let on = self.write_on(before, wires);
                let hears = |server: &NodeId| self.hears_other_site(*server, wires);
                if on.verdict.serves() || hears(&before.writer) {
                    return on;
                }
                let mut others = self.servers_among(&majority);
                others.retain(hears);
                let opened = self.open(before, &others, wires);
                if opened.verdict.serves() { opened } else { on }
            }
            Some(majority) => self.open(before, &self.servers_among(&majority), wires),
            // Nobody could replace it, but nobody has to.
            None if wires.lives(before.writer) => self.write_on(before, wires),
            None => stopped(Reason::NoMajority),
        }
    }

    /// The primary lives and stays who it is.
    fn write_on(&self, before: &State, wires: &Wires<'_>) -> Judged {
        let acks = |&member: &NodeId| wires.connects(before.writer, member);
        let (acking, silent): (Vec<NodeId>, Vec<NodeId>) = before.set.iter().partition(|m| acks(m));
        let stalled = |reason| Judged {
            verdict: Verdict::Stalls,
            reason,
            state: before.clone(),
        };
        if acking.is_empty() {
            return stalled(Reason::NoMember);
        }
        if !silent.is_empty() && !wires.asks(before.writer, self.active.other()) {
            return stalled(Reason::CannotLeaveOut(silent));
        }
        let reason = match silent.is_empty() {
            true => Reason::AllAck,
            false => Reason::LeftOut,
        };
        Judged {
            verdict: Verdict::GoesOn,
            reason,
            state: State {
                writer: before.writer,
                set: acking,
            },
        }
    }

    /// One of these opens the next epoch of its site.
    fn open(&self, before: &State, candidates: &[NodeId], wires: &Wires<'_>) -> Judged {
        let opened = candidates.iter().find_map(|&writer| {
            let grants = before.set.iter().copied();
            let set: Vec<NodeId> = grants
                .filter(|&member| wires.connects(writer, member))
                .collect();
            let claimed = wires.asks(writer, self.active.other());
            (claimed && !set.is_empty()).then_some(State { writer, set })
        });
        match opened {
            Some(state) => Judged {
                verdict: Verdict::OtherServer,
                reason: Reason::Chosen(candidates.to_vec()),
                state,
            },
            None => Judged {
                verdict: Verdict::Stops,
                reason: Reason::CannotOpen,
                state: before.clone(),
            },
        }
    }

    fn hears_other_site(&self, server: NodeId, wires: &Wires<'_>) -> bool {
        let mut voters = self.topology.voters_of(self.active.other());
        voters.any(|(voter, ..)| wires.connects(server, voter))
    }

    /// Servers among these voters: a witness never processes.
    fn servers_among(&self, voters: &[NodeId]) -> Vec<NodeId> {
        let is_server = |node: &NodeId| self.topology.server(*node).is_some();
        voters.iter().copied().filter(is_server).collect()
    }

    /// Who would write if the other site were failed over to: its nominee, with a member's grant,
    /// its own if it is one.
    pub(super) fn may_take_over(&self, state: &State, wires: &Wires<'_>) -> Option<NodeId> {
        let majority = wires.majority(self.active.other())?;
        let mut servers = self.servers_among(&majority).into_iter();
        servers.find(|&server| state.set.iter().any(|&m| wires.connects(server, m)))
    }

    /// Whether the primary could take the authority into its own site's register, which has
    /// everything that was answered only while that primary lives.
    pub(super) fn may_go_on_alone(&self, state: &State, wires: &Wires<'_>) -> bool {
        let majority = wires.majority(self.active).unwrap_or_default();
        wires.lives(state.writer) && majority.contains(&state.writer)
    }

    /// The other servers of a site that a writer of it reaches.
    fn others_of(&self, writer: NodeId, site: Site, wires: &Wires<'_>) -> Vec<NodeId> {
        let servers = self.topology.servers_of(site).map(|server| server.node);
        servers
            .filter(|&node| node != writer && wires.connects(writer, node))
            .collect()
    }
}
