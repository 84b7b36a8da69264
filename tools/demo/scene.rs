//! The demo from the first start to the last look, step by step.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kanjo_node::admin::Condition;
use kanjo_node::status::Status;

use super::check::{count_changed, find_lost, find_wrong_accounts};
use super::failover::{TakeOver, quarantined, take_over};
use super::import::{Imported, import, open_accounts};
use super::load::Load;
use super::post::Poster;
use super::report::{Figures, Latency, NodeDigest, Report, TrialBalance};
use super::telling::Telling;
use super::{AUXILIARY, DemoArgs, PRIMARY};
use crate::berka::Movement;
use crate::machine::{FileSystem, SyncProbe};
use crate::pair::Pair;

/// Connections that the requests go over.
const CONNECTIONS: usize = 4;
/// Syncs that nothing shortens: each day's movements and look-ups wait for those before.
const SYNCS_OF_IMPORT: f64 = 365.0 * 4.0;
/// What it takes beside the syncs.
const SECONDS_WITHOUT_SYNCS: f64 = 5.0;

/// Everything that the steps share.
pub(super) struct Scene<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) telling: Telling,
    pub(super) pair: Pair,
}

/// What both nodes said at the end.
struct Ending {
    statuses: [Status; 2],
    quarantined: usize,
    changed: usize,
}

