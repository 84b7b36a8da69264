//! The authority moves from one register to the other, by the writer's plan.

use kanjo_group::register::{Command, Move};

use crate::kept::Kept;
use crate::state::{Answer, Part, Servers, State, site, site_of};
use crate::world::World;

impl World {
    /// Whoever of the destination's site has everything will be the set: commits wait for them
    /// from here on. Away from the writer's own site its site goes on, attached again; towards
    /// it the other site takes over, as planned.
    ///
    /// ORDER: the destination is prepared, the source hands over, the destination activates.
    pub(crate) fn plan_move(&self, state: &mut State, writer: usize) {
        let (epoch, opening) = (
            state.servers[writer].granted.epoch,
            state.opening_id(writer),
        );
        let own = site_of(writer);
        let Part::Writer(writing) = &mut state.servers[writer].part else {
            return;
        };
        let to = 1 - writing.at;
        let least = writing.floor.max(writing.committed);
        let has_all = |server: &usize| *server == writer || writing.acked[*server] >= least;
        let there = self.scene.servers.and(Servers::of_site(to));
        let set = there
            .iter()
            .filter(has_all)
            .fold(Servers::NONE, Servers::with);
        if set.is_empty() {
            return;
        }
        writing.gate = set.without(writer).iter().fold(writing.gate, Servers::with);
        state.left.moves -= 1;
        state.moves += 1;
        let plan = Move {
            epoch,
            number: state.moves.into(),
            opening,
            set: set.members(),
            active: site(if to == own { 1 - own } else { own }),
        };
        writing.plan = Some(Kept::new(plan.clone()));
        state.send(writer, to, Command::Prepare { plan });
    }

    /// The writer hears how its move went on.
    pub(crate) fn moved_on(&self, state: &mut State, writer: usize, at: usize, answer: &Answer) {
        let own = &mut state.servers[writer];
        let Part::Writer(writing) = &mut own.part else {
            return;
        };
        let (Some(plan), Answer::Done { set, certificate }) = (writing.plan.clone(), answer) else {
            return;
        };
        let source = writing.at;
        match (certificate, at == source) {
            (_, false) if writing.activating => {
                if plan.active != site(site_of(writer)) {
                    return own.step_down();
                }
                writing.at = at;
                writing.set = *set;
                writing.gate = set.members.without(writer);
                writing.plan = None;
                writing.activating = false;
            }
            (_, false) => {
                let plan = (*plan).clone();
                state.send(writer, source, Command::HandOver { plan });
            }
            (Some(certificate), true) => {
                writing.activating = true;
                let certificate = Box::new((**certificate).clone());
                state.send(writer, 1 - source, Command::Activate(certificate));
            }
            (None, true) => own.step_down(),
        }
    }
}
