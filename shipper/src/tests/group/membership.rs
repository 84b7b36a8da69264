//! The writer's set in the register: gate before register when a member is taken in, register
//! before gate when one is dropped. While an answer is unknown, the gate goes on waiting.

use kanjo_format::record::Protection;

use super::node::{Mode, NODES, Reign, site_of};
use super::opening::index;
use super::register::{Asker, Command, Reply};
use super::sim::{Fault, Sim};
use crate::Member;

/// Whether that very directory follows.
fn is_live(reign: &Reign, member: &Member) -> bool {
    let session = reign.sessions[index(member.node)].as_ref();
    session.is_some_and(|s| {
        s.sender.is_live() && s.sender.peer().is_some_and(|(peer, _)| peer == *member)
    })
}

impl Sim {
    /// Looks after the set of a reign.
    pub(super) fn tend_set(&mut self, i: usize) {
        let peer = self.below(NODES as u64) as usize;
        if self.takes_in(i, peer) {
            self.take_in(i, peer);
        }
        let keeps_itself = self.faults && self.below(8) == 0;
        let Some((set, target)) = self.target(i, keeps_itself) else {
            return;
        };
        if set == target {
            return self.drop_strays(i);
        }
        if self.planted == Some(Fault::GateBeforeRegister) {
            for member in set.iter().filter(|m| !target.contains(m)) {
                self.drop_from_gate(i, *member);
            }
        }
        self.ask_set(i, target);
    }

    /// The other site's servers always, the own one's where no auxiliary site is attached.
    fn takes_in(&self, i: usize, peer: usize) -> bool {
        let Mode::Primary(reign) = &self.nodes[i].mode else {
            return false;
        };
        let one_site = reign.gate.epoch().get() % 3 == 0;
        site_of(i) != site_of(peer) || one_site
    }

    /// The set as it is known, and as it should be.
    fn target(&mut self, i: usize, keeps_itself: bool) -> Option<(Vec<Member>, Vec<Member>)> {
        let me = self.nodes[i].member();
        let Mode::Primary(reign) = &self.nodes[i].mode else {
            return None;
        };
        if reign.asked.is_some() || reign.superseded || reign.goes_alone {
            return None;
        }
        let live = |member: &Member| is_live(reign, member);
        let in_gate = |member: &Member| reign.gate.members().any(|m| m == *member);
        let mut target = reign.set.clone();
        let sessions = reign.sessions.iter().flatten();
        let whole = sessions.filter_map(|s| {
            let (member, through) = s.through?;
            (s.acked >= through).then_some(member)
        });
        for member in whole.filter(|m| in_gate(m) && live(m)) {
            if !target.contains(&member) {
                target.push(member);
            }
        }
        if keeps_itself && !target.contains(&me) {
            target.push(me);
        }
        let others: Vec<Member> = target.iter().copied().filter(|m| *m != me).collect();
        let stays: Vec<Member> = target
            .iter()
            .copied()
            .filter(|m| live(m) || (*m == me && keeps_itself))
            .collect();
        let enough = others.iter().any(|m| live(m) && in_gate(m));
        let target = if enough { stays } else { target };
        let set = reign.set.clone();
        Some((set, target))
    }

    /// In the gate, but in no register, and gone: nobody was promised that it has anything.
    fn drop_strays(&mut self, i: usize) {
        let Mode::Primary(reign) = &self.nodes[i].mode else {
            return;
        };
        let gone = |member: &Member| !is_live(reign, member);
        let members: Vec<Member> = reign.gate.members().collect();
        let stray = members.iter().copied();
        let stray = stray.filter(|m| !reign.set.contains(m)).find(gone);
        let counted = members.iter().any(|m| reign.set.contains(m));
        if let Some(stray) = stray
            && counted
        {
            self.drop_from_gate(i, stray);
        }
    }

    fn ask_set(&mut self, i: usize, set: Vec<Member>) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        reign.turn += 1;
        reign.asked = Some(set);
        self.ask_set_again(i);
    }

    fn ask_set_again(&mut self, i: usize) {
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        let Some(set) = reign.asked.clone() else {
            return;
        };
        let epoch = reign.gate.epoch();
        let command = Command::ChangeSet {
            epoch,
            opening: reign.opening,
            turn: reign.turn,
            expected: reign.set.clone(),
            set,
        };
        self.ask(i, Asker::Reign(epoch), command);
    }

    /// An operator lets it answer alone: first the register names nobody else.
    pub(super) fn degrade(&mut self, i: usize) {
        let me = self.nodes[i].member();
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        if reign.gate.is_open() && reign.asked.is_none() && !reign.superseded {
            reign.goes_alone = true;
            self.ask_set(i, vec![me]);
        }
    }

    /// The register answered a reign.
    pub(super) fn reign_replied(&mut self, i: usize, epoch: kanjo_format::Epoch, reply: Reply) {
        let me = self.nodes[i].member();
        let Some(reign) = self.nodes[i].reign() else {
            return;
        };
        if reign.gate.epoch() != epoch {
            return;
        }
        let record = match reply {
            Reply::Unknown => return self.ask_set_again(i),
            Reply::Done(record) => record,
            Reply::Refused(record) => {
                reign.asked = None;
                reign.superseded = (record.epoch, record.opening) != (epoch, reign.opening);
                if !reign.superseded {
                    reign.set = record.set;
                }
                return;
            }
        };
        reign.asked = None;
        self.tally.sets += 1;
        let before = std::mem::replace(&mut reign.set, record.set.clone());
        if reign.goes_alone {
            // What executes from here on does so in an epoch of its own.
            self.nodes[i].alone_word = true;
            return self.open(i);
        }
        let counted = record.set.iter().any(|m| *m != me);
        if counted && reign.gate.protection() != Protection::Protected {
            let moved = reign.gate.set_protection(Protection::Protected);
            self.moved(i, moved);
        }
        for member in before {
            if member != me && !record.set.contains(&member) {
                self.drop_from_gate(i, member);
            }
        }
        self.check_set();
    }
}
