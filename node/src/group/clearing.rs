//! What an opening makes sure of before it claims. Values in, one question out at a time.
//!
//! ```text
//! the authority's register was read ─▶ own register: read by its majority, then nominated anew, has
//! not seized ─▶ third witness, if there is one: its word to take over, or how it stands ─▶ claim
//! what was read
//! ```
//!
//! Where an operator lets this site take over without that word, or take back what it handed over to
//! a register that is lost, the own register is told before the claim that it counts, whatever the
//! other site's holds meanwhile.
//!
//! What this server knows of its own register may be old, if it stood still for a while or was
//! started anew: it is nominated anew only where its majority names it, and with a number that
//! nobody has yet. With a third witness the order counts, too:
//! a writer that seizes the authority needs to be the one nominated last, so that after the second
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
    /// Ask the own site's register how it stands.
    Read,
    /// Have it nominate this server.
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
    Reading,
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
    /// Begins after the register with the authority was read.
    pub(crate) const fn new(
        (me, site): (SetMember, Site),
        (read, third): (WasRead, bool),
        insistence: Option<Insistence>,
    ) -> Self {
        Self {
            me,
            site,
            read,
            third,
            insistence,
            stage: Stage::Reading,
        }
    }

    /// What is to be done now; the same again where an answer was lost.
    pub(crate) fn next(&self) -> Next {
        match self.stage {
            Stage::Reading => Next::Read,
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
            Stage::Reading | Stage::Nominating { .. } | Stage::Insisting { .. }
        )
    }

    /// What the claim is made under.
    pub(crate) const fn cleared(&self) -> Option<Cleared> {
        match self.stage {
            Stage::Clear(cleared) => Some(cleared),
            Stage::Reading
            | Stage::Nominating { .. }
            | Stage::Insisting { .. }
            | Stage::Asking { .. } => None,
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
            (Stage::Reading, Reply::Report { report }) => (&report.register, false),
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
mod tests {
    use kanjo_format::{ClusterId, Incarnation, NodeId};
    use kanjo_group::SiteReport;
    use kanjo_group::register::{Reign, Third};

    use super::*;

    const CLUSTER: ClusterId = ClusterId::new(7);
    const ME: SetMember = SetMember {
        node: NodeId::new(3),
        incarnation: Incarnation::new(3),
    };
    const OTHER: SetMember = SetMember {
        node: NodeId::new(4),
        incarnation: Incarnation::new(4),
    };

    fn third() -> Third {
        Third::new(CLUSTER, Incarnation::new(20))
    }

    fn nominate(register: &mut Register, who: SetMember) -> Reply {
        let command = Command::Nominate {
            replaces: register.nominee.map_or(0, |nominee| nominee.number),
            node: who.node,
            incarnation: who.incarnation,
        };
        let outcome = register.apply(&command);
        Reply::Outcome { outcome }
    }

    /// Site 1 is active; this server is of site 2, whose register holds the authority.
    fn taking_over(third: &Third) -> (Register, Clearing) {
        let mut register = Register::new(CLUSTER, Site::Two);
        register.reign.third = Some(third.mark);
        nominate(&mut register, ME);
        let clearing = Clearing::new((ME, Site::Two), (WasRead::of(&register), true), None);
        (register, clearing)
    }

    fn report(register: &Register) -> Reply {
        let report = Box::new(SiteReport {
            register: register.clone(),
            leader: Some(ME.node),
            voters: Vec::new(),
            servers: Vec::new(),
            elections: 1,
        });
        Reply::Report { report }
    }

    /// Has the register read, if it is to be, and carries out what is asked of it then.
    fn carried_out(register: &mut Register, clearing: &mut Clearing) -> Reply {
        if clearing.next() == Next::Read {
            clearing.register_said(&report(register));
        }
        match clearing.next() {
            Next::Nominate(command) | Next::Insist(command) => {
                let outcome = register.apply(&command);
                Reply::Outcome { outcome }
            }
            _ => report(register),
        }
    }

    #[test]
    fn who_takes_over_is_nominated_anew_and_needs_the_word() {
        let mut third = third();
        let follows = third.mark;
        let (mut register, mut clearing) = taking_over(&third);
        let reply = carried_out(&mut register, &mut clearing);
        let site = Site::Two;
        assert_eq!(
            clearing.register_said(&reply),
            Next::AskThird(ThirdQuestion::Decide { follows, site })
        );
        let other = ThirdReply::Stands {
            third: third.clone(),
        };
        assert!(
            matches!(clearing.third_said(other), Next::AskThird(_)),
            "how it stands is no word"
        );
        third.decide(follows, site).unwrap();
        let cleared = Cleared {
            nomination: 2,
            mark: Some(third.mark),
        };
        assert_eq!(
            clearing.third_said(ThirdReply::Stands { third }),
            Next::Claim(cleared)
        );
        assert_eq!(clearing.next(), Next::Claim(cleared), "asked again");
    }

    #[test]
    fn without_the_word_nobody_takes_over() {
        let (mut register, mut clearing) = taking_over(&third());
        let reply = carried_out(&mut register, &mut clearing);
        clearing.register_said(&reply);
        let why = String::new();
        let silent = clearing.third_said(ThirdReply::Silent { why });
        assert!(matches!(silent, Next::Lost(_)));
        let mut other = third();
        other.decide(third().mark, Site::One).unwrap();
        let why = other.decide(third().mark, Site::Two).unwrap_err();
        let refused = clearing.third_said(ThirdReply::Refused { why });
        assert!(matches!(refused, Next::Lost(why) if why.contains("site 1")));
    }

    #[test]
    fn a_server_whose_cluster_file_lacks_the_third_witness_takes_over_from_no_epoch_that_noted_it()
    {
        let (mut register, _) = taking_over(&third());
        let read = WasRead::of(&register);
        let mut clearing = Clearing::new((ME, Site::Two), (read, false), None);
        let reply = carried_out(&mut register, &mut clearing);
        let next = clearing.register_said(&reply);
        assert!(matches!(next, Next::Lost(why) if why.contains("cluster file")));
    }

    #[test]
    fn an_operator_may_take_over_without_the_word_and_against_it_only_if_he_says_so() {
        let (mut register, _) = taking_over(&third());
        let read = WasRead::of(&register);
        let mut said_no = third();
        said_no.decide(third().mark, Site::One).unwrap();
        let silent = ThirdReply::Silent { why: String::new() };
        let no = ThirdReply::Stands { third: said_no };
        for (against_word, reply, may) in [
            (false, silent, true),
            (false, no.clone(), false),
            (true, no, true),
        ] {
            let insistence = Insistence {
                evidence: Evidence::Operator {
                    operator: "a test".into(),
                    reason: "burnt down".into(),
                },
                against_word,
            };
            let mut clearing = Clearing::new((ME, Site::Two), (read, true), Some(insistence));
            let nominated = carried_out(&mut register, &mut clearing);
            assert_eq!(
                clearing.register_said(&nominated),
                Next::AskThird(ThirdQuestion::Read)
            );
            let next = clearing.third_said(reply);
            if !may {
                assert!(matches!(next, Next::Lost(why) if why.contains("heard")));
                continue;
            }
            assert!(matches!(next, Next::Insist(_)), "{next:?}");
            let before = register.holding();
            let insisted = carried_out(&mut register, &mut clearing);
            assert!(matches!(clearing.register_said(&insisted), Next::Claim(_)));
            assert_eq!(register.holding(), before + 2, "more than a seizure's");
        }
    }

    #[test]
    fn a_silent_witness_keeps_nobody_of_the_active_site_from_opening() {
        let mut own = Register::new(CLUSTER, Site::One);
        let mut other = Register::new(CLUSTER, Site::Two);
        other.reign.third = Some(third().mark);
        nominate(&mut own, ME);
        let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), None);
        let reply = carried_out(&mut own, &mut clearing);
        assert_eq!(
            clearing.register_said(&reply),
            Next::AskThird(ThirdQuestion::Read)
        );
        let why = String::new();
        let next = clearing.third_said(ThirdReply::Silent { why });
        assert!(matches!(next, Next::Claim(Cleared { mark: None, .. })));
    }

    #[test]
    fn a_site_whose_register_seized_opens_nothing_at_the_other_one() {
        let mut own = Register::new(CLUSTER, Site::One);
        nominate(&mut own, ME);
        let other = Register::new(CLUSTER, Site::Two);
        let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), None);
        let seize = Command::Seize {
            follows: 1,
            nomination: Some(1),
            reign: Reign {
                epoch: Epoch::from_terms(1, 1),
                ..own.reign.clone()
            },
            set: vec![OTHER],
            evidence: Evidence::ThirdWitness { mark: third().mark },
        };
        own.apply(&seize);
        let reply = carried_out(&mut own, &mut clearing);
        assert!(matches!(clearing.register_said(&reply), Next::Lost(_)));
    }

    #[test]
    fn a_server_that_is_nominee_no_more_opens_nothing() {
        let (mut register, mut clearing) = taking_over(&third());
        nominate(&mut register, OTHER);
        let reply = carried_out(&mut register, &mut clearing);
        assert!(matches!(clearing.register_said(&reply), Next::Lost(_)));
    }

    #[test]
    fn without_a_third_witness_the_nomination_is_enough() {
        let mut own = Register::new(CLUSTER, Site::One);
        nominate(&mut own, ME);
        let read = WasRead::of(&Register::new(CLUSTER, Site::Two));
        let mut clearing = Clearing::new((ME, Site::One), (read, false), None);
        let reply = carried_out(&mut own, &mut clearing);
        let next = clearing.register_said(&reply);
        assert!(matches!(next, Next::Claim(Cleared { mark: None, .. })));
    }

    #[test]
    fn an_answer_that_was_lost_is_asked_for_again() {
        let (mut register, mut clearing) = taking_over(&third());
        let lost = || Reply::Unknown { why: String::new() };
        assert_eq!(clearing.register_said(&lost()), Next::Read);
        let asked = clearing.register_said(&report(&register));
        assert!(matches!(
            asked,
            Next::Nominate(Command::Nominate { replaces: 1, .. })
        ));
        assert_eq!(clearing.register_said(&lost()), asked);
        // The first copy arrived, and so did another nomination of this server.
        carried_out(&mut register, &mut clearing);
        nominate(&mut register, ME);
        let reply = carried_out(&mut register, &mut clearing);
        assert!(matches!(
            clearing.register_said(&reply),
            Next::Nominate(Command::Nominate { replaces: 3, .. })
        ));
    }
}
