//! What the demo of two clouds found, as a table and as JSON, and whether that is a pass.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::ending::Ending;
use super::events::{KINDS, Row};
use super::load::Unknown;
use crate::clouds::SERVERS;
use crate::demo::report::{EXAMPLES, NodeDigest, TrialBalance, rounded, thousands};
use crate::machine::{FileSystem, SyncProbe};
use crate::output::table;

/// What was measured and counted.
pub(super) struct Figures {
    pub(super) rows: Vec<Row>,
    pub(super) ending: Ending,
    /// Answers of the other site while the active one went on without it.
    pub(super) answered_by_both: usize,
    pub(super) outstanding: usize,
    pub(super) sync: SyncProbe,
    pub(super) file_system: FileSystem,
    pub(super) seconds: f64,
}

/// The JSON object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(in crate::demo) struct Report {
    /// Nothing is in `failures`.
    pub(in crate::demo) passed: bool,
    failures: Vec<String>,
    seconds: f64,
    third_site_witness: bool,
    events: Vec<Row>,
    requests_outstanding: usize,
    postings_answered: usize,
    posted: usize,
    rejected: usize,
    unknown: Unknown,
    answered_by_both_sites: usize,
    lost: usize,
    accounts_wrong: usize,
    transfers: u64,
    quarantined: usize,
    trial_balance: Vec<TrialBalance>,
    digests: Vec<NodeDigest>,
    digests_equal: bool,
    sync_probe: SyncProbe,
    file_system: FileSystem,
}

impl Report {
    pub(super) fn of(figures: Figures) -> Self {
        let failures = failures(&figures);
        let ending = figures.ending;
        Self {
            passed: failures.is_empty(),
            failures,
            seconds: rounded(figures.seconds),
            third_site_witness: true,
            events: figures.rows,
            requests_outstanding: figures.outstanding,
            postings_answered: ending.answered,
            posted: ending.posted,
            rejected: ending.answered - ending.posted,
            unknown: ending.unknown,
            answered_by_both_sites: figures.answered_by_both,
            lost: ending.lost.len(),
            accounts_wrong: ending.wrong_accounts.len(),
            transfers: ending.transfers,
            quarantined: ending.quarantined,
            trial_balance: ending.trial_balance,
            digests_equal: ending.difference.is_none(),
            digests: ending.digests,
            sync_probe: figures.sync,
            file_system: figures.file_system,
        }
    }

    fn table_of_events(&self) -> Table {
        let header = [
            "what happened",
            "to",
            "took",
            "without service",
            "in flight",
            "unknown outcomes",
        ];
        let mut rows = table(&header, &[3, 4]);
        for row in &self.events {
            let unknown = row.unknown;
            rows.add_row([
                row.event.name().to_owned(),
                row.part.clone(),
                format!("{:.0} ms {}", row.took_ms, row.detail),
                format!("{:.0} ms", row.without_service_ms),
                row.in_flight.to_string(),
                match unknown.count {
                    0 => "none".to_owned(),
                    count => format!("{count}: {}", resolved(unknown)),
                },
            ]);
        }
        rows
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let n = |count: usize| thousands(count as u64);
        let balanced = self.trial_balance.iter().all(|one| one.fault().is_none());
        vec![
            (
                "postings answered",
                format!(
                    "{} ({} posted, {} rejected by a balance limit), {} requests outstanding",
                    n(self.postings_answered),
                    n(self.posted),
                    n(self.rejected),
                    self.requests_outstanding
                ),
            ),
            (
                "unknown outcomes",
                match self.unknown.count {
                    0 => "none".to_owned(),
                    count => format!(
                        "{count}, all resolved by repeating their ids: {}",
                        resolved(self.unknown)
                    ),
                },
            ),
            (
                "answered by both sites while the link was cut",
                n(self.answered_by_both_sites),
            ),
            ("lost", n(self.lost)),
            (
                "in the ledger",
                format!("{} transfers, each once", thousands(self.transfers)),
            ),
            (
                "cut from logs' ends",
                format!("{} transfers, answered to nobody", n(self.quarantined)),
            ),
            (
                "trial balance of each node",
                if balanced { "0" } else { "NOT 0" }.to_owned(),
            ),
            ("digests", self.digests_in_words()),
            ("third-site witness", "one: seven processes".to_owned()),
            ("file system", self.file_system.describe()),
            ("time in all", format!("{:.1} s", self.seconds)),
        ]
    }

    fn digests_in_words(&self) -> String {
        match (self.digests_equal, self.digests.first()) {
            (true, Some(first)) => {
                let digest = first.digest.get(..16).unwrap_or(&first.digest);
                let count = self.digests.len();
                format!("equal on {count} nodes at lsn {}: {digest}…", first.lsn)
            }
            _ => "DIFFER".to_owned(),
        }
    }
}

