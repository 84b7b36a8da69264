//! The steps, and when each is possible.
//!
//! Nothing waits for time: whatever a part may do when it has lost patience it may do at once,
//! and whatever needs two parts may as well never happen. So a cut, of one way or both, and a part
//! that is down need no state: they are the time in which certain steps are not taken.

use kanjo_group::register::{Authority, Command};

use crate::kept::Kept;
use crate::state::{Letter, Part, Servers, State, site_of};
use crate::world::{Care, World};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A server reads that register, promises the next epoch to itself and claims it there.
    Begin { server: usize, at: usize },
    /// A member of the set grants the opener's epoch; the answer is heard or not.
    Seal {
        opener: usize,
        member: usize,
        heard: bool,
    },
    /// An opener leaves out who has not answered.
    GiveUp(usize),
    /// An opener has its base, and begins to write.
    Open(usize),
    /// A writer takes a client's entry into its log.
    Append(usize),
    /// A follower grants the writer's epoch, makes its log like the writer's, syncs and acks.
    Ship { writer: usize, follower: usize },
    /// A writer answers all that it may.
    Commit(usize),
    /// Commits wait for a follower from now on, and the register is asked to name it.
    TakeIn { writer: usize, follower: usize },
    /// The register is asked to leave a member out.
    Drop { writer: usize, member: usize },
    /// A writer plans to move the authority to the other register.
    PlanMove(usize),
    /// Somebody carries the certificate from this register to the other one.
    Carry { from: usize },
    /// A server is chosen to process for its site.
    Nominate(usize),
    /// An opener makes sure that it is to process.
    Confirm(usize),
    /// An opener asks the third site's witness; the answer is heard or not.
    AskThird { server: usize, heard: bool },
    /// A writer takes the authority to its own site; the third witness' answer is heard or not.
    Seize { writer: usize, heard: bool },
    /// An operator has a site off.
    SwitchOff(usize),
    /// It comes back.
    SwitchOn(usize),
    /// A register hears that the other one has seized the authority.
    Concede(usize),
    /// A command arrives at its register.
    Deliver(Letter),
    /// An answer arrives at the server that waits for it.
    Hear(usize),
    /// Power fails: memory is gone, and of what was not synced all but so many entries.
    Crash { server: usize, kept: usize },
}

impl World {
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        let servers = self.scene.servers.iter();
        for server in servers.filter(|server| !state.off[site_of(*server)]) {
            self.possible_for(state, server, actions);
        }
        if state.moves > 0 {
            actions.extend([0, 1].map(|from| Action::Carry { from }));
        }
        if state.left.offs > 0 {
            actions.extend([0, 1].map(Action::SwitchOff));
        }
        actions.extend([0, 1].map(Action::SwitchOn));
        actions.extend([0, 1].map(Action::Concede));
        let letters = state.letters.iter().cloned();
        actions.extend(letters.map(Action::Deliver));
    }

    fn possible_for(&self, state: &State, server: usize, actions: &mut Vec<Action>) {
        let own = &state.servers[server];
        if own.ask.as_ref().is_some_and(|ask| ask.answer.is_some()) {
            actions.push(Action::Hear(server));
        }
        if state.left.nominations > 0 {
            actions.push(Action::Nominate(server));
        }
        match &own.part {
            Part::Follower => {
                let registers = (0..2).filter(|at| self.may_begin(state, server, *at));
                actions.extend(registers.map(|at| Action::Begin { server, at }));
            }
            Part::Opening(opening) => {
                let set = opening.set.map_or(Servers::NONE, |set| set.members);
                for member in set.without(server).iter() {
                    if opening.tails[member].is_none() {
                        actions.extend([true, false].map(|heard| Action::Seal {
                            opener: server,
                            member,
                            heard,
                        }));
                    }
                }
                if self.scene.care != Care::Free {
                    actions.push(Action::Confirm(server));
                }
                if self.scene.third {
                    let heard = [true, false];
                    actions.extend(heard.map(|heard| Action::AskThird { server, heard }));
                }
                actions.push(Action::GiveUp(server));
                actions.push(Action::Open(server));
            }
            Part::Writer(_) => self.possible_for_writer(state, server, actions),
        }
        if state.left.crashes > 0 {
            let kept = own.synced..=own.log.len();
            actions.extend(kept.map(|kept| Action::Crash { server, kept }));
        }
    }

    fn possible_for_writer(&self, state: &State, writer: usize, actions: &mut Vec<Action>) {
        if state.left.entries > 0 {
            actions.push(Action::Append(writer));
        }
        actions.push(Action::Commit(writer));
        let free = state.servers[writer].ask.is_none();
        if free && state.left.moves > 0 {
            actions.push(Action::PlanMove(writer));
        }
        if self.scene.third || state.off != [false; 2] {
            let heard = [true, false].into_iter();
            let heard = heard.filter(|heard| *heard || self.scene.third);
            actions.extend(heard.map(|heard| Action::Seize { writer, heard }));
        }
        for other in self.scene.servers.without(writer).iter() {
            let (follower, member) = (other, other);
            actions.push(Action::Ship { writer, follower });
            if free && state.left.changes > 0 {
                actions.push(Action::TakeIn { writer, follower });
                actions.push(Action::Drop { writer, member });
            }
        }
    }

    /// Carries out a step; one that turns out not to be possible changes nothing.
    pub(crate) fn carry_out(&self, state: &mut State, action: &Action) {
        match action {
            Action::Begin { server, at } => self.begin(state, *server, *at),
            Action::Seal {
                opener,
                member,
                heard,
            } => self.seal(state, *opener, *member, *heard),
            Action::GiveUp(opener) => self.give_up(state, *opener),
            Action::Open(opener) => self.open(state, *opener),
            Action::Append(writer) => self.append(state, *writer),
            Action::Ship { writer, follower } => self.ship(state, *writer, *follower),
            Action::Commit(writer) => self.commit(state, *writer),
            Action::TakeIn { writer, follower } => self.take_in(state, *writer, *follower),
            Action::Drop { writer, member } => self.drop_member(state, *writer, *member),
            Action::PlanMove(writer) => self.plan_move(state, *writer),
            Action::Carry { from } => carry(state, *from),
            Action::Nominate(server) => self.nominate(state, *server),
            Action::Confirm(server) => self.confirm(state, *server),
            Action::AskThird { server, heard } => self.ask_third(state, *server, *heard),
            Action::Seize { writer, heard } => self.seize(state, *writer, *heard),
            Action::SwitchOff(number) => self.switch_off(state, *number),
            Action::SwitchOn(number) => self.switch_on(state, *number),
            Action::Concede(at) => self.concede(state, *at),
            Action::Deliver(letter) => self.deliver(state, letter),
            Action::Hear(server) => self.hear(state, *server),
            Action::Crash { server, kept } => crash(state, *server, *kept),
        }
    }
}

/// Any server may do it that has read both registers.
fn carry(state: &mut State, from: usize) {
    if let Authority::HandedOver(certificate) = &state.registers[from].authority {
        let by = certificate.reign.opening.node.get() as usize;
        let command = Command::Activate(certificate.clone());
        state.post(Letter {
            from: by,
            to: 1 - from,
            command: Kept::new(command),
        });
    }
}

fn crash(state: &mut State, server: usize, kept: usize) {
    state.left.crashes -= 1;
    let server = &mut state.servers[server];
    server.log.truncate(kept);
    server.synced = kept;
    server.granted = server.kept;
    server.step_down();
}
