//! Tells the other threads how this node stands: what changes its health at once, the figures at
//! some of the ticks.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::following::why_not_serving;
use crate::node::{Node, Part};
use crate::published::{Health, PeerFigures, Role};
use crate::reign::Primary;

/// Figures are told this often.
const FIGURES_EVERY: Duration = Duration::from_millis(100);

/// What was told last, and when.
#[derive(Default)]
pub(crate) struct Told {
    health: Health,
    at: Option<Instant>,
}

impl Node {
    /// Tells that this thread turns, and from time to time everything.
    pub(crate) fn tell_at_tick(&mut self) {
        self.hot.shared.published.turn();
        let is_old = |at: Instant| at.elapsed() >= FIGURES_EVERY;
        let health = self.health();
        if health != self.told.health || self.told.at.is_none_or(is_old) {
            self.tell(health);
        }
    }

    /// Tells everything if the node stands otherwise than it told.
    pub(crate) fn tell_changes(&mut self) {
        let health = self.health();
        if health != self.told.health {
            self.tell(health);
        }
    }

    /// Whoever reads just now makes it come with the next turn.
    fn tell(&mut self, health: Health) {
        let figures = self.hot.figures();
        let shared = Arc::clone(&self.hot.shared);
        let told = shared.published.update(|told| {
            told.health = health;
            told.figures = figures;
            told.why.clear();
            self.say_why(&mut told.why);
            told.peers.clear();
            told.member_heard_ns = None;
            told.peers.extend(self.followed());
            if let Some(primary) = self.primary() {
                told.member_heard_ns = primary.member_heard_ns();
                told.peers.extend(primary.peer_figures());
            }
            let unprotected = &self.hot.store.ledger.reign().unprotected;
            let sums = unprotected.amounts.iter();
            told.unprotected.clear();
            told.unprotected
                .extend(sums.map(|(ledger, sum)| (*ledger, *sum)));
        });
        if told {
            self.told = Told {
                health,
                at: Some(Instant::now()),
            };
        }
    }

    fn health(&mut self) -> Health {
        let stopping = self.is_stopping();
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
            Some(primary) => {
                let can_serve = primary.can_serve();
                Health {
                    role,
                    epoch,
                    serving: can_serve && !stopping && !primary.hot.disk_low,
                    protection: Some(primary.protection()),
                    one_site: primary.is_one_site(),
                    catching_up: primary.is_catching_up(),
                    protected: can_serve && primary.waits_for_another_site(),
                    ..Health::default()
                }
            }
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

    /// As replica: the primary that is followed, or was last.
    fn followed(&self) -> Option<PeerFigures> {
        let node = self.following.writer();
        let node = node.filter(|_| matches!(self.part, Part::Replica))?;
        Some(PeerFigures {
            node,
            connected: self.receiver.is_following(),
            shipped: None,
        })
    }

    fn say_why(&mut self, why: &mut String) {
        if self.is_stopping() {
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
