//! The last change of the writer, as all servers together tell it.

use std::time::Duration;

use kanjo_format::Timestamp;
use kanjo_node::status::{LastSwitch, Status};

use crate::times::{show_duration, show_second};

/// The newest change of the writer that any server tells, with what all of them know of it.
pub(super) fn last_switch(statuses: &[&Status]) -> Option<LastSwitch> {
    let told = || {
        let groups = statuses
            .iter()
            .filter_map(|s| Some((s.node, s.group.as_ref()?)));
        groups.filter_map(|(node, group)| Some((node, group.last_switch.as_ref()?)))
    };
    let (_, newest) = told().max_by_key(|(_, switch)| switch.at_ms)?;
    let same = || told().filter(|(_, switch)| switch.to == newest.to);
    // Who was cut off for longer than everybody else took it for longer than it was.
    let gap = |by: fn(u32, u32) -> bool| {
        let told = same().filter(|(node, switch)| by(*node, switch.node));
        told.filter_map(|(_, switch)| switch.unanswered_us).min()
    };
    let opener = gap(|node, opener| node == opener);
    let others = gap(|node, opener| node != opener);
    let planned = same().find_map(|(_, switch)| switch.planned);
    Some(LastSwitch {
        planned,
        // Who handed over knows since when; who opened knows only when it last heard the former.
        unanswered_us: match planned {
            Some(true) => others.or(opener),
            Some(false) | None => opener.or(others),
        },
        ..newest.clone()
    })
}

/// The same, for people.
pub(super) fn show_switch(switch: &LastSwitch) -> String {
    let LastSwitch { from, to, node, .. } = switch;
    let at = show_second(Timestamp::new(switch.at_ms.saturating_mul(1_000_000)));
    let planned = match switch.planned {
        Some(true) => "planned",
        Some(false) => "not planned",
        None => "planned or not is not known",
    };
    let gap = match switch.unanswered_us {
        Some(micros) => format!(
            "nobody answered for {}",
            show_duration(Duration::from_micros(micros))
        ),
        None => "for how long nobody answered is not known".to_owned(),
    };
    format!("epoch {from} to {to} on node {node}, {at}, {planned}, {gap}")
}

#[cfg(test)]
mod tests {
    use kanjo_node::status::GroupStatus;

    use super::*;

    /// What a server says of a change that ended with an epoch of server 3.
    fn told(node: u32, to: &str, planned: Option<bool>, unanswered_us: Option<u64>) -> Status {
        let switch = LastSwitch {
            from: "1.1".to_owned(),
            to: to.to_owned(),
            node: 3,
            at_ms: if to == "2.1" { 61_000 } else { 1_000 },
            planned,
            unanswered_us,
        };
        let group = GroupStatus {
            last_switch: Some(switch),
            ..GroupStatus::default()
        };
        Status {
            node,
            group: Some(group),
            ..Status::default()
        }
    }

    #[test]
    fn the_last_switch_is_put_together_from_what_each_server_knows_of_it() {
        let statuses = [
            told(4, "1.2", Some(false), Some(9_000_000)),
            told(3, "2.1", None, Some(20_000)),
            told(1, "2.1", Some(true), Some(35_000)),
            told(2, "2.1", None, None),
            Status::default(),
        ];
        let statuses: Vec<&Status> = statuses.iter().collect();
        let switch = last_switch(&statuses).expect("it is told");
        assert_eq!(
            show_switch(&switch),
            "epoch 1.1 to 2.1 on node 3, 1970-01-01 00:01:01, planned, nobody answered for 35.0 ms"
        );
        let switch = last_switch(&statuses[..2]).expect("it is told");
        assert_eq!(switch.unanswered_us, Some(20_000));
        assert_eq!(last_switch(&statuses[4..]), None);
    }

    #[test]
    fn a_server_that_was_cut_off_does_not_tell_how_long_nobody_answered() {
        let statuses = [
            told(1, "2.1", Some(false), Some(9_000_000)),
            told(3, "2.1", Some(false), Some(20_000)),
            told(4, "2.1", Some(false), Some(21_000)),
        ];
        let statuses: Vec<&Status> = statuses.iter().collect();
        let switch = last_switch(&statuses).expect("it is told");
        assert_eq!(switch.unanswered_us, Some(20_000));
    }

    #[test]
    fn what_nobody_knows_of_a_switch_is_not_claimed() {
        let status = told(1, "2.1", None, None);
        let text = show_switch(&last_switch(&[&status]).expect("it is told"));
        assert!(
            text.ends_with(
                "planned or not is not known, for how long nobody answered is not known"
            ),
            "{text}"
        );
    }
}
