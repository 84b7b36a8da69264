//! What is committed, and which reads may be answered.
//!
//! `committed = min(local durable, acked by every member of the in-sync set)`. It never falls,
//! and it does not move before the epoch's own `EpochStart` is on every disk. The node tells
//! what was appended, synced and acked; nothing is dropped from the set but by its explicit
//! call, because a lost connection must stall commits and not weaken them.

use std::collections::VecDeque;

use kanjo_format::record::Protection;
use kanjo_format::{Epoch, Lsn, Tail};

use crate::Member;

/// A read, in the order of arrival. It may be answered once [`CommitGate::readable`] reached it
/// and the lsn that it saw is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// Why an ack does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// An ack under another epoch.
    #[error("ack is for epoch {found}, this reign is {expected}")]
    Epoch {
        /// The ack's.
        found: Epoch,
        /// This reign's.
        expected: Epoch,
    },
    /// An ack for what was never appended here, or with another content.
    #[error("node {} acked {found}, which is not in this log", member.node)]
    NotOurs {
        /// Who.
        member: Member,
        /// What it acked.
        found: Tail,
    },
}

#[derive(Clone, Copy, Debug)]
struct MemberState {
    member: Member,
    acked: Lsn,
    read: ReadToken,
}

/// The commit gate of one reign.
#[derive(Clone, Debug)]
pub struct CommitGate {
    epoch: Epoch,
    base: Tail,
    protection: Protection,
    members: Vec<MemberState>,
    /// Ends of batches appended in this reign and not yet committed.
    pending: VecDeque<Tail>,
    appended: Tail,
    synced: Lsn,
    committed: Lsn,
    /// End of the `EpochStart` batch: nothing commits below it alone.
    floor: Option<Lsn>,
    last_read: ReadToken,
}

impl CommitGate {
    /// The gate of a reign that was just opened on `base`, of which everything is durable here,
    /// and of which `committed` is known to be committed. The first batch that is appended is
    /// its `EpochStart`.
    pub fn new(epoch: Epoch, base: Tail, committed: Lsn, protection: Protection) -> Self {
        assert!(committed <= base.lsn, "committed lies within the base");
        Self {
            epoch,
            base,
            protection,
            members: Vec::new(),
            pending: VecDeque::new(),
            appended: base,
            synced: base.lsn,
            committed,
            floor: None,
            last_read: ReadToken::default(),
        }
    }

    /// A batch ends here; called once a batch, in order.
    pub fn appended(&mut self, tail: Tail) {
        assert!(
            tail.lsn > self.appended.lsn,
            "batches are appended in order"
        );
        self.floor.get_or_insert(tail.lsn);
        self.pending.push_back(tail);
        self.appended = tail;
    }

    /// The local disk has everything below `lsn`. Gives the committed lsn if it moved.
    pub fn synced(&mut self, lsn: Lsn) -> Option<Lsn> {
        assert!(lsn <= self.appended.lsn, "only what was appended is synced");
        self.synced = self.synced.max(lsn);
        self.advance()
    }

    /// A member says that its disk has everything up to `tail`. Gives the committed lsn if it
    /// moved. Acks of others than members change nothing.
    pub fn acked(
        &mut self,
        member: Member,
        epoch: Epoch,
        tail: Tail,
    ) -> Result<Option<Lsn>, GateError> {
        if epoch != self.epoch {
            let expected = self.epoch;
            return Err(GateError::Epoch {
                found: epoch,
                expected,
            });
        }
        self.check_ours(member, tail)?;
        let Some(state) = self.members.iter_mut().find(|m| m.member == member) else {
            return Ok(None);
        };
        state.acked = state.acked.max(tail.lsn);
        Ok(self.advance())
    }

