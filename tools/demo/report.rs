//! What the demo found, as a table and as JSON, and whether that is a pass.

use std::fmt;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use hdrhistogram::Histogram;
use kanjo_node::status::{Status, Unprotected};
use serde::Serialize;

use super::check::Lost;
use super::failover::TakeOver;
use super::post::{Answer, Fate};
use crate::berka::ClosingCounts;
use crate::machine::{FileSystem, SyncProbe};

/// Most single problems that are told; their number is always told.
pub(super) const EXAMPLES: usize = 5;

/// What was measured and counted.
pub(super) struct Figures<'a> {
    pub(super) answers: &'a [Answer],
    pub(super) lost: &'a [Lost],
    pub(super) wrong_accounts: Vec<String>,
    pub(super) closings: ClosingCounts,
    pub(super) balances_read_again: usize,
    pub(super) balances_changed: usize,
    pub(super) trial_balance: Vec<TrialBalance>,
    pub(super) commit_latency: Latency,
    pub(super) outstanding: u16,
    pub(super) take_over: TakeOver,
    pub(super) quarantined: usize,
    pub(super) kill_to_first_commit: Option<Duration>,
    pub(super) digests: [NodeDigest; 2],
    pub(super) sync: SyncProbe,
    pub(super) file_system: FileSystem,
    pub(super) seconds: f64,
}

/// The JSON object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Nothing is in `failures`.
    pub(super) passed: bool,
    failures: Vec<String>,
    seconds: f64,
    postings_answered: usize,
    posted: usize,
    rejected: usize,
    indeterminate: usize,
    lost: usize,
    balances_equal: u64,
    balances_off_by_rounding: u64,
    balances_differ: u64,
    balances_read_again: usize,
    balances_changed: usize,
    accounts_wrong: usize,
    trial_balance: Vec<TrialBalance>,
    requests_outstanding: u16,
    commit_latency_us: Latency,
    bytes_appended: u64,
    bytes_of_batches: u64,
    bytes_shipped: u64,
    shipped_to_appended: f64,
    shipped_to_batches: f64,
    in_flight_at_kill: usize,
    kill_to_first_commit_ms: Option<f64>,
    promoted_epoch: String,
    unprotected_at_promotion: u64,
    unprotected: Unprotected,
    quarantined: usize,
    digests: [NodeDigest; 2],
    digests_equal: bool,
    sync_probe: SyncProbe,
    sync_as_expected: bool,
    file_system: FileSystem,
}

/// Totals of one ledger on one node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TrialBalance {
    pub(super) node: u32,
    pub(super) ledger: u32,
    pub(super) currency: &'static str,
    pub(super) debits: String,
    pub(super) credits: String,
    pub(super) difference: String,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
}

impl TrialBalance {
    /// Of all these nodes and their ledgers; each difference must be zero.
    pub(super) fn of<'a>(statuses: impl IntoIterator<Item = &'a Status>) -> Vec<Self> {
        let of = |status: &'a Status| {
            let ledgers = status.trial_balance.iter();
            ledgers.map(|ledger| Self {
                node: status.node,
                ledger: ledger.ledger,
                currency: currency(ledger.ledger),
                debits: ledger.debits.clone(),
                credits: ledger.credits.clone(),
                difference: ledger.difference.clone(),
            })
        };
        statuses.into_iter().flat_map(of).collect()
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        let (node, ledger, off) = (self.node, self.ledger, &self.difference);
        (off != "0").then(|| format!("node {node}: ledger {ledger} is off by {off}"))
    }
}

fn currency(ledger: u32) -> &'static str {
    match ledger {
        crate::bank::LEDGER => "CZK",
        super::load::LEDGER => "EUR",
        _ => "?",
    }
}

impl Latency {
    /// Of nanoseconds.
    pub(super) fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: nanos.len(),
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }
}

/// What one node is in at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NodeDigest {
    pub(super) node: u32,
    pub(super) role: String,
    pub(super) lsn: u64,
    pub(super) digest: String,
}

