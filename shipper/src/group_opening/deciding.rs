//! The base, and how the own log comes to hold it.

use kanjo_format::replication::EpochEntry;
use kanjo_format::{Chain, Lsn};

use super::*;

impl GroupOpening {
    /// Everybody of the set that answers has granted: takes the best tail.
    pub(super) fn decide(&mut self, actions: &mut Vec<Action>) {
        if self.nothing_answered && self.log.confirmed > Lsn::ZERO {
            let confirmed = self.log.confirmed;
            return self.stop(StopReason::RegisterForgot { confirmed }, actions);
        }
        if self.nothing_answered {
            return self.open_on_own_log(actions);
        }
        let certain = |m: &&Sealing| m.granted.is_some_and(|granted| !granted.uncertain);
        let own_certain = self.in_set && !self.control.uncertain;
        if !own_certain && !self.members.iter().any(|m| certain(&m)) {
            return self.stop(StopReason::Uncertain, actions);
        }
        let tails = self.members.iter().filter(certain);
        let best = tails
            .filter_map(|m| m.granted.map(|granted| (granted.tail, m.member)))
            .max_by_key(|(tail, _)| (tail.epoch, tail.lsn));
        let own = (self.log.tail.epoch, self.log.tail.lsn);
        let Some((tail, member)) = best else {
            return self.open_on_own_log(actions);
        };
        if own_certain && own >= (tail.epoch, tail.lsn) {
            return self.open_on_own_log(actions);
        }
        if tail.lsn < self.log.confirmed {
            let (has, confirmed) = (tail.lsn, self.log.confirmed);
            return self.stop(
                StopReason::MemberOlder {
                    member,
                    has,
                    confirmed,
                },
                actions,
            );
        }
        self.base_of = Some(member.node);
        self.take_base(tail, actions);
    }

    fn take_base(&mut self, theirs: Tail, actions: &mut Vec<Action>) {
        let mine = (&self.log.history[..], self.log.tail);
        let history = self.history_of_base();
        let fork = match find_fork(self.identity.cluster, mine, (&history, theirs)) {
            Ok(fork) => fork,
            Err(error) => return self.stop(error.into(), actions),
        };
        if fork.end.lsn == theirs.lsn {
            self.stage = Stage::Checking;
            let lsn = theirs.lsn;
            return actions.push(Action::CheckChain { lsn });
        }
        if fork.end.lsn == self.log.tail.lsn {
            return self.fetch(actions);
        }
        if self.log.may_have_answered_above(fork.end.lsn) {
            let fork = fork.end;
            return self.stop(StopReason::DivergentAnswered { fork }, actions);
        }
        self.stage = Stage::Cutting;
        actions.push(Action::Cut { to: fork.end });
    }

    fn base_member(&self) -> Option<&Sealing> {
        let node = self.base_of?;
        self.members.iter().find(|m| m.member.node == node)
    }

    fn history_of_base(&self) -> Vec<EpochEntry> {
        let welcome = self.base_member().and_then(|m| m.welcome.as_ref());
        welcome.map_or_else(Vec::new, |welcome| welcome.history.clone())
    }

    pub(super) fn chain_at(&mut self, chain: Option<Chain>, actions: &mut Vec<Action>) {
        let granted = self.base_member().and_then(|m| m.granted);
        let expected = granted.map(|granted| granted.tail.chain);
        if chain.is_some() && chain == expected {
            return self.open_on_own_log(actions);
        }
        let text = "the in-sync member's tail is not in this log".to_owned();
        self.stop(StopReason::Logs(text), actions);
    }

    pub(super) fn was_cut(&mut self, log: Option<&LocalLog>, actions: &mut Vec<Action>) {
        match log {
            Some(log) => {
                self.log = log.clone();
                self.fetch(actions);
            }
            None => {
                let text = "this log does not hold the common end".to_owned();
                self.stop(StopReason::Logs(text), actions);
            }
        }
    }

    fn fetch(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Fetching;
        let from = self.log.tail.lsn;
        if let Some(node) = self.base_of {
            self.send(node, Body::Fetch { from }, actions);
        }
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
            return actions.push(Action::Dial { node });
        }
        let place = BatchPlace {
            cluster: self.identity.cluster,
            lsn: self.log.tail.lsn,
            epoch: self.log.tail.epoch,
            chain: self.log.tail.chain,
        };
        let mut payload = Vec::new();
        match self.unpacker.unpack(batch, &place, &mut payload) {
            Ok(header) => {
                let header = Box::new(header);
                actions.push(Action::Append { header, payload });
            }
            Err(_) => actions.push(Action::Dial { node }),
        }
    }

    pub(super) fn fetch_ended(&mut self, node: NodeId, tail: Tail, actions: &mut Vec<Action>) {
        if tail == self.log.tail {
            return self.open_on_own_log(actions);
        }
        actions.push(Action::Dial { node });
    }

    fn open_on_own_log(&mut self, actions: &mut Vec<Action>) {
        if !self.unsynced {
            return self.open_now(actions);
        }
        self.stage = Stage::Syncing;
        actions.push(Action::Sync);
    }
}
