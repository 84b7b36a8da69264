//! Batches and files within the window, and the acks that come back.

use super::*;

impl Sender {
    /// Sends on: a file where one saves the way, else batches within the window.
    pub(super) fn pump(&mut self, actions: &mut Vec<Action>) {
        if self.stage != Stage::Live || self.sending {
            return;
        }
        if let Some(file) = self.next_file() {
            self.stage = Stage::File { file, end: None };
            return actions.push(Action::SendChunk { file, offset: 0 });
        }
        let (from, tail) = (self.cursor.lsn, self.start.log.tail.lsn);
        let held_back_at = self.held_back_at();
        if from >= held_back_at.unwrap_or(tail).min(tail) {
            return self.maybe_caught_up(actions);
        }
        let used = from.since(self.acked.lsn);
        if used < SEND_WINDOW_BYTES_MAX {
            let window = SEND_WINDOW_BYTES_MAX - used;
            let bytes_max = held_back_at.map_or(window, |end| end.since(from).min(window));
            self.sending = true;
            actions.push(Action::SendBatches { from, bytes_max });
        }
    }

    /// ORDER: a batch is sent beside the own sync, for a commit waits for both. While nobody is a
    /// member only what the own disk has is sent, and to a new one what was written before it was
    /// taken in: of a batch that this node, being alone, lost in a crash the log of the replica would
    /// not tell that it was never answered.
    fn held_back_at(&self) -> Option<Lsn> {
        let durable = self.start.durable;
        let may_be_alone = self.start.members.is_empty();
        (may_be_alone || durable < self.mark_through).then_some(durable)
    }

    /// A checkpoint for an empty log, then every segment that is sealed and wholly ahead.
    pub(super) fn next_file(&self) -> Option<SeedFile> {
        if self.batches_only || !self.in_flight.is_empty() || self.acked != self.cursor {
            return None;
        }
        let segment_bytes = self.start.identity.segment_bytes;
        let at = self.cursor.lsn.get();
        let whole = at.is_multiple_of(segment_bytes)
            && Lsn::new(at).advance(segment_bytes) <= self.sealed_to;
        match self.checkpoint {
            Some(lsn) if at == 0 && lsn > Lsn::ZERO => Some(SeedFile::Checkpoint(lsn)),
            _ => whole.then_some(SeedFile::Segment(at / segment_bytes)),
        }
    }

    pub(super) fn sent(&mut self, tail: Tail) {
        if self.stage != Stage::Live || !self.sending {
            return;
        }
        assert!(tail.lsn > self.cursor.lsn, "batches are sent in order");
        assert!(
            tail.lsn <= self.start.log.tail.lsn,
            "only what was appended is sent"
        );
        self.cursor = tail;
        self.in_flight.push_back(tail);
    }

    pub(super) fn acked(&mut self, member: Member, tail: Tail, actions: &mut Vec<Action>) {
        if tail.lsn <= self.acked.lsn {
            return;
        }
        while self.in_flight.front().is_some_and(|t| t.lsn < tail.lsn) {
            self.in_flight.pop_front();
        }
        if self.in_flight.front() != Some(&tail) {
            return self.diverged(member, tail, actions);
        }
        self.in_flight.pop_front();
        self.note_acked(member, tail, actions);
        self.maybe_mark(actions);
        self.pump(actions);
    }

    /// What was sent says nothing of who gets it: only acks tell that a replica keeps up, and every
    /// commit waits for it from then on.
    fn maybe_caught_up(&mut self, actions: &mut Vec<Action>) {
        let unacked = self.cursor.lsn.since(self.acked.lsn);
        if self.acked.lsn < self.catch_up_to || unacked > CAUGHT_UP_UNACKED_BYTES_MAX {
            return;
        }
        if let (Some(member), false) = (self.peer, self.told_caught_up) {
            self.told_caught_up = true;
            let acked = self.acked.lsn;
            actions.push(Action::CaughtUp { member, acked });
        }
    }

    pub(super) fn chunk_sent(
        &mut self,
        next: u64,
        total: u64,
        end: Tail,
        actions: &mut Vec<Action>,
    ) {
        let Stage::File { file, end: None } = self.stage else {
            return;
        };
        if next < total {
            let offset = next;
            return actions.push(Action::SendChunk { file, offset });
        }
        self.stage = Stage::File {
            file,
            end: Some(end),
        };
    }

    pub(super) fn file_gone(&mut self, actions: &mut Vec<Action>) {
        if let Stage::File { end: None, .. } = self.stage {
            self.stage = Stage::Live;
            self.batches_only = true;
            self.pump(actions);
        }
    }

    pub(super) fn stored(
        &mut self,
        member: Member,
        file: SeedFile,
        tail: Tail,
        actions: &mut Vec<Action>,
    ) {
        let Stage::File {
            file: ours,
            end: Some(end),
        } = self.stage
        else {
            return;
        };
        if file != ours {
            return self.close(CloseReason::Dialogue, actions);
        }
        self.stage = Stage::Live;
        match file {
            SeedFile::Checkpoint(_) => self.checkpoint = None,
            SeedFile::Segment(_) if tail == end => {
                self.cursor = tail;
                self.note_acked(member, tail, actions);
                self.maybe_mark(actions);
            }
            SeedFile::Segment(_) => return self.diverged(member, tail, actions),
        }
        self.pump(actions);
    }
}