impl NodeDigest {
    pub(super) fn of(status: &Status) -> Self {
        Self {
            node: status.node,
            role: status.role.clone(),
            lsn: status.applied_lsn,
            digest: status.digest.clone(),
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        self.lsn == other.lsn && self.digest == other.digest
    }
}

impl Report {
    pub(super) fn of(figures: Figures<'_>) -> Self {
        let failures = failures(&figures);
        let Figures {
            answers,
            lost,
            wrong_accounts,
            take_over,
            digests,
            ..
        } = figures;
        let shipping = take_over.shipping;
        let posted = answers.iter().filter(|one| one.fate == Fate::Posted);
        let posted = posted.count();
        Self {
            passed: failures.is_empty(),
            failures,
            seconds: rounded(figures.seconds),
            postings_answered: answers.len(),
            posted,
            rejected: answers.len() - posted,
            indeterminate: answers.iter().filter(|one| one.repeated).count(),
            lost: lost.len(),
            balances_equal: figures.closings.equal,
            balances_off_by_rounding: figures.closings.rounded,
            balances_differ: figures.closings.differ,
            balances_read_again: figures.balances_read_again,
            balances_changed: figures.balances_changed,
            accounts_wrong: wrong_accounts.len(),
            trial_balance: figures.trial_balance,
            requests_outstanding: figures.outstanding,
            commit_latency_us: figures.commit_latency,
            bytes_appended: shipping.appended_bytes,
            bytes_of_batches: shipping.payload_bytes,
            bytes_shipped: shipping.shipped_bytes,
            shipped_to_appended: ratio(shipping.shipped_bytes, shipping.appended_bytes),
            shipped_to_batches: ratio(shipping.shipped_bytes, shipping.payload_bytes),
            in_flight_at_kill: take_over.in_flight,
            kill_to_first_commit_ms: figures
                .kill_to_first_commit
                .map(|time| rounded(time.as_secs_f64() * 1e3)),
            promoted_epoch: take_over.promotion.epoch,
            unprotected_at_promotion: take_over.promotion.unprotected.count,
            unprotected: take_over.unprotected,
            quarantined: figures.quarantined,
            digests_equal: digests[0].agrees(&digests[1]),
            digests,
            sync_as_expected: figures.sync.as_expected(),
            sync_probe: figures.sync,
            file_system: figures.file_system,
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    rounded(part as f64 / whole.max(1) as f64)
}

/// To three decimals.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Why the demo did not pass.
fn failures(figures: &Figures<'_>) -> Vec<String> {
    let mut failures = Vec::new();
    for lost in figures.lost.iter().take(EXAMPLES) {
        failures.push(format!("transfer {} {}", lost.id, lost.what));
    }
    failures.extend(figures.wrong_accounts.iter().take(EXAMPLES).cloned());
    let (found, known) = (figures.closings, ClosingCounts::CARRIED);
    if found != known {
        failures.push(format!(
            "end-of-day balances: {} / {} / {}, the bank's rows give {} / {} / {}",
            found.equal, found.rounded, found.differ, known.equal, known.rounded, known.differ
        ));
    }
    if figures.balances_changed > 0 {
        failures.push(format!(
            "{} balances changed over the take-over or the return",
            figures.balances_changed
        ));
    }
    failures.extend(figures.trial_balance.iter().filter_map(TrialBalance::fault));
    if figures.trial_balance.is_empty() {
        failures.push("no node told a trial balance".to_owned());
    }
    let [first, second] = &figures.digests;
    if !first.agrees(second) {
        failures.push(format!(
            "digests differ: {} at lsn {} and {} at lsn {}",
            first.digest, first.lsn, second.digest, second.lsn
        ));
    }
    let may_be_missing = &figures.take_over.promotion.may_be_missing;
    failures.extend(may_be_missing.iter().cloned());
    if figures.kill_to_first_commit.is_none() {
        failures.push("no transfer was answered after the kill".to_owned());
    }
    failures
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        for (name, value) in self.rows() {
            table.add_row([name, value]);
        }
        writeln!(f, "\n{table}")?;
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

impl Report {
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        let n = thousands;
        row(
            "postings answered",
            format!(
                "{} ({} posted, {} rejected by a balance limit)",
                n(self.postings_answered as u64),
                n(self.posted as u64),
                n(self.rejected as u64)
            ),
        );
        row(
            "indeterminate",
            format!(
                "{} (all resolved by repeating their ids)",
                self.indeterminate
            ),
        );
        row("lost", n(self.lost as u64));
        row("end-of-day balances", String::new());
        row("  equal the bank's", n(self.balances_equal));
        row("  off by its rounding", n(self.balances_off_by_rounding));
        row("  differ", n(self.balances_differ));
        row(
            "imported balances read again",
            format!(
                "{}, twice; {} changed",
                n(self.balances_read_again as u64),
                self.balances_changed
            ),
        );
        for ledger in &self.trial_balance {
            row(
                &format!("trial balance, node {} {}", ledger.node, ledger.currency),
                format!("{} (debits = {})", ledger.difference, ledger.debits),
            );
        }
        let latency = &self.commit_latency_us;
        row(
            "commit latency p50 / p99 / p99.9",
            format!(
                "{:.0} / {:.0} / {:.0} µs ({} outstanding)",
                latency.p50, latency.p99, latency.p99_9, self.requests_outstanding
            ),
        );
        row(
            "bytes appended / shipped",
            format!(
                "{} / {} by node 1 until its end (ratio {:.2}; {:.2} without padding)",
                n(self.bytes_appended),
                n(self.bytes_shipped),
                self.shipped_to_appended,
                self.shipped_to_batches
            ),
        );
        self.end_rows(&mut row);
        rows
    }

    fn end_rows(&self, row: &mut impl FnMut(&str, String)) {
        row(
            "kill to first answered commit",
            match self.kill_to_first_commit_ms {
                Some(ms) => format!("{ms:.1} ms ({} requests in flight)", self.in_flight_at_kill),
                None => "none came".to_owned(),
            },
        );
        row(
            "unprotected while alone",
            format!(
                "{} transfers (epoch {})",
                thousands(self.unprotected.count),
                self.promoted_epoch
            ),
        );
        row(
            "quarantined on return",
            format!(
                "{} transfers that nobody was answered for",
                self.quarantined
            ),
        );
        for node in &self.digests {
            row(
                &format!("digest of node {} ({})", node.node, node.role),
                format!("{} at lsn {}", node.digest, node.lsn),
            );
        }
        row(
            "digests",
            match self.digests_equal {
                true => "equal".to_owned(),
                false => "DIFFER".to_owned(),
            },
        );
        row(
            "sync of 4 KiB p50 / p99",
            format!(
                "{:.0} / {:.0} µs{}",
                self.sync_probe.p50_us,
                self.sync_probe.p99_us,
                match self.sync_as_expected {
                    true => "",
                    false => " (slow disk)",
                }
            ),
        );
        row("file system", self.file_system.describe());
        row("time in all", format!("{:.1} s", self.seconds));
    }
}

/// 28205 as `28,205`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::failover::Shipping;
    use crate::machine::Durability;
    use kanjo_node::status::Promotion;

    fn figures() -> Figures<'static> {
        let digest = |node, role: &str| NodeDigest {
            node,
            role: role.to_owned(),
            lsn: 4096,
            digest: "ab".to_owned(),
        };
        let shipping = Shipping {
            appended_bytes: 4096,
            payload_bytes: 1_024,
            shipped_bytes: 512,
        };
        let take_over = TakeOver {
            in_flight: 3,
            promotion: Promotion::default(),
            unprotected: Unprotected::default(),
            shipping,
        };
        let trial = TrialBalance {
            node: 1,
            ledger: 203,
            currency: "CZK",
            debits: "7".into(),
            credits: "7".into(),
            difference: "0".into(),
        };
        Figures {
            answers: &[],
            lost: &[],
            wrong_accounts: Vec::new(),
            closings: ClosingCounts::CARRIED,
            balances_read_again: 2,
            balances_changed: 0,
            trial_balance: vec![trial],
            commit_latency: Latency::of(&Histogram::new(3).unwrap()),
            outstanding: 128,
            take_over,
            quarantined: 0,
            kill_to_first_commit: Some(Duration::from_millis(80)),
            digests: [digest(1, "replica"), digest(2, "primary")],
            sync: SyncProbe {
                p50_us: 90.0,
                p99_us: 200.0,
            },
            file_system: FileSystem {
                name: "tmpfs".into(),
                durability: Durability::Memory,
            },
            seconds: 1.0,
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
            "\"balances_equal\": 22073",
            "\"balances_off_by_rounding\": 1366",
            "\"balances_differ\": 1",
            "\"digests_equal\": true",
        ] {
            assert!(json.contains(line), "{line} is not in {json}");
        }
        let table = report.to_string();
        assert!(
            table.contains("22,073") && table.contains("NOT DURABLE"),
            "{table}"
        );
    }

    #[test]
    fn each_single_fault_fails_the_demo() {
        let lost = [Lost {
            id: 5,
            what: "is not there".into(),
        }];
        let faults: [fn(&mut Figures<'_>); 7] = [
            |f| f.closings.equal -= 1,
            |f| f.closings.differ += 1,
            |f| f.balances_changed = 1,
            |f| f.trial_balance[0].difference = "-3".into(),
            |f| f.digests[0].digest = "ac".into(),
            |f| f.digests[1].lsn = 8192,
            |f| f.kill_to_first_commit = None,
        ];
        for (place, fault) in faults.iter().enumerate() {
            let mut figures = figures();
            fault(&mut figures);
            assert!(!Report::of(figures).passed, "fault {place}");
        }
        let with_lost = Figures {
            lost: &lost,
            ..figures()
        };
        let report = Report::of(with_lost);
        assert!(!report.passed && report.lost == 1);
        let wrong = vec!["account 5 overdrew".to_owned()];
        let with_wrong = Figures {
            wrong_accounts: wrong,
            ..figures()
        };
        assert!(!Report::of(with_wrong).passed);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(28_205), "28,205");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
