//! The authority is taken although its holder cannot be asked: by an operator who has the other
//! site off, or by the word of a witness in a third site.
//!
//! The third witness keeps which site may hold, and a number that every change raises. Whoever
//! opens a site term in its own register asks it first, and so does who seizes. Moves by plan
//! would ask it too; they are not part of these searches.

use kanjo_group::register::{Authority, Command, Evidence, Reign};

use crate::mistakes::Mistake;
use crate::state::{Part, State, member, site_of};
use crate::world::{Care, World};

/// What the third site's witness keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Third {
    pub(crate) holder: usize,
    pub(crate) number: u8,
    /// The opening by which it came to that.
    pub(crate) by: u8,
}

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

    /// An opener asks the third witness: to be allowed a new site term, or else what it is at.
    pub(crate) fn ask_third(&self, state: &mut State, server: usize, heard: bool) {
        let own = &state.servers[server];
        let by = own.granted.opening;
        let Part::Opening(opening) = &own.part else {
            return;
        };
        if opening.nomination.is_none() || own.ask.is_some() || opening.set.is_some() {
            return;
        }
        let takes_over = opening.takes_over;
        let third = &mut state.third;
        if takes_over && third.by != by {
            if third.holder != site_of(server) {
                return state.servers[server].step_down();
            }
            third.number += 1;
            third.by = by;
        }
        let number = third.number;
        if !heard {
            return;
        }
        if let Part::Opening(opening) = &mut state.servers[server].part {
            opening.third = number;
        }
        self.claim(state, server);
    }

    /// All servers of a site are off, for certain, until its register has conceded.
    pub(crate) fn switch_off(&self, state: &mut State, number: usize) {
        state.left.offs -= 1;
        state.off[number] = true;
        for server in self.scene.servers.iter().filter(|s| site_of(*s) == number) {
            let server = &mut state.servers[server];
            server.log.truncate(server.synced);
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
        let record = writing.nomination;
        let by = server.granted.opening;
        let third = &mut state.third;
        if self.scene.third && (third.holder, third.by) != (own, by) {
            if third.number != writing.third {
                return;
            }
            *third = Third {
                holder: own,
                number: third.number + 1,
                by,
            };
        } else if !self.scene.third && !self.operator_agrees(state, writer) {
            return;
        }
        if !heard {
            return;
        }
        let command = Command::Seize {
            follows: state.registers[1 - own].holding(),
            reign: Reign {
                epoch: state.servers[writer].granted.epoch,
                opening: state.opening_id(writer),
                address: String::new(),
            },
            set: vec![member(writer)],
            // The real one carries no nomination; where it is looked at, it stands here.
            evidence: Evidence::ThirdWitness { record },
        };
        state.send(writer, own, command);
    }

    /// Whether the register carries out this seizure: while its site's nomination is the writer's.
    pub(crate) fn may_seize(&self, state: &State, at: usize, command: &Command) -> bool {
        let Command::Seize { evidence, .. } = command else {
            return true;
        };
        let Evidence::ThirdWitness { record } = evidence else {
            return true;
        };
        let nominee = state.registers[at].nominee.map(|n| n.number);
        let before = matches!(&state.registers[at].authority,
            Authority::Held { seized: Some(by), .. } if by == evidence);
        self.scene.care != Care::Afresh || before || nominee == Some(*record)
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
