//! What the grants mean: who stays in the set, whose tail is the base, and how the own log comes
//! to hold it.

use kanjo_format::Chain;
use kanjo_format::Lsn;
use kanjo_format::replication::EpochEntry;

use super::sealing::Sealed;
use super::*;
use crate::find_fork;
use crate::fork::Way;

/// What the grants so far allow.
struct Verdict {
    /// Whose tail is the base; nobody's if it is the own one.
    base_of: Option<NodeId>,
    /// Who stays in the set.
    set: Vec<Member>,
}

impl GroupOpening {
    /// Waits for grants, or for more of them.
    pub(super) fn seal_on(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Sealing;
        self.look_for_enough(actions);
    }

    /// Goes on when all members have granted, or some have and the others had their time.
    pub(super) fn look_for_enough(&mut self, actions: &mut Vec<Action>) {
        let missing = self.members.iter().filter(|m| m.sealed.is_none());
        let missing: Vec<Member> = missing.map(|m| m.member).collect();
        let waited_ns = self.now_ns.saturating_sub(self.sealing_since_ns);
        if !missing.is_empty() && waited_ns < self.patience_ns {
            return;
        }
        match self.judge() {
            Ok(verdict) => self.take(verdict, actions),
            // Whoever is missing may be the one that has it: it must not be left out now.
            Err(StopReason::Uncertain | StopReason::MemberOlder { .. }) if !missing.is_empty() => {
                self.wait(missing, actions);
            }
            Err(why) => self.stop(why, actions),
        }
    }

    fn wait(&mut self, missing: Vec<Member>, actions: &mut Vec<Action>) {
        if self.told_missing != missing {
            self.told_missing.clone_from(&missing);
            actions.push(Action::Wait { missing });
        }
    }

    /// The base, and who has it or may get it. Looks before anything is changed, so that an
    /// opening that stops leaves the register as it was.
    fn judge(&self) -> Result<Verdict, StopReason> {
        let told = self.sealed().map(|(_, sealed)| sealed.confirmed);
        let confirmed = told.fold(self.log.confirmed, Lsn::max);
        let base_of = self.best_tail(confirmed)?;
        if let Some(Way::Parts(fork)) = self.way_to(base_of)?
            && self.log.may_have_answered_above(fork.lsn)
        {
            return Err(StopReason::DivergentAnswered { fork });
        }
        let stays = self.sealed().filter(|(_, sealed)| {
            // What is uncertain stays so until it was brought up to the new writer's log. What
            // lacks an answer without knowing it must not be taken for whole by the next one.
            match sealed.uncertain {
                true => self.contains(base_of, sealed),
                false => sealed.tail.lsn >= confirmed,
            }
        });
        let own = self.in_set.then_some(self.me());
        let set = stays.map(|(member, _)| member).chain(own).collect();
        Ok(Verdict { base_of, set })
    }

    /// Whose tail is of the highest epoch, then the longest, of those that are certain and hold
    /// everything that is known to be committed; nobody's if it is the own one.
    fn best_tail(&self, confirmed: Lsn) -> Result<Option<NodeId>, StopReason> {
        let own = (self.me(), self.log.tail, None);
        let own = (self.in_set && !self.control.uncertain).then_some(own);
        let sealed = self.sealed();
        let certain = sealed.filter(|(_, sealed)| !sealed.uncertain);
        let others = certain.map(|(member, sealed)| (member, sealed.tail, Some(member.node)));
        let certain: Vec<_> = others.chain(own).collect();
        let rank = |tail: Tail, of: Option<NodeId>| {
            let at_hand = of.is_none_or(|node| self.is_at_hand(node));
            (tail.epoch, tail.lsn, at_hand)
        };
        let best = certain.into_iter().max_by_key(|(_, tail, of)| {
            // A tail below is of a directory that is older than it was.
            (tail.lsn >= confirmed, rank(*tail, *of))
        });
        match best {
            None => Err(StopReason::Uncertain),
            Some((_, tail, of)) if tail.lsn >= confirmed => Ok(of),
            Some((member, tail, _)) => Err(StopReason::MemberOlder {
                member,
                has: tail.lsn,
                confirmed,
            }),
        }
    }

    fn is_at_hand(&self, node: NodeId) -> bool {
        self.member(node).is_some_and(|m| m.link == Link::Sealed)
    }

    fn sealed(&self) -> impl Iterator<Item = (Member, &Sealed)> {
        let all = self.members.iter();
        all.filter_map(|m| m.sealed.as_ref().map(|sealed| (m.member, sealed)))
    }

    fn sealed_of(&self, node: NodeId) -> Option<&Sealed> {
        self.member(node).and_then(|m| m.sealed.as_ref())
    }

    /// Whether the base holds all of that log.
    fn contains(&self, base_of: Option<NodeId>, sealed: &Sealed) -> bool {
        let base: (&[EpochEntry], Tail) = match base_of.and_then(|node| self.sealed_of(node)) {
            Some(base) => (&base.history, base.tail),
            None => (&self.log.history, self.log.tail),
        };
        let fork = find_fork(self.identity.cluster, base, (&sealed.history, sealed.tail));
        fork.is_ok_and(|fork| fork.end.lsn == sealed.tail.lsn)
    }

    /// How the own log comes to hold the base, if it is another's.
    fn way_to(&self, base_of: Option<NodeId>) -> Result<Option<Way>, StopReason> {
        let Some(sealed) = base_of.and_then(|node| self.sealed_of(node)) else {
            return Ok(None);
        };
        let theirs = (&sealed.history[..], sealed.tail);
        Ok(Some(self.log.way_to(self.identity.cluster, theirs)?))
    }

    fn take(&mut self, verdict: Verdict, actions: &mut Vec<Action>) {
        self.base_of = verdict.base_of;
        self.asked_set = verdict.set;
        let whole = self.members.len() + usize::from(self.in_set);
        if self.asked_set.len() == whole {
            return self.take_base(actions);
        }
        self.stage = Stage::Shrinking;
        self.ask_shrink(actions);
    }

    /// ORDER: the register leaves them out before an epoch begins that they do not know of.
    pub(super) fn ask_shrink(&mut self, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let set = self.asked_set.clone();
        actions.push(Action::ChangeSet {
            epoch,
            opening,
            set,
        });
    }

    pub(super) fn was_shrunk(&mut self, actions: &mut Vec<Action>) {
        let set = std::mem::take(&mut self.asked_set);
        self.members.retain(|m| set.contains(&m.member));
        self.take_base(actions);
    }

    fn take_base(&mut self, actions: &mut Vec<Action>) {
        let base = self.base_of.and_then(|node| self.sealed_of(node));
        let Some(base) = base.map(|sealed| sealed.tail) else {
            return self.sync_and_open(actions);
        };
        match self.way_to(self.base_of) {
            Err(why) => self.stop(why, actions),
            Ok(None | Some(Way::Holds)) => {
                self.stage = Stage::Checking;
                let lsn = base.lsn;
                actions.push(Action::CheckChain { lsn });
            }
            Ok(Some(Way::Behind)) => self.fetch(actions),
            Ok(Some(Way::Parts(to))) => {
                self.stage = Stage::Cutting;
                actions.push(Action::Cut { to });
            }
        }
    }

    pub(super) fn chain_at(&mut self, chain: Option<Chain>, actions: &mut Vec<Action>) {
        let base = self.base_of.and_then(|node| self.sealed_of(node));
        if chain.is_some() && chain == base.map(|sealed| sealed.tail.chain) {
            return self.sync_and_open(actions);
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
}
