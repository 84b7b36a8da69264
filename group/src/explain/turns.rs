//! Losses one after the other: whether what could act between them makes a difference.

use kanjo_format::NodeId;

use super::judge::{Judged, Reason, State};
use super::wires::Wires;
use super::words::Words;
use super::{Fault, Verdict};

impl Words<'_> {
    /// Whether it is otherwise if the parts are lost one after the other, with time to act between.
    pub(super) fn one_after_the_other(
        &self,
        start: &State,
        fault: &Fault,
        at_once: Verdict,
    ) -> String {
        let Fault::Lost { nodes } = fault else {
            return String::new();
        };
        if nodes.len() < 2 || at_once.serves() {
            return String::new();
        }
        let all: Vec<Ends> = orders(nodes)
            .into_iter()
            .map(|order| Ends {
                ends: self.in_turn(start, &[], &order),
                order,
            })
            .collect();
        let serving: Vec<&Ends> = all.iter().filter(|one| one.may_serve()).collect();
        match serving.as_slice() {
            [] => String::new(),
            [only] if nodes.len() == 2 => {
                let goes_on = match (only.serves(), only.writer()) {
                    (true, Some(writer)) => format!("{} goes on", self.name(writer)),
                    (true, None) => "it goes on".to_owned(),
                    (false, _) => "it may go on".to_owned(),
                };
                let first = self.kind(only.order[0]);
                format!("if {first} is lost first, with time to act: {goes_on}")
            }
            some => {
                let sure = some.len() == all.len() && some.iter().all(|one| one.serves());
                let goes = if sure { "goes" } else { "may go" };
                format!("one after the other, with time to act between: it {goes} on")
            }
        }
    }

    fn kind(&self, node: NodeId) -> String {
        match self.judge.topology.server(node) {
            _ if node == self.primary => self.name(node),
            Some(_) => "the server".to_owned(),
            None => "the witness".to_owned(),
        }
    }

    /// How it ends if these are lost in turn, whoever is chosen on the way.
    fn in_turn(&self, state: &State, lost: &[NodeId], order: &[NodeId]) -> Vec<Judged> {
        let Some((next, rest)) = order.split_first() else {
            return Vec::new();
        };
        let nodes = [lost, &[*next]].concat();
        let fault = Fault::Lost {
            nodes: nodes.clone(),
        };
        let wires = Wires::with(self.judge.topology, &fault, self.third_witness);
        let judged = self.judge.settle(state, &wires);
        if rest.is_empty() || !judged.verdict.serves() {
            return vec![judged];
        }
        let writers = match &judged.reason {
            Reason::Chosen(servers) => servers.clone(),
            _ => vec![judged.state.writer],
        };
        let chosen = writers.into_iter().map(|writer| State {
            writer,
            set: judged.state.set.clone(),
        });
        chosen
            .flat_map(|state| self.in_turn(&state, &nodes, rest))
            .collect()
    }
}

/// How losses in one order may end.
struct Ends {
    order: Vec<NodeId>,
    ends: Vec<Judged>,
}

impl Ends {
    fn may_serve(&self) -> bool {
        self.ends.iter().any(|end| end.verdict.serves())
    }

    fn serves(&self) -> bool {
        self.ends.iter().all(|end| end.verdict.serves())
    }

    /// Who processes, if it is the same at every end.
    fn writer(&self) -> Option<NodeId> {
        let first = self.ends.first()?.state.writer;
        let same = self.ends.iter().all(|end| end.state.writer == first);
        same.then_some(first)
    }
}

/// Every order of these.
fn orders(of: &[NodeId]) -> Vec<Vec<NodeId>> {
    if of.len() < 2 {
        return vec![of.to_vec()];
    }
    let mut all = Vec::new();
    for (place, &first) in of.iter().enumerate() {
        let mut rest = of.to_vec();
        rest.remove(place);
        for mut order in orders(&rest) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}
