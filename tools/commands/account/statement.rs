//! `kanjo account statement`: what a bank's customer reads.

mod lines;

use clap::ValueEnum;
use kanjo_client::{
    AccountBalanceBody, AccountBody, AccountId, Client, Page, Span, StatementBody,
    StatementLineBody,
};

use self::lines::{Totals, lines_table, shown_balance, shown_closing, shown_line};
use crate::amounts::AmountArgs;
use crate::commands::cluster::ClusterArgs;
use crate::commands::listing::each_page;
use crate::exit::{Exit, Failure};
use crate::moments::{Bound, parse_bound};
use crate::output::{Output, facts};
use crate::quantities::{parse_id, show_count};
use crate::times::show_time;

pub(super) const EXAMPLES: &str = "\
Examples:
  January as business dates, in a currency with cents:
    kanjo account statement --connect 127.0.0.1:7401,127.0.0.1:7501 77 \\
        --from 2026-01-01 --to 2026-01-31 --by business-date --decimals 2
  The same days by the clock (UTC), whatever date they were booked to:
    kanjo account statement --connect 127.0.0.1:7401 77 --from 2026-01-01 --to 2026-01-31
  Closing balance, for a script:
    kanjo account statement --connect 127.0.0.1:7401 77 --json | jq -s .[-1].credits_posted

The balance is credits less debits: what the bank owes the customer. Reserved is what pending
transfers may yet take from it. --json prints one object a line: the opening balance, every line,
the closing balance. The closing balance of a statement is the opening one of the next.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The account
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u128,
    /// First day, or time in UTC [default: the account's opening]
    #[arg(long, value_name = "TIME", value_parser = parse_bound)]
    from: Option<Bound>,
    /// Last day with all of it, or time [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_bound)]
    to: Option<Bound>,
    /// What the days mean
    #[arg(long, value_enum, default_value_t = By::Timestamp)]
    by: By,
    #[command(flatten)]
    amounts: AmountArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Days and times of the log's clock, in UTC
    Timestamp,
    /// The bank's dates, which `kanjo day close` closes
    BusinessDate,
}

impl Args {
    fn request(&self) -> Result<StatementBody, Failure> {
        let (unit, from, to) = match self.by {
            By::Timestamp => (
                Span::Timestamp,
                self.from.map_or(0, Bound::first),
                self.to.map_or(0, Bound::last),
            ),
            By::BusinessDate => (
                Span::BusinessDate,
                business_date(self.from)?,
                business_date(self.to)?,
            ),
        };
        if to != 0 && to < from {
            return Err(Failure::usage("--to is before --from"));
        }
        Ok(StatementBody {
            account_id: self.id.into(),
            unit: (unit as u32).into(),
            limit: u32::MAX.into(),
            from: from.into(),
            to: to.into(),
            ..StatementBody::default()
        })
    }

    fn period(&self) -> String {
        let show = |bound: Option<Bound>, without: &str| match bound {
            None => without.to_owned(),
            Some(Bound::Day(day)) => day.to_string(),
            Some(Bound::Time(time)) => show_time(time),
        };
        let by = match self.by {
            By::Timestamp => "UTC",
            By::BusinessDate => "business dates",
        };
        let (from, to) = (show(self.from, "the opening"), show(self.to, "now"));
        format!("{from} to {to} ({by})")
    }
}

fn business_date(bound: Option<Bound>) -> Result<u64, Failure> {
    match bound {
        None => Ok(0),
        Some(Bound::Day(day)) => Ok(day.number().into()),
        Some(Bound::Time(_)) => {
            let text = "by business date --from and --to are dates like 2026-01-31";
            Err(Failure::usage(text))
        }
    }
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let asked = args.request()?;
    args.cluster.with_client(async |client| {
        let client = client.with_deadline(args.cluster.timeout);
        let found = client.lookup_accounts(&[AccountId::new(args.id)]).await?;
        let Some(account) = found.first() else {
            return Err(Failure::failed(format!("there is no account {}", args.id)));
        };
        let opening = client.opening_balance(&asked).await?;
        let mut output = Output::new();
        match args.json {
            true => output.json_line(&shown_balance("opening", &opening))?,
            false => output.line(head(&args, account, &opening))?,
        }
        let (totals, lsn) = print_lines(&client, &args, asked, opening, &mut output).await?;
        match args.json {
            true => output.json_line(&shown_closing(&totals, lsn))?,
            false => output.line(foot(&args, &totals, lsn))?,
        }
        output.finish()?;
        Ok(Exit::Done)
    })
}

/// Gives what all lines sum up to, and the position of the log that the last page shows.
async fn print_lines(
    client: &Client,
    args: &Args,
    asked: StatementBody,
    opening: AccountBalanceBody,
    output: &mut Output,
) -> Result<(Totals, u64), Failure> {
    let (mut totals, mut lsn) = (Totals::new(opening), 0);
    let fetch = |asked| async move { client.statement_page(&asked).await };
    let by_date = args.by == By::BusinessDate;
    let take = |page: &Page<StatementLineBody>| {
        lsn = page.body.lsn.get();
        for line in &page.rows {
            totals.add(args.id, line);
        }
        if args.json {
            for line in &page.rows {
                output.json_line(&shown_line(args.id, line))?;
            }
        } else if !page.rows.is_empty() {
            output.line(lines_table(args.id, &page.rows, by_date, args.amounts))?;
        }
        output.flush()
    };
    each_page(asked, None, fetch, take).await?;
    if !totals.add_up() {
        let text = "the lines do not lead from the opening balance to the closing one";
        return Err(Failure::failed(text)
            .with("something was booked into the span while it was read: run it again"));
    }
    Ok((totals, lsn))
}

fn head(args: &Args, account: &AccountBody, opening: &AccountBalanceBody) -> String {
    let (debits, credits) = (opening.debits_posted.get(), opening.credits_posted.get());
    facts(&[
        ("account", args.id.to_string()),
        (
            "ledger, code",
            format!("{}, {}", account.ledger, account.code),
        ),
        ("statement", args.period()),
        ("opening balance", args.amounts.difference(credits, debits)),
        ("reserved", args.amounts.show(opening.debits_pending.get())),
    ])
}

fn foot(args: &Args, totals: &Totals, lsn: u64) -> String {
    let closing = &totals.closing;
    let (debits, credits) = (closing.debits_posted.get(), closing.credits_posted.get());
    facts(&[
        ("lines", show_count(totals.lines)),
        ("debits", args.amounts.show(totals.debits)),
        ("credits", args.amounts.show(totals.credits)),
        ("closing balance", args.amounts.difference(credits, debits)),
        ("reserved", args.amounts.show(closing.debits_pending.get())),
        ("as of lsn", lsn.to_string()),
    ])
}
