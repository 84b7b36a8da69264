//! Commands arrive at registers, and answers at servers.

use kanjo_group::register::{Authority, Command, Outcome, Register};

use crate::kept::Kept;
use crate::state::{Answer, InForce, Letter, Part, State};
use crate::world::World;

impl World {
    /// The register carries the command out, for the first time or again.
    pub(crate) fn deliver(&self, state: &mut State, letter: &Letter) {
        let mut register = Register::clone(&state.registers[letter.to]);
        let outcome = register.apply(&letter.command);
        // Counts changes, and no rule looks at it.
        register.version = 0;
        let answer = match outcome {
            Outcome::Refused { .. } => Answer::Refused,
            Outcome::Done(_) => Answer::Done {
                set: InForce::in_register(&register),
                certificate: match &register.authority {
                    Authority::HandedOver(certificate) => Some(Kept::new((**certificate).clone())),
                    _ => None,
                },
            },
        };
        state.registers[letter.to] = Kept::new(register);
        if let Some(ask) = &mut state.servers[letter.from].ask
            && ask.letter == *letter
        {
            ask.answer = Some(answer);
        }
    }

    /// What a server makes of an answer. Refused, it is not the one whose turn it is.
    pub(crate) fn hear(&self, state: &mut State, server: usize) {
        let own = &mut state.servers[server];
        let Some(ask) = own.ask.take() else {
            return;
        };
        let command = &*ask.letter.command;
        let Some(answer @ Answer::Done { set, .. }) = &ask.answer else {
            return match (&mut own.part, command) {
                // A plan binds nobody.
                (Part::Writer(writing), Command::Prepare { .. }) => writing.plan = None,
                _ => own.step_down(),
            };
        };
        let set = *set;
        match (&mut own.part, command) {
            (Part::Opening(opening), _) => opening.set = Some(set),
            (Part::Writer(writing), Command::ChangeSet { .. }) => {
                writing.set = set;
                writing.gate = set.members.without(server);
            }
            (Part::Writer(_), _) => self.moved_on(state, server, ask.letter.to, answer),
            (Part::Follower, _) => {}
        }
    }
}
