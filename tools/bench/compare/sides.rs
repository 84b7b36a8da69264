//! Kanjo's pair and PostgreSQL's, as one case after the other loads them.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kanjo_format::limits::SEGMENT_BYTES_DEFAULT;
use tokio_postgres::Client;

use super::super::workload::{CODE, LEDGER, WorkArgs, Workload};
use super::poster::{Posted, Poster, Uuid};
use crate::pair::{LOOK_AGAIN, PATIENCE, Pair, Which};
use crate::postgres::{PostgresPair, Programs, Side};
use crate::processes::resident_bytes;

/// Accounts of one statement.
const ACCOUNTS_A_STATEMENT: usize = 100_000;
/// Whether each balance is the sum of its transfers, and both sides of the book are equal.
const BOOKS: &str = "\
SELECT
    (SELECT count(*) FROM transfers),
    (SELECT coalesce(sum(amount), 0)::text FROM transfers),
    (SELECT count(*) FROM accounts
        LEFT JOIN (SELECT debit_account_id AS id, sum(amount) AS sum FROM transfers GROUP BY 1) AS debits USING (id)
        LEFT JOIN (SELECT credit_account_id AS id, sum(amount) AS sum FROM transfers GROUP BY 1) AS credits USING (id)
        WHERE debits_posted <> coalesce(debits.sum, 0) OR credits_posted <> coalesce(credits.sum, 0)),
    (SELECT coalesce(sum(debits_posted) - sum(credits_posted), 0)::text FROM accounts)";

/// What a side counted since it started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// Answered as created.
    pub(super) transfers: u64,
    /// Written to the primary's log.
    pub(super) log_bytes: u64,
    /// Between the two nodes; of PostgreSQL only the log that was sent.
    pub(super) wire_bytes: u64,
}

impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            transfers: self.transfers - before.transfers,
            log_bytes: self.log_bytes - before.log_bytes,
            wire_bytes: self.wire_bytes - before.wire_bytes,
        }
    }
}

/// One of the two.
pub(super) enum Contender {
    Kanjo(Box<KanjoSide>),
    Postgres(Box<PostgresSide>),
}

/// A pair of nodes.
pub(super) struct KanjoSide {
    pair: Pair,
    posters: Vec<Poster>,
    posted: Rc<Cell<Posted>>,
}

/// A primary with its synchronous standby.
pub(super) struct PostgresSide {
    pair: PostgresPair,
    /// For questions, never for load.
    desk: Client,
    posters: Vec<Poster>,
    posted: Rc<Cell<Posted>>,
}

impl Contender {
    /// Starts a Kanjo pair with so many connections and opens the accounts.
    pub(super) async fn kanjo(
        folder: &Path,
        connections: usize,
        work: &WorkArgs,
    ) -> Result<(Self, Workload)> {
        let mut pair = Pair::format(folder, SEGMENT_BYTES_DEFAULT, |_| {})?;
        pair.start_protected().await?;
        let workload = Workload::open(&pair.connect().await?, work).await?;
        let posted = Rc::new(Cell::new(Posted::default()));
        let mut posters = Vec::new();
        for _ in 0..connections {
            posters.push(Poster::kanjo(pair.connect().await?, posted.clone()));
        }
        let side = KanjoSide {
            pair,
            posters,
            posted,
        };
        Ok((Self::Kanjo(Box::new(side)), workload))
    }

    /// Starts a PostgreSQL pair with so many connections and opens the same accounts.
    pub(super) async fn postgres(
        programs: &Programs,
        folder: &Path,
        connections: usize,
        workload: &Workload,
    ) -> Result<Self> {
        let mut pair = PostgresPair::start(programs, folder).await?;
        let desk = pair.connect(Side::Primary).await?;
        open_accounts(&desk, workload).await?;
        let posted = Rc::new(Cell::new(Posted::default()));
        let mut posters = Vec::new();
        for _ in 0..connections {
            let client = pair.connect(Side::Primary).await?;
            posters.push(Poster::postgres(client, posted.clone()).await?);
        }
        Ok(Self::Postgres(Box::new(PostgresSide {
            pair,
            desk,
            posters,
            posted,
        })))
    }

    /// Its first connections.
    pub(super) fn posters(&self, count: usize) -> &[Poster] {
        match self {
            Self::Kanjo(side) => &side.posters[..count],
            Self::Postgres(side) => &side.posters[..count],
        }
    }

    /// Names of the figures: transfers a second, p50, p99, bytes of log and wire, memory.
    pub(super) const fn figure_names(&self) -> [&'static str; 6] {
        match self {
            Self::Kanjo(_) => [
                "transfers_per_s",
                "p50_us",
                "p99_us",
                "disk_bytes_per_transfer",
                "wire_bytes_per_transfer",
                "rss_bytes",
            ],
            Self::Postgres(_) => [
                "postgres_transfers_per_s",
                "postgres_p50_us",
                "postgres_p99_us",
                "postgres_disk_bytes_per_transfer",
                "postgres_wire_bytes_per_transfer",
                "postgres_rss_bytes",
            ],
        }
    }

