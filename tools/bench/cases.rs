//! Results of several kinds of load in one run.

use serde::Serialize;

use super::rig::Case;
use super::rounds::{Figures, Summary};
use crate::floor::FrameBytes;

/// One kind of load with its rounds.
#[derive(Clone, Serialize)]
pub(super) struct CaseResult {
    /// What the load was.
    #[serde(flatten)]
    pub(super) case: Case,
    /// What one commit of the floor was.
    pub(super) frame_bytes: FrameBytes,
    /// Its figures.
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// Rounds that were repeated because the machine's floor strayed in them.
    pub(super) rounds_put_aside: Vec<Figures>,
}

/// All kinds of load. The one that the figures at the top are of is the last.
#[derive(Serialize)]
pub(super) struct Results {
    /// Name of the one that `median` and `rounds` beside this are of.
    of: String,
    #[serde(flatten)]
    summary: Summary,
    /// Each.
    pub(super) cases: Vec<CaseResult>,
}

impl CaseResult {
    /// Of at least one round.
    pub(super) fn of(
        case: Case,
        frame_bytes: FrameBytes,
        rounds: Vec<Figures>,
        rounds_put_aside: Vec<Figures>,
    ) -> Self {
        Self {
            case,
            frame_bytes,
            summary: Summary::of(rounds),
            rounds_put_aside,
        }
    }
}

impl Results {
    /// Of at least one case.
    pub(super) fn of(cases: Vec<CaseResult>) -> Self {
        let last = cases.last().expect("there is a case");
        Self {
            of: last.case.name.clone(),
            summary: last.summary.clone(),
            cases,
        }
    }
}
