//! What a server of a group says of both sites, to its operators and to its site's voters.

use kanjo_format::Site;
use kanjo_format::control::Control;
use kanjo_group::register::{Authority, FenceCertificate};
use kanjo_group::{Beat, Register};

use super::Group;
use crate::hot::{ServiceGap, Standing};
use crate::node::{Node, Part};
use crate::status::{GroupStatus, LastSwitch};

impl Group {
    /// What is known of both sites.
    pub(crate) fn status(&self, standing: &Standing, gap: Option<ServiceGap>) -> GroupStatus {
        let view = self.view();
        let own = view.own;
        let (other, other_age_ms) = match view.other {
            Some((report, at)) => (Some(report), u64::try_from(at.elapsed().as_millis()).ok()),
            None => (None, None),
        };
        let (third, third_age_ms) = match view.third {
            Some((third, at)) => (Some(third), u64::try_from(at.elapsed().as_millis()).ok()),
            None => (None, None),
        };
        let registers = || own.iter().chain(&other).map(|report| &report.register);
        let holder = registers().find(|register| register.holds_authority());
        let fences = registers().filter_map(|register| register.last_fence());
        let last_fence = fences.max_by_key(|fence| fence.opened).cloned();
        let last_switch = last_fence.as_ref().map(|fence| {
            let to = self.topology.server(fence.opening.node);
            last_switch(fence, to.map(|server| server.site), registers(), gap)
        });
        let no_majority = own.as_ref().is_some_and(|own| own.leader.is_none());
        let why = match (standing.serving, no_majority) {
            (true, false) => "it processes".to_owned(),
            (true, true) => {
                "it processes, but its site has no majority: nobody could replace it".to_owned()
            }
            (false, false) => standing.why_not_serving.clone(),
            (false, true) => format!(
                "{}; its site has no majority: nobody can be chosen to process",
                standing.why_not_serving
            ),
        };
        GroupStatus {
            why,
            protection: holder.map_or("UNKNOWN", |r| r.protection.name()).to_owned(),
            attached: holder.is_some_and(|register: &Register| {
                register.site != register.active && !register.set.is_empty()
            }),
            last_fence,
            third,
            third_age_ms,
            switching: standing.switching,
            last_switch,
            other_age_ms: other_age_ms.unwrap_or_default(),
            own,
            other,
        }
    }
}

impl Node {
    /// Tells the site's voters how this server is: said at every tick, so that a hot thread that
    /// hangs falls silent.
    pub(crate) fn beat(&mut self) {
        let standing = self.standing();
        let control = self.hot.store.dir.control();
        let writes = match &self.part {
            Part::Primary(reign) => Some(reign.epoch()),
            _ => None,
        };
        let fit = may_be_nominated(&control) && !matches!(self.part, Part::Halted(_));
        let Some(group) = &self.group else {
            return;
        };
        let (elections, nominations) = group.counts();
        self.hot.shared.metrics.note_group(elections, nominations);
        group.tell(Beat {
            member: group.me,
            tail: self.hot.durable_tail(),
            committed: standing.committed,
            applied: self.hot.store.applied().lsn,
            role: standing.role.to_owned(),
            writes,
            serving: standing.serving,
            why_not_serving: standing.why_not_serving,
            fit,
            other_silent_ms: None,
            other_heard_for_ms: 0,
        });
    }
}

