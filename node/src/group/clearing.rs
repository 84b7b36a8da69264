//! What an opening makes sure of before it claims. Values in, one question out at a time.
//!
//! ```text
//! the authority's register was read ─▶ own register: nominated anew, has not seized ─▶ third
//! witness, if there is one: its word to take over, or how it stands ─▶ claim what was read
//! ```
//!
//! Where an operator lets this site take over without that word, or take back what it handed over to
//! a register that is lost, the own register is told before the claim that it counts, whatever the
//! other site's holds meanwhile.
//!
//! What this server knows of its own register may be old, if it stood still for a while or was
//! started anew. So it begins from a nomination that its register's majority has just told of: the
//! next number is one that nobody has yet, and nobody else is replaced by it. With a third witness
//! the order counts, too: a writer that seizes the authority needs to be the one nominated last, so that after the second
//! step no seizure of before can come about any more.

use super::deciding::LET_THE_OTHER_GO_ON;
use kanjo_format::{Epoch, Site};
use kanjo_group::register::{Evidence, ThirdMark};
use kanjo_group::{Command, Outcome, Register, Reply, SetMember, ThirdQuestion, ThirdReply};

/// A register that holds the authority, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WasRead {
    /// Whose register it is.
    pub(crate) authority: Site,
    /// The epoch that was claimed there last.
    pub(crate) epoch: Epoch,
    /// The site that processes.
    pub(crate) active: Site,
    /// What the last claim noted of the third witness.
    pub(crate) third: Option<ThirdMark>,
    /// It handed the authority over to a register that is not heard.
    pub(crate) given_away: bool,
}

impl WasRead {
    pub(crate) const fn of(register: &Register) -> Self {
        Self {
            authority: register.site,
            epoch: register.reign.epoch,
            active: register.active,
            third: register.reign.third,
            given_away: !register.holds_authority(),
        }
    }

    /// Whether an opening on this by a server of `site` takes over from the other site.
    pub(crate) fn is_taken_over_by(&self, site: Site) -> bool {
        self.epoch != Epoch::NONE && !self.epoch.may_be_opened_by(site)
    }

    /// Whether it does so by a plan: with the authority came that this site processes, before any
    /// epoch of it was claimed. Where a claim led to no opening, the next one is one within the site.
    pub(crate) fn is_planned_for(&self, site: Site) -> bool {
        self.is_taken_over_by(site) && self.active == site
    }
}

/// What a reign was opened under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cleared {
    /// Its nomination, in the own site's register.
    pub(crate) nomination: u64,
    /// What the third witness said; nothing if it was silent.
    pub(crate) mark: Option<ThirdMark>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Have the own site's register nominate this server.
    Nominate(Command),
    /// Have it count, by an operator's word.
    Insist(Command),
    /// Ask the third witness.
    AskThird(ThirdQuestion),
    /// Claim.
    Claim(Cleared),
    /// It is not this server's turn.
    Lost(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nominating { replaces: u64 },
    Asking { nomination: u64, holding: u64 },
    Insisting { cleared: Cleared, holding: u64 },
    Clear(Cleared),
}

/// An operator's word to take over without the third witness's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Insistence {
    pub(crate) evidence: Evidence,
    /// Also if that witness is heard and has let the other site go on alone.
    pub(crate) against_word: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Clearing {
    me: SetMember,
    site: Site,
    read: WasRead,
    /// Whether the cluster file names a third witness.
    third: bool,
    /// An operator's word to take over without the third witness's, or what was given away.
    insistence: Option<Insistence>,
    stage: Stage,
}

impl Clearing {
    /// Begins after the register with the authority was read. `replaces` is the nomination that this
    /// server opens under so far.
    pub(crate) const fn new(
        (me, site): (SetMember, Site),
        (read, third): (WasRead, bool),
        insistence: Option<Insistence>,
        replaces: u64,
    ) -> Self {
        Self {
            me,
            site,
            read,
            third,
            insistence,
            stage: Stage::Nominating { replaces },
        }
    }

    /// What is to be done now; the same again where an answer was lost.
    pub(crate) fn next(&self) -> Next {
        match self.stage {
            Stage::Nominating { replaces } => Next::Nominate(Command::Nominate {
                replaces,
                node: self.me.node,
                incarnation: self.me.incarnation,
            }),
            Stage::Insisting { holding, cleared } => match &self.insistence {
                Some(insistence) => Next::Insist(Command::Insist {
                    follows: holding,
                    evidence: insistence.evidence.clone(),
                }),
                None => Next::Claim(cleared),
            },
            Stage::Asking { .. } => Next::AskThird(match self.needed() {
                Some(follows) => ThirdQuestion::Decide {
                    follows,
                    site: self.site,
                },
                None => ThirdQuestion::Read,
            }),
            Stage::Clear(cleared) => Next::Claim(cleared),
        }
    }

