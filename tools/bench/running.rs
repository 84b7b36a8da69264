//! `kanjo bench promote --running`: how long a pair is without a primary when its auxiliary,
//! running and caught up, is promoted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kanjo_client::Client;
use kanjo_format::limits::{REQUEST_EVENTS_MAX, SEGMENT_BYTES_DEFAULT};
use kanjo_node::admin::{Condition, PromoteOptions};
use serde::Serialize;

use super::load::{Shape, drive};
use super::rig::Rig;
use super::rounds::{Figures, Summary};
use super::workload::WorkArgs;
use super::{OutputArgs, bar, say};
use crate::machine::Machine;
use crate::pair::{PATIENCE, Pair, Which, Workspace};
use crate::quantities::show_count;

/// Of one promotion, from the command to the first answered commit.
const BAR_MS: f64 = 100.0;
/// Requests outstanding while history is made.
const IN_FLIGHT: usize = 8;
/// How often one looks whether enough was posted.
const LOOK: Duration = Duration::from_millis(5);
/// Pause of the client between two searches for a primary: what it adds to a round.
const SEARCH_PAUSE: Duration = Duration::from_millis(1);

#[derive(Serialize)]
struct Outcome {
    benchmark: &'static str,
    machine: Machine,
    #[serde(flatten)]
    work: WorkArgs,
    transfers: u64,
    digests_equal: bool,
    #[serde(flatten)]
    summary: Summary,
}

/// Kills the primary and promotes the auxiliary, again and again with the roles changed; prints
/// and writes JSON.
pub(super) async fn run(
    work: WorkArgs,
    transfers: u64,
    rounds: u64,
    output: &OutputArgs,
) -> Result<()> {
    let workspace = Workspace::claim(&output.data(), false)?;
    let machine = Machine::describe(workspace.path())?;
    let mut rig = Rig::start(workspace.path(), SEGMENT_BYTES_DEFAULT, &work, |_| {}).await?;
    post(&rig, transfers).await?;
    let progress = bar(rounds, "promotions");
    let mut primary = Which::First;
    let mut figures = Vec::new();
    for _ in 0..rounds {
        figures.push(promote(&mut rig, primary).await?);
        primary = primary.other();
        progress.inc(1);
    }
    progress.finish_and_clear();
    let outcome = Outcome {
        benchmark: "promote-running",
        machine,
        work,
        transfers,
        digests_equal: true,
        summary: Summary::of(figures),
    };
    outcome.print();
    output.write_json("promote-running.json", &outcome)
}

/// Posts at least so many transfers in full requests, several at once.
pub(super) async fn post(rig: &Rig, transfers: u64) -> Result<()> {
    let shape = Shape {
        batch: REQUEST_EVENTS_MAX,
        in_flight: IN_FLIGHT,
        rate: None,
    };
    let clients = [rig.connect().await?];
    let driven = drive(&clients, shape, &rig.workload, async |meter| {
        meter.begin();
        while meter.transfers() < transfers {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    });
    let ((), _) = driven.await?;
    Ok(())
}

/// One promotion; at its end the killed node is back as auxiliary, in sync.
async fn promote(rig: &mut Rig, primary: Which) -> Result<Figures> {
    let auxiliary = primary.other();
    let running = rig.settle().await?;
    let transfer = rig.workload.borrow_mut().next();
    let client = client_of(&rig.pair).await?;
    let pair = &mut rig.pair;
    pair.kill(primary)?;
    let options = PromoteOptions {
        alone: true,
        reason: "bench: the primary was killed".to_owned(),
        ..PromoteOptions::default()
    };
    let begun = Instant::now();
    let promoting = async {
        let promotion = pair.promote(auxiliary, options).await?;
        Ok::<_, anyhow::Error>((promotion, begun.elapsed()))
    };
    let posting = async {
        let posted = client.create_transfers_resolved(std::slice::from_ref(&transfer), PATIENCE);
        let posted = posted.await.context("the first transfer after it")?;
        ensure!(posted[0].posted(), "the first transfer got {posted:?}");
        Ok(begun.elapsed())
    };
    let ((promotion, promoted), answered) = tokio::try_join!(promoting, posting)?;
    let returned = Instant::now();
    pair.start(primary)?;
    pair.expect(auxiliary, Condition::Protected).await?;
    let back = returned.elapsed();
    // Digests are equal, and nothing is there twice or missing.
    let settled = rig.settle().await?;
    ensure!(
        settled.transfers == running.transfers + 1,
        "there are {} transfers, with one more there were {}",
        settled.transfers,
        running.transfers
    );
    Ok(Figures::from([
        ("first_commit_ms", answered.as_secs_f64() * 1e3),
        ("promote_ms", promoted.as_secs_f64() * 1e3),
        ("node_ms", promotion.duration_us as f64 / 1e3),
        ("records_replayed", promotion.records_replayed as f64),
        ("rejoin_s", back.as_secs_f64()),
    ]))
}

/// A client that looks for a primary all the time.
async fn client_of(pair: &Pair) -> Result<Client> {
    let tune = |config: &mut kanjo_client::ClientConfig| {
        config.backoff_min = SEARCH_PAUSE;
        config.backoff_max = SEARCH_PAUSE;
    };
    pair.connect_with(tune).await
}

impl Outcome {
    fn print(&self) {
        let summary = &self.summary;
        say(format!(
            "promotion of a running, caught-up auxiliary with {} accounts and {} transfers; median (least to \
             most) of {} rounds:",
            show_count(self.work.accounts),
            show_count(self.transfers),
            summary.rounds.len()
        ));
        for (name, decimals, what) in [
            (
                "first_commit_ms",
                1,
                "from the command to the first answered commit",
            ),
            ("promote_ms", 1, "to the command's answer"),
            ("node_ms", 1, "as the node counts it"),
            ("records_replayed", 0, "records that were not yet applied"),
            (
                "rejoin_s",
                2,
                "the killed node started again, until commits are protected",
            ),
        ] {
            let range = summary.range(name, decimals);
            say(format!("  {name:16} {range:28} {what}"));
        }
        let first = summary.median.get("first_commit_ms").copied();
        let reached = match first.is_some_and(|first| first <= BAR_MS) {
            true => "reached",
            false => "NOT reached",
        };
        say(format!(
            "at most {BAR_MS} ms to the first answered commit: {reached}"
        ));
    }
}
