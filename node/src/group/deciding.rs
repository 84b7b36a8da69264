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
mod tests;
