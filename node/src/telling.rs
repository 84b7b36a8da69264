//! Tells the other threads how this node stands: what changes its health at once, the figures at
//! each tick.

use std::fmt::Write;

use crate::following::why_not_serving;
use crate::node::{Node, Part};
use crate::published::{Health, Role};
use crate::reign::Primary;

impl Node {
    /// Tells what changed; everything if a tick came. Whoever reads just now makes it come with
    /// the next turn.
    pub(crate) fn tell(&mut self, ticked: bool) {
        let stopping = self.is_stopping();
        let health = self.health(stopping);
        if !ticked && health == self.told {
            return;
        }
        if ticked {
            self.hot.shared.published.turn();
        }
        let figures = self.hot.figures();
        let shared = std::sync::Arc::clone(&self.hot.shared);
        let told = shared.published.update(|told| {
            told.health = health;
            told.figures = figures;
            told.why.clear();
            told.peers.clear();
            told.member_heard_ns = None;
            self.say_why(stopping, &mut told.why);
            if let Some(primary) = self.primary() {
                told.member_heard_ns = primary.member_heard_ns();
                told.peers.extend(primary.peer_figures());
            }
            let unprotected = &self.hot.store.ledger.reign().unprotected;
            told.unprotected.clear();
            told.unprotected.extend(
                unprotected
                    .amounts
                    .iter()
                    .map(|(ledger, sum)| (*ledger, *sum)),
            );
        });
        if told {
            self.told = health;
        }
    }

    fn health(&mut self, stopping: bool) -> Health {
        let role = match &self.part {
            Part::Replica => Role::Replica,
            Part::Primary(_) => Role::Primary,
            Part::Opening(_) | Part::GroupOpening(_) | Part::Halted(_) => Role::Resolving,
        };
        let in_set = match &self.group {
            Some(group) => group.is_in_set(),
            None => self.receiver.in_sync(),
        };
        let epoch = self.hot.shared.granted();
        let said = self.hot.store.ledger.reign().protection;
        match self.primary() {
            Some(primary) => Health {
                role,
                epoch,
                serving: !stopping && !primary.hot.disk_low && primary.can_serve(),
                protection: Some(primary.protection()),
                protected: primary.is_protected(),
                ..Health::default()
            },
            None => Health {
                role,
                epoch,
                protection: Some(said),
                following: role == Role::Replica && self.receiver.is_following(),
                in_set,
                caught_up: self.receiver.is_caught_up(),
                ..Health::default()
            },
        }
    }

    fn say_why(&mut self, stopping: bool, why: &mut String) {
        if stopping {
            return why.push_str("this node is stopping");
        }
        match &self.part {
            Part::Replica => {
                let awaits = self.receiver.awaits_operator();
                why.push_str(why_not_serving(awaits, self.receiver.is_following()));
            }
            Part::Opening(run) => why.push_str(run.why()),
            Part::GroupOpening(run) => why.push_str(run.why()),
            Part::Halted(reason) => why.push_str(reason),
            Part::Primary(_) => {
                if let Some(primary) = self.primary() {
                    primary.say_why(why);
                }
            }
        }
    }
}

impl Primary<'_> {
    fn say_why(&self, why: &mut String) {
        why.push_str(self.why_not_serving());
        if why.is_empty() && self.hot.disk_low {
            let floor = self.hot.config.free_disk_floor_bytes;
            // A string takes everything.
            let _ = write!(why, "less than {floor} bytes of disk are free");
        }
    }
}
