//! What a server of a group says of both sites, to its operators and to its site's voters.

use kanjo_format::control::Control;
use kanjo_group::register::FenceCertificate;
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
        let last_switch = last_fence.as_ref().map(|fence| last_switch(fence, gap));
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

/// The change of the writer that a fence tells of.
fn last_switch(fence: &FenceCertificate, gap: Option<ServiceGap>) -> LastSwitch {
    let gap = gap.filter(|gap| gap.epoch == fence.opened);
    LastSwitch {
        from: fence.fenced.to_string(),
        to: fence.opened.to_string(),
        node: fence.opening.node.get(),
        at_ms: fence.at_ms,
        planned: fence.planned,
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

    use super::*;

    #[test]
    fn a_gap_is_told_of_the_epoch_that_ended_it_and_of_no_other() {
        let cluster = ClusterId::new(7);
        let fence = FenceCertificate {
            cluster,
            fenced: Epoch::from_terms(1, 2),
            opened: Epoch::from_terms(2, 1),
            opening: OpeningId {
                node: NodeId::new(3),
                incarnation: Incarnation::new(3),
                random: 0,
            },
            base: Tail::empty(cluster),
            grants: Vec::new(),
            at_ms: 5,
            planned: None,
        };
        let gap = |epoch| {
            let took = Duration::from_millis(42);
            last_switch(&fence, Some(ServiceGap { epoch, took })).unanswered_us
        };
        assert_eq!(gap(Epoch::from_terms(2, 1)), Some(42_000));
        assert_eq!(gap(Epoch::from_terms(2, 2)), None);
    }
}