/// The change of the writer that a fence tells of, opened by a server of site `to`. A plan by which
/// the authority was handed over, in that epoch and for that site, tells that it was planned.
fn last_switch<'a>(
    fence: &FenceCertificate,
    to: Option<Site>,
    registers: impl Iterator<Item = &'a Register>,
    gap: Option<ServiceGap>,
) -> LastSwitch {
    let (mut heard, mut handed_over, mut buried) = (0, false, false);
    for register in registers {
        heard += 1;
        // A plan that came to nothing stands where the certificate of the move before it stood.
        buried |= matches!(register.authority, Authority::Prepared { .. });
        handed_over |= match &register.authority {
            Authority::HandedOver(certificate) => {
                let plan = &certificate.plan;
                plan.epoch == fence.fenced && Some(plan.active) == to
            }
            _ => false,
        };
    }
    let within_a_site = fence.fenced.site_term() == fence.opened.site_term();
    let planned = match (within_a_site, handed_over, heard) {
        (true, ..) => Some(false),
        (false, true, _) => Some(true),
        (false, false, 2) if !buried => Some(false),
        (false, false, _) => None,
    };
    let gap = gap.filter(|gap| gap.epoch == fence.opened);
    LastSwitch {
        from: fence.fenced.to_string(),
        to: fence.opened.to_string(),
        node: fence.opening.node.get(),
        at_ms: fence.at_ms,
        planned,
        unanswered_us: gap.and_then(|gap| u64::try_from(gap.took.as_micros()).ok()),
    }
}

/// Whether a directory may process without an operator's word.
fn may_be_nominated(control: &Control) -> bool {
    !control.awaiting_operator
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kanjo_format::{ClusterId, Epoch, Incarnation, NodeId, OpeningId, Tail};
    use kanjo_group::register::{HandOver, Move, Reign};

    use super::*;

    const FORMER: Epoch = Epoch::from_terms(1, 2);
    const CLUSTER: ClusterId = ClusterId::new(7);

    fn fence(opened: Epoch) -> FenceCertificate {
        FenceCertificate {
            cluster: CLUSTER,
            fenced: FORMER,
            opened,
            opening: OpeningId {
                node: NodeId::new(3),
                incarnation: Incarnation::new(3),
                random: 0,
            },
            base: Tail::empty(CLUSTER),
            grants: Vec::new(),
            at_ms: 5,
        }
    }

    /// Both registers, after that of site 2 gave the authority away so that `active` processes.
    fn after_hand_over(active: Site) -> [Register; 2] {
        let mut source = Register::new(CLUSTER, Site::Two);
        let opening = OpeningId::default();
        let plan = Move {
            epoch: FORMER,
            number: 1,
            opening,
            set: Vec::new(),
            active,
        };
        source.authority = Authority::HandedOver(Box::new(HandOver {
            cluster: CLUSTER,
            from: Site::Two,
            holding: 2,
            plan,
            reign: Reign {
                epoch: FORMER,
                opening,
                address: String::new(),
                third: None,
            },
        }));
        [Register::new(CLUSTER, Site::One), source]
    }

    fn planned(opened: Epoch, registers: &[Register]) -> Option<bool> {
        last_switch(&fence(opened), Some(Site::Two), registers.iter(), None).planned
    }

    #[test]
    fn a_switch_counts_as_planned_only_if_the_authority_was_handed_over_for_it() {
        let opened = Epoch::from_terms(2, 1);
        assert_eq!(planned(opened, &after_hand_over(Site::Two)), Some(true));
        // Handed over in the same epoch, to take in a site that came back: then came a failover.
        assert_eq!(planned(opened, &after_hand_over(Site::One)), Some(false));
        let fresh = [Site::One, Site::Two].map(|site| Register::new(CLUSTER, site));
        assert_eq!(planned(opened, &fresh), Some(false));
        assert_eq!(planned(opened, &fresh[..1]), None);
        assert_eq!(planned(Epoch::from_terms(1, 3), &fresh[..1]), Some(false));
    }

    #[test]
    fn a_gap_is_told_of_the_epoch_that_ended_it_and_of_no_other() {
        let gap = |epoch| {
            let took = Duration::from_millis(42);
            let gap = Some(ServiceGap { epoch, took });
            let fence = fence(Epoch::from_terms(2, 1));
            last_switch(&fence, None, [].iter(), gap).unanswered_us
        };
        assert_eq!(gap(Epoch::from_terms(2, 1)), Some(42_000));
        assert_eq!(gap(Epoch::from_terms(2, 2)), None);
    }
}
