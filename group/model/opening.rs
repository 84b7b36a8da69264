//! Opening an epoch: promise, claim, seal, leave out, base, begin.

use kanjo_format::Epoch;
use kanjo_group::register::{Command, Protection, Reign};

use crate::mistakes::Mistake;
use crate::state::{
    Entry, Grant, InForce, Opening, Part, SERVERS, Server, Servers, State, Writer, site, site_of,
};
use crate::world::{Care, World};

impl World {
    /// A server of the active site opens by itself, one of the auxiliary site at its own
    /// register. Which server of a site that is, its nominee, is left open: it may be any.
    pub(crate) fn may_begin(&self, state: &State, server: usize, at: usize) -> bool {
        let register = &state.registers[at];
        let own = site_of(server);
        let may = register.active == site(own) || at == own;
        may && register.holds_authority() && !state.off[at] && state.left.openings > 0
    }

    pub(crate) fn begin(&self, state: &mut State, server: usize, at: usize) {
        let expected = state.registers[at].reign.epoch;
        let follows = state.registers[at].reign.third;
        let takes_over = state.registers[at].active != site(site_of(server));
        let own = &mut state.servers[server];
        let epoch = expected
            .max(own.granted.epoch)
            .next_for(site(site_of(server)));
        let epoch = epoch.expect("terms are not used up");
        state.left.openings -= 1;
        state.openings += 1;
        let opening = state.openings;
        grant(self, own, Grant { epoch, opening });
        own.part = Part::Opening(Opening {
            at,
            expected,
            takes_over,
            nomination: None,
            follows,
            third: None,
            set: None,
            tails: [None; SERVERS],
        });
        if self.scene.care == Care::Free {
            self.claim(state, server);
        }
    }

    pub(crate) fn claim(&self, state: &mut State, server: usize) {
        let own = &state.servers[server];
        let Part::Opening(opening) = &own.part else {
            return;
        };
        let (at, expected) = (opening.at, opening.expected);
        let reign = Reign {
            epoch: own.granted.epoch,
            opening: state.opening_id(server),
            address: String::new(),
            third: opening.third,
        };
        state.send(server, at, Command::Claim { expected, reign });
    }

    pub(crate) fn seal(&self, state: &mut State, opener: usize, member: usize, heard: bool) {
        if state.off[site_of(member)] {
            return;
        }
        let asked = state.servers[opener].granted;
        let sealed = &mut state.servers[member];
        if !self.grants(sealed, asked) {
            return;
        }
        let tail = sealed.tail();
        if heard && let Part::Opening(opening) = &mut state.servers[opener].part {
            opening.tails[member] = Some(tail);
        }
    }

    /// Whether a server stands by this epoch of this opening, having granted it if it was free to.
    pub(crate) fn grants(&self, server: &mut Server, asked: Grant) -> bool {
        if asked.epoch > server.granted.epoch {
            server.step_down();
            grant(self, server, asked);
        }
        self.is_granted(server.granted, asked)
    }

    /// ORDER: an opener goes on without a member only when the register has left it out.
    pub(crate) fn give_up(&self, state: &mut State, opener: usize) {
        let own = &state.servers[opener];
        let Part::Opening(opening) = &own.part else {
            return;
        };
        let (Some(set), None) = (opening.set, &own.ask) else {
            return;
        };
        let mut left = heard(opening, opener).and(set.members);
        if left.is_empty() && self.has(Mistake::BaseOutsideSet) {
            left = Servers::of(opener);
        }
        if left == set.members || left.is_empty() {
            return;
        }
        let (at, epoch) = (opening.at, own.granted.epoch);
        let command = Command::ChangeSet {
            epoch,
            opening: state.opening_id(opener),
            follows: set.changes,
            expected: set.members.members(),
            set: left.members(),
            protection: Protection::Waiting,
        };
        state.send(opener, at, command);
    }

    pub(crate) fn open(&self, state: &mut State, opener: usize) {
        let own = &state.servers[opener];
        let Part::Opening(opening) = &own.part else {
            return;
        };
        let (Some(set), None) = (opening.set, &own.ask) else {
            return;
        };
        if set.members.and(heard(opening, opener)) != set.members {
            return;
        }
        let tail = |member: usize| match member == opener {
            true => own.tail(),
            false => opening.tails[member].unwrap_or((Epoch::NONE, 0)),
        };
        if let Some(best) = set.members.iter().max_by_key(|member| tail(*member)) {
            // Nobody but this opener changes that log, as long as its grant stands.
            let granted = state.servers[best].granted;
            if best != opener && !self.is_granted(granted, own.granted) {
                return;
            }
            let base = state.servers[best].log.clone();
            let own = &mut state.servers[opener];
            if !own.log.starts_with(&base) {
                own.log = base;
            }
        }
        begin_to_write(&mut state.servers[opener], opener, set);
    }
}

fn grant(world: &World, server: &mut Server, grant: Grant) {
    server.granted = grant;
    if !world.has(Mistake::EpochNotDurable) {
        server.kept = grant;
    }
    // What is granted or promised tells of a tail, which is on disk first.
    server.synced = server.log.len();
}

/// Whose tail the opener knows: its own always.
fn heard(opening: &Opening, opener: usize) -> Servers {
    let tails = opening.tails.iter().enumerate();
    tails
        .filter(|(_, tail)| tail.is_some())
        .fold(Servers::of(opener), |all, (member, _)| all.with(member))
}

fn begin_to_write(own: &mut Server, me: usize, set: InForce) {
    let Part::Opening(opened) = &own.part else {
        return;
    };
    let (at, third) = (opened.at, opened.third);
    let nomination = opened.nomination.unwrap_or(0);
    own.synced = own.log.len();
    let Grant { epoch, opening } = own.granted;
    own.log.push(Entry {
        epoch,
        opening,
        number: 0,
    });
    own.part = Part::Writer(Writer {
        at,
        set,
        gate: set.members.without(me),
        acked: [0; SERVERS],
        committed: 0,
        floor: own.log.len(),
        nomination,
        third,
        plan: None,
        activating: false,
    });
}
