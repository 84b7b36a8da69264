//! What happened to the parts, and what the load saw of it.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::load::{Answers, Unknown};
use crate::demo::report::rounded;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    PrimaryKilled,
    PrimaryBack,
    WitnessKilled,
    WitnessBack,
    LinkCut,
    LinkHealed,
    Switched,
    SiteLost,
    SiteBack,
}

/// All of them, in their order.
pub(super) const KINDS: [Kind; 9] = [
    Kind::PrimaryKilled,
    Kind::PrimaryBack,
    Kind::WitnessKilled,
    Kind::WitnessBack,
    Kind::LinkCut,
    Kind::LinkHealed,
    Kind::Switched,
    Kind::SiteLost,
    Kind::SiteBack,
];

/// One of them, when it happened.
pub(super) struct Event {
    pub(super) kind: Kind,
    /// To which part.
    pub(super) what: String,
    pub(super) begun: Instant,
    /// How long it took, until what `detail` says.
    pub(super) took: Duration,
    pub(super) detail: String,
    /// Requests without an answer when it happened.
    pub(super) in_flight: usize,
}

/// The same with what the load saw, from then until the next one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) event: Kind,
    pub(super) part: String,
    pub(super) took_ms: f64,
    pub(super) detail: String,
    /// The longest time without an answer.
    pub(super) without_service_ms: f64,
    pub(super) in_flight: usize,
    pub(super) unknown: Unknown,
}

impl Event {
    /// Rows of a table; the last event lasts until `ended`.
    pub(super) fn rows(events: &[Self], answers: &Answers, ended: Instant) -> Vec<Row> {
        let begins = events.iter().map(|event| event.begun);
        let ends = begins.skip(1).chain([ended]);
        let both = events.iter().zip(ends);
        both.map(|(event, end)| Row {
            event: event.kind,
            part: event.what.clone(),
            took_ms: millis(event.took),
            detail: event.detail.clone(),
            without_service_ms: millis(answers.longest_gap(event.begun, end)),
            in_flight: event.in_flight,
            unknown: answers.unknown(event.begun, end),
        })
        .collect()
    }
}

impl Kind {
    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PrimaryKilled => "primary killed",
            Self::PrimaryBack => "brought back",
            Self::WitnessKilled => "witness killed",
            Self::WitnessBack => "brought back",
            Self::LinkCut => "link cut",
            Self::LinkHealed => "link healed",
            Self::Switched => "planned switch",
            Self::SiteLost => "site lost, failover",
            Self::SiteBack => "site brought back",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, what, detail) = (self.kind.name(), &self.what, &self.detail);
        let (millis, in_flight) = (self.took.as_millis(), self.in_flight);
        write!(
            f,
            "{name} ({what}): {millis} ms {detail}; {in_flight} requests were in flight"
        )
    }
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}