    /// From now on every commit waits for `member`, which has everything up to `acked`.
    /// Committed does not fall; set the durable mark only when [`Self::covers`] says so.
    pub fn add_member(&mut self, member: Member, acked: Lsn) {
        match self.members.iter_mut().find(|m| m.member == member) {
            Some(state) => state.acked = state.acked.max(acked),
            None => self.members.push(MemberState {
                member,
                acked,
                // Reads that are waiting were promised by the set of their time.
                read: self.last_read,
            }),
        }
    }

    /// Stops waiting for `member`. The caller has had its durable mark cleared, or the register that
    /// holds the set drop it, or an operator's word for it: without that, an answered transfer may
    /// be missing after a promotion.
    pub fn remove_member(&mut self, member: Member) -> Option<Lsn> {
        self.members.retain(|m| m.member != member);
        self.advance()
    }

    /// Changes how commits are protected. `Protected` needs a member.
    pub fn set_protection(&mut self, protection: Protection) -> Option<Lsn> {
        assert!(
            protection != Protection::Protected || !self.members.is_empty(),
            "a protected reign has a member"
        );
        self.protection = protection;
        self.advance()
    }

    /// Whether `member` has all that is committed: the moment for its durable mark.
    pub fn covers(&self, member: Member) -> bool {
        let state = self.members.iter().find(|m| m.member == member);
        state.is_some_and(|m| m.acked >= self.committed)
    }

    /// Everything below is committed.
    pub const fn committed(&self) -> Lsn {
        self.committed
    }

    /// This reign's epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How commits are protected.
    pub const fn protection(&self) -> Protection {
        self.protection
    }

    /// The in-sync set.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().map(|m| m.member)
    }

    /// Whether the reign's `EpochStart` is committed, so that it may serve.
    pub fn is_open(&self) -> bool {
        self.floor.is_some_and(|floor| self.committed >= floor)
    }

    /// A read arrived. An exchange with every member that begins after this call is needed: send
    /// a `ReadCheck` with this token (or a later one) to each.
    pub fn read_arrived(&mut self) -> ReadToken {
        self.last_read.0 += 1;
        self.last_read
    }

    /// A member answered a `ReadCheck` under this epoch.
    pub fn read_ok(&mut self, member: Member, epoch: Epoch, token: ReadToken) {
        if epoch != self.epoch || token > self.last_read {
            return;
        }
        if let Some(state) = self.members.iter_mut().find(|m| m.member == member) {
            state.read = state.read.max(token);
        }
    }

    /// Reads up to this token may be answered, each once the lsn that it saw is committed.
    pub fn readable(&self) -> ReadToken {
        if !self.is_open() {
            return ReadToken::default();
        }
        let slowest = self.members.iter().map(|m| m.read).min();
        match (slowest, self.protection) {
            (Some(token), _) => token,
            (None, Protection::Alone) => self.last_read,
            (None, _) => ReadToken::default(),
        }
    }

    fn check_ours(&self, member: Member, found: Tail) -> Result<(), GateError> {
        if found.lsn <= self.base.lsn || found.lsn <= self.committed {
            return Ok(());
        }
        let at = self.pending.binary_search_by_key(&found.lsn, |t| t.lsn);
        match at {
            Ok(i) if self.pending[i] == found => Ok(()),
            _ => Err(GateError::NotOurs { member, found }),
        }
    }

    fn advance(&mut self) -> Option<Lsn> {
        let acked = self.members.iter().map(|m| m.acked).min();
        let candidate = match (self.protection, acked) {
            // Held until the set is known and marked.
            (Protection::Waiting, _) | (Protection::Protected, None) => return None,
            (Protection::Protected | Protection::Alone, Some(acked)) => self.synced.min(acked),
            (Protection::Alone, None) => self.synced,
        };
        if candidate <= self.committed || self.floor.is_none_or(|floor| candidate < floor) {
            return None;
        }
        self.committed = candidate;
        while self.pending.front().is_some_and(|t| t.lsn <= candidate) {
            self.pending.pop_front();
        }
        Some(candidate)
    }
}

#[cfg(test)]
mod tests;
