//! What a server that writes nothing makes of the two registers: whether it is to open an epoch,
//! and in which register. Values in, one decision out.

use std::time::{Duration, Instant};

use kanjo_format::control::Control;
use kanjo_format::{Epoch, Site};
use kanjo_group::register::{Authority, HandOver, Third, ThirdMark};
use kanjo_group::{Register, SetMember, View};

use super::WasRead;

/// A report of the other site that is older is not acted on.
const FRESH: Duration = Duration::from_secs(2);

pub(super) const LET_THE_OTHER_GO_ON: &str = "the third witness is heard, and has let the other site go on alone: what that one has answered since would be missing. If it is off for good, say --other-site-is-off --certainly besides";

const GIVEN_AWAY: &str = "the authority was handed over to the other site's register, which is not heard; whoever opened an epoch there may have answered by it since. If that site is lost for good, an operator takes the authority back: `kanjo failover --accept-missing-answered-transfers --other-site-is-off --certainly`";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Follow, and say why nothing else.
    Follow(&'static str),
    /// Open the next epoch in this register.
    Open(WasRead),
    /// The source handed the authority over and nobody has carried the certificate yet.
    Carry {
        to: Site,
        certificate: Box<HandOver>,
    },
    /// Both registers hold the authority; the lower holding has to concede to this number.
    Concede { site: Site, holding: u64 },
}

/// Whether somebody said that the active site is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nobody did.
    No,
    /// An operator, or the configuration.
    Lost,
    /// An operator, who accepts that answered transfers may be missing.
    WithoutWord,
    /// An operator, who says twice besides that the active site is off, although the third witness
    /// has let it go on alone.
    AgainstWord,
}

/// What a server of `site` with this directory does now.
pub(crate) fn decide(view: &View, me: SetMember, site: Site, told: Told, now: Instant) -> Decision {
    let Some(own) = &view.own else {
        return Decision::Follow("the register of this site has not been read yet");
    };
    if own.leader.is_none() {
        return Decision::Follow("this site has no majority: nobody can be chosen to process");
    }
    if own.register.nominee.is_none_or(|n| n.member() != me) {
        return Decision::Follow("the other server of this site processes");
    }
    let fresh = |at: &Instant| now.duration_since(*at) < FRESH;
    let other = view.other.as_ref().filter(|(_, at)| fresh(at));
    let other = other.map(|(report, _)| &report.register);
    let own = &own.register;
    if let Some(decision) = other.and_then(|other| settle(own, other)) {
        return decision;
    }
    let mut registers = [Some(own), other].into_iter().flatten();
    let Some(holder) = registers.find(|r| r.holds_authority()) else {
        let handed_over = matches!(own.authority, Authority::HandedOver(_));
        return match (handed_over && other.is_none(), told) {
            (true, Told::AgainstWord) => Decision::Open(WasRead::of(own)),
            (true, _) => Decision::Follow(GIVEN_AWAY),
            (false, _) => Decision::Follow("no register that holds the authority can be reached"),
        };
    };
    if holder.active != site && told == Told::No {
        return Decision::Follow("the other site processes");
    }
    if holder.active != site && holder.site != site {
        return Decision::Follow("the other site has its own register and no auxiliary");
    }
    let open = Decision::Open(WasRead::of(holder));
    let Some(mark) = holder.reign.third.filter(|_| holder.active != site) else {
        return open;
    };
    let third = view.third.as_ref().filter(|(_, at)| fresh(at));
    let third = third.map(|(third, _)| third);
    let why = match told {
        Told::No | Told::Lost => withheld(third, mark, site),
        Told::WithoutWord => third
            .filter(|third| third.has_given(mark, site.other()))
            .map(|_| LET_THE_OTHER_GO_ON),
        Told::AgainstWord => None,
    };
    why.map_or(open, Decision::Follow)
}

