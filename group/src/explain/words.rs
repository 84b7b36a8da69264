//! The cases in sentences that can be read at night.

use kanjo_format::{NodeId, Site};

use super::judge::{Judge, Judged, Reason};
use super::wires::Wires;
use super::{Fault, Verdict};

/// Speaks of one cluster.
pub(super) struct Words<'a> {
    pub(super) judge: &'a Judge<'a>,
    pub(super) primary: NodeId,
    pub(super) third_witness: bool,
}

/// What is said of a case.
pub(super) struct Told {
    pub(super) then: String,
    pub(super) why: String,
    pub(super) to_do: String,
}

const BRING_BACK: &str = "bring back what is lost or cut off: it finds its place by itself";

impl Words<'_> {
    pub(super) fn active(&self) -> Site {
        self.judge.active
    }

    /// `server 1` or `witness 11`.
    pub(super) fn name(&self, node: NodeId) -> String {
        match self.judge.topology.server(node) {
            Some(_) => format!("server {node}"),
            None => format!("witness {node}"),
        }
    }

    /// The same with the part that it plays, where that matters.
    pub(super) fn title(&self, node: NodeId) -> String {
        let name = self.name(node);
        match node == self.primary {
            true => format!("{name} (primary)"),
            false => name,
        }
    }

    pub(super) fn names(&self, nodes: &[NodeId], word: &str) -> String {
        joined(nodes.iter().map(|&node| self.name(node)).collect(), word)
    }

    /// A fault by itself.
    pub(super) fn what(&self, fault: &Fault) -> String {
        match fault {
            Fault::Lost { nodes } => {
                let titles = nodes.iter().map(|&node| self.title(node)).collect();
                format!("{} lost", joined(titles, "and"))
            }
            Fault::Deaf { node } => format!("{} hears nobody", self.title(*node)),
            Fault::Mute { node } => format!("{} is heard by nobody", self.title(*node)),
            Fault::CutFromOwnSite { node } => {
                format!("{} cut off from its own site", self.title(*node))
            }
            Fault::CutFromOtherSite { node } => {
                format!("{} cut off from the other site", self.title(*node))
            }
            Fault::SiteLost { site } => format!("site {site} lost"),
            Fault::LinkCut => "the link between the sites cut, in one direction or both".to_owned(),
            Fault::ThirdWitnessLost => "the third witness lost".to_owned(),
            Fault::ThirdWitnessAndSiteLost { site } => {
                format!("the third witness and site {site} lost")
            }
            Fault::ThirdWitnessLostAndLinkCut => {
                "the third witness lost and the link between the sites cut".to_owned()
            }
        }
    }

    /// Who processes, why, and what a person can do.
    pub(super) fn tell(
        &self,
        fault: &Fault,
        wires: &Wires<'_>,
        judged: &Judged,
        next: &[NodeId],
    ) -> Told {
        let (active, auxiliary) = (self.active(), self.active().other());
        let writer = self.name(judged.state.writer);
        let then = match (judged.verdict, &judged.reason) {
            (Verdict::GoesOn, _) => format!("{writer} goes on"),
            (Verdict::OtherServer, Reason::Chosen(servers)) if servers.len() > 1 => {
                format!("another server of site {active} takes over by itself")
            }
            (Verdict::OtherServer, _) => format!("{writer} takes over by itself"),
            (Verdict::AloneByThirdWitness, _) => {
                format!("{writer} goes on by itself, without site {auxiliary}")
            }
            (Verdict::OtherSiteByThirdWitness, _) => format!("site {auxiliary} takes over"),
            (Verdict::Stalls, _) => "STALLS".to_owned(),
            (Verdict::Stops, _) => "STOPS".to_owned(),
        };
        let mut why = self.reason(fault, wires, judged);
        let more = match judged.verdict {
            Verdict::GoesOn | Verdict::OtherServer => self.what_next(judged, next),
            Verdict::AloneByThirdWitness | Verdict::OtherSiteByThirdWitness => {
                self.by_third_witness(wires, judged)
            }
            Verdict::Stalls | Verdict::Stops => String::new(),
        };
        if !more.is_empty() {
            why = format!("{why}; {more}");
        }
        let to_do = self.to_do(fault, wires, judged);
        Told { then, why, to_do }
    }

    fn reason(&self, fault: &Fault, wires: &Wires<'_>, judged: &Judged) -> String {
        let (active, auxiliary) = (self.active(), self.active().other());
        let writer = self.name(judged.state.writer);
        match &judged.reason {
            Reason::AllAck if *fault == Fault::ThirdWitnessLost => format!(
                "every member of the in-sync set acks, and site {active} replaces a lost primary without it; but neither site could go on without the other one until it is back"
            ),
            Reason::AllAck if wires.majority(active).is_none() => format!(
                "it goes on while site {auxiliary} acks, but {}",
                self.no_majority(active, wires)
            ),
            Reason::AllAck => "every member of the in-sync set acks".to_owned(),
            Reason::LeftOut => format!(
                "site {auxiliary}'s majority leaves what is lost out of the in-sync set; commits wait for the members that are left"
            ),
            Reason::Chosen(servers) => {
                let whom = match servers.as_slice() {
                    [one] => self.name(*one),
                    _ => "the living server with most of the log".to_owned(),
                };
                let lost = match fault {
                    Fault::CutFromOtherSite { node } => {
                        format!("{} alone has lost the other site: ", self.name(*node))
                    }
                    _ => String::new(),
                };
                format!(
                    "{lost}{} chooses {whom}, which opens the next epoch at site {auxiliary}; nothing answered is missing, and the old primary, alive or not, commits nothing any more",
                    self.majority(active, wires)
                )
            }
            Reason::NoMember => match fault {
                Fault::LinkCut | Fault::ThirdWitnessLostAndLinkCut => format!(
                    "no ack crosses the link, and {writer} cannot know whether site {auxiliary} is lost or was failed over to"
                ),
                _ => format!(
                    "no member of the in-sync set acks, and {writer} cannot know whether site {auxiliary} is lost or was failed over to"
                ),
            },
            Reason::CannotLeaveOut(_) => format!(
                "a member of the in-sync set does not ack, and nobody can leave it out: {}",
                self.no_majority(auxiliary, wires)
            ),
            Reason::NoMajority => {
                format!("the primary is lost; {}", self.no_majority(active, wires))
            }
            Reason::CannotOpen => format!(
                "{} chooses another server, which cannot open its epoch: that takes site {auxiliary}'s majority and the grant of a member",
                self.majority(active, wires)
            ),
        }
    }

    /// What else must not happen.
    fn what_next(&self, judged: &Judged, next: &[NodeId]) -> String {
        let state = &judged.state;
        let writer = match &judged.reason {
            Reason::Chosen(servers) if servers.len() > 1 => "it".to_owned(),
            _ => self.name(state.writer),
        };
        let auxiliary = self.active().other();
        let mut parts = Vec::new();
        if next.contains(&state.writer) {
            parts.push(format!("nobody could replace {writer} now"));
        }
        let topology = self.judge.topology;
        if topology
            .voters_of(auxiliary)
            .any(|(node, ..)| next.contains(&node))
        {
            parts.push(format!("one more loss in site {auxiliary} may stall it"));
        }
        match parts.is_empty() && next.is_empty() {
            true => "any one part more may be lost".to_owned(),
            false => parts.join("; "),
        }
    }

    fn by_third_witness(&self, wires: &Wires<'_>, judged: &Judged) -> String {
        let alone = judged.verdict == Verdict::AloneByThirdWitness;
        let (on, off) = match alone {
            true => (self.active(), self.active().other()),
            false => (self.active().other(), self.active()),
        };
        let waits = match judged.state.set.as_slice() {
            [] => "nobody else has what is answered meanwhile: DEGRADED, counted".to_owned(),
            set => format!(
                "commits wait for {} meanwhile: ONE SITE ONLY",
                self.names(set, "and")
            ),
        };
        // The set may have moved to the site that goes on: what counts is the one before.
        let either = alone
            && self
                .judge
                .may_take_over(&self.judge.start(), wires)
                .is_some();
        let either = match either {
            true => format!(
                " (or site {off} instead, if that asks first: by an operator or auto_failover)"
            ),
            false => String::new(),
        };
        format!(
            "the third witness records that site {on} goes on{either}, and refuses the other one until it is attached again; {waits}"
        )
    }

    fn to_do(&self, fault: &Fault, wires: &Wires<'_>, judged: &Judged) -> String {
        let (active, auxiliary) = (self.active(), self.active().other());
        match judged.verdict {
            Verdict::OtherSiteByThirdWitness => {
                return format!(
                    "with auto_failover = true by itself, otherwise `kanjo failover` at site {auxiliary}; bring site {active} back: it follows"
                );
            }
            verdict if verdict.serves() => return BRING_BACK.to_owned(),
            _ => {}
        }
        if self.third_witness && !wires.third_witness {
            return "bring the third witness or what else is lost back: every move of authority goes through it, an operator's too".to_owned();
        }
        let fail_over = self.judge.may_take_over(&judged.state, wires).map(|_| {
            let by_itself = match fault {
                _ if wires.voters(active).0.is_empty() => " (with auto_failover = true by itself)",
                Fault::LinkCut => {
                    ", whose register has the authority (auto_failover = true cannot tell this from a lost site, and does so by itself)"
                }
                _ => "",
            };
            format!("`kanjo failover` at site {auxiliary}{by_itself}")
        });
        let first = match (&judged.reason, fault) {
            (Reason::NoMember, Fault::LinkCut) => "mend the link".to_owned(),
            (Reason::NoMember, _) => format!(
                "bring servers of site {auxiliary} back until it has a majority; or go on alone with `kanjo protection`, with proof that site {auxiliary} is off"
            ),
            (Reason::NoMajority, _) if wires.voters(active).0.is_empty() => String::new(),
            (Reason::NoMajority | Reason::CannotLeaveOut(_) | Reason::CannotOpen, _) => {
                "bring one of them back".to_owned()
            }
            _ => BRING_BACK.to_owned(),
        };
        match fail_over {
            Some(fail_over) if first.is_empty() => fail_over,
            Some(fail_over) => format!("{first}; or {fail_over}"),
            None if first.is_empty() => format!("bring site {active} back"),
            None => first,
        }
    }

    /// `site 1's majority (server 2, witness 11)`.
    fn majority(&self, site: Site, wires: &Wires<'_>) -> String {
        let majority = wires.majority(site).unwrap_or_default();
        let who = match majority.len() {
            0..=2 => majority
                .iter()
                .map(|&node| self.name(node))
                .collect::<Vec<_>>()
                .join(", "),
            count => format!("{count} of {} voters", wires.voters(site).1),
        };
        format!("site {site}'s majority ({who})")
    }

    /// Why nobody can decide there.
    fn no_majority(&self, site: Site, wires: &Wires<'_>) -> String {
        let (left, count) = wires.voters(site);
        match left.as_slice() {
            [] => format!("nobody of site {site} is left"),
            [one] if self.judge.topology.server(*one).is_none() => format!(
                "{} alone is no majority of site {site} (1 of {count}), and never processes",
                self.name(*one)
            ),
            [one] if site == self.active() => {
                format!(
                    "{} alone is no majority of site {site} (1 of {count})",
                    self.name(*one)
                )
            }
            left => format!(
                "what is left of site {site} is no majority ({} of {count})",
                left.len()
            ),
        }
    }
}

/// `a, b and c`.
pub(super) fn joined(mut names: Vec<String>, word: &str) -> String {
    match (names.pop(), names.as_slice()) {
        (None, _) => String::new(),
        (Some(last), []) => last,
        (Some(last), rest) => format!("{} {word} {last}", rest.join(", ")),
    }
}
