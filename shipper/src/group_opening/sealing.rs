//! The dialogues with the members: who they are, and their grants.

use kanjo_format::replication::{
    Hello, Purpose, REPLICATION_VERSION, REPLICATION_VERSION_MIN, RefusalCode, Refused, Welcome,
};

use super::*;

/// One member of the set, as far as it was heard.
pub(super) struct Sealing {
    pub(super) member: Member,
    pub(super) welcome: Option<Welcome>,
    /// Its grant of the claimed epoch; it refuses everything lower from then on.
    pub(super) granted: Option<Granted>,
}

impl Sealing {
    pub(super) const fn new(member: Member) -> Self {
        Self {
            member,
            welcome: None,
            granted: None,
        }
    }
}

impl GroupOpening {
    fn member(&mut self, node: NodeId) -> Option<&mut Sealing> {
        self.members.iter_mut().find(|m| m.member.node == node)
    }

    /// Whether that node is spoken to now: all members while they are sealed, then only the one
    /// that the base comes from.
    fn speaks_to(&self, node: NodeId) -> bool {
        match self.stage {
            Stage::Sealing => true,
            Stage::Fetching => self.base_of == Some(node),
            _ => false,
        }
    }

    pub(super) fn connected(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        if !self.speaks_to(node) {
            return;
        }
        let Some(member) = self.member(node) else {
            return;
        };
        member.welcome = None;
        let hello = Hello {
            version_min: REPLICATION_VERSION_MIN,
            version_max: REPLICATION_VERSION,
            purpose: Purpose::Replicate,
            cluster: self.identity.cluster,
            node: self.identity.node,
            incarnation: self.identity.incarnation,
            site: self.identity.site,
            role: self.control.role,
            segment_bytes: self.identity.segment_bytes,
            start_count: self.identity.start_count,
            highest_epoch: self.promised().0,
            opening: Some(self.promised().1),
            tail: self.log.tail,
            history: self.log.history.clone(),
            client_address: self.identity.client_address.clone(),
        };
        self.send(node, Body::Hello(Box::new(hello)), actions);
    }

    pub(super) fn unreachable(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        if !self.speaks_to(node) || self.member(node).is_none() {
            return;
        }
        // The node paces this.
        actions.push(Action::Dial { node });
        if self.stage == Stage::Sealing {
            self.look_for_enough(actions);
        }
    }

    pub(super) fn frame(&mut self, node: NodeId, frame: &Frame<'_>, actions: &mut Vec<Action>) {
        if !self.speaks_to(node) {
            return;
        }
        let (epoch, opening) = self.promised();
        match &frame.body {
            Body::Welcome(welcome) => self.welcomed(node, welcome, actions),
            Body::Refused(refused) => self.refused(node, refused, actions),
            Body::Granted(granted) if frame.epoch == epoch && granted.opening == opening => {
                self.granted(node, *granted, actions);
            }
            Body::Batch(batch) if frame.epoch == epoch && self.stage == Stage::Fetching => {
                self.fetched(node, batch, actions);
            }
            Body::FetchEnd { tail } if frame.epoch == epoch && self.stage == Stage::Fetching => {
                self.fetch_ended(node, *tail, actions);
            }
            _ => {}
        }
    }

    fn welcomed(&mut self, node: NodeId, welcome: &Welcome, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let (cluster, segment_bytes) = (self.identity.cluster, self.identity.segment_bytes);
        let Some(member) = self.member(node) else {
            return;
        };
        let is_it = welcome.node == node && welcome.incarnation == member.member.incarnation;
        if !is_it || welcome.cluster != cluster || welcome.segment_bytes != segment_bytes {
            // A wiped directory, or a stranger, never answers for the former one.
            return;
        }
        if welcome.granted_epoch > epoch {
            return self.fenced(welcome.granted_epoch, actions);
        }
        member.welcome = Some(welcome.clone());
        self.send(node, Body::Seal { opening }, actions);
    }

    fn refused(&mut self, node: NodeId, refused: &Refused, actions: &mut Vec<Action>) {
        let (epoch, _) = self.promised();
        if refused.granted_epoch > epoch {
            return self.fenced(refused.granted_epoch, actions);
        }
        if refused.code == RefusalCode::OtherOpening {
            // One epoch, two openings: the other one was granted it.
            return self.fenced(epoch, actions);
        }
        if self.member(node).is_some() {
            actions.push(Action::Dial { node });
        }
    }

    fn granted(&mut self, node: NodeId, granted: Granted, actions: &mut Vec<Action>) {
        let fetching = self.stage == Stage::Fetching;
        let from = self.log.tail.lsn;
        let Some(member) = self.member(node) else {
            return;
        };
        let Some(welcome) = &member.welcome else {
            return;
        };
        let seen = welcome.history.last().map_or(Epoch::NONE, |e| e.epoch);
        if granted.tail.epoch != seen {
            // The log moved on between Welcome and the grant; nothing moves it now.
            actions.push(Action::Dial { node });
            return;
        }
        if fetching {
            // The connection broke meanwhile: what it granted is what it had.
            return self.send(node, Body::Fetch { from }, actions);
        }
        member.granted = Some(granted);
        self.look_for_enough(actions);
    }

    /// Goes on when all members have granted, or some have and the others had their time.
    pub(super) fn look_for_enough(&mut self, actions: &mut Vec<Action>) {
        let granted = self.members.iter().filter(|m| m.granted.is_some()).count();
        if granted == self.members.len() {
            return self.decide(actions);
        }
        let waited_ns = self.now_ns.saturating_sub(self.sealed_since_ns);
        if waited_ns < self.patience_ns {
            return;
        }
        if granted > 0 || self.in_set {
            self.stage = Stage::Shrinking;
            return self.ask_shrink(actions);
        }
        if !self.told_missing {
            self.told_missing = true;
            let missing = self.members.iter().map(|m| m.member).collect();
            actions.push(Action::Wait { missing });
        }
    }

    /// ORDER: the register leaves them out before an epoch begins that they do not know of.
    pub(super) fn ask_shrink(&mut self, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let granted = self.members.iter().filter(|m| m.granted.is_some());
        let mut set: Vec<Member> = granted.map(|m| m.member).collect();
        if self.in_set {
            set.push(self.me());
        }
        actions.push(Action::ChangeSet {
            epoch,
            opening,
            set,
        });
    }

    pub(super) fn was_shrunk(&mut self, actions: &mut Vec<Action>) {
        self.members.retain(|m| m.granted.is_some());
        self.decide(actions);
    }
}
