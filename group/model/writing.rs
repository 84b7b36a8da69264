//! A reign: append, ship, answer, and who is waited for.

use kanjo_group::register::{Command, Protection};

use crate::mistakes::Mistake;
use crate::state::{Entry, Part, Servers, State, Writer, site_of};
use crate::world::World;

impl World {
    pub(crate) fn append(&self, state: &mut State, writer: usize) {
        state.left.entries -= 1;
        state.entries += 1;
        let own = &mut state.servers[writer];
        let entry = Entry {
            epoch: own.granted.epoch,
            opening: own.granted.opening,
            number: state.entries,
        };
        own.log.push(entry);
    }

    /// The follower's receiving and its sync are one step: what a follower has received and not
    /// synced either is lost, as if it was never sent, or is synced before anybody hears of it.
    pub(crate) fn ship(&self, state: &mut State, writer: usize, follower: usize) {
        let (asked, log) = (
            state.servers[writer].granted,
            state.servers[writer].log.clone(),
        );
        if state.off[site_of(follower)] {
            return;
        }
        let other = &mut state.servers[follower];
        if !self.grants(other, asked) || other.part != Part::Follower {
            return;
        }
        other.log = log;
        other.synced = other.log.len();
        let end = other.synced;
        if let Some(writing) = writing(state, writer) {
            writing.acked[follower] = end;
        }
    }

    /// ORDER: an answer is given once it is on every disk that the gate waits for.
    pub(crate) fn commit(&self, state: &mut State, writer: usize) {
        let alone = self.scene.alone;
        let length = state.servers[writer].log.len();
        let Some(writing) = writing(state, writer) else {
            return;
        };
        let acked = writing.gate.iter().map(|member| writing.acked[member]);
        let acked = match self.has(Mistake::AnyOneMember) {
            true => acked.max(),
            false => acked.min(),
        };
        let protected = !writing.set.members.without(writer).is_empty();
        let end = match acked {
            Some(acked) if protected => acked,
            None if alone && writing.set.members == Servers::of(writer) => length,
            Some(_) | None => return,
        };
        if end <= writing.committed || end < writing.floor {
            return;
        }
        writing.committed = end;
        let own = &mut state.servers[writer];
        own.synced = own.synced.max(end);
        answer(state, writer, end);
    }

    /// ORDER: a follower has the whole base and what is committed, every commit waits for it,
    /// and then the register names it.
    pub(crate) fn take_in(&self, state: &mut State, writer: usize, follower: usize) {
        let Some(writing) = writing(state, writer) else {
            return;
        };
        let mut least = writing.floor.max(writing.committed);
        if self.has(Mistake::TakenInWithoutBase) {
            least = writing.committed;
        }
        if writing.set.members.has(follower) || writing.acked[follower] < least {
            return;
        }
        if !self.has(Mistake::SetGrownFirst) {
            writing.gate = writing.gate.with(follower);
        }
        let set = writing.set.members.without(writer).with(follower);
        change_set(state, writer, set);
    }

    /// ORDER: the register leaves the member out, and then the gate stops waiting for it.
    pub(crate) fn drop_member(&self, state: &mut State, writer: usize, member: usize) {
        let Some(writing) = writing(state, writer) else {
            return;
        };
        if !writing.set.members.has(member) {
            return;
        }
        if self.has(Mistake::AckBeforeShrink) {
            writing.gate = writing.gate.without(member);
        }
        let mut set = writing.set.members.without(member);
        if set.is_empty() {
            set = Servers::of(writer);
        }
        change_set(state, writer, set);
    }
}

fn writing(state: &mut State, writer: usize) -> Option<&mut Writer> {
    match &mut state.servers[writer].part {
        Part::Writer(writing) => Some(writing),
        Part::Follower | Part::Opening(_) => None,
    }
}

fn change_set(state: &mut State, writer: usize, set: Servers) {
    let (epoch, opening) = (
        state.servers[writer].granted.epoch,
        state.opening_id(writer),
    );
    let Some(writing) = writing(state, writer) else {
        return;
    };
    let (at, expected) = (writing.at, writing.set);
    state.left.changes -= 1;
    let command = Command::ChangeSet {
        epoch,
        opening,
        follows: expected.changes,
        expected: expected.members.members(),
        set: set.members(),
        protection: Protection::Protected,
    };
    state.send(writer, at, command);
}

/// Everything below `end` of the writer's log is answered; what was answered before, by anybody,
/// must go together with it.
fn answer(state: &mut State, writer: usize, end: usize) {
    let now = &state.servers[writer].log[..end];
    let before = &state.answered[..];
    if !now.starts_with(before) && !before.starts_with(now) {
        state.disagreed = true;
    } else if now.len() > before.len() {
        state.answered = now.to_vec();
    }
}
