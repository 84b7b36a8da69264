//! Opening an epoch in a group: the set stands in a register, and its members are several.
//!
//! The order is fixed: promise the epoch here, claim it in the register, which gives the set; seal
//! every member; leave out who does not answer, in the register first; take the best tail of the
//! sealed as base; fetch what is lacking; open.
//!
//! ```text
//! Promise -> Claim -> { Hello -> Welcome -> Seal -> Granted }* -> [ChangeSet]
//!   -> [CheckChain | Cut] -> [Fetch] -> [Sync] -> Open
//! ```

use kanjo_format::control::Control;
use kanjo_format::record::Protection;
use kanjo_format::replication::{Body, Frame, Granted, WireBatch};
use kanjo_format::{BatchPlace, Epoch, NodeId, OpeningId, Tail};

use crate::opening::OpenEpoch;
use crate::{Identity, LocalLog, Member, Unpacker, find_fork};

mod deciding;
mod events;
mod sealing;
#[cfg(test)]
mod tests;

pub use events::{Action, Event, GroupOpeningStart, OpenedGroup, StopReason};
use sealing::Sealing;

/// So often a higher epoch than the register's is promised before this node gives up.
const CLAIMS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Promising,
    Claiming,
    Sealing,
    /// The register is asked to leave out who did not answer.
    Shrinking,
    /// The own log must hold the base.
    Checking,
    Cutting,
    Fetching,
    /// What was fetched goes to the disk before it is a base.
    Syncing,
    Ended,
}

/// One attempt of one node to open an epoch in its group.
pub struct GroupOpening {
    control: Control,
    identity: Identity,
    log: LocalLog,
    random: u128,
    takes_over: bool,
    patience_ns: u64,
    now_ns: u64,
    sealed_since_ns: u64,
    stage: Stage,
    highest: Epoch,
    promised: Option<(Epoch, OpeningId)>,
    claims: u32,
    claimed: bool,
    former: Epoch,
    /// The set as the register has it, without this node.
    members: Vec<Sealing>,
    /// Whether this node is in the set.
    in_set: bool,
    nothing_answered: bool,
    told_missing: bool,
    /// Whose tail is the base, if it is not the own one.
    base_of: Option<NodeId>,
    unpacker: Unpacker,
    unsynced: bool,
}

impl GroupOpening {
    /// An opening by the node of this control file and log.
    pub fn new(start: GroupOpeningStart) -> Self {
        let control = start.control;
        let identity = Identity {
            cluster: control.cluster,
            node: control.node,
            incarnation: control.incarnation,
            site: control.site,
            segment_bytes: control.segment_bytes,
            start_count: control.start_count,
            client_address: start.client_address,
        };
        let highest = control
            .granted_epoch
            .max(control.peer_granted_epoch)
            .max(start.log.tail.epoch)
            .max(start.register_epoch);
        Self {
            control,
            identity,
            log: start.log,
            random: start.random,
            takes_over: start.takes_over,
            patience_ns: start.seal_patience_ns,
            now_ns: start.now_ns,
            sealed_since_ns: start.now_ns,
            stage: Stage::Promising,
            highest,
            promised: None,
            claims: 0,
            claimed: false,
            former: Epoch::NONE,
            members: Vec::new(),
            in_set: false,
            nothing_answered: false,
            told_missing: false,
            base_of: None,
            unpacker: Unpacker::new(),
            unsynced: false,
        }
    }

    /// Begins.
    pub fn start(&mut self, actions: &mut Vec<Action>) {
        self.promise(actions);
    }

