//! What the own log lacks of the base, and the disk before it counts.

use kanjo_format::replication::WireBatch;

use super::*;

/// The time without a batch after which a base is given up doubles at most so often: however
/// slow the way to the only member is, it gets there in the end.
const BASES_LOST_COUNTED: u32 = 6;

impl GroupOpening {
    pub(super) fn fetch(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Fetching;
        self.fetched_at_ns = self.now_ns;
        let Some(node) = self.base_of else {
            return;
        };
        match self.member(node).map(|m| m.link) {
            Some(Link::Sealed) => self.ask_fetch(node, actions),
            Some(Link::Away) => self.redial(node, actions),
            // It is asked once it has granted again.
            Some(Link::Greeting | Link::Sealing) | None => {}
        }
    }

    pub(super) fn ask_fetch(&self, node: NodeId, actions: &mut Vec<Action>) {
        let from = self.log.tail.lsn;
        self.send(node, Body::Fetch { from }, actions);
    }

    pub(super) fn fetched(
        &mut self,
        node: NodeId,
        batch: &WireBatch<'_>,
        actions: &mut Vec<Action>,
    ) {
        if batch.lsn < self.log.tail.lsn {
            return;
        }
        let (promised, _) = self.promised();
        if batch.epoch >= promised {
            // Nobody can have written under an epoch that was not open yet.
            return self.redial(node, actions);
        }
        let place = self.log.next_place(self.identity.cluster);
        let mut payload = Vec::new();
        match self.unpacker.unpack(batch, &place, &mut payload) {
            Ok(header) => {
                self.appending = true;
                self.log.confirmed = self.log.confirmed.max(header.confirmed());
                let header = Box::new(header);
                actions.push(Action::Append { header, payload });
            }
            Err(_) => self.redial(node, actions),
        }
    }

    pub(super) fn appended(&mut self, tail: Tail) {
        self.appending = false;
        self.unsynced = true;
        self.fetched_at_ns = self.now_ns;
        crate::note_epoch(&mut self.log, tail);
    }

    pub(super) fn fetch_ended(&mut self, node: NodeId, tail: Tail, actions: &mut Vec<Action>) {
        if tail == self.log.tail {
            return self.sync_and_open(actions);
        }
        self.redial(node, actions);
    }

    /// The member that the base comes from had its time: it counts as not answering, like one
    /// that never granted. Another sealed one has everything that was answered, too.
    pub(super) fn look_for_progress(&mut self, actions: &mut Vec<Action>) {
        let waited_ns = self.now_ns.saturating_sub(self.fetched_at_ns);
        let silence_ns = self.silence_ns() << self.bases_lost.min(BASES_LOST_COUNTED);
        if self.appending || waited_ns < silence_ns {
            return;
        }
        let Some(node) = self.base_of.take() else {
            return;
        };
        if let Some(member) = self.member_mut(node) {
            member.sealed = None;
        }
        self.bases_lost += 1;
        self.redial(node, actions);
        if self.unsynced {
            // ORDER: on the disk before a cut may end the log within it.
            self.stage = Stage::Pausing;
            return actions.push(Action::Sync);
        }
        self.seal_on(actions);
    }

    /// ORDER: what is fetched is on the disk before it is a base.
    pub(super) fn sync_and_open(&mut self, actions: &mut Vec<Action>) {
        if !self.unsynced {
            return self.open(actions);
        }
        self.stage = Stage::Syncing;
        actions.push(Action::Sync);
    }
}
