//! An opening in a group that is under way: what it has asked its register, and what came back.

use std::time::{Duration, Instant};

use kanjo_format::{Epoch, OpeningId, Site};
use kanjo_group::register::{Grant, Reign, ThirdMark};
use kanjo_group::{Command, Question, Refusal, Register, SetMember};
use kanjo_shipper::Member;
use kanjo_shipper::group_opening::{Event, GroupOpening};

use super::{ASK_AGAIN, Asker, Clearing, Group, WasRead, apply};

/// An opening under way.
pub(crate) struct GroupOpeningRun {
    pub(super) opening: GroupOpening,
    pub(super) number: u64,
    /// The register as it was read: what the claim expects to find.
    pub(super) read: WasRead,
    /// What is made sure of before the claim.
    pub(super) clearing: Clearing,
    /// The epoch that is promised here and to be claimed.
    pub(super) promised: (Epoch, OpeningId),
    /// The set as the register last said.
    pub(super) set: Vec<SetMember>,
    /// So many sets came before it.
    pub(super) changes: u64,
    /// Since when the claim is not decided.
    pub(super) claims_since: Option<Instant>,
    /// The question that was asked last.
    pub(super) asked: Option<Question>,
    pub(super) why: String,
}

impl GroupOpeningRun {
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

pub(crate) const fn set_member(member: Member) -> SetMember {
    SetMember {
        node: member.node,
        incarnation: member.incarnation,
    }
}

pub(super) const fn member(member: SetMember) -> Member {
    Member {
        node: member.node,
        incarnation: member.incarnation,
    }
}

impl GroupOpeningRun {
    pub(super) fn keep_set(&mut self, register: &Register) {
        self.set.clone_from(&register.set);
        self.changes = register.changes;
    }

    pub(super) fn claim(&mut self, group: &Group, address: &str, third: Option<ThirdMark>) {
        let (epoch, opening) = self.promised;
        let reign = Reign {
            epoch,
            opening,
            address: address.to_owned(),
            third,
        };
        let expected = self.read.epoch;
        self.claims_since.get_or_insert_with(Instant::now);
        let command = Command::Claim { expected, reign };
        self.ask(group, (self.read.authority, apply(command)));
    }

    /// Asks a register; the very same question again only after a moment.
    pub(super) fn ask(&mut self, group: &Group, (site, question): (Site, Question)) {
        let again = self.asked.as_ref() == Some(&question);
        let pause = if again { ASK_AGAIN } else { Duration::ZERO };
        self.asked = Some(question.clone());
        group.ask_after(Asker::Opening(self.number), site, question, pause);
    }
}

pub(super) fn grant((member, tail): (Member, kanjo_format::Tail)) -> Grant {
    Grant {
        member: set_member(member),
        tail,
    }
}

/// The claim was written: the set comes from that same write.
pub(super) fn claimed(run: &mut GroupOpeningRun, register: &Register) -> Event<'static> {
    run.keep_set(register);
    Event::Claimed {
        set: register.set.iter().copied().map(member).collect(),
        former: run.read.epoch,
    }
}

pub(super) fn claim_refused(
    run: &mut GroupOpeningRun,
    why: &Refusal,
    register: &Register,
) -> Event<'static> {
    match why {
        Refusal::Epoch { .. } | Refusal::Opening { .. } if register.active == run.read.active => {
            run.read = WasRead::of(register);
            Event::ClaimRefused {
                highest: register.reign.epoch,
            }
        }
        _ => Event::ClaimLost {
            why: why.to_string(),
        },
    }
}
