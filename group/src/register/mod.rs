//! The record that a site's majority keeps, and the one way to change it: [`Register::apply`].
//!
//! ```text
//! authority   Inactive -> Prepared -> Held -> HandedOver -> Prepared -> …
//! ```
//!
//! At most one register holds the authority over the in-sync set of the writer. Its set says:
//! every answered transfer is on the disk of each member. An empty set says that nothing was
//! ever answered. Everything here is pure: what one voter applies, every voter applies.

mod command;
mod rules;
#[cfg(test)]
mod tests;
mod third;

use std::fmt;

use kanjo_format::{ClusterId, Epoch, Incarnation, NodeId, OpeningId, Site, Tail};
use serde::{Deserialize, Serialize};

pub use command::{Command, Outcome, Refusal};
pub use third::{Third, ThirdMark};

/// Fence certificates that a register keeps; older ones are on the disks of those who opened.
pub const FENCES_MAX: usize = 16;
/// Most bytes of a reason, an operator's name, an address.
pub const TEXT_BYTES_MAX: usize = 256;

/// One replica of an in-sync set: a node with one data directory. A wiped disk is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetMember {
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// Who opened the current epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reign {
    /// The epoch; [`Epoch::NONE`] before the first one.
    pub epoch: Epoch,
    /// The one opening that it belongs to.
    pub opening: OpeningId,
    /// Where clients reach the writer.
    pub address: String,
    /// What the third site's witness said when this was opened; without it the writer cannot take
    /// the authority by that witness's word.
    #[serde(default)]
    pub third: Option<ThirdMark>,
}

/// How commits are protected, and since when and why where they are not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Protection {
    /// No replica is in the set yet: nothing is answered.
    Waiting,
    /// Every commit waits for the auxiliary site.
    Protected,
    /// Every commit waits for the other server of the writer's own site.
    OneSite,
    /// The writer answers alone.
    Degraded(Degraded),
}

/// What was decided when a writer was allowed to answer alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Degraded {
    /// Why.
    pub reason: String,
    /// Who decided.
    pub operator: String,
    /// Milliseconds since 1970 when it was decided.
    pub since_ms: u64,
    /// Milliseconds since 1970 when it ends by itself: then nothing is answered any more.
    pub until_ms: u64,
}

/// A move of the authority, named by the writer that plans it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Move {
    /// The writer's epoch.
    pub epoch: Epoch,
    /// Counts the moves that it planned.
    pub number: u64,
    /// Its opening.
    pub opening: OpeningId,
    /// The set that the destination will hold.
    pub set: Vec<SetMember>,
    /// Which site processes afterwards: the writer's own, or in a planned switch the other one.
    pub active: Site,
}

/// What the source gave away, once and for all; with it the destination takes the authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HandOver {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who gave it.
    pub from: Site,
    /// Counts the holders of the authority; the next one's number.
    pub holding: u64,
    /// What was planned, and prepared at the destination.
    pub plan: Move,
    /// The reign at the source.
    pub reign: Reign,
}

/// Who could not answer when the authority was taken without a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Evidence {
    /// An operator said twice that the other site is off.
    Operator {
        /// Who.
        operator: String,
        /// Why.
        reason: String,
    },
    /// The witness of the third site gave this site the word, and refuses the other one.
    ThirdWitness {
        /// As it stood then.
        mark: ThirdMark,
    },
}

/// Where the authority is, seen from this register.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Authority {
    /// Elsewhere, and nothing is planned.
    Inactive {
        /// The highest number of a holding that this register knows of.
        holding: u64,
    },
    /// Elsewhere; this register will hold it once the source has handed it over.
    Prepared {
        /// As in `Inactive`.
        holding: u64,
        /// What is planned.
        plan: Move,
    },
    /// Here.
    Held {
        /// Number of this holding.
        holding: u64,
        /// Set if it was taken without a hand-over.
        seized: Option<Evidence>,
    },
    /// It was here until it was handed over: the point of no return lies behind it.
    HandedOver(Box<HandOver>),
}

/// Who processes for this site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nominee {
    /// The server.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Counts the nominations of this register.
    pub number: u64,
}

impl Nominee {
    /// The server with its directory.
    pub const fn member(self) -> SetMember {
        SetMember {
            node: self.node,
            incarnation: self.incarnation,
        }
    }
}

