//! What a comparison prints and writes.

use anyhow::{Context, Result as Fallible};
use serde::Serialize;

use super::super::rounds::{Figures, Summary};
use super::sides::Contender;
use super::{Case, CompareArgs, say};
use crate::machine::Machine;
use crate::output::table;
use crate::postgres::{PRIMARY_SETTINGS, SETTINGS};
use crate::quantities::{show_count, show_size};

/// How many times as many transfers with most connections and one transfer a request.
const RATIO_BAR: f64 = 10.0;

#[derive(Serialize)]
pub(super) struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    postgres_version: String,
    /// `name=value`, the primary's own last.
    postgres_settings: Vec<String>,
    accounts: u64,
    zipf: Option<f64>,
    seed: u64,
    seconds: f64,
    /// Answered, found again on all four servers, every balance being the sum of its transfers.
    kanjo_transfers_checked: u64,
    postgres_transfers_checked: u64,
    what_bytes_mean: [&'static str; 3],
    bars: Option<Bars>,
    cases: Vec<Result>,
    /// The case of the bars, once more.
    #[serde(flatten)]
    leading: Result,
}

/// What has to be reached, where most connections post one transfer a request.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bars {
    ratio_transfers_per_s_least: f64,
    ratio_reached: bool,
    p99_below_postgres_p50: bool,
}

/// All rounds of one case.
#[derive(Clone, Serialize)]
pub(super) struct Result {
    #[serde(flatten)]
    case: Case,
    #[serde(flatten)]
    summary: Summary,
}

impl Result {
    pub(super) fn of(case: Case, rounds: Vec<Figures>) -> Self {
        let summary = Summary::of(rounds);
        Self { case, summary }
    }

    fn at(&self, name: &str) -> f64 {
        self.summary.median.get(name).copied().unwrap_or(f64::NAN)
    }
}

impl Outcome {
    /// Checks both sides' books first.
    pub(super) async fn of(
        machine: Machine,
        args: &CompareArgs,
        cases: Vec<Result>,
        sides: &mut [Contender; 2],
    ) -> Fallible<Self> {
        let mut checked = [0, 0];
        let mut version = String::new();
        for side in sides {
            let transfers = side.check().await?;
            match side {
                Contender::Kanjo(_) => checked[0] = transfers,
                Contender::Postgres(side) => {
                    checked[1] = transfers;
                    version = side.version().await?;
                }
            }
        }
        let single = cases.iter().filter(|result| result.case.batch == 1);
        let leading = single.max_by_key(|result| result.case.connections);
        let bars = leading.map(|leading| Bars {
            ratio_transfers_per_s_least: RATIO_BAR,
            ratio_reached: leading.at("ratio_transfers_per_s") >= RATIO_BAR,
            p99_below_postgres_p50: leading.at("ratio_p99_to_postgres_p50") < 1.0,
        });
        let leading = leading.or(cases.last()).context("nothing was measured")?;
        let settings = SETTINGS.iter().chain(&PRIMARY_SETTINGS);
        Ok(Self {
            benchmark: "compare",
            machine,
            postgres_version: version,
            postgres_settings: settings
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            accounts: args.work.accounts,
            zipf: args.work.zipf,
            seed: args.work.seed,
            seconds: args.seconds,
            kanjo_transfers_checked: checked[0],
            postgres_transfers_checked: checked[1],
            what_bytes_mean: BYTES,
            bars,
            leading: leading.clone(),
            cases,
        })
    }

    pub(super) fn print(&self) {
        say(format!(
            "PostgreSQL {} with {}",
            self.postgres_version,
            self.postgres_settings.join(", ")
        ));
        say(self.table());
        say(format!(
            "median of {} rounds of {} s on each side in turns, {} accounts; times in ms, of a request",
            self.leading.summary.rounds.len(),
            self.seconds,
            show_count(self.accounts)
        ));
        BYTES.iter().for_each(say);
        say(format!(
            "checked on all four servers: {} transfers in Kanjo, {} in PostgreSQL, every book balances",
            show_count(self.kanjo_transfers_checked),
            show_count(self.postgres_transfers_checked)
        ));
        if let Some(bars) = self.bars {
            self.print_bars(bars);
        }
    }

    fn print_bars(&self, bars: Bars) {
        let reached = |reached| if reached { "reached" } else { "NOT reached" };
        let summary = &self.leading.summary;
        say(format!(
            "with {} connections: {} times as many transfers, at least {RATIO_BAR} wanted: {}",
            self.leading.case.connections,
            summary.range("ratio_transfers_per_s", 2),
            reached(bars.ratio_reached)
        ));
        say(format!(
            "  p99 {} µs, PostgreSQL's p50 {} µs, less wanted: {}",
            summary.range("p99_us", 0),
            summary.range("postgres_p50_us", 0),
            reached(bars.p99_below_postgres_p50)
        ));
    }

    fn table(&self) -> comfy_table::Table {
        let mut rows = table(
            &[
                "connections × batch",
                "",
                "transfers/s",
                "p50",
                "p99",
                "log B/t",
                "wire B/t",
                "memory",
            ],
            &[2, 3, 4, 5, 6, 7],
        );
        for result in &self.cases {
            let case = format!("{} × {}", result.case.connections, result.case.batch);
            for (who, prefix) in [("Kanjo", ""), ("PostgreSQL", "postgres_")] {
                let at = |name: &str| result.at(&format!("{prefix}{name}"));
                rows.add_row([
                    if prefix.is_empty() {
                        case.clone()
                    } else {
                        String::new()
                    },
                    who.to_owned(),
                    show_count(at("transfers_per_s") as u64),
                    format!("{:.2}", at("p50_us") / 1e3),
                    format!("{:.2}", at("p99_us") / 1e3),
                    format!("{:.1}", at("disk_bytes_per_transfer")),
                    format!("{:.1}", at("wire_bytes_per_transfer")),
                    show_size(at("rss_bytes") as u64),
                ]);
            }
            rows.add_row([
                String::new(),
                "ratio".to_owned(),
                format!("{:.2}", result.at("ratio_transfers_per_s")),
                format!("{:.2}", result.at("ratio_p50")),
                format!("{:.2}", result.at("ratio_p99")),
            ]);
        }
        rows
    }
}

/// Not the same bytes on both sides: which ones.
const BYTES: [&str; 3] = [
    "disk: written to the primary's log; Kanjo: batches with their padding, before sealing; PostgreSQL: \
     WAL (differences of pg_current_wal_lsn), before tables and indexes",
    "wire: between the two nodes; Kanjo: all bytes that TCP carried, in both directions; PostgreSQL: WAL that \
     was sent (sent_lsn) and nothing else",
    "memory: resident, both nodes together; pages that processes share count once",
];
