//! Opening an epoch in a group: the set stands in a register, and its members are several.
//!
//! The order is fixed: promise the epoch here, claim it in the register, which gives the set; seal
//! every member; leave out who does not answer, in the register first; take the best tail of the
//! sealed as base; fetch what is lacking; open. Nothing is opened on a base that no sealed member
//! of that set has.
//!
//! ```text
//! Promise -> Claim -> { Hello -> Welcome -> Seal -> Granted }* -> [ChangeSet]
//!   -> [CheckChain | Cut] -> [Fetch] -> [Sync] -> Open
//! ```

use kanjo_format::control::Control;
use kanjo_format::record::Protection;
use kanjo_format::replication::{Body, Frame};
use kanjo_format::{Epoch, Lsn, NodeId, OpeningId, Tail};

use crate::opening::OpenEpoch;
use crate::{Identity, LocalLog, Member, Unpacker};

mod deciding;
mod events;
mod fetching;
mod sealing;
#[cfg(test)]
mod tests;

pub use events::{Action, Event, GroupOpeningStart, OpenedGroup, StopReason};
use sealing::{Link, Sealing};

/// So often a higher epoch than the register's is promised before this node gives up.
const CLAIMS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Promising,
    Claiming,
    Sealing,
    /// The register is asked to leave out who does not answer.
    Shrinking,
    /// The own log must hold the base.
    Checking,
    Cutting,
    Fetching,
    /// What was fetched so far goes to the disk, and another base is looked for.
    Pausing,
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
    stage: Stage,
    /// The highest epoch that is known or was promised.
    highest: Epoch,
    promised: Option<(Epoch, OpeningId)>,
    /// Where the own log ended when the epoch was promised.
    promised_tail: Tail,
    claims: u32,
    claimed: bool,
    former: Epoch,
    /// The set as the register has it, without this node.
    members: Vec<Sealing>,
    /// Whether this node is in the set.
    in_set: bool,
    sealing_since_ns: u64,
    told_missing: Vec<Member>,
    /// The set that the register is asked for.
    asked_set: Vec<Member>,
    /// Whose tail is the base; nobody's if it is the own one.
    base_of: Option<NodeId>,
    unpacker: Unpacker,
    /// An `Append` is not answered yet.
    appending: bool,
    unsynced: bool,
    /// When the log last grew, or was about to.
    fetched_at_ns: u64,
    /// How many bases were given up because nothing came.
    bases_lost: u32,
}

impl GroupOpening {
    /// An opening by the node of this control file and log.
    pub fn new(start: GroupOpeningStart) -> Self {
        let control = start.control;
        let known = [control.peer_granted_epoch, start.register_epoch];
        let highest = known
            .into_iter()
            .fold(control.granted_epoch.max(start.log.tail.epoch), Epoch::max);
        Self {
            identity: Identity::new(&control, start.client_address),
            control,
            promised_tail: start.log.tail,
            log: start.log,
            random: start.random,
            takes_over: start.takes_over,
            patience_ns: start.seal_patience_ns,
            now_ns: start.now_ns,
            stage: Stage::Promising,
            highest,
            promised: None,
            claims: 0,
            claimed: false,
            former: Epoch::NONE,
            members: Vec::new(),
            in_set: false,
            sealing_since_ns: start.now_ns,
            told_missing: Vec::new(),
            asked_set: Vec::new(),
            base_of: None,
            unpacker: Unpacker::new(),
            appending: false,
            unsynced: false,
            fetched_at_ns: start.now_ns,
            bases_lost: 0,
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

    /// Whether it opened, was fenced or stopped.
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Takes an event, gives what is to be done. Events that do not belong to the present stage
    /// are late answers to an earlier one, and ignored.
    pub fn step(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        match (self.stage, event) {
            (Stage::Ended, _) => {}
            (_, Event::Tick { now_ns }) => self.tick(now_ns, actions),
            (_, Event::Connected { node }) => self.connected(node, actions),
            (_, Event::Frame { node, frame }) => self.frame(node, frame, actions),
            (_, Event::Unreachable { node }) => self.unreachable(node, actions),
            (Stage::Promising, Event::Promised { tail }) => {
                self.log.tail = tail;
                self.promised_tail = tail;
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
            (_, Event::Appended { tail }) if self.appending => self.appended(tail),
            (Stage::Pausing, Event::Synced) => {
                self.unsynced = false;
                self.seal_on(actions);
            }
            (Stage::Syncing, Event::Synced) => self.open(actions),
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
        // What was promised once is never promised again, whatever the register says to it.
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
        if set.is_empty() && self.log.confirmed > Lsn::ZERO {
            let confirmed = self.log.confirmed;
            return self.stop(StopReason::RegisterForgot { confirmed }, actions);
        }
        if set.is_empty() {
            // Nothing was ever answered, so any log will do.
            return self.sync_and_open(actions);
        }
        let me = self.me();
        self.in_set = set.contains(&me);
        let others = set.iter().filter(|member| **member != me);
        self.members = others
            .map(|member| Sealing::new(*member, self.now_ns))
            .collect();
        self.sealing_since_ns = self.now_ns;
        for member in &self.members {
            let node = member.member.node;
            actions.push(Action::Dial { node });
        }
        self.seal_on(actions);
    }

    /// The claimed epoch and its opening.
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
        self.now_ns = self.now_ns.max(now_ns);
        match self.stage {
            Stage::Sealing => {
                self.redial_silent(actions);
                self.look_for_enough(actions);
            }
            Stage::Fetching => self.look_for_progress(actions),
            _ => {}
        }
    }

    fn open(&mut self, actions: &mut Vec<Action>) {
        let (epoch, opening) = self.promised();
        let base = self.log.tail;
        assert!(
            epoch > base.epoch,
            "an epoch is above all that is in its base"
        );
        let members: Vec<Member> = self.members.iter().map(|m| m.member).collect();
        let sealed = self.members.iter();
        let sealed = sealed.filter_map(|m| m.sealed.as_ref().map(|sealed| (m.member, sealed.tail)));
        let own = self.in_set.then_some((self.me(), self.promised_tail));
        let grants = sealed.chain(own).collect();
        let protection = match members.is_empty() {
            true => Protection::Waiting,
            false => Protection::Protected,
        };
        self.stage = Stage::Ended;
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
