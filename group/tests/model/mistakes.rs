//! Rules that are broken on purpose, so that it shows whether the search would find it.

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
    /// The base is the opener's own log although no member of the set has answered.
    BaseOutsideSet,
    /// A commit waits for any one member.
    AnyOneMember,
}