    /// Whether the register has this opening's epoch: from then on nobody's lower one counts.
    pub const fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// Takes an event, gives what is to be done. Events that do not belong to the present stage
    /// are late answers to an earlier one, and ignored.
    pub fn step(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        if self.stage == Stage::Ended {
            return;
        }
        match (self.stage, event) {
            (_, Event::Tick { now_ns }) => self.tick(now_ns, actions),
            (_, Event::Connected { node }) => self.connected(node, actions),
            (_, Event::Frame { node, frame }) => self.frame(node, frame, actions),
            (_, Event::Unreachable { node }) => self.unreachable(node, actions),
            (Stage::Promising, Event::Promised { tail }) => {
                self.log.tail = tail;
                self.claim(actions);
            }
            (Stage::Claiming, Event::Claimed { set, former }) => {
                self.was_claimed(&set, former, actions);
            }
            (Stage::Claiming, Event::ClaimRefused { highest }) => {
                self.highest = self.highest.max(highest);
                self.promise(actions);
            }
            (Stage::Claiming, Event::ClaimUnknown) => self.claim(actions),
            (Stage::Claiming, Event::ClaimLost { why }) => {
                self.stop(StopReason::NotChosen(why), actions);
            }
            (Stage::Shrinking, Event::SetChanged) => self.was_shrunk(actions),
            (Stage::Shrinking, Event::SetUnknown) => self.ask_shrink(actions),
            (Stage::Shrinking, Event::SetRefused { highest }) => self.fenced(highest, actions),
            (Stage::Checking, Event::ChainAt { chain }) => self.chain_at(chain, actions),
            (Stage::Cutting, Event::Cut { log }) => self.was_cut(log, actions),
            (Stage::Fetching, Event::Appended { tail }) => {
                crate::note_epoch(&mut self.log, tail);
                self.unsynced = true;
            }
            (Stage::Syncing, Event::Synced) => self.open_now(actions),
            _ => {}
        }
    }

    /// Promises an epoch above everything seen.
    fn promise(&mut self, actions: &mut Vec<Action>) {
        if self.claims == CLAIMS_MAX {
            return self.stop(StopReason::Outrun(CLAIMS_MAX), actions);
        }
        self.claims += 1;
        let site = self.identity.site;
        let next = match self.takes_over {
            true => self.highest.next_site_term(site),
            false => self.highest.next_for(site),
        };
        let Some(epoch) = next else {
            return self.stop(StopReason::EpochsUsedUp, actions);
        };
        let opening = OpeningId {
            node: self.identity.node,
            incarnation: self.identity.incarnation,
            random: self.random,
        };
        // A higher one than this is of the next attempt; what was promised is never promised again.
        self.highest = epoch;
        self.promised = Some((epoch, opening));
        self.stage = Stage::Promising;
        actions.push(Action::Promise { epoch, opening });
    }

    fn claim(&mut self, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        self.stage = Stage::Claiming;
        actions.push(Action::Claim { epoch, opening });
    }

    fn was_claimed(&mut self, set: &[Member], former: Epoch, actions: &mut Vec<Action>) {
        self.claimed = true;
        self.former = former;
        self.nothing_answered = set.is_empty();
        let me = self.me();
        self.in_set = set.contains(&me);
        let others = set.iter().filter(|member| **member != me);
        self.members = others.map(|member| Sealing::new(*member)).collect();
        self.sealed_since_ns = self.now_ns;
        self.stage = Stage::Sealing;
        if self.members.is_empty() {
            return self.decide(actions);
        }
        for member in &self.members {
            actions.push(Action::Dial {
                node: member.member.node,
            });
        }
    }

    fn promised(&self) -> (Epoch, OpeningId) {
        self.promised
            .expect("an epoch is promised before it is claimed")
    }

    fn me(&self) -> Member {
        Member {
            node: self.identity.node,
            incarnation: self.identity.incarnation,
        }
    }

    fn tick(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        self.now_ns = now_ns;
        if self.stage == Stage::Sealing {
            self.look_for_enough(actions);
        }
    }

    fn open_now(&mut self, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let base = self.log.tail;
        assert!(
            epoch > base.epoch,
            "an epoch is above all that is in its base"
        );
        let members: Vec<Member> = self.members.iter().map(|m| m.member).collect();
        let mut grants: Vec<(Member, Tail)> = self
            .members
            .iter()
            .filter_map(|m| m.granted.map(|granted| (m.member, granted.tail)))
            .collect();
        if self.in_set {
            grants.push((self.me(), base));
        }
        self.stage = Stage::Ended;
        let protection = match members.is_empty() {
            true => Protection::Waiting,
            false => Protection::Protected,
        };
        actions.push(Action::Open(OpenedGroup {
            open: OpenEpoch {
                epoch,
                opening,
                base,
                protection,
                members,
                unfenced: false,
            },
            former: self.former,
            grants,
        }));
    }

    fn fenced(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        self.stage = Stage::Ended;
        actions.push(Action::Fenced { epoch });
    }

    fn stop(&mut self, why: StopReason, actions: &mut Vec<Action>) {
        self.stage = Stage::Ended;
        actions.push(Action::Stop(why));
    }

    fn send(&self, node: NodeId, body: Body<'static>, actions: &mut Vec<Action>) {
        let (epoch, _) = self.promised();
        let frame = Frame { epoch, body };
        actions.push(Action::Send { node, frame });
    }
}
