//! `kanjo trial-balance`: the whole book at one position of the log.

use kanjo_client::TrialBalanceBody;
use serde::Serialize;

use super::cluster::ClusterArgs;
use crate::amounts::{AmountArgs, wide_digits};
use crate::dates::show_date;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts, table};
use crate::quantities::show_count;
use crate::times::show_time;

const EXAMPLES: &str = "\
Examples:
  kanjo trial-balance --connect 127.0.0.1:7401,127.0.0.1:7501
  One currency with cents:
    kanjo trial-balance --connect 127.0.0.1:7401 --ledger 203 --decimals 2
  The position that it is of, to ask for balances at the same one:
    kanjo trial-balance --connect 127.0.0.1:7401 --json | jq .lsn

Debits and credits of every ledger, and of every code of accounts in it, all at one lsn, however
many accounts there are. In every ledger debits equal credits, or the exit code is 1.";

/// Show debits and credits of every ledger and code.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Only this ledger
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    ledger: Option<u32>,
    #[command(flatten)]
    amounts: AmountArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The book as JSON shows it.
#[derive(Serialize)]
struct ShownBook {
    lsn: u64,
    timestamp: u64,
    time: String,
    business_date: Option<String>,
    rows: Vec<ShownRow>,
}

#[derive(Serialize)]
struct ShownRow {
    ledger: u32,
    /// `None`: all of the ledger.
    code: Option<u16>,
    accounts: u64,
    debits_posted: String,
    credits_posted: String,
    debits_pending: String,
    credits_pending: String,
}

/// A sum over any number of accounts: how many times 2^128, and the rest.
type Wide = (u64, u128);

/// Sums of a row, posted and pending.
struct Sums {
    debits_posted: Wide,
    credits_posted: Wide,
    debits_pending: Wide,
    credits_pending: Wide,
}

impl Sums {
    fn of(row: &TrialBalanceBody) -> Self {
        Self {
            debits_posted: (row.debits_posted_high.get(), row.debits_posted.get()),
            credits_posted: (row.credits_posted_high.get(), row.credits_posted.get()),
            debits_pending: (row.debits_pending_high.get(), row.debits_pending.get()),
            credits_pending: (row.credits_pending_high.get(), row.credits_pending.get()),
        }
    }

    fn is_balanced(&self) -> bool {
        self.debits_posted == self.credits_posted && self.debits_pending == self.credits_pending
    }
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let page = client.trial_balance().await?;
        let is_wished =
            |row: &&TrialBalanceBody| args.ledger.is_none_or(|wished| row.ledger.get() == wished);
        let rows: Vec<TrialBalanceBody> = page.rows.iter().filter(is_wished).copied().collect();
        let mut output = Output::new();
        if args.json {
            output.json(&ShownBook {
                lsn: page.lsn().get(),
                timestamp: page.timestamp().get(),
                time: show_time(page.timestamp()),
                business_date: page.business_date().map(show_date),
                rows: rows.iter().map(shown).collect(),
            })?;
        } else {
            output.line(book_table(&rows, args.amounts))?;
            output.line(facts(&[
                ("as of lsn", page.lsn().to_string()),
                ("log time", show_time(page.timestamp())),
                (
                    "business date",
                    page.business_date().map_or("none".to_owned(), show_date),
                ),
            ]))?;
        }
        output.finish()?;
        let whole = rows.iter().filter(|row| row.code.get() == 0);
        match whole.into_iter().find(|row| !Sums::of(row).is_balanced()) {
            None => Ok(Exit::Done),
            Some(row) => Err(Failure::failed(format!(
                "debits and credits of ledger {} differ",
                row.ledger
            ))),
        }
    })
}

fn book_table(rows: &[TrialBalanceBody], amounts: AmountArgs) -> comfy_table::Table {
    let header = [
        "ledger",
        "code",
        "accounts",
        "debits",
        "credits",
        "pending debits",
        "pending credits",
        "",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5, 6]);
    for row in rows {
        let sums = Sums::of(row);
        let (code, verdict) = match (row.code.get(), sums.is_balanced()) {
            (0, true) => ("all".to_owned(), "balanced"),
            (0, false) => ("all".to_owned(), "NOT BALANCED"),
            (code, _) => (code.to_string(), ""),
        };
        table.add_row([
            row.ledger.to_string(),
            code,
            show_count(row.accounts.get()),
            amounts.show_wide(sums.debits_posted),
            amounts.show_wide(sums.credits_posted),
            amounts.show_wide(sums.debits_pending),
            amounts.show_wide(sums.credits_pending),
            verdict.to_owned(),
        ]);
    }
    table
}

fn shown(row: &TrialBalanceBody) -> ShownRow {
    let sums = Sums::of(row);
    ShownRow {
        ledger: row.ledger.get(),
        code: Some(row.code.get()).filter(|code| *code != 0),
        accounts: row.accounts.get(),
        debits_posted: wide_digits(sums.debits_posted),
        credits_posted: wide_digits(sums.credits_posted),
        debits_pending: wide_digits(sums.debits_pending),
        credits_pending: wide_digits(sums.credits_pending),
    }
}