/// Proof that a former writer is cut off: members of its set durably refuse its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FenceCertificate {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch that was fenced.
    pub fenced: Epoch,
    /// The epoch that was opened.
    pub opened: Epoch,
    /// Its opening.
    pub opening: OpeningId,
    /// The tail that it was opened on.
    pub base: Tail,
    /// Who granted it, each with the tail that it had: from then on it refuses lower epochs.
    pub grants: Vec<Grant>,
    /// Milliseconds since 1970, by the opener's clock.
    pub at_ms: u64,
    /// Whether the writer went to the other site by an operator's plan; absent in certificates of
    /// before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<bool>,
}

/// One member's grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub member: SetMember,
    /// The tail that it had.
    pub tail: Tail,
}

/// One site's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Register {
    /// The cluster.
    pub cluster: ClusterId,
    /// The site whose majority keeps it.
    pub site: Site,
    /// Counts its changes.
    pub version: u64,
    /// Where the authority is.
    pub authority: Authority,
    /// The reign that this register last knew of; current only while it holds the authority.
    pub reign: Reign,
    /// The site that processes; follows the reign but for a planned switch under way.
    pub active: Site,
    /// The in-sync set; current only while the authority is here.
    pub set: Vec<SetMember>,
    /// Counts the sets that were in force here, for ever.
    pub changes: u64,
    /// How commits are protected; current only while the authority is here.
    pub protection: Protection,
    /// Epoch and number of the newest plan by which the authority came or went. It never goes by
    /// the same or an older one again.
    pub moved: Option<(Epoch, u64)>,
    /// Who processes for this site.
    pub nominee: Option<Nominee>,
    /// The newest fence certificates, oldest first.
    pub fences: Vec<FenceCertificate>,
}

impl Register {
    /// The register of a freshly formatted site. Site 1 begins as the active one, so that site
    /// 2's register holds the authority.
    pub fn new(cluster: ClusterId, site: Site) -> Self {
        let authority = match site {
            Site::One => Authority::Inactive { holding: 1 },
            Site::Two => Authority::Held {
                holding: 1,
                seized: None,
            },
        };
        Self {
            cluster,
            site,
            version: 0,
            authority,
            reign: Reign {
                epoch: Epoch::NONE,
                opening: OpeningId::default(),
                address: String::new(),
                third: None,
            },
            active: Site::One,
            set: Vec::new(),
            changes: 0,
            protection: Protection::Waiting,
            moved: None,
            nominee: None,
            fences: Vec::new(),
        }
    }

    /// Whether the authority is here.
    pub const fn holds_authority(&self) -> bool {
        matches!(self.authority, Authority::Held { .. })
    }

    /// The highest number of a holding that this register knows of.
    pub fn holding(&self) -> u64 {
        match &self.authority {
            Authority::Inactive { holding }
            | Authority::Prepared { holding, .. }
            | Authority::Held { holding, .. } => *holding,
            Authority::HandedOver(certificate) => certificate.holding,
        }
    }

    /// The fence that the current reign begins with, if it was certified.
    pub fn last_fence(&self) -> Option<&FenceCertificate> {
        self.fences.last()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive { holding } => write!(f, "elsewhere (holding {holding})"),
            Self::Prepared { holding, .. } => write!(f, "prepared (holding {holding})"),
            Self::Held { holding, .. } => write!(f, "here (holding {holding})"),
            Self::HandedOver(certificate) => {
                write!(f, "handed over (holding {})", certificate.holding)
            }
        }
    }
}

impl Protection {
    /// How it is shown to people and scripts.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Protected => "PROTECTED",
            Self::OneSite => "ONE SITE ONLY",
            Self::Degraded(_) => "DEGRADED",
        }
    }
}

impl Move {
    /// Whether it was planned before that one.
    pub fn is_before(&self, other: &Self) -> bool {
        self.place() < other.place()
    }

    /// Its place among all moves.
    pub const fn place(&self) -> (Epoch, u64) {
        (self.epoch, self.number)
    }
}

impl Reign {
    /// Whether this is that one opening of that epoch.
    pub fn is(&self, epoch: Epoch, opening: OpeningId) -> bool {
        self.epoch == epoch && self.opening == opening
    }
}

/// Where a certificate's base lies, for people.
impl fmt::Display for FenceCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fenced, opened, lsn) = (self.fenced, self.opened, self.base.lsn);
        write!(
            f,
            "epoch {fenced} is fenced at lsn {lsn} by epoch {opened}, granted by "
        )?;
        match &self.grants[..] {
            [] => write!(f, "nobody"),
            [first, rest @ ..] => {
                write!(f, "node {}", first.member.node)?;
                rest.iter()
                    .try_for_each(|grant| write!(f, ", node {}", grant.member.node))
            }
        }
    }
}
