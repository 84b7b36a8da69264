//! The table of a run: median and worst beside what is asked for, and beside what others take.

use kanjo_format::limits::SEGMENT_BYTES_DEFAULT;
use serde::Serialize;

use super::Outcome;
use crate::bench::rounds::{Figures, Summary};
use crate::bench::say;
use crate::output::table;
use crate::quantities::{show_count, show_size};

/// What is asked for, in milliseconds.
struct Bar {
    figure: &'static str,
    what: &'static str,
    p50: f64,
    worst: f64,
}

const BARS: [Bar; 4] = [
    Bar {
        figure: "kill_ms",
        what: "primary killed, to the first answer",
        p50: 250.0,
        worst: 600.0,
    },
    Bar {
        figure: "silent_ms",
        what: "primary stopped, to the first answer",
        p50: 2_000.0,
        worst: 2_000.0,
    },
    Bar {
        figure: "switch_ms",
        what: "planned switch, longest time without an answer",
        p50: 200.0,
        worst: 200.0,
    },
    Bar {
        figure: "site_ms",
        what: "site lost, from the operator's word to the first answer",
        p50: 500.0,
        worst: 500.0,
    },
];

/// What others take.
pub(super) const ELSEWHERE: [&str; 3] = [
    "TigerBeetle, 3 replicas: 306 to 319 ms from the kill of its primary to the next answer, once 3.6 s; with 2 replicas never",
    "PostgreSQL: 81 to 456 ms after an operator who reacts at once; 3 of 13 times 5 s",
    "Patroni's default detection: 20 to 30 s",
];

/// A figure and whether it is what is asked for.
#[derive(Serialize)]
pub(super) struct Verdict {
    figure: &'static str,
    #[serde(skip)]
    what: &'static str,
    p50_ms: f64,
    worst_ms: f64,
    p50_bar_ms: f64,
    worst_bar_ms: f64,
    reached: bool,
}

/// Of all scenes that were played.
pub(super) fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let at = |figures: &Figures, name: &str| figures.get(name).copied();
    let of = |bar: &Bar| {
        let p50 = at(&summary.median, bar.figure)?;
        let worst = at(&summary.max, bar.figure)?;
        Some(Verdict {
            figure: bar.figure,
            what: bar.what,
            p50_ms: p50,
            worst_ms: worst,
            p50_bar_ms: bar.p50,
            worst_bar_ms: bar.worst,
            reached: p50 <= bar.p50 && worst <= bar.worst,
        })
    };
    BARS.iter().filter_map(of).collect()
}

impl Outcome {
    pub(super) fn print(&self) {
        let summary = &self.summary;
        let rounds = summary.rounds.len();
        say(format!(
            "two sites of two servers and a witness with {} accounts and {} transfers in segments \
             of {}; heartbeats of {} ms, elections after {} ms, silence after {} ms; {rounds} rounds:",
            show_count(self.accounts),
            show_count(self.transfers),
            show_size(SEGMENT_BYTES_DEFAULT),
            self.timing.heartbeat_ms,
            self.timing.election_ms,
            self.timing.silent_ms,
        ));
        let worst = format!("worst of {rounds}");
        let header = ["ms", "p50", &worst, "at most", "worst at most", ""];
        let mut rows = table(&header, &[1, 2, 3, 4]);
        for one in &self.verdicts {
            rows.add_row([
                one.what.to_owned(),
                format!("{:.0}", one.p50_ms),
                format!("{:.0}", one.worst_ms),
                format!("{:.0}", one.p50_bar_ms),
                format!("{:.0}", one.worst_bar_ms),
                if one.reached {
                    "reached"
                } else {
                    "NOT reached"
                }
                .to_owned(),
            ]);
        }
        say(rows);
        say("beside it; median (least to most) of the rounds:");
        for (name, decimals, what) in [
            (
                "quiet_p50_us",
                0,
                "one commit of the same client in quiet times, p50",
            ),
            ("quiet_p99_us", 0, "the same, p99"),
            (
                "switch_done_ms",
                0,
                "a planned switch, to the command's answer",
            ),
            (
                "site_since_kill_ms",
                0,
                "site lost, from the kill to the first answer",
            ),
            (
                "kill_back_s",
                2,
                "the killed server started again, until all is whole",
            ),
            (
                "silent_back_s",
                2,
                "the stopped server going on, until all is whole",
            ),
            ("switch_back_s", 2, "a planned switch, until all is whole"),
            (
                "site_back_s",
                2,
                "the killed site started again, until all is whole",
            ),
        ] {
            if summary.median.contains_key(name) {
                say(format!(
                    "  {name:20} {:28} {what}",
                    summary.range(name, decimals)
                ));
            }
        }
        say("measured elsewhere on this kind of machine:");
        for line in self.elsewhere {
            say(format!("  {line}"));
        }
        say(
            "after each scene all four servers had the same history, digest and number of transfers",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_round_counts_as_well_as_the_median() {
        let rounds = |kills: &[f64]| {
            let rounds = kills.iter().map(|ms| Figures::from([("kill_ms", *ms)]));
            verdicts(&Summary::of(rounds.collect()))
        };
        let [fast] = &rounds(&[100.0, 120.0, 590.0])[..] else {
            panic!("one scene was played");
        };
        assert!(fast.reached && fast.p50_ms == 120.0 && fast.worst_ms == 590.0);
        assert!(!rounds(&[100.0, 120.0, 601.0])[0].reached);
        assert!(!rounds(&[251.0])[0].reached);
        assert!(verdicts(&Summary::of(Vec::new())).is_empty());
    }
}