    /// Whether what comes from a register answers what was asked of the own one, and not the claim.
    pub(crate) const fn asks_own_register(&self) -> bool {
        matches!(
            self.stage,
            Stage::Nominating { .. } | Stage::Insisting { .. }
        )
    }

    /// What the claim is made under.
    pub(crate) const fn cleared(&self) -> Option<Cleared> {
        match self.stage {
            Stage::Clear(cleared) => Some(cleared),
            Stage::Nominating { .. } | Stage::Insisting { .. } | Stage::Asking { .. } => None,
        }
    }

    /// The last nomination that is known of.
    pub(crate) const fn nomination(&self) -> u64 {
        match self.stage {
            Stage::Nominating { replaces } => replaces,
            Stage::Asking { nomination, .. } => nomination,
            Stage::Insisting { cleared, .. } | Stage::Clear(cleared) => cleared.nomination,
        }
    }

    fn takes_over(&self) -> bool {
        self.read.active != self.site
    }

    /// What an operator said, where it matters.
    fn insistence(&self) -> Option<&Insistence> {
        let matters = self.takes_over() || self.read.given_away;
        self.insistence.as_ref().filter(|_| matters)
    }

    /// The mark whose word is needed: to take over from a writer that noted one.
    fn needed(&self) -> Option<ThirdMark> {
        let asks = self.takes_over() && self.insistence.is_none();
        self.read.third.filter(|_| asks)
    }

    /// The own register answered.
    pub(crate) fn register_said(&mut self, reply: &Reply) -> Next {
        let (register, done) = match (self.stage, reply) {
            (Stage::Nominating { .. }, Reply::Outcome { outcome }) => match outcome {
                Outcome::Done(register) => (register.as_ref(), true),
                Outcome::Refused { register, .. } => (register.as_ref(), false),
            },
            (Stage::Insisting { cleared, .. }, Reply::Outcome { outcome }) => match outcome {
                Outcome::Done(_) => {
                    self.stage = Stage::Clear(cleared);
                    return self.next();
                }
                Outcome::Refused { why, .. } => return Next::Lost(why.to_string()),
            },
            _ => return self.next(),
        };
        let Some(nominee) = register.nominee.filter(|n| n.member() == self.me) else {
            return Next::Lost("another server of this site is to process".to_owned());
        };
        if self.read.authority != self.site && register.holds_authority() {
            return Next::Lost("this site's register has taken the authority".to_owned());
        }
        if self.needed().is_some() && !self.third {
            return Next::Lost(
                "the cluster file here names no third witness, without whose word nobody takes over from the epoch that was opened last"
                    .to_owned(),
            );
        }
        let (number, holding) = (nominee.number, register.holding());
        match (done, self.third) {
            (false, _) => self.stage = Stage::Nominating { replaces: number },
            (true, true) => {
                self.stage = Stage::Asking {
                    nomination: number,
                    holding,
                }
            }
            (true, false) => self.clear(number, holding, None),
        }
        self.next()
    }

    /// Nothing is left to be asked but what an operator has this register insist on.
    fn clear(&mut self, nomination: u64, holding: u64, mark: Option<ThirdMark>) {
        let cleared = Cleared { nomination, mark };
        self.stage = match self.insistence() {
            Some(_) => Stage::Insisting { cleared, holding },
            None => Stage::Clear(cleared),
        };
    }

    /// The third witness answered, or is silent.
    pub(crate) fn third_said(&mut self, reply: ThirdReply) -> Next {
        let Stage::Asking {
            nomination,
            holding,
        } = self.stage
        else {
            return self.next();
        };
        let mark = match (reply, self.needed()) {
            (ThirdReply::Stands { third }, None) => {
                let says_no = |mark| third.has_given(mark, self.site.other());
                let against =
                    |i: &Insistence| !i.against_word && self.read.third.is_some_and(says_no);
                if self.insistence().is_some_and(against) {
                    return Next::Lost(LET_THE_OTHER_GO_ON.to_owned());
                }
                Some(third.mark)
            }
            (ThirdReply::Stands { third }, Some(follows)) => {
                if !third.has_given(follows, self.site) {
                    // It answers another question than this one.
                    return self.next();
                }
                Some(third.mark)
            }
            (ThirdReply::Silent { .. } | ThirdReply::Refused { .. }, None) => None,
            (ThirdReply::Refused { why }, Some(_)) => return Next::Lost(why.to_string()),
            (ThirdReply::Silent { why }, Some(_)) => {
                return Next::Lost(format!(
                    "the third witness gives no word, without which this site may not take over: {why}"
                ));
            }
        };
        self.clear(nomination, holding, mark);
        self.next()
    }
}

#[cfg(test)]
mod tests;