    /// What it counted so far.
    pub(super) async fn counters(&mut self) -> Result<Counters> {
        match self {
            Self::Kanjo(side) => {
                let status = side.pair.status(Which::First).await?;
                Ok(Counters {
                    transfers: side.posted.get().transfers,
                    log_bytes: status.appended_bytes,
                    wire_bytes: status.sent_bytes + status.received_bytes,
                })
            }
            Self::Postgres(side) => {
                let query = "SELECT (pg_current_wal_lsn() - '0/0')::bigint, \
                    (SELECT (sent_lsn - '0/0')::bigint FROM pg_stat_replication)";
                let row = side.desk.query_one(query, &[]).await?;
                Ok(Counters {
                    transfers: side.posted.get().transfers,
                    log_bytes: row.get::<_, i64>(0) as u64,
                    wire_bytes: row.get::<_, i64>(1) as u64,
                })
            }
        }
    }

    /// Memory of both nodes together.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        match self {
            Self::Kanjo(side) => resident_bytes(&side.pair.pids()),
            Self::Postgres(side) => resident_bytes(&side.pair.pids()),
        }
    }

    /// What was posted must be there, on both nodes, and every book must balance. Gives how many
    /// transfers there are.
    pub(super) async fn check(&mut self) -> Result<u64> {
        match self {
            Self::Kanjo(side) => side.check().await?,
            Self::Postgres(side) => side.check().await?,
        }
        match self {
            Self::Kanjo(side) => Ok(side.posted.get().transfers),
            Self::Postgres(side) => Ok(side.posted.get().transfers),
        }
    }
}

impl KanjoSide {
    async fn check(&mut self) -> Result<()> {
        let [first, second] = self.pair.settle().await?;
        ensure!(first.digest == second.digest, "the digests differ");
        let Posted { transfers, amount } = self.posted.get();
        for status in [first, second] {
            ensure!(
                status.transfers == transfers,
                "Kanjo answered {transfers} transfers and holds {}",
                status.transfers
            );
            let ledgers = status.trial_balance.iter();
            let even = ledgers.clone().all(|ledger| ledger.difference == "0");
            ensure!(even, "Kanjo's book is broken: {:?}", status.trial_balance);
            let debits: u128 = ledgers
                .flat_map(|ledger| ledger.debits.parse::<u128>())
                .sum();
            ensure!(
                debits == amount,
                "Kanjo posted {debits} instead of {amount} minor units"
            );
        }
        Ok(())
    }
}

impl PostgresSide {
    /// Version of the server.
    pub(super) async fn version(&self) -> Result<String> {
        let row = self.desk.query_one("SHOW server_version", &[]).await?;
        Ok(row.get(0))
    }

    async fn check(&mut self) -> Result<()> {
        self.check_books(&self.desk).await?;
        let standby = self.pair.connect(Side::Standby).await?;
        self.await_replay(&standby).await?;
        let checked = self.check_books(&standby).await;
        checked.context("on the standby")
    }

    async fn check_books(&self, client: &Client) -> Result<()> {
        let row = client.query_one(BOOKS, &[]).await?;
        let (transfers, sum): (i64, &str) = (row.get(0), row.get(1));
        let (wrong, difference): (i64, &str) = (row.get(2), row.get(3));
        let posted = self.posted.get();
        ensure!(
            transfers as u64 == posted.transfers && sum == posted.amount.to_string(),
            "PostgreSQL answered {} transfers of {} and holds {transfers} of {sum}",
            posted.transfers,
            posted.amount
        );
        ensure!(
            wrong == 0 && difference == "0",
            "PostgreSQL's book is broken: {wrong} balances are wrong, debits and credits differ by {difference}"
        );
        Ok(())
    }

    /// Waits until the standby shows all that the primary has.
    async fn await_replay(&self, standby: &Client) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let row = self
            .desk
            .query_one("SELECT pg_current_wal_lsn()::text", &[]);
        let row = row.await?;
        let target: &str = row.get(0);
        let query = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        while !standby
            .query_one(query, &[&target])
            .await?
            .get::<_, bool>(0)
        {
            if Instant::now() > until {
                bail!("PostgreSQL's standby does not replay");
            }
            // PostgreSQL has no way to be told.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Opens the same accounts as Kanjo has, and has them counted for the planner.
async fn open_accounts(desk: &Client, workload: &Workload) -> Result<()> {
    let insert =
        "INSERT INTO accounts (id, ledger, code) SELECT id, $2, $3 FROM unnest($1::uuid[]) AS id";
    let insert = desk.prepare(insert).await?;
    let mut ids = workload.account_ids().map(Uuid);
    loop {
        let some: Vec<Uuid> = ids.by_ref().take(ACCOUNTS_A_STATEMENT).collect();
        if some.is_empty() {
            break;
        }
        let (ledger, code) = (LEDGER as i32, CODE as i16);
        let opened = desk.execute(&insert, &[&some, &ledger, &code]).await;
        opened.context("opening PostgreSQL's accounts")?;
    }
    // No checkpoint here: after one, the first change of each page would log the whole page, in
    // the case that happens to be measured first.
    desk.execute("VACUUM (ANALYZE) accounts", &[]).await?;
    Ok(())
}
