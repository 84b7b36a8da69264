//! What must always hold, and what must be reachable.

use kanjo_group::register::{Authority, Command, Outcome, Register};
use stateright::Property;

use crate::state::{Entry, Part, State};
use crate::world::World;

/// The promise to clients.
pub(crate) const KEPT: &str = "an answered entry is never missing and never another";
/// What a set in a register says.
pub(crate) const TRUTH: &str = "every member of the set has all that was answered";

type Condition = fn(&World, &State) -> bool;

const ALWAYS: [(&str, Condition); 5] = [
    (KEPT, |_, state| !state.disagreed),
    ("one writer answers in an epoch", |_, state| {
        one_writer_an_epoch(state)
    }),
    ("one register holds the authority", |_, state| {
        one_register_holds(state)
    }),
    ("the authority is never nowhere", |_, state| {
        the_authority_is_somewhere(state)
    }),
    (TRUTH, |_, state| the_set_tells_the_truth(state)),
];

pub(crate) const FIRST: &str = "an entry is answered in the first epoch";
pub(crate) const LOCAL: &str = "an entry is answered after a local failover";
pub(crate) const FAILOVER: &str = "an entry is answered after a site failover";

pub(crate) const SWITCH: &str = "an entry is answered after a planned switch";
pub(crate) const ATTACHED: &str = "an entry is answered after a site was attached again";

pub(crate) const SEIZED: &str = "a writer answers alone by an authority that it seized";

const SOMETIMES: [(&str, Condition); 6] = [
    (SEIZED, |_, state| {
        state.servers.iter().any(|server| {
            let Part::Writer(writing) = &server.part else {
                return false;
            };
            writing.at == 0 && writing.gate.is_empty() && writing.committed >= writing.floor
        })
    }),
    (FIRST, |_, state| clients(state).any(|e| terms(e) == (1, 1))),
    (LOCAL, |_, state| clients(state).any(|e| terms(e) == (1, 2))),
    (SWITCH, |_, state| {
        let held = state.registers[0].holds_authority();
        held && clients(state).any(|e| terms(e) == (2, 1))
    }),
    (ATTACHED, |_, state| {
        state.servers.iter().any(|server| {
            let Part::Writer(writing) = &server.part else {
                return false;
            };
            let term = server.granted.epoch.site_term();
            let held = state.registers[0].holds_authority();
            term == 2 && held && writing.at == 0 && writing.committed > writing.floor
        })
    }),
    (FAILOVER, |_, state| clients(state).any(|e| terms(e).0 == 2)),
];

pub(crate) fn of(goals: &[&str]) -> Vec<Property<World>> {
    let always = ALWAYS.map(|(name, holds)| Property::always(name, holds));
    let goals = SOMETIMES.iter().filter(|(name, _)| goals.contains(name));
    let sometimes = goals.map(|(name, reached)| Property::sometimes(name, *reached));
    always.into_iter().chain(sometimes).collect()
}

fn clients(state: &State) -> impl Iterator<Item = &Entry> {
    state.answered.iter().filter(|entry| entry.number != 0)
}

fn terms(entry: &Entry) -> (u32, u32) {
    (entry.epoch.site_term(), entry.epoch.local_term())
}

fn one_writer_an_epoch(state: &State) -> bool {
    let answering = |server: &usize| match &state.servers[*server].part {
        Part::Writer(writing) => writing.committed >= writing.floor,
        Part::Follower | Part::Opening(_) => false,
    };
    let writers = || (0..state.servers.len()).filter(answering);
    writers().all(|one| {
        let epoch = state.servers[one].granted.epoch;
        let same = |other: &usize| state.servers[*other].granted.epoch == epoch;
        writers().filter(same).count() == 1
    })
}

/// A register whose authority was seized may not know yet.
fn one_register_holds(state: &State) -> bool {
    let [one, two] = &state.registers;
    let [first, second] = [one, two].map(|register| match &register.authority {
        Authority::Held { holding, seized } => Some((*holding, seized.is_some())),
        _ => None,
    });
    match (first, second) {
        (Some(first), Some(second)) => first.0 != second.0 && first.max(second).1,
        _ => true,
    }
}

/// A register holds it, or will take it by the certificate that the other one gave.
fn the_authority_is_somewhere(state: &State) -> bool {
    let held = state.registers.iter().any(|r| r.holds_authority());
    held || [0, 1].into_iter().any(|from| {
        let Authority::HandedOver(certificate) = &state.registers[from].authority else {
            return false;
        };
        let mut other = Register::clone(&state.registers[1 - from]);
        let outcome = other.apply(&Command::Activate(certificate.clone()));
        matches!(outcome, Outcome::Done(_))
    })
}

fn the_set_tells_the_truth(state: &State) -> bool {
    let holders = state.registers.iter().filter(|r| r.holds_authority());
    let holder = holders.max_by_key(|register| register.holding());
    holder.is_none_or(|register| {
        let members = register.set.iter().map(|member| member.node.get() as usize);
        let disks = members.map(|member| {
            let server = &state.servers[member];
            &server.log[..server.synced]
        });
        let mut disks = disks.map(|disk| disk.starts_with(&state.answered));
        disks.all(|has| has)
    })
}
