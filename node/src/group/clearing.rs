//! What an opening makes sure of before it claims. Values in, one question out at a time.
//!
//! ```text
//! the authority's register was read ─▶ own register: nominated anew, has not seized ─▶ third
//! witness, if there is one: its word to take over, or how it stands ─▶ claim what was read
//! ```
//!
//! What this server knows of its own register may be old, if it stood still for a while: being
//! nominated anew shows whether it is still to process. With a third witness the order counts, too:
//! a writer that seizes the authority needs to be the one nominated last, so that after the second
//! step no seizure of before can come about any more.

use kanjo_format::{Epoch, Site};
use kanjo_group::register::ThirdMark;
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
}

impl WasRead {
    pub(crate) const fn of(register: &Register) -> Self {
        Self {
            authority: register.site,
            epoch: register.reign.epoch,
            active: register.active,
            third: register.reign.third,
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
    /// Ask the own site's register.
    Nominate(Command),
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
    Asking { nomination: u64 },
    Clear(Cleared),
}

#[derive(Clone, Debug)]
pub(crate) struct Clearing {
    me: SetMember,
    site: Site,
    read: WasRead,
    /// Whether there is a third witness.
    third: bool,
    stage: Stage,
}

impl Clearing {
    /// Begins after the register with the authority was read. `replaces` is the nomination that
    /// this server opens under so far.
    pub(crate) const fn new(
        (me, site): (SetMember, Site),
        (read, third): (WasRead, bool),
        replaces: u64,
    ) -> Self {
        Self {
            me,
            site,
            read,
            third,
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

    /// Whether what comes from a register answers the nomination, and not the claim.
    pub(crate) const fn is_nominating(&self) -> bool {
        matches!(self.stage, Stage::Nominating { .. })
    }

    /// What the claim is made under.
    pub(crate) const fn cleared(&self) -> Option<Cleared> {
        match self.stage {
            Stage::Clear(cleared) => Some(cleared),
            Stage::Nominating { .. } | Stage::Asking { .. } => None,
        }
    }

    /// The mark whose word is needed: to take over from a writer that noted one.
    fn needed(&self) -> Option<ThirdMark> {
        self.read.third.filter(|_| self.read.active != self.site)
    }

    /// The own register answered.
    pub(crate) fn nominated(&mut self, reply: &Reply) -> Next {
        let Stage::Nominating { .. } = self.stage else {
            return self.next();
        };
        let (register, done) = match reply {
            Reply::Outcome {
                outcome: Outcome::Done(register),
            } => (register, true),
            Reply::Outcome {
                outcome: Outcome::Refused { register, .. },
            } => (register, false),
            Reply::Report { .. } | Reply::Unreachable { .. } | Reply::Unknown { .. } => {
                return self.next();
            }
        };
        let nominee = register.nominee;
        let me = |n: &kanjo_group::register::Nominee| {
            n.node == self.me.node && n.incarnation == self.me.incarnation
        };
        let Some(nominee) = nominee.filter(me) else {
            return Next::Lost("another server of this site is to process".to_owned());
        };
        if self.read.authority != self.site && register.holds_authority() {
            return Next::Lost("this site's register has taken the authority".to_owned());
        }
        let number = nominee.number;
        self.stage = match (done, self.third) {
            (false, _) => Stage::Nominating { replaces: number },
            (true, true) => Stage::Asking { nomination: number },
            (true, false) => Stage::Clear(Cleared {
                nomination: number,
                mark: None,
            }),
        };
        self.next()
    }

    /// The third witness answered, or is silent.
    pub(crate) fn third_said(&mut self, reply: ThirdReply) -> Next {
        let Stage::Asking { nomination } = self.stage else {
            return self.next();
        };
        let mark = match (reply, self.needed()) {
            (ThirdReply::Stands { third }, None) => Some(third.mark),
            (ThirdReply::Stands { third }, Some(follows)) => {
                let given = third.mark.number == follows.number + 1
                    && third.mark.incarnation == follows.incarnation
                    && third.decides == Some(self.site);
                if !given {
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
        self.stage = Stage::Clear(Cleared { nomination, mark });
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use kanjo_format::{ClusterId, Incarnation, NodeId};
    use kanjo_group::register::{Evidence, Reign, Third};

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
        let clearing = Clearing::new((ME, Site::Two), (WasRead::of(&register), true), 1);
        (register, clearing)
    }

    fn carried_out(register: &mut Register, clearing: &Clearing) -> Reply {
        let Next::Nominate(command) = clearing.next() else {
            panic!("{clearing:?}");
        };
        let outcome = register.apply(&command);
        Reply::Outcome { outcome }
    }

    #[test]
    fn who_takes_over_is_nominated_anew_and_needs_the_word() {
        let mut third = third();
        let follows = third.mark;
        let (mut register, mut clearing) = taking_over(&third);
        let reply = carried_out(&mut register, &clearing);
        let site = Site::Two;
        assert_eq!(
            clearing.nominated(&reply),
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
        let reply = carried_out(&mut register, &clearing);
        clearing.nominated(&reply);
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
    fn a_silent_witness_keeps_nobody_of_the_active_site_from_opening() {
        let mut own = Register::new(CLUSTER, Site::One);
        let mut other = Register::new(CLUSTER, Site::Two);
        other.reign.third = Some(third().mark);
        nominate(&mut own, ME);
        let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), 1);
        let reply = carried_out(&mut own, &clearing);
        assert_eq!(
            clearing.nominated(&reply),
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
        let mut clearing = Clearing::new((ME, Site::One), (WasRead::of(&other), true), 1);
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
        let reply = carried_out(&mut own, &clearing);
        assert!(matches!(clearing.nominated(&reply), Next::Lost(_)));
    }

    #[test]
    fn a_server_that_is_nominee_no_more_opens_nothing() {
        let (mut register, mut clearing) = taking_over(&third());
        nominate(&mut register, OTHER);
        let reply = carried_out(&mut register, &clearing);
        assert!(matches!(clearing.nominated(&reply), Next::Lost(_)));
    }

    #[test]
    fn without_a_third_witness_the_nomination_is_enough() {
        let mut own = Register::new(CLUSTER, Site::One);
        nominate(&mut own, ME);
        let read = WasRead::of(&Register::new(CLUSTER, Site::Two));
        let mut clearing = Clearing::new((ME, Site::One), (read, false), 1);
        let reply = carried_out(&mut own, &clearing);
        let next = clearing.nominated(&reply);
        assert!(matches!(next, Next::Claim(Cleared { mark: None, .. })));
    }

    #[test]
    fn an_answer_that_was_lost_is_asked_for_again() {
        let (mut register, mut clearing) = taking_over(&third());
        let asked = clearing.next();
        let why = String::new();
        assert_eq!(clearing.nominated(&Reply::Unknown { why }), asked);
        // The first copy arrived, and so did another nomination of this server.
        carried_out(&mut register, &clearing);
        nominate(&mut register, ME);
        let reply = carried_out(&mut register, &clearing);
        assert!(matches!(
            clearing.nominated(&reply),
            Next::Nominate(Command::Nominate { replaces: 3, .. })
        ));
    }
}
