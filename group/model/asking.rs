//! Commands arrive at registers, and answers at servers.

use kanjo_group::register::{Authority, Command, Outcome, Register};

use crate::kept::Kept;
use crate::state::{Answer, InForce, Letter, Part, State};
use crate::world::World;

impl World {
    /// The register carries the command out, for the first time or again.
    pub(crate) fn deliver(&self, state: &mut State, letter: &Letter) {
        if state.off[letter.to] {
            return;
        }
        let answer = match self.change(state, letter.to, &letter.command) {
            None => Answer::Refused,
            Some(register) => Answer::Done {
                set: InForce::in_register(&register),
                certificate: match &register.authority {
                    Authority::HandedOver(certificate) => Some(Kept::new((**certificate).clone())),
                    _ => None,
                },
            },
        };
        if let Some(ask) = &mut state.servers[letter.from].ask
            && ask.letter == *letter
        {
            ask.answer = Some(answer);
        }
    }

    /// Gives the register as it is after the command, if it is done.
    pub(crate) fn change(
        &self,
        state: &mut State,
        at: usize,
        command: &Command,
    ) -> Option<Register> {
        let mut register = Register::clone(&state.registers[at]);
        let outcome = self.apply(&mut register, command);
        // Counts everything that is done, and no rule looks at it.
        register.version = 0;
        state.registers[at] = Kept::new(register);
        match outcome {
            Outcome::Done(register) => Some(*register),
            Outcome::Refused { .. } => None,
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
            // The next epoch is opened where the authority is now.
            (Part::Writer(_), Command::Seize { .. }) => own.step_down(),
            (Part::Writer(_), _) => self.moved_on(state, server, ask.letter.to, answer),
            (Part::Follower, _) => {}
        }
    }
}
