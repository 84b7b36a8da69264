//! The authority is taken although its holder cannot be asked: by an operator who has the other
//! site off, or by the word of a witness in a third site.
//!
//! Whoever opens an epoch asks the third witness first, and notes its mark in the reign; who opens a
//! new site term, or seizes, needs its word that follows the mark of the reign before.

use kanjo_format::Incarnation;
use kanjo_group::register::{Command, Evidence, Reign, ThirdMark};

use crate::mistakes::Mistake;
use crate::state::{Part, State, member, site, site_of};
use crate::world::{Care, World};

/// An operator's word needs none.
const NO_MARK: ThirdMark = ThirdMark {
    incarnation: Incarnation::new(0),
    number: 0,
};

impl World {
    /// The leader of a site's register chooses who is to process.
    pub(crate) fn nominate(&self, state: &mut State, server: usize) {
        state.left.nominations -= 1;
        nominate(self, state, server);
    }

    /// An opener turns to its own site's register, and may claim then.
    pub(crate) fn confirm(&self, state: &mut State, server: usize) {
        let own = site_of(server);
        let Part::Opening(opening) = &state.servers[server].part else {
            return;
        };
        if opening.nomination.is_some() || state.off[own] {
            return;
        }
        let elsewhere = opening.at != own;
        if self.scene.care == Care::Afresh {
            // What the own register says now comes after what the other one said.
            if elsewhere && state.registers[own].holds_authority() {
                return state.servers[server].step_down();
            }
            nominate(self, state, server);
        }
        let nominee = state.registers[own].nominee;
        let Some(nominee) = nominee.filter(|n| n.node == member(server).node) else {
            return state.servers[server].step_down();
        };
        if let Part::Opening(opening) = &mut state.servers[server].part {
            opening.nomination = Some(nominee.number);
        }
        if !self.scene.third {
            self.claim(state, server);
        }
    }

    /// An opener asks the third witness: for the word, to take over, or else what it stands at.
    /// Without an answer it opens an epoch in which nobody can seize the authority.
    pub(crate) fn ask_third(&self, state: &mut State, server: usize, heard: bool) {
        let Part::Opening(opening) = &state.servers[server].part else {
            return;
        };
        let asked = state.servers[server].ask.is_some() || opening.set.is_some();
        if opening.nomination.is_none() || asked {
            return;
        }
        let takes_over = opening.takes_over && !self.has(Mistake::TakesOverUnasked);
        let needed = opening.follows.filter(|_| takes_over);
        if let Some(follows) = needed {
            let own = site(site_of(server));
            if state.third.decide(follows, own).is_err() {
                return state.servers[server].step_down();
            }
        }
        let mark = heard.then_some(state.third.mark);
        if needed.is_some() && !heard {
            return;
        }
        if let Part::Opening(opening) = &mut state.servers[server].part {
            opening.third = mark;
        }
        self.claim(state, server);
    }

    /// All servers of a site are off, for certain, until its register has conceded.
    pub(crate) fn switch_off(&self, state: &mut State, number: usize) {
        state.left.offs -= 1;
        state.off[number] = true;
        for server in self.scene.servers.iter().filter(|s| site_of(*s) == number) {
            let server = &mut state.servers[server];
            let synced = server.synced;
            server.log.truncate(synced);
            server.step_down();
        }
    }

    /// They start again, and the first that they hear is that the authority was seized.
    pub(crate) fn switch_on(&self, state: &mut State, number: usize) {
        if !state.off[number] {
            return;
        }
        state.off[number] = false;
        self.concede(state, number);
        let conceded = !state.registers[number].holds_authority();
        state.off[number] = !conceded && !self.has(Mistake::BackTooEarly);
    }

    /// The other site is off, and the last epoch that was claimed there is the writer's: nobody
    /// can have answered anything that it does not have.
    fn operator_agrees(&self, state: &State, writer: usize) -> bool {
        let other = 1 - site_of(writer);
        let epoch = state.servers[writer].granted.epoch;
        let last = self.has(Mistake::OffIsEnough) || state.registers[other].reign.epoch == epoch;
        state.off[other] && last
    }

    pub(crate) fn concede(&self, state: &mut State, at: usize) {
        let other = &state.registers[1 - at];
        let holding = other.holding();
        let lower = state.registers[at].holding() < holding;
        if lower && other.holds_authority() && state.off == [false; 2] {
            self.change(state, at, &Command::Concede { holding });
        }
    }

    /// A writer takes the authority to its own site's register.
    pub(crate) fn seize(&self, state: &mut State, writer: usize, heard: bool) {
        let own = site_of(writer);
        let server = &state.servers[writer];
        let Part::Writer(writing) = &server.part else {
            return;
        };
        if writing.at == own || server.ask.is_some() {
            return;
        }
        let nominee = state.registers[own].nominee.map(|n| n.number);
        if self.scene.care == Care::Nominee && nominee != Some(writing.nomination) {
            return;
        }
        let (nomination, before) = (writing.nomination, writing.third);
        let mark = match (self.scene.third, before) {
            (false, _) if !self.operator_agrees(state, writer) => return,
            (false, _) => None,
            (true, None) => return,
            (true, Some(follows)) => match state.third.decide(follows, site(own)) {
                Ok(_) => Some(state.third.mark),
                Err(_) => return,
            },
        };
        if !heard {
            return;
        }
        let command = Command::Seize {
            follows: state.registers[1 - own].holding(),
            nomination: (self.scene.care == Care::Afresh).then_some(nomination),
            reign: Reign {
                epoch: state.servers[writer].granted.epoch,
                opening: state.opening_id(writer),
                address: String::new(),
                third: mark,
            },
            set: vec![member(writer)],
            evidence: Evidence::ThirdWitness {
                mark: mark.unwrap_or(NO_MARK),
            },
        };
        state.send(writer, own, command);
    }
}

pub(crate) fn nominate(world: &World, state: &mut State, server: usize) {
    let own = site_of(server);
    let command = Command::Nominate {
        replaces: state.registers[own].nominee.map_or(0, |n| n.number),
        node: member(server).node,
        incarnation: member(server).incarnation,
    };
    world.change(state, own, &command);
}