/// Why the third witness will not let this site take over from a reign that noted this mark, as far
/// as it was heard. Whoever asks it has promised an epoch before: it is asked where it may say yes.
fn withheld(third: Option<&Third>, mark: ThirdMark, site: Site) -> Option<&'static str> {
    let Some(third) = third else {
        return Some(
            "the third witness is not heard, without whose word this site may not take over",
        );
    };
    if third.mark.incarnation != mark.incarnation {
        return Some(
            "the third witness does not know this epoch, because its file was lost or replaced: it lets a site take over again from the next opening on",
        );
    }
    if third.mark == mark || third.has_given(mark, site) {
        return None;
    }
    Some("the third witness has let the other site go on alone, or another epoch was opened since")
}

/// Whether this directory has granted an epoch to somebody else, or was fenced by one, that is later
/// than what was read of a register. A register that has forgotten everything is another matter.
pub(crate) fn knows_later(control: &Control, read: Epoch) -> bool {
    let granted = match control.granted_opening.node == control.node {
        true => Epoch::NONE,
        false => control.granted_epoch,
    };
    read != Epoch::NONE && granted.max(control.peer_granted_epoch) > read
}

/// What two registers that were both read have to settle between them first.
fn settle(own: &Register, other: &Register) -> Option<Decision> {
    for (source, destination) in [(own, other), (other, own)] {
        let Authority::HandedOver(certificate) = &source.authority else {
            continue;
        };
        if destination.holding() < certificate.holding {
            return Some(Decision::Carry {
                to: destination.site,
                certificate: certificate.clone(),
            });
        }
    }
    if own.holds_authority() && other.holds_authority() && own.holding() != other.holding() {
        let (lower, higher) = match own.holding() < other.holding() {
            true => (own, other),
            false => (other, own),
        };
        return Some(Decision::Concede {
            site: lower.site,
            holding: higher.holding(),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use kanjo_format::control::Role;
    use kanjo_format::{ClusterId, Incarnation, NodeId, OpeningId};
    use kanjo_group::SiteReport;
    use kanjo_group::register::{Move, Nominee};

    use super::*;

    const ME: SetMember = SetMember {
        node: NodeId::new(1),
        incarnation: Incarnation::new(11),
    };

    fn report(site: Site) -> SiteReport {
        SiteReport {
            register: Register::new(ClusterId::new(7), site),
            leader: Some(NodeId::new(9)),
            voters: Vec::new(),
            servers: Vec::new(),
            elections: 1,
        }
    }

    fn view(site: Site, nominated: bool) -> View {
        let mut own = report(site);
        own.register.nominee = nominated.then_some(Nominee {
            node: ME.node,
            incarnation: ME.incarnation,
            number: 1,
        });
        View {
            own: Some(own),
            other: Some((report(site.other()), Instant::now())),
            third: None,
        }
    }

    #[test]
    fn only_the_nominee_of_the_active_site_opens_by_itself() {
        let now = Instant::now();
        let open = Decision::Open(WasRead {
            authority: Site::Two,
            epoch: Epoch::NONE,
            active: Site::One,
            third: None,
            given_away: false,
        });
        assert_eq!(
            decide(&view(Site::One, true), ME, Site::One, Told::No, now),
            open
        );
        assert_ne!(
            decide(&view(Site::One, false), ME, Site::One, Told::No, now),
            open
        );
        let auxiliary = view(Site::Two, true);
        assert_ne!(decide(&auxiliary, ME, Site::Two, Told::No, now), open);
        assert_eq!(decide(&auxiliary, ME, Site::Two, Told::Lost, now), open);
    }

    #[test]
    fn a_site_takes_over_only_where_the_third_witness_may_let_it() {
        let mut third = Third::new(ClusterId::new(7), Incarnation::new(20));
        let mut view = view(Site::Two, true);
        view.own.as_mut().unwrap().register.reign.third = Some(third.mark);
        let now = Instant::now();
        let opens = |view: &View| match decide(view, ME, Site::Two, Told::Lost, now) {
            Decision::Open(_) => Ok(()),
            Decision::Follow(why) => Err(why),
            other => panic!("{other:?}"),
        };
        let heard = |third: &Third, at| View {
            third: Some((third.clone(), at)),
            ..view.clone()
        };
        assert!(opens(&view).unwrap_err().contains("not heard"));
        assert_eq!(opens(&heard(&third, now)), Ok(()));
        let long_ago = now.checked_sub(FRESH).unwrap();
        assert!(opens(&heard(&third, long_ago)).is_err());
        let follows = third.mark;
        let mut passed = third.clone();
        third.decide(follows, Site::Two).unwrap();
        assert_eq!(opens(&heard(&third, now)), Ok(()), "its own word, unused");
        passed.decide(follows, Site::One).unwrap();
        assert!(
            opens(&heard(&passed, now))
                .unwrap_err()
                .contains("other site")
        );
        let opens_so = |view: &View, told| {
            let decision = decide(view, ME, Site::Two, told, now);
            matches!(decision, Decision::Open(_))
        };
        assert!(opens_so(&view, Told::WithoutWord), "an operator's word");
        let said_no = heard(&passed, now);
        assert!(!opens_so(&said_no, Told::WithoutWord));
        assert!(opens_so(&said_no, Told::AgainstWord));
        let new = Third::new(ClusterId::new(7), Incarnation::new(21));
        assert!(opens(&heard(&new, now)).unwrap_err().contains("lost"));
    }

    /// The switch had passed its point of no return when the other site was lost.
    #[test]
    fn what_was_handed_over_to_a_lost_site_is_taken_back_only_by_an_operator() {
        let now = Instant::now();
        let mut view = view(Site::Two, true);
        let source = &mut view.own.as_mut().unwrap().register;
        source.authority = Authority::HandedOver(Box::new(HandOver {
            cluster: ClusterId::new(7),
            from: Site::Two,
            holding: 2,
            plan: Move {
                epoch: Epoch::from_terms(1, 1),
                number: 1,
                opening: OpeningId::default(),
                set: vec![ME],
                active: Site::Two,
            },
            reign: source.reign.clone(),
        }));
        let decide = |view: &View, told| decide(view, ME, Site::Two, told, now);
        let heard = decide(&view, Told::AgainstWord);
        assert!(matches!(heard, Decision::Carry { .. }), "{heard:?}");
        view.other = None;
        for told in [Told::No, Told::Lost, Told::WithoutWord] {
            let decision = decide(&view, told);
            assert!(matches!(decision, Decision::Follow(why) if why.contains("lost for good")));
        }
        assert!(matches!(
            decide(&view, Told::AgainstWord),
            Decision::Open(read) if read.given_away && read.authority == Site::Two
        ));
    }

    /// It stood still while another server was nominated and opened; its own voter has not heard yet.
    #[test]
    fn a_server_that_was_fenced_opens_nothing_on_what_is_older() {
        let (first, second) = (Epoch::from_terms(1, 1), Epoch::from_terms(1, 2));
        let mut control = Control::fresh(
            ClusterId::new(7),
            (ME.node, ME.incarnation),
            Site::One,
            Role::Replica,
            1 << 21,
        );
        control.granted_epoch = first;
        control.granted_opening.node = ME.node;
        assert!(!knows_later(&control, first), "its own");
        control.peer_granted_epoch = second;
        assert!(knows_later(&control, first), "fenced");
        assert!(!knows_later(&control, second));
        control.peer_granted_epoch = Epoch::NONE;
        control.granted_epoch = second;
        control.granted_opening.node = NodeId::new(2);
        assert!(knows_later(&control, first), "granted to another one");
        assert!(!knows_later(&control, Epoch::NONE), "a wiped register");
    }

    #[test]
    fn without_a_majority_or_the_authority_nobody_opens() {
        let now = Instant::now();
        let mut minority = view(Site::One, true);
        minority.own.as_mut().unwrap().leader = None;
        assert!(matches!(
            decide(&minority, ME, Site::One, Told::No, now),
            Decision::Follow(why) if why.contains("majority")
        ));
        let mut cut_off = view(Site::One, true);
        cut_off.other = None;
        assert!(matches!(
            decide(&cut_off, ME, Site::One, Told::Lost, now),
            Decision::Follow(why) if why.contains("authority")
        ));
        // A stale report is as good as none.
        let stale = view(Site::One, true);
        let later = now + FRESH + Duration::from_secs(1);
        assert!(matches!(
            decide(&stale, ME, Site::One, Told::No, later),
            Decision::Follow(_)
        ));
    }
}
