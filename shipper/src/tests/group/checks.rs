//! What must hold at every step, seen by somebody who sees all disks.

use std::collections::BTreeMap;

use kanjo_format::{Chain, Epoch, Lsn, OpeningId, Tail};

use super::node::NODES;
use super::opening::index;
use super::sim::Sim;
use crate::Member;
use crate::opening::OpenEpoch;

/// An epoch that was opened, with everything that its base holds.
pub(super) struct Opened {
    epoch: Epoch,
    opening: OpeningId,
    base: BTreeMap<Lsn, Chain>,
}

impl Sim {
    /// Whether any disk holds less than it synced.
    pub(super) fn has_lost(&self) -> bool {
        self.nodes.iter().any(|n| n.lost)
    }

    fn holds_all(&self, i: usize) -> bool {
        let log = &self.nodes[i].log;
        let durable = log.durable().lsn;
        let last = self.committed.last_key_value();
        // One history: who holds its end holds all of it.
        last.is_none_or(|(lsn, (chain, _))| durable >= *lsn && log.chain_at(*lsn) == Some(*chain))
    }

    /// Of the register's set, who certainly holds everything that was answered.
    pub(super) fn holders(&self) -> Vec<usize> {
        let set = &self.register.record.set;
        let holds = |i: &usize| {
            let node = &self.nodes[*i];
            set.contains(&node.member()) && !node.control.uncertain && self.holds_all(*i)
        };
        (0..NODES).filter(holds).collect()
    }

    /// Whether a node's end is in doubt although it is all there.
    pub(super) fn may_vouch(&self, i: usize) -> bool {
        self.nodes[i].control.uncertain && self.holds_all(i)
    }

    /// Everything that was answered is on the disk of each member of the set.
    pub(super) fn check_set(&self) {
        for member in &self.register.record.set {
            let i = index(member.node);
            let node = &self.nodes[i];
            if node.member() == *member && !node.lost {
                assert!(
                    self.holds_all(i),
                    "node {} is in the set and lacks what was answered",
                    member.node
                );
            }
        }
    }

    pub(super) fn check_opened(&mut self, i: usize, open: &OpenEpoch, set: &[Member]) {
        self.tally.epochs += 1;
        let log = &self.nodes[i].log;
        assert_eq!(open.base, log.durable(), "a base is on the disk");
        assert_eq!(log.synced, log.batches.len());
        let twice = self.opened.iter().any(|o| o.epoch == open.epoch);
        assert!(!twice, "epoch {} has two writers", open.epoch);
        // An opener that was held up may open below a reign that has answered: nobody acks to it.
        let below = self.committed.iter();
        for (at, (chain, _)) in below.filter(|(_, (_, epoch))| *epoch < open.epoch) {
            assert_eq!(
                log.chain_at(*at),
                Some(*chain),
                "epoch {} has a base that lacks what was answered at {at}",
                open.epoch
            );
        }
        let me = self.nodes[i].member();
        let others: Vec<Member> = set.iter().copied().filter(|m| *m != me).collect();
        let mut members = open.members.clone();
        members.sort();
        let mut known = others;
        known.sort();
        assert_eq!(members, known, "the gate waits for the register's set");
        let base = log.batches.iter().map(|b| (b.tail.lsn, b.tail.chain));
        self.opened.push(Opened {
            epoch: open.epoch,
            opening: open.opening,
            base: base.collect(),
        });
    }

    /// Committed moved to `lsn` at a writer: one history, on every disk that counts, in every
    /// base that was opened above.
    pub(super) fn check_committed(&mut self, i: usize, lsn: Lsn) {
        let reign = self.nodes[i].reign().unwrap();
        let (epoch, opening, from) = (reign.gate.epoch(), reign.opening, reign.counted);
        let members: Vec<Member> = reign.gate.members().collect();
        let log = &self.nodes[i].log;
        let to = log.batches.iter().take_while(|b| b.tail.lsn <= lsn).count();
        assert!(log.durable().lsn >= lsn);
        let fresh: Vec<Tail> = log.batches[from..to].iter().map(|b| b.tail).collect();
        for tail in &fresh {
            let known = self.committed.get(&tail.lsn);
            self.tally.commits += u64::from(known.is_none());
            let (chain, first) = known.copied().unwrap_or((tail.chain, epoch));
            assert_eq!(chain, tail.chain, "two histories at {}", tail.lsn);
            self.committed.insert(tail.lsn, (chain, first.min(epoch)));
            for later in self.opened.iter().filter(|o| o.epoch > epoch) {
                assert_eq!(
                    later.base.get(&tail.lsn),
                    Some(&tail.chain),
                    "epoch {epoch} answered at {} what the base of epoch {} lacks",
                    tail.lsn,
                    later.epoch
                );
            }
        }
        let opened = self.opened.iter().find(|o| o.epoch == epoch);
        assert!(
            opened.is_some_and(|o| o.opening == opening),
            "epoch {epoch} is another opening's"
        );
        self.committed_epoch = self.committed_epoch.max(epoch);
        if let Some(reign) = self.nodes[i].reign() {
            reign.counted = to;
        }
        for member in members {
            self.check_has(member, lsn);
        }
        self.check_set();
    }

    fn check_has(&self, member: Member, lsn: Lsn) {
        let node = &self.nodes[index(member.node)];
        if node.member() == member && !node.lost {
            assert!(
                node.log.durable().lsn >= lsn,
                "committed at {lsn}, node {} has {}",
                member.node,
                node.log.durable()
            );
        }
    }

    /// An ack is of the disk, however late it comes.
    pub(super) fn check_acked(&self, peer: usize, member: Member, tail: Tail) {
        let node = &self.nodes[peer];
        if node.member() == member && !node.lost {
            let committed = self.committed.get(&tail.lsn).map(|c| c.0) == Some(tail.chain);
            assert!(
                node.log.durable().lsn >= tail.lsn || !committed,
                "acked beyond the disk"
            );
        }
    }

    pub(super) fn check_cut(&mut self, i: usize, to: Tail) {
        self.tally.cuts += 1;
        let log = &self.nodes[i].log;
        for (at, (chain, _)) in self.committed.iter().filter(|(at, _)| **at > to.lsn) {
            assert_ne!(log.chain_at(*at), Some(*chain), "cut committed {at}");
        }
    }
}
