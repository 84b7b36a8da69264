//! What may be asked of a register, and what it answers.

use super::{
    Authority, Evidence, FenceCertificate, HandOver, Move, Protection, Register, Reign, SetMember,
    ThirdMark,
};
use kanjo_format::{Epoch, Incarnation, NodeId, OpeningId, Site};
use serde::{Deserialize, Serialize};

/// A compare-and-set. Each names what it expects to find; the same one twice changes nothing
/// and is answered the same, so that an unknown outcome is settled by asking again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Another server processes for this site.
    Nominate {
        /// Number of the nomination that it replaces; 0 for the first.
        replaces: u64,
        /// The server.
        node: NodeId,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// An epoch belongs to this opening. From here on lower epochs change nothing here.
    Claim {
        /// The epoch that was read before; somebody else's in between refuses this.
        expected: Epoch,
        /// The reign that begins.
        reign: Reign,
    },
    /// The writer changes its set, in the order that its commits allow.
    ChangeSet {
        /// Its epoch.
        epoch: Epoch,
        /// Its opening.
        opening: OpeningId,
        /// So many changes of the set came before, as the register said last: an earlier copy of
        /// this question that arrives late is not carried out again.
        follows: u64,
        /// The set that it knows to be in force.
        expected: Vec<SetMember>,
        /// The set from here on; never empty.
        set: Vec<SetMember>,
        /// How commits are protected by it.
        protection: Protection,
    },
    /// Keep this certificate.
    NoteFence(Box<FenceCertificate>),
    /// At the destination: the authority will come.
    Prepare {
        /// What is planned.
        plan: Move,
    },
    /// At the source: give it away, for good.
    HandOver {
        /// What was prepared at the destination.
        plan: Move,
    },
    /// At the destination: take it.
    Activate(Box<HandOver>),
    /// Take the authority although the other site cannot be asked.
    Seize {
        /// Number of the holding that this one follows.
        follows: u64,
        /// The nomination under which the writer opened, which must be the last one: whoever is
        /// nominated after it may open an epoch where the authority was. Not looked at where an
        /// operator has the other site off.
        #[serde(default)]
        nomination: Option<u64>,
        /// The writer that goes on.
        reign: Reign,
        /// Who has everything that was answered: the writer itself.
        set: Vec<SetMember>,
        /// Why that is allowed.
        evidence: Evidence,
    },
    /// An operator has the authority count here, whatever the other site's register may hold by
    /// now: one that has seized it since, or that it was handed over to and that is lost.
    Insist {
        /// Number of the holding that is to count.
        follows: u64,
        /// Why that is allowed.
        evidence: Evidence,
    },
    /// The other register holds the authority under this higher number.
    Concede {
        /// That number.
        holding: u64,
    },
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done, now or before; the register as it is after it.
    Done(Box<Register>),
    /// Not done; the register as it is.
    Refused {
        /// Why.
        why: Refusal,
        /// The register.
        register: Box<Register>,
    },
}

/// Why a register refuses a command. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
pub enum Refusal {
    /// The authority is not here.
    #[error("the authority is {authority}")]
    NotHeld {
        /// Where it is.
        authority: Box<Authority>,
    },
    /// Another epoch is the current one.
    #[error("epoch {current} is the current one, {named} was named")]
    Epoch {
        /// The register's.
        current: Epoch,
        /// The command's.
        named: Epoch,
    },
    /// The epoch belongs to another opening.
    #[error("epoch {epoch} belongs to {opening}")]
    Opening {
        /// The epoch.
        epoch: Epoch,
        /// Whose it is.
        opening: OpeningId,
    },
    /// The opener is not who processes for the active site.
    #[error("that site may not open epoch {0}")]
    NotItsEpoch(Epoch),
    /// Another set is in force.
    #[error("another set is in force than the one that was expected")]
    Set,
    /// A set has one to four members, each once.
    #[error("a set has one to four members, each once")]
    SetSize,
    /// Another nomination came before.
    #[error("nomination {current} is the current one, {named} was to be replaced")]
    Nomination {
        /// The register's.
        current: u64,
        /// The command's.
        named: u64,
    },
    /// A newer plan is prepared, or another one was handed over.
    #[error("another move of the authority is under way")]
    Move,
    /// The number of the holding has been passed.
    #[error("holding {current} is known here, {named} was named")]
    Holding {
        /// The register's.
        current: u64,
        /// The command's.
        named: u64,
    },
    /// The third site's witness gave the word to somebody else, or does not know of the mark.
    #[error("the third witness {}", decided(*mark, *named, *decides))]
    Decided {
        /// The witness's.
        mark: ThirdMark,
        /// The question's.
        named: ThirdMark,
        /// Who got its last word.
        decides: Option<Site>,
    },
    /// Of another cluster, of this same site, or a text that is too long.
    #[error("the command does not belong here: {0}")]
    NotForHere(String),
}

fn decided(mark: ThirdMark, named: ThirdMark, decides: Option<Site>) -> String {
    if mark.incarnation != named.incarnation {
        return "does not know this epoch, because its file was lost or replaced: it gives words again from the next opening on"
            .to_owned();
    }
    let last = match decides {
        Some(site) => format!("has let site {site} decide alone"),
        None => "has let no site decide alone".to_owned(),
    };
    format!(
        "{last}: it stands at word {}, the one after {} was asked for",
        mark.number, named.number
    )
}
