//! What a grant means: base, set and protection of the epoch to open.

use super::*;
use crate::fork::Way;

impl Opening {
    pub(super) fn granted_there(&mut self, granted: Granted, actions: &mut Vec<Action>) {
        let Some(welcome) = &self.welcome else {
            return;
        };
        let seen = welcome.history.last().map_or(Epoch::NONE, |e| e.epoch);
        if granted.tail.epoch != seen {
            // The log moved on between Welcome and the grant; nothing moves it now.
            return self.redial(actions);
        }
        let history = welcome.history.clone();
        self.granted = Some(granted);
        if granted.in_sync && !self.is_member() {
            // Sealed and reachable: a mark that commits do not wait for goes first, so that its
            // bearer cannot be promoted unasked.
            self.stage = Stage::ClearingMark;
            let mark = Mark {
                turn: 1,
                in_sync: false,
                lsn: Lsn::ZERO,
            };
            return self.send(Body::Mark(mark), actions);
        }
        if granted.in_sync {
            self.take_base(&history, granted.tail, actions);
        } else {
            self.open_without_member(&history, granted, actions);
        }
    }

    /// Whether the peer is who every commit waited for, as this node stored it before the mark
    /// was asked for. A mark of anybody else is left from an earlier set.
    fn is_member(&self) -> bool {
        let peer = self.welcome.as_ref().map(|w| (w.node, w.incarnation));
        let waited_for = self.control.protection == Protection::Protected
            && !matches!(self.want, Want::Alone { .. });
        waited_for && peer.is_some() && peer == self.control.member
    }

    /// The stale mark is gone: the peer is a replica like any other.
    pub(super) fn mark_cleared(&mut self, actions: &mut Vec<Action>) {
        let (Some(welcome), Some(granted)) = (&self.welcome, self.granted) else {
            return;
        };
        let history = welcome.history.clone();
        let unmarked = Granted {
            in_sync: false,
            ..granted
        };
        self.granted = Some(unmarked);
        if self.alone_protection() == Protection::Alone {
            return self.open(Protection::Alone, Vec::new(), false, actions);
        }
        self.open_without_member(&history, unmarked, actions);
    }

    /// The set is this one member: its tail is the base, and the own counts if it contains it.
    pub(super) fn take_base(
        &mut self,
        history: &[EpochEntry],
        theirs: Tail,
        actions: &mut Vec<Action>,
    ) {
        if theirs.lsn < self.log.confirmed {
            // Everything that committed was acked by it: a restored disk image. Its mark must
            // not outlive this; the answer is not waited for, and the next attempt asks again.
            let mark = Mark {
                turn: 1,
                in_sync: false,
                lsn: Lsn::ZERO,
            };
            self.send(Body::Mark(mark), actions);
            let (has, confirmed) = (theirs.lsn, self.log.confirmed);
            return self.stop(StopReason::MemberOlder { has, confirmed }, actions);
        }
        let way = self.log.way_to(self.identity.cluster, (history, theirs));
        match way {
            Err(error) => self.stop(error.into(), actions),
            Ok(Way::Holds) => {
                self.stage = Stage::Checking;
                let lsn = theirs.lsn;
                actions.push(Action::CheckChain { lsn });
            }
            Ok(Way::Behind) => self.fetch(actions),
            Ok(Way::Parts(fork)) if self.log.may_have_answered_above(fork.lsn) => {
                self.stop(StopReason::DivergentAnswered { fork }, actions);
            }
            Ok(Way::Parts(to)) => {
                self.stage = Stage::Cutting;
                actions.push(Action::Cut { to });
            }
        }
    }

    /// Nobody is in the set: everything that was answered is in the own log.
    pub(super) fn open_without_member(
        &mut self,
        history: &[EpochEntry],
        granted: Granted,
        actions: &mut Vec<Action>,
    ) {
        let found = self.welcome.as_ref().map(|w| w.incarnation);
        if let (Want::Restart { member_gone: false }, Protection::Protected, Some((node, former))) =
            (self.want, self.control.protection, self.control.member)
            && let Some(found) = found
            && found != former
        {
            let member = Member {
                node,
                incarnation: former,
            };
            return self.stop(StopReason::MemberReplaced { member, found }, actions);
        }
        let mine = (&self.log.history[..], self.log.tail);
        let fork = match find_fork(self.identity.cluster, mine, (history, granted.tail)) {
            Ok(fork) => fork,
            Err(error) => return self.stop(error.into(), actions),
        };
        // A replica may know of commits beyond its own log; those are in this log or nowhere.
        let common = if fork.end.lsn == granted.tail.lsn {
            self.log.tail.lsn
        } else {
            fork.end.lsn
        };
        if granted.confirmed > common {
            let (peer, here) = (granted.confirmed, common);
            return self.stop(StopReason::PeerHasMore { peer, here }, actions);
        }
        self.open(self.alone_protection(), Vec::new(), false, actions);
    }

    pub(super) fn fetch(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Fetching;
        let from = self.log.tail.lsn;
        self.send(Body::Fetch { from }, actions);
    }

    pub(super) fn fetched(&mut self, batch: &WireBatch<'_>, actions: &mut Vec<Action>) {
        if batch.lsn < self.log.tail.lsn {
            return;
        }
        let promised = self.promised.map_or(Epoch::NONE, |(epoch, _)| epoch);
        if batch.epoch >= promised {
            // Nobody can have written under an epoch that was not open yet.
            return self.redial(actions);
        }
        let place = self.log.next_place(self.identity.cluster);
        let mut payload = Vec::new();
        match self.unpacker.unpack(batch, &place, &mut payload) {
            Ok(header) => {
                let header = Box::new(header);
                actions.push(Action::Append { header, payload });
            }
            Err(_) => self.redial(actions),
        }
    }

    pub(super) fn appended(&mut self, tail: Tail) {
        crate::note_epoch(&mut self.log, tail);
        self.unsynced = true;
    }

    pub(super) fn open_with_member(&mut self, actions: &mut Vec<Action>) {
        let Some(welcome) = &self.welcome else {
            return;
        };
        let member = Member {
            node: welcome.node,
            incarnation: welcome.incarnation,
        };
        self.open(Protection::Protected, vec![member], false, actions);
    }

    pub(super) fn open(
        &mut self,
        protection: Protection,
        members: Vec<Member>,
        unfenced: bool,
        actions: &mut Vec<Action>,
    ) {
        let (epoch, opening) = self.promised.expect("an epoch is promised before it opens");
        let base = self.log.tail;
        assert!(
            epoch > base.epoch,
            "an epoch is above all that is in its base"
        );
        self.ready = Some(OpenEpoch {
            epoch,
            opening,
            base,
            protection,
            members,
            unfenced,
        });
        if self.unsynced {
            self.stage = Stage::Syncing;
            actions.push(Action::Sync);
        } else {
            self.opened(actions);
        }
    }

    pub(super) fn opened(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Ended;
        actions.extend(self.ready.take().map(Action::Open));
    }
}
