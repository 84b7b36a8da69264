//! Rules that are broken on purpose, so that it shows whether the search would find it.

use kanjo_group::register::{Command, Outcome, Register};

use crate::state::Grant;
use crate::world::World;

/// A variant of the model in which one rule does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The gate stops waiting for a member before the register has left it out.
    AckBeforeShrink,
    /// The register names a member before commits wait for it.
    SetGrownFirst,
    /// A member is taken in that lacks a part of the epoch's base.
    TakenInWithoutBase,
    /// A grant is forgotten in a crash.
    EpochNotDurable,
    /// The register gives one epoch to every opening that asks, and members grant it to each.
    TwoOpenings,
    /// The register keeps the authority that it hands over.
    NoPointOfNoReturn,
    /// The register carries out a change of the set whenever the set is the one expected.
    LateChange,
    /// An operator lets a writer seize the authority whatever the other site did before it went off.
    OffIsEnough,
    /// An operator lets a site start again that may not have heard that the authority was seized.
    BackTooEarly,
    /// A new site term is opened without the third witness's word.
    TakesOverUnasked,
    /// The base is the opener's own log although no member of the set has answered.
    BaseOutsideSet,
    /// A commit waits for any one member.
    AnyOneMember,
}

impl World {
    /// The real rules, but for those that are broken here.
    pub(crate) fn apply(&self, register: &mut Register, command: &Command) -> Outcome {
        match (self.mistake, command) {
            (Some(Mistake::TwoOpenings), Command::Claim { reign, .. })
                if register.holds_authority() && register.reign.epoch == reign.epoch =>
            {
                register.reign = reign.clone();
                Outcome::Done(Box::new(register.clone()))
            }
            (Some(Mistake::NoPointOfNoReturn), Command::HandOver { .. }) => {
                let held = register.authority.clone();
                let outcome = register.apply(command);
                if matches!(outcome, Outcome::Done(_)) {
                    register.authority = held;
                }
                outcome
            }
            (Some(Mistake::LateChange), Command::ChangeSet { .. }) => {
                let mut command = command.clone();
                if let Command::ChangeSet { follows, .. } = &mut command {
                    *follows = register.changes;
                }
                register.apply(&command)
            }
            _ => register.apply(command),
        }
    }

    /// Whether a server that has granted the one epoch stands by the other one as well.
    pub(crate) fn is_granted(&self, granted: Grant, asked: Grant) -> bool {
        match self.has(Mistake::TwoOpenings) {
            true => granted.epoch == asked.epoch,
            false => granted == asked,
        }
    }
}
