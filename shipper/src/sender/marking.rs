//! The replica's durable mark: asked for last, cleared first.

use super::*;

impl Sender {
    pub(super) fn joined(&mut self, through: Lsn, actions: &mut Vec<Action>) {
        self.mark_through = through;
        if let Some(peer) = self.peer.filter(|peer| !self.is_member(*peer)) {
            self.start.members.push(peer);
        }
        self.clear_wanted = false;
        if self.mark == MarkState::Clear {
            self.mark = MarkState::Wanted(through);
            self.maybe_mark(actions);
        }
        self.pump(actions);
    }

    pub(super) fn is_member(&self, member: Member) -> bool {
        self.start.members.contains(&member)
    }

    pub(super) fn dropped(&mut self, member: Member, actions: &mut Vec<Action>) {
        self.start.members.retain(|other| *other != member);
        if self.peer != Some(member) {
            return;
        }
        match self.mark {
            MarkState::Clear => {}
            MarkState::Asked(mark) if !mark.in_sync => {}
            MarkState::Wanted(_) => self.mark = MarkState::Clear,
            MarkState::Asked(_) | MarkState::Set(_) => {
                self.clear_wanted = true;
                self.ask_clear(actions);
            }
        }
    }

    /// ORDER: the mark is asked for only once every commit waits for the replica and it has
    /// everything that was committed before.
    pub(super) fn maybe_mark(&mut self, actions: &mut Vec<Action>) {
        if let MarkState::Wanted(lsn) = self.mark
            && self.acked.lsn >= lsn
            && self.stage == Stage::Live
            && !self.clear_wanted
        {
            self.ask_mark(true, lsn, actions);
        }
    }

    pub(super) fn ask_clear(&mut self, actions: &mut Vec<Action>) {
        if self.clear_wanted && matches!(self.stage, Stage::Live | Stage::File { .. }) {
            self.ask_mark(false, Lsn::ZERO, actions);
        }
    }

    pub(super) fn ask_mark(&mut self, in_sync: bool, lsn: Lsn, actions: &mut Vec<Action>) {
        self.turn += 1;
        let mark = Mark {
            turn: self.turn,
            in_sync,
            lsn,
        };
        self.mark = MarkState::Asked(mark);
        self.send(Body::Mark(mark), actions);
    }

    pub(super) fn marked(&mut self, member: Member, mark: Mark, actions: &mut Vec<Action>) {
        if self.mark != MarkState::Asked(mark) {
            return;
        }
        if mark.in_sync {
            let lsn = mark.lsn;
            self.mark = MarkState::Set(lsn);
            actions.push(Action::InSync { member, lsn });
        } else if self.clear_wanted {
            self.mark = MarkState::Clear;
            self.clear_wanted = false;
            self.start.members.retain(|other| *other != member);
            actions.push(Action::MarkCleared { member });
        } else {
            // It was taken in again meanwhile.
            self.mark = MarkState::Wanted(self.mark_through);
            self.maybe_mark(actions);
        }
    }
}