impl Scene<'_> {
    pub(super) async fn play(&mut self, dir: &Path, movements: &[Movement]) -> Result<Report> {
        let (file_system, sync) = self.probe(dir)?;
        let status = self.pair.start_protected().await?;
        let cluster = status.cluster;
        self.telling.say(format!(
            "cluster {cluster}: node 1 is primary, node 2 its auxiliary, every commit on both disks"
        ));
        let poster = self.connect().await?;
        let imported = self.import(&poster, movements).await?;

        let load = Load::draw(self.args.seed, self.args.transfers);
        let accounts = load.accounts.clone();
        let take_over = self.load(&poster, load).await?;
        let changed = count_changed(poster.client(), &imported.balances).await?;
        self.telling.say(format!(
            "read {} imported balances again from node 2: {changed} changed",
            imported.balances.len()
        ));

        let ending = self.bring_back(&poster, &imported).await?;
        let answers = poster.answers();
        let lost = find_lost(poster.client(), &answers).await?;
        let wrong = find_wrong_accounts(poster.client(), &accounts, &answers).await?;
        self.telling.say(format!(
            "looked up all {} answered transfers: {} lost",
            answers.len(),
            lost.len()
        ));
        let statuses = &ending.statuses;
        let figures = Figures {
            answers: &answers,
            lost: &lost,
            wrong_accounts: wrong,
            closings: imported.closings,
            balances_read_again: imported.balances.len(),
            balances_changed: changed + ending.changed,
            trial_balance: TrialBalance::of(statuses),
            commit_latency: Latency::of(&poster.latencies()),
            outstanding: self.args.outstanding(),
            take_over,
            quarantined: ending.quarantined,
            kill_to_first_commit: poster.outage(),
            digests: statuses.each_ref().map(NodeDigest::of),
            sync,
            file_system,
            seconds: self.telling.started.elapsed().as_secs_f64(),
        };
        Ok(Report::of(figures))
    }

    /// Looks at the disk and says what to expect of it.
    fn probe(&self, dir: &Path) -> Result<(FileSystem, SyncProbe)> {
        let (file_system, sync) = self.telling.probe(dir)?;
        if !sync.as_expected() {
            let seconds = expected_seconds(sync.p50_us, self.args);
            self.telling.say(format!(
                "this disk is slow: with at most 500 µs a sync the demo takes less than 90 s, here \
                 expect some {seconds:.0} s, and latencies that are mostly the disk's"
            ));
        }
        Ok((file_system, sync))
    }

    async fn connect(&self) -> Result<Poster> {
        let mut clients = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            clients.push(self.pair.connect().await?);
        }
        Poster::new(
            clients,
            self.args.outstanding().into(),
            self.telling.bar.clone(),
        )
    }

    async fn import(&mut self, poster: &Poster, movements: &[Movement]) -> Result<Imported> {
        self.telling.bar.set_message("importing a year of a bank");
        let accounts = open_accounts(poster.client(), movements).await?;
        let begun = Instant::now();
        let imported = import(poster, movements).await?;
        let seconds = begun.elapsed().as_secs_f64();
        self.telling.say(format!(
            "imported {} bank transactions of {} days into {accounts} accounts in {seconds:.1} s; \
             end-of-day balances: {} as the bank printed, {} off by its rounding, {} differ",
            movements.len(),
            imported.days,
            imported.closings.equal,
            imported.closings.rounded,
            imported.closings.differ
        ));
        Ok(imported)
    }

    /// The random load, with the primary's end in the middle of it.
    async fn load(&mut self, poster: &Poster, load: Load) -> Result<TakeOver> {
        self.telling.bar.set_message("random load");
        let results = poster.client().create_accounts(&load.accounts).await?;
        ensure!(
            results.iter().all(|result| result.created()),
            "not all accounts of the load were opened"
        );
        let funded = load.funding.len();
        poster.post_all(load.funding).await.context("funding")?;
        let half = poster.answers().len() + load.transfers.len() / 2;
        let posting = poster.post_all(load.transfers);
        let taking = async {
            poster.answered(half as u64).await;
            self.telling.bar.set_message("random load, after the kill");
            take_over(&mut self.pair, poster).await
        };
        let (posted, taken) = tokio::try_join!(posting, taking).context("the random load")?;
        let () = posted;
        self.telling.say(format!(
            "killed node 1 (SIGKILL) with {} requests in flight; promoted node 2 --alone: epoch {}, \
             {} transfers unprotected at that moment, nothing missing",
            taken.in_flight, taken.promotion.epoch, taken.promotion.unprotected.count
        ));
        let status = self.pair.expect(AUXILIARY, Condition::Serving).await?;
        let resolved = poster.answers().iter().filter(|one| one.repeated).count();
        self.telling.say(format!(
            "resolved {resolved} transfers of unknown outcome by repeating their ids; finished the \
             load ({funded} to fund the accounts before it); node 2 is {} with {} transfers \
             unprotected",
            status.protection, status.unprotected.count
        ));
        Ok(TakeOver {
            unprotected: status.unprotected,
            ..taken
        })
    }

    /// The old primary comes back as the new auxiliary.
    async fn bring_back(&mut self, poster: &Poster, imported: &Imported) -> Result<Ending> {
        self.telling.bar.set_message("bringing node 1 back");
        let begun = Instant::now();
        self.pair.start(PRIMARY)?;
        self.pair.expect(AUXILIARY, Condition::Protected).await?;
        let statuses = self.pair.settle().await?;
        let quarantined = quarantined(self.pair.data_dir(PRIMARY))?;
        let seconds = begun.elapsed().as_secs_f64();
        let tail = match quarantined {
            0 => "it held nothing that node 2 lacked".to_owned(),
            count => format!(
                "{count} transfers that it alone held, answered to nobody, went to its quarantine/"
            ),
        };
        self.telling.say(format!(
            "node 1 is back as the auxiliary after {seconds:.1} s ({tail}); both at lsn {}, digests {}",
            statuses[0].applied_lsn,
            match statuses[0].digest == statuses[1].digest {
                true => "equal",
                false => "DIFFER",
            }
        ));
        let changed = count_changed(poster.client(), &imported.balances).await?;
        self.telling.say(format!(
            "read the imported balances once more: {changed} changed"
        ));
        Ok(Ending {
            statuses,
            quarantined,
            changed,
        })
    }
}

/// A guess from what a sync takes: within the load a batch has the requests of about a quarter
/// of those outstanding.
fn expected_seconds(sync_us: f64, args: &DemoArgs) -> f64 {
    let batches = args.transfers as f64 / (f64::from(args.outstanding()) / 4.0);
    SECONDS_WITHOUT_SYNCS + (SYNCS_OF_IMPORT + batches) * sync_us / 1e6
}