fn resolved(unknown: Unknown) -> String {
    format!(
        "{} had been posted, {} were posted by the repeat, {} were rejected",
        unknown.had_posted, unknown.posted_by_repeat, unknown.rejected
    )
}

/// Why the demo did not pass.
fn failures(figures: &Figures) -> Vec<String> {
    let ending = &figures.ending;
    let mut failures = Vec::new();
    for lost in ending.lost.iter().take(EXAMPLES) {
        failures.push(format!("transfer {} {}", lost.id, lost.what));
    }
    failures.extend(ending.wrong_accounts.iter().take(EXAMPLES).cloned());
    failures.extend(ending.trial_balance.iter().filter_map(TrialBalance::fault));
    failures.extend(ending.difference.clone());
    if ending.digests.len() != SERVERS.len() || ending.trial_balance.is_empty() {
        failures.push("not all servers told how they are".to_owned());
    }
    if ending.transfers != ending.posted as u64 {
        failures.push(format!(
            "the ledger holds {} transfers, {} were answered as posted",
            ending.transfers, ending.posted
        ));
    }
    if figures.answered_by_both > 0 {
        failures.push(format!(
            "{} requests were answered by the other site while the active one went on without it",
            figures.answered_by_both
        ));
    }
    let happened: Vec<_> = figures.rows.iter().map(|row| row.event).collect();
    if happened != KINDS {
        failures.push(format!("not everything was tried, only {happened:?}"));
    }
    failures
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.table_of_events())?;
        let mut facts = Table::new();
        facts
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        for (name, value) in self.facts() {
            facts.add_row([name.to_owned(), value]);
        }
        writeln!(f, "{facts}")?;
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        match self.passed {
            true => write!(
                f,
                "passed: nothing that was answered is missing or different"
            ),
            false => write!(f, "failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::check::Lost;
    use crate::machine::Durability;

    fn figures() -> Figures {
        let digest = |node| NodeDigest {
            node,
            role: "replica".to_owned(),
            lsn: 4096,
            digest: "ab".to_owned(),
        };
        let trial = TrialBalance {
            node: 1,
            ledger: 978,
            currency: "EUR",
            debits: "7".into(),
            credits: "7".into(),
            difference: "0".into(),
        };
        let row = |event| Row {
            event,
            part: "node 1".to_owned(),
            took_ms: 80.0,
            detail: "until node 2 answered".to_owned(),
            without_service_ms: 81.0,
            in_flight: 16,
            unknown: Unknown::default(),
        };
        Figures {
            rows: KINDS.map(row).into(),
            ending: Ending {
                answered: 20_000,
                posted: 19_000,
                unknown: Unknown::default(),
                lost: Vec::new(),
                wrong_accounts: Vec::new(),
                transfers: 19_000,
                digests: (1..=4).map(digest).collect(),
                difference: None,
                trial_balance: vec![trial],
                quarantined: 1,
            },
            answered_by_both: 0,
            outstanding: 16,
            sync: SyncProbe {
                p50_us: 90.0,
                p99_us: 200.0,
            },
            file_system: FileSystem {
                name: "ext4".into(),
                durability: Durability::Durable,
            },
            seconds: 30.0,
        }
    }

    #[test]
    fn a_clean_run_passes_and_says_so_in_the_names_that_scripts_look_for() {
        let report = Report::of(figures());
        assert!(report.passed);
        let json = serde_json::to_string_pretty(&report).unwrap();
        for line in [
            "\"passed\": true",
            "\"lost\": 0",
            "\"answered_by_both_sites\": 0",
            "\"digests_equal\": true",
            "\"event\": \"site_lost\"",
        ] {
            assert!(json.contains(line), "{line} is not in {json}");
        }
        let shown = report.to_string();
        assert!(
            shown.contains("20,000") && shown.contains("site lost"),
            "{shown}"
        );
    }

    #[test]
    fn each_single_fault_fails_the_demo() {
        let lost = || Lost {
            id: 5,
            what: "is not there".into(),
        };
        let faults: [fn(&mut Figures, Lost); 8] = [
            |f, lost| f.ending.lost.push(lost),
            |f, _| f.ending.wrong_accounts.push("account 5 overdrew".into()),
            |f, _| f.ending.transfers += 1,
            |f, _| f.ending.difference = Some("node 1 and node 2 differ".into()),
            |f, _| f.ending.trial_balance[0].difference = "-3".into(),
            |f, _| f.answered_by_both = 1,
            |f, _| f.rows.truncate(8),
            |f, _| f.ending.digests.truncate(3),
        ];
        for (place, fault) in faults.iter().enumerate() {
            let mut figures = figures();
            fault(&mut figures, lost());
            let report = Report::of(figures);
            assert!(!report.passed, "fault {place}");
            assert!(report.to_string().contains("FAILED: "), "fault {place}");
        }
    }
}
