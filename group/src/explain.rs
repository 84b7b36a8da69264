//! Who may process in every way in which the parts can fail or be cut off from each other.
//!
//! ```text
//! cluster file ─▶ faults ─▶ wires (who reaches whom) ─▶ judge (the rules) ─▶ words ─▶ lines
//! ```
//!
//! Pure, and of the rules alone: it asks nobody, and knows of no cluster but its file. It takes the
//! active site's first server for the primary, every server of the other site for a member of the
//! in-sync set, and a least size of the set of one. Everything is asked and answered over
//! connections, so a part that is cut off in one direction only counts as lost.

mod facts;
mod judge;
mod lines;
#[cfg(test)]
mod tests;
mod turns;
mod wires;
mod words;

use kanjo_format::{NodeId, Site};
use serde::Serialize;

use crate::topology::Topology;
use judge::{Judge, State};
pub use lines::Line;
use wires::Wires;
use words::Words;

/// What is lost or cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// These stopped, or are cut off from everybody.
    Lost {
        /// Servers and witnesses of one site.
        nodes: Vec<NodeId>,
    },
    /// It is heard and hears nobody.
    Deaf {
        /// Which.
        node: NodeId,
    },
    /// It hears and nobody hears it.
    Mute {
        /// Which.
        node: NodeId,
    },
    /// It reaches the other site only.
    CutFromOwnSite {
        /// Which.
        node: NodeId,
    },
    /// It reaches its own site only.
    CutFromOtherSite {
        /// Which.
        node: NodeId,
    },
    /// All of a site.
    SiteLost {
        /// Which.
        site: Site,
    },
    /// Nothing crosses between the sites, in one direction or both.
    LinkCut,
    /// The third site's witness, and nothing else.
    ThirdWitnessLost,
    /// It and all of a site.
    ThirdWitnessAndSiteLost {
        /// Which.
        site: Site,
    },
    /// It and the link between the sites.
    ThirdWitnessLostAndLinkCut,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The primary goes on.
    GoesOn,
    /// Another server of the active site goes on, by itself.
    OtherServer,
    /// The primary goes on without the other site, since the third witness records it.
    AloneByThirdWitness,
    /// The other site takes over, since the third witness records it.
    OtherSiteByThirdWitness,
    /// The primary lives and answers nothing.
    Stalls,
    /// Nobody may process.
    Stops,
}

impl Verdict {
    /// Whether clients are answered.
    pub const fn serves(self) -> bool {
        !matches!(self, Self::Stalls | Self::Stops)
    }
}

/// One way to fail, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// What is lost or cut.
    #[serde(flatten)]
    pub fault: Fault,
    /// The same in words.
    pub what: String,
    /// What comes of it, if everything of it happens at once.
    pub verdict: Verdict,
    /// Who processes then; the one that would by its number if several are as good.
    pub processes: Option<NodeId>,
    /// Whose disk every answer then waits for, beside the primary's.
    pub in_sync_set: Vec<NodeId>,
    /// The same in words: who processes.
    pub then: String,
    /// Which rule decides.
    pub why: String,
    /// What a person can do.
    pub to_do: String,
    /// Whether it is otherwise if the parts are lost one after the other; empty if not.
    pub one_after_the_other: String,
    /// Parts of which each alone stops processing if it is lost as well.
    pub must_not_be_lost_next: Vec<NodeId>,
}

/// What a cluster does in every case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The site that processes.
    pub active: Site,
    /// The server that is taken for the primary.
    pub primary: NodeId,
    /// Whether a witness in a third site is assumed.
    pub third_witness: bool,
    /// Who is who, and what was assumed.
    pub facts: Vec<String>,
    /// Every case.
    pub cases: Vec<Case>,
    /// Equal cases together, for people.
    pub lines: Vec<Line>,
}

/// Says what the rules make of every case.
///
/// The topology must have passed [`Topology::check`], which promises each site a server.
pub fn explain(topology: &Topology, active: Site, third_witness: bool) -> Explanation {
    let judge = Judge { topology, active };
    let start = judge.start();
    let words = Words {
        judge: &judge,
        primary: start.writer,
        third_witness,
    };
    let cases: Vec<Case> = faults(topology, active, third_witness)
        .into_iter()
        .map(|fault| case(&judge, &words, &start, fault, third_witness))
        .collect();
    let lines = lines::lines(&words, &cases);
    Explanation {
        active,
        primary: start.writer,
        third_witness,
        facts: words.facts(&cases),
        cases,
        lines,
    }
}

fn case(judge: &Judge<'_>, words: &Words<'_>, start: &State, fault: Fault, third: bool) -> Case {
    let wires = Wires::with(judge.topology, &fault, third);
    let judged = judge.settle(start, &wires);
    let mut must_not_be_lost_next = Vec::new();
    if judged.verdict.serves() {
        for (node, _) in wires::parts(judge.topology).filter(|(node, _)| wires.lives(*node)) {
            let more = wires.without(node);
            if !judge.settle(&judged.state, &more).verdict.serves() {
                must_not_be_lost_next.push(node);
            }
        }
    }
    let told = words.tell(&fault, &wires, &judged, &must_not_be_lost_next);
    let processes = judged.verdict.serves().then_some(judged.state.writer);
    Case {
        what: words.what(&fault),
        verdict: judged.verdict,
        processes,
        in_sync_set: judged.state.set,
        then: told.then,
        why: told.why,
        to_do: told.to_do,
        one_after_the_other: words.one_after_the_other(start, &fault, judged.verdict),
        must_not_be_lost_next,
        fault,
    }
}

/// Every fault that is looked at, each site's own losses up to so many that no majority is left.
fn faults(topology: &Topology, active: Site, third_witness: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let sites = [active, active.other()];
    for site in sites {
        let voters: Vec<NodeId> = topology.voters_of(site).map(|(node, ..)| node).collect();
        for &node in &voters {
            let nodes = vec![node];
            faults.extend([
                Fault::Lost { nodes },
                Fault::Deaf { node },
                Fault::Mute { node },
            ]);
            if voters.len() > 1 {
                faults.push(Fault::CutFromOwnSite { node });
            }
            faults.push(Fault::CutFromOtherSite { node });
        }
    }
    for site in sites {
        let voters: Vec<NodeId> = topology.voters_of(site).map(|(node, ..)| node).collect();
        let most = (voters.len() / 2 + 1).min(voters.len() - 1);
        for size in 2..=most {
            let subsets = subsets(&voters, size).into_iter();
            faults.extend(subsets.map(|nodes| Fault::Lost { nodes }));
        }
    }
    faults.extend(sites.map(|site| Fault::SiteLost { site }));
    faults.push(Fault::LinkCut);
    if third_witness {
        faults.push(Fault::ThirdWitnessLost);
        faults.extend(sites.map(|site| Fault::ThirdWitnessAndSiteLost { site }));
        faults.push(Fault::ThirdWitnessLostAndLinkCut);
    }
    faults
}

/// Every choice of so many of these, in order.
fn subsets(of: &[NodeId], size: usize) -> Vec<Vec<NodeId>> {
    let Some((first, rest)) = of.split_first() else {
        return if size == 0 {
            vec![Vec::new()]
        } else {
            Vec::new()
        };
    };
    if size == 0 {
        return vec![Vec::new()];
    }
    let with_first = subsets(rest, size - 1).into_iter().map(|mut chosen| {
        chosen.insert(0, *first);
        chosen
    });
    with_first.chain(subsets(rest, size)).collect()
}
