//! What a server of a group says of both sites, to its operators and to its site's voters.

use kanjo_format::control::Control;
use kanjo_group::{Beat, Register};

use super::Group;
use crate::hot::Standing;
use crate::node::{Node, Part};
use crate::status::GroupStatus;

impl Group {
    /// What is known of both sites.
    pub(crate) fn status(&self, standing: &Standing) -> GroupStatus {
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
            other_silent_ms: group.other_silent_ms(),
        });
    }
}

/// Whether a directory may process without an operator's word.
fn may_be_nominated(control: &Control) -> bool {
    !control.awaiting_operator
}
